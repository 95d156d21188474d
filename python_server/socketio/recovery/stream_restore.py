"""Clients that come back to any machine: their records are kept beside the stream, what they missed is in it.

Must not know: events, handlers, how a record is stored or a question travels; what was missed the log says.

The store gives a record to one asker alone, so a client is never what it was in two places. Where there is no
record the client may seem to be connected still: whoever has it ends that connection, and stores its record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Final

import msgspec

from python_server.engineio.session import DisconnectReason
from python_server.net.system import TimerLike
from python_server.socketio.client import Client, Socket, SocketState
from python_server.socketio.cluster.port import (
    Envelope,
    Malformed,
    PeerRequest,
    Question,
    QuestionKind,
    RecordStore,
    Reply,
    Room,
)
from python_server.socketio.cluster.requests import convert, plain
from python_server.socketio.recovery.record import RecoveryRecord
from python_server.socketio.recovery.restore import (
    ASK_AGAIN_MAX_COUNT,
    FETCH_SECONDS,
    LOOKUPS_MAX_COUNT,
    SWEEP_SECONDS,
    Admit,
    introduce,
)
from python_server.socketio.recovery.stream_client import LEFT_MAX_COUNT, Kept
from python_server.socketio.recovery.stream_log import LeftRoom, Reach, StreamLog
from python_server.socketio.recovery.stream_record import VERSION, StreamRecord, verify
from python_server.socketio.services import HubServices

# How soon a process looks whether the stream has come to where a client was; then half as often each time.
REACH_SECONDS: Final = 0.02
REACH_MAX_SECONDS: Final = 0.5
# How long after a change of its rooms or its data the record of a connected client is saved, for the day its
# process is killed; and in how many parts all clients are looked at meanwhile.
SAVE_SECONDS: Final = 5.0
SAVE_PARTS_COUNT: Final = 50
# How often it is saved, also without a change, in the time for which it is kept: the store forgets it then.
SAVE_TIMES: Final = 2


class SurrenderQuestion(msgspec.Struct, forbid_unknown_fields=True):
    """The client of that secret has come back: store its record. Answered by True once that is done."""

    pid: str


class LookupStage(Enum):
    """What is awaited."""

    TAKING = auto()  # its record, from the store
    ASKING = auto()  # that another process stores it
    REACHING = auto()  # the stream; the record is here
    SETTLED = auto()  # nothing more


@dataclass(eq=False, slots=True)
class RecordLookup:
    """A client whose record is looked for.

    Attributes:
        stored: the record as it was taken from the store. is_asked: all others have been asked for it.
        live: the record of a client that was connected when it was made. again_count: how often we may still
            ask again. reach_seconds: until we look at the stream again. deadline: see FETCH_SECONDS.
    """

    socket: Socket
    admit: Callable[[dict[Room, int]], None]
    pid: str
    offset: str | None
    state: LookupStage = LookupStage.TAKING
    stored: bytes | None = None
    is_asked: bool = False
    live: StreamRecord | None = None
    again_count: int = ASK_AGAIN_MAX_COUNT
    reach_seconds: float = REACH_SECONDS
    deadline: TimerLike | None = None


class StreamRestorer:
    """Finds who a new connection was before, and gives it back its name, rooms, data and what it missed.

    Every method belongs to the loop's thread.

    Args:
        rooms_of: of a client, each with the position of the log when it entered.
    """

    def __init__(
        self,
        log: StreamLog,
        store: RecordStore,
        services: HubServices,
        rooms_of: Callable[[Socket], dict[Room, int]],
    ) -> None:
        self._log = log
        self._rooms_of = rooms_of
        self._store = store
        self._services = services
        self._lookups: dict[str, RecordLookup] = {}  # by the client's secret
        self._lookup_of: dict[Socket, RecordLookup] = {}
        self.sockets: dict[str, Kept] = {}  # of the clients that are here
        self._leaving: dict[str, Kept] = {}  # of those whose records are on their way to the store
        # Those for whom a part of the stream is read once more.
        self._readers: list[Callable[[bool], None]] = []
        self._due: list[str] = []  # those whose records are looked at next
        services.call_later(SWEEP_SECONDS, self._sweep)
        services.call_later(SAVE_SECONDS, self._save_some)

    def _sweep(self) -> None:
        """As long as the loop turns."""
        self._services.call_later(SWEEP_SECONDS, self._sweep)
        self._log.sweep(self._services.now())

    # A client comes

    def begin(self, socket: Socket, admit: Admit) -> None:
        """Make a client what it was, or new; `admit` is called at once, or once its record is here."""
        asked = introduce(socket, self._services)
        if (
            asked is None
            or not self._services.names.may_be_made(asked.pid)
            or len(self._lookups) >= LOOKUPS_MAX_COUNT
        ):
            self._admit_new(socket, partial(admit, None))
            return
        former = self._end_former(asked.pid, socket.namespace)
        if socket.state is SocketState.CLOSED:  # it was of the same session
            return
        lookup = RecordLookup(socket, partial(admit, former), asked.pid, asked.offset)
        self._lookups[lookup.pid] = self._lookup_of[socket] = lookup
        lookup.deadline = self._services.call_later(FETCH_SECONDS, partial(self._late, lookup))
        self._take(lookup)

    def _end_former(self, pid: str, namespace: str) -> Client | None:
        """End the connection it had, which is dead though nobody had noticed; returns whose that was."""
        lookup = self._lookups.get(pid)
        if lookup is not None:
            self._give_up(lookup)
            lookup.socket.client.session.end(DisconnectReason.TRANSPORT_ERROR)
        former = self.sockets.get(pid)
        if former is None or former.socket.namespace != namespace:
            return None
        former.socket.client.session.end(DisconnectReason.TRANSPORT_ERROR)
        return former.socket.client

    def _taken(self, lookup: RecordLookup, stored: bytes | None) -> None:
        """The store has answered."""
        if lookup.state is LookupStage.SETTLED:  # it has gone meanwhile
            self._put_back(lookup.pid, stored)
        elif stored is not None:
            lookup.stored = stored
            self._read(lookup, stored)
        elif not lookup.is_asked:
            self._ask(lookup)
        elif lookup.live is not None:
            lookup.state = LookupStage.REACHING
            self._reach(lookup, lookup.live)
        else:
            self._admit_lookup(lookup, None)

    def _ask(self, lookup: RecordLookup, to: str | None = None) -> None:
        lookup.state = LookupStage.ASKING
        namespace = lookup.socket.namespace
        question = Question(QuestionKind.SURRENDER, namespace, plain(SurrenderQuestion(lookup.pid)))
        heard, ended = partial(self._surrendered, lookup), partial(self._asked, lookup)
        self._services.backplane.request(PeerRequest(question, heard, ended, FETCH_SECONDS, to))

    def _late(self, lookup: RecordLookup) -> None:
        """The store, the others or the stream have not come in time."""
        if lookup.state is not LookupStage.SETTLED:
            self._admit_lookup(lookup, None)

    def _surrendered(self, lookup: RecordLookup, part: object) -> None:
        if part is True and lookup.state is LookupStage.ASKING:
            lookup.is_asked = True
            self._take(lookup)

    def _asked(self, lookup: RecordLookup, silent_count: int) -> None:
        """Nobody has it; what was on its way to the store is there by now."""
        if lookup.state is not LookupStage.ASKING:
            return
        if silent_count and lookup.again_count:
            lookup.again_count -= 1
        else:
            lookup.is_asked = True
        self._take(lookup)

    def _take(self, lookup: RecordLookup) -> None:
        lookup.state = LookupStage.TAKING
        self._store.take(lookup.pid, partial(self._taken, lookup))

    def _read(self, lookup: RecordLookup, stored: bytes) -> None:
        try:
            record = verify(stored, lookup.pid, self._store.secret)
        except Malformed as error:
            self._services.complain("recovery record", f"a client's record is refused: {error}")
            self._admit_lookup(lookup, None)
            return
        if record.is_live and not lookup.is_asked:  # whoever has it still knows more
            lookup.live = record
            # That one alone, where it is known: if it was killed, nobody has them, and a thousand clients
            # would each be asked of each machine.
            self._ask(lookup, record.holder or None)
        else:
            lookup.state = LookupStage.REACHING
            self._reach(lookup, record)

    def _reach(self, lookup: RecordLookup, record: StreamRecord) -> None:
        """Once the stream has come here to where the client was."""
        if lookup.state is LookupStage.SETTLED:
            return
        missed: list[Envelope] | Reach = Reach.NEVER
        if record.namespace == lookup.socket.namespace and record.version >= VERSION:
            missed = self._log.missed(record, lookup.offset)
        if missed is Reach.EARLIER:
            self.read_again(partial(self._reach_again, lookup, record))
        elif missed is Reach.LATER:
            self._services.call_later(lookup.reach_seconds, partial(self._reach, lookup, record))
            lookup.reach_seconds = min(2 * lookup.reach_seconds, REACH_MAX_SECONDS)
        elif isinstance(missed, Reach):
            self._admit_lookup(lookup, None)
        else:
            self._admit_lookup(lookup, (record, missed))

    def _reach_again(self, lookup: RecordLookup, record: StreamRecord, is_read: bool) -> None:
        if is_read:
            self._reach(lookup, record)
        elif lookup.state is not LookupStage.SETTLED:
            self._admit_lookup(lookup, None)

    def read_again(self, reader: Callable[[bool], None]) -> None:
        """What the log lacks, one part at a time: `reader` is told whether it was read, and looks again."""
        self._readers.append(reader)
        if len(self._readers) == 1:
            begin, end = self._log.lacks
            self._store.between(begin, end, partial(self._remember, begin, end))

    def _remember(self, begin: int, end: int, envelopes: list[Envelope] | None) -> None:
        readers, self._readers = self._readers, []
        if envelopes is not None:
            self._log.remember(begin, end, envelopes, self._services.now())
        for reader in readers:
            reader(envelopes is not None)

    def _settle(self, lookup: RecordLookup) -> None:
        lookup.state = LookupStage.SETTLED
        if lookup.deadline is not None:
            lookup.deadline.cancel()
        del self._lookups[lookup.pid], self._lookup_of[lookup.socket]

    def _admit_lookup(self, lookup: RecordLookup, found: tuple[StreamRecord, list[Envelope]] | None) -> None:
        self._settle(lookup)
        socket = lookup.socket
        if found is None or self._services.has_passed(found[0].authorized_until):
            self._admit_new(socket, lookup.admit)
            return
        record, missed = found
        names = (record.namespace, record.sid, record.pid)
        was = RecoveryRecord(*names, data=record.data, last_offset=lookup.offset, members=record.members)
        was.authorized_until = record.authorized_until
        socket.come_back(was, missed)
        if socket.state is SocketState.CLOSED:  # it is more than may wait for a client
            return
        self._log.take_over(record, missed, self._services.now())
        record.is_live = False
        sent = dict.fromkeys(envelope.offset for envelope in missed)
        record.sent_last = [lookup.offset, *sent]
        record.private = {name: told for name, told in record.private.items() if name in sent}
        self._keep(socket, record)
        position = self._log.events.position
        lookup.admit(dict.fromkeys(record.rooms, position))

    def _admit_new(self, socket: Socket, admit: Callable[[dict[Room, int]], None]) -> None:
        record = socket.recovery
        if socket.state is not SocketState.CLOSED and record is not None:
            self._keep(socket, StreamRecord(VERSION, record.namespace, record.sid, record.pid))
            admit({})

    def _keep(self, socket: Socket, record: StreamRecord) -> None:
        self.sockets[record.pid] = Kept(socket, record, self._log.events.position, self._log.holes_count)

    def moved(self, kind: str, socket: Socket, room: Room) -> None:
        """A client has come into a room, or left it: "join" or "leave"."""
        kept = self._kept(socket)
        if kept is None:
            return
        position, kept.is_changed = self._log.events.position, True
        self._drop_saved(kept)  # it may not come back into other rooms than it was in
        if kind == "join":
            kept.entered[room] = position
            return
        if len(kept.left) == LEFT_MAX_COUNT:  # what it was sent is known since it left the first of them
            kept.joined_position, kept.record.sent_last = kept.left[0].ended, []
        kept.left.append(LeftRoom(room, kept.entered.pop(room, kept.joined_position), position))

    def changed(self, socket: Socket | None) -> None:
        """A client is sent what nobody else hears: who has it not from us, will never have it. Or it may stay
        until another moment than its saved record says."""
        kept = None if socket is None else self._kept(socket)
        if kept is not None:
            kept.is_changed = True
            self._drop_saved(kept)

    def _kept(self, socket: Socket) -> Kept | None:
        kept = None if socket.recovery is None else self.sockets.get(socket.recovery.pid)
        return kept if kept is not None and kept.socket is socket else None

    def _drop_saved(self, kept: Kept) -> None:
        """The record of a connected client is not true any more."""
        if kept.is_saved:
            kept.is_saved = False
            self._store.drop(kept.record.pid)

    # A client goes

    def lost(self, socket: Socket, rooms: dict[Room, int]) -> None:
        """A client's connection has gone; it may come back."""
        kept = self._kept(socket)
        if kept is None:
            return
        if kept.holes_count != self._log.holes_count or not self._log.has_begun:
            self._services.complain(
                "recovery record", "a client that may have missed something cannot be recovered"
            )
            return
        stored = self._written(kept, rooms, is_live=False)
        if stored is not None:
            kept.is_stored = True
            self._leaving[kept.record.pid] = kept
            self._put(kept, stored, partial(self._tell, kept))

    def _written(self, kept: Kept, rooms: dict[Room, int], is_live: bool) -> bytes | None:
        """Its record as it is by now; None: it cannot be kept."""
        kept.record.holder = self._store.name
        try:
            return kept.write(self._log, rooms, is_live, self._store.secret, self._services.complain)
        except Malformed as error:
            self._services.complain("recovery record", f"a client cannot be recovered: {error}")
            return None

    def _put(self, kept: Kept, stored: bytes, told: Callable[[bool], None]) -> None:
        self._store.put(kept.record.pid, stored, self._log.events.max_seconds, told)

    def _save_some(self) -> None:
        """As long as the loop turns: a part of those here, if something has changed or the record is old."""
        self._services.call_later(SAVE_SECONDS / SAVE_PARTS_COUNT, self._save_some)
        if not self._due:
            self._due = list(self.sockets)
        count = 1 + len(self.sockets) // SAVE_PARTS_COUNT
        stale_before = self._services.now() - self._log.events.max_seconds / SAVE_TIMES
        for pid in self._due[-count:]:
            kept = self.sockets.get(pid)
            if kept is None:
                continue
            if kept.holes_count != self._log.holes_count:
                self._drop_saved(kept)
            elif (
                kept.is_changed
                or kept.saved_at <= stale_before
                or kept.socket.data_count != kept.saved_data_count
            ):
                self._save(kept)
        del self._due[-count:]

    def _save(self, kept: Kept) -> None:
        """It is connected, and may be until its process is killed."""
        if kept.socket.state is not SocketState.CONNECTED or not self._log.has_begun:
            return
        kept.is_changed, kept.saved_data_count = False, kept.socket.data_count
        kept.saved_at = self._services.now()
        stored = self._written(kept, self._rooms_of(kept.socket), is_live=True)
        if stored is None:
            self._drop_saved(kept)
        else:
            kept.is_saved = True
            self._put(kept, stored, lambda stored: None)

    def _tell(self, kept: Kept, stored: bool) -> None:
        """Those that have asked for the record."""
        if self._leaving.get(kept.record.pid) is kept:
            del self._leaving[kept.record.pid]
        waiting, kept.waiting = kept.waiting, []
        for tell in waiting:
            tell(stored)

    def closed(self, socket: Socket) -> None:
        """A client has left, or gave up its return."""
        kept = self._kept(socket)
        if kept is not None:
            del self.sockets[kept.record.pid]
            if not kept.is_stored:
                self._tell(kept, False)
                self._drop_saved(kept)
        lookup = self._lookup_of.get(socket)
        if lookup is not None:
            self._give_up(lookup)

    def _give_up(self, lookup: RecordLookup) -> None:
        """It may come once more, here or elsewhere."""
        self._settle(lookup)
        self._put_back(lookup.pid, lookup.stored)

    def _put_back(self, pid: str, stored: bytes | None) -> None:
        if stored is not None:
            self._store.put_back(pid, stored, self._log.events.max_seconds, lambda kept: None)

    def answer(self, question: Question, reply: Reply) -> None:
        """A client that seems to be here has come back elsewhere. Raises Malformed."""
        asked: SurrenderQuestion = convert(question.data, SurrenderQuestion)
        kept, lookup = self.sockets.get(asked.pid), self._lookups.get(asked.pid)
        if (leaving := self._leaving.get(asked.pid)) is not None:
            leaving.waiting.append(reply)
        elif kept is not None and kept.socket.namespace == question.namespace:
            kept.waiting.append(reply)
            kept.socket.client.session.end(DisconnectReason.TRANSPORT_ERROR)
        elif lookup is not None and lookup.stored is not None:
            stored, lookup.stored = lookup.stored, None
            self._store.put_back(asked.pid, stored, self._log.events.max_seconds, reply)
            self._end_former(asked.pid, question.namespace)
        else:
            reply(None)
