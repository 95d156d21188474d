// socket.io-client 4 against tests/e2e/apps/crew_app.py: clients of different workers meet.
// Usage: node crew.mjs URL WORKERS

import { assert, next, run } from "./check.mjs";
import { clientsOf } from "./clients.mjs";

const [url, workers] = process.argv.slice(2);
const { closeAll, connected } = clientsOf(url, "websocket");

// One client of each worker: which worker takes a connection is the system's choice.
async function oneOfEach() {
  const found = new Map();
  const others = [];
  for (let tries = 0; found.size < Number(workers) && tries < 300; tries += 1) {
    const socket = await connected();
    const worker = await socket.emitWithAck("where");
    if (found.has(worker)) others.push(socket); // held until the end: a worker above the mean takes fewer
    else found.set(worker, socket);
  }
  for (const socket of others) socket.disconnect();
  assert.equal(found.size, Number(workers));
  return [...found.values()];
}

await run(`many workers, socket.io-client 4, ${workers} workers`, {
  "a room over all workers": async () => {
    const sockets = await oneOfEach();
    const [speaker, ...others] = sockets;
    for (const socket of others) await socket.emitWithAck("join", "node");
    const heard = others.map((socket) => next(socket, "said"));
    speaker.emit("say", { bytes: Buffer.from([0, 255]), text: "é" }, "node");
    for (const promise of heard) {
      const [data] = await promise;
      assert.equal(data.text, "é");
      assert.deepEqual(Buffer.from(data.bytes), Buffer.from([0, 255]));
    }
    const members = await speaker.emitWithAck("members", "node");
    assert.deepEqual(members, others.map((socket) => socket.id).sort());
    for (const socket of sockets) socket.disconnect();
  },

  "acks from other workers, binary ones too": async () => {
    const [asker, answering, third] = await oneOfEach();
    for (const socket of [answering, third]) {
      socket.on("question", (data, ack) => ack({ id: socket.id, data, bytes: Buffer.from([1, 2]) }));
      await socket.emitWithAck("join", "asked by node");
    }
    const answer = await asker.emitWithAck("ask", answering.id, "what");
    assert.equal(answer.id, answering.id);
    assert.deepEqual(Buffer.from(answer.bytes), Buffer.from([1, 2]));
    const room = await asker.emitWithAck("ask room", "asked by node", 60);
    assert.equal(room.missing, 0);
    assert.deepEqual(room.values.map((values) => values[0].id).sort(), [answering.id, third.id].sort());
    closeAll();
  },

  "sent away by another worker": async () => {
    const [speaker, guest] = await oneOfEach();
    const closing = next(guest, "closing");
    const gone = next(guest, "disconnect");
    speaker.emit("kick", guest.id, "enough");
    assert.equal((await closing)[0].detail, "enough");
    assert.equal((await gone)[0], "io server disconnect");
    closeAll();
  },

  "who is there": async () => {
    const [watcher, ...tabs] = await oneOfEach();
    await watcher.emitWithAck("join", "watchers of node");
    const joined = next(watcher, "said");
    for (const tab of tabs) await tab.emitWithAck("join as", "node", { name: "é" }, "ann");
    assert.deepEqual((await joined)[0], ["join", "é"]);
    assert.deepEqual(await watcher.emitWithAck("who", "node"), tabs.map(() => ["ann", { name: "é" }]));
    const left = next(watcher, "said");
    for (const tab of tabs) tab.disconnect();
    assert.deepEqual((await left)[0], ["leave", "é"]);
    closeAll();
  },

  "credentials that end, set by another worker; it joins again by hand": async () => {
    const [speaker, guest] = await oneOfEach();
    const closing = next(guest, "closing");
    const gone = next(guest, "disconnect");
    speaker.emit("expire", guest.id, 1);
    assert.equal((await closing)[0].reason, "auth expired");
    assert.equal((await gone)[0], "io server disconnect");
    const back = next(guest, "connect");
    guest.connect();
    await back;
    assert.equal(typeof (await guest.emitWithAck("where")), "number");
    closeAll();
  },
});
