// socket.io-client 4 against tests/e2e/apps/homes_app.py on many workers: sessions found, lost and recovered.
// Usage: node homes.mjs URL SUPERVISOR WHAT [PACE_MS]

import http from "node:http";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";
import { assert, run, within } from "./check.mjs";

const [url, supervisor, what, pace] = process.argv.slice(2);
const CLIENTS = 50;
const web = url.startsWith("https:") ? https : http;
const trust = { rejectUnauthorized: false }; // the certificate is the test's own
const noKeepAlive = { transports: ["polling"], agent: new web.Agent({ keepAlive: false, ...trust }) };
const upgrading = { transports: ["polling", "websocket"] };
const websocket = { transports: ["websocket"] };

function connect(options) {
  const socket = io(url, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...trust, ...options });
  return within(new Promise((resolve) => socket.once("connect", () => resolve(socket))), "a connection");
}

function crowd(count, options) {
  return Promise.all(Array.from({ length: count }, () => connect(options)));
}

async function talk(sockets) {
  const homes = new Set();
  await Promise.all(
    sockets.map(async (socket, index) => {
      for (let turn = 0; turn < 10; turn += 1) {
        const data = [index, turn, Buffer.from([turn, 255])];
        const [where, back] = await within(
          Promise.all([socket.emitWithAck("where"), socket.emitWithAck("echo", data)]),
          "an echo",
        );
        assert.deepEqual(back, data);
        homes.add(where);
      }
    }),
  );
  assert(homes.size > 1, "all of them at one worker");
  for (const socket of sockets) socket.disconnect();
}

function ask(method, path) {
  return new Promise((resolve, reject) => {
    const request = web.request(url + path, { method, agent: false, ...trust }, (response) => {
      let body = "";
      response.on("data", (piece) => (body += piece));
      response.on("end", () => (response.statusCode === 200 ? resolve(body) : reject(new Error(body))));
    });
    request.on("error", reject);
    request.end();
  });
}

async function until(condition, what) {
  await within(
    (async () => {
      while (!(await condition())) await sleep(20);
    })(),
    what,
  );
}

const steps = {
  polling: {
    [`${CLIENTS} clients that poll, a connection for every request`]: async () => talk(await crowd(CLIENTS, noKeepAlive)),
  },

  upgrade: {
    [`${CLIENTS} clients that upgrade`]: async () => {
      const sockets = await crowd(CLIENTS, upgrading);
      await until(() => sockets.every((socket) => socket.io.engine.transport.name === "websocket"), "the upgrades");
      await talk(sockets);
    },
  },

  kill: {
    "clients of a killed worker start anew, the others notice nothing": async () => {
      const sockets = [...(await crowd(15, noKeepAlive)), ...(await crowd(15, websocket))];
      const homes = new Map();
      for (const socket of sockets) homes.set(socket, await socket.emitWithAck("where"));
      const victim = homes.get(sockets[0]);
      const orphans = sockets.filter((socket) => homes.get(socket) === victim);
      const others = sockets.filter((socket) => homes.get(socket) !== victim);
      assert(others.length > 0);
      const lost = [];
      for (const socket of sockets) socket.on("disconnect", () => lost.push(socket));
      const returned = orphans.map(
        (socket) => new Promise((resolve) => socket.once("connect", () => resolve(socket.recovered))),
      );
      process.kill(victim, "SIGKILL");
      const recovered = await within(Promise.all(returned), "their return");
      assert.deepEqual(new Set(recovered), new Set([false]));
      for (const socket of orphans) assert.notEqual(await socket.emitWithAck("where"), victim);
      for (const socket of others) assert.equal(await socket.emitWithAck("where"), homes.get(socket));
      assert.deepEqual(new Set(lost), new Set(orphans));
    },
  },

  roll: {
    [`${CLIENTS} clients recover through a rolling restart, nothing lost, doubled or reordered`]: async () => {
      const sockets = [...(await crowd(CLIENTS / 2, noKeepAlive)), ...(await crowd(CLIENTS / 2, websocket))];
      const heard = sockets.map(() => []);
      const returns = sockets.map(() => []);
      sockets.forEach((socket, index) => {
        socket.on("tick", (tick) => heard[index].push(tick));
        socket.on("connect", () => returns[index].push(socket.recovered));
      });
      const old = new Set();
      for (const socket of sockets) old.add(Number(await socket.emitWithAck("where")));
      let said = 0;
      let talking = true;
      const stream = (async () => {
        for (; talking; said += 1) {
          await ask("POST", `/say/${said}`);
          await sleep(Number(pace)); // each word is heard by all: this decides what the step computes
        }
      })();
      await sleep(300);
      process.kill(Number(supervisor), "SIGHUP");
      await until(() => returns.every((each) => each.length > 0), "the return of everybody");
      const gone = (pid) => {
        try {
          process.kill(pid, 0);
          return false;
        } catch {
          return true;
        }
      };
      await until(() => [...old].every(gone), "the end of the old workers");
      await sleep(300);
      talking = false;
      await stream;
      await until(() => heard.every((each) => each.length >= said), "the last words").catch(() => {}); // told below
      sockets.forEach((socket, index) => {
        const numbers = heard[index].map((tick) => tick.number);
        const places = new Map();
        for (const { by, place } of heard[index]) {
          assert(place > (places.get(by) ?? 0), `client ${index} (${socket.io.opts.transports}): words of ${by} out of order`);
          places.set(by, place);
        }
        const missing = Array.from({ length: said }, (_, n) => n).filter((n) => !numbers.includes(n));
        assert.deepEqual(missing, [], `client ${index} (${socket.io.opts.transports}) has missed some of ${said}, returns ${returns[index]}`);
        assert.equal(numbers.length, said, `client ${index} has heard some twice`);
        assert(returns[index].every(Boolean), `client ${index} was not recovered: ${returns[index]}`);
      });
      console.log(`     ${said} words, ${returns.flat().length} returns`);
      for (const socket of sockets) socket.disconnect();
    },
  },
};

await run(`sessions at home, socket.io-client 4`, steps[what]);
