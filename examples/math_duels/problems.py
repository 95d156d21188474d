"""Arithmetic problems in rising difficulty, and the reading of a typed answer.

It must not know players, lobbies or the network; chance comes in as an argument.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
DIVIDED_BY = "\N{DIVISION SIGN}"
MAX_ANSWER_CHARS = 12  # the largest answer below has three digits; the rest is room for spaces and a sign


@dataclass(frozen=True)
class Problem:
    """What the players see, and the one right answer (a whole number, never negative)."""

    text: str
    answer: int


def _sum(rng: random.Random) -> Problem:
    a, b = rng.randint(11, 59), rng.randint(11, 39)
    return Problem(f"{a} + {b}", a + b)


def _difference(rng: random.Random) -> Problem:
    b, rest = rng.randint(11, 48), rng.randint(5, 49)
    return Problem(f"{b + rest} {MINUS} {b}", rest)


def _product(rng: random.Random) -> Problem:
    a, b = rng.randint(3, 9), rng.randint(4, 9)
    return Problem(f"{a} {TIMES} {b}", a * b)


def _quotient(rng: random.Random) -> Problem:
    divisor, answer = rng.randint(3, 9), rng.randint(4, 12)
    return Problem(f"{divisor * answer} {DIVIDED_BY} {divisor}", answer)


def _product_and_sum(rng: random.Random) -> Problem:
    a, b, c = rng.randint(3, 9), rng.randint(4, 9), rng.randint(6, 29)
    return Problem(f"{a} {TIMES} {b} + {c}", a * b + c)


def _product_and_difference(rng: random.Random) -> Problem:
    a, b = rng.randint(4, 9), rng.randint(5, 9)
    c = rng.randint(4, a * b - 3)
    return Problem(f"{a} {TIMES} {b} {MINUS} {c}", a * b - c)


def _large_product(rng: random.Random) -> Problem:
    a, b = rng.randint(12, 19), rng.randint(3, 8)
    return Problem(f"{a} {TIMES} {b}", a * b)


def _bracket(rng: random.Random) -> Problem:
    a, b, c = rng.randint(4, 12), rng.randint(3, 9), rng.randint(3, 7)
    return Problem(f"({a} + {b}) {TIMES} {c}", (a + b) * c)


LADDER: tuple[Callable[[random.Random], Problem], ...] = (
    _sum,
    _difference,
    _product,
    _quotient,
    _product_and_sum,
    _product_and_difference,
    _large_product,
    _bracket,
)


def make_problem(round_number: int, rounds: int, rng: random.Random) -> Problem:
    """A problem for this round (from 1): the first round takes the lowest rung, the last one the highest."""
    if rounds <= 1:
        return LADDER[0](rng)
    rung = (round_number - 1) * (len(LADDER) - 1) // (rounds - 1)
    return LADDER[rung](rng)


def read_answer(typed: object) -> int | None:
    """The whole number a player typed, or None when it is not one (bool is not a number here)."""
    if isinstance(typed, bool):
        return None
    if isinstance(typed, int):
        return typed if abs(typed) < 10**MAX_ANSWER_CHARS else None
    if not isinstance(typed, str):
        return None
    text = typed.strip().replace(MINUS, "-")
    digits = text.removeprefix("-")
    if not (0 < len(text) <= MAX_ANSWER_CHARS and digits.isascii() and digits.isdigit()):
        return None
    return int(text)
