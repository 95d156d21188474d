// Node's ws: `node_ws.js PORT echo|broadcast|tls`.
// It must not know the load.
"use strict";

const { readFileSync } = require("node:fs");
const { createServer } = require("node:https");
const { WebSocketServer } = require("ws");

const [port, job] = [Number(process.argv[2]), process.argv[3]];
const options = { perMessageDeflate: false, maxPayload: 16 << 20 };
const address = { port, host: "127.0.0.1", backlog: 4096 };

function secured() {
  const files = { TLS_CERTIFICATE: "cert", TLS_KEY: "key" };
  const read = Object.entries(files).map(([name, word]) => [word, readFileSync(process.env[name])]);
  return createServer(Object.fromEntries(read)).listen(address);
}

const server = new WebSocketServer({ ...options, ...(job === "tls" ? { server: secured() } : address) });

server.on("connection", (socket) => {
  socket.on("error", () => {});
  if (job === "broadcast") {
    socket.on("message", (data, binary) => {
      for (const member of server.clients) member.send(data, { binary });
    });
  } else {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
  }
});
