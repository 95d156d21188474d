"""Connection state recovery: who left without a goodbye, and what was said to them since. Sans-I/O.

Must not know: sessions, packets' text, clocks (time is an argument); bounded in bytes, clients and time.
"""

from __future__ import annotations

import itertools
import secrets
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.event_log import Entry, EventLog

# The official server's maxDisconnectionDuration.
RECOVERY_SECONDS: Final = 120.0
RECOVERY_MAX_BYTES: Final = 16 * 1024 * 1024
RECOVERY_CLIENTS_MAX_COUNT: Final = 10_000
# How much later one process of a machine may hear an event than another.
LAG_SECONDS: Final = 5.0
# By how much a moment may be too early: a loop reads its clock once in a turn.
TURN_SECONDS: Final = 1.0
# How long an event that a client has brought along is awaited: by then no process is behind the others.
REPEAT_SECONDS: Final = 120.0


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
        claimed_at: when it came to where this was known of it: of two records the later one counts.
        lent: may it have come back to another process, which has not said so yet?
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
    claimed_at: float = 0.0
    lent: bool = False


def older(client: Saved, claimed_at: float | None) -> bool:
    """Has it come back elsewhere later? None: from a process that does not say when."""
    return claimed_at is None or client.claimed_at < claimed_at


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

    Every method but `next_offset` belongs to the loop's thread.

    Args:
        max_seconds: how long events and clients are kept. max_bytes: of all events together.
        first: position of the first event to come.
    """

    def __init__(
        self,
        max_seconds: float = RECOVERY_SECONDS,
        max_bytes: int = RECOVERY_MAX_BYTES,
        max_clients_count: int = RECOVERY_CLIENTS_MAX_COUNT,
        first: int = 0,
    ) -> None:
        self._max_seconds = max_seconds
        self._max_bytes = max_bytes
        self._max_clients_count = max_clients_count
        self._events = EventLog(max_seconds, max_bytes, first)
        self._saved: OrderedDict[str, Saved] = OrderedDict()
        # Of processes that have gone: their logs, each with the clients that they had lost.
        self._inherited: list[RecoveryLog] = []
        self._began_at = 0.0  # what was heard elsewhere before will not be heard here
        self._ended_at: float | None = None  # of an inherited log: nothing was added since
        # Events on their way here that a client has already: its sid, by their names; and until when.
        self._repeats: dict[str, list[str]] = {}
        self._repeats_due: deque[tuple[float, str]] = deque()
        self.tag = secrets.token_urlsafe(3)  # of the names of our own events
        self._numbers = itertools.count()

    def next_offset(self) -> str:
        """Any thread: the name of an event about to be sent; unique among all processes."""
        return f"{self.tag}{next(self._numbers):x}"

    @property
    def first(self) -> int:
        """The position of the oldest entry."""
        return self._events.first

    @property
    def position(self) -> int:
        """Where the next event will stand."""
        return self._events.position

    @property
    def size_bytes(self) -> int:
        """Of all events, with what their keeping costs."""
        return self._events.size_bytes

    def append(self, envelope: Envelope, now: float) -> None:
        """An event with an offset leaves."""
        assert envelope.offset is not None
        self._events.append(envelope, now)
        self.expire(now)

    def hear(self, envelope: Envelope, now: float) -> Envelope:
        """An event of another process; returns it without the clients that have brought it along."""
        assert envelope.offset is not None
        self.append(envelope, now)
        sids = self._repeats.pop(envelope.offset, None) if self._repeats else None
        return envelope if sids is None else envelope._replace(excepted=(*envelope.excepted, *sids))

    def save(self, client: Saved, now: float) -> None:
        """A client was lost."""
        client.expires_at = now + self._max_seconds
        self._saved[client.pid] = client
        self._saved.move_to_end(client.pid)
        self.expire(now)

    def restore(
        self, pid: str, namespace: str, offset: str | None, now: float
    ) -> tuple[Saved, list[Envelope]] | None:
        """The lost client and the events it missed, in order; None when that cannot be said any more, or not
        here alone.

        Args:
            offset: of the last event the client saw, None when it saw none.
        """
        self.expire(now)
        client = self._saved.get(pid)
        where = None if client is None or client.lent else self._where(client, namespace, offset)
        if client is None or where is None:
            return None
        del self._saved[pid]
        prelude, start = where
        return client, [envelope for _, envelope in prelude] + [
            entry.envelope for entry in self._missed(client, start)
        ]

    # What other processes need, and what they leave

    def begin(self, now: float) -> None:
        """This process hears the others from now on."""
        self._began_at = now

    def find(self, pid: str, namespace: str, offset: str | None, now: float) -> Found | None:
        """As `restore`, for another process or out of what was inherited; the client is lent."""
        self.expire(now)
        best: Found | None = None
        for log in (self, *self._inherited):
            client = log._saved.get(pid)
            if client is None or (best is not None and best.client.claimed_at >= client.claimed_at):
                continue
            where = log._where(client, namespace, offset)
            if where is not None:
                client.lent = True
                best = log._found(replace(client, base=offset, lent=False), *where, now)
        if best is not None:
            self.extend(best)
        return best

    def forget(self, pid: str, claimed_at: float | None) -> bool:
        """A client has come back elsewhere at that time; returns whether it had been kept here."""
        kept = False
        for log in (self, *self._inherited):
            client = log._saved.get(pid)
            if client is not None and older(client, claimed_at):
                kept = True
                del log._saved[pid]
        return kept

    def extend(self, found: Found) -> None:
        """Add what was heard here and not where the client was."""
        client, events = found.client, self._events
        for entry in events.said_to(client.namespace, client.rooms, events.position_at(found.since)):
            name = entry.envelope.offset
            if name is not None and name not in found.known and self._reaches(entry.envelope, client):
                found.missed.append(entry.envelope)
                found.known[name] = entry.moment

    def adopt(self, found: Found, now: float) -> None:
        """Make a client of another process one of ours; its positions are then those of this log."""
        self.extend(found)
        client = found.client
        for log in (self, *self._inherited):
            log._saved.pop(client.pid, None)
        client.prelude = [(found.known[str(envelope.offset)], envelope) for envelope in found.missed]
        client.known, client.private = found.known, frozenset(found.private)
        client.rooms = dict.fromkeys(client.rooms, self.position)
        client.joined_at = client.left_at = self.position
        oldest = self._began_at - TURN_SECONDS
        for name, moment in found.known.items():
            if moment > oldest and self._events.position_of(name) < 0 and name not in found.private:
                self._repeats.setdefault(name, []).append(client.sid)
                self._repeats_due.append((now + REPEAT_SECONDS, name))

    def logs(self, now: float) -> list[RecoveryLog]:
        """This log and the inherited ones, each complete up to now, for a successor."""
        self.expire(now)
        for log in self._inherited:
            log._absorb(self, now)
        return [self, *self._inherited]

    def entries(self) -> list[tuple[float, Envelope]]:
        """Every event with the moment it was heard, oldest first."""
        return [(entry.moment, entry.envelope) for entry in self._events.since(self.first)]

    def lost_clients(self) -> list[Saved]:
        """The clients that may come back; they are lent to whoever is told of them."""
        for client in self._saved.values():
            client.lent = True
        return list(self._saved.values())

    def inherit(
        self, tag: str, entries: list[tuple[float, Envelope]], clients: list[Saved], first: int, now: float
    ) -> None:
        """Keep another process's log with the clients it has lost.

        Args:
            tag: of that log. first: position of the first entry. now: when it ended.
        """
        log = RecoveryLog(self._max_seconds, self._max_bytes, self._max_clients_count, first)
        log.tag, log._ended_at = tag, now
        own = {entry.envelope.offset: entry.envelope for entry in self._events.since(0)}
        for moment, envelope in entries:
            log.append(own.get(envelope.offset, envelope), moment)  # most of it was heard here as well
        for client in clients:
            log._saved[client.pid] = client
        self._inherited.append(log)
        self.expire(now)

    def _absorb(self, heard: RecoveryLog, now: float) -> None:
        assert self._ended_at is not None
        for entry in heard._events.since(heard._events.position_at(self._ended_at - LAG_SECONDS)):
            if self._events.position_of(str(entry.envelope.offset)) < 0:
                self.append(entry.envelope, entry.moment)
        self._ended_at = now

    def _missed(self, client: Saved, start: int) -> list[Entry]:
        """What was for a client from a position on, without what it had heard before it came here."""
        return [
            entry
            for entry in self._events.said_to(client.namespace, client.rooms, start)
            if entry.envelope.offset not in client.known
            and self._concerns(entry.envelope, entry.position, client)
        ]

    def _found(self, client: Saved, prelude: list[tuple[float, Envelope]], start: int, now: float) -> Found:
        events = self._events
        turning = now if self._ended_at is None else self._ended_at
        if prelude:
            turning = min(moment for moment, _ in prelude)
        elif start < self.position:
            turning = events.moment_of(start)
        oldest = turning - 2 * LAG_SECONDS
        known = {name: moment for name, moment in client.known.items() if moment >= oldest}
        known |= {str(envelope.offset): moment for moment, envelope in prelude}
        missed = [envelope for _, envelope in prelude]
        missed += [entry.envelope for entry in self._missed(client, start)]
        found = Found(client, missed, known, set(client.private), turning - LAG_SECONDS)
        recent = min(start, events.position_at(oldest))
        for _, moment, _, envelope in events.said_to(client.namespace, client.rooms, recent):
            name = envelope.offset
            if name is None or not self._reaches(envelope, client):
                continue
            found.known.setdefault(name, moment)
            if envelope.rooms == (client.sid,) and name.startswith(self.tag):
                found.private.add(name)  # we knew that nobody else had that client
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
        else:  # the prelude first: an event of it may have been heard here later
            names = [envelope.offset for _, envelope in client.prelude]
            if offset in names:
                prelude = client.prelude[names.index(offset) + 1 :]
            elif start <= (seen := self._events.position_of(offset)) < client.left_at:
                start = seen + 1
            else:  # unknown, or sent to it elsewhere since it left: this is not its last home
                return None
        return None if start < self.first else (prelude, start)

    def expire(self, now: float) -> None:
        """Forget what is too old or too much."""
        self._events.expire(now)
        saved = self._saved
        while saved and (
            next(iter(saved.values())).expires_at <= now or len(saved) > self._max_clients_count
        ):
            saved.popitem(last=False)
        while self._repeats_due and self._repeats_due[0][0] <= now:
            self._repeats.pop(self._repeats_due.popleft()[1], None)
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
