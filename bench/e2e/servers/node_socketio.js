// Node's socket.io: `node_socketio.js PORT`.
// The same events as ours_socketio.py; it must not know the load.
"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer({ keepAliveTimeout: 75_000 }); // ours; its own 5 s end a POST's connection in between
const io = new Server(http, { serveClient: false, perMessageDeflate: false });

// Who is in every room, and how many there are: the visits go to rooms that exist.
let [filler, rooms] = ["", 1];

io.on("connection", (socket) => {
  socket.on("echo", (message) => socket.emit("echo", message));
  socket.on("echo_ack", (message, answer) => answer(message));
  socket.on("join", (answer) => {
    socket.join("players");
    answer("joined");
  });
  socket.on("fill", (count, answer) => {
    socket.join(Array.from({ length: count }, (_, number) => `room ${number}`));
    filler = socket.id;
    rooms = count;
    answer("filled");
  });
  socket.on("visit", (message) => {
    const room = `room ${(message.number * 97) % rooms}`;
    socket.join(room);
    io.to(room).except(filler).emit("news", message);
    socket.leave(room);
  });
  socket.on("say", (message) => io.to("players").emit("news", message));
});

http.listen(Number(process.argv[2]), "127.0.0.1", 4096);
