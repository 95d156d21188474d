"""The plots of the codec's page (SVG).

It must not measure: it draws what the JSON of ratios.py holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from cases import is_ours
from units import rate

plt.switch_backend("svg")
mpl.rcParams["svg.hashsalt"] = "wsframe"  # the same plot gives the same file
mpl.rcParams["svg.fonttype"] = "none"  # words as words: half the size, and found by a search

# One of each kind, of those that the run has.
DRAWN = (
    "server receives binary, 32 B",
    "server receives JSON of 20-120 B",
    "server receives CJK text, 1 MiB",
    "client receives mixed sizes",
    "server sends binary, 32 B",
    "client sends binary, 32 B",
    "deflate with context: server sends JSON of 2.5 KB",
    "echo on asyncio, 128 B",
    "echo on uvloop, 1 MiB",
)


def bars(tasks: dict[str, Any], out: Path) -> None:
    names = [name for name in DRAWN if name in tasks]
    heights = [len(tasks[name]["peers"]) + 1 for name in names]
    figure, axes = plt.subplots(
        len(names),
        1,
        figsize=(8, 0.24 * sum(heights)),
        layout="constrained",
        squeeze=False,
        height_ratios=heights,
    )
    for axis, task in zip(axes[:, 0], names, strict=True):
        peers = sorted(tasks[task]["peers"].items(), key=lambda item: item[1]["items_per_second"])
        values = [figures["items_per_second"] for _, figures in peers]
        colours = ["#1b6ca8" if is_ours(name) else "#b9c4cc" for name, _ in peers]
        drawn = axis.barh([name for name, _ in peers], values, color=colours)
        axis.bar_label(drawn, [rate(value) for value in values], padding=3, fontsize=8)
        axis.set_title(task, fontsize=9, loc="left")
        axis.set_xlim(0, max(values) * 1.15)
        axis.tick_params(labelsize=8)
        axis.xaxis.set_visible(False)
        for side in ("top", "right", "bottom"):
            axis.spines[side].set_visible(False)
    figure.suptitle("Items per second of CPU", fontsize=10)
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
        ours = is_ours(label)
        axis.plot(*zip(*points, strict=True), marker="o", linewidth=2 if ours else 1, label=label)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("payload bytes")
    axis.set_ylabel("GB/s")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    figure.savefig(out, metadata={"Date": None})
    plt.close(figure)
