// Clients of one driver: opened, waited for, closed together.
// It must not know what they say.

import { io } from "socket.io-client";
import { within } from "./check.mjs";

const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };

/** client(namespace, options) opens one, connected() waits for it as well, closeAll() ends all that stand in `open`. */
export function clientsOf(url, way, common = {}) {
  const transports = TRANSPORTS[way];
  if (!url || !transports) throw new Error(`usage: node DRIVER URL ${Object.keys(TRANSPORTS).join("|")} ...`);
  const open = [];

  function client(namespace = "", options = {}) {
    const socket = io(url + namespace, { transports, forceNew: true, reconnection: false, ...common, ...options });
    open.push(socket);
    return socket;
  }

  async function connected(namespace, options) {
    const socket = client(namespace, options);
    await within(
      new Promise((resolve, reject) => {
        socket.once("connect", resolve);
        socket.once("connect_error", reject);
      }),
      `the connection to ${namespace || "/"}`,
    );
    return socket;
  }

  function closeAll() {
    for (const socket of open.splice(0)) socket.disconnect();
  }

  return { client, connected, closeAll, open };
}
