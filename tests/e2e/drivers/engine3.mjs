// The engine.io-client of socket.io-client 2 against tests/e2e/apps/engine3_app.py.
// Usage: node engine3.mjs URL polling|websocket|upgrade ...

import { createRequire } from "node:module";
import { assert, next, run } from "./check.mjs";

const [url, ...ways] = process.argv.slice(2);
const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
const eio = createRequire(createRequire(import.meta.url).resolve("socket.io-client-2"))("engine.io-client");

async function converse(way) {
  const socket = eio(url, { transports: TRANSPORTS[way], path: "/engine.io/" });
  await next(socket, "open");
  const big = Buffer.from(Array.from({ length: 70_000 }, (_, index) => index % 256));
  for (const data of ["é😀", "", "4", "b4AA==", "x".repeat(70_000), Buffer.from([]), Buffer.from([4, 255]), big]) {
    const back = next(socket, "message");
    socket.send(data);
    assert.deepEqual((await back)[0], data === "" ? undefined : data, way); // so its parser reads an empty one
  }
  await next(socket, "pong");
  if (way === "upgrade") assert.equal(socket.transport.name, "websocket");
  const closed = next(socket, "close");
  socket.close();
  await closed;
}

assert.ok(ways.length, "usage: node engine3.mjs URL polling|websocket|upgrade ...");
await run(`engine.io-client 3, ${ways.join(", ")}`, {
  "messages come back as they were": () => Promise.all(ways.map(converse)),
});
