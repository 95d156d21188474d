"""What rooms above ask of a clock: a call after a time, and to take it back.

Must not know: whose clock it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class TimerLike(Protocol):
    """A call to come."""

    @property
    def when(self) -> float:
        """The moment, by the loop's clock."""

    def cancel(self) -> None:
        """It does not come any more."""


# Seconds from now, and the function; what that returns is not looked at.
CallLater = Callable[[float, Callable[[], object]], TimerLike]
