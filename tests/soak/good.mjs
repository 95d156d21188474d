// Good clients by npm's socket.io-client: numbered events with acks, and what each hears of everybody.
// It must not know what is done to the server. Usage: node good.mjs CONFIG; a closed standard input ends it.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const { io } = createRequire(new URL("../e2e/package.json", import.meta.url))("socket.io-client");
const config = JSON.parse(readFileSync(process.argv[2], "utf8"));
const now = () => Date.now() / 1000;
let talking = true;

class Client {
  constructor({ name, url, machine, transports }) {
    this.socket = io(url, {
      transports,
      forceNew: true,
      reconnectionDelay: 100,
      reconnectionDelayMax: 500,
      ca: machine.ca ? readFileSync(machine.ca) : undefined,
    });
    this.report = { name, machine: machine.name, transports, client: "socket.io-client", said: 0 };
    Object.assign(this.report, { acks: [], heard: {}, late: [], comes: [], goes: [], unanswered: [] });
    this.socket.on("connect", () => this.report.comes.push([now(), this.socket.recovered]));
    this.socket.on("disconnect", (reason) => this.report.goes.push([now(), reason]));
    this.socket.on("told", (who, number) => this.hear(who, number));
  }

  /** Numbers that follow each other are one stretch. */
  hear(who, number) {
    const stretches = (this.report.heard[who] ??= []);
    const last = stretches.at(-1)?.[1] ?? 0;
    if (number <= last) this.report.late.push([who, number, last]);
    else if (number === last + 1 && stretches.length > 0) stretches.at(-1)[1] = number;
    else stretches.push([number, number]);
  }

  /** One event; what a lost connection left open may have been told or not. */
  async say() {
    const number = ++this.report.said;
    const begun = performance.now();
    try {
      await this.socket.timeout(config.patience_seconds * 1000).emitWithAck("tell", this.report.name, number);
      this.report.acks.push([number, now(), performance.now() - begun]);
    } catch (error) {
      if (!/disconnected/.test(error.message)) this.report.unanswered.push([number, now(), error.message]);
    }
  }

  async talk() {
    while (talking) {
      if (this.socket.connected) void this.say();
      await sleep(config.pause_seconds * 1000 * (0.5 + Math.random()));
    }
  }
}

const clients = config.clients.map((each) => new Client(each));
const all = Promise.all(clients.map((client) => client.talk()));
while (clients.some((client) => client.report.comes.length === 0)) await sleep(20);
console.log("ready");
process.stdin.resume();
await new Promise((resolve) => process.stdin.on("close", resolve));
talking = false;
await all;
await sleep(config.last_words_seconds * 1000);
for (const client of clients) client.report.here = client.socket.connected;
writeFileSync(config.report, JSON.stringify(clients.map((client) => client.report)));
for (const client of clients) client.socket.disconnect();
await sleep(1000);
process.exit(0);
