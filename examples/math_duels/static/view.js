// Draws what the server says of the lobby, and nothing it did not say.
// It must not know the connection: game.js calls it with snapshots.

const $ = (id) => document.getElementById(id);
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
const MARKS = { right: ["✓", "right"], wrong: ["✗", "wrong"], none: ["·", "no answer"] };

let endsAt = null;
let barAnimation = null;

export function show(id, visible) {
  $(id).hidden = !visible;
}

export function setWire(state, text) {
  $("wire").dataset.state = state;
  $("wire").textContent = text;
}

export function setFault(text) {
  $("fault").textContent = text;
  show("fault", Boolean(text));
}

export function setVerdict(text, tone = "") {
  $("verdict").textContent = text;
  $("verdict").dataset.tone = tone;
}

/** One line for people who listen rather than look. */
export function log(text) {
  const line = document.createElement("p");
  line.textContent = text;
  $("log").append(line);
  while ($("log").childElementCount > 12) $("log").firstElementChild.remove();
}

// ---- the clock

function drawSeconds() {
  if (endsAt === null) return;
  const left = Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
  $("seconds").textContent = String(left);
  $("clock").dataset.short = String(left <= 5);
}

export function setClock(secondsLeft, wholeSeconds) {
  barAnimation?.cancel();
  show("clock", secondsLeft !== null);
  $("bar").hidden = secondsLeft === null;
  if (secondsLeft === null) {
    endsAt = null;
    return;
  }
  endsAt = performance.now() + secondsLeft * 1000;
  drawSeconds();
  const share = Math.min(1, secondsLeft / wholeSeconds);
  barAnimation = $("bar").animate([{ transform: `scaleX(${share})` }, { transform: "scaleX(0)" }], {
    duration: secondsLeft * 1000,
    easing: calm.matches ? `steps(${Math.max(1, Math.ceil(secondsLeft))})` : "linear",
    fill: "forwards",
  });
}

setInterval(drawSeconds, 200);

// ---- the players

function element(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function marksOf(player, rounds) {
  const strip = element("span", "marks");
  for (let index = 0; index < rounds; index += 1) {
    const mark = player.marks[index];
    const [sign, word] = mark ? MARKS[mark] : ["", ""];
    const cell = element("span", "mark", sign);
    cell.dataset.mark = mark ?? "open";
    if (word) cell.setAttribute("aria-label", word);
    else cell.setAttribute("aria-hidden", "true");
    if (word) cell.setAttribute("role", "img");
    strip.append(cell);
  }
  return strip;
}

function stateOf(player, phase) {
  if (player.presence === "left") return "left";
  if (player.presence === "dropped") return "gone";
  if (phase === "problem" && !player.answered) return "thinking";
  if (player.gained > 0 && (phase === "problem" || phase === "reveal")) return `+${player.gained}`;
  return "";
}

export function drawPlayers(lobby, you) {
  const rows = lobby.players.map((player) => {
    const row = element("li", "");
    row.dataset.player = String(player.id);
    row.dataset.presence = player.presence;
    row.dataset.you = String(player.id === you);
    const who = element("span", "who");
    who.append(element("span", "name", player.name));
    const state = stateOf(player, lobby.phase);
    const points = state.startsWith("+");
    const words = [player.id === you ? "you" : "", points ? "" : state].filter(Boolean).join(", ");
    if (words) who.append(" ", element("span", "tag", words));
    if (points) who.append(" ", element("span", "tag plus", state));
    row.append(who, element("span", "score", String(player.score)));
    if (lobby.round > 0) row.append(marksOf(player, lobby.rounds));
    return row;
  });
  $("players").replaceChildren(...rows);
}

// ---- the board

export function drawBoard(lobby, you) {
  const practice = lobby.kind === "practice";
  const running = lobby.phase === "problem" || lobby.phase === "reveal";
  $("game").dataset.phase = lobby.phase;
  show("view-waiting", lobby.phase === "waiting");
  show("view-problem", running);
  show("view-over", lobby.phase === "over");
  show("view-away", false);
  const titles = {
    waiting: practice ? "Practice" : "Lobby",
    problem: `Round ${lobby.round} of ${lobby.rounds}`,
    reveal: lobby.round < lobby.rounds ? "Next one in" : "Result in",
    paused: "Paused",
    over: practice ? "Practice done" : "Duel over",
  };
  $("heading").textContent = titles[lobby.phase];
  if (running) $("problem").textContent = lobby.problem;
  if (lobby.phase === "waiting" && !practice) drawWaiting(lobby);
  if (lobby.phase === "over") drawOver(lobby, you, practice);
  setClock(lobby.seconds_left, lobby.phase === "reveal" ? lobby.seconds_left : lobby.round_seconds);
}

/** This tab has no seat: what it knows of the lobby grows old, so it is not shown. */
export function drawAway(text) {
  $("game").dataset.phase = "away";
  for (const id of ["view-waiting", "view-problem", "view-over"]) show(id, false);
  show("view-away", true);
  $("heading").textContent = "Away";
  $("away-text").textContent = text;
  $("players").replaceChildren();
  setFault("");
  setClock(null);
}

function drawWaiting(lobby) {
  const others = lobby.players.filter((player) => player.presence === "here").length - 1;
  const texts = ["Nobody else is here yet. Share the link, then start.", "Two players are here. Anyone can start."];
  $("waiting-text").textContent = texts[others] ?? `${others + 1} players are here. Anyone can start.`;
  $("start").setAttribute("aria-disabled", String(others < 1));
}

function drawOver(lobby, you, practice) {
  const best = lobby.players.filter((player) => lobby.winners.includes(player.id));
  const mine = lobby.players.find((player) => player.id === you);
  const right = mine ? mine.marks.filter((mark) => mark === "right").length : 0;
  const names = best.map((player) => (player.id === you ? "You" : player.name)).join(" and ");
  if (practice) $("winner").textContent = `${right} of ${lobby.rounds} right`;
  else if (best.length === 0) $("winner").textContent = "Nobody scored";
  else if (best.length > 1) $("winner").textContent = `A draw: ${names}`;
  else $("winner").textContent = best[0].id === you ? "You win" : `${names} wins`;
  const points = mine ? mine.score : 0;
  $("over-text").textContent = practice
    ? `${points} points.`
    : `You have ${points} points, with ${right} of ${lobby.rounds} right.`;
}

/** The answer line: still open, or written down and marked like homework. */
export function drawAnswer({ open, mine, right, answer }) {
  show("answer-form", open);
  show("written", !open);
  $("mine").textContent = mine ?? "";
  $("mine").dataset.mark = right === undefined ? "none" : right ? "right" : "wrong";
  const correction = answer !== null && !right ? String(answer) : "";
  $("correction").textContent = correction;
}
