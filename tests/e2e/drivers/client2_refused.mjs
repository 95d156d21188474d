// The old socket.io-client 2 (Engine.IO 3) at a server that does not let it in: it must be told so at once.
// Usage: node client2_refused.mjs URL

import { createRequire } from "node:module";
import { assert, next, run } from "./check.mjs";

const io = createRequire(import.meta.url)("socket.io-client-2");
const [url] = process.argv.slice(2);
if (!url) {
  console.error("usage: node client2_refused.mjs URL");
  process.exit(2);
}

await run("socket.io-client 2", {
  "is refused, neither served nor left waiting": async () => {
    for (const transport of ["polling", "websocket"]) {
      const socket = io(url, { transports: [transport], forceNew: true, reconnection: false });
      const [error] = await next(socket, "connect_error");
      assert.ok(error);
      assert.equal(socket.connected, false);
      socket.close();
    }
  },

  "the refusal is a 400 that names the cause": async () => {
    const response = await fetch(`${url}/socket.io/?EIO=3&transport=polling`);
    assert.equal(response.status, 400);
    const body = await response.json();
    assert.equal(body.code, 5);
    assert.match(body.message, /version.*allow_eio3=True/i);
  },
});
