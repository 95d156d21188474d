"""Connection state recovery: who left without a goodbye, and what was said to them since. Sans-I/O.

Must not know: sessions, packets' text, clocks (time is an argument); bounded in bytes, clients and time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from math import inf
from typing import Final

from msgspec.structs import replace

from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.awaited import AwaitedEvents
from python_server.socketio.recovery.event_log import EventLog
from python_server.socketio.recovery.event_names import (
    TAG_CHARACTERS,
    EventNames,
    sender_and_number,
    series_and_number,
)
from python_server.socketio.recovery.record import (
    HeardEvent,
    HeardOf,
    RecoveryRecord,
    merged,
)

# The official server's maxDisconnectionDuration.
RECOVERY_SECONDS: Final = 120.0
RECOVERY_MAX_BYTES: Final = 16 * 1024 * 1024
RECOVERY_CLIENTS_MAX_COUNT: Final = 10_000
# How long it is remembered how far each process was heard, in times that events are kept: by so much later
# one process may hear an event than another.
REMEMBERED_TIMES: Final = 2
# By how much later we may have heard what a process that has gone had heard: its log is of no use once we
# have forgotten what is newer than its end by more than that.
OUTLIVED_SECONDS: Final = 10.0


class RecoveryLog:
    """Recoverable events in the order they were sent, and the clients that were lost.

    Every method but `next_offset` belongs to the loop's thread.

    Args:
        max_seconds: how long events and clients are kept. max_bytes: of all events together.
        first: position of the first event to come.
    """

    names_local = True  # what is for the clients of this process alone is kept for them as well

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
        self._ended_at = inf  # of a kept one: when its process had heard or lost the last
        self._began_at = 0.0  # what was heard elsewhere before will not be heard here
        self._awaited = AwaitedEvents()
        names = EventNames()
        self.tag = names.tag
        # Any thread: the name of an event about to be sent; unique among all processes.
        self.next_offset: Callable[[], str] = names.make
        self.hears_all = True  # also of rooms that nobody here is in: not where each has a channel of its own
        self._last: HeardOf = {}

    @property
    def lost_count(self) -> int:
        """Of clients that may come back."""
        return len(self._lost)

    def entered(self, now: float) -> int:
        """For `RecoveryRecord.rooms`, of a room that is entered now: our position, once there is an event."""
        position = self.events.position
        return position if position > self.events.first else -int(now * 1e6)

    def append(self, envelope: Envelope, now: float) -> None:
        """An event with an offset leaves."""
        offset = envelope.offset
        assert offset is not None
        self._last[offset[:TAG_CHARACTERS]] = (offset, now)
        self.events.append(envelope, now)
        self.expire(now)

    def hear(self, envelope: Envelope, now: float) -> Envelope:
        """An event of another process; returns it without the clients that have brought it along."""
        envelope = self._awaited.without_repeats(envelope)
        self.append(envelope, now)
        return envelope

    def join(self, client: RecoveryRecord, now: float) -> None:
        """A client begins here: it has missed nothing of what was said before."""
        client.joined_position = self.events.position
        client.compare_from = now

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
        for log, client in self._knowing(pid):
            unseen = log._unseen(client, namespace, offset)
            if unseen is not None and (best is None or best.came_at < client.came_at):
                client.offered = True
                best = log._with_missed(client, offset, *unseen, now)
        return best if best is not None and self._add_missed(best) else None

    def has_forgotten(self, pid: str, offset: str | None) -> bool:
        """For a client that is not found: is it known here, and what it has missed not kept any more?"""
        for log, client in self._knowing(pid):
            start = client.left_position if offset == client.last_offset else client.joined_position
            start = max(start, log.events.position_of(str(offset)))
            lost_at = client.expires_at - self.events.max_seconds
            if log.events.first > start or self.events.forgotten_at > lost_at:
                return True
        return False

    def _knowing(self, pid: str) -> list[tuple[RecoveryLog, RecoveryRecord]]:
        return [(log, log._lost[pid]) for log in (self, *self._kept_logs) if pid in log._lost]

    def find_behind(
        self, tag: str, position: int, client: RecoveryRecord, now: float
    ) -> RecoveryRecord | None:
        """As `find`, one of which nothing is kept: it had all until that position of the log of that tag.
        `client`: its rooms, each from 0 on."""
        for log in self.logs(now):
            if log.tag == tag and log.events.first <= position <= log.events.position:
                began = max(log._began_at, log.events.forgotten_at, log._entered_at(position) / 1e6)
                client.compare_from, client.expires_at = began, now + self.events.max_seconds
                found = log._with_missed(client, None, [], position, now)
                return found if self._add_missed(found) else None
        return None

    def offer(self, pid: str) -> bool:
        """Another process asks for that client, and may have it soon; returns whether it is kept here."""
        for _, client in (kept := self._knowing(pid)):
            client.offered = True
        return bool(kept)

    def forget(self, pid: str, came_at: float | None) -> bool:
        """A client has come back elsewhere at that time; returns whether it had been kept here."""
        kept = False
        for log, client in self._knowing(pid):
            if client.older_than(came_at):
                kept = True
                del log._lost[pid]
        return kept

    def _add_missed(self, client: RecoveryRecord) -> bool:
        """Add what was heard here, or by a process whose log is kept here, but not where the client was.
        False where that cannot be said any more."""
        events, logs = client.missed_elsewhere, (*self._kept_logs, self)
        for log in logs:
            beyond = log._beyond(client, events)
            if beyond is None:
                return False
            events = merged(events, beyond)
        known = {envelope.offset for _, envelope in client.missed_elsewhere}
        client.ahead = client.ahead | {
            str(envelope.offset): moment for moment, envelope in events if envelope.offset not in known
        }
        client.missed_elsewhere = events
        return True

    def heard(self, now: float, elsewhere: HeardOf) -> HeardOf:
        """How far each process was heard, here or elsewhere."""
        heard = elsewhere | {
            tag: last
            for tag, last in self._last.items()
            if tag not in elsewhere or self._has_heard(tag, elsewhere[tag][0])
        }
        oldest = now - REMEMBERED_TIMES * self.events.max_seconds
        return {tag: last for tag, last in heard.items() if last[1] >= oldest}

    def last_names(self, tags: Iterable[str]) -> dict[str, str]:
        """Of each of these senders of which something was heard, the last event."""
        return {tag: self._last[tag][0] for tag in tags if tag in self._last}

    def _has_heard(self, tag: str, name: str) -> bool:
        """That event of that process, or a later one? All hear those of one process in the same order."""
        last = self._last.get(tag)
        return last is not None and (
            self.events.position_of(name) >= 0 or sender_and_number(name)[1] <= sender_and_number(last[0])[1]
        )

    def _beyond(self, client: RecoveryRecord, known: list[HeardEvent]) -> list[HeardEvent] | None:
        """What was heard here for a client, but not where it was: of each process the events behind the last
        one that was heard of it there. With what is known between them, for their order. None where some of
        them may be forgotten here."""
        events = self.events
        since = events.position_at(client.compare_from)
        # Of each process of which we have heard more: behind which position, and which number.
        behind: dict[str, tuple[int, int]] = {}
        for tag, (last, moment) in self._last.items():
            name = client.heard[tag][0] if tag in client.heard else None
            if (
                moment < client.compare_from
                if name is None
                else name == last or not self._has_heard(tag, name)
            ):
                continue
            position = -1 if name is None else events.position_of(name)
            if position < 0 and events.forgotten_at > client.expires_at - events.max_seconds:
                return None
            if name is None:
                behind[tag] = (since - 1, -1)
            else:
                behind[tag] = (position, sender_and_number(name)[1] if position < 0 else -1)
        if not behind:
            return []
        found = []
        names = {envelope.offset for _, envelope in known}
        first = min(position for position, _ in behind.values()) + 1
        for position, moment, _, envelope in events.sent_to(client.namespace, client.rooms, first):
            tag, number = sender_and_number(str(envelope.offset))
            after_position, after_number = behind.get(tag, (position, number))
            if envelope.offset in names or (
                envelope.offset not in client.ahead
                and position > after_position
                and number > after_number
                and client.was_in(envelope.rooms, moment)
            ):
                found.append((moment, envelope))
        return found

    def take_over(self, client: RecoveryRecord, now: float) -> bool:
        """Make a client that was found one of ours; its positions are then those of this log. False where it
        cannot be said any more what it has missed."""
        if not self._add_missed(client):
            return False
        self._leave_to_come(client)
        for log, _ in self._knowing(client.pid):
            del log._lost[client.pid]
        client.rooms = {room: -moment for room, moment in client.rooms.items()}
        client.joined_position = client.left_position = self.events.position
        client.heard = {tag: last for tag, last in client.heard.items() if not self._has_heard(tag, last[0])}
        client.ahead = self._ahead(client, 0.0)
        self._await(client, now + self.events.max_seconds)
        return True

    def _leave_to_come(self, client: RecoveryRecord) -> None:
        """What was added by name, and follows something that was heard here, comes here itself, in order."""
        here: dict[str, int] = {}
        for last, _ in self._last.values() if self.hears_all else ():
            series, number = series_and_number(last)
            here[series] = max(number, here.get(series, 0))

        def comes(name: str) -> bool:
            series, number = series_and_number(name)
            return name in client.ahead and number > here.get(series, number)

        coming = {name for _, envelope in client.missed_elsewhere if comes(name := str(envelope.offset))}
        client.ahead = {name: moment for name, moment in client.ahead.items() if name not in coming}
        client.missed_elsewhere = [each for each in client.missed_elsewhere if each[1].offset not in coming]

    def _await(self, client: RecoveryRecord, due: float) -> None:
        oldest = self._began_at  # what was heard elsewhere before will not be heard here
        until = [last for last, at in client.heard.values() if at >= oldest]
        ahead = [name for name, moment in client.ahead.items() if moment >= oldest]
        self._awaited.add(client.sid, until, ahead, due)

    def _ahead(self, client: RecoveryRecord, oldest: float) -> dict[str, float]:
        """What it has got of what was not heard here yet."""
        return {
            name: moment
            for name, moment in client.ahead.items()
            if moment >= oldest and not self._has_heard(name[:TAG_CHARACTERS], name)
        }

    def logs(self, now: float) -> list[RecoveryLog]:
        """This log and the kept ones, for a successor."""
        self.expire(now)
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
        self,
        tag: str,
        entries: list[HeardEvent],
        clients: list[RecoveryRecord],
        first: int,
        heard: HeardOf,
        forgotten_at: float = -inf,
    ) -> None:
        """Keep the log of a process that goes, with the clients it has lost.

        Args:
            tag: of that log. first: position of the first entry. heard: how far it had heard each process.
            forgotten_at: when the last event before the first entry was heard.
        """
        log = RecoveryLog(
            self.events.max_seconds, self.events.total_max_bytes, self._max_clients_count, first
        )
        log.tag = tag
        for moment, envelope in entries:
            log.events.append(self._held(envelope), moment)
        log._last = heard
        log.events.forgotten_at = max(forgotten_at, log.events.forgotten_at)
        log._lost.update((client.pid, client) for client in clients)
        lost_at = [client.expires_at - self.events.max_seconds for client in clients]
        log._ended_at = max([*lost_at, *(moment for moment, _ in entries[-1:])], default=inf)
        self._kept_logs.append(log)

    def _held(self, envelope: Envelope) -> Envelope:
        """What others have heard was mostly heard here, too, or by others that have gone: it is held once."""
        for log in (self, *self._kept_logs):
            position = log.events.position_of(str(envelope.offset))
            if position >= 0:
                return log.events.at(position).envelope
        return envelope

    def _missed(self, client: RecoveryRecord, unseen: list[HeardEvent], start: int) -> list[HeardEvent]:
        """What it has not seen of elsewhere, then what was heard for it from a position on, here alone."""
        rooms = client.rooms
        return unseen + [
            (moment, envelope)
            for position, moment, _, envelope in self.events.sent_to(client.namespace, rooms, start)
            # what was said in a room before the client entered it is not for the client
            if envelope.rooms is None
            or any(rooms.get(room, position + 1) <= position for room in envelope.rooms)
        ]

    def _with_missed(
        self, client: RecoveryRecord, offset: str | None, unseen: list[HeardEvent], start: int, now: float
    ) -> RecoveryRecord:
        """The client as another process needs it."""
        return replace(
            client,
            offered=False,
            rooms={room: self._entered_at(position) for room, position in client.rooms.items()},
            missed_elsewhere=self._missed(client, unseen, start),
            seen_elsewhere=offset,
            heard=self.heard(now, client.heard),
            ahead=self._ahead(client, now - REMEMBERED_TIMES * self.events.max_seconds),
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
        if self._kept_logs:
            for log in self._kept_logs:
                log.expire(now)
            # One without clients may know what another's clients have missed, as long as it is known here
            # what came after it.
            self._kept_logs = [
                log
                for log in self._kept_logs
                if (log._lost or log.events.size_bytes)
                and self.events.forgotten_at <= log._ended_at + OUTLIVED_SECONDS
            ]

    def sweep(self, now: float) -> None:
        """Once in a while, also where nothing is said: forget what nobody will ask for any more."""
        self.expire(now)
        self._last = self.heard(now, {})
        self._awaited.sweep(now)
