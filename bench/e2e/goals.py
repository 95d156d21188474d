"""The goals: what was wanted, the figure, met or gap. `python3 bench/e2e/goals.py RECORD...` prints them.
It must not measure, and must not round a figure towards its goal."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import report
from peers import SERVERS, Kind
from scenarios import DEFLATED_BYTES, SCENARIOS, Scenario

Runs = list[dict[str, Any]]
COST = report.COST


@dataclass(frozen=True, slots=True)
class Found:
    """A figure, what it was measured against, and the rows it came from (their marks count)."""

    value: float
    against: str
    rows: tuple[report.Row, ...]
    per_cpu: float | None = None  # the same ratio by messages per server-CPU-second, where it is another

    @property
    def marks(self) -> str:
        results = [result for row in self.rows for result in row.rounds.values()]
        words = []
        if noisy := sum(report.machine_busy(result) for result in results):
            words.append(f"noisy ({noisy}/{len(results)})")
        if bound := sum(report.generator_bound(result) for result in results):
            words.append(f"lower bound ({bound}/{len(results)})")
        if self.uncompressed:
            words.append("uncompressed")
        return ", ".join(words)

    @property
    def uncompressed(self) -> bool:
        """Somebody did not compress what was to be compressed: then no goal is met."""
        return any(report.uncompressed(result) for row in self.rows for result in row.rounds.values())


Measure = Callable[[Runs], Found | None]


@dataclass(frozen=True, slots=True)
class Goal:
    """`at_least` or `at_most`; `show` writes a figure of its kind."""

    what: str
    measure: Measure
    at_least: float | None = None
    at_most: float | None = None
    show: str = "{:.2f}x"

    def met(self, value: float) -> bool:
        if self.at_least is not None:
            return value >= self.at_least
        assert self.at_most is not None
        return value <= self.at_most

    @property
    def wanted(self) -> str:
        if self.at_least is not None:
            return f">= {self.show.format(self.at_least)}"
        return f"<= {self.show.format(self.at_most)}"


def _row(runs: Runs, scenario: str, server: str) -> report.Row | None:
    rows = report.rows_of(runs, SCENARIOS[scenario])
    return next((row for row in rows if row.server == server and row.rounds), None)


def to_fastest_peer(scenario: str, server: str = "ours") -> Measure:
    def measure(runs: Runs) -> Found | None:
        row, peer = (
            _row(runs, scenario, server),
            report.fastest_peer(report.rows_of(runs, SCENARIOS[scenario])),
        )
        return _against(row, peer, SCENARIOS[scenario].rank_by)

    return measure


def to_server(scenario: str, server: str, other: str) -> Measure:
    def measure(runs: Runs) -> Found | None:
        key = SCENARIOS[scenario].rank_by
        return _against(_row(runs, scenario, server), _row(runs, scenario, other), key)

    return measure


def to_fastest_of(scenario: str, others: tuple[str, ...]) -> Measure:
    """Ours against whichever of these is the fastest."""

    def measure(runs: Runs) -> Found | None:
        rows = report.rows_of(runs, SCENARIOS[scenario])
        other = next((row for row in rows if row.server in others and row.rounds), None)
        return _against(_row(runs, scenario, "ours"), other, SCENARIOS[scenario].rank_by)

    return measure


def tail(scenario: str, key: str) -> Measure:
    """Ours against the peer with the lowest figure of this kind."""

    def measure(runs: Runs) -> Found | None:
        rows = report.rows_of(runs, SCENARIOS[scenario])
        peers = [row for row in rows if row.rounds and SERVERS[row.server].kind is Kind.PEER]
        best = min(peers, key=lambda row: row.middle(key), default=None)
        return _against(_row(runs, scenario, "ours"), best, key)

    return measure


def cost_to_server(scenario: str, server: str, other: str) -> Measure:
    """The server's CPU per message against the other's: how much dearer one is."""

    def measure(runs: Runs) -> Found | None:
        found = _against(_row(runs, scenario, other), _row(runs, scenario, server), COST)
        return found and Found(found.value, other, found.rows)

    return measure


def to_scenario(scenario: str, other: str, server: str = "ours") -> Measure:
    """The same server in another scenario, round by round."""

    def measure(runs: Runs) -> Found | None:
        rows = _row(runs, scenario, server), _row(runs, other, server)
        found = _against(*rows, SCENARIOS[scenario].rank_by)
        return found and Found(found.value, f"{server} in {other}", found.rows)

    return measure


def _against(row: report.Row | None, other: report.Row | None, key: str) -> Found | None:
    value = None if row is None else report.ratio(row, other, key)
    if value is None or row is None or other is None:
        return None
    per_cpu = report.ratio(row, other, COST) if key == "per_second" and row.values(COST) else None
    return Found(value, other.server, (row, other), per_cpu)


def plain(scenario: str, key: str, server: str = "ours", factor: float = 1.0) -> Measure:
    """A figure of ours by itself."""

    def measure(runs: Runs) -> Found | None:
        row = _row(runs, scenario, server)
        return Found(row.middle(key) * factor, "", (row,)) if row else None

    return measure


def growth(first: str, last: str, server: str = "ours", floor: str | None = None, key: str = COST) -> Measure:
    """How much dearer a message (or connection) is in the last scenario; with a floor, against its growth."""

    def grown(runs: Runs, name: str) -> tuple[float, tuple[report.Row, ...]] | None:
        rows = _row(runs, first, name), _row(runs, last, name)
        if rows[0] is None or rows[1] is None:
            return None
        before, after = rows[0].middle(key), rows[1].middle(key)
        return (before / after if key == COST else after / before), (rows[0], rows[1])

    def measure(runs: Runs) -> Found | None:
        ours = grown(runs, server)
        if ours is None or floor is None:
            return None if ours is None else Found(ours[0], f"{server} in {first}", ours[1])
        theirs = grown(runs, floor)
        if theirs is None:
            return None
        words = f"{ours[0]:.2f}x against {floor}'s {theirs[0]:.2f}x"
        return Found(ours[0] / theirs[0], words, ours[1] + theirs[1])

    return measure


def _socketio(scenario: str, answer: str) -> list[Goal]:
    """Per kind of handler: node is the fastest peer in every run so far, but whoever is it counts."""
    return [
        Goal(
            f"{scenario}: Socket.IO {answer}, in threads, Flask's context",
            to_fastest_peer(scenario),
            at_least=0.6,
        ),
        Goal(f"{scenario}: in threads, no Flask", to_fastest_peer(scenario, "ours-events"), at_least=1.0),
        Goal(f"{scenario}: inline, no Flask", to_fastest_peer(scenario, "ours-events-inline"), at_least=2.0),
    ]


def _unpinned(scenario: str, answer: str, with_flask: float) -> list[Goal]:
    """As users start a server: against node, and against the same server with a core of its own."""
    name = f"U{scenario}"
    return [
        Goal(
            f"{name}: {answer}, nothing pinned, in threads, Flask's context",
            to_server(name, "ours", "node-socketio"),
            at_least=with_flask,
        ),
        Goal(
            f"{name}: in threads, no Flask",
            to_server(name, "ours-events", "node-socketio"),
            at_least=1.4,
        ),
        *(
            Goal(f"{name}: {server}, against pinned", to_scenario(name, scenario, server), at_least=0.95)
            for server in ("ours", "ours-events")
        ),
    ]


def _beside_busy_threads(scenario: str, what: str) -> list[Goal]:
    """The bare loop is measured with Python's own switch interval, and with ours."""
    return [
        Goal(
            f"{scenario}: p99 of {what} beside 4 busy threads, against the bare loop",
            to_server(scenario, "ours", "floor-selectors"),
            at_most=1.2,
        ),
        Goal(
            f"{scenario}: the same, the bare loop with our switch interval",
            to_server(scenario, "ours", "floor-selectors-short"),
            at_most=1.2,
        ),
    ]


