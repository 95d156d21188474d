"""Small values that machines leave in a broker: the words, and what an answer means (broker/entries.py).

It must not know what a value says.
"""

from typing import Any

import pytest

from python_server.socketio.cluster.broker.entries import BrokerEntries


class Asked:
    def __init__(self) -> None:
        self.commands: list[tuple[Any, ...]] = []
        self.posted: list[tuple[Any, ...]] = []
        self.entries = BrokerEntries(
            lambda name: b"key#" + name.encode(),
            lambda *command: self.commands.append(command),
            lambda *posted: self.posted.append(posted),
        )


def test_a_value_is_kept_for_so_long() -> None:
    asked = Asked()
    asked.entries.put("m1", b"value", 30)
    assert asked.commands == [(None, b"SET", b"key#m1", b"value", b"EX", b"30")]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([b"value"], (True, b"value")),
        ([None], (True, None)),
        (None, (False, None)),
        ([], (False, None)),
        ([b"a", b"b"], (False, None)),
        (b"value", (False, None)),
        (RuntimeError("OOM"), (False, None)),
    ],
)
def test_an_answer_is_told_on_the_loop(answer: Any, told: tuple[bool, bytes | None]) -> None:
    asked, heard = Asked(), lambda *told: None
    asked.entries.get("m1", heard)
    [(done, *command)] = asked.commands
    assert command == [b"MGET", b"key#m1"]
    done(answer)
    assert asked.posted == [(heard, *told)]
