"""Runs the codec's cases in interleaved rounds and keeps, as JSON, the ratios that the goals speak of.

With `--against COMMIT` the working tree and a commit of ours run them in pairs instead.
It must not hold one run's figure against another's: each ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Behind everything else: that folder has a `peers` of its own.
sys.path.append(str(Path(__file__).resolve().parents[1] / "e2e"))

import builds
import paired
from cases import Case, all_cases, installed_peers, versions

import wsframe

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "benchmarks" / "codec.json"
STEP_SECONDS = 0.01
ROUNDS, ROUNDS_OF_A_PAIR = 31, 3
# Goals: (task, what ours is held against, ratio). "peers" is the fastest of them in the same round.
GOALS = (
    ("parse 1,000 frames of 32 B", "picows", 3.0),
    ("parse a frame of 1 MiB", "peers", 2.0),
    ("encode frames of 32 B", "picows", 2.0),
    *((f"mask {size} B in place", "peers", 1.0) for size in (16, 128, 1024, 16_384, 1 << 20)),
    *((f"mask {size} B copying", "peers", 1.0) for size in (16, 128, 1024, 16_384, 1 << 20)),
    ("mask 1048576 B in place", "limit", 0.9),
    ("text of 1 MiB, ASCII", "limit", 0.8),
    ("text of 1 MiB, CJK", "limit", 0.8),
)


def timed(call: Callable[[], object], repeats: int) -> float:
    """Seconds of one call, over `repeats` of them."""
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - begin) / repeats


def repeats_for(call: Callable[[], object]) -> int:
    once = min(timed(call, 1) for _ in range(5))
    return max(1, int(STEP_SECONDS / max(once, 1e-7)))


def run_task(cases: list[Case], rounds: int) -> dict[str, list[float]]:
    """Seconds per call in each round; every round runs all of them, each time beginning with the next one."""
    repeats = {case.peer: repeats_for(case.call) for case in cases}
    seconds: dict[str, list[float]] = {case.peer: [] for case in cases}
    for number in range(rounds):
        turn = number % len(cases)
        for case in cases[turn:] + cases[:turn]:
            # The better of two: a neighbour on the machine disturbs one step, seldom both.
            seconds[case.peer].append(min(timed(case.call, repeats[case.peer]) for _ in range(2)))
    return seconds


def ratio(seconds: dict[str, list[float]], against: str) -> dict[str, Any] | None:
    ours = seconds["wsframe"]
    others = [
        name
        for name in seconds
        if name != "wsframe"
        and (name.startswith("limit") if against == "limit" else name == against or against == "peers")
        and (against == "limit" or not name.startswith("limit"))
    ]
    if not others:
        return None
    fastest = min(others, key=lambda name: statistics.median(seconds[name]))
    each = [min(seconds[name][i] for name in others) / ours[i] for i in range(len(ours))]
    quartiles = statistics.quantiles(each, n=4)
    return {"other": fastest, "ratio": statistics.median(each), "low": quartiles[0], "high": quartiles[2]}


def measure(rounds: int) -> dict[str, Any]:
    tasks: dict[str, list[Case]] = {}
    for case in all_cases():
        tasks.setdefault(case.task, []).append(case)
    results: dict[str, Any] = {}
    for task, cases in tasks.items():
        seconds = run_task(cases, rounds)
        by_peer = {case.peer: case for case in cases}
        results[task] = {
            "peers": {
                name: {
                    "items_per_second": by_peer[name].items / statistics.median(values),
                    "bytes_per_second": by_peer[name].items
                    * by_peer[name].item_bytes
                    / statistics.median(values),
                }
                for name, values in seconds.items()
            },
            "goals": [
                {"goal": goal, "against": against, **found}
                for goal_task, against, goal in GOALS
                if goal_task == task and (found := ratio(seconds, against)) is not None
            ],
        }
        for goal in results[task]["goals"]:
            met = "met" if goal["ratio"] >= goal["goal"] else "NOT met"
            print(
                f"{task}: {goal['ratio']:.2f}x {goal['other']} "
                f"({goal['low']:.2f}-{goal['high']:.2f}), goal {goal['goal']}: {met}",
                flush=True,
            )
    return results


def items_per_second(build: builds.Build, rounds: int) -> dict[str, float]:
    """Of each task, in a process of this build; its environment has no peers, so ours runs alone."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "ratios.json"
        words = [str(build.python), __file__, "--rounds", str(rounds), "--out", str(out)]
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
        tasks = json.loads(out.read_text())["tasks"]
    return {task: found["peers"]["wsframe"]["items_per_second"] for task, found in tasks.items()}


def compare(commit: str, pairs: int, rounds: int) -> int:
    """1 when a task's whole interval lies below the limit."""
    tree, other = builds.both(commit)
    ratios: dict[str, list[float]] = {}
    for number in range(1, pairs + 1):
        print(f"pair {number} of {pairs}", flush=True)
        found = {build: items_per_second(build, rounds) for build in paired.turns(number, tree, other)}
        for task, figure in found[tree].items():
            ratios.setdefault(task, []).append(figure / found[other][task])
    comparisons = [paired.Comparison(task, tuple(values)) for task, values in ratios.items()]
    print(f"{tree.name} against {other.name}:", *paired.table(comparisons), sep="\n")
    return int(paired.failed(comparisons))


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help=f"({ROUNDS}; of a pair {ROUNDS_OF_A_PAIR})")
    parser.add_argument("--out", type=Path, default=OUT)
    paired.add_arguments(parser)
    options = parser.parse_args(words)
    paired.check_arguments(parser, options)
    options.rounds = options.rounds or (ROUNDS_OF_A_PAIR if options.against else ROUNDS)
    return options


def main() -> int:
    options = arguments()
    if options.against:
        return compare(options.against, options.pairs, options.rounds)
    missing = [name for name, module in installed_peers().items() if module is None]
    if missing:
        print("not installed, left out:", ", ".join(missing))
    report = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": f"python bench/micro/ratios.py --rounds {options.rounds}",
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_before": os.getloadavg()[0],
        "implementation": wsframe.IMPLEMENTATION,
        "mask_implementation": wsframe.MASK_IMPLEMENTATION,
        "decoder_bytes": sys.getsizeof(wsframe.Decoder(wsframe.Role.SERVER)),
        "versions": versions(),
        "missing": missing,
        "rounds": options.rounds,
        "tasks": measure(options.rounds),
        "load_after": os.getloadavg()[0],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(
        f"decoder: {report['decoder_bytes']} bytes; "
        f"load {report['load_before']:.1f} to {report['load_after']:.1f}"
    )
    return (
        0
        if all(goal["ratio"] >= goal["goal"] for task in report["tasks"].values() for goal in task["goals"])
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())
