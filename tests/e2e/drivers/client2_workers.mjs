// socket.io-client 2 against tests/e2e/apps/version2_app.py on two workers, beside clients of version 4.
// Usage: node client2_workers.mjs URL SUPERVISOR

import http from "node:http";
import { createRequire } from "node:module";
import { io as io4 } from "socket.io-client";
import { assert, next, run, within } from "./check.mjs";

const io2 = createRequire(import.meta.url)("socket.io-client-2");
const [url, supervisor] = process.argv.slice(2);
const CLIENTS = 8;
const bytes = Buffer.from([0, 4, 255]);
const ways = [
  { transports: ["polling"], agent: new http.Agent({ keepAlive: false }) }, // each request at any worker
  { transports: ["polling", "websocket"] },
  { transports: ["websocket"] },
];
const open = [];

function connect(io, options) {
  const socket = io(url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...options });
  open.push(socket);
  return within(new Promise((resolve) => socket.once("connect", () => resolve(socket))), "a connection");
}

function crowd(io) {
  return Promise.all(Array.from({ length: CLIENTS }, (_, index) => connect(io, ways[index % ways.length])));
}

function ask(socket, event, ...args) {
  return within(new Promise((resolve) => socket.emit(event, ...args, resolve)), `the ack of "${event}"`);
}

async function echo(sockets) {
  const homes = new Set();
  for (const socket of sockets) {
    assert.deepEqual(await ask(socket, "echo", bytes), bytes);
    homes.add(await ask(socket, "where"));
  }
  return homes;
}

await run("socket.io-client 2, two workers", {
  "sessions are found, whichever worker a request comes to": async () => {
    const sockets = await crowd(io2);
    await within(
      (async () => {
        while ((await echo(sockets)).size < 2) sockets.push(await connect(io2, ways[0]));
      })(),
      "clients at both workers",
    );
  },

  "rooms and names reach over workers, for both versions": async () => {
    const current = await crowd(io4);
    const all = [...open];
    for (const socket of all) {
      socket.emit("enter", "blue");
      await ask(socket, "where");
    }
    for (const speaker of [open[0], current[0]]) {
      const heard = all.map((socket) => next(socket, "said"));
      await ask(speaker, "tell", "blue", "é", bytes);
      for (const event of await Promise.all(heard)) assert.deepEqual(event, ["é", bytes]);
    }
    for (const socket of all) {
      const heard = next(socket, "said");
      current[1].emit("to", socket.id, "you");
      assert.deepEqual(await heard, ["you"]);
    }
  },

  "all come back after the workers were replaced": async () => {
    const sockets = [...open];
    const names = new Set(sockets.map((socket) => socket.id));
    const homes = await echo(sockets);
    const back = sockets.map((socket) => next(socket, "welcome"));
    process.kill(Number(supervisor), "SIGHUP");
    await Promise.all(back);
    for (const home of await echo(sockets)) assert(!homes.has(home), `${home} was to be replaced`);
    for (const socket of sockets) assert(!names.has(socket.id), "a name of before");
    for (const socket of sockets) socket.close();
  },
});
