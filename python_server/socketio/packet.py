"""Socket.IO 5 packets: `<type>[<n>-][<namespace>,][<id>][<json>]` and n binary attachments.

Must not know: sessions, sockets, handlers, clocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol

import msgspec

from python_server.engineio.packet import Prepared
from python_server.socketio.jsoncodec import ATOMS, OWN_WORDS, JSONError, JSONWords, plain
from python_server.socketio.values import JSONValue

# Event names that belong to the library: a client that could send them would run connect handlers.
RESERVED: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
# The official parser's default.
ATTACHMENTS_MAX_COUNT: Final = 10
# Of one binary packet together.
ATTACHMENTS_MAX_BYTES: Final = 16 * 1024 * 1024
# A namespace is a path of the application; a file's name ends there, too. Each that a client joins is kept,
# with "*" whatever its name. The official server has no bound.
NAMESPACE_MAX_CHARACTERS: Final = 255
# An ack id is the peer's choice; python-socketio stops at 100 digits.
ID: Final = re.compile(r"[0-9]{1,100}")
ATTACHMENTS: Final = re.compile(r"([0-9]{1,4})-")
BINARY_TYPES: Final = (bytes, bytearray, memoryview)


class PacketType(IntEnum):
    """The first digit of a packet."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


# How a packet begins, by its type: an Engine.IO message; and back.
BEGINS: Final = tuple("4" + digit for digit in "0123456")
TYPES: Final = {str(kind.value): kind for kind in PacketType}
# As globals: they are asked for with every packet.
CONNECT: Final = PacketType.CONNECT
EVENT: Final = PacketType.EVENT
ACK: Final = PacketType.ACK
_BINARY_EVENT: Final = PacketType.BINARY_EVENT
_BINARY_ACK: Final = PacketType.BINARY_ACK


class PacketError(ValueError):
    """A packet that the protocol refuses; the session ends."""


class RefusalError(PacketError):
    """The packet by which a server refuses a client: well-formed, and nothing that a client may send."""

    def __init__(self, packet: Packet) -> None:
        super().__init__("only the server sends connect errors")
        self.packet = packet


class Packet(msgspec.Struct):
    """One decoded packet; a binary one is whole once its attachments are in place.

    Attributes:
        kind: BINARY_EVENT and BINARY_ACK become EVENT and ACK.
        data: connect: dict or None; event: [name, *arguments]; ack: list of arguments.
        attachments_count: binary messages that follow. size_bytes: of all its messages, in characters.
    """

    kind: PacketType
    namespace: str = "/"
    data: JSONValue = None
    id: int | None = None
    attachments_count: int = 0
    size_bytes: int = 0


class PacketDecoder(Protocol):
    """Port: one client's messages become packets."""

    def receive(self, data: str | bytes) -> Packet | None:
        """The packet a message completes; None while attachments are due. Raises PacketError."""


class Codec(Protocol):
    """Port: how packets are written: as text with attachments, or as MessagePack."""

    def prepare(
        self, kind: PacketType, namespace: str, data: object = None, id: int | None = None
    ) -> Prepared:
        """Any thread: a packet encoded for all its recipients; events and acks may have bytes within.
        Raises TypeError or ValueError."""

    def decoder(self) -> PacketDecoder:
        """For one client."""

    def data_text(self, prepared: Prepared, namespace: str) -> tuple[str, Sequence[bytes]]:
        """Any thread: the data of what `prepare` made of an event: JSON with placeholders, attachments.

        Raises:
            TypeError, ValueError: JSON has no word for a value.
        """


# Encoding


def _head(begin: str, namespace: str, id: int | None) -> str:
    """What stands in front of the JSON."""
    if namespace != "/":
        begin += namespace + ","
    return begin if id is None else begin + str(id)


def _has_binary(value: object) -> bool:
    if type(value) in ATOMS:
        return False
    if isinstance(value, dict):
        return any(map(_has_binary, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_binary, value))
    if (found := plain(value)) is not value:
        return _has_binary(found)
    return isinstance(value, BINARY_TYPES)


