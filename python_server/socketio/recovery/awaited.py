"""Events that clients have brought along from elsewhere, and that are still on their way here. Sans-I/O.

Must not know: logs, records, sessions, clocks (time is an argument).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, NamedTuple

from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.event_names import sender_and_number

# Beyond it no process counts: eight bytes each, where many clients bring along hundreds.
NUMBER_LIMIT: Final = 1 << 64


class Awaited(NamedTuple):
    """What a client has already of what a process has still to say here.

    Attributes:
        until: the number of the last event before which it has all. ahead: those of later ones, in order.
        due: when they are awaited no more.
    """

    until: int
    ahead: array[int]
    due: float

    def has(self, number: int) -> bool:
        if number <= self.until:
            return True
        at = bisect_left(self.ahead, number)
        return at < len(self.ahead) and self.ahead[at] == number

    @property
    def last(self) -> int:
        return self.ahead[-1] if self.ahead else self.until


class AwaitedEvents:
    """By the tag of each process, of clients that have brought along what it has still to say here."""

    def __init__(self) -> None:
        self._awaited: dict[str, dict[str, Awaited]] = {}

    def add(self, sid: str, until: Iterable[str], ahead: Iterable[str], due: float) -> None:
        """That client has all events of a process until one of that name, and some others.

        Args:
            due: when they are awaited no more, in seconds of the loop's clock.
        """
        last = dict(map(sender_and_number, until))
        others: dict[str, list[int]] = {}
        for name in ahead:
            tag, number = sender_and_number(name)
            if last.get(tag, -1) < number < NUMBER_LIMIT:
                others.setdefault(tag, []).append(number)
        for tag in last | others:
            numbers = array("Q", sorted(others.get(tag, ())))
            self._awaited.setdefault(tag, {})[sid] = Awaited(last.get(tag, -1), numbers, due)

    def without_repeats(self, envelope: Envelope) -> Envelope:
        """An event that comes, for all but those who have it."""
        if not self._awaited:
            return envelope
        tag, number = sender_and_number(str(envelope.offset))
        awaited = self._awaited.get(tag)
        if awaited is None:
            return envelope
        sids = [sid for sid, each in awaited.items() if each.has(number)]
        if left := {sid: each for sid, each in awaited.items() if number < each.last}:
            self._awaited[tag] = left
        else:
            del self._awaited[tag]
        return envelope._replace(excepted=(*envelope.excepted, *sids))

    def sweep(self, now: float) -> None:
        """Forget what is due."""
        for tag, awaited in [*self._awaited.items()]:
            self._awaited[tag] = {sid: each for sid, each in awaited.items() if each.due > now}
            if not self._awaited[tag]:
                del self._awaited[tag]
