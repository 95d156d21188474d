"""The names of recoverable events: who gave a name, and which of its giver's events came earlier. Sans-I/O.

Must not know: events, clients, logs.

A name is eight characters of its giver and a number that rises. The workers of a machine pass on in turn what
other machines say: what they name is in one order, since each begins to count at the clock's time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

from python_server.net.system import REAL, token

# Of a name: so many say which process gave it, the rest is its number there. Two processes of one tag would
# lose events, as each counts from 0: with 24 bits that is one cluster of 4,000 workers in three.
TAG_BYTES: Final = 6
TAG_CHARACTERS: Final = 8
# In the place of the first character, of events that one worker after the other passes on: no tag has it.
PASSED_ON: Final = "~"
# Where the next worker's numbers begin: nobody passes on so many.
NUMBERS_PER_SECOND: Final = 1e9


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
    between its naming and its sending, while its own events go on. One thread.

    Args:
        monotonic: the machine's clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._own = EventNames()
        self._tag = PASSED_ON + self._own.tag[1:]
        self.begin_series()

    def begin_series(self) -> None:
        """A worker of this machine, perhaps this one, passes on what follows: numbered behind all before."""
        self._numbers = itertools.count(int(self._monotonic() * NUMBERS_PER_SECOND))

    def make(self, passed_on: bool) -> str:
        """The next one, of an event that one worker passes on, or that each hears itself."""
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
