// The official socket.io-client 4 against tests/e2e/apps/client_app.py.
// Usage: node client4.mjs URL polling|websocket|upgrade

import { assert, next, run, within } from "./check.mjs";
import { clientsOf } from "./clients.mjs";

const [url, way] = process.argv.slice(2);
const { client, connected, closeAll, open } = clientsOf(url, way);

/** An event that must not come: another one, sent later on the same connection, proves the silence. */
async function silent(socket, event, proof) {
  const seen = [];
  const listener = (...args) => seen.push(args);
  socket.on(event, listener);
  await proof();
  socket.off(event, listener);
  assert.deepEqual(seen, [], `"${event}" came although it must not`);
}

await run(`socket.io-client 4, ${way}`, {
  "connects, and the handler sees the auth object": async () => {
    const socket = client("", { auth: { key: "s3", n: [1, null, "é"] } });
    const [welcome] = await next(socket, "welcome");
    assert.deepEqual(welcome.auth, { key: "s3", n: [1, null, "é"] });
    assert.equal(welcome.sid, socket.id);
    closeAll();
  },

  "is refused with a message when the handler says no": async () => {
    const socket = client("", { auth: { token: "wrong" } });
    const [error] = await next(socket, "connect_error");
    assert.equal(typeof error.message, "string");
    assert.ok(error.message.length > 0);
    assert.equal(socket.connected, false);
    closeAll();
  },

  "uses the transport it was asked to use": async () => {
    const socket = await connected();
    const { engine } = socket.io;
    if (way === "upgrade" && engine.transport.name !== "websocket") {
      const [transport] = await next(engine, "upgrade");
      assert.equal(transport.name, "websocket");
    }
    assert.equal(engine.transport.name, way === "polling" ? "polling" : "websocket");
    assert.equal(await within(socket.emitWithAck("sum", 1, 2), "an ack after the upgrade"), 3);
    closeAll();
  },

  "events keep their arguments": async () => {
    const socket = await connected();
    const args = ["text é ✓ 😀", 12, -0.5, true, null, [1, [2, []]], { a: { b: "c" }, "": 0 }];
    const echoed = next(socket, "echoed");
    socket.emit("echo", ...args);
    assert.deepEqual(await echoed, args);
    closeAll();
  },

  "acknowledgements carry none, one or several values": async () => {
    const socket = await connected();
    assert.equal(await within(socket.emitWithAck("sum", 20, 22), "an ack"), 42);
    const several = await within(new Promise((resolve) => socket.emit("divide", 17, 5, (...all) => resolve(all))), "an ack");
    assert.deepEqual(several, [3, 2]);
    const none = await within(new Promise((resolve) => socket.emit("nothing", (...all) => resolve(all))), "an empty ack");
    assert.deepEqual(none, []);
    closeAll();
  },

  "the server's question is acknowledged by the client": async () => {
    const socket = await connected();
    socket.once("question", (text, reply) => reply(`${text}?`, { sure: true }));
    const said = next(socket, "you_said");
    socket.emit("ask_me", "why");
    assert.deepEqual(await said, ["why?", { sure: true }]);
    closeAll();
  },

  "bytes travel both ways, as event and as acknowledgement": async () => {
    const socket = await connected();
    const bytes = Buffer.from(Array.from({ length: 300 }, (_, index) => index % 256));
    const backwards = Buffer.from(bytes).reverse();
    const reversed = next(socket, "reversed");
    const ack = await within(socket.emitWithAck("reverse", bytes), "a binary ack");
    assert.deepEqual(Buffer.from(ack), backwards);
    const [event] = await reversed;
    assert.equal(event.size, 300);
    assert.deepEqual(Buffer.from(event.data), backwards);
    assert.deepEqual(event.twice.map((part) => Buffer.from(part)), [backwards, Buffer.from([0, 255])]);
    closeAll();
  },

  "two hundred events come back in their order": async () => {
    const socket = await connected();
    const seen = [];
    const all = within(
      new Promise((resolve) => socket.on("counted", (number) => seen.push(number) === 200 && resolve())),
      "200 events",
    );
    for (let number = 0; number < 200; number += 1) socket.emit("count", number);
    await all;
    assert.deepEqual(seen, Array.from({ length: 200 }, (_, index) => index));
    closeAll();
  },

  "a room is heard by those in it, without the sender": async () => {
    const [a, b, c] = await Promise.all([connected(), connected(), connected()]);
    assert.equal(await a.emitWithAck("enter", "blue"), "blue");
    assert.equal(await b.emitWithAck("enter", "blue"), "blue");
    const heard = next(b, "said");
    await silent(a, "said", () => silent(c, "said", async () => {
      await within(a.emitWithAck("say", "blue", "hi"), "the ack of say");
      assert.deepEqual(await heard, [{ room: "blue", text: "hi" }]);
      await within(c.emitWithAck("sum", 1, 1), "the bystander's ack");
    }));
    const mine = next(a, "said");
    await a.emitWithAck("tell", "blue", "all of us");
    assert.equal((await mine)[0].text, "all of us");
    assert.equal(await b.emitWithAck("exit", "blue"), "blue");
    await silent(b, "said", async () => {
      await a.emitWithAck("tell", "blue", "after you left");
      await b.emitWithAck("sum", 1, 1);
    });
    closeAll();
  },

  "a broadcast with include_self=False reaches all the others": async () => {
    const [a, b, c] = await Promise.all([connected(), connected(), connected()]);
    const heard = Promise.all([next(b, "shouted"), next(c, "shouted")]);
    await silent(a, "shouted", () => within(a.emitWithAck("shout", "hello"), "the ack of shout"));
    assert.deepEqual(await heard, [["hello"], ["hello"]]);
    closeAll();
  },

  "an HTTP handler can emit": async () => {
    const socket = await connected();
    const heard = next(socket, "shouted");
    const response = await fetch(`${url}/notify`, { method: "POST", body: new URLSearchParams({ text: "from http" }) });
    assert.equal(response.status, 200);
    assert.deepEqual(await heard, ["from http"]);
    closeAll();
  },

  "namespaces share one connection and stay apart": async () => {
    const root = await connected();
    const shop = root.io.socket("/shop", { auth: { card: 7 } });
    const opened = next(shop, "opened");
    open.push(shop);
    assert.deepEqual(await opened, [{ auth: { card: 7 }, namespace: "/shop" }]);
    assert.notEqual(shop.id, root.id);
    const sold = next(shop, "sold");
    await silent(root, "sold", async () => {
      assert.deepEqual(await within(shop.emitWithAck("buy", "tea"), "the shop's ack"), { bought: "tea" });
      assert.deepEqual(await sold, ["tea"]);
      assert.equal(await root.emitWithAck("sum", 2, 3), 5);
    });
    shop.disconnect();
    assert.equal(await within(root.emitWithAck("sum", 4, 5), "an ack after the shop was left"), 9);
    closeAll();
  },

  "a namespace may refuse, or not exist": async () => {
    const [refused] = await next(client("/closed"), "connect_error");
    assert.ok(refused.message.length > 0);
    const [unknown] = await next(client("/nowhere"), "connect_error");
    assert.match(String(unknown.message), /namespace/i);
    closeAll();
  },

  "an exception in a handler leaves the connection usable": async () => {
    const socket = await connected();
    socket.emit("boom");
    assert.equal(await within(socket.emitWithAck("sum", 5, 5), "an ack after the exception"), 10);
    closeAll();
  },

  "others hear of a disconnect, and the id is not used again": async () => {
    const [stays, goes] = await Promise.all([connected(), connected()]);
    const { id } = goes;
    const gone = within(
      new Promise((resolve) => stays.on("gone", ({ sid }) => sid === id && resolve())), // earlier ones may come late
      `"gone" of ${id}`,
    );
    goes.disconnect();
    await gone;
    goes.connect();
    await next(goes, "connect");
    assert.notEqual(goes.id, id);
    closeAll();
  },
});
