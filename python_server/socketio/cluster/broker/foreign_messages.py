"""The JSON that python-socketio's servers and emitters exchange through a broker, read and written. Sans-I/O.

Must not know: brokers, channels, who is in a room. Shapes as PubSubManager of python-socketio 5 writes them.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.broker.leader import Word
from python_server.socketio.cluster.port import CommandKind, Envelope, Room
from python_server.socketio.cluster.requests import pack
from python_server.socketio.jsoncodec import DEPTH_MAX_COUNT, JSONError, dumps, loads
from python_server.socketio.packet import Assembler, Codec, Packet, PacketError, PacketType, TextCodec
from python_server.socketio.values import JSONValue, RoomName

# Of one message on the wire; what python-socketio's writers send is bound by their broker alone (512 MiB).
MESSAGE_MAX_BYTES: Final = 16 * 1024 * 1024
ATTACHMENTS_MAX_COUNT: Final = 1000
EVENTS_CACHED_COUNT: Final = 1024
# A name (of an event, room, client, namespace) is a key in somebody's table.
NAME_MAX_LENGTH: Final = 1024
# What names an event in recovery logs: `event_names` makes 8 characters and a number.
OFFSET: Final = re.compile(r"[!-~]{0,64}")

EMPTY: Final = msgspec.Raw(b"[]")
# The event's name at the front of a packet's array, and the comma behind it.
EVENT: Final = re.compile(r'\[("(?:[^"\\]|\\.)*"|-?[0-9]+),?')
# Namespace, rooms, excepted rooms.
Names = tuple[str, Sequence[Room] | None, Sequence[Room]]

# The methods of messages, beside "emit" and "callback"; others are foreign. Plain strings: an enum's hash is
# a call in Python.
COMMANDS: Final = {kind.value: kind for kind in CommandKind}
WORDS: Final = {word.value: word for word in Word}
ROOMLESS: Final = frozenset({CommandKind.DISCONNECT.value, CommandKind.EXPIRE.value})
SIDLESS: Final = frozenset({CommandKind.CLOSE_ROOM.value, CommandKind.PRESENCE.value})
METHODS: Final = frozenset({"emit", "callback", *COMMANDS, *WORDS})
# A client's own room, in python-socketio too: it ends with 20 characters of base64url.
SID: Final = re.compile(r"(?:[A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]{20}\Z")


class WireError(ValueError):
    """A message that is refused; `kind` is what such messages are counted under."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


class WireMessage(msgspec.Struct, gc=False):
    """One message as it stands on the channel, its data not yet read.

    Attributes:
        data: the arguments as a JSON array; with `binary` that array of arguments, with placeholders, and
            behind it each attachment in base64.
        room: one, several, or None for everybody. skip_sid: who does not get it.
        callback: [room, namespace, id] of the sender, who wants the values of the ack.
        volatile, offset, detail, asked, traceparent, at: ours alone; others ignore them.
        path: of the Socket.IO server, on a control socket.
    """

    method: str
    host_id: str | None = None
    namespace: str | None = "/"
    event: Room | None = None
    data: msgspec.Raw = EMPTY
    binary: bool | None = False
    room: Room | list[Room] | None = None
    skip_sid: Room | list[Room | None] | None = None
    callback: list[Room | None] | None = None
    sid: Room | None = None
    id: int | None = None
    args: msgspec.Raw = EMPTY
    volatile: bool = False
    offset: str | None = None
    path: str | None = None
    detail: str | None = None
    asked: bool = False
    traceparent: str | None = None
    at: float | None = None


_decoder: Final = msgspec.json.Decoder(WireMessage)


# Reading


def read(data: bytes) -> WireMessage:
    """A message, checked in everything but the values of its data.

    Raises:
        WireError: too large, not JSON, not of these shapes, or nested deeper than 200 levels.
    """
    if len(data) > MESSAGE_MAX_BYTES:
        raise WireError("oversized message", f"{len(data)} bytes, allowed are {MESSAGE_MAX_BYTES}")
    try:
        message = _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise WireError("foreign message", str(error)) from None
    except RecursionError:
        raise WireError("deeply nested message", "it has too many levels to be read") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = _read_slowly(data)
    else:
        # Each level has two ends, so a short message cannot be deep: the count is a third of its reading.
        if len(data) > 2 * DEPTH_MAX_COUNT and data.count(b"[") + data.count(b"{") > DEPTH_MAX_COUNT:
            _loads(data)
    _check(message)
    return message


def _text(data: bytes | msgspec.Raw) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise WireError("malformed message", "not UTF-8") from None


def _loads(data: bytes | msgspec.Raw) -> JSONValue:
    try:
        return loads(_text(data))
    except JSONError as error:
        kind = "deeply nested message" if "nested" in str(error) else "malformed message"
        raise WireError(kind, str(error)) from None


