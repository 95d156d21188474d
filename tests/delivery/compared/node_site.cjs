// What is compared, under Node's socket.io: `node_site.cjs PACKAGES PORT 0|1`; each POST is told to everybody.
// It must not know clients, or how it is replaced. The last word: connectionStateRecovery or not.
"use strict";

const { createServer } = require("node:http");
const [packages, port, recovery] = process.argv.slice(2);
const { Server } = require(`${packages}/socket.io`);

const http = createServer((request, response) => {
  io.emit("told", Number(request.url.split("/").at(-1)));
  response.end("told");
});
const io = new Server(http, recovery === "1" ? { connectionStateRecovery: {} } : {});
http.listen(Number(port), "127.0.0.1");
