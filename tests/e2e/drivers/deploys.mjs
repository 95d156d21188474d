// socket.io-client 4, polling only, against tests/e2e/apps/homes_app.py: numbered events while workers come and go.
// Usage: node deploys.mjs URL SUPERVISOR EVENTS

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { assert, run, within } from "./check.mjs";

const [url, supervisor, wanted] = process.argv.slice(2);
const CLIENTS = 8;
const OUTSTANDING = 16; // events of one client that are not acknowledged yet
const SLOWLY_MS = 750; // between two events of each of these: more than a hundred a second, of all

const clients = [];

class Client {
  heard = []; // [who, number], of everybody
  acknowledged = []; // of this one
  returns = []; // whether it recovered, each time
  missing = Array(CLIENTS).fill(0); // up to which number of each speaker
  said = 0;

  constructor() {
    this.name = clients.length;
    this.socket = io(url, { transports: ["polling"], forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100 });
    this.socket.on("told", (who, number) => this.heard.push([who, number]));
    this.socket.on("connect", () => this.returns.push(this.socket.recovered));
  }

  /** The worker that has it; asked again when it has moved meanwhile. */
  async home() {
    for (;;) {
      try {
        return await this.socket.emitWithAck("where");
      } catch (error) {
        assert.match(error.message, /disconnected/);
      }
    }
  }

  /** One event; what was not acknowledged may have been told or not, and is not said again under its number. */
  async say() {
    this.said += 1;
    const number = this.said;
    try {
      await this.socket.emitWithAck("tell", this.name, number);
      this.acknowledged.push(number);
    } catch (error) {
      assert.match(error.message, /disconnected/);
    }
  }
}

while (clients.length < CLIENTS) clients.push(new Client());
const total = () => clients.reduce((sum, client) => sum + client.acknowledged.length, 0);
let [quota, talking] = [0, true];

async function until(condition, what) {
  await within(
    (async () => {
      while (!(await condition())) await sleep(10);
    })(),
    what,
  );
}

// At full speed up to the quota of the step, then slowly: no step is without events.
async function speak(client) {
  while (talking) {
    if (total() >= quota) await sleep(SLOWLY_MS);
    await client.say();
  }
}

const homes = async () => new Set(await Promise.all(clients.map((client) => client.home())));
const gone = (pid) => {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
};
const signal = (name) => process.kill(Number(supervisor), name);
const returned = (before) => clients.every((client, index) => client.returns.length > before[index]);
const counts = () => clients.map((client) => client.returns.length);

const workers = () => readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, "utf8").trim().split(" ");

/** New workers for all; the clients of the old ones have come back. */
async function restart() {
  const [old, before] = [workers().map(Number), counts()];
  signal("SIGHUP");
  await until(() => returned(before), "the return of everybody");
  await until(() => old.every(gone), "the end of the old workers");
}

let orphans = new Set();
const stories = [
  [
    "a worker is killed",
    async () => {
      // First: all are far from their --max-requests, none ends by itself meanwhile.
      const where = await Promise.all(clients.map((client) => client.home()));
      orphans = new Set(clients.filter((_, index) => where[index] === where[0]));
      const before = counts();
      process.kill(where[0], "SIGKILL");
      await until(() => [...orphans].every((client) => client.returns.length > before[client.name]), "their return");
      // What was said by now they may have missed, and nothing later.
      for (const client of orphans) client.missing = clients.map(({ said }) => said);
    },
  ],
  ["a rolling restart", restart],
  ["one worker more", async () => signal("SIGTTIN")],
  ["one worker less", async () => signal("SIGTTOU")],
  ["another rolling restart", restart],
];

const steps = {
  "everybody has come": async () => {
    await until(() => clients.every((client) => client.returns.length === 1), "the connections");
    assert((await homes()).size > 1, "all of them at one worker");
  },
};
let speakers = [];
for (const [index, [title, story]] of stories.entries()) {
  steps[title] = async () => {
    if (index === 0) speakers = clients.flatMap((client) => Array.from({ length: OUTSTANDING }, () => speak(client)));
    quota = Math.floor((Number(wanted) * (index + 1)) / (stories.length + 1));
    await until(() => total() >= quota - Number(wanted) / (stories.length + 1) / 2, "events before it");
    await story();
    await until(() => total() >= quota, "events after it");
  };
}
steps["the last events"] = async () => {
  quota = Number(wanted);
  await until(() => total() >= quota, "the last events");
  talking = false;
  await within(Promise.all(speakers), "the last acknowledgements");
};
steps["nothing acknowledged is lost or doubled, each speaker is heard in order"] = async () => {
  const last = clients.map((client) => client.acknowledged.at(-1));
  const complete = (client) => last.every((number, who) => client.heard.some((each) => each[0] === who && each[1] >= number));
  await until(() => clients.every(complete), "the last words").catch(() => {}); // told below
  for (const client of clients) {
    for (const speaker of clients) {
      const heard = client.heard.filter(([who]) => who === speaker.name).map(([, number]) => number);
      const about = `client ${client.name} of ${speaker.name}, returns ${client.returns}`;
      const late = heard.filter((number, place) => place > 0 && number <= heard[place - 1]);
      assert.deepEqual(late, [], `${about}: out of order or doubled`);
      const known = new Set(heard);
      const told = speaker.acknowledged.filter((number) => number > client.missing[speaker.name]);
      const missed = told.filter((number) => !known.has(number));
      assert.deepEqual(missed, [], `${about}: missed`);
    }
  }
  console.log(`     ${total()} events acknowledged, ${counts().reduce((a, b) => a + b)} connections`);
};
steps["who recovered was told so, and who did not"] = async () => {
  assert(orphans.size > 0);
  for (const client of clients) {
    const anew = client.returns.flatMap((recovered, place) => (recovered ? [] : [place]));
    assert.deepEqual(anew, orphans.has(client) ? [0, 1] : [0], `client ${client.name}: ${client.returns}`);
  }
};

await run(`workers come and go, ${wanted} events`, steps);
