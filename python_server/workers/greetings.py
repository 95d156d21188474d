"""When a new worker may serve: all others know it, and have what was said before they did. Sans-I/O.

Must not know: links, how a word is written, what is said among the workers.

What worker X sent before it knew the new worker N never comes to N; it may still be on its way to worker O,
whose clients may come back to N. So X tells everybody that it knows N, behind all that it sent before, and
O tells N that it has settled once everybody has told O so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from python_server.workers.confirmations import Confirmations


class Greetings:
    """Who knows whom, while this worker or another one begins. Every method belongs to the loop's thread.

    Args:
        settle: called with a new worker's index: all that was sent before everybody knew it has come to us.
    """

    def __init__(self, settle: Callable[[int], None]) -> None:
        self._known = Confirmations(settle)  # of new workers, by all others
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
        return self._known.awaited

    def found(self, new: int, others: Iterable[int]) -> None:
        """We know a new worker, and `others` who served before it."""
        self._known.expect(new, others)

    def confirmed(self, new: int, teller: int) -> None:
        """Another one knows it."""
        self._known.confirmed(new, teller)

    def lost(self, index: int) -> None:
        """A worker has gone: nobody waits for it."""
        self.give_up(index)
        self._known.forget(index)
        self._known.lost(index)
