"""Fills docs/benchmarks/e2e.md from records: `python3 bench/e2e/pages.py bench/e2e/results/LABEL.json ...`.
Between markers it writes tables, elsewhere it changes nothing; it must not measure."""

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import goals
import redis_path
import report
from peers import SERVERS, Kind
from scenarios import SCENARIOS

RESULTS = Path(__file__).resolve().parent / "results"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "e2e.md"
README = PAGE.parents[2] / "README.md"
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


def table_lines(runs: goals.Runs) -> list[str]:
    lines: list[str] = []
    for scenario in SCENARIOS.values():
        if any(run["scenario"] == scenario.id for run in runs):
            lines += [report.table(runs, scenario), ""]
    return lines


def version_line(records: list[dict[str, Any]]) -> str:
    used = {
        package.lower()
        for record in records
        for run in record["runs"]
        for package in SERVERS[run["server"]].packages
    }
    used |= {"openssl", "node", "node ws", "node socket.io", "python"}
    known = {name: version for record in records for name, version in record["versions"].items()}
    return ", ".join(f"{name} {version}" for name, version in known.items() if name.lower() in used)


def kept(label: str, lines: Callable[[dict[str, Any]], list[str]]) -> list[str]:
    """What `lines` makes of a record of its own: its rounds are not those of the full one."""
    path = RESULTS / f"{label}.json"
    return lines(json.loads(path.read_text())) if path.exists() else ["No record is kept here yet."]


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path, nargs="+")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    records = [json.loads(path.read_text()) for path in arguments.records]
    runs = [run for record in records for run in record["runs"]]
    run = [line for record in records for line in run_lines(record)]
    page = arguments.page.read_text()
    for name, lines in (
        ("run", [*run, f"Versions: {version_line(records)}."]),
        ("goals", goals.goal_lines(runs)),
        ("quoted", quoted_lines(runs)),
        ("generator", generator_lines(runs)),
        ("repeated", kept("repeated", repeated_lines)),
        ("workers", kept("workers", workers_lines)),
        ("redis", kept("redis", redis_lines)),
        ("tables", table_lines(runs)),
    ):
        page = fill(page, name, lines)
    arguments.page.write_text(page)
    if arguments.page == PAGE:
        README.write_text(fill(README.read_text(), "figures", quoted_lines(runs)))
    print("\n".join([*goals.goal_lines(runs), "", *quoted_lines(runs)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
