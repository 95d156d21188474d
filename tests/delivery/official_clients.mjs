// Official clients, each behind a proxy of its own: they say what they are told to, and tell what they hear, in JSON lines.
// It must not know what is a fault. Usage: node official_clients.mjs PACKAGES URL FIRST ROOM RETRIES WAY...

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { Proxy } from "./proxy.mjs";

const [packages, url, first, room, retries, ...ways] = process.argv.slice(2);
const { io } = createRequire(`${packages}/`)("socket.io-client");
const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
const tell = (...words) => process.stdout.write(`${JSON.stringify(words)}\n`);
const clients = new Map();
// With retries a client sends one event until it is acknowledged, and only then the next one.
const ACK_MILLISECONDS = 20_000;
const resending = Number(retries) ? { retries: Number(retries), ackTimeout: ACK_MILLISECONDS } : {};

for (const [index, way] of ways.entries()) {
  const name = Number(first) + index;
  const proxy = new Proxy();
  const delays = { reconnectionDelay: 20, reconnectionDelayMax: 200 };
  const socket = io(await proxy.listen(url), { transports: TRANSPORTS[way], forceNew: true, auth: { room }, ...delays, ...resending });
  socket.on("connect", () => tell("returned", name, socket.recovered));
  socket.on("disconnect", () => tell("gone", name));
  socket.on("told", (told) => tell("heard", name, ...told));
  let sent = 0;
  socket.onAnyOutgoing((event, _, number) => {
    if (event !== "keep") return;
    if (number === sent) tell("resent", name, number);
    sent = number;
  });
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
  /** It goes into the queue of the client, connected or not. */
  keep(name, number) {
    clients.get(name).socket.emit("keep", name, number, (error, isNew) => {
      if (error) tell("discarded", name, number, String(error));
      else tell("kept", name, number, isNew);
    });
  },
  /** Its connection ends, and it comes back, wherever it is sent then. */
  again(name) {
    clients.get(name).socket.io.engine.close();
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
