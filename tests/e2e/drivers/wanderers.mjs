// socket.io-client 4, clients that go from one machine to another when they are told to, and keep what they hear.
// It must not know the story: every line of its input is one order, every line of its output an answer.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import { next, within } from "./check.mjs";

const sockets = new Map();
const heard = new Map();

function make(who, url) {
  const socket = io(url, { autoConnect: false, forceNew: true, reconnection: false });
  heard.set(who, []);
  socket.on("told", (...words) => heard.get(who).push(words));
  sockets.set(who, socket);
  return socket;
}

const orders = {
  /** To that machine; is it as it was? */
  async come(who, url, transport) {
    const socket = sockets.get(who) ?? make(who, url);
    socket.io.uri = url;
    socket.io.opts.transports = [transport];
    const came = Promise.race([next(socket, "connect"), next(socket, "connect_error").then(([error]) => Promise.reject(error))]);
    socket.connect();
    await came;
    return socket.recovered === true;
  },

  /** The connection ends, and the client does not say that it leaves. */
  async cut(who) {
    const socket = sockets.get(who);
    if (socket.connected) {
      const gone = next(socket, "disconnect");
      socket.io.engine.close();
      await gone;
    }
  },

  /** Until somebody else has ended it. */
  async gone(who) {
    const socket = sockets.get(who);
    if (socket.connected) await next(socket, "disconnect");
  },

  ask: (who, event, ...values) => within(sockets.get(who).emitWithAck(event, ...values), `the ack of ${event}`),

  /** All that it was told, once it was told that by that one. */
  async heard(who, by, number) {
    const told = heard.get(who);
    const has = () => told.some((words) => words[0] === by && words[1] === number);
    while (!has()) await next(sockets.get(who), "told");
    return told;
  },

  pid: async (who) => sockets.get(who)._pid,

  offset: async (who) => sockets.get(who)._lastOffset,

  async leave(who) {
    sockets.get(who).disconnect();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { number, order, given } = JSON.parse(line);
  orders[order](...given).then(
    (answer) => console.log(JSON.stringify({ number, answer })),
    (error) => console.log(JSON.stringify({ number, error: String(error) })),
  );
}
process.exit(0);
