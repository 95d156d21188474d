// Draws what the server says of the lobby, and nothing it did not say.
// It must not know the connection: game.js calls it with snapshots.

import { calm, drawResult, drawSums, element, markOf } from "./finish.js";

const $ = (id) => document.getElementById(id);
const shares = new Map(); // by player: how far the bar below the name has come

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

export function setRefused(refused) {
  $("answer").setAttribute("aria-invalid", String(refused));
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

function marksOf(player, rounds) {
  const strip = element("span", "marks");
  strip.append(...Array.from({ length: rounds }, (_, index) => markOf(player.marks[index])));
  return strip;
}

/** How far this player is on the way to all points there are; grows from where it was. */
function trackOf(player) {
  const track = element("span", "track");
  const bar = element("i", "");
  const share = player.score / Number($("game").dataset.most);
  const from = shares.get(player.id) ?? 0;
  bar.style.transform = `scaleX(${share})`;
  if (share > from && !calm.matches) {
    bar.animate({ transform: [`scaleX(${from})`, `scaleX(${share})`] }, { duration: 600, easing: "ease-out" });
  }
  shares.set(player.id, share);
  track.append(bar);
  return track;
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
    if (lobby.round > 0) row.append(trackOf(player), marksOf(player, lobby.rounds));
    return row;
  });
  if (lobby.phase === "waiting" && lobby.kind === "duel" && rows.length < 2) {
    rows.push(element("li", "free", "Waiting for a friend…"));
  }
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
  if (lobby.phase === "over") drawResult(lobby, you);
  drawSums(lobby, you);
  setClock(lobby.seconds_left, lobby.phase === "reveal" ? lobby.seconds_left : lobby.round_seconds);
}

/** This tab has no seat: what it knows of the lobby grows old, so it is not shown. */
export function drawAway(text) {
  $("game").dataset.phase = "away";
  for (const id of ["view-waiting", "view-problem", "view-over", "ledger"]) show(id, false);
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

/** The answer line: still open, or written down and marked like homework. */
export function drawAnswer({ open, mine, right, answer }) {
  show("answer-form", open);
  show("written", !open);
  $("mine").textContent = mine ?? "";
  $("mine").dataset.mark = right === undefined ? "none" : right ? "right" : "wrong";
  const correction = answer !== null && !right ? String(answer) : "";
  $("correction").textContent = correction;
}
