"""Who has gone, and whether all others have noticed: its last words may still come to them. Sans-I/O.

Must not know: links, how a word is written, what is said among the workers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# Workers of which others say that they have gone before we notice; such an entry stays if we never met it.
EARLY_MAX_COUNT: Final = 1024


class Departures:
    """Every method belongs to the loop's thread."""

    def __init__(self) -> None:
        # Those who have gone, with those who are to say that they have noticed.
        self._unnoticed: dict[int, set[int]] = {}
        self._early: dict[int, set[int]] = {}

    @property
    def unnoticed(self) -> bool:
        """May somebody still hear a worker that has gone?"""
        return bool(self._unnoticed)

    def lost(self, index: int, others: Iterable[int]) -> None:
        """A worker has gone; `others` are here."""
        self._unnoticed[index] = set(others) - self._early.pop(index, set())
        for gone in [*self._unnoticed]:
            self._discard(gone, index)

    def noticed(self, index: int, teller: int) -> None:
        """Another one has noticed."""
        if index in self._unnoticed:
            self._discard(index, teller)
        else:
            self._early.setdefault(index, set()).add(teller)
            while len(self._early) > EARLY_MAX_COUNT:
                del self._early[next(iter(self._early))]

    def _discard(self, gone: int, other: int) -> None:
        self._unnoticed[gone].discard(other)
        if not self._unnoticed[gone]:
            del self._unnoticed[gone]
