// socket.io-client 4, polling only, against tests/e2e/apps/homes_app.py: clients that talk, lose their worker, come back.
// Usage: node crowd.mjs URL CLIENTS RETURNS recovered|anew

import { io } from "socket.io-client";
import { assert, run, within } from "./check.mjs";

const [url, count, returns, wanted] = process.argv.slice(2);
const clients = Array.from({ length: Number(count) }, () =>
  io(url, { transports: ["polling"], forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100 }),
);

const lives = clients.map(() => []); // what each was told of its state, each time
let back = 0;

/** Talks until it has come back so often. */
async function live(socket, told) {
  socket.on("connect", () => {
    told.push(socket.recovered);
    if (Math.min(...lives.map(({ length }) => length)) > back + 1) console.log(`all are back: ${(back += 1)}`);
  });
  for (let turn = 0; told.length <= Number(returns); turn += 1) {
    try {
      assert.equal(await socket.emitWithAck("echo", turn), turn);
    } catch (error) {
      assert.match(error.message, /disconnected/);
    }
  }
  return told.slice(1);
}

await run(`${count} clients`, {
  [`come back ${returns} times, ${wanted}`]: async () => {
    const come = Promise.all(clients.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
    const ends = clients.map((socket, index) => live(socket, lives[index]));
    await within(come, "the connections");
    console.log("all have come");
    const told = await within(Promise.all(ends), "the returns");
    assert.deepEqual(new Set(told.flat()), new Set([wanted === "recovered"]), JSON.stringify(told));
    for (const socket of clients) socket.disconnect();
  },
});
