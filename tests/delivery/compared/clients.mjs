// Official clients with their default options, each behind a proxy of its own, and one speaker of numbered broadcasts.
// It must not know which server it is. Usage: node clients.mjs PACKAGES URL CLIENTS EVENTS CUT MILLISECONDS SEED
//
// Two phases of EVENTS accepted broadcasts, one in MILLISECONDS. When the first has spoken a tenth it says "replace", and
// the server is replaced until a line comes on stdin. In the second CUT clients are cut, each once. At the end: the counts.

import http from "node:http";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Proxy } from "../proxy.mjs";

const [packages, url, ...numbers] = process.argv.slice(2);
const [count, events, cut, pause, seed] = numbers.map(Number);
const { io } = createRequire(`${packages}/`)("socket.io-client");
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

const clients = await Promise.all(
  Array.from({ length: count }, async () => {
    const proxy = new Proxy();
    const client = { proxy, socket: io(await proxy.listen(url), { forceNew: true }), heard: [], returns: [] };
    client.socket.on("connect", () => client.returns.push(client.socket.recovered));
    client.socket.on("told", (number) => client.heard.push(number));
    return client;
  }),
);

const all = (condition) => clients.every(condition);
async function until(condition, seconds = 120) {
  for (const deadline = Date.now() + seconds * 1000; !condition(); await sleep(10)) {
    if (Date.now() > deadline) throw new Error(`${seconds} s in vain: ${condition}`);
  }
}

/** Resolves to whether the server took it; rejects when it cannot be known, or was refused (ECONNREFUSED). */
function post(number) {
  return new Promise((resolve, reject) => {
    const request = http.request(`${url}/say/${number}`, { method: "POST", agent }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode === 200));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end();
  });
}

let number = 0;
/** Says one event; returns its number, or null if the server did not confirm it: then it does not count. */
async function say() {
  for (number += 1; ; await sleep(pause)) {
    try {
      return (await post(number)) ? number : null;
    } catch (error) {
      if (error.code !== "ECONNREFUSED") return null; // it may have been told: it is not said again
    }
  }
}

/** The accepted events of a phase; `fault` is started behind the first tenth, and awaited. */
async function phase(fault) {
  const said = [];
  let [running, over] = [null, false];
  while (said.length < events || !over || !all(({ socket }) => socket.connected)) {
    if (running === null && said.length >= events / 10) running = fault().then(() => (over = true));
    const told = await say();
    if (told !== null) said.push(told);
    await sleep(pause);
  }
  return said;
}

function counted(said, returnsBefore) {
  const accepted = new Set(said);
  const counts = { events: said.length, due: said.length * count, once: 0, missed: 0, doubled: 0, late: 0 };
  for (const { heard } of clients) {
    const times = new Map();
    let latest = 0;
    let late = 0;
    for (const each of heard) {
      if (!accepted.has(each)) continue;
      if (!times.has(each) && each < latest) late += 1;
      times.set(each, (times.get(each) ?? 0) + 1);
      latest = Math.max(latest, each);
    }
    const doubled = [...times.values()].filter((each) => each > 1).length;
    counts.missed += said.length - times.size;
    counts.doubled += doubled;
    counts.late += late;
    counts.once += times.size - doubled - late;
  }
  const returns = clients.flatMap(({ returns }, index) => returns.slice(returnsBefore[index]));
  return { ...counts, returns: returns.length, recovered: returns.filter(Boolean).length };
}

await until(() => all(({ socket }) => socket.connected && socket.io.engine.transport.name === "websocket"));
console.log("connected");
const returnsNow = () => clients.map(({ returns }) => returns.length);

const faults = {
  async deploy() {
    console.log("replace");
    await lines.next();
  },
  async cut() {
    const left = [...clients];
    for (let [turn, random] = [0, seed]; turn < cut; turn += 1) {
      random = (random * 48271) % 2147483647; // the minimal standard generator
      const [{ proxy }] = left.splice(random % left.length, 1);
      if (proxy.cut() === 0) throw new Error("there was nothing to cut");
      await sleep((pause * events) / 2 / cut);
    }
  },
};
const phases = {};
for (const [name, fault] of Object.entries(faults)) {
  const before = returnsNow();
  const said = await phase(fault);
  // What is still on its way: as long as the events of one return, and longer than a client waits before it returns.
  await until(() => all(({ heard }) => heard.at(-1) >= said.at(-1)), 30);
  await sleep(2000);
  phases[name] = counted(said, before);
}
console.log(JSON.stringify(phases));
process.exit(0);
