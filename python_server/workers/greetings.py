"""When a newborn worker may serve: all know it, and have heard what was said before they did. Sans-I/O.

Must not know: links, how a word is written, what is said among the workers.

What X said before it knew the newborn never comes to the newborn; it may still be on its way to O, whose
clients the newborn may take over. So X tells everybody when it knows the newborn, behind all that it said
before, and O tells the newborn that it has settled when everybody has told it so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

# Newborns of whom we have heard before we met them; it matters where they die at that moment.
RUMOURS_MAX_COUNT: Final = 1024


class Greetings:
    """Every method belongs to the loop's thread.

    Args:
        settle: called with a newborn's index: all that was said before everybody knew it has come to us.

    Attributes:
        began: may we be found?
    """

    def __init__(self, settle: Callable[[int], None]) -> None:
        self._settle = settle
        # Newborns, with those who are to say that they know them.
        self._unconfirmed: dict[int, set[int]] = {}
        self._rumours: dict[int, set[int]] = {}
        # Of our own birth: who has not greeted us yet, and who has, but has not settled.
        self._awaited: set[int] = set()
        self._unsettled: set[int] = set()
        self.began = False

    # Our own birth

    def begin(self, living: Iterable[int]) -> None:
        """Those that began before us are waited for as well."""
        self.began = True
        self._awaited.update(living)

    def expect(self, index: int) -> None:
        """That sibling serves: it is to greet us."""
        self._awaited.add(index)

    def greeted(self, index: int, *, settles: bool) -> None:
        """A sibling knows us; `settles`: it will say so, too, when it has settled."""
        if index in self._awaited:
            self._awaited.discard(index)
            if settles:
                self._unsettled.add(index)

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

    # The birth of others

    def found(self, newborn: int, others: Iterable[int]) -> None:
        """We know a newborn, and `others` who served before it."""
        self._unconfirmed[newborn] = set(others) - self._rumours.pop(newborn, set())
        self._look(newborn)

    def confirmed(self, newborn: int, teller: int) -> None:
        """Another one knows it."""
        if newborn in self._unconfirmed:
            self._unconfirmed[newborn].discard(teller)
            self._look(newborn)
        else:
            self._rumours.setdefault(newborn, set()).add(teller)
            while len(self._rumours) > RUMOURS_MAX_COUNT:
                del self._rumours[next(iter(self._rumours))]

    def lost(self, index: int) -> None:
        """A worker has gone: nobody waits for it."""
        self._awaited.discard(index)
        self._unsettled.discard(index)
        self._rumours.pop(index, None)
        self._unconfirmed.pop(index, None)
        for newborn, waiting in list(self._unconfirmed.items()):
            waiting.discard(index)
            self._look(newborn)

    def _look(self, newborn: int) -> None:
        if not self._unconfirmed[newborn]:
            del self._unconfirmed[newborn]
            self._settle(newborn)
