// Node's ws: `node_ws.js PORT [deflate-]echo|[deflate-]broadcast|tls`.
// Deflate as in deflate_settings.py; it must not know the load.
"use strict";

const { readFileSync } = require("node:fs");
const { createServer } = require("node:https");
const { WebSocketServer } = require("ws");

const [port, job] = [Number(process.argv[2]), process.argv[3]];
const deflate = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  threshold: 0,
  zlibDeflateOptions: { level: 6, memLevel: 8 },
};
const options = { perMessageDeflate: job.startsWith("deflate") && deflate, maxPayload: 16 << 20 };
const address = { port, host: "127.0.0.1", backlog: 4096 };

function secured() {
  const files = { TLS_CERTIFICATE: "cert", TLS_KEY: "key" };
  const read = Object.entries(files).map(([name, word]) => [word, readFileSync(process.env[name])]);
  return createServer(Object.fromEntries(read)).listen(address);
}

const server = new WebSocketServer({ ...options, ...(job === "tls" ? { server: secured() } : address) });

server.on("connection", (socket) => {
  socket.on("error", () => {});
  if (job.endsWith("broadcast")) {
    socket.on("message", (data, binary) => {
      for (const member of server.clients) member.send(data, { binary });
    });
  } else {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
  }
});
