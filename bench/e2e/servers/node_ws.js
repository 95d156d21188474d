// Node's ws: `node_ws.js PORT echo|broadcast`.
// It must not know the load.
"use strict";

const { WebSocketServer } = require("ws");

const [port, job] = [Number(process.argv[2]), process.argv[3]];
const server = new WebSocketServer({
  port,
  host: "127.0.0.1",
  perMessageDeflate: false,
  maxPayload: 16 << 20,
  backlog: 4096,
});

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
