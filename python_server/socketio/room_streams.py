"""Streams of rooms: HTTP answers that go on with what is emitted to a room, as server-sent events.

Must not know: sessions, Flask. A stream is in no room: it is counted beside its members, has no acks, and is
never asked. What it has missed `recovery.resumption` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from json import JSONDecoder, dumps
from typing import Final

import msgspec

from python_server.connection.exchange import Exchange
from python_server.http1.event_stream import HEARTBEAT_SECONDS, block, with_id
from python_server.http1.response import Framing, chunk
from python_server.net.system import TimerLike, below
from python_server.net.threads import Executor
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.cluster.requests import pack_text, unpack
from python_server.socketio.packet import Codec
from python_server.socketio.recovery.resumption import Hole, Resumption, ReturningStream
from python_server.socketio.rooms import RoomDirectory
from python_server.socketio.services import HubServices
from python_server.socketio.values import RoomName
from wsframe import JoinCache

# How long a client waits before it comes back; at a stop not all at the same moment.
RETRY_MILLISECONDS: Final = 2000
STOPPED_RETRY_MILLISECONDS: Final = 500
# Of what was missed: less than may wait for a client (hard_limit_bytes).
MISSED_MAX_BYTES: Final = 4 * 1024 * 1024
_read: Final = JSONDecoder().raw_decode

# What those of a room have in common that are sent the same: the one event they want (None: all), and whether
# chunks frame their bodies. None: they do not know yet what they have missed.
Kind = tuple[str | None, bool] | None


@dataclass(eq=False, slots=True)
class RoomStream(ReturningStream):
    """One stream: the LoopAnswer of the request that asked for it.

    Attributes:
        event: the only one it wants; None: all.
    """

    streams: RoomStreams
    event: str | None
    kind: Kind = None
    exchange: Exchange = field(init=False)
    write: Callable[[bytes], bool] = field(init=False)
    timer: TimerLike = field(init=False)

    def begin(self, exchange: Exchange, executor: Executor) -> None:
        self.exchange, self.write = exchange, exchange.outbox(self.streams.joins).write
        self.streams.add(self)

    def drop(self, executor: Executor) -> None:
        """Nobody knows it yet."""

    def lost(self) -> None:
        self.streams.remove(self)

    def hears(self, envelope: Envelope) -> bool:
        """Was it said to its room?"""
        return envelope.rooms is None if self.room is None else self.room in (envelope.rooms or ())


class RoomStreams:
    """Those of one Socket.IO server in this process. Every method belongs to the loop's thread."""

    def __init__(
        self, services: HubServices, codec: Codec, directory: RoomDirectory, resumption: Resumption
    ) -> None:
        self._services = services
        self._codec = codec
        self._directory = directory
        self._resumption = resumption
        self._all: dict[RoomStream, None] = {}
        self._rooms: dict[str, dict[RoomName, dict[Kind, dict[RoomStream, None]]]] = {}
        self._closed = False
        self.joins: JoinCache = JoinCache()
        directory.is_streamed = self.in_room

    @property
    def count(self) -> int:
        """Of those that are open."""
        return len(self._all)

    def in_room(self, namespace: str, room: RoomName) -> bool:
        """Is there one of that room?"""
        return room in self._rooms.get(namespace, ())

    def add(self, stream: RoomStream) -> None:
        """It begins: with what it has missed, if it says since when."""
        if self._closed:
            self._end(stream)
            return
        if not self.in_room(stream.namespace, stream.room):
            self._hold(stream, True)
        self._directory.open(stream.namespace).streamed = self.deliver
        self._all[stream] = None
        self._enter(stream)
        stream.timer = self._services.call_later(HEARTBEAT_SECONDS, partial(self._beat, stream))
        if stream.last_id is None:
            self._go_live(stream, [])
        else:
            self._resumption.find(stream, partial(self._go_live, stream))

    def remove(self, stream: RoomStream) -> None:
        """Its client has gone, or it ends."""
        if stream not in self._all:
            return
        del self._all[stream]
        self._resumption.give_up(stream)
        stream.timer.cancel()
        self._leave(stream)
        rooms = self._rooms[stream.namespace]
        if not rooms[stream.room]:
            del rooms[stream.room]
            self._hold(stream, False)
        if not rooms:
            del self._rooms[stream.namespace]
            adapter = self._directory.open(stream.namespace)
            adapter.streamed = None
            if adapter.empty:
                del self._directory.adapters[stream.namespace]

    def _enter(self, stream: RoomStream) -> None:
        room = self._rooms.setdefault(stream.namespace, {}).setdefault(stream.room, {})
        room.setdefault(stream.kind, {})[stream] = None

    def _leave(self, stream: RoomStream) -> None:
        room = self._rooms[stream.namespace][stream.room]
        del room[stream.kind][stream]
        if not room[stream.kind]:
            del room[stream.kind]

    def _hold(self, stream: RoomStream, held: bool) -> None:
        """Where each room has a channel of its own, this process hears that one."""
        tell, namespace, room = self._services.room_held, stream.namespace, stream.room
        if tell is not None and room is not None and not self._directory.adapter(namespace).count(room):
            tell(namespace, room, held)

    def _go_live(self, stream: RoomStream, found: list[Envelope] | Hole) -> None:
        self._leave(stream)
        stream.kind = stream.event, stream.exchange.framing is Framing.CHUNKED
        self._enter(stream)
        missed = []
        if not isinstance(found, Hole):
            said = [self._written(envelope) for envelope in found if stream.hears(envelope)]
            missed = [written for name, written in filter(None, said) if stream.event in (None, name)]
            if sum(map(len, missed)) > MISSED_MAX_BYTES:
                found = Hole.TOO_MUCH
        if isinstance(found, Hole):
            missed = [block(dumps({"reason": found.value}), "hole")]
        # Until the id, which the last one has: who is cut off before is sent all once more.
        missed[-1:] = [with_id(last, self._id(stream)) for last in missed[-1:]]
        retry = block(id=self._id(stream), retry_milliseconds=RETRY_MILLISECONDS)
        stream.exchange.write(b"".join([*missed, retry]))

    def deliver(self, envelope: Envelope) -> None:
        """To the streams of its rooms: written once for all of a room."""
        namespace, excepted = envelope.namespace, envelope.excepted
        said: tuple[str, bytes] | None = None
        for room in (None,) if envelope.rooms is None else dict.fromkeys(envelope.rooms):
            kinds = self._rooms.get(namespace, {}).get(room)
            if kinds is None or room in excepted:
                continue
            said = said or self._written(envelope)
            if said is None:
                return
            name, plain = said
            if envelope.offset is not None:
                plain = with_id(plain, self._resumption.id_of(namespace, room))
            for kind, streams in [*kinds.items()]:  # the last one of a kind may end by what is written
                if kind is not None and kind[0] in (None, name):
                    chosen = [*streams]
                    if envelope.volatile:
                        chosen = [stream for stream in chosen if not stream.exchange.blocked]
                    if excepted:
                        chosen = [stream for stream in chosen if stream.sid not in excepted]
                    self._send(chosen, plain, kind[1])

    @staticmethod
    def _send(streams: list[RoomStream], plain: bytes, is_chunked: bool) -> None:
        written = chunk(plain) if is_chunked else plain
        for stream in streams:
            try:
                if not stream.write(written):
                    stream.exchange.write(plain)
            except MemoryError:  # nothing may follow a gap; the others get theirs
                stream.exchange.abort("no memory for what is sent")

    def _written(self, envelope: Envelope) -> tuple[str, bytes] | None:
        """(name, block without id) of an event: its arguments as a JSON array; bytes are base64. None: JSON
        has no word for a value, which MessagePack has."""
        prepared, has_offset = envelope.prepared, envelope.offset is not None
        if hasattr(prepared, "event_block"):
            return prepared.event_block
        try:
            text, attachments = self._codec.data_text(prepared, envelope.namespace)
            if attachments or not text.startswith('["'):
                name, *args = unpack(pack_text(text, attachments))
                text = msgspec.json.encode(args[:-1] if has_offset else args).decode()
            else:  # what the application's own JSON has written stays as it is
                name, end = _read(text, 1)
                stop = text.rindex(f'"{envelope.offset}"') if has_offset else len(text) - 1
                text = f"[{text[end:stop].strip(' ,')}]"
            prepared.event_block = str(name), block(text, str(name))
            return prepared.event_block
        except (TypeError, ValueError, OverflowError) as error:
            self._services.complain("stream", f"an event cannot be written for streams: {error}")
            return None

    def _beat(self, stream: RoomStream) -> None:
        """The id goes along: that of a quiet room is never older than this."""
        stream.timer = self._services.call_later(HEARTBEAT_SECONDS, partial(self._beat, stream))
        if not stream.exchange.blocked:
            stream.exchange.write(block(id=self._id(stream)))

    def _id(self, stream: RoomStream) -> str:
        """One that does not know yet what it has missed has got nothing since."""
        return "" if stream.kind is None else self._resumption.id_of(stream.namespace, stream.room)

    def close(self) -> None:
        """The server stops."""
        self._closed = True
        self.end_all()

    def end_all(self) -> None:
        """All come back with the last id they have got, here or to whoever goes on."""
        for stream in [*self._all]:
            self.remove(stream)
            self._end(stream)

    def _end(self, stream: RoomStream) -> None:
        retry = STOPPED_RETRY_MILLISECONDS + below(RETRY_MILLISECONDS, self._services.entropy)
        stream.exchange.write(block(retry_milliseconds=retry))
        stream.exchange.finish()
