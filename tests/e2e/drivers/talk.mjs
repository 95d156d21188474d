// Conversations with the official socket.io-client 4: reads jobs from its input, prints a transcript of each.
// It must not know any program: what is said stands in its .talk file (tests/e2e/programs/README.md).
// Usage: node talk.mjs < [{"name", "url", "talk", "command", "folder", "environment"}, ...]

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { io } from "socket.io-client";
import WebSocket from "ws";

const PATIENCE = 60_000;
const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };

/** JSON with sorted keys, and bytes as they are written in .talk files. */
function written(value) {
  if (Buffer.isBuffer(value) || value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return `{"bytes": "${Buffer.from(value).toString("hex")}"}`;
  }
  if (Array.isArray(value)) return `[${value.map(written).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value ?? null);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}: ${written(value[key])}`).join(", ")}}`;
}

const writtenAll = (values) => values.map(written).join(", ");
const bytesOf = (key, value) => (typeof value?.bytes === "string" ? Buffer.from(value.bytes, "hex") : value);
const read = (text) => JSON.parse(`[${text}]`, bytesOf);

/** One client: what it has heard stands in `lines`; `waiting` is asked again whenever it hears something. */
class Client {
  lines = [];
  id = null;
  counts = new Map(); // of each event: heard, and not yet waited for
  texts = new Map(); // of each quiet event: all that it has said
  replies = new Map();
  ended = false;
  frames = [];
  waiting = null;

  constructor(talk) {
    this.talk = talk;
  }

  say(line) {
    this.lines.push(line);
  }

  until(what, condition) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), PATIENCE);
      this.waiting = () => {
        if (!condition()) return;
        clearTimeout(timer);
        this.waiting = null;
        resolve();
      };
      this.waiting();
    });
  }

  heard(event, values) {
    if (this.hasLeft) return; // whether something still reaches one who leaves is a matter of luck
    const reply = typeof values.at(-1) === "function" ? values.pop() : null;
    if (this.talk.quiet.has(event)) {
      this.texts.set(event, (this.texts.get(event) ?? "") + writtenAll(values));
    } else {
      this.say(`< ${event} ${writtenAll(values)}`.trim());
      this.counts.set(event, (this.counts.get(event) ?? 0) + 1);
    }
    reply?.(...(this.replies.get(event) ?? [])); // as the Python client does, which always acknowledges
    this.waiting?.();
  }

  async open(text) {
    const { namespace = "/", transport = "upgrade", origin, cookies, ...options } = read(text || "{}")[0];
    const extraHeaders = { ...(origin && { origin }), ...(cookies && { cookie: this.talk.cookies() }) };
    this.ended = this.hasLeft = false;
    const beginning = this.lines.length; // events of the connect handler may come before the answer to the client
    this.socket = io(this.talk.url + namespace, {
      transports: TRANSPORTS[transport], forceNew: true, reconnection: false, extraHeaders, ...options,
    });
    this.socket.onAny((event, ...values) => this.heard(event, values));
    this.socket.on("disconnect", () => {
      this.ended = true;
      this.waiting?.();
    });
    let outcome = null;
    const decide = (line) => {
      outcome ??= line;
      this.waiting?.();
    };
    this.socket.on("connect", () => {
      this.id = this.socket.id;
      this.lines.splice(beginning, 0, "connected");
      decide("connected");
    });
    this.socket.on("connect_error", (error) => {
      const refusal = error.data === undefined ? [error.message] : [error.message, error.data];
      this.say(error.type === "TransportError" ? "refused by the transport" : `refused ${writtenAll(refusal)}`);
      this.socket.disconnect();
      decide("refused");
    });
    await this.until("its connection", () => outcome !== null);
  }

  emit(text) {
    const [event, values] = firstWord(text);
    this.socket.emit(event, ...read(values));
  }

  async call(text) {
    const [event, values] = firstWord(text);
    let answer = null;
    this.socket.emit(event, ...read(values), (...all) => {
      answer = all;
      this.say(`${event} -> ${writtenAll(all)}`.trim());
      this.waiting?.();
    });
    await this.until(`the answer to ${event}`, () => answer !== null);
  }

  async hears(event) {
    await this.until(event, () => (this.counts.get(event) ?? 0) > 0);
    this.counts.set(event, this.counts.get(event) - 1);
  }

  async finds(text) {
    const [event, needle] = firstWord(text);
    await this.until(text, () => (this.texts.get(event) ?? "").includes(read(needle)[0]));
    this.say(`found ${text}`);
  }

  answers(text) {
    const [event, values] = firstWord(text);
    this.replies.set(event, read(values));
  }

  async ends() {
    await this.until("its end", () => this.ended);
    this.say("disconnected");
  }

  leaves() {
    this.hasLeft = true;
    this.socket?.disconnect();
    this.websocket?.close();
  }

  /** Settles when all that was sent is sent. */
  async isClosed() {
    const engine = this.socket?.io.engine;
    if (engine && engine.readyState !== "closed") await new Promise((resolve) => engine.once("close", resolve));
    if (this.websocket && !this.ended) await new Promise((resolve) => this.websocket.once("close", resolve));
  }

  async ws(path) {
    this.websocket = new WebSocket(this.talk.url.replace("http", "ws") + path);
    let isOpen = false;
    this.websocket.on("open", () => {
      isOpen = true;
      this.waiting?.();
    });
    this.websocket.on("unexpected-response", (request, response) => {
      this.say(`refused with ${response.statusCode}`);
      isOpen = true;
      this.waiting?.();
    });
    this.websocket.on("message", (data, isBinary) => {
      this.frames.push(isBinary ? data : data.toString());
      this.waiting?.();
    });
    this.websocket.on("error", () => {}); // it is closed next
    this.websocket.on("close", () => {
      this.ended = true;
      this.waiting?.();
    });
    await this.until("its WebSocket", () => isOpen);
  }

  says(text) {
    this.websocket.send(read(text)[0]);
  }

  async reads() {
    await this.until("a message", () => this.frames.length > 0);
    this.say(`read ${written(this.frames.shift())}`);
  }
}

function firstWord(text) {
  const end = text.indexOf(" ");
  return end < 0 ? [text, ""] : [text.slice(0, end), text.slice(end + 1)];
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

class Talk {
  quiet = new Set();
  masks = [];
  clients = new Map();
  jar = new Map();

  constructor(job) {
    Object.assign(this, job);
  }

  cookies() {
    return [...this.jar].map((pair) => pair.join("=")).join("; ");
  }

  client(name) {
    if (!this.clients.has(name)) this.clients.set(name, new Client(this));
    return this.clients.get(name);
  }

  async page(text) {
    const [method, rest] = firstWord(text);
    const [path, body] = firstWord(rest);
    const response = await fetch(this.url + path, {
      method,
      redirect: "manual",
      headers: { cookie: this.cookies(), ...(body && { "content-type": "application/json" }) },
      ...(body && { body }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
      this.jar.set(name, value);
    }
    this.client("page").say(`${text} -> ${response.status} ${(await response.text()).trim()}`.trim());
  }

  async run(text) {
    const [program, ...args] = [...this.command, ...text.split(" ")];
    const output = await new Promise((resolve) => {
      execFile(program, args, { cwd: this.folder, timeout: PATIENCE, env: { ...process.env, ...this.environment } }, (error, stdout, stderr) => {
        resolve(stdout.trim() + (error ? ` failed: ${stderr}` : ""));
      });
    });
    this.client("run").say(`${text} -> ${output}`);
  }

  async hold() {
    for (const line of readFileSync(this.talk, "utf8").split("\n")) {
      const [name, rest] = firstWord(line.trim());
      if (!name || name === "#") continue;
      if (name === "quiet") this.quiet.add(rest);
      else if (name === "mask") this.masks.push(new RegExp(rest, "g"));
      else if (name === "page" || name === "run") await this[name](rest);
      else {
        const [verb, values] = firstWord(rest);
        try {
          await this.client(name)[verb](values);
        } catch (error) {
          this.client(name).say(`${line}: ${error.message}`);
          break;
        }
      }
    }
    const transcript = this.transcript(); // before anyone hears that the others leave
    for (const client of this.clients.values()) client.leaves();
    await Promise.race([Promise.all([...this.clients.values()].map((client) => client.isClosed())), pause(2000)]);
    return transcript;
  }

  transcript() {
    let text = [...this.clients].map(([name, { lines }]) => [name, ...lines.map((line) => `  ${line}`)].join("\n")).join("\n");
    for (const [name, { id }] of this.clients) if (id) text = text.replaceAll(id, `<${name}>`);
    text = text.replaceAll(this.url, "<url>").replace(/(?<![\w-])[\w-]{20}(?![\w-])/g, "<id>");
    for (const mask of this.masks) text = text.replace(mask, "<masked>");
    return `${text}\n`;
  }
}

const jobs = JSON.parse(readFileSync(0, "utf8"));
const transcripts = await Promise.all(jobs.map(async (job) => [job.name, await new Talk(job).hold()]));
process.stdout.write(JSON.stringify(Object.fromEntries(transcripts)), () => process.exit(0));
