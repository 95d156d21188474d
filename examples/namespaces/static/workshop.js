// The workshop's page: one socket for the board, one for the bell, both on one connection.
// It must not know the list of jobs but by the server's event.
/* global io */
const $ = (id) => document.getElementById(id);
const board = io("/board"), bell = io("/bell");

function wire(state, text) {
  $("wire").dataset.state = state;
  $("wire").textContent = text;
}

function row({ id, text, done }) {
  const item = document.createElement("li"), name = document.createElement(done ? "s" : "span");
  name.textContent = text;
  item.append(name);
  if (done) return item;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.textContent = "Done";
  button.dataset.id = id;
  button.setAttribute("aria-label", `${text}: done`);
  button.addEventListener("click", () => board.emit("finish", id, ({ error }) => { $("fault").textContent = error ?? ""; }));
  item.append(button);
  return item;
}

board.on("connect", () => wire("on", "Connected"));
board.on("disconnect", () => wire("off", "Connection lost, trying again"));
board.on("connect_error", () => wire("off", "No connection, trying again"));
board.on("jobs", (jobs) => {
  const focused = Number(document.activeElement.dataset.id ?? 0);
  $("jobs").replaceChildren(...jobs.map(row));
  const open = jobs.filter(({ done }) => !done).length;
  $("tally").textContent = jobs.length ? `${open} to do, ${jobs.length - open} done` : "Nothing to do yet.";
  if (!focused) return;
  const left = [...document.querySelectorAll("#jobs button")];
  (left.find((button) => Number(button.dataset.id) >= focused) ?? left.at(-1) ?? $("text")).focus();
});

$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  board.emit("add", $("text").value, ({ error }) => {
    $("fault").textContent = error ?? "";
    if (error) $("text").select();
    else $("text").value = "";
    $("text").focus();
  });
});

function rang(text) {
  $("rung").textContent = text;
  $("clapper").classList.remove("swings");
  void $("clapper").getBoundingClientRect(); // so that the movement begins anew
  $("clapper").classList.add("swings");
}

$("ring").addEventListener("click", () =>
  bell.emit("ring", (count, namespace) => rang(`You rang it: number ${count}, said ${namespace}.`)));
bell.on("rang", (count) => rang(`Somebody rang it: number ${count}.`));
