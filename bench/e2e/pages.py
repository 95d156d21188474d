"""Fills the pages from the kept records: `python3 bench/e2e/pages.py [build/bench/results/LABEL.json ...]`.
A record that is named replaces the kept one of its label. It writes between markers; it must not measure."""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import goals
import kept
import redis_path
import report
from peers import SERVERS, Kind
from scenarios import SCENARIOS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "e2e.md"
WSGI = PAGE.with_name("wsgi.md")
README = PAGE.parents[2] / "README.md"
FLASK_SOCKETIO = "flask-socketio-gevent"
# The rows of README, on two cores as a user has them: (words, scenario).
ROWS_OF_README = (
    ("a WebSocket message echoed, 64 clients", "S2"),
    ("a Socket.IO event answered, 32 clients, handlers in threads with Flask's context", "E"),
    ("the same by acknowledgement", "EA"),
    ("an event to a room of 200, one at a time", "R1"),
    ("an event to a room of 200, eight under way", "R8"),
)
# What the README quotes: (words, scenario), ours against the fastest peer and against a named one beside it.
QUOTED = (
    ("WebSocket echo, 64 connections", "S2", "websockets"),
    ("WebSocket echo, small frames pipelined", "S3", "picows"),
    ("Socket.IO echo in threads with Flask's context", "E", "flask-socketio-gevent"),
    ("Socket.IO broadcast to a room of 200", "R8", "flask-socketio-gevent"),
)


def run_lines(record: dict[str, Any]) -> list[str]:
    machine, settings, runs = record["machine"], record["settings"], record["runs"]
    noisy = sum(report.machine_busy(run["result"]) for run in runs if "result" in run)
    return [
        f"`{record['command']}`, commit {record['commit']}, {record['started']} to {record['ended']} UTC"
        + (f" (cut short {record['cut_short']})" if "cut_short" in record else "")
        + ".",
        f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, "
        f"TCP congestion control {machine['congestion_control']}, Python {record['versions']['python']}. "
        f"{settings['rounds']} interleaved rounds of {settings['seconds']:g} s "
        f"after {settings['warmup_seconds']:g} s of warm-up. "
        f"Load average {record['load_average_before'][0]:.2f} before, {record['load_average_after'][0]:.2f} "
        f"after; {noisy} of {len(runs)} runs noisy.",
        *([f"Not installed: {'; '.join(record['not_installed'])}."] if record["not_installed"] else []),
        "",
    ]


def generator_lines(runs: goals.Runs) -> list[str]:
    """The share of a core it needed at our best figure and at the fastest peer's; the most it did at all."""
    lines = ["| scenario | at our figure | server load | at the fastest peer's | its most | lower bounds |"]
    lines.append("|---|---:|---:|---:|---:|---|")
    for scenario in SCENARIOS.values():
        rows = [row for row in report.rows_of(runs, scenario) if row.rounds]
        ours = [row for row in rows if SERVERS[row.server].kind is Kind.OURS]
        if scenario.holds_idle or not ours:
            continue
        best, peer = ours[0], report.fastest_peer(rows)
        load = best.middle("server_cpu_seconds") / best.middle("seconds")
        beside = f"{peer.middle('generator_load'):.2f} ({peer.server})" if peer else ""
        most = max(rows, key=lambda row: row.middle("per_second"))
        did = f"{most.middle('per_second'):,.0f}/s ({most.server})"
        bound = [row.server for row in rows if any(map(report.generator_bound, row.rounds.values()))]
        lines.append(
            f"| {scenario.id} | {best.middle('generator_load'):.2f} ({best.server}) | {load:.2f} | {beside} "
            f"| {did} | {', '.join(bound)} |"
        )
    return lines


def quoted_lines(runs: goals.Runs) -> list[str]:
    lines = []
    for words, scenario, named in QUOTED:
        fastest, beside = (
            goals.to_fastest_peer(scenario)(runs),
            goals.to_server(scenario, "ours", named)(runs),
        )
        if fastest is None:
            continue
        more = (
            f", {beside.value:.2f}x {beside.against}" if beside and beside.against != fastest.against else ""
        )
        lines.append(
            f"- {words} ({scenario}): {fastest.value:.2f}x {fastest.against}, the fastest peer{more}"
        )
    return lines


