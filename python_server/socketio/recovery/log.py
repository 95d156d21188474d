"""Connection state recovery: who left without a goodbye, and what was said to them since. Sans-I/O.

Must not know: sessions, packets' text, clocks (time is an argument); bounded in bytes, clients and time.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Final

from msgspec.structs import replace

from python_server.net.system import REAL, token
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.event_log import EventLog
from python_server.socketio.recovery.record import (
    TAG_BYTES,
    TAG_CHARACTERS,
    HeardEvent,
    RecoveryRecord,
    merged,
)

# The official server's maxDisconnectionDuration.
RECOVERY_SECONDS: Final = 120.0
RECOVERY_MAX_BYTES: Final = 16 * 1024 * 1024
RECOVERY_CLIENTS_MAX_COUNT: Final = 10_000
# How much later one process of a machine may hear an event than another.
LAG_SECONDS: Final = 5.0
# By how much a moment may be too early: a loop reads its clock once in a turn.
TURN_SECONDS: Final = 1.0
# So many processes are remembered whatever they have said; more while their events are here.
PROCESSES_COUNT: Final = 256
# How long an event that a client has brought along is awaited: by then no process is behind the others.
REPEAT_SECONDS: Final = 120.0


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
        self._max_clients_count = max_clients_count
        self.events: EventLog = EventLog(max_seconds, max_bytes, first)
        self._lost: OrderedDict[str, RecoveryRecord] = OrderedDict()
        # Of processes that have gone: their logs, each with the clients that they had lost.
        self._kept_logs: list[RecoveryLog] = []
        self._began_at = 0.0  # what was heard elsewhere before will not be heard here
        self._ended_at: float | None = None  # of a kept log: nothing was added since
        # Events on their way here that a client has already: its sid, by their names; and until when.
        self._repeats: dict[str | None, list[str]] = {}
        self._repeats_due: deque[tuple[float, str]] = deque()
        self.tag: str = token(TAG_BYTES, REAL.entropy)  # of the names of our own events
        # By the tag of each process: the name of the last event that was heard of it.
        self._last: dict[str, str] = {}
        self._numbers = itertools.count()

    @property
    def lost_count(self) -> int:
        """Of clients that may come back."""
        return len(self._lost)

    def next_offset(self) -> str:
        """Any thread: the name of an event about to be sent; unique among all processes."""
        return f"{self.tag}{next(self._numbers):x}"

    def entered(self, now: float) -> int:
        """For `RecoveryRecord.rooms`, of a room that is entered now: our position, once there is an event."""
        position = self.events.position
        return position if position > self.events.first else -int(now * 1e6)

    def append(self, envelope: Envelope, now: float) -> None:
        """An event with an offset leaves."""
        offset = envelope.offset
        assert offset is not None
        self._last[offset[:TAG_CHARACTERS]] = offset
        self.events.append(envelope, now)
        self.expire(now)

    def hear(self, envelope: Envelope, now: float) -> Envelope:
        """An event of another process; returns it without the clients that have brought it along."""
        self.append(envelope, now)
        sids = self._repeats.pop(envelope.offset, None) if self._repeats else None
        return envelope if sids is None else envelope._replace(excepted=(*envelope.excepted, *sids))

    def join(self, client: RecoveryRecord, now: float) -> None:
        """A client begins here: it has missed nothing of what was said before this process could hear it."""
        client.joined_position = self.events.position
        client.compare_from = min(self._began_at, now - TURN_SECONDS)

    def save(self, client: RecoveryRecord, now: float) -> None:
        """A client was lost here."""
        client.expires_at = now + self.events.max_seconds
        self._lost[client.pid] = client
        self._lost.move_to_end(client.pid)
        self.expire(now)

    def restore(
        self, pid: str, namespace: str, offset: str | None, now: float
    ) -> tuple[RecoveryRecord, list[Envelope]] | None:
        """The lost client and the events it missed, in order; None when that cannot be said any more, or not
        here alone.

        Args:
            offset: of the last event the client saw, None when it saw none.
        """
        self.expire(now)
        client = self._lost.get(pid)
        unseen = None if client is None or client.offered else self._unseen(client, namespace, offset)
        if client is None or unseen is None:
            return None
        del self._lost[pid]
        return client, [envelope for _, envelope in self._missed(client, *unseen)]

    # What other processes need, and what they leave

    def begin(self, now: float) -> None:
        """This process hears the others from now on."""
        self._began_at = now

    def find(self, pid: str, namespace: str, offset: str | None, now: float) -> RecoveryRecord | None:
        """As `restore`, for another process or out of a kept log; what it missed is in the record, and the
        client stays here as one that was offered."""
        self.expire(now)
        best: RecoveryRecord | None = None
        for log in (self, *self._kept_logs):
            client = log._lost.get(pid)
            if client is None or (best is not None and best.came_at >= client.came_at):
                continue
            unseen = log._unseen(client, namespace, offset)
            if unseen is not None:
                client.offered = True
                best = log._with_missed(client, offset, *unseen, now)
        if best is not None:
            self.add_missed(best)
        return best

    def forget(self, pid: str, came_at: float | None) -> bool:
        """A client has come back elsewhere at that time; returns whether it had been kept here."""
        kept = False
        for log in (self, *self._kept_logs):
            client = log._lost.get(pid)
            if client is not None and client.older_than(came_at):
                kept = True
                del log._lost[pid]
        return kept

    def add_missed(self, client: RecoveryRecord) -> None:
        """Add what was heard here, or by a process whose log is kept here, but not where the client was:
        lately, or of a process of which less was heard there."""
        for log in (self, *self._kept_logs):
            start, behind = log.events.position_at(client.compare_from), log._behind(client)
            added = []
            for position, moment, _, envelope in log.events.sent_to(
                client.namespace, client.rooms, min([start, *behind.values()])
            ):
                name = str(envelope.offset)
                if position < start and position <= behind.get(name[:TAG_CHARACTERS], position):
                    continue
                if name not in client.heard_elsewhere and client.was_in(envelope.rooms, moment):
                    added.append((moment, envelope))
            client.missed_elsewhere = merged(client.missed_elsewhere, added)
            client.heard_elsewhere |= {str(envelope.offset): moment for moment, envelope in added}

    def _behind(self, client: RecoveryRecord) -> dict[str, int]:
        """The tags of processes of which we have heard more than the client's former one, and where that one
        had stopped: all hear the events of one process in the same order."""
        heard = sorted(client.heard_elsewhere.items(), key=itemgetter(1))
        last = {name[:TAG_CHARACTERS]: name for name, _ in heard}
        stops = {
            tag: self.events.position_of(name)
            for tag, name in last.items()
            if self._last.get(tag, name) != name
        }
        return {tag: position for tag, position in stops.items() if position >= 0}

    def take_over(self, client: RecoveryRecord, now: float) -> None:
        """Make a client that was found one of ours; its positions are then those of this log."""
        self.add_missed(client)
        for log in (self, *self._kept_logs):
            log._lost.pop(client.pid, None)
        client.rooms = {room: -moment for room, moment in client.rooms.items()}
        client.joined_position = client.left_position = self.events.position
        oldest = self._began_at - TURN_SECONDS
        for name, moment in client.heard_elsewhere.items():
            if moment > oldest and self.events.position_of(name) < 0 and name not in client.only_elsewhere:
                self._repeats.setdefault(name, []).append(client.sid)
                self._repeats_due.append((now + REPEAT_SECONDS, name))

    def logs(self, now: float) -> list[RecoveryLog]:
        """This log and the kept ones, each complete up to now, for a successor."""
        self.expire(now)
        for log in self._kept_logs:
            log._add_later(self, now)
        return [self, *self._kept_logs]

    def entries(self) -> list[HeardEvent]:
        """Every event with the moment it was heard, oldest first."""
        return [(entry.moment, entry.envelope) for entry in self.events.since(self.events.first)]

    def lost_clients(self) -> list[RecoveryRecord]:
        """The clients that may come back; they are offered to whoever is told of them."""
        for client in self._lost.values():
            client.offered = True
        return list(self._lost.values())

    def keep(
        self, tag: str, entries: list[HeardEvent], clients: list[RecoveryRecord], first: int, now: float
    ) -> None:
        """Keep the log of a process that goes, with the clients it has lost.

        Args:
            tag: of that log. first: position of the first entry. now: when it ended.
        """
        log = RecoveryLog(
            self.events.max_seconds, self.events.total_max_bytes, self._max_clients_count, first
        )
        log.tag, log._ended_at = tag, now
        own = {envelope.offset: envelope for _, _, _, envelope in self.events.since(0)}
        for moment, envelope in entries:
            log.append(own.get(envelope.offset, envelope), moment)  # most of it was heard here as well
        for client in clients:
            log._lost[client.pid] = client
        self._kept_logs.append(log)
        self.expire(now)

    def _add_later(self, other: RecoveryLog, now: float) -> None:
        """Add what another log has heard since this one ended."""
        assert self._ended_at is not None
        for entry in other.events.since(other.events.position_at(self._ended_at - LAG_SECONDS)):
            if self.events.position_of(str(entry.envelope.offset)) < 0:
                self.append(entry.envelope, entry.moment)
        self._ended_at = now

    def _missed(self, client: RecoveryRecord, unseen: list[HeardEvent], start: int) -> list[HeardEvent]:
        """What it has not seen of elsewhere, then what was heard for it from a position on, here alone."""
        rooms = client.rooms
        heard = [
            (moment, envelope)
            for position, moment, _, envelope in self.events.sent_to(client.namespace, rooms, start)
            if envelope.offset not in client.heard_elsewhere
            # what was said in a room before the client entered it is not for the client
            and (
                envelope.rooms is None
                or any(rooms.get(room, position + 1) <= position for room in envelope.rooms)
            )
        ]
        return merged(unseen, heard)

    def _with_missed(
        self, client: RecoveryRecord, offset: str | None, unseen: list[HeardEvent], start: int, now: float
    ) -> RecoveryRecord:
        """The client as another process needs it."""
        events = self.events
        missed_from = now if self._ended_at is None else self._ended_at
        if unseen:
            missed_from = min(moment for moment, _ in unseen)
        elif start < self.events.position:
            missed_from = events.moment_of(start)
        oldest = missed_from - 2 * LAG_SECONDS
        heard = {name: moment for name, moment in client.heard_elsewhere.items() if moment >= oldest}
        heard |= {str(envelope.offset): moment for moment, envelope in unseen}
        only_here = set(client.only_elsewhere)
        recent = min(start, events.position_at(oldest))
        for _, moment, _, envelope in events.sent_to(client.namespace, client.rooms, recent):
            name = str(envelope.offset)
            heard.setdefault(name, moment)
            if envelope.rooms == (client.sid,) and name.startswith(self.tag):
                only_here.add(name)  # we knew that nobody else had that client
        for name in self._last.values():  # where we are with each process, whomever it spoke to
            if (position := events.position_of(name)) >= 0:
                heard.setdefault(name, events.moment_of(position))
        return replace(
            client,
            offered=False,
            rooms={room: self._entered_at(position) for room, position in client.rooms.items()},
            missed_elsewhere=self._missed(client, unseen, start),
            seen_elsewhere=offset,
            heard_elsewhere=heard,
            only_elsewhere=frozenset(only_here),
            compare_from=max(missed_from - LAG_SECONDS, client.compare_from),
        )

    def _entered_at(self, position: int) -> int:
        """When a room was entered, not too late: the moment of the last event before, in microseconds."""
        if position <= 0:
            return -position
        before = min(position, self.events.position) - 1
        return int(self.events.moment_of(before) * 1e6) if before >= self.events.first else 0

    def _unseen(
        self, client: RecoveryRecord, namespace: str, offset: str | None
    ) -> tuple[list[HeardEvent], int] | None:
        """What a lost client has not seen of elsewhere, and the position from which on it saw nothing; None
        when that cannot be said."""
        if client.namespace != namespace:
            return None
        unseen: list[HeardEvent] = []
        start = client.joined_position
        if offset == client.seen_elsewhere and (client.missed_elsewhere or offset != client.last_offset):
            unseen = client.missed_elsewhere  # it saw nothing since it came
        elif offset == client.last_offset:  # it saw all that was sent to it
            start = client.left_position
        elif offset is None:
            return None
        else:  # those of elsewhere first: one of them may have been heard here later
            names = [envelope.offset for _, envelope in client.missed_elsewhere]
            if offset in names:
                unseen = client.missed_elsewhere[names.index(offset) + 1 :]
            elif start <= (seen := self.events.position_of(offset)) < client.left_position:
                start = seen + 1
            else:  # unknown, or sent to it elsewhere since it left: another process lost it last
                return None
        return None if start < self.events.first else (unseen, start)

    def expire(self, now: float) -> None:
        """Forget what is too old or too much."""
        self.events.expire(now)
        lost = self._lost
        while lost and (next(iter(lost.values())).expires_at <= now or len(lost) > self._max_clients_count):
            lost.popitem(last=False)
        while self._repeats_due and self._repeats_due[0][0] <= now:
            self._repeats.pop(self._repeats_due.popleft()[1], None)
        if self._kept_logs:
            for log in self._kept_logs:
                log.expire(now)
            self._kept_logs = [log for log in self._kept_logs if log._lost]
        if len(self._last) > PROCESSES_COUNT:
            here = self.events.position_of
            self._last = {tag: name for tag, name in self._last.items() if here(name) >= 0}


def recovery_log(option: bool | Mapping[str, object] | None) -> RecoveryLog | None:
    """The log that the option `connection_state_recovery` asks for, in the official server's words.

    Args:
        option: False or None for none, True, or {"max_disconnection_duration": seconds, "max_bytes": bytes}.

    Raises:
        TypeError: another name. ValueError: no number.
    """
    if option is False or option is None:
        return None
    chosen: dict[str, Any] = {} if option is True else dict(option)
    log = RecoveryLog(
        float(chosen.pop("max_disconnection_duration", RECOVERY_SECONDS)),
        int(chosen.pop("max_bytes", RECOVERY_MAX_BYTES)),
    )
    if chosen:
        raise TypeError(f"connection_state_recovery has no option {min(chosen)!r}")
    return log
