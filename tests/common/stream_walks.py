"""Walks through a model of machines that share a stream: those that hypothesis finds, and those of dice.

It must not know who walks: clients, or streams of rooms.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_model import Model

Step = tuple[str, int, int]

OPTIONS = pytest.mark.parametrize(
    "options",
    [{}, {"workers": 3}, {"max_bytes": 5000, "repeats": False}],
    ids=["two workers", "three workers", "little is remembered"],
)


def often(actions: Mapping[str, int]) -> list[str]:
    """Each as often as it is to come."""
    return [name for name, count in actions.items() for _ in range(count)]


def walk(model: Model, steps: list[Step]) -> None:
    """And look whether all have what they are owed."""
    for step in steps:
        model.act(*step)
    model.check()


def explore(make: Callable[[], Model], names: list[str], max_examples: int) -> None:
    """Let hypothesis look for steps by which somebody does not get what it is owed."""

    @settings(
        derandomize=True,
        max_examples=max_examples,
        deadline=None,
        database=None,
        suppress_health_check=[*HealthCheck],
    )
    @given(
        st.lists(
            st.tuples(st.sampled_from(names), st.integers(0, 7), st.integers(0, 5)), min_size=20, max_size=90
        )
    )
    def found(steps: list[Step]) -> None:
        walk(make(), steps)

    found()


def toss(make: Callable[[], Any], names: list[str]) -> Iterator[Any]:
    """200 models, each after 80 steps."""
    chance = random.Random(1)
    for _ in range(200):
        model = make()
        walk(model, [(chance.choice(names), chance.randrange(8), chance.randrange(6)) for _ in range(80)])
        yield model
