// Draws how a duel went: the winner, the margin, everyone's time for each sum, and a short shower of signs.
// It must not know the connection, or the board: view.js and game.js call it with snapshots.

const $ = (id) => document.getElementById(id);
const SIGNS = ["+", "−", "×", "÷", "=", "✓"];
const SHOWN = { right: ["✓", "right"], wrong: ["✗", "wrong"], none: ["–", "no answer"] };

export const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

export function element(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/** A sign to look at, a word to listen to. */
export function markOf(mark) {
  const [sign, word] = SHOWN[mark] ?? ["", ""];
  const node = element("span", "mark", sign);
  node.dataset.mark = mark ?? "open";
  if (word) {
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", word);
  } else node.setAttribute("aria-hidden", "true");
  return node;
}

const nameOf = (player, you) => (player.id === you ? "You" : player.name);
const points = (count) => `${count} point${count === 1 ? "" : "s"}`;
const inSeconds = (value) => `${value.toFixed(1)} s`;
const rightOnes = (player) => player.marks.flatMap((mark, index) => (mark === "right" ? [index] : []));

function isFirst(lobby, player, index) {
  const rightAt = (each) => (each.marks[index] === "right" ? each.seconds[index] : Infinity);
  return player.marks[index] === "right" && lobby.players.every((each) => rightAt(each) >= player.seconds[index]);
}

// ---- the result in words

function resultOfDuel(lobby, you) {
  const best = lobby.players.filter((player) => lobby.winners.includes(player.id));
  const others = lobby.players.filter((player) => !lobby.winners.includes(player.id));
  if (best.length === 0) return ["Nobody scored", "No right answer this time"];
  const { score } = best[0];
  if (best.length > 1) return ["A draw", `${best.map((player) => nameOf(player, you)).join(" and ")}, ${points(score)} each`];
  const title = best[0].id === you ? "You win" : `${best[0].name} wins`;
  if (others.length === 0) return [title, `with ${points(score)}`];
  const second = Math.max(...others.map((player) => player.score));
  return [title, `by ${points(score - second)}, ${score} to ${second}`];
}

function ownPart(lobby, mine) {
  const right = rightOnes(mine);
  if (lobby.kind === "duel") {
    const first = right.filter((index) => isFirst(lobby, mine, index)).length;
    return `You had ${right.length} of ${lobby.rounds} right${first ? `, and were first on ${first}` : ""}.`;
  }
  if (right.length === 0) return "The next one will go better.";
  const quickest = right.reduce((a, b) => (mine.seconds[b] < mine.seconds[a] ? b : a));
  return `Your quickest: ${lobby.sums[quickest].text} in ${inSeconds(mine.seconds[quickest])}.`;
}

export function drawResult(lobby, you) {
  const mine = lobby.players.find((player) => player.id === you);
  const [title, margin] =
    lobby.kind === "duel"
      ? resultOfDuel(lobby, you)
      : [`${rightOnes(mine).length} of ${lobby.rounds} right`, points(mine.score)];
  $("winner").textContent = title;
  $("over-text").textContent = margin;
  $("over-mine").textContent = ownPart(lobby, mine);
  const alone = lobby.kind === "duel" && lobby.players.filter((player) => player.presence === "here").length < 2;
  $("again").setAttribute("aria-disabled", String(alone));
  $("again-text").textContent = alone ? "Nobody else is here. A rematch takes two." : "";
}

// ---- each sum with everyone's time

function cellOf(lobby, player, index) {
  const cell = element("td", "");
  const mark = player.marks[index] ?? "none";
  cell.append(markOf(mark));
  if (mark !== "none") cell.append(` ${inSeconds(player.seconds[index])}`);
  if (lobby.players.length > 1 && isFirst(lobby, player, index)) {
    cell.className = "first";
    cell.append(element("span", "unseen", ", first"));
  }
  return cell;
}

function heading(scope, text) {
  const cell = element("th", "", text);
  cell.scope = scope;
  return cell;
}

function rowOf(first, cells) {
  const row = element("tr", "");
  row.append(first, ...cells);
  return row;
}

export function drawSums(lobby, you) {
  $("ledger").hidden = lobby.sums.length === 0;
  // Columns stay where they are while the lead changes.
  const inOrder = lobby.phase === "over" ? lobby.players : [...lobby.players].sort((a, b) => a.id - b.id);
  const players = [...inOrder].sort((a, b) => (b.id === you) - (a.id === you));
  const head = element("thead", "");
  head.append(rowOf(heading("col", "Sum"), players.map((player) => heading("col", nameOf(player, you)))));
  const body = element("tbody", "");
  body.append(
    ...lobby.sums.map((sum, index) =>
      rowOf(heading("row", `${sum.text} = ${sum.answer}`), players.map((player) => cellOf(lobby, player, index))),
    ),
  );
  $("sums").replaceChildren(head, body);
}

// ---- a second and a half for the winner

export function celebrate(lobby, you) {
  const mine = lobby.players.find((player) => player.id === you);
  const won = lobby.kind === "duel" ? lobby.winners.includes(you) : rightOnes(mine).length === lobby.rounds;
  if (!won || calm.matches) return;
  const { left, top, width, height } = $("winner").getBoundingClientRect();
  const shower = element("div", "shower");
  shower.setAttribute("aria-hidden", "true");
  document.body.append(shower);
  const flights = Array.from({ length: 36 }, (_, index) => {
    const sign = element("span", `sign tone-${index % 3}`, SIGNS[index % SIGNS.length]);
    sign.style.left = `${left + Math.random() * Math.min(width, 480)}px`;
    sign.style.top = `${top + height * Math.random()}px`;
    shower.append(sign);
    const [aside, turn, rise] = [(Math.random() - 0.5) * 420, (Math.random() - 0.5) * 540, 90 + Math.random() * 190];
    const at = (x, y, angle) => `translate(${x}px, ${y}px) rotate(${angle}deg)`;
    return sign.animate(
      [
        { transform: at(0, 0, 0), opacity: 0, easing: "cubic-bezier(0.15, 0.7, 0.4, 1)" },
        { transform: at(aside * 0.6, -rise, turn * 0.5), opacity: 1, offset: 0.35, easing: "cubic-bezier(0.5, 0, 0.9, 0.6)" },
        { transform: at(aside, 300, turn), opacity: 0 },
      ],
      { duration: 1300 + Math.random() * 500, fill: "both" },
    ).finished;
  });
  Promise.all(flights).finally(() => shower.remove());
}
