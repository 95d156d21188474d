"""Turns the JSON of ratios.py into docs/benchmarks/codec.md and its plots (SVG): python bench/micro/report.py

It must not measure, and must not round a figure upward: what it writes is what the JSON holds.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import is_limit, is_ours
from goals import is_met
from units import duration, rate

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "benchmarks"
NOTES = FOLDER / "codec-notes.md"
Tasks = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Section:
    """The tasks whose names begin with one of `prefixes`, under a title of their own."""

    title: str
    prefixes: tuple[str, ...]

    def of(self, tasks: Tasks) -> Tasks:
        return {task: found for task, found in tasks.items() if task.startswith(self.prefixes)}


SECTIONS = (
    Section("A server receives", ("server receives",)),
    Section("A client receives", ("client receives",)),
    Section("A server sends", ("server sends",)),
    Section("A client sends", ("client sends",)),
    Section("One call alone", ("receive a frame", "encode a message")),
    Section("permessage-deflate", ("deflate",)),
    Section("Echo servers", ("echo",)),
    Section("Masks, and the machine's limits", ("mask", "text of")),
)


def ratio_words(goal: dict[str, Any]) -> str:
    size = f", {goal['size']:.2f} of the size" if "size" in goal else ""
    words = f"{math.floor(goal['ratio'] * 100) / 100:.2f}x{size}"
    return words if is_met(goal) else f"**{words}**"


def goal_words(goal: dict[str, Any]) -> str:
    size = f", at most {goal['size_goal']} of the size" if "size_goal" in goal else ""
    return f"{goal['goal']:.2g}x{size}"


def goal_table(tasks: Tasks) -> list[str]:
    """One line for each goal of a task; those that all forms of ours have alike share one."""
    lines = [
        "| task | against | goal | ratio (median; bold: not met) and its quartiles |",
        "|---|---|---:|---|",
    ]
    for task, found in tasks.items():
        together: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for goal in found["goals"]:
            together.setdefault((goal["other"], goal_words(goal)), []).append(goal)
        for (other, words), goals in together.items():
            forms = "; ".join(
                f"{goal['ours']} {ratio_words(goal)} ({goal['low']:.2f} - {goal['high']:.2f})"
                for goal in goals
            )
            lines.append(f"| {task} | {other} | {words} | {forms} |")
    return lines if len(lines) > 2 else []


def time_table(tasks: Tasks) -> list[str]:
    """The time of one item for each implementation, the bytes that it wrote, and what passed per second."""
    names = list(dict.fromkeys(name for found in tasks.values() for name in found["peers"]))
    names.sort(key=lambda name: (is_limit(name), not is_ours(name)))
    lines = [f"| task | {' | '.join(names)} | ours, payload/s |", f"|---|{'---:|' * (len(names) + 1)}"]
    for task, found in tasks.items():
        cells = [cell(found["peers"].get(name)) for name in names]
        fastest = max(
            figures["bytes_per_second"] for name, figures in found["peers"].items() if is_ours(name)
        )
        lines.append(f"| {task} | {' | '.join(cells)} | {rate(fastest)}B |")
    return lines


def cell(figures: dict[str, float] | None) -> str:
    if figures is None:
        return "-"
    size = f", {figures['wire_bytes_per_item']:.0f} B" if "wire_bytes_per_item" in figures else ""
    return duration(1 / figures["items_per_second"]) + size


def page(report: dict[str, Any]) -> str:
    tasks = report["tasks"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    missing = f" Not installed, left out: {', '.join(report['missing'])}." if report["missing"] else ""
    sections = [(section.title, section.of(tasks)) for section in SECTIONS if section.of(tasks)]
    lines = [
        "# The codec's figures",
        "",
        f"Measured on {report['date']} with `{report['command']}`, "
        "written by `python bench/micro/report.py`.",
        f"Python {report['python']}, {report['machine']}; wsframe runs its {report['implementation']} core "
        f"with {report['mask_implementation']} masks. Versions: {versions}.{missing}",
        f"Load of the machine before and after: {report['load_before']:.1f} and {report['load_after']:.1f}.",
        "",
        f"Implementations take turns in {report['rounds']} rounds. A time is CPU time: that of the measuring "
        "thread, and for an echo that of the server's process. A ratio is the median of the rounds' own "
        "ratios, with its quartiles; above 1 wsframe is faster. Times differ from machine to machine.",
        "",
        NOTES.read_text("utf-8").strip(),
        "",
        "## Against the goals",
        "",
    ]
    for title, found in sections:
        if table := goal_table(found):
            lines += [f"### {title}", "", *table, ""]
    lines += [
        f"A decoder for an idle connection holds {report['decoder_bytes']} bytes (goal: at most 256).",
        "",
        "![Items per second](codec-frames.svg)",
        "",
        "![Masks](codec-masks.svg)",
        "",
        "## Every implementation",
        "",
        "The time of one message, or of one call; for permessage-deflate also the bytes that it became.",
        "",
    ]
    for title, found in sections:
        lines += [f"### Times: {title[0].lower()}{title[1:]}", "", *time_table(found), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=FOLDER / "codec.json")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the page and its plots go")
    options = parser.parse_args()
    report = json.loads(options.json.read_text("utf-8"))
    import plots  # here, so that the page needs no matplotlib

    plots.bars(report["tasks"], options.folder / "codec-frames.svg")
    plots.mask_lines(report["tasks"], options.folder / "codec-masks.svg")
    (options.folder / "codec.md").write_text(page(report), "utf-8")


if __name__ == "__main__":
    main()