FLASK_SOCKETIO = ("flask-socketio-threading", "flask-socketio-gevent")

GOALS: list[Goal] = [
    Goal("S1: echo, 1 connection, per server-CPU-second", to_fastest_peer("S1"), at_least=0.95),
    Goal("S2: echo, 64 connections", to_fastest_peer("S2"), at_least=1.0),
    Goal("S3: echo, pipelined small frames", to_fastest_peer("S3"), at_least=8.0),
    Goal("S4: echo, 64 KiB", to_fastest_peer("S4"), at_least=1.1),
    Goal("S5: echo, 4 MiB", to_fastest_peer("S5"), at_least=1.1),
    Goal(
        "B1: broadcast, 1 in flight, against a bare send loop",
        to_server("B1", "ours", "floor-send"),
        at_least=0.8,
    ),
    Goal("B8: broadcast, 8 in flight", to_fastest_peer("B8"), at_least=1.0),
    *_socketio("E", "echo"),
    *_socketio("EA", "ack"),
    *_unpinned("E", "echo", with_flask=1.0),
    *_unpinned("EA", "ack", with_flask=1.2),
    Goal(
        "E1: p50 of 1 client, 1 in flight, nothing pinned",
        to_server("E1", "ours", "node-socketio"),
        at_most=1.15,
    ),
    Goal(
        "W: CPU per event, four workers that share the load of one, against four servers apart that do",
        cost_to_server("W", "ours-4-workers", "ours-4-apart-sharing"),
        at_most=1.05,
    ),
    Goal(
        "W2: two workers, nothing pinned, against one",
        to_server("W2", "ours-2-workers", "ours-1-worker"),
        at_least=1.8,
    ),
    Goal(
        "W2: two workers whose clients come during their start, against one",
        to_server("W2", "ours-2-workers-early", "ours-1-worker"),
        at_least=1.8,
    ),
    Goal(
        "W2: two workers, nothing pinned, against one bound to a core",
        to_server("W2", "ours-2-workers", "ours-1-worker-bound"),
        at_least=1.6,
    ),
    Goal(
        "R1: room, 1 in flight, against a bare send loop", to_server("R1", "ours", "floor-send"), at_least=0.8
    ),
    Goal("R2: room, 2 in flight", to_server("R2", "ours", "node-socketio"), at_least=2.2),
    Goal("R8: room, 8 in flight", to_fastest_peer("R8"), at_least=4.0),
    *(
        Goal(
            f"Z{kind}{n}: {what} with permessage-deflate, {n:,} B",
            to_fastest_peer(f"Z{kind}{n}"),
            at_least=1.3,
        )
        for kind, what in (("E", "echo"), ("B", "broadcast"))
        for n in DEFLATED_BYTES
    ),
    Goal("LP: echo by long polling, against node", to_server("LP", "ours", "node-socketio"), at_least=1.0),
    Goal("LP: against Flask-SocketIO", to_fastest_of("LP", FLASK_SOCKETIO), at_least=3.0),
    Goal(
        "LPB: p50 of 5,000 parked polls woken, against node",
        to_server("LPB", "ours", "node-socketio"),
        at_most=1.0,
    ),
    Goal("LPB: against Flask-SocketIO", to_fastest_of("LPB", FLASK_SOCKETIO), at_most=0.33),
    *(
        Goal(f"{name}: {words} at one rate for all, against the better peer", tail(name, key), at_most=1.0)
        for name in ("OE", "OHV", "OS2")
        for key, words in (("p99", "p99"), ("p999", "p99.9"))
    ),
    Goal("I: KiB per idle WebSocket", plain("I", "kib_per_connection"), at_most=4.0, show="{:.2f}"),
    Goal("I: handshakes per second", plain("I", "per_second"), at_least=10_000, show="{:,.0f}"),
    Goal(
        "IS: KiB per idle Socket.IO session, without Flask",
        plain("IS", "kib_per_connection", "ours-events"),
        at_most=8.0,
        show="{:.2f}",
    ),
    Goal(
        "I: memory, 18,000 connections against 1,000, per connection",
        growth("I1000", "I18000", key="kib_per_connection"),
        at_most=1.15,
    ),
    Goal(
        "G: cost of an echo, 10,000 connections against 10, against the C floor's growth",
        growth("G10", "G10000", floor="floor-c"),
        at_most=1.15,
    ),
    Goal(
        "G100I: cost of an echo beside 18,000 idle connections, against the C floor's growth",
        growth("G100", "G100I", floor="floor-c"),
        at_most=1.15,
    ),
    Goal(
        "GB: cost of a delivery, 10,000 clients against 10, against the C floor's growth",
        growth("GB10", "GB10000", floor="floor-c"),
        at_most=1.15,
    ),
    Goal(
        "HB: heartbeats of 18,000 Socket.IO sessions, % of one core",
        plain("HB", "window_server_share", factor=100.0),
        at_most=5.0,
        show="{:.2f} %",
    ),
    Goal("RM: join, emit, leave beside 100,000 rooms against 1", growth("RM1", "RM100000"), at_most=1.15),
    *_beside_busy_threads("L1", "an echo"),
    *_beside_busy_threads("L64", "an echo of 64"),
    Goal(
        "LH: p99 of WSGI hello beside 4 busy threads, against waitress",
        to_server("LH", "ours", "waitress"),
        at_most=1.0,
    ),
]


