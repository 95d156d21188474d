// The ticker's page: readings arrive, the chosen place is drawn and said in words.
// It must not know how a chart is drawn.
/* global io */
import { clock, draw } from "./chart.js";

const $ = (id) => document.getElementById(id);
const COUNT = Number($("ticker").dataset.count), TABLE_COUNT = 10;
const windowSeconds = (COUNT - 1) * Number($("ticker").dataset.period);
const cards = new Map([...document.querySelectorAll(".place")].map((card) => [card.querySelector("input").value, card]));
let readings = [], shown = [], count = 0, isPaused = false; // shown: as they were when the page was paused

function showPlace(place, card) {
  const [first, last] = [shown[0], shown.at(-1)].map(({ degrees }) => degrees[place]);
  const change = (last - first).toFixed(1);
  card.querySelector(".number").textContent = last.toFixed(1);
  card.querySelector(".change").textContent = Number(change) === 0 ? "unchanged" : `${change > 0 ? "up" : "down"} ${change.replace("-", "")}`;
}

function showChosen() {
  const place = document.querySelector(".place input:checked").value;
  const points = shown.map(({ at, degrees }) => [at, degrees[place]]);
  const values = points.map(([, value]) => value);
  const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(1));
  $("title").textContent = place;
  $("summary").textContent = `${values.at(-1).toFixed(1)} \u00b0C at ${clock(points.at(-1)[0])}; between ${least} and ${most} \u00b0C since ${clock(points[0][0])}.`;
  draw($("chart"), points, { windowSeconds, unit: "\u00b0C", leastSpan: 2 });
}

function showTable() {
  $("rows").replaceChildren(...shown.slice(-TABLE_COUNT).reverse().map(({ at, degrees }) => {
    const row = document.createElement("tr");
    row.append(...[clock(at), ...[...cards.keys()].map((place) => degrees[place].toFixed(1))].map((text, index) => {
      const cell = document.createElement(index ? "td" : "th");
      if (!index) cell.scope = "row";
      cell.textContent = text;
      return cell;
    }));
    return row;
  }));
}

function show() {
  if (isPaused || !readings.length) return;
  shown = readings;
  cards.forEach((card, place) => showPlace(place, card));
  showChosen();
  if ($("details").open) showTable();
}

function wire(state, text) {
  $("wire").dataset.state = state;
  $("wire").textContent = text;
}

const socket = io();
socket.on("connect", () => wire("on", "Connected"));
socket.on("disconnect", () => wire("off", "Connection lost, trying again"));
socket.on("connect_error", () => wire("off", "No connection, trying again"));
socket.on("history", (history) => {
  readings = history;
  show();
});
socket.on("reading", (reading) => {
  if (reading.at <= (readings.at(-1)?.at ?? 0)) return; // the history had it already
  readings = [...readings, reading].slice(-COUNT);
  $("count").textContent = ++count;
  show();
});

cards.forEach((card) => card.addEventListener("change", () => shown.length && showChosen()));
$("details").addEventListener("toggle", () => showTable());
$("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  $("pause").textContent = isPaused ? "Go on" : "Pause";
  show();
});
new ResizeObserver(() => shown.length && showChosen()).observe($("chart"));
