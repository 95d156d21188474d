"""What all others are to say of a worker, and who has not said it yet. Sans-I/O.

Must not know: links, what they say, how a word is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

# Workers of whom others speak before we ask; such an entry stays if we never do.
EARLY_MAX_COUNT: Final = 1024


class Confirmations:
    """Every method belongs to the loop's thread.

    Args:
        complete: called with the worker of whom the last one has said it.
    """

    def __init__(self, complete: Callable[[int], object] = lambda index: None) -> None:
        self._complete = complete
        self._missing: dict[int, set[int]] = {}
        self._early: dict[int, set[int]] = {}

    @property
    def awaited(self) -> bool:
        """Is something still to be said of somebody?"""
        return bool(self._missing)

    def expect(self, index: int, others: Iterable[int]) -> None:
        """`others` are to say it of that worker; those who have already need not."""
        self._missing[index] = set(others) - self._early.pop(index, set())
        self._look(index)

    def confirmed(self, index: int, teller: int) -> None:
        """One has said it of that worker."""
        if index in self._missing:
            self._missing[index].discard(teller)
            self._look(index)
        else:
            self._early.setdefault(index, set()).add(teller)
            while len(self._early) > EARLY_MAX_COUNT:
                del self._early[next(iter(self._early))]

    def forget(self, index: int) -> None:
        """Nothing more is to be said of that worker."""
        self._early.pop(index, None)
        self._missing.pop(index, None)

    def lost(self, teller: int) -> None:
        """A worker has gone: it is not waited for."""
        for index, missing in list(self._missing.items()):
            missing.discard(teller)
            self._look(index)

    def _look(self, index: int) -> None:
        if not self._missing[index]:
            del self._missing[index]
            self._complete(index)