def _read_slowly(data: bytes) -> WireMessage:
    """What the fast reader refused may hold a lone surrogate, as JavaScript has them: kept as an escape."""
    value = _loads(data)
    try:
        if isinstance(value, dict):
            for name in ("data", "args"):
                if name in value:
                    value[name] = msgspec.Raw(dumps(value[name]).encode())
        return msgspec.convert(value, WireMessage)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise WireError("foreign message", str(error)) from None


def _check(message: WireMessage) -> None:
    method = message.method
    if method not in METHODS:
        raise WireError("foreign message", f"unknown method {method[:100]!r}")
    if message.namespace != "/":
        namespace = message.namespace = message.namespace or "/"
        if not namespace.startswith("/") or "," in namespace or len(namespace) > NAME_MAX_LENGTH:
            raise WireError("foreign message", f"no namespace: {namespace[:100]!r}")
    if method == "emit":
        event = message.event
        if event is None or (type(event) is str and len(event) > NAME_MAX_LENGTH):
            raise WireError("foreign message", "an emit without an event's name, or with a very long one")
        if message.offset is not None and OFFSET.fullmatch(message.offset) is None:
            raise WireError("foreign message", "an emit whose offset names no event")
        if message.callback is not None and len(message.callback) != 3:
            message.callback = None  # as python-socketio does
    elif method == "callback":
        if message.sid is None or message.id is None or message.host_id is None:
            raise WireError("foreign message", "a callback without sid, id or host_id")
    elif method in COMMANDS:
        if method not in SIDLESS and type(message.sid) is not str:
            raise WireError("foreign message", f"{method} names no client")
        if method not in ROOMLESS and (message.room is None or isinstance(message.room, list)):
            raise WireError("foreign message", f"{method} names no room")


def envelope_of(
    message: WireMessage,
    codec: Codec,
    next_offset: Callable[[bool], str] | None = None,
    renames: bool = False,
) -> Envelope | None:
    """What an emit delivers; None when it is for nobody.

    Args:
        codec: of the server whose clients receive it. Text is not decoded for the text codec.
        next_offset: names the event for the recovery log when its sender has not; told whether it is passed
            on. None without a log.
        renames: of one that this worker passes on: its siblings hear those of one name-giver in one order.

    Raises:
        WireError: data that cannot be: malformed base64, placeholders that fit no attachment.
    """
    if message.room == []:
        return None
    namespace = message.namespace or "/"
    offset = None
    if next_offset is not None and not message.volatile:
        offset = (not renames and message.offset) or next_offset(renames)
    if message.binary or not isinstance(codec, TextCodec):
        tail = () if offset is None else (offset,)
        said = (message.event, *arguments_of(message), *tail)
        prepared = codec.prepare(PacketType.EVENT, namespace, said)
    else:
        before = "42" if namespace == "/" else f"42{namespace},"
        prepared = Prepared([before + _spliced(message, offset)])
    rooms, excepted = rooms_of(message), excepted_of(message)
    return Envelope(namespace, rooms, excepted, prepared, offset, message.volatile, message.traceparent)


def is_like_sid(room: RoomName) -> bool:
    """Could it be a client's own room?"""
    return isinstance(room, str) and SID.match(room) is not None


def rooms_of(message: WireMessage) -> tuple[Room, ...] | None:
    """The rooms an emit is for, None for everybody."""
    room = message.room
    return None if room is None else tuple(room) if isinstance(room, list) else (room,)


def excepted_of(message: WireMessage) -> tuple[Room, ...]:
    """The rooms, or clients, an emit is not for."""
    skipped = message.skip_sid
    if skipped is None:
        return ()
    return tuple(sid for sid in skipped if sid is not None) if isinstance(skipped, list) else (skipped,)


def packed_event_of(message: WireMessage) -> list[str]:
    """The event of an emit as a question carries it (see `requests.pack_text`). Raises WireError."""
    if not message.binary:
        return [_spliced(message, None)]
    return pack([message.event, *arguments_of(message)])


def _spliced(message: WireMessage, offset: str | None) -> str:
    """The JSON array [event, *arguments], made around the text of the arguments."""
    inner = _text(message.data)
    if inner.startswith("["):
        inner = inner[1:-1].strip()
        if inner == "null" and message.offset is None:  # emit(event, None) of python-socketio
            inner = ""
    text = f"{_event_text(message.event)},{inner}" if inner else _event_text(message.event)
    return f"[{text}]" if offset is None else f"[{text},{dumps(offset)}]"


@lru_cache(maxsize=EVENTS_CACHED_COUNT, typed=True)
def _event_text(event: Room | None) -> str:
    """The JSON of an event's name: there are few, and they come again and again."""
    return dumps(event)


