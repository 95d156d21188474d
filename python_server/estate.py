"""What a worker that drains leaves to its successor: its recovery logs, and who may still come back.

Must not know: what an event says, or when a worker drains.

The one that drains stays the owner until its end and answers for its lost clients; when one is fetched, the
successor is told to forget it, on the same link, behind the records.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

import msgspec

from python_server.mounts import Mount
from python_server.socketio.backplane import Envelope, Malformed
from python_server.socketio.records import (
    ClientRecord,
    EventRecord,
    client_of,
    client_record,
    event_records,
    events_of,
)
from python_server.socketio.recovery import RecoveryLog, Saved
from python_server.workers.siblings import MessageKind, Siblings

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
    """That client is another's now."""

    path: str
    pid: str


class End(msgspec.Struct, tag="end", forbid_unknown_fields=True):
    """This was all. Answered by Taken."""


class Taken(msgspec.Struct, tag="taken", forbid_unknown_fields=True):
    """All of it is here."""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Part | Forget | End | Taken).decode


class Estate:
    """Every method belongs to the loop's thread.

    Args:
        logs: of the hubs with recovery, by the path of their mount.
        call_later, now: the loop's clock. complain: called with (kind, sentence).
    """

    def __init__(
        self,
        siblings: Siblings,
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
        self._heir: int | None = None
        self._left_to: int | None = None
        self._parts: Iterator[bytes] = iter(())
        self._waiting: bytes | None = None
        self._forgotten: set[tuple[str, str]] = set()
        # What has come of a log, by sender, mount and tag.
        self._coming: dict[tuple[int, str, str], tuple[list[Event], list[Saved]]] = {}
        siblings.on(MessageKind.RECORDS, self._received)
        siblings.on_lost(self._lost)

    @property
    def busy(self) -> bool:
        """Does the successor not have everything yet?"""
        return self._heir is not None

    def bequeath(self, heir: int) -> None:
        """Leave everything to that worker; our sessions have ended."""
        if self._logs and heir in self._siblings.living:
            self._heir = self._left_to = heir
            self._parts = self._written()
            self._send_next()

    def forget(self, path: str, pid: str) -> None:
        """A client was fetched from us: our successor is not to have it."""
        if self._left_to is not None:
            self._forgotten.add((path, pid))
            self._siblings.send(self._left_to, MessageKind.RECORDS, _encode(Forget(path, pid)))

    def _written(self) -> Iterator[bytes]:
        for path, log in self._logs.items():
            now = self._now()
            for each in log.logs(now):
                events, clients = each.entries(), each.lost_clients()
                part = partial(Part, path, each.tag, each.first, now)
                for start in range(0, len(events), EVENTS_COUNT):
                    yield _encode(part(event_records(events[start : start + EVENTS_COUNT]), []))
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
        heir = self._heir
        if heir is None:
            return
        if self._waiting is None:
            self._waiting = next(self._parts, None)
        if self._waiting is None:
            return  # all has been said, and is to be answered
        if self._siblings.send(heir, MessageKind.RECORDS, self._waiting):
            self._waiting = None
            self._call_later(0.0, self._send_next)
        else:
            self._call_later(RETRY_SECONDS, self._send_next)

    def _received(self, index: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is not None:
            os.close(descriptor)
        try:
            message = _decode(payload)
            if isinstance(message, Part):
                self._take(index, message)
            elif isinstance(message, Forget):
                self._forget(index, message)
            elif isinstance(message, End):
                self._siblings.send(index, MessageKind.RECORDS, _encode(Taken()))
            elif index == self._heir:
                self._heir = None
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

    def _forget(self, index: int, message: Forget) -> None:
        for (sender, path, _), (_, clients) in self._coming.items():
            if (sender, path) == (index, message.path):
                clients[:] = [client for client in clients if client.pid != message.pid]
        if message.path in self._logs:
            self._logs[message.path].forget(message.pid)

    def _lost(self, index: int) -> None:
        """A worker has gone, with what it had not said yet."""
        for key in [key for key in self._coming if key[0] == index]:
            del self._coming[key]
        if index == self._heir:
            self._heir = None
            self._complain("records", f"worker {index} died while it took our lost clients over")


def leave_behind(
    mounts: Iterable[Mount],
    siblings: Siblings,
    call_later: Callable[[float, Callable[[], None]], object],
    now: Callable[[], float],
    complain: Callable[[str, str], None],
) -> Estate:
    """The estate of a worker that serves `mounts`; see `Estate`."""
    logs = {mount.path: mount.hub.recovery for mount in mounts if mount.hub.recovery is not None}
    estate = Estate(siblings, logs, call_later, now, complain)
    for mount in mounts:
        if mount.hub.comebacks is not None:
            mount.hub.comebacks.given = partial(estate.forget, mount.path)
    return estate
