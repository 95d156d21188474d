"""Processes as /proc shows them, and a verdict's arithmetic: least squares, percentiles, a log's exceptions.

It must not know what is measured or what is good.
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
TRACEBACK = "Traceback (most recent call last)"
RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:: .*)?$", re.ASCII)


class Sample(NamedTuple):
    """One look at one process; its resident memory without that of files."""

    at: float
    pid: int
    resident_kib: int
    descriptors: int
    threads: int


def look_at(pid: int, now: float) -> Sample | None:
    """None when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        values = dict(line.split(":", 1) for line in status.splitlines())
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        resident = int(values["RssAnon"].split()[0])
    except (OSError, KeyError):  # a zombie has no memory
        return None
    return Sample(now, pid, resident, descriptors, int(values["Threads"]))


def children_of(pid: int) -> list[int]:
    """The youngest last."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return sorted(map(int, found), key=started_at)


def stat_of(pid: int) -> list[str]:
    """The fields behind the name, which may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def started_at(pid: int) -> int:
    fields = stat_of(pid)
    return int(fields[19]) if fields else 0


def processor_seconds(pid: int) -> float:
    fields = stat_of(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND if fields else 0.0


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def percentile(values: Iterable[float], share: float) -> float:
    """The nearest rank; of nothing it is not a number."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def lower_envelope(points: Iterable[tuple[float, float]], bucket_seconds: float) -> list[tuple[float, float]]:
    """The lowest of each stretch of time: what traffic holds for a moment is above it."""
    lowest: dict[int, tuple[float, float]] = {}
    for at, value in points:
        key = int(at // bucket_seconds)
        if key not in lowest or value < lowest[key][1]:
            lowest[key] = (at, value)
    return [lowest[key] for key in sorted(lowest)]


def common_slope(series: Iterable[Sequence[tuple[float, float]]]) -> float:
    """Least squares of one slope for several series, each with a level of its own.

    So a worker that was replaced says what happened in its life, and the step to the next one says nothing.
    """
    above, below = 0.0, 0.0
    for points in series:
        middle = sum(at for at, _ in points) / len(points)
        mean = sum(value for _, value in points) / len(points)
        above += sum((at - middle) * (value - mean) for at, value in points)
        below += sum((at - middle) ** 2 for at, _ in points)
    return above / below if below else math.nan


def by_process(samples: Iterable[Sample]) -> dict[int, list[Sample]]:
    lives: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        lives[sample.pid].append(sample)
    return dict(lives)


def tracebacks(log: str, intended: str) -> list[str]:
    """What was raised in the log, but for lines that begin as intended."""
    found = []
    lines = iter(log.splitlines())
    for line in lines:
        if TRACEBACK not in line:
            continue
        raised = next((each for each in lines if RAISED.match(each)), "a traceback without an end")
        if not raised.startswith(intended):
            found.append(raised)
    return found
