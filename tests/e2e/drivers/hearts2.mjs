// Socket.IO 2 clients that answer and ones that fall silent, against tests/e2e/apps/version2_app.py: all at once.
// Usage: node hearts2.mjs URL PACKAGE=polling|websocket|upgrade ...

import { createRequire } from "node:module";
import { io as io4 } from "socket.io-client";
import { assert, next, run, within } from "./check.mjs";

const [url, ...pairs] = process.argv.slice(2);
const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };

function ask(socket, event, ...args) {
  return within(new Promise((resolve) => socket.emit(event, ...args, resolve)), `the ack of "${event}"`);
}

async function connected(io, way) {
  const socket = io(url, { transports: TRANSPORTS[way], forceNew: true, reconnection: false });
  await next(socket, "connect");
  return socket;
}

/** Pings of one that lives, and the end of one that is silent. */
async function hearts(name, way) {
  const io = createRequire(import.meta.url)(name);
  const watching = await connected(io4, way);
  await ask(watching, "watch");
  const [socket, stuck] = [await connected(io, way), await connected(io, way)];
  const { engine } = stuck.io;
  const { id } = stuck; // it forgets it at its end
  if (way === "upgrade" && engine.transport.name !== "websocket") await next(engine, "upgrade");
  const reason = within(new Promise((resolve) => watching.on("left", ([who, why]) => who === id && resolve(why))), `the end of a ${name}, ${way}`);
  engine.sendPacket = () => {}; // its pings among them
  engine.ping = () => {};
  engine.onHeartbeat = () => {}; // it does not notice by itself
  const pongs = [];
  socket.on("pong", (milliseconds) => pongs.push(milliseconds));
  assert.equal(await reason, "ping timeout", `${name}, ${way}`);
  while (pongs.length < 2) await next(socket, "pong"); // a busy server may answer the first one late
  assert.equal(await ask(socket, "echo", "alive"), "alive");
  assert.equal(await ask(watching, "echo", "alive"), "alive");
}

assert.ok(pairs.length, "usage: node hearts2.mjs URL PACKAGE=WAY ...");
await run(pairs.join(", "), {
  "they stay for longer than an interval, and the silence of those that are stuck ends": () =>
    Promise.all(pairs.map((pair) => hearts(...pair.split("=")))),
});
