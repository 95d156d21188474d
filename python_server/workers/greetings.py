"""When a new worker may serve: all others know it, and have what was said before they did. Sans-I/O.

Must not know: links, how a word is written, what is said among the workers.

What worker X sent before it knew the new worker N never comes to N; it may still be on its way to worker O,
whose clients may come back to N. So X tells everybody that it knows N, behind all that it sent before, and
O tells N that it has settled once everybody has told O so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

# New workers that others know before we do; such an entry stays when the worker ends at that moment.
EARLY_MAX_COUNT: Final = 1024


class Greetings:
    """Who knows whom, while this worker or another one begins. Every method belongs to the loop's thread.

    Args:
        settle: called with a new worker's index: all that was sent before everybody knew it has come to us.
    """

    def __init__(self, settle: Callable[[int], None]) -> None:
        self._settle = settle
        # New workers, with those who are to say that they know them.
        self._unconfirmed: dict[int, set[int]] = {}
        self._early: dict[int, set[int]] = {}
        # Of our own beginning: who has not greeted us yet, and who has, but has not settled.
        self._awaited: set[int] = set()
        self._unsettled: set[int] = set()

    # Our own beginning

    def expect(self, index: int) -> None:
        """That sibling serves: it is to greet us."""
        self._awaited.add(index)

    def greeted(self, index: int, *, settles: bool) -> None:
        """A sibling knows us; `settles`: it will say so, too, when it has settled."""
        if index in self._awaited and settles:
            self._unsettled.add(index)
        self._awaited.discard(index)

    def settled(self, index: int) -> None:
        self._unsettled.discard(index)

    def give_up(self, index: int) -> None:
        """It stands still."""
        self._awaited.discard(index)
        self._unsettled.discard(index)

    @property
    def awaited(self) -> frozenset[int]:
        """Who is still waited for."""
        return frozenset(self._awaited | self._unsettled)

    # The beginning of others

    @property
    def unconfirmed(self) -> bool:
        """Does somebody who begins still wait for our word that we have settled?"""
        return bool(self._unconfirmed)

    def found(self, new: int, others: Iterable[int]) -> None:
        """We know a new worker, and `others` who served before it."""
        self._unconfirmed[new] = set(others) - self._early.pop(new, set())
        self._look(new)

    def confirmed(self, new: int, teller: int) -> None:
        """Another one knows it."""
        if new in self._unconfirmed:
            self._unconfirmed[new].discard(teller)
            self._look(new)
        else:
            self._early.setdefault(new, set()).add(teller)
            while len(self._early) > EARLY_MAX_COUNT:
                del self._early[next(iter(self._early))]

    def lost(self, index: int) -> None:
        """A worker has gone: nobody waits for it."""
        self.give_up(index)
        self._early.pop(index, None)
        self._unconfirmed.pop(index, None)
        for new, waiting in list(self._unconfirmed.items()):
            waiting.discard(index)
            self._look(new)

    def _look(self, new: int) -> None:
        if not self._unconfirmed[new]:
            del self._unconfirmed[new]
            self._settle(new)