def extract(value: object, attachments: list[bytes]) -> object:
    """A copy of `value` with placeholders where bytes were, which are added to `attachments`."""
    if isinstance(value, BINARY_TYPES):
        attachments.append(bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, dict):
        return {key: extract(item, attachments) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [extract(item, attachments) for item in value]
    if (found := plain(value)) is not value:
        return extract(found, attachments)
    return value


# Decoding


def decode(text: str, words: JSONWords = OWN_WORDS) -> Packet:
    """The packet of a text message. Raises PacketError."""
    try:
        if text[:2] == "2[":  # an event of the main namespace without an ack: nearly every packet
            data = words.loads(text[1:])
            if not data or type(data[0]) is not str or data[0] in RESERVED:
                _check_event(data)  # which says why, or lets a number pass
            return Packet(EVENT, "/", data)
        packet = _decode(text, words)
    except JSONError as error:
        raise PacketError(f"malformed JSON: {error}") from None
    check(packet)
    return packet


def _decode(text: str, words: JSONWords) -> Packet:
    """Any packet, whose data may not fit its kind."""
    kind = TYPES.get(text[:1])
    if kind is None:
        raise PacketError(f"unknown packet type {text[:1]!r}")
    packet = Packet(kind)
    rest = text[1:]
    if kind is _BINARY_EVENT or kind is _BINARY_ACK:
        match = ATTACHMENTS.match(rest)
        if match is None:
            raise PacketError("a binary packet without its attachment count")
        packet.attachments_count = int(match[1])
        if not 1 <= packet.attachments_count <= ATTACHMENTS_MAX_COUNT:
            raise PacketError(
                f"{packet.attachments_count} attachments, allowed are 1 to {ATTACHMENTS_MAX_COUNT}"
            )
        packet.kind = EVENT if kind is _BINARY_EVENT else ACK
        rest = rest[match.end() :]
    if rest.startswith("/"):
        packet.namespace, _, rest = rest.partition(",")
    match = ID.match(rest)
    if match is not None:
        packet.id = int(match[0])
        rest = rest[match.end() :]
    if rest:
        packet.data = words.loads(rest)
        if packet.data is None and kind is CONNECT:
            raise PacketError("the data of a connect packet must be an object")
    return packet


def check(packet: Packet) -> None:
    """Refuse with PacketError a packet whose namespace is too long, or whose data does not fit its kind."""
    kind, data = packet.kind, packet.data
    if len(packet.namespace) > NAMESPACE_MAX_CHARACTERS:
        raise PacketError(f"a namespace of more than {NAMESPACE_MAX_CHARACTERS} characters")
    if kind is EVENT:
        _check_event(data)
    elif kind is ACK:
        if packet.id is None or type(data) is not list:
            raise PacketError("an ack needs an id and an array")
    elif kind is CONNECT:
        if data is not None and type(data) is not dict:
            raise PacketError("the data of a connect packet must be an object")
    elif kind is PacketType.DISCONNECT:
        if data is not None:
            raise PacketError("a disconnect packet has no data")
    else:
        raise RefusalError(packet)


def _check_event(data: JSONValue) -> None:
    if type(data) is not list or not data:
        raise PacketError("an event must be a non-empty array")
    name = data[0]
    if type(name) is not str and type(name) not in (int, float):
        raise PacketError("an event's name must be a string")
    if name in RESERVED:
        raise PacketError(f"the event name {name!r} is reserved")


@dataclass(slots=True)
class Assembler:
    """A binary packet whose attachments are arriving: so many bytes at most of all of them together."""

    packet: Packet
    _max_bytes: int
    _attachments: list[bytes] = field(default_factory=list)
    _size_bytes: int = 0

    def add(self, attachment: bytes) -> Packet | None:
        """Take the next binary message; the packet when it is whole. Raises PacketError."""
        self._size_bytes += len(attachment)
        if self._size_bytes > self._max_bytes:
            raise PacketError(f"attachments of more than {self._max_bytes} bytes together")
        self._attachments.append(attachment)
        packet = self.packet
        if len(self._attachments) < packet.attachments_count:
            return None
        used: set[int] = set()
        packet.data = fill(packet.data, self._attachments, used)
        if len(used) != len(self._attachments):
            raise PacketError("fewer placeholders than attachments")
        packet.size_bytes += self._size_bytes
        return packet


def fill(value: JSONValue, attachments: Sequence[bytes], used: set[int]) -> JSONValue:
    """A copy with bytes where placeholders were; their numbers are added to `used`. Raises PacketError."""
    if type(value) is dict:
        if value.get("_placeholder") is True:
            number = value.get("num")
            if type(number) is not int or not 0 <= number < len(attachments) or number in used:
                raise PacketError("a placeholder that names no attachment")
            used.add(number)
            return attachments[number]
        return {
            key: item if type(item) in ATOMS else fill(item, attachments, used) for key, item in value.items()
        }
    if type(value) is list:
        return [item if type(item) in ATOMS else fill(item, attachments, used) for item in value]
    return value


@dataclass(slots=True)
class TextDecoder:
    """One client's packets: text, each with the attachments that follow it, at most so many bytes."""

    _max_bytes: int
    words: JSONWords = OWN_WORDS
    _assembler: Assembler | None = None

    def receive(self, data: str | bytes) -> Packet | None:
        assembler = self._assembler
        if assembler is not None:
            if type(data) is not bytes:
                raise PacketError("text where an attachment is due")
            packet = assembler.add(data)
            if packet is not None:
                self._assembler = None
            return packet
        if type(data) is not str:
            raise PacketError("an attachment without its packet")
        packet = decode(data, self.words)
        packet.size_bytes = len(data)
        if packet.attachments_count:
            self._assembler = Assembler(packet, self._max_bytes)
            return None
        return packet


class TextCodec:
    """The protocol's own way: JSON text, in somebody's words, and binary attachments."""

    def __init__(self, words: JSONWords = OWN_WORDS) -> None:
        self._words = words

    def prepare(
        self, kind: PacketType, namespace: str, data: object = None, id: int | None = None
    ) -> Prepared:
        begin = BEGINS[kind]
        said = "" if data is None else self._words.dumps_plain(data)
        if said is not None:
            head = begin if namespace == "/" and id is None else _head(begin, namespace, id)
            return Prepared([head + said])
        attachments: list[bytes] = []
        if (kind is EVENT or kind is ACK) and _has_binary(data):
            data = extract(data, attachments)
            begin = f"{BEGINS[_BINARY_EVENT if kind is EVENT else _BINARY_ACK]}{len(attachments)}-"
        return Prepared([_head(begin, namespace, id) + self._words.dumps(data), *attachments])

    def decoder(self) -> PacketDecoder:
        return TextDecoder(ATTACHMENTS_MAX_BYTES, self._words)

    def data_text(self, prepared: Prepared, namespace: str) -> tuple[str, Sequence[bytes]]:
        text, *attachments = prepared.packets
        # In front of the array stand digits, a hyphen, and a namespace that ends with a comma.
        if namespace != "/":
            text = text.partition(namespace + ",")[2]  # type: ignore[arg-type]
        return text[text.index("[") :], attachments  # type: ignore[arg-type,return-value]
