"""Plots of the kept record, or of others: `build/bench-venv/bin/python bench/e2e/plot.py [RECORD ...]`.
It must not measure anything; it needs matplotlib, which the benchmark's own environment has."""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import goals
import kept
import matplotlib.pyplot as plt
import report
from peers import SERVERS, Kind
from scenarios import SCENARIOS, Scenario

COLOURS = {Kind.OURS: "#c2410c", Kind.PEER: "#64748b", Kind.FLOOR: "#cbd5e1"}
LINES = ("-", "--", "-.", ":")
ALONG = {"growth with the payload": "bytes of payload", "growth with rooms": "rooms"}
MOST_OTHERS = 4
PERCENTILES = ("p50", "p90", "p99", "p999")

Runs = list[dict[str, Any]]


FONTS = "DejaVu Sans, sans-serif"
# A group without attributes, and no group in it.
BARE_GROUP = re.compile(r"<g>((?:(?!</?g\b).)*)</g>", re.DOTALL)


def _thinned(svg: str) -> str:
    """Tenths of a pixel, the font named once, no names, bare groups, turns by nothing or lines per point."""
    svg = re.sub(r"\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}", svg)
    svg = re.sub(r' id="(?![mp][0-9a-f]{10}")[\w.]+"| transform="rotate\(-0 [^"]*"', "", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg).replace("<svg ", f'<svg font-family="{FONTS}" ', 1)
    found = 1
    while found:
        svg, found = BARE_GROUP.subn(r"\1", svg)
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"\s*\n(?=[LMzQC\"])", " ", svg))


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    path.write_text(_thinned(path.read_text()))
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def _measured(runs: Runs, scenario: Scenario) -> list[report.Row]:
    return [row for row in report.rows_of(runs, scenario) if row.rounds]


def _drawn(runs: Runs, scenario: Scenario) -> list[report.Row]:
    """Ours and the first of the others: the tables have them all."""
    rows = _measured(runs, scenario)
    others = [row for row in rows if SERVERS[row.server].kind is not Kind.OURS][:MOST_OTHERS]
    return [row for row in rows if SERVERS[row.server].kind is Kind.OURS or row in others]


def _plain(axis: Any) -> None:
    """No ticks between the labelled ones: on logarithmic axes they are most of the file."""
    for each in (axis.xaxis, axis.yaxis):
        each.set_minor_locator(plt.NullLocator())
        if each.get_scale() == "log":
            each.set_major_locator(plt.LogLocator(subs=(1, 3) if each is axis.yaxis else (1,)))
            each.set_major_formatter("{x:,g}")
    axis.tick_params(labelsize=8)


def _grid(count: int, height: float) -> tuple[Any, list[Any]]:
    columns = min(2, count)
    rows = (count + columns - 1) // columns
    figure, axes = plt.subplots(rows, columns, figsize=(6.4 * columns, height * rows), squeeze=False)
    flat = list(axes.flat)
    for unused in flat[count:]:
        unused.set_visible(False)
    return figure, flat[:count]


def plot_throughput(runs: Runs, chosen: list[Scenario], path: Path) -> None:
    """One bar per server, the median; the line spans the rounds."""
    figure, axes = _grid(len(chosen), 3.4)
    for axis, scenario in zip(axes, chosen, strict=True):
        rows = _drawn(runs, scenario)[::-1]
        middles = [row.middle(scenario.rank_by) for row in rows]
        spread = [
            [middle - min(row.values(scenario.rank_by)) for row, middle in zip(rows, middles, strict=True)],
            [max(row.values(scenario.rank_by)) - middle for row, middle in zip(rows, middles, strict=True)],
        ]
        colours = [COLOURS[SERVERS[row.server].kind] for row in rows]
        axis.barh([row.server for row in rows], middles, xerr=spread, color=colours, ecolor="#1e293b")
        axis.set_title(f"{scenario.id}: {scenario.title}", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.ticklabel_format(axis="x", style="plain")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.xaxis.set_major_locator(plt.MaxNLocator(5))
    _save(figure, path)


def plot_latency(runs: Runs, chosen: list[Scenario], path: Path) -> None:
    """Percentiles of the time from sending to the checked answer."""
    figure, axes = _grid(len(chosen), 3.4)
    for axis, scenario in zip(axes, chosen, strict=True):
        for number, row in enumerate(_drawn(runs, scenario)):
            values = [row.latency_us(name) for name in PERCENTILES]
            ours = SERVERS[row.server].kind is Kind.OURS
            axis.plot(
                PERCENTILES,
                [value / 1000 if value else None for value in values],
                label=row.server,
                linestyle=LINES[number // 10 % len(LINES)],
                color=COLOURS[Kind.OURS] if ours else None,
                linewidth=2.4 if ours else 1.0,
            )
        axis.set_yscale("log")
        axis.set_ylabel("ms", fontsize=8)
        axis.set_title(f"{scenario.id}: {scenario.title}", fontsize=9)
        _plain(axis)
        axis.legend(fontsize=6, ncols=2)
    _save(figure, path)


def plot_growth(runs: Runs, groups: dict[str, list[Scenario]], path: Path) -> None:
    """Cost against connections, payload or rooms: flat is good; memory against connections: a line is."""
    figure, axes = _grid(len(groups), 3.8)
    for axis, (title, members) in zip(axes, groups.items(), strict=True):
        costs: dict[str, list[tuple[int, float]]] = {}
        holds = members[0].holds_idle
        for scenario in members:
            for row in _measured(runs, scenario):
                cost = (
                    row.middle("kib_per_connection") * scenario.connections / 1024
                    if holds
                    else 1e6 / row.middle("per_server_cpu_second")
                )
                costs.setdefault(row.server, []).append((scenario.along, cost))
        for server, points in costs.items():
            ours = SERVERS[server].kind is Kind.OURS
            axis.plot(
                *zip(*points, strict=True),
                label=server,
                marker=".",
                color=COLOURS[Kind.OURS] if ours else None,
                linewidth=2.4 if ours else 1.0,
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel(ALONG.get(title, "connections"), fontsize=8)
        axis.set_ylabel("MiB" if holds else "server CPU microseconds per message", fontsize=8)
        axis.set_title(title, fontsize=9)
        _plain(axis)
        axis.legend(fontsize=6)
    _save(figure, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    arguments = parser.parse_args()
    plt.rcParams["svg.fonttype"] = "none"  # words instead of the outlines of their letters
    plt.rcParams["svg.hashsalt"] = "e2e"  # the same record gives the same file
    runs: Runs = goals.load_runs(arguments.records) if arguments.records else kept.load()["full"]["runs"]
    present = {run["scenario"] for run in runs if "result" in run}
    measured = [scenario for scenario in SCENARIOS.values() if scenario.id in present]
    bars = [scenario for scenario in measured if not scenario.group and not scenario.window_seconds]
    growth: dict[str, list[Scenario]] = {}
    for scenario in measured:
        if scenario.group:
            growth.setdefault(scenario.group, []).append(scenario)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if bars:
        plot_throughput(runs, bars, arguments.out / "e2e-throughput.svg")
    if timed := [scenario for scenario in bars if not scenario.holds_idle]:
        plot_latency(runs, timed, arguments.out / "e2e-latency.svg")
    if growth:
        plot_growth(runs, growth, arguments.out / "e2e-growth.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
