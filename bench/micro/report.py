"""Turns the JSON of ratios.py into docs/benchmarks/codec.md and its plots (SVG): python bench/micro/report.py

It must not measure, and must not round a figure upward: what it writes is what the JSON holds.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

plt.switch_backend("svg")
mpl.rcParams["svg.hashsalt"] = "wsframe"  # the same plot gives the same file

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "benchmarks"
NOTES = FOLDER / "codec-notes.md"


def rate(per_second: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if per_second >= size:
            return f"{per_second / size:.2f} {unit}"
    return f"{per_second:.0f} "


def goal_table(tasks: dict[str, Any]) -> list[str]:
    lines = ["| task | against | ratio (median) | quartiles | goal | |", "|---|---|---:|---|---:|---|"]
    for task, result in tasks.items():
        for goal in result["goals"]:
            met = "met" if goal["ratio"] >= goal["goal"] else "**not met**"
            lines.append(
                f"| {task} | {goal['other']} | {goal['ratio']:.2f}x | {goal['low']:.2f} - {goal['high']:.2f} "
                f"| {goal['goal']} | {met} |"
            )
    return lines


def peer_table(tasks: dict[str, Any]) -> list[str]:
    lines = ["| task | implementation | items/s | payload bytes/s |", "|---|---|---:|---:|"]
    for task, result in tasks.items():
        ranked = sorted(result["peers"].items(), key=lambda item: -item[1]["items_per_second"])
        for name, figures in ranked:
            items, nbytes = rate(figures["items_per_second"]), rate(figures["bytes_per_second"])
            lines.append(f"| {task} | {name} | {items} | {nbytes}B |")
    return lines


def bars(tasks: dict[str, Any], names: list[str], title: str, key: str, out: Path) -> None:
    figure, axes = plt.subplots(len(names), 1, figsize=(8, 2.1 * len(names)), layout="constrained")
    for axis, task in zip([axes] if len(names) == 1 else axes, names, strict=True):
        peers = sorted(tasks[task]["peers"].items(), key=lambda item: item[1][key])
        values = [figures[key] for _, figures in peers]
        colours = ["#1b6ca8" if name == "wsframe" else "#b9c4cc" for name, _ in peers]
        drawn = axis.barh([name for name, _ in peers], values, color=colours)
        axis.bar_label(drawn, [rate(value) for value in values], padding=3, fontsize=8)
        axis.set_title(task, fontsize=9, loc="left")
        axis.set_xlim(0, max(values) * 1.15)
        axis.tick_params(labelsize=8)
        axis.xaxis.set_visible(False)
        for side in ("top", "right", "bottom"):
            axis.spines[side].set_visible(False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(out, metadata={"Date": None})
    plt.close(figure)


def mask_lines(tasks: dict[str, Any], out: Path) -> None:
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    series: dict[str, list[tuple[int, float]]] = {}
    for task, result in tasks.items():
        if task.startswith("mask "):
            _, size, _, kind, *rest = task.split()
            for name, figures in result["peers"].items():
                label = f"{name}, {' '.join([kind, *rest])}"
                series.setdefault(label, []).append((int(size), figures["bytes_per_second"] / 1e9))
    for label, points in series.items():
        ours = label.startswith("wsframe")
        axis.plot(*zip(*points, strict=True), marker="o", linewidth=2 if ours else 1, label=label)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("payload bytes")
    axis.set_ylabel("GB/s")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    figure.savefig(out, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=FOLDER / "codec.json")
    options = parser.parse_args()
    report = json.loads(options.json.read_text())
    tasks = report["tasks"]
    small = ["parse 1,000 frames of 32 B", "parse a frame of 1 MiB", "encode frames of 32 B"]
    bars(tasks, small, "Items per second", "items_per_second", FOLDER / "codec-frames.svg")
    mask_lines(tasks, FOLDER / "codec-masks.svg")
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    missing = f" Not installed, left out: {', '.join(report['missing'])}." if report["missing"] else ""
    lines = [
        "# The codec's figures",
        "",
        f"Measured on {report['date']} with `{report['command']}`, "
        "written by `python bench/micro/report.py`.",
        f"Python {report['python']}, {report['machine']}; wsframe runs its {report['implementation']} core "
        f"with {report['mask_implementation']} masks. Versions: {versions}.{missing}",
        f"Load of the machine before and after: {report['load_before']:.1f} and {report['load_after']:.1f}.",
        "",
        f"Implementations take turns in {report['rounds']} rounds of one process; a ratio is the median of "
        "the rounds' own ratios, with its quartiles. Absolute figures move from machine to machine.",
        "",
        "## Against the goals",
        "",
        *goal_table(tasks),
        "",
        f"A decoder for an idle connection holds {report['decoder_bytes']} bytes (goal: at most 256).",
        "",
        "![Frames per second](codec-frames.svg)",
        "",
        "![Masks](codec-masks.svg)",
        "",
        NOTES.read_text().strip(),
        "",
        "## Every implementation",
        "",
        *peer_table(tasks),
        "",
    ]
    (FOLDER / "codec.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
