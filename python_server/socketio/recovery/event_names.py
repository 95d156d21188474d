"""The names of recoverable events: who gave a name, and which of its giver's events came earlier. Sans-I/O.

Must not know: events, clients, logs.

A name is four characters of its giver and a number that rises. The workers of a machine that pass on what
other machines say do so in turn, each with a higher index: what they name is in one order.
"""

from __future__ import annotations

import itertools
from typing import Final

from python_server.net.system import REAL, token

# Of a name: so many say which process gave it, the rest is its number there.
TAG_BYTES: Final = 3
TAG_CHARACTERS: Final = 4
# In the place of the first character, of events that one worker after the other passes on: no tag has it.
PASSED_ON: Final = "~"
# So many such events has each of those workers.
PASSED_ON_COUNT: Final = 1 << 40


class EventNames:
    """Names given by one process; any thread."""

    def __init__(self) -> None:
        self.tag: str = token(TAG_BYTES, REAL.entropy)
        self._numbers = itertools.count()

    def make(self) -> str:
        """The next one."""
        return f"{self.tag}{next(self._numbers):x}"


class ForeignEventNames:
    """Names for events of other machines. They are not among a process's own: what comes from elsewhere waits
    between its naming and its sending, while its own events go on.

    Args:
        index: of the worker.
    """

    def __init__(self, index: int | None) -> None:
        self._own = EventNames()
        self._tag = PASSED_ON + self._own.tag[1:]
        self._numbers = itertools.count((index or 0) * PASSED_ON_COUNT)

    def make(self, passed_on: bool) -> str:
        """The next one, of an event that we pass on, or that each worker hears itself."""
        return f"{self._tag}{next(self._numbers):x}" if passed_on else self._own.make()


def sender_and_number(name: str) -> tuple[str, int]:
    """Which process named the event, and its number there, which rise; 0 where it is none of ours."""
    try:
        return name[:TAG_CHARACTERS], int(name[TAG_CHARACTERS:], 16)
    except ValueError:
        return name[:TAG_CHARACTERS], 0


def series_and_number(name: str) -> tuple[str, int]:
    """As `sender_and_number`, but the events that are passed on are one series, whoever did it."""
    sender, number = sender_and_number(name)
    return PASSED_ON if sender.startswith(PASSED_ON) else sender, number
