"""Small values that machines leave for each other in a broker, by key, each with an expiry.

Must not know: what they say, how bytes travel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True, slots=True)
class BrokerEntries:
    """Every method belongs to the loop's thread; nothing blocks.

    Attributes:
        key_of: the key of a name. ask: a command for the broker. post: any thread: a call on the loop.
    """

    key_of: Callable[[str], bytes]
    ask: Callable[..., None]
    post: Callable[..., None]

    def put(self, name: str, value: bytes, seconds: int) -> None:
        """Keep it so long."""
        self.ask(None, b"SET", self.key_of(name), value, b"EX", b"%d" % seconds)

    def get(self, name: str, told: Callable[[bool, bytes | None], None]) -> None:
        """`told` is called in a later turn: did the broker answer, and with what?"""
        self.ask(partial(self._heard, told), b"MGET", self.key_of(name))

    def _heard(self, told: Callable[[bool, bytes | None], None], answer: Any) -> None:
        """Any thread. None: there was no answer; a value that is not there is a None in a list."""
        answered = isinstance(answer, list) and len(answer) == 1
        self.post(told, answered, answer[0] if answered else None)
