// The flow of one tab: connect, join, show what comes, send what the player types.
// It must not judge an answer or count a point: the server does.

import { celebrate } from "./finish.js";
import * as view from "./view.js";

const $ = (id) => document.getElementById(id);
const game = $("game");
const { code, kind, name } = game.dataset;
const tokenKey = `duel-token-${code}`; // per tab, so that two tabs of one browser are two players

let socket = null;
let you = null;
let lobby = null;
let seated = false;
let shownRound = 0;
let written = null; // what this tab answered in the shown round: {text, right}

function seatedIs(value) {
  seated = value;
  view.show("leave", value);
  for (const id of ["start", "again", "send", "answer"]) $(id).disabled = !value;
}

async function ask(event, payload) {
  try {
    return await socket.timeout(10000).emitWithAck(event, payload ?? {});
  } catch {
    return { ok: false, code: "timeout", error: "The server did not answer in time. Please try again." };
  }
}

// ---- what the server says

function takeLobby(snapshot, joined = false) {
  if (!seated) return; // the answer to "join" brings all of it
  if (!joined && lobby && snapshot.version < lobby.version) return; // overtaken on the way
  const before = lobby;
  lobby = snapshot;
  view.drawPlayers(lobby, you);
  view.drawBoard(lobby, you);
  if (lobby.phase === "problem") takeProblem(before);
  if (lobby.phase === "reveal") takeReveal(before);
  if (lobby.phase === "over" && before?.phase !== "over") takeResult(before);
  if (lobby.phase === "waiting" && !before) $($("start").ariaDisabled === "true" ? "copy" : "start").focus();
  announcePresence(before);
}

function takeProblem(before) {
  const mine = lobby.players.find((player) => player.id === you);
  const isNew = shownRound !== lobby.round || before?.phase !== "problem";
  if (isNew) {
    shownRound = lobby.round;
    written = null;
    $("answer").value = "";
    view.setVerdict("");
    view.setRefused(false);
  }
  const open = !mine?.answered;
  if (!open && written === null) written = { text: "", right: mine.marks.at(-1) === "right" }; // answered before a reload
  view.drawAnswer({ open, mine: written?.text, right: written?.right, answer: null });
  if (isNew && open) {
    $("answer").focus();
    view.log(`Round ${lobby.round}: ${lobby.problem}`);
  }
}

function takeReveal(before) {
  if (before?.phase === "reveal" && before.round === lobby.round) return;
  const mine = lobby.players.find((player) => player.id === you);
  const right = mine?.answered ? mine.marks.at(-1) === "right" : undefined;
  view.drawAnswer({ open: false, mine: written?.text ?? (right ? String(lobby.answer) : ""), right, answer: lobby.answer });
  if (right === undefined) view.setVerdict(`Time is up. It is ${lobby.answer}.`, "wrong");
  else if (!right) view.setVerdict(`Not quite. It is ${lobby.answer}.`, "wrong");
}

function takeResult(before) {
  view.log(["winner", "over-text", "over-mine"].map((id) => $(id).textContent).join(", "));
  $("again").focus();
  if (before) celebrate(lobby, you); // not again at a reload
}

function announcePresence(before) {
  if (!before) return;
  const known = new Map(before.players.map((player) => [player.id, player.presence]));
  for (const player of lobby.players) {
    if (player.id === you || known.get(player.id) === player.presence) continue;
    const words = { here: known.has(player.id) ? "is back" : "is here", dropped: "is gone", left: "left" };
    view.log(`${player.name} ${words[player.presence]}.`);
  }
}

function takeVerdict(verdict) {
  if (verdict.id === you) return;
  view.log(`${verdict.name}: ${verdict.right ? `right, ${verdict.points} points` : "wrong"}.`);
}

// ---- what the player does

async function join() {
  const reply = await ask("join", { code, name, token: sessionStorage.getItem(tokenKey) ?? undefined });
  if (!reply.ok) {
    if (socket.connected) view.setFault(reply.error); // else the next "connect" joins again
    return;
  }
  view.setFault("");
  sessionStorage.setItem(tokenKey, reply.token);
  you = reply.you;
  seatedIs(true);
  takeLobby(reply.lobby, true); // whatever its version: those of a server that was restarted start anew
}

async function leave() {
  standUp($("away-text").dataset.left); // at once: without a connection the seat is empty all the same
  await ask("leave");
}

function standUp(text) {
  seatedIs(false);
  lobby = null;
  view.drawAway(text);
  $("rejoin").focus();
}

async function start(event) {
  if (event.currentTarget.ariaDisabled === "true") return; // what stands beside it says why
  const reply = await ask("start");
  view.setFault(reply.ok || reply.code === "running" ? "" : reply.error);
}

async function answer(event) {
  event.preventDefault();
  const text = $("answer").value.trim();
  const round = lobby.round;
  if (!text) return;
  $("send").disabled = true;
  const reply = await ask("answer", { round, answer: text });
  $("send").disabled = !seated;
  if (round !== lobby?.round) return;
  if (!reply.ok) {
    view.setVerdict(reply.error, "wrong");
    view.setRefused(true);
    $("answer").select();
    return;
  }
  written = { text, right: reply.right };
  view.drawAnswer({ open: false, mine: text, right: reply.right, answer: lobby.phase === "reveal" ? lobby.answer : null });
  if (reply.right) view.setVerdict(`Right. ${reply.points} points.`, "right");
  else if (lobby.phase === "reveal") view.setVerdict(`Not quite. It is ${lobby.answer}.`, "wrong");
  else view.setVerdict("Not quite. The answer comes soon.", "wrong");
}

async function copyLink() {
  $("link").select();
  try {
    await navigator.clipboard.writeText($("link").value);
    $("copy").textContent = "Copied";
  } catch {
    $("copy").textContent = "Press Ctrl+C"; // no clipboard outside https and localhost; the link is selected
  }
  view.log($("copy").textContent);
  setTimeout(() => ($("copy").textContent = "Copy link"), 2500);
}

// ---- wiring

function watchConnection() {
  socket.on("connect", () => {
    view.setWire("on", "Connected");
    if (seated || you === null) join();
  });
  socket.on("disconnect", (reason) => {
    view.setWire("off", socket.active ? "Connection lost. Trying again…" : "Connection closed");
    if (reason === "io server disconnect") socket.connect();
  });
  socket.on("connect_error", () => view.setWire("off", "No connection. Trying again…"));
  socket.on("lobby", (snapshot) => takeLobby(snapshot));
  socket.on("verdict", takeVerdict);
  socket.on("replaced", () => standUp("You are playing in another tab."));
}

function main() {
  seatedIs(false);
  $("start").addEventListener("click", start);
  $("again").addEventListener("click", start);
  $("leave").addEventListener("click", leave);
  $("rejoin").addEventListener("click", join);
  $("answer-form").addEventListener("submit", answer);
  $("copy")?.addEventListener("click", copyLink);
  const { io } = window; // of /socket.io/socket.io.js
  if (!io) {
    view.setWire("off", "Not connected");
    view.setFault("The Socket.IO client could not be loaded: this server's /socket.io/socket.io.js says why.");
    return;
  }
  const transports = new URLSearchParams(location.search).get("transports"); // for trying one transport by hand
  socket = transports ? io({ transports: transports.split(",") }) : io();
  watchConnection();
}

main();
