"""Runs the codec's cases in interleaved rounds and keeps, as JSON, the ratios that the goals speak of.

With `--against COMMIT` the working tree and a commit of ours run them in pairs instead.
It must not hold one run's figure against another's: each ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# Behind everything else: that folder has a `peers` of its own.
sys.path.append(str(Path(__file__).resolve().parents[1] / "e2e"))

import builds
import paired
from cases import Case, installed_peers, is_ours, versions
from goals import is_met, results_of
from tasks import all_tasks

import wsframe

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "benchmarks" / "codec.json"
STEP_SECONDS = 0.01
ROUNDS, ROUNDS_OF_A_PAIR = 21, 3
QUICK_ROUNDS = 3
# Of the commit that is compared with: what a wheel of ours does not bring and some cases need.
EXTRAS = ("uvloop", "isal", "zlib-ng")


def timed(case: Case, repeats: int) -> float:
    """CPU seconds of one call, over `repeats` of them: what a neighbour on the machine takes is not in it."""
    call, clock = case.call, case.clock
    begin = clock()
    for _ in range(repeats):
        call()
    return (clock() - begin) / repeats


def repeats_for(case: Case) -> int:
    repeats = 1
    while (seconds := timed(case, repeats) * repeats) < STEP_SECONDS:
        repeats *= 2
    # The first calls may be slow: the last doubling is taken back only as far as the step stays long.
    return max(1, round(repeats * STEP_SECONDS / seconds))


def run_task(cases: list[Case], rounds: int) -> dict[str, list[float]]:
    """Seconds per call in each round; every round runs all of them, each time beginning with the next one."""
    repeats = {case.peer: repeats_for(case) for case in cases}
    seconds: dict[str, list[float]] = {case.peer: [] for case in cases}
    for number in range(rounds):
        turn = number % len(cases)
        for case in cases[turn:] + cases[:turn]:
            # The better of two: a neighbour on the machine disturbs one step, seldom both.
            seconds[case.peer].append(min(timed(case, repeats[case.peer]) for _ in range(2)))
    return seconds


def measure(rounds: int, pattern: str) -> dict[str, Any]:
    peers = {name: module for name, module in installed_peers().items() if module is not None}
    results: dict[str, Any] = {}
    for task in all_tasks(pattern):
        with contextlib.ExitStack() as ends:
            cases = []
            for case in task.cases(peers):
                ends.callback(case.close)
                cases.append(case)
            seconds = run_task(cases, rounds)
        wire_bytes = {case.peer: case.wire_bytes for case in cases}
        results[task.name] = {
            "peers": {case.peer: figures_of(case, seconds[case.peer]) for case in cases},
            "goals": results_of(task.name, seconds, wire_bytes),
        }
        print(f"{task.name}:", ", ".join(nanoseconds(case, seconds[case.peer]) for case in cases))
        for goal in results[task.name]["goals"]:
            print(f"  {words_of(goal)}", flush=True)
    return results


def figures_of(case: Case, seconds: list[float]) -> dict[str, float]:
    typical = statistics.median(seconds)
    figures = {
        "items_per_second": case.items / typical,
        "bytes_per_second": case.payload_bytes / typical,
    }
    if case.wire_bytes is not None:
        figures["wire_bytes_per_item"] = case.wire_bytes / case.items
    return figures


def nanoseconds(case: Case, seconds: list[float]) -> str:
    size = "" if case.wire_bytes is None else f" {case.wire_bytes / case.items:,.0f} B"
    return f"{case.peer} {statistics.median(seconds) / case.items * 1e9:,.1f} ns{size}"


def words_of(goal: dict[str, Any]) -> str:
    size = f", {goal['size']:.2f}x the size (at most {goal['size_goal']})" if "size" in goal else ""
    return (
        f"{goal['ours']} {goal['ratio']:.2f}x {goal['other']} ({goal['low']:.2f}-{goal['high']:.2f})"
        f"{size}, goal {goal['goal']:.2f}: {'met' if is_met(goal) else 'NOT met'}"
    )


def items_per_second(build: builds.Build, rounds: int, pattern: str) -> dict[str, float]:
    """Of each task and form of ours, in a process of this build; its environment has no peers."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "ratios.json"
        words = [str(build.python), __file__, "--rounds", str(rounds), "--out", str(out), "--tasks", pattern]
        done = subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
        if done.returncode not in (0, 1):  # 1: a goal among our own forms is not met
            done.check_returncode()
        tasks = json.loads(out.read_text())["tasks"]
    return {
        f"{task} ({name})": figures["items_per_second"]
        for task, found in tasks.items()
        for name, figures in found["peers"].items()
        if is_ours(name)
    }


def compare(commit: str, pairs: int, rounds: int, pattern: str) -> int:
    """1 when a task's whole interval lies below the limit."""
    tree, other = builds.both(commit)
    for build in (tree, other):
        subprocess.run([str(build.python), "-m", "pip", "install", "-q", *EXTRAS], check=True)
    ratios: dict[str, list[float]] = {}
    for number in range(1, pairs + 1):
        print(f"pair {number} of {pairs}", flush=True)
        found = {
            build: items_per_second(build, rounds, pattern) for build in paired.turns(number, tree, other)
        }
        for task, figure in found[tree].items():
            if task in found[other]:  # a form of ours that the commit does not have yet
                ratios.setdefault(task, []).append(figure / found[other][task])
    comparisons = [paired.Comparison(task, tuple(values)) for task, values in ratios.items()]
    print(f"{tree.name} against {other.name}:", *paired.table(comparisons), sep="\n")
    return int(paired.failed(comparisons))


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help=f"({ROUNDS}; of a pair {ROUNDS_OF_A_PAIR})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, written only to --out")
    parser.add_argument("--tasks", metavar="REGEX", default="", help="those alone in whose names it is found")
    parser.add_argument("--out", type=Path, help=f"({OUT.relative_to(ROOT)} of a whole run)")
    paired.add_arguments(parser)
    options = parser.parse_args(words)
    paired.check_arguments(parser, options)
    whole = not options.quick and not options.tasks
    usual = ROUNDS_OF_A_PAIR if options.against else QUICK_ROUNDS if options.quick else ROUNDS
    options.rounds = options.rounds or usual
    options.out = options.out or (OUT if whole else None)
    return options


def _rounded(value: Any) -> Any:
    """Figures to five digits: the file stays small, and says no more than was measured."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def main() -> int:
    options = arguments()
    if options.against:
        return compare(options.against, options.pairs, options.rounds, options.tasks)
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
        "tasks": measure(options.rounds, options.tasks),
        "load_after": os.getloadavg()[0],
    }
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(_rounded(report), indent=0) + "\n")
    print(
        f"decoder: {report['decoder_bytes']} bytes; "
        f"load {report['load_before']:.1f} to {report['load_after']:.1f}"
    )
    missed = [goal for task in report["tasks"].values() for goal in task["goals"] if not is_met(goal)]
    print(f"{len(missed)} goals not met")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
