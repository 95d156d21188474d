"""A stream and keys of a broker in this process: what XADD, XREAD, XRANGE, SET, GETDEL and DEL do.

It must not know what an entry or a key says, or how a connection waits.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

Entry = list[object]  # its id, and its fields


class Stream:
    """One stream, and keys that expire; both outlive the broker's absence.

    Args:
        now: seconds. delay: of the next entry, until readers see it.
    """

    def __init__(self, now: Callable[[], float], delay: Callable[[], float]) -> None:
        self._now = now
        self._delay = delay
        self._ids: list[tuple[int, int]] = []
        self._entries: list[Entry] = []
        self._seen_at: list[float] = []
        self._keys: dict[bytes, tuple[bytes, float]] = {}

    def add(self, fields: list[bytes]) -> bytes:
        moment = int(self._now() * 1000)
        last, number = self._ids[-1] if self._ids else (0, 0)
        each = (moment, 0) if moment > last else (last, number + 1)
        entry_id = b"%d-%d" % each
        self._ids.append(each)
        self._entries.append([entry_id, fields])
        self._seen_at.append(max([self._now() + self._delay(), *self._seen_at[-1:]]))
        return entry_id

    def newest(self) -> list[Entry]:
        return self._entries[-1:]

    def oldest(self) -> list[Entry]:
        return self._entries[:1]

    def between(self, first: bytes, last: bytes) -> list[Entry]:
        begin, end = self._position_behind(first), self._position_behind(last)
        return self._entries[
            max(0, begin - 1) if begin and self._entries[begin - 1][0] == first else begin : end
        ]

    def due(self, entry_id: bytes) -> float:
        """When a reader sees what follows; infinity: nothing does."""
        position = self._position_behind(entry_id)
        return self._seen_at[position] if position < len(self._entries) else float("inf")

    def next_due(self) -> float:
        """When somebody sees something that nobody sees yet; infinity: there is nothing."""
        position = bisect_right(self._seen_at, self._now())
        return self._seen_at[position] if position < len(self._seen_at) else float("inf")

    def read(self, entry_id: bytes, count: int) -> list[Entry]:
        first = self._position_behind(entry_id)
        seen = bisect_right(self._seen_at, self._now())
        return self._entries[first : min(seen, first + count)]

    def _position_behind(self, entry_id: bytes) -> int:
        moment, _, number = entry_id.partition(b"-")
        return bisect_right(self._ids, (int(moment), int(number)))

    def set(self, key: bytes, seconds: float, value: bytes) -> None:
        self._keys[key] = (value, self._now() + seconds)

    def is_free(self, key: bytes) -> bool:
        return self._keys.get(key, (b"", 0.0))[1] <= self._now()

    def take(self, key: bytes) -> bytes | None:
        value, expires_at = self._keys.pop(key, (b"", 0.0))
        return value if expires_at > self._now() else None

    def keys_count(self) -> int:
        return sum(expires_at > self._now() for _, expires_at in self._keys.values())
