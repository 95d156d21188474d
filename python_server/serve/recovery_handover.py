"""What a worker that drains leaves to its successor: its recovery logs, and who may still come back.

Must not know: what an event says, or when a worker drains.

The one that drains answers for its lost clients until its end. When one has come back anywhere, all that may
have it are told to forget it, and tell their successor, behind the records.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

import msgspec

from python_server.serve.mounts import Mount
from python_server.socketio.cluster.port import Envelope, Malformed
from python_server.socketio.recovery.log import RecoveryLog, Saved, older
from python_server.socketio.recovery.records import (
    ClientRecord,
    EventRecord,
    client_of,
    client_record,
    events_of,
    log_records,
)
from python_server.workers.peers import MessageKind, Peers

Event = tuple[float, Envelope]

# Of one message; between two of them the loop serves others.
EVENTS_COUNT: Final = 500
CLIENTS_COUNT: Final = 200
# A successor that does not keep up is tried again.
RETRY_SECONDS: Final = 0.01


class Part(msgspec.Struct, tag="part", forbid_unknown_fields=True):
    """A piece of the log `tag` of the hub mounted under `path`; the last one makes it whole."""

    path: str
    tag: str
    first: int
    ended_at: float
    events: list[EventRecord]
    clients: list[ClientRecord]
    last: bool = False


class Forget(msgspec.Struct, tag="forget", forbid_unknown_fields=True):
    """That client has come back to us, or to whoever told us so."""

    path: str
    pid: str
    claimed_at: float | None = None


class End(msgspec.Struct, tag="end", forbid_unknown_fields=True):
    """This was all. Answered by Taken."""


class Taken(msgspec.Struct, tag="taken", forbid_unknown_fields=True):
    """All of it is here."""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Part | Forget | End | Taken).decode


class RecoveryHandover:
    """Every method belongs to the loop's thread.

    Args:
        logs: of the hubs with recovery, by the path of their mount.
        call_later, now: the loop's clock. complain: called with (kind, sentence).
    """

    def __init__(
        self,
        siblings: Peers,
        logs: dict[str, RecoveryLog],
        call_later: Callable[[float, Callable[[], None]], object],
        now: Callable[[], float],
        complain: Callable[[str, str], None],
    ) -> None:
        self._siblings = siblings
        self._logs = logs
        self._call_later = call_later
        self._now = now
        self._complain = complain
        self._successor: int | None = None
        self._left_to: int | None = None
        self._parts: Iterator[bytes] = iter(())
        self._words: deque[bytes] = deque()  # for the successor, behind what waits already
        self._waiting: bytes | None = None
        self._next: object | None = None  # the timer of the next message
        self._forgotten: set[tuple[str, str]] = set()
        # What has come of a log, by sender, mount and tag.
        self._coming: dict[tuple[int, str, str], tuple[list[Event], list[Saved]]] = {}
        # Called with (path, pid, when it came back elsewhere), for one that may seem to be here still.
        self.moved: Callable[[str, str, float | None], None] = lambda path, pid, claimed_at: None
        siblings.on(MessageKind.RECORDS, self._received)
        siblings.on_lost(self._lost)

    @property
    def busy(self) -> bool:
        """Does the successor not have everything yet?"""
        return self._successor is not None

    def hand_over(self, successor: int) -> None:
        """Leave everything to that worker; our sessions have ended."""
        if self._logs and successor in self._siblings.living:
            self._successor = self._left_to = successor
            self._parts = self._written()
            self._send_next()

    def taken(self, path: str, pid: str, claimed_at: float) -> None:
        """A client of others has come back to us."""
        self._siblings.send_all(MessageKind.RECORDS, _encode(Forget(path, pid, claimed_at)))

    def _written(self) -> Iterator[bytes]:
        for path, log in self._logs.items():
            now = self._now()
            for each in log.logs(now):
                events, clients = each.entries(), each.lost_clients()
                part = partial(Part, path, each.tag, each.first, now)
                for start in range(0, len(events), EVENTS_COUNT):
                    yield _encode(part(log_records(events[start : start + EVENTS_COUNT]), []))
                for start in range(0, len(clients), CLIENTS_COUNT):
                    records = [
                        client_record(client, self._complain)
                        for client in clients[start : start + CLIENTS_COUNT]
                        if (path, client.pid) not in self._forgotten
                    ]
                    yield _encode(part([], records))
                yield _encode(part([], [], last=True))
        yield _encode(End())

    def _send_next(self) -> None:
        """One message, and the next one in another turn of the loop."""
        self._next = None
        if self._left_to is None:
            return
        if self._waiting is None:
            self._waiting = self._words.popleft() if self._words else next(self._parts, None)
        if self._waiting is None:
            return  # all has been said, and is to be answered
        sent = self._siblings.send(self._left_to, MessageKind.RECORDS, self._waiting)
        if sent:
            self._waiting = None
        self._next = self._call_later(0.0 if sent else RETRY_SECONDS, self._send_next)

    def _received(self, index: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            os.close(descriptor)
        try:
            message = _decode(payload)
            if isinstance(message, Part):
                self._take(index, message)
            elif isinstance(message, Forget):
                self._forget(message)
            elif isinstance(message, End):
                self._siblings.send(index, MessageKind.RECORDS, _encode(Taken()))
            elif index == self._successor:
                self._successor = None
        except (msgspec.DecodeError, Malformed) as error:
            self._complain("records", f"malformed recovery records from worker {index}: {error}")

    def _take(self, index: int, part: Part) -> None:
        key = (index, part.path, part.tag)
        events, clients = self._coming.setdefault(key, ([], []))
        events += events_of(part.events)
        clients += map(client_of, part.clients)
        if part.last:
            del self._coming[key]
            log = self._logs.get(part.path)
            if log is not None and clients:
                log.inherit(part.tag, events, clients, part.first, part.ended_at)

    def _forget(self, message: Forget) -> None:
        """Whoever has a record of that client that is older forgets it; our successor is told."""
        path, pid, claimed_at = message.path, message.pid, message.claimed_at
        for (_, its_path, _), (_, clients) in self._coming.items():
            if its_path == path:
                clients[:] = [each for each in clients if each.pid != pid or not older(each, claimed_at)]
        if path not in self._logs:
            return
        self.moved(path, pid, claimed_at)
        if self._logs[path].forget(pid, claimed_at) and self._left_to is not None:
            self._forgotten.add((path, pid))
            self._words.append(_encode(message))
            if self._next is None:
                self._send_next()

    def _lost(self, index: int) -> None:
        """A worker has gone, with what it had not said yet."""
        for key in [key for key in self._coming if key[0] == index]:
            del self._coming[key]
        if index == self._left_to:
            self._left_to = None
        if index == self._successor:
            self._successor = None
            self._complain("records", f"worker {index} died while it took our lost clients over")


def leave_behind(
    mounts: Iterable[Mount],
    siblings: Peers,
    call_later: Callable[[float, Callable[[], None]], object],
    now: Callable[[], float],
    complain: Callable[[str, str], None],
) -> RecoveryHandover:
    """The handover of a worker that serves `mounts`; see `RecoveryHandover`."""
    hubs = {mount.path: mount.hub for mount in mounts if mount.hub is not None}
    logs = {path: hub.recovery for path, hub in hubs.items() if hub.recovery is not None}
    handover = RecoveryHandover(siblings, logs, call_later, now, complain)
    restorer = {path: hub.restorer for path, hub in hubs.items() if hub.restorer is not None}
    for path, each in restorer.items():
        each.taken = partial(handover.taken, path)
    handover.moved = lambda path, pid, claimed_at: restorer[path].moved(pid, claimed_at)
    return handover
