// Official clients, each behind a proxy of its own: they say what they are told to, and tell what they hear, in JSON lines.
// It must not know what is a fault. Usage: node official_clients.mjs PACKAGES URL FIRST ROOM WAY...

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { Proxy } from "./proxy.mjs";

const [packages, url, first, room, ...ways] = process.argv.slice(2);
const { io } = createRequire(`${packages}/`)("socket.io-client");
const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
const tell = (...words) => process.stdout.write(`${JSON.stringify(words)}\n`);
const clients = new Map();

for (const [index, way] of ways.entries()) {
  const name = Number(first) + index;
  const proxy = new Proxy();
  const delays = { reconnectionDelay: 20, reconnectionDelayMax: 200 };
  const socket = io(await proxy.listen(url), { transports: TRANSPORTS[way], forceNew: true, auth: { room }, ...delays });
  socket.on("connect", () => tell("returned", name, socket.recovered));
  socket.on("disconnect", () => tell("gone", name));
  socket.on("told", (told) => tell("heard", name, ...told));
  clients.set(name, { socket, proxy });
}

const orders = {
  say(name, number) {
    const { socket } = clients.get(name);
    if (!socket.connected) return tell("given up", name, number);
    socket.emitWithAck("tell", room, name, number).then(
      (told) => tell("acknowledged", name, number, ...told),
      () => tell("given up", name, number),
    );
  },
  cut(name) {
    tell("cut", name, clients.get(name).proxy.cut());
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [order, ...words] = JSON.parse(line);
  orders[order](...words);
}
process.exit(0);
