"""Connection state recovery: what was said lately, and who left without a goodbye. Sans-I/O.

Must not know: sessions, packets' text, clocks (time is an argument); bounded in bytes, clients and time.
"""

from __future__ import annotations

import itertools
import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any, Final

from python_server.socketio.backplane import Envelope

# The official server's maxDisconnectionDuration.
RECOVERY_SECONDS: Final = 120.0
RECOVERY_MAX_BYTES: Final = 16 * 1024 * 1024
RECOVERY_CLIENTS_MAX_COUNT: Final = 10_000
# What an entry costs beside its packet: the envelope, its tuple, its place in the index.
ENTRY_BYTES: Final = 400


@dataclass(slots=True)
class Saved:
    """A client that may come back.

    Attributes:
        sid: its public name; pid: its secret. rooms: room -> the log's position when it entered.
        last_offset: of the last recoverable event sent to it, None when there was none.
        joined_at, left_at: positions of the log when it came and when it left.
        data: the application's own.
    """

    namespace: str
    sid: str
    pid: str
    rooms: dict[Any, int]
    last_offset: str | None
    joined_at: int
    left_at: int
    data: Any = None
    expires_at: float = 0.0


class RecoveryLog:
    """Recoverable events in the order they were sent, and the clients that were lost.

    Positions only grow. Every method but `next_offset` belongs to the loop's thread.

    Args:
        max_seconds: how long events and clients are kept. max_bytes: of all events together.
    """

    def __init__(
        self,
        max_seconds: float = RECOVERY_SECONDS,
        max_bytes: int = RECOVERY_MAX_BYTES,
        max_clients_count: int = RECOVERY_CLIENTS_MAX_COUNT,
    ) -> None:
        self._max_seconds = max_seconds
        self._max_bytes = max_bytes
        self._max_clients_count = max_clients_count
        self._entries: deque[tuple[float, int, Envelope]] = deque()
        self._first = 0  # the position of the oldest entry
        self._positions: dict[str, int] = {}
        self._saved: OrderedDict[str, Saved] = OrderedDict()
        self._tag = secrets.token_urlsafe(3)
        self._numbers = itertools.count()
        self.size_bytes = 0

    def next_offset(self) -> str:
        """Any thread: the name of an event about to be sent; unique among all processes."""
        return f"{self._tag}{next(self._numbers):x}"

    @property
    def position(self) -> int:
        """Where the next event will stand."""
        return self._first + len(self._entries)

    def append(self, envelope: Envelope, now: float) -> None:
        """An event with an offset leaves."""
        assert envelope.offset is not None
        size_bytes = envelope.prepared.queued_bytes + ENTRY_BYTES
        self._positions[envelope.offset] = self.position
        self._entries.append((now, size_bytes, envelope))
        self.size_bytes += size_bytes
        self.expire(now)

    def save(self, client: Saved, now: float) -> None:
        """A client was lost."""
        client.expires_at = now + self._max_seconds
        self._saved[client.pid] = client
        self._saved.move_to_end(client.pid)
        self.expire(now)

    def restore(
        self, pid: str, namespace: str, offset: str | None, now: float
    ) -> tuple[Saved, list[Envelope]] | None:
        """The lost client and the events it missed, in order; None when that cannot be said any more.

        Args:
            offset: of the last event the client saw, None when it saw none.
        """
        self.expire(now)
        client = self._saved.get(pid)
        if client is None or client.namespace != namespace:
            return None
        if offset == client.last_offset:  # it saw all that was sent to it, perhaps nothing
            start: int | None = client.left_at
        elif offset is None:
            start = client.joined_at
        else:
            seen = self._positions.get(offset)
            start = None if seen is None else seen + 1
        if start is None or start < self._first:
            return None
        del self._saved[pid]
        missed = [
            envelope
            for position, (_, _, envelope) in zip(
                range(start, self.position),
                itertools.islice(self._entries, start - self._first, None),
                strict=True,
            )
            if self._concerns(envelope, position, client)
        ]
        return client, missed

    def expire(self, now: float) -> None:
        """Forget what is too old or too much."""
        oldest = now - self._max_seconds
        entries = self._entries
        while entries and (entries[0][0] < oldest or self.size_bytes > self._max_bytes):
            _, size_bytes, envelope = entries.popleft()
            self._positions.pop(envelope.offset, None)  # type: ignore[arg-type]
            self.size_bytes -= size_bytes
            self._first += 1
        saved = self._saved
        while saved and (
            next(iter(saved.values())).expires_at <= now or len(saved) > self._max_clients_count
        ):
            saved.popitem(last=False)

    @staticmethod
    def _concerns(envelope: Envelope, position: int, client: Saved) -> bool:
        """Was the client, in its last rooms, among those the event was for?"""
        if envelope.namespace != client.namespace or any(room in client.rooms for room in envelope.excepted):
            return False
        if envelope.rooms is None:
            return True
        # Not what was said in a room before the client entered it.
        return any(client.rooms.get(room, position + 1) <= position for room in envelope.rooms)
