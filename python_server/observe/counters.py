"""What one worker counts, and the complaint that a count is worth now and then.

Must not know: who counts, or where a line goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from python_server.observe.log import LOGGER, REPEAT_SECONDS


class Counters:
    """Counters of one worker, and the lines they are worth. Belongs to the loop's thread.

    Args:
        whose: stands before each line, of a worker beside the one that serves clients.
    """

    def __init__(self, monotonic: Callable[[], float], whose: str = "") -> None:
        self._monotonic = monotonic
        self._whose = whose
        self.counts: Counter[str] = Counter()
        self._said: dict[str, tuple[float, int]] = {}  # when a kind was said last, and its count then

    def count(self, name: str) -> None:
        self.counts[name] += 1

    def complain(self, kind: str, message: str) -> None:
        """Count `kind`; log the message unless the same kind was logged a moment ago."""
        self.counts[kind] += 1
        now = self._monotonic()
        said_at, count = self._said.get(kind, (float("-inf"), self.counts[kind] - 1))
        if now - said_at >= REPEAT_SECONDS:
            more = self.counts[kind] - count - 1
            self._said[kind] = (now, self.counts[kind])
            LOGGER.warning(
                "%s%s%s", self._whose, message, f" (and {more} more of the same before)" if more else ""
            )
