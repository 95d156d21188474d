// Node's socket.io: `node_socketio.js PORT`.
// The same events as ours_socketio.py; it must not know the load.
"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { serveClient: false, perMessageDeflate: false });

io.on("connection", (socket) => {
  socket.on("echo", (message) => socket.emit("echo", message));
  socket.on("echo_ack", (message, answer) => answer(message));
  socket.on("join", (answer) => {
    socket.join("players");
    answer("joined");
  });
  socket.on("say", (message) => io.to("players").emit("news", message));
});

http.listen(Number(process.argv[2]), "127.0.0.1", 4096);