def goal_lines(runs: Runs, goals: Iterable[Goal] = GOALS) -> list[str]:
    """The table; a goal whose scenario was not run is left out by name below it."""
    lines = ["| what | figure | against | goal | | per CPU-s | marks |", "|---|---:|---|---:|---|---:|---|"]
    missing = []
    for goal in goals:
        found = goal.measure(runs)
        if found is None:
            missing.append(goal.what)
            continue
        met = "met" if goal.met(found.value) and not found.uncompressed else "**gap**"
        figure = goal.show.format(found.value)
        per_cpu = "" if found.per_cpu is None else f"{found.per_cpu:.2f}x"
        cells = [goal.what, figure, found.against, goal.wanted, met, per_cpu, found.marks]
        lines.append(f"| {' | '.join(cells)} |")
    if missing:
        lines += ["", f"Not in this record: {'; '.join(missing)}."]
    return lines


WORKERS = {
    "1 worker": "ours-1-worker",
    "2 workers": "ours-2-workers",
    "4 workers": "ours-4-workers",
    "4 apart": "ours-4-apart-sharing",
    "2, each loaded": "ours-2-workers-loaded",
    "4, each loaded": "ours-4-workers-loaded",
    "2 apart, each loaded": "ours-2-apart",
    "4 apart, each loaded": "ours-4-apart",
}


