// The chat's page: what is done goes to the server, what comes from there is shown.
// It must not know who else is here, or what was said, but by the server's events.
/* global io */
const TYPING_EVERY_MS = 2000, TYPING_LASTS_MS = 3500;
const $ = (id) => document.getElementById(id);
const key = [...crypto.getRandomValues(new Uint32Array(4))].join("-"); // shows who comes back after a lost connection
const shown = new Set(); // ids of messages: what is said while one enters may come twice
const typists = new Map(); // name -> the timer that ends the notice
let socket, me, room = null, whisperTo = null, toldTyping = 0;

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

function person(tag, name, text = name) {
  const made = element(tag, text);
  const sum = [...name].reduce((total, sign) => (total * 31 + sign.codePointAt(0)) % 360, 7);
  made.style.setProperty("--hue", sum);
  return made;
}

function add(className, ...parts) {
  const scroll = $("scroll"), followed = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  const item = element("li", "", className);
  item.append(...parts);
  $("log").append(item);
  $("empty").hidden = true;
  if (followed || className.startsWith("mine")) scroll.scrollTop = scroll.scrollHeight;
}

function time(at) {
  const date = new Date(at * 1000), made = element("time", date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  made.dateTime = date.toISOString();
  return made;
}

function say({ id, name, text, at }) {
  if (shown.has(id)) return;
  shown.add(id);
  endTyping(name);
  add(name === me ? "mine" : "theirs", person("b", name), time(at), element("span", text));
}

function whispered({ from, to, text, at }) {
  const [className, other, title] = from === me ? ["mine whisper", to, `To ${to}, privately`] : ["whisper", from, `${from}, privately`];
  add(className, person("b", other, title), time(at), element("span", text));
}

function enter(wanted) {
  socket.emit("enter", wanted, (answer) => {
    $("fault").textContent = answer.error ?? "";
    if (answer.error) return;
    const isNew = room !== wanted; // or else the connection was lost, and what is here stays
    room = wanted;
    if (isNew) {
      $("log").replaceChildren();
      shown.clear();
      [...typists.keys()].forEach(endTyping);
      $("empty").hidden = false;
      aim(null);
    }
    $("scroll").setAttribute("aria-live", "off"); // what is old is not read aloud
    answer.history.forEach(say);
    setTimeout(() => $("scroll").setAttribute("aria-live", "polite"), 200);
    $("scroll").scrollTop = $("scroll").scrollHeight;
    document.querySelectorAll("[data-room]").forEach((button) => button.setAttribute("aria-pressed", button.dataset.room === room));
  });
}

function aim(name) {
  whisperTo = name;
  $("aim").textContent = name ? `Only to ${name}` : `To everybody in the ${room}`;
  $("everybody").hidden = !name;
  $("talk").classList.toggle("whispers", Boolean(name));
  document.querySelectorAll("#who button").forEach((button) => button.setAttribute("aria-pressed", button.textContent === name));
  $("text").focus();
}

function showWho(names) {
  const focused = document.activeElement.closest("#who button")?.textContent;
  $("who-title").textContent = `In this room: ${names.length}`;
  $("who").replaceChildren(...names.map((name) => {
    const item = element("li", ""), entry = person(name === me ? "span" : "button", name);
    if (name !== me) {
      entry.type = "button";
      entry.className = "plain";
      entry.setAttribute("aria-pressed", name === whisperTo);
      entry.addEventListener("click", () => aim(name === whisperTo ? null : name));
    }
    item.append(entry);
    if (name === me) item.append(element("small", "you"));
    return item;
  }));
  [...document.querySelectorAll("#who button")].find((button) => button.textContent === focused)?.focus();
  [...typists.keys()].filter((name) => !names.includes(name)).forEach(endTyping);
  if (whisperTo && !names.includes(whisperTo)) aim(null);
}

function showTyping() {
  const names = [...typists.keys()];
  const who = names.length > 2 ? "Several people" : names.join(" and ");
  $("typing").textContent = who && `${who} ${names.length > 1 ? "are" : "is"} typing\u2026`;
}

function beginTyping(name) {
  clearTimeout(typists.get(name));
  typists.set(name, setTimeout(() => endTyping(name), TYPING_LASTS_MS));
  showTyping();
}

function endTyping(name) {
  clearTimeout(typists.get(name));
  if (typists.delete(name)) showTyping();
}

function wire(state, text) {
  $("wire").dataset.state = state;
  $("wire").textContent = text;
}

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  $("refused").textContent = "";
  me = $("name").value.trim();
  socket?.disconnect();
  socket = io({ auth: { name: me, key }, forceNew: true });
  socket.on("connect", () => {
    wire("on", `Connected as ${me}`);
    $("door").hidden = true;
    $("house").hidden = false;
    enter(room ?? document.querySelector("[data-room]").dataset.room);
  });
  socket.on("connect_error", (error) => {
    if (socket.active) return wire("off", "No connection, trying again");
    wire("", "Not connected");
    $("door").hidden = false;
    $("house").hidden = true;
    $("refused").textContent = error.message;
    $("name").select();
  });
  socket.on("disconnect", () => {
    wire("off", "Connection lost, trying again");
    [...typists.keys()].forEach(endTyping);
  });
  socket.on("said", say);
  socket.on("whispered", whispered);
  socket.on("note", (text) => add("note", element("span", text)));
  socket.on("who", showWho);
  socket.on("typing", beginTyping);
});

document.querySelectorAll("[data-room]").forEach((button) => button.addEventListener("click", () => enter(button.dataset.room)));
$("everybody").addEventListener("click", () => aim(null));

$("text").addEventListener("input", () => {
  if (whisperTo || !$("text").value || Date.now() - toldTyping < TYPING_EVERY_MS) return;
  toldTyping = Date.now();
  socket.volatile.emit("typing");
});

$("talk").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value;
  const answered = ({ error }) => {
    $("fault").textContent = error ?? "";
    if (!error && $("text").value === text) $("text").value = "";
    toldTyping = 0;
  };
  if (whisperTo) socket.emit("whisper", whisperTo, text, answered);
  else socket.emit("say", text, answered);
});
