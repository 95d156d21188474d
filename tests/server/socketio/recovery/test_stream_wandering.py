"""Clients that wander between machines that share a stream lose, double and reorder nothing (stream_log.py).

It must not know how a log does it: the model of streams, pipes and clients says what each is owed.
"""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_model import Model

ACTIONS = {"emit": 5, "flush": 3, "read": 3, "pipe": 6, "take": 3, "lose": 2, "look": 2}
RARE = ("move", "wait", "replace", "drop", "answer", "answer")
STEPS = st.tuples(
    st.sampled_from([name for name, count in ACTIONS.items() for _ in range(count)] + [*RARE]),
    st.integers(0, 7),
    st.integers(0, 5),
)
Step = tuple[str, int, int]


def wander(steps: list[Step], **options: Any) -> Model:
    model = Model(**options)
    for step in steps:
        model.act(*step)
    model.check()
    return model


@pytest.mark.parametrize(
    "options",
    [{}, {"workers": 3}, {"max_bytes": 5000, "repeats": False}],
    ids=["two workers", "three workers", "little is remembered"],
)
def test_wandering_clients_lose_double_and_reorder_nothing(options: dict[str, Any]) -> None:
    """Pipes, streams and clients as slow as they like; workers die and are born, pipes drop, senders say
    again what was not answered, and rooms are entered and left."""

    @settings(
        derandomize=True,
        max_examples=250,
        deadline=None,
        database=None,
        suppress_health_check=[*HealthCheck],
    )
    @given(st.lists(STEPS, min_size=20, max_size=90))
    def explore(steps: list[Step]) -> None:
        wander(steps, **options)

    explore()


def test_most_come_back_as_what_they_were() -> None:
    """Where nobody dies and nothing is dropped, all do."""
    chance = random.Random(1)
    names = [name for name, count in ACTIONS.items() for _ in range(count)]
    returns_count = 0
    for _ in range(200):
        model = wander([(chance.choice(names), chance.randrange(8), chance.randrange(6)) for _ in range(80)])
        assert [client.news_count for client in model.clients] == [1, 1]
        returns_count += sum(client.returns_count for client in model.clients)
    assert returns_count > 200


@pytest.mark.parametrize(
    ("steps", "options"),
    [
        pytest.param(
            [("lose", 2, 0), ("lose", 4, 5), ("emit", 2, 3), ("take", 2, 3), ("lose", 2, 5), ("lose", 0, 1)],
            {},
            id="an event for it alone, seen, and back at the same process",
        ),
        pytest.param(
            [("lose", 7, 0), ("lose", 7, 3), ("emit", 6, 4), ("move", 5, 0), ("lose", 5, 5)],
            {},
            id="it entered a room whose members had been excepted",
        ),
        pytest.param(
            [
                ("emit", 6, 5),
                ("flush", 3, 1),
                ("read", 6, 0),
                ("take", 2, 3),
                ("lose", 4, 0),
                ("replace", 4, 4),
                ("lose", 2, 3),
            ],
            {},
            id="said again behind its place",
        ),
        pytest.param(
            [
                ("emit", 4, 0),
                ("lose", 1, 0),
                ("emit", 5, 3),
                ("flush", 2, 1),
                ("read", 0, 0),
                ("replace", 4, 4),
                ("lose", 5, 3),
                ("answer", 3, 5),
                ("pipe", 0, 2),
                ("read", 2, 0),
                ("pipe", 0, 3),
                ("look", 3, 4),
            ],
            {},
            id="said again to one that had not heard it",
        ),
        pytest.param(
            [
                ("lose", 5, 4),
                ("lose", 7, 0),
                ("emit", 3, 3),
                ("pipe", 1, 4),
                ("lose", 1, 3),
                ("emit", 1, 0),
                ("lose", 6, 3),
                ("emit", 0, 3),
                ("emit", 2, 5),
                ("lose", 1, 2),
                ("emit", 1, 0),
                ("emit", 2, 5),
                ("flush", 5, 1),
                ("emit", 6, 0),
                ("emit", 6, 0),
                ("emit", 0, 2),
            ],
            {"max_bytes": 5000},
            id="said again and read once more",
        ),
        pytest.param(
            [
                ("emit", 7, 4),
                ("emit", 5, 1),
                ("emit", 4, 2),
                ("emit", 6, 2),
                ("emit", 4, 3),
                ("flush", 2, 3),
                ("emit", 4, 0),
                ("emit", 7, 0),
                ("lose", 0, 5),
                ("emit", 2, 4),
                ("lose", 4, 4),
                ("flush", 3, 5),
                ("flush", 6, 2),
                ("read", 4, 2),
                ("pipe", 5, 3),
                ("emit", 0, 3),
                ("emit", 1, 4),
                ("read", 4, 3),
                ("lose", 6, 1),
            ],
            {"max_bytes": 5000},
            id="sent, not taken, and forgotten",
        ),
    ],
)
def test_what_was_found_once(steps: list[Step], options: dict[str, Any]) -> None:
    wander(steps, **options)
