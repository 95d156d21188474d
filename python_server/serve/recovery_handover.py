"""A worker that drains sends its successor its recovery logs, and the records of clients that may come back.

Must not know: what an event says, or when a worker drains.

The one that drains answers for its lost clients until its end. When one has come back anywhere, all that may
have it are told to forget it, and tell their successor, behind the records.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import inf
from typing import Final

import msgspec

from python_server.serve.mounts import Mount
from python_server.socketio.cluster.paced_sender import QUEUED_MAX_BYTES
from python_server.socketio.cluster.port import Malformed
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.record import (
    HeardEvent,
    HeardOf,
    RecoveryRecord,
    checked,
    decoder,
    encode,
    travelling,
    travelling_event,
)
from python_server.socketio.recovery.restore import Restorer
from python_server.workers.peers import MessageKind, Peers

# Of one message; between two of them the loop serves others.
EVENTS_COUNT: Final = 500
CLIENTS_COUNT: Final = 200
# A successor that does not keep up, and siblings that have not settled, are tried again.
RETRY_SECONDS: Final = 0.01


class Part(msgspec.Struct, tag="part", forbid_unknown_fields=True):
    """A piece of the log `tag` of the server mounted under `path`; the last one completes it, and says how
    far that log had heard each process, and when the last event was that it holds no more."""

    path: str
    tag: str
    first: int
    events: list[HeardEvent]
    clients: list[RecoveryRecord]
    last: bool = False
    heard: HeardOf = {}
    forgotten_at: float = -inf


class Forget(msgspec.Struct, tag="forget", forbid_unknown_fields=True):
    """That client has come back to us, or to whoever told us so."""

    path: str
    pid: str
    came_at: float | None = None


class End(msgspec.Struct, tag="end", forbid_unknown_fields=True):
    """This was all. Answered by Received."""


class Received(msgspec.Struct, tag="received", forbid_unknown_fields=True):
    """All of it is here."""


_decode: Final = decoder(Part | Forget | End | Received)


class RecoveryHandover:
    """Sends the logs and records of one worker, and receives those of others. On the loop's thread.

    Args:
        mounts: attached; of those with recovery the logs are handed over.
        call_later, now: the loop's clock. complain: called with (kind, sentence).
    """

    def __init__(
        self,
        mounts: Iterable[Mount],
        siblings: Peers,
        call_later: Callable[[float, Callable[[], None]], object],
        now: Callable[[], float],
        complain: Callable[[str, str], None],
    ) -> None:
        self._siblings = siblings
        hubs = {mount.path: mount.hub for mount in mounts if mount.hub is not None}
        self._logs = {
            path: hub.recovery for path, hub in hubs.items() if isinstance(hub.recovery, RecoveryLog)
        }
        self._restorers = {
            path: hub.restorer for path, hub in hubs.items() if isinstance(hub.restorer, Restorer)
        }
        for path, restorer in self._restorers.items():
            restorer.returned = partial(self.returned, path)
        self._call_later = call_later
        self._now = now
        self._complain = complain
        self._successor: int | None = None  # told of returns as well, after it has received everything
        self._unconfirmed: int | None = None  # the successor, until it says that it has received everything
        self._parts: Iterator[bytes] = iter(())
        self._settle_until = 0.0
        # Sent before our parts that are still to be sent: returns, and what others still hand over to us.
        self._ahead: deque[bytes] = deque()
        self._unsent: bytes | None = None  # did not fit into the successor's queue
        self._timer: object | None = None  # of the next message
        self._forgotten: set[tuple[str, str]] = set()
        # Our own logs and those that came whole, by mount and tag; has one come since the last End?
        self._passed = {(path, log.tag) for path, log in self._logs.items()}
        self._unended = False
        # The parts received of logs that are not complete, by sender, mount and tag.
        self._incoming: dict[tuple[int, str, str], tuple[list[HeardEvent], list[RecoveryRecord]]] = {}
        siblings.on(MessageKind.RECORDS, self._received)
        siblings.on_lost(self._lost)

    @property
    def busy(self) -> bool:
        """Does the successor not have everything yet, or somebody else an answer?"""
        return self._unconfirmed is not None or any(each.answers_count for each in self._restorers.values())

    def hand_over(self, successor: int, settle_seconds: float = 0.0) -> None:
        """Send everything to that worker; our sessions have ended.

        settle_seconds: how long what a worker that begins will never hear is awaited: our log is to have it.
        """
        self._settle_until = max(self._settle_until, self._now() + settle_seconds)
        if self._logs and successor in self._siblings.living:
            self._unconfirmed = self._successor = successor
            self._parts = self._encoded_parts()
            self._unsent = None
            # What others had sent us in part when a former successor ended: this one has none of it.
            self._ahead = deque(self._begun_parts())
            if self._timer is None:
                self._send_next()

    def _begun_parts(self) -> Iterator[bytes]:
        for (_, path, tag), (events, clients) in self._incoming.items():
            part = partial(Part, path, tag, 0)  # what counts comes with the last one
            for start in range(0, len(events), EVENTS_COUNT):
                yield encode(part(list(map(travelling_event, events[start : start + EVENTS_COUNT])), []))
            for start in range(0, len(clients), CLIENTS_COUNT):
                yield encode(part([], clients[start : start + CLIENTS_COUNT]))

    def returned(self, path: str, pid: str, came_at: float) -> None:
        """A client of others has come back to us."""
        self._siblings.send_all(MessageKind.RECORDS, encode(Forget(path, pid, came_at)))

    def _encoded_parts(self) -> Iterator[bytes]:
        for path, log in self._logs.items():
            now = self._now()
            for each in log.logs(now):
                events, clients, heard = each.entries(), each.lost_clients(), each.heard(now, {})
                part = partial(Part, path, each.tag, each.events.first)
                last = part([], [], last=True, heard=heard, forgotten_at=each.events.forgotten_at)
                for start in range(0, len(events), EVENTS_COUNT):
                    yield encode(part(list(map(travelling_event, events[start : start + EVENTS_COUNT])), []))
                for start in range(0, len(clients), CLIENTS_COUNT):
                    records = [
                        travelling(client, self._complain)
                        for client in clients[start : start + CLIENTS_COUNT]
                        if (path, client.pid) not in self._forgotten
                    ]
                    yield encode(part([], records))
                yield encode(last)
        yield encode(End())

    def _send_next(self) -> None:
        """As many messages as may wait on the link, and the next ones later."""
        self._timer = None
        if self._successor is None:
            return
        if not (self._siblings.settling and self._now() < self._settle_until):
            while self._siblings.queued_for(self._successor) <= QUEUED_MAX_BYTES:
                if self._unsent is None:
                    self._unsent = self._ahead.popleft() if self._ahead else next(self._parts, None)
                if self._unsent is None:
                    return  # all has been sent, and is to be confirmed
                if not self._siblings.send(self._successor, MessageKind.RECORDS, self._unsent):
                    break
                self._unsent = None
        self._timer = self._call_later(RETRY_SECONDS, self._send_next)

    def _received(self, index: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            os.close(descriptor)
        try:
            message = _decode(payload)
            if isinstance(message, Part):
                self._receive_part(index, message)
                log = (message.path, message.tag)
                if log not in self._passed:  # else it has gone round
                    self._pass_on(index, payload)
                    self._unended = True
                if message.last:
                    self._passed.add(log)
            elif isinstance(message, Forget):
                self._forget(message)
            elif isinstance(message, End):
                self._siblings.send(index, MessageKind.RECORDS, encode(Received()))
                if self._unended:
                    self._unended = False
                    self._pass_on(index, payload)
            elif index == self._unconfirmed and not self._ahead:
                self._unconfirmed = None
        except Malformed as error:
            self._complain("records", f"malformed recovery records from worker {index}: {error}")

    def _pass_on(self, index: int, payload: bytes) -> None:
        """Who hands over to us did not know yet that we end as well: our successor is to have it."""
        if index == self._successor:  # each of us was to take over from the other
            another = self._siblings.likely_successor()
            if another is not None:
                self.hand_over(another)
        elif self._successor is not None:
            self._unconfirmed = self._successor
            self._send_ahead(payload)

    def _send_ahead(self, payload: bytes) -> None:
        self._ahead.append(payload)
        if self._timer is None:
            self._send_next()

    def _receive_part(self, index: int, part: Part) -> None:
        checked(part.events)
        for client in part.clients:
            checked(client.missed_elsewhere)
        key = (index, part.path, part.tag)
        events, clients = self._incoming.setdefault(key, ([], []))
        events += part.events
        clients += part.clients
        if part.last:
            del self._incoming[key]
            log = self._logs.get(part.path)
            if log is not None:
                log.keep(part.tag, events, clients, part.first, part.heard, part.forgotten_at)

    def _forget(self, message: Forget) -> None:
        """Whoever has a record of that client that is older forgets it; our successor is told."""
        path, pid, came_at = message.path, message.pid, message.came_at
        for (_, its_path, _), (_, clients) in self._incoming.items():
            if its_path == path:
                clients[:] = [each for each in clients if each.pid != pid or not each.older_than(came_at)]
        if path not in self._logs:
            return
        if path in self._restorers:  # it may seem to be here still
            self._restorers[path].returned_elsewhere(pid, came_at)
        if self._logs[path].forget(pid, came_at) and self._successor is not None:
            self._forgotten.add((path, pid))
            self._send_ahead(encode(message))

    def _lost(self, index: int) -> None:
        """A worker has gone, with what it had not sent yet."""
        for key in [key for key in self._incoming if key[0] == index]:
            del self._incoming[key]
        if index == self._successor:
            self._successor = None
        if index == self._unconfirmed:
            self._unconfirmed = None
            another = self._siblings.likely_successor()
            if another is None:
                self._complain("records", f"worker {index} died while it received our lost clients")
            else:
                self.hand_over(another)
