// socket.io-client 4 over TLS: a large event comes back over polling, and after an upgrade.
// Usage: node tls4.mjs URL CA_FILE

import { readFileSync } from "node:fs";
import { io } from "socket.io-client";
import { assert, run, within } from "./check.mjs";

const [url, ca_file] = process.argv.slice(2);
const large = "x".repeat(50_000);

async function echo(transports) {
  const socket = io(url, { transports, forceNew: true, reconnection: false, ca: readFileSync(ca_file) });
  try {
    const connected = new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", reject);
    });
    const upgraded = new Promise((resolve) => socket.io.engine.once("upgrade", resolve));
    await within(connected, "the connection");
    if (transports.length > 1) await within(upgraded, "the upgrade");
    assert.equal(socket.io.engine.transport.name, transports.at(-1));
    assert.equal(await within(socket.emitWithAck("echo", large), "the answer"), large);
  } finally {
    socket.disconnect();
  }
}

await run("Socket.IO over TLS, socket.io-client 4", {
  "a large event over polling": () => echo(["polling"]),
  "a large event after an upgrade": () => echo(["polling", "websocket"]),
});
