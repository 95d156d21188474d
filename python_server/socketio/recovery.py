"""Connection state recovery: what was said lately, and who left without a goodbye. Sans-I/O.

Must not know: sessions, packets' text, clocks (time is an argument); bounded in bytes, clients and time.
"""

from __future__ import annotations

import itertools
import secrets
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from python_server.socketio.backplane import Envelope

# The official server's maxDisconnectionDuration.
RECOVERY_SECONDS: Final = 120.0
RECOVERY_MAX_BYTES: Final = 16 * 1024 * 1024
RECOVERY_CLIENTS_MAX_COUNT: Final = 10_000
# What an entry costs beside its packet: the envelope, its tuple, its place in the index.
ENTRY_BYTES: Final = 400
# How much later one process of a machine may hear an event than another.
LAG_SECONDS: Final = 5.0


@dataclass(slots=True)
class Saved:
    """A client that may come back.

    Attributes:
        sid: its public name; pid: its secret. rooms: room -> the log's position when it entered.
        last_offset: of the last recoverable event sent to it, None when there was none.
        joined_at, left_at: positions of the log when it came and when it left.
        data: the application's own.
        prelude: of one that came from another process: what it was sent on its return, in that order, which
            is not this log's, each with the moment it was heard. base: the last event it had seen then.
        known, private: what was known of it then, see Found.
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
    prelude: list[tuple[float, Envelope]] = field(default_factory=list)
    base: str | None = None
    known: dict[str, float] = field(default_factory=dict)
    private: frozenset[str] = frozenset()


@dataclass(slots=True)
class Found:
    """A lost client with what another process needs to take it over.

    Attributes:
        missed: events for it, in order.
        known: name -> moment of all events for its rooms that its former home had heard lately: whoever takes
            it over adds what is not among them.
        private: those of them that nobody else hears. since: events heard before it are known anyway.
    """

    client: Saved
    missed: list[Envelope]
    known: dict[str, float]
    private: set[str]
    since: float


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
        # Of processes that have gone: their logs, each with the clients that they had lost.
        self._inherited: list[RecoveryLog] = []
        self._began_at = 0.0  # what was said before was not heard here
        self._ended_at: float | None = None  # of an inherited log: nothing was added since
        self.tag = secrets.token_urlsafe(3)  # of the names of our own events
        self._numbers = itertools.count()
        self.size_bytes = 0

    def next_offset(self) -> str:
        """Any thread: the name of an event about to be sent; unique among all processes."""
        return f"{self.tag}{next(self._numbers):x}"

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
        where = None if client is None else self._where(client, namespace, offset)
        if client is None or where is None:
            return None
        del self._saved[pid]
        prelude, start = where
        return client, [envelope for _, envelope in prelude] + [
            envelope
            for position, (_, _, envelope) in self._from(start)
            if self._concerns(envelope, position, client)
        ]

    # What other processes need, and what they leave

    def begin(self, now: float) -> None:
        """This process hears the others from now on."""
        self._began_at = now

    def find(self, pid: str, namespace: str, offset: str | None, now: float) -> Found | None:
        """As `restore`, for another process or out of what was inherited."""
        self.expire(now)
        for log in (self, *self._inherited):
            client = log._saved.get(pid)
            where = None if client is None else log._where(client, namespace, offset)
            if client is not None and where is not None:
                del log._saved[pid]
                found = log._found(client, *where, now)
                client.base = offset
                if log is not self:
                    self.extend(found)
                return found
        return None

    def forget(self, pid: str) -> None:
        """The client is another process's now."""
        for log in (self, *self._inherited):
            log._saved.pop(pid, None)

    def extend(self, found: Found) -> None:
        """Add what was heard here and not where the client was."""
        for _, (moment, _, envelope) in self._from(self._first_since(found.since)):
            name = envelope.offset
            if name is not None and name not in found.known and self._reaches(envelope, found.client):
                found.missed.append(envelope)
                found.known[name] = moment

    def lacks(self, found: Found, now: float) -> bool:
        """Is something on its way here that the client's former home had heard already?"""
        oldest = max(self._began_at, now - LAG_SECONDS)
        return any(
            moment > oldest and name not in self._positions and name not in found.private
            for name, moment in found.known.items()
        )

    def adopt(self, found: Found) -> None:
        """Make a client of another process one of ours; its positions are then those of this log."""
        self.extend(found)
        client = found.client
        client.prelude = [(found.known[str(envelope.offset)], envelope) for envelope in found.missed]
        client.known, client.private = found.known, frozenset(found.private)
        client.rooms = dict.fromkeys(client.rooms, self.position)
        client.joined_at = client.left_at = self.position

    def logs(self, now: float) -> list[RecoveryLog]:
        """This log and the inherited ones, each complete up to now, for a successor."""
        self.expire(now)
        for log in self._inherited:
            log._absorb(self, now)
        return [self, *self._inherited]

    def entries(self) -> list[tuple[float, Envelope]]:
        """Every event with the moment it was heard, oldest first."""
        return [(moment, envelope) for moment, _, envelope in self._entries]

    def lost_clients(self) -> list[Saved]:
        """The clients that may come back."""
        return list(self._saved.values())

    def inherit(
        self, tag: str, entries: list[tuple[float, Envelope]], clients: list[Saved], first: int, now: float
    ) -> None:
        """Keep another process's log with the clients it has lost.

        Args:
            tag: of that log. first: position of the first entry. now: when it ended.
        """
        log = RecoveryLog(self._max_seconds, self._max_bytes, self._max_clients_count)
        log.tag, log._first, log._ended_at = tag, first, now
        own = {envelope.offset: envelope for _, _, envelope in self._entries}
        for moment, envelope in entries:
            log.append(own.get(envelope.offset, envelope), moment)  # most of it was heard here as well
        for client in clients:
            log._saved[client.pid] = client
        self._inherited.append(log)
        self.expire(now)

    @property
    def first(self) -> int:
        """The position of the oldest entry."""
        return self._first

    def _absorb(self, heard: RecoveryLog, now: float) -> None:
        assert self._ended_at is not None
        for _, (moment, _, envelope) in heard._from(heard._first_since(self._ended_at - LAG_SECONDS)):
            if envelope.offset not in self._positions:
                self.append(envelope, moment)
        self._ended_at = now

    def _found(self, client: Saved, prelude: list[tuple[float, Envelope]], start: int, now: float) -> Found:
        turning = now if self._ended_at is None else self._ended_at
        if prelude:
            turning = prelude[0][0]
        elif start < self.position:
            turning = self._entries[start - self._first][0]
        oldest = turning - 2 * LAG_SECONDS
        known = {name: moment for name, moment in client.known.items() if moment >= oldest}
        known |= {str(envelope.offset): moment for moment, envelope in prelude}
        missed = [envelope for _, envelope in prelude]
        found = Found(client, missed, known, set(client.private), turning - LAG_SECONDS)
        recent = self._first_since(oldest)
        for position, (moment, _, envelope) in self._from(min(start, recent)):
            name = envelope.offset
            if name is None or not self._reaches(envelope, client):
                continue
            found.known[name] = moment
            if envelope.rooms == (client.sid,) and name.startswith(self.tag):
                found.private.add(name)  # we knew that nobody else had that client
            if position >= start and self._concerns(envelope, position, client):
                found.missed.append(envelope)
        return found

    def _where(
        self, client: Saved, namespace: str, offset: str | None
    ) -> tuple[list[tuple[float, Envelope]], int] | None:
        """What a lost client has not seen of its prelude, and the position from which on it saw nothing."""
        if client.namespace != namespace:
            return None
        prelude: list[tuple[float, Envelope]] = []
        start = client.joined_at
        if offset == client.base and (client.prelude or offset != client.last_offset):
            prelude = client.prelude  # it saw nothing since it came
        elif offset == client.last_offset:  # it saw all that was sent to it
            start = client.left_at
        elif offset is None:
            return None
        elif (seen := self._positions.get(offset, -1)) >= start:
            start = seen + 1
        else:
            names = [envelope.offset for _, envelope in client.prelude]
            if offset not in names:
                return None
            prelude = client.prelude[names.index(offset) + 1 :]
        return None if start < self._first else (prelude, start)

    def _from(self, start: int) -> Iterator[tuple[int, tuple[float, int, Envelope]]]:
        """(position, entry) from a position on."""
        skipped = max(0, start - self._first)
        return zip(
            range(self._first + skipped, self.position),
            itertools.islice(self._entries, skipped, None),
            strict=True,
        )

    def _first_since(self, moment: float) -> int:
        """The position of the first event heard at that moment or later."""
        position = self.position
        for heard_at, _, _ in reversed(self._entries):
            if heard_at < moment:
                break
            position -= 1
        return position

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
        if self._inherited:
            for log in self._inherited:
                log.expire(now)
            self._inherited = [log for log in self._inherited if log._saved]

    @staticmethod
    def _reaches(envelope: Envelope, client: Saved) -> bool:
        """Is the client, in its last rooms, among those the event was for?"""
        if envelope.namespace != client.namespace or any(room in client.rooms for room in envelope.excepted):
            return False
        return envelope.rooms is None or any(room in client.rooms for room in envelope.rooms)

    @classmethod
    def _concerns(cls, envelope: Envelope, position: int, client: Saved) -> bool:
        """The same, without what was said in a room before the client entered it."""
        if not cls._reaches(envelope, client):
            return False
        return envelope.rooms is None or any(
            client.rooms.get(room, position + 1) <= position for room in envelope.rooms
        )


def recovery_log(option: bool | Mapping[str, Any] | None) -> RecoveryLog | None:
    """The log that the option `connection_state_recovery` asks for, in the official server's words.

    Args:
        option: False or None for none, True, or {"max_disconnection_duration": seconds, "max_bytes": bytes}.

    Raises:
        TypeError: another name. ValueError: no number.
    """
    if option is False or option is None:
        return None
    chosen = {} if option is True else dict(option)
    log = RecoveryLog(
        float(chosen.pop("max_disconnection_duration", RECOVERY_SECONDS)),
        int(chosen.pop("max_bytes", RECOVERY_MAX_BYTES)),
    )
    if chosen:
        raise TypeError(f"connection_state_recovery has no option {min(chosen)!r}")
    return log