def arguments_of(message: WireMessage) -> tuple[JSONValue, ...]:
    """The values of an emit. Raises WireError."""
    data = _loads(message.data)
    if message.binary:
        data = _with_attachments(data)
    if not isinstance(data, list):
        return (data,)
    return () if data == [None] and message.offset is None else tuple(data)


def packed_values_of(message: WireMessage) -> list[str]:
    """The values of a callback's ack, packed (see `requests.pack`). Raises WireError."""
    text = _text(message.args)
    if not text.startswith("["):
        raise WireError("foreign message", "the args of a callback are no array")
    return [text]


def _with_attachments(data: JSONValue) -> JSONValue:
    """[structure, base64, ...] with the bytes in the places of their placeholders."""
    if not isinstance(data, list) or not 2 <= len(data) <= ATTACHMENTS_MAX_COUNT + 1:
        raise WireError("foreign message", "binary data without attachments, or with too many")
    assembler = Assembler(
        Packet(PacketType.EVENT, data=data[0], attachments_count=len(data) - 1), MESSAGE_MAX_BYTES
    )
    try:
        for text in data[1:]:
            whole = assembler.add(b64decode(text, validate=True))
    except (TypeError, ValueError, binascii.Error, PacketError) as error:
        raise WireError("foreign message", f"attachments: {error}") from None
    assert whole is not None
    return whole.data


# Writing


def write_emit(envelope: Envelope, host_id: str, codec: Codec, path: str | None = None) -> bytes:
    """An emit as python-socketio writes it; what is encoded already is not encoded again.

    Args:
        codec: the one that made `envelope.prepared`.

    Raises:
        TypeError, ValueError: JSON has no word for a value that MessagePack has.
    """
    text, attachments = codec.data_text(envelope.prepared, envelope.namespace)
    further = ',"volatile":true' if envelope.volatile else ""
    tail = ""
    if envelope.offset is not None:
        offset = dumps(envelope.offset)
        tail = f",{offset}"
        further += f',"offset":{offset}'
    if envelope.traceparent is not None:
        further += f',"traceparent":{dumps(envelope.traceparent)}'
    if path is not None:
        further += f',"path":{dumps(path)}'
    encoded = [b64encode(attachment).decode() for attachment in attachments]
    names = (envelope.namespace, envelope.rooms, envelope.excepted)
    return _emit(text.removesuffix(tail + "]"), encoded, names, host_id, "null", further)


def write_question(
    event: Sequence[str], names: Names, host_id: str, callback: tuple[Room, str, int]
) -> bytes:
    """An emit whose ack the sender awaits; servers of this kind were asked in another way.

    Args:
        event: packed (see `requests.pack_text`). callback: the one room, the namespace, the sender's number.
    """
    text, *attachments = event
    return _emit(text[:-1], attachments, names, host_id, dumps(list(callback)), ',"asked":true')


def _emit(
    said: str, attachments: Sequence[str], names: Names, host_id: str, callback: str, further: str
) -> bytes:
    """`said` is the JSON array [event, *arguments] without its last bracket."""
    match = EVENT.match(said)
    assert match is not None, said[:100]
    data = f"[{said[match.end() :]}]"
    if attachments:
        data = f"[{','.join([data, *map(dumps, attachments)])}]"
    namespace, rooms, excepted = names
    room = None if rooms is None else _one_or_list(rooms)
    skipped = _one_or_list(excepted) if excepted else None
    return (
        f'{{"method":"emit","event":{match[1]},"data":{data},"binary":{"true" if attachments else "false"},'
        f'"namespace":{dumps(namespace)},"room":{dumps(room)},"skip_sid":{dumps(skipped)},'
        f'"callback":{callback},"host_id":{dumps(host_id)}{further}}}'
    ).encode()


def _one_or_list(rooms: Sequence[Room]) -> Room | list[Room]:
    return rooms[0] if len(rooms) == 1 else list(rooms)


def data_of(message: WireMessage) -> JSONValue:
    """Of a command; None where it has none. Raises WireError."""
    return None if message.data == EMPTY else _loads(message.data)


def write_command(method: str, host_id: str, namespace: str, **names: JSONValue) -> bytes:
    """A disconnect, expire, enter_room, leave_room, close_room (of sid, at, room, data), or a word between
    our servers."""
    message = {"method": method, **names, "namespace": namespace, "host_id": host_id}
    return dumps(message).encode()


def write_callback(message: WireMessage, values: str) -> bytes:
    """The values of an ack, a JSON array, for the sender of `message`."""
    assert message.callback is not None
    room, namespace, number = message.callback
    return (
        f'{{"method":"callback","host_id":{dumps(message.host_id)},"sid":{dumps(room)},'
        f'"namespace":{dumps(namespace)},"id":{dumps(number)},"args":{values}}}'
    ).encode()
