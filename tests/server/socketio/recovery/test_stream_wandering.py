"""Clients that wander between machines that share a stream lose, double and reorder nothing (stream_log.py).

It must not know how a log does it: the model of streams, pipes and clients says what each is owed.
"""

from typing import Any

import pytest

from stream_model import Model
from stream_walks import OPTIONS, Step, explore, often, toss, walk

NAMES = often({"emit": 5, "flush": 3, "read": 3, "pipe": 6, "take": 3, "lose": 2, "look": 2})
RARE = ("move", "wait", "replace", "drop", "answer", "answer")


@OPTIONS
def test_wandering_clients_lose_double_and_reorder_nothing(options: dict[str, Any]) -> None:
    """Pipes, streams and clients as slow as they like; workers die and are born, pipes drop, senders say
    again what was not answered, and rooms are entered and left."""
    explore(lambda: Model(**options), [*NAMES, *RARE], 250)


def test_most_come_back_as_what_they_were() -> None:
    """Where nobody dies and nothing is dropped, all do."""
    returns_count = 0
    for model in toss(Model, NAMES):
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
    walk(Model(**options), steps)
