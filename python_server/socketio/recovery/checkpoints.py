"""Where what stands behind a place of a stream stands in a log, noted as the stream is read. Sans-I/O.

Must not know: events, clients, clocks.

Whoever loses or regains a client asks here, and may lose all at once: what is asked is found by halving.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple


class Checkpoint(NamedTuple):
    """What stands behind a place stood here behind `first`; what was heard later than it, behind `end`."""

    place: int
    first: int
    end: int


_PLACE, _FIRST, _END = map(itemgetter, range(3))


@dataclass(slots=True)
class Checkpoints:
    """All three numbers of one are at least those of the one before."""

    _all: deque[Checkpoint] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self._all)

    def note(self, place: int, first: int, end: int, oldest: int) -> None:
        """The stream has been read until that place; the log keeps nothing before `oldest`."""
        if self._all and self._all[-1][1:] == (first, end):
            return
        self._all.append(Checkpoint(place, first, end))
        while len(self._all) > 1 and self._all[1].end <= oldest:
            self._all.popleft()

    def since(self, oldest: int) -> Checkpoint | None:
        """The first of which all that stands behind it is kept still; None: there is none."""
        at = bisect_left(self._all, oldest, key=_FIRST)
        return self._all[at] if at < len(self._all) else None

    def first_behind(self, place: int) -> int | None:
        """From where on stands all that is behind that place; None: it was before the first one."""
        at = bisect_right(self._all, place, key=_PLACE)
        return self._all[at - 1].first if at else None

    def place_before(self, position: int) -> int:
        """What is heard at that position or later, stands behind it; 0: that is not known any more."""
        at = bisect_right(self._all, position, key=_END)
        return self._all[at - 1].place if at else 0