def readme_lines(record: dict[str, Any]) -> list[str]:
    """Ours per second, and as multiples of the fastest other server and of Flask-SocketIO."""
    runs = record["runs"]
    lines = ["| | here | the fastest other | Flask-SocketIO under gevent |", "|---|---:|---:|---:|"]
    for words, scenario in ROWS_OF_README:
        fastest, flask = (
            goals.to_fastest_peer(scenario)(runs),
            goals.to_server(scenario, "ours", FLASK_SOCKETIO)(runs),
        )
        if fastest is not None:
            beside = "" if flask is None else f"{flask.value:.1f}x"
            ours = fastest.rows[0].middle("per_second")
            other = f"{fastest.value:.2f}x {fastest.against}"
            lines.append(f"| {words} ({scenario}) | {ours:,.0f}/s | {other} | {beside} |")
    idle = {row.server: row for row in report.rows_of(runs, SCENARIOS["IS"]) if row.rounds}
    if "ours" in idle:
        held = {name: row.middle("kib_per_connection") for name, row in idle.items()}
        least = min((name for name in held if SERVERS[name].kind is Kind.PEER), key=held.__getitem__)
        beside = f"{held[FLASK_SOCKETIO]:.1f} KiB" if FLASK_SOCKETIO in held else ""
        other = f"{held[least]:.1f} KiB {least}"
        lines.append(f"| memory of an idle session (IS) | {held['ours']:.1f} KiB | {other} | {beside} |")
    return [*lines, "", *run_lines(record)[:2]]


def table_lines(runs: goals.Runs) -> list[str]:
    lines: list[str] = []
    for scenario in SCENARIOS.values():
        if any(run["scenario"] == scenario.id for run in runs):
            lines += [report.table(runs, scenario), ""]
    return lines


def version_line(record: dict[str, Any]) -> str:
    used = {package.lower() for run in record["runs"] for package in SERVERS[run["server"]].packages}
    used |= {"openssl", "node", "node ws", "node socket.io", "python"}
    known = record["versions"].items()
    return ", ".join(f"{name} {version}" for name, version in known if name.lower() in used)


def full_run_lines(record: dict[str, Any]) -> list[str]:
    return [*run_lines(record), f"Versions: {version_line(record)}."]


def repeated_lines(record: dict[str, Any]) -> list[str]:
    """Figures that differ much from minute to minute, with more rounds than the full run has time for."""
    return [*run_lines(record), *table_lines(record["runs"])[:-1]]


def workers_lines(record: dict[str, Any]) -> list[str]:
    return [*goals.worker_lines(record["runs"]), "", *run_lines(record)[:-1]]


def redis_lines(record: dict[str, Any]) -> list[str]:
    """The table of redis_path.py's own record."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return [
        *redis_path.table(record["runs"]),
        "",
        f"Commit {record['commit']}, {record['ended']} UTC; {versions}.",
    ]


def fill(page: str, name: str, lines: list[str]) -> str:
    """The page with what stands between the markers of `name` replaced."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"the page has no markers for {name}")
    text = "\n".join([begin, "", *lines, "", end])
    return pattern.sub(lambda _: text, page)


def cost_lines(record: dict[str, Any]) -> list[str]:
    """Microseconds of the server's CPU per request, the cheapest first."""
    wanted = [SCENARIOS["H"], SCENARIOS["HV"]]
    rows = [{row.server: row for row in report.rows_of(record["runs"], each)} for each in wanted]
    costs = {
        name: [1e6 / found[name].middle(goals.COST) for found in rows]
        for name in rows[0].keys() & rows[1].keys()
    }
    lines = ["| | H: bare function | HV: Flask view |", "|---|---:|---:|"]
    for name, (bare, view) in sorted(costs.items(), key=lambda item: item[1]):
        bold = "**" if SERVERS[name].kind is Kind.OURS else ""
        lines.append(f"| {bold}{name}{bold} | {bare:.1f} | {view:.1f} |")
    return lines


# Per page and markers: the label of the record, and what is made of it.
Section = tuple[str, Callable[[dict[str, Any]], list[str]]]
SECTIONS: dict[Path, dict[str, Section]] = {
    PAGE: {
        "run": ("full", full_run_lines),
        "goals": ("full", lambda record: goals.goal_lines(record["runs"])),
        "quoted": ("full", lambda record: quoted_lines(record["runs"])),
        "generator": ("full", lambda record: generator_lines(record["runs"])),
        "repeated": ("repeated", repeated_lines),
        "idle": ("idle", repeated_lines),
        "stock": ("stock", repeated_lines),
        "workers": ("workers", workers_lines),
        "redis": ("redis", redis_lines),
        "tables": ("full", lambda record: table_lines(record["runs"])),
    },
    WSGI: {"wsgi-floors": ("wsgi-floors", cost_lines)},
    README: {"figures": ("readme", readme_lines)},
}


def filled(page: Path, records: dict[str, kept.Record]) -> str:
    """The page's text with every section made anew from the records."""
    text = page.read_text()
    for name, (label, lines) in SECTIONS[page].items():
        text = fill(text, name, lines(records[label]))
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path, nargs="*")
    arguments = parser.parse_args()
    records = kept.load()
    for path in arguments.records:
        record = json.loads(path.read_text())
        labels = sorted({label for sections in SECTIONS.values() for label, _ in sections.values()})
        if record["label"] not in labels:
            raise SystemExit(f"{path}: --label must be one that a page has: {', '.join(labels)}")
        records[record["label"]] = record
    kept.save(records)
    for page in SECTIONS:
        page.write_text(filled(page, records))
    runs = records["full"]["runs"]
    print("\n".join([*goals.goal_lines(runs), "", *quoted_lines(runs)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