def worker_lines(runs: Runs) -> list[str]:
    """Server CPU per message with one, two and four workers on the one core.

    Loaded: each with the connections that the one has. Apart: servers of one process, without siblings."""
    named = {run["server"] for run in runs}
    if WORKERS["1 worker"] not in named:
        return []
    columns = {title: server for title, server in WORKERS.items() if server in named}
    lines = [f"| scenario | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for scenario in SCENARIOS.values():
        costs = [_worker_cost(runs, scenario, server) for server in columns.values()]
        if costs[0]:
            cells = [f"{cost:.2f} us ({cost / costs[0]:.2f}x)" if cost else "" for cost in costs]
            lines.append(f"| {scenario.id}: {scenario.title} | {' | '.join(cells)} |")
    return lines if len(lines) > 2 else []


def _worker_cost(runs: Runs, scenario: Scenario, server: str) -> float | None:
    row = _row(runs, scenario.id, server)
    return 1e6 / median(row.values(COST)) if row and not scenario.holds_idle else None


def load_runs(paths: Iterable[Path]) -> Runs:
    return [run for path in paths for run in json.loads(path.read_text())["runs"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path, nargs="+")
    runs = load_runs(parser.parse_args().records)
    print("\n".join([*goal_lines(runs), "", *worker_lines(runs)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
