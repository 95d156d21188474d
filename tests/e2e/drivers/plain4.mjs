// socket.io-client 4 against tests/e2e/apps/plain_app.py: the Server API, recovery, the MessagePack parser.
// Usage: node plain4.mjs URL polling|websocket|upgrade default|msgpack

import msgpackParser from "socket.io-msgpack-parser";
import { assert, next, run, within } from "./check.mjs";
import { clientsOf } from "./clients.mjs";

const [url, way, serializer] = process.argv.slice(2);
const parser = serializer === "msgpack" ? { parser: msgpackParser } : {};
const { client, connected, closeAll } = clientsOf(url, way, parser);

await run(`plain application, socket.io-client 4, ${way}, ${serializer}`, {
  "sessions, rooms, transport": async () => {
    const socket = await connected("", { auth: { name: "ada" } });
    await socket.emitWithAck("enter", "red");
    const who = await socket.emitWithAck("who");
    assert.equal(who.name, "ada");
    assert.deepEqual(who.rooms, [socket.id, "red"].sort());
    assert.ok(["polling", "websocket"].includes(who.transport));
    closeAll();
  },

  "a refusal": async () => {
    const socket = client("", { auth: { token: "wrong" } });
    const [error] = await next(socket, "connect_error");
    assert.equal(error.message, "Connection rejected by server");
    closeAll();
  },

  "binary there and back inside other data": async () => {
    const socket = await connected();
    const [text, bytes, object] = await socket.emitWithAck("echo", "é", Buffer.from([0, 255]), { n: [1.5, null] });
    assert.equal(text, "é");
    assert.deepEqual(Buffer.from(bytes), Buffer.from([0, 255]));
    assert.deepEqual(object, { n: [1.5, null] });
    closeAll();
  },

  "large messages there and back": async () => {
    const socket = await connected();
    const bytes = Buffer.alloc(500_000, "0123456789abcdef");
    const [back, text] = await within(socket.emitWithAck("echo", bytes, "é".repeat(100_000)), "the large echo");
    assert.ok(Buffer.from(back).equals(bytes));
    assert.equal(text, "é".repeat(100_000));
    closeAll();
  },

  "an ack that does not come in time, and a volatile event": async () => {
    const [socket, silent] = await Promise.all([connected(), connected("/open")]);
    await assert.rejects(silent.timeout(50).emitWithAck("nobody handles this"), /timed out/);
    socket.volatile.emit("echo", 1);
    assert.deepEqual(await socket.timeout(60_000).emitWithAck("echo", 2), [2]);
    closeAll();
  },

  "call waits for the client's answer inside a handler": async () => {
    const socket = await connected();
    socket.on("question", (what, answer) => answer(what + "!"));
    assert.equal(await within(socket.emitWithAck("ask", "why"), "the answer"), "why!");
    closeAll();
  },

  "a whole room answers": async () => {
    const sockets = [await connected(), await connected(), await connected()];
    for (const [number, socket] of sockets.entries()) {
      socket.on("question", (what, answer) => answer(number));
      await socket.emitWithAck("enter", `room ${way}`);
    }
    assert.deepEqual(await within(sockets[0].emitWithAck("survey", `room ${way}`), "the survey"), [[0, 1, 2], 0]);
    closeAll();
  },

  "a catch-all, a class namespace, a namespace without handlers, an unknown one": async () => {
    const socket = await connected();
    assert.deepEqual(await socket.emitWithAck("made up", 1), ["made up", 1]);
    const shop = client("/shop");
    const [sid] = await next(shop, "opened");
    assert.equal(sid, shop.id);
    assert.equal(await shop.emitWithAck("buy", "tea"), "bought tea");
    await connected("/open");
    const unknown = client("/unknown");
    const [error] = await next(unknown, "connect_error");
    assert.equal(error.message, "Invalid namespace");
    closeAll();
  },

  "recovery: same id, rooms kept, missed events replayed in order": async () => {
    const other = await connected();
    const socket = await connected("", { reconnection: true, reconnectionDelay: 300, reconnectionDelayMax: 300 });
    const room = `lasting ${way} ${socket.id}`;
    await socket.emitWithAck("enter", room);
    const got = [];
    socket.on("said", (value) => got.push(value));
    other.emit("say", room, 1);
    await next(socket, "said");
    const id = socket.id;
    const gone = next(socket, "disconnect");
    socket.io.engine.close();
    await gone;
    for (const value of [2, 3]) other.emit("say", room, value);
    await next(socket, "connect");
    assert.equal(socket.recovered, true);
    assert.equal(socket.id, id);
    other.emit("say", room, 4);
    while (got.at(-1) !== 4) await next(socket, "said");
    assert.deepEqual(got, [1, 2, 3, 4]);
    closeAll();
  },

  "recovery of a client that had received nothing": async () => {
    const other = await connected();
    const socket = await connected("", { reconnection: true, reconnectionDelay: 300, reconnectionDelayMax: 300 });
    const room = `silent ${way} ${socket.id}`;
    await socket.emitWithAck("enter", room);
    const id = socket.id;
    const gone = next(socket, "disconnect");
    socket.io.engine.close();
    await gone;
    const said = next(socket, "said");
    other.emit("say", room, "missed");
    await next(socket, "connect");
    assert.equal(socket.recovered, true);
    assert.equal(socket.id, id);
    assert.equal((await said)[0], "missed");
    closeAll();
  },
});
