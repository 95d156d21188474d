"""Socket.IO packets as MessagePack (socket.io-msgpack-parser): one binary message, `{type, nsp, data, id}`.

Must not know: sessions, sockets, handlers, clocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Union

import msgspec

from python_server.engineio.packet import Prepared
from python_server.socketio.jsoncodec import DEPTH_MAX_COUNT, dumps
from python_server.socketio.packet import Packet, PacketDecoder, PacketError, PacketType, check, extract
from python_server.socketio.values import JSONValue

# JavaScript's `undefined` as notepack writes it: an extension of type 0.
UNDEFINED_CODE: Final = 0
# Bytes of a whole value by its first byte ("Formats" of the MessagePack specification); 0 where more must be
# read. An empty array or map is not among them: it is a level.
_NUMBERS: Final = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
_EXTENSIONS: Final = {0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18}
_STRINGS: Final = {first: first - 0x9F for first in range(0xA0, 0xC0)}
_ONES: Final = dict.fromkeys((*range(0x80), 0xC0, 0xC2, 0xC3, *range(0xE0, 0x100)), 1)
_WHOLE: Final = _NUMBERS | _EXTENSIONS | _STRINGS | _ONES
SIZES: Final = bytes(_WHOLE.get(first, 0) for first in range(256))
# By first byte: (bytes of the length that follows it, further bytes before the value's own).
LENGTHS: Final = {
    **{0xC4 + power: (1 << power, 0) for power in range(3)},  # bin
    **{0xC7 + power: (1 << power, 1) for power in range(3)},  # ext, with its type
    **{0xD9 + power: (1 << power, 0) for power in range(3)},  # str
}
# The same of arrays and maps that say their length in bytes of its own; and what one entry counts for.
CONTAINERS: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, -2), 0xDF: (4, -2)}
# May a map's key begin so? Only with what begins a string.
IS_KEY: Final = bytes(first in _STRINGS or 0xD9 <= first <= 0xDB for first in range(256))
# Values of one byte, a run of which is one step.
ONES: Final = re.compile(b"[" + b"".join(b"\\x%02x" % first for first in _ONES) + b"]+")


def check_values(data: bytes) -> None:
    """Walk over the values of a message before any is built.

    A map whose keys may be arrays, integers or floats takes keys that a client has chosen to have one hash:
    half a megabyte of them keeps a dict busy for ten seconds. What strings hash to is the process's secret.

    Raises:
        PacketError: a map's key is no string, a value ends beyond the message, or more than 200 levels.
    """
    position = 0
    above: list[int] = []
    left = 1  # values still to come in what is open; of a map so many below 0, and keys at even numbers
    try:
        while True:
            first = data[position]
            if left > 0:
                left -= 1
            elif left & 1 or IS_KEY[first]:
                left += 1
            else:
                raise PacketError("a map's key must be a string")
            size_bytes = SIZES[first]
            if size_bytes:
                position += size_bytes
                if size_bytes == 1 and left > 0 and (run := ONES.match(data, position, position + left)):
                    left -= run.end() - position
                    position = run.end()
            elif first in LENGTHS:
                width, more = LENGTHS[first]
                position += 1 + width
                position += more + int.from_bytes(data[position - width : position])
            else:
                above.append(left)
                if len(above) > DEPTH_MAX_COUNT:
                    raise PacketError(f"nested deeper than {DEPTH_MAX_COUNT} levels")
                left, position = _opened(data, position, first)
            while not left:
                if not above:
                    return
                left = above.pop()
    except IndexError:
        raise PacketError("malformed MessagePack") from None


def _opened(data: bytes, position: int, first: int) -> tuple[int, int]:
    """(what is to come, where it begins) of an array or a map."""
    if first < 0xA0:
        return (first & 15 if first >= 0x90 else -2 * (first & 15)), position + 1
    if first not in CONTAINERS:  # 0xC1, which is never used
        raise PacketError("malformed MessagePack")
    width, per_entry = CONTAINERS[first]
    end = position + 1 + width
    return per_entry * int.from_bytes(data[position + 1 : end]), end


def _plain(levels: int) -> Any:
    """The type of values without bytes and extensions, whose maps have strings as keys."""
    atom = str | int | float | bool | None
    kind: Any = atom
    for _ in range(levels):
        kind = Union[atom, list[kind], dict[str, kind]]  # noqa: UP007 - of a type that is made here
    return kind


def _extension(code: int, data: memoryview) -> object:
    return None if code == UNDEFINED_CODE else msgspec.msgpack.Ext(code, bytes(data))


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(ext_hook=_extension).decode
# Nearly every packet, checked while it is read. Each level doubles the type.
_decode_plain: Final = msgspec.msgpack.Decoder(_plain(6)).decode


def decode(data: bytes) -> Packet:
    """The packet of one binary message. Raises PacketError."""
    try:
        fields = _decode_plain(data)
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
        fields = _decode_checked(data)
    if type(fields) is not dict:
        raise PacketError("a packet must be a map")
    kind, namespace, id = fields.get("type"), fields.get("nsp"), fields.get("id")
    if type(kind) is not int or not 0 <= kind <= PacketType.CONNECT_ERROR:
        raise PacketError("unknown packet type")
    if type(namespace) is not str or namespace[:1] != "/":
        raise PacketError("a packet without its namespace")
    if id is not None and (type(id) is not int or id < 0):
        raise PacketError("a packet's id must be a number")
    packet = Packet(PacketType(kind), namespace, fields.get("data"), id, size_bytes=len(data))
    check(packet)
    return packet


def _decode_checked(data: bytes) -> JSONValue:
    """What the plain type does not cover, or refuses."""
    check_values(data)
    try:
        return _decode(data)
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
        raise PacketError("malformed MessagePack") from None


class MsgpackCodec:
    """What `serializer="msgpack"` stands for. Every message is a packet: it is the decoder of all clients."""

    def prepare(
        self, kind: PacketType, namespace: str, data: object = None, id: int | None = None
    ) -> Prepared:
        fields: dict[str, object] = {"type": int(kind), "nsp": namespace}
        if data is not None:
            fields["data"] = data
        if id is not None:
            fields["id"] = id
        try:
            return Prepared([_encode(fields)])
        except (OverflowError, RecursionError) as error:
            raise ValueError(f"the data cannot be written as MessagePack: {error}") from None

    def decoder(self) -> PacketDecoder:
        return self

    def receive(self, data: str | bytes) -> Packet | None:
        if not isinstance(data, bytes):
            raise PacketError("text where a MessagePack packet is due: the client uses another parser")
        return decode(data)

    def data_text(self, prepared: Prepared, namespace: str) -> tuple[str, Sequence[bytes]]:
        (packet,) = prepared.packets
        attachments: list[bytes] = []
        data = extract(_decode(packet)["data"], attachments)  # type: ignore[arg-type]
        return dumps(data), attachments
