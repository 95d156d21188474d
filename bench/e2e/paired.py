"""Two builds measured in pairs: whose turn it is, and what the ratios of the pairs say.
It must not start or time anything, and must not know what a figure counts."""

import argparse
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

LEAST_PAIRS = 7
LIMIT = 0.98  # a whole interval below it is a loss; what lies nearer to 1 is noise on most machines
CONFIDENCE = 0.95
T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--against", metavar="COMMIT", help="the working tree in pairs with this commit of ours"
    )
    parser.add_argument("--pairs", type=int, help=f"with --against: how many ({LEAST_PAIRS}, the fewest)")


def check_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if arguments.pairs is None:
        arguments.pairs = LEAST_PAIRS
    elif not arguments.against:
        parser.error("--pairs says how often --against compares")
    elif arguments.pairs < LEAST_PAIRS:
        parser.error(f"--pairs: fewer than {LEAST_PAIRS} say too little")


def turns(number: int, first: T, second: T) -> tuple[T, T]:
    """Who runs before whom in this pair: each build goes first in every other one."""
    return (first, second) if number % 2 else (second, first)


def students_t(degrees: int) -> float:
    """The quantile of Student's distribution for a two-sided interval of CONFIDENCE.

    The normal quantile and four terms in 1/degrees (Abramowitz and Stegun 26.7.5): right to 0.001 from 6 on.
    """
    z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, 1))


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Student's interval of the mean of the ratios' logarithms: 2 and 1/2 lie equally far from 1."""
    logs = [math.log(ratio) for ratio in ratios]
    middle = statistics.fmean(logs)
    half = students_t(len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle - half), math.exp(middle + half)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The pairs' ratios of one figure: above 1 the build under test is the better one."""

    name: str
    ratios: tuple[float, ...]

    @property
    def enough(self) -> bool:
        return len(self.ratios) >= LEAST_PAIRS

    @property
    def lost(self) -> bool:
        return self.enough and interval(self.ratios)[1] < LIMIT

    @property
    def verdict(self) -> str:
        if not self.enough:
            return f"**{len(self.ratios)} pairs, {LEAST_PAIRS} are needed**"
        return f"**below {LIMIT}**" if self.lost else "held"


def failed(comparisons: Iterable[Comparison]) -> bool:
    """A loss, and a figure that too few pairs were measured of, fail alike."""
    return any(each.lost or not each.enough for each in comparisons)


def table(comparisons: Iterable[Comparison], judged: bool = True) -> list[str]:
    lines = ["| what | pairs | ratio (median) | 95 % interval | |", "|---|---:|---:|---|---|"]
    for each in comparisons:
        figures = ["", ""]
        if each.enough:
            low, high = interval(each.ratios)
            figures = [f"{statistics.median(each.ratios):.3f}x", f"{low:.3f} - {high:.3f}"]
        lines.append(
            f"| {' | '.join([each.name, str(len(each.ratios)), *figures, each.verdict if judged else ''])} |"
        )
    return lines
