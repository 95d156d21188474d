"""Socket.IO packets as MessagePack (socket.io-msgpack-parser): one binary message, `{type, nsp, data, id}`.

Must not know: sessions, sockets, handlers, clocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from python_server.engineio.packet import Prepared
from python_server.socketio.jsoncodec import DEPTH_MAX_COUNT, dumps, is_deeper
from python_server.socketio.packet import Decoder, Packet, PacketError, PacketType, check, extract

# JavaScript's `undefined` as notepack writes it: an extension of type 0.
UNDEFINED_CODE: Final = 0
# Binary values are part of the data here, so these two do not occur.
UNUSED: Final = frozenset({PacketType.BINARY_EVENT, PacketType.BINARY_ACK})


def _extension(code: int, data: memoryview) -> Any:
    return None if code == UNDEFINED_CODE else msgspec.msgpack.Ext(code, bytes(data))


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(ext_hook=_extension).decode


def decode(data: bytes) -> Packet:
    """The packet of one binary message.

    Raises:
        PacketError: malformed, not a packet's map, or a reserved event name.
    """
    try:
        fields = _decode(data)
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
        raise PacketError("malformed MessagePack") from None
    if type(fields) is not dict:
        raise PacketError("a packet must be a map")
    if is_deeper(fields, DEPTH_MAX_COUNT):
        raise PacketError(f"nested deeper than {DEPTH_MAX_COUNT} levels")
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


class MsgpackDecoder:
    """Stateless: every message is a packet."""

    __slots__ = ()

    def receive(self, data: str | bytes) -> Packet | None:
        if not isinstance(data, bytes):
            raise PacketError("text where a MessagePack packet is due: the client uses another parser")
        return decode(data)


DECODER: Final = MsgpackDecoder()


class MsgpackCodec:
    """What `serializer="msgpack"` stands for."""

    def prepare(self, kind: PacketType, namespace: str, data: Any = None, id: int | None = None) -> Prepared:
        assert kind not in UNUSED, kind
        fields: dict[str, Any] = {"type": int(kind), "nsp": namespace}
        if data is not None:
            fields["data"] = data
        if id is not None:
            fields["id"] = id
        try:
            return Prepared([_encode(fields)])
        except (OverflowError, RecursionError) as error:
            raise ValueError(f"the data cannot be written as MessagePack: {error}") from None

    def decoder(self) -> Decoder:
        return DECODER

    def data_text(self, prepared: Prepared, namespace: str) -> tuple[str, Sequence[bytes]]:
        (packet,) = prepared.packets
        attachments: list[bytes] = []
        data = extract(_decode(packet)["data"], attachments)  # type: ignore[arg-type]
        return dumps(data), attachments
