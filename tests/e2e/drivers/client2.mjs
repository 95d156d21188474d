// A socket.io-client 2 against tests/e2e/apps/version2_app.py, beside a client of version 4.
// Usage: node client2.mjs URL PACKAGE polling|websocket|upgrade

import { createRequire } from "node:module";
import { io as io4 } from "socket.io-client";
import { assert, next, run, within } from "./check.mjs";

const [url, name, way] = process.argv.slice(2);
const transports = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] }[way];
if (!url || !transports) {
  console.error("usage: node client2.mjs URL PACKAGE polling|websocket|upgrade");
  process.exit(2);
}
const io = createRequire(import.meta.url)(name);
const open = [];

function client(namespace = "", options = {}) {
  const socket = io(url + namespace, { transports, forceNew: true, reconnection: false, ...options });
  open.push(socket);
  return socket;
}

async function connected(namespace = "", options = {}) {
  const socket = client(namespace, options);
  const refused = new Promise((_, reject) => {
    for (const event of ["error", "connect_error"]) socket.once(event, (why) => reject(new Error(JSON.stringify(why) + why)));
  });
  await Promise.race([next(socket, "connect"), refused]);
  refused.catch(() => {});
  return socket;
}

async function watcher() {
  const socket = io4(url, { transports, forceNew: true, reconnection: false });
  open.push(socket);
  await next(socket, "connect");
  await ask(socket, "watch");
  return socket;
}

function closeAll() {
  for (const socket of open.splice(0)) socket.close();
}

/** The first value of the acknowledgement; `all` of them. */
function askAll(socket, event, ...args) {
  return within(new Promise((resolve) => socket.emit(event, ...args, (...all) => resolve(all))), `the ack of "${event}"`);
}
async function ask(socket, event, ...args) {
  return (await askAll(socket, event, ...args))[0];
}

/** Why that client has left: those of drivers that ended before are no concern of ours. */
function reasonOf(watching, sid) {
  return within(new Promise((resolve) => watching.on("left", ([who, reason]) => who === sid && resolve(reason))), `${sid} to leave`);
}

const plain = (value) =>
  JSON.parse(JSON.stringify(value, (_, item) => item), (_, item) => (item && item.type === "Buffer" ? { bytes: Buffer.from(item.data).toString("hex") } : item));
const bytes = Buffer.from(Array.from({ length: 300 }, (_, index) => index % 256));
const values = ["text é ✓ 😀", 12, -0.5, true, null, [1, [2, []]], { a: { b: "c" }, "": 0 }];
const binary = ["é😀", bytes, { deep: [Buffer.from([]), { last: Buffer.from([4, 255, 58]) }] }];

await run(`${name}, ${way}`, {
  "joins by opening, and knows its name": async () => {
    const socket = client("", { query: { who: "é" } });
    const [welcome] = await next(socket, "welcome");
    assert.deepEqual(welcome, { sid: socket.id, auth: null, query: "é" });
    assert.equal(socket.id, socket.io.engine.id);
    if (way === "upgrade" && socket.io.engine.transport.name !== "websocket") await next(socket.io.engine, "upgrade");
    assert.equal(socket.io.engine.transport.name, way === "polling" ? "polling" : "websocket");
    assert.equal(await ask(socket, "echo", 3), 3);
    closeAll();
  },

  "values travel both ways, as event and as acknowledgement": async () => {
    const socket = await connected();
    const echoed = next(socket, "echoed");
    assert.deepEqual(await askAll(socket, "echo", ...values), values);
    assert.deepEqual(await echoed, values);
    closeAll();
  },

  "bytes travel both ways, as event and as acknowledgement": async () => {
    const socket = await connected();
    const echoed = next(socket, "echoed");
    assert.deepEqual(plain(await askAll(socket, "echo", ...binary)), plain(binary));
    assert.deepEqual(plain(await echoed), plain(binary));
    closeAll();
  },

  "the server's questions are acknowledged, with values and with bytes": async () => {
    const socket = await connected();
    socket.on("question", (what, reply) => reply(what));
    for (const what of ["why", { sure: bytes }]) {
      const said = next(socket, "you_said");
      socket.emit("ask_me", what);
      assert.deepEqual(plain(await said), plain([what]));
      assert.deepEqual(plain(await askAll(socket, "call_me", what)), plain([what]));
    }
    closeAll();
  },

  "two hundred events come back in their order": async () => {
    const socket = await connected();
    const seen = [];
    const all = within(new Promise((resolve) => socket.on("echoed", (args) => seen.push(args) === 200 && resolve())), "200 events");
    for (let number = 0; number < 200; number += 1) socket.emit("echo", number);
    await all;
    assert.deepEqual(seen, Array.from({ length: 200 }, (_, index) => index));
    closeAll();
  },

  "a connect handler refuses with its data, or a sentence": async () => {
    for (const [who, expected] of [["nobody", "Connection rejected by server"], ["told", { code: 7 }]]) {
      const socket = client("", { query: { who } });
      const [error] = await next(socket, "error");
      assert.deepEqual(error, expected);
      assert.equal(socket.connected, false);
    }
    closeAll();
  },

  "a namespace is joined with a query, left, and refused without": async () => {
    const main = await connected();
    const admin = main.io.socket("/admin", { query: { token: "x, y?" } });
    const [welcome] = await next(admin, "welcome");
    assert.deepEqual(welcome, { sid: `/admin#${main.id}`, auth: { token: "x, y?" }, query: null });
    assert.equal(admin.id, welcome.sid);
    assert.deepEqual(plain(await askAll(admin, "echo", ...binary)), plain(binary));
    const away = next(admin, "disconnect");
    admin.emit("send_me_away");
    assert.deepEqual(await away, ["io server disconnect"]);
    assert.equal(await ask(main, "echo", "still here"), "still here");

    const second = await connected(); // the first one's manager keeps its "/admin"
    const [refused] = await next(second.io.socket("/admin"), "error");
    assert.equal(refused, "no token");
    const [unknown] = await next(second.io.socket("/nowhere"), "error");
    assert.deepEqual(unknown, { message: "Invalid namespace" });
    assert.equal(await ask(second, "echo", "still here"), "still here");
    closeAll();
  },

  "rooms are shared with clients of version 4": async () => {
    const [old, other, watching] = [await connected(), await connected(), await watcher()];
    for (const socket of [old, watching]) socket.emit("enter", "blue");
    assert.equal(await ask(old, "echo", 1), 1);
    assert.equal(await ask(watching, "echo", 1), 1);
    for (const what of [["hi", 1], binary]) {
      for (const speaker of [old, other, watching]) {
        const heard = [next(old, "said"), next(watching, "said")];
        assert.equal(await ask(speaker, "tell", "blue", ...what), true);
        for (const event of await Promise.all(heard)) assert.deepEqual(plain(event), plain(what));
      }
    }
    const told = next(old, "said");
    watching.emit("to", old.id, "you alone");
    assert.deepEqual(await told, ["you alone"]);
    closeAll();
  },

  "the server hears why a client has left": async () => {
    const watching = await watcher();
    for (const [leave, expected] of [
      [(socket) => socket.disconnect(), "client disconnect"],
      [(socket) => socket.io.engine.close(), "transport close"],
      [(socket) => socket.emit("send_me_away"), "server disconnect"],
    ]) {
      const socket = await connected();
      const reason = reasonOf(watching, socket.id);
      leave(socket);
      assert.equal(await reason, expected);
    }
    closeAll();
  },
});
