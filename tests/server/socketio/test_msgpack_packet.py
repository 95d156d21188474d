"""Socket.IO packets as MessagePack (socketio/msgpack_packet.py).

It must not know sessions.
"""

from typing import Any

import msgspec
import pytest

from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import PacketError, PacketType

CODEC = MsgpackCodec()


def packed(**fields: Any) -> bytes:
    return msgspec.msgpack.encode(fields)


def test_there_and_back_with_bytes_in_place() -> None:
    (message,) = CODEC.prepare(PacketType.EVENT, "/shop", ["up", b"\x00\xff", {"n": 1.5}], 7).packets
    packet = CODEC.decoder().receive(message)
    assert packet is not None
    assert (packet.kind, packet.namespace, packet.id) == (PacketType.EVENT, "/shop", 7)
    assert packet.data == ["up", b"\x00\xff", {"n": 1.5}]


def test_absent_fields_are_not_written() -> None:
    (message,) = CODEC.prepare(PacketType.DISCONNECT, "/").packets
    assert msgspec.msgpack.decode(message) == {"type": 1, "nsp": "/"}


def test_javascripts_undefined_is_an_absent_field() -> None:
    undefined = msgspec.msgpack.Ext(0, b"\x00")
    packet = CODEC.decoder().receive(packed(type=2, nsp="/", data=["a", undefined], id=undefined))
    assert packet is not None
    assert (packet.id, packet.data) == (None, ["a", None])


@pytest.mark.parametrize(
    "message",
    [
        "text",
        b"",
        b"\xc1",
        packed(type=2, nsp="/", data=["a"])[:-1],
        packed(type=2, nsp="/", data=["a"]) + b"\x00",
        msgspec.msgpack.encode([2, "/", ["a"]]),
        packed(nsp="/", data=["a"]),
        packed(type=5, nsp="/", data=["a"]),
        packed(type=-1, nsp="/", data=["a"]),
        packed(type="2", nsp="/", data=["a"]),
        packed(type=True, nsp="/", data=["a"]),
        packed(type=2, data=["a"]),
        packed(type=2, nsp="shop", data=["a"]),
        packed(type=2, nsp="/"),
        packed(type=2, nsp="/", data=[]),
        packed(type=2, nsp="/", data={"a": 1}),
        packed(type=2, nsp="/", data=["connect"]),
        packed(type=2, nsp="/", data=["disconnect", "x"]),
        packed(type=2, nsp="/", data=["a"], id=-1),
        packed(type=2, nsp="/", data=["a"], id="1"),
        packed(type=3, nsp="/", data=[]),
        packed(type=0, nsp="/", data=["array"]),
        packed(type=4, nsp="/", data={"message": "x"}),
        b"\x91" * 100_000 + b"\x90",
    ],
)
def test_refused(message: Any) -> None:
    with pytest.raises(PacketError):
        CODEC.decoder().receive(message)


def test_nesting_is_bounded() -> None:
    deep: Any = []
    for _ in range(250):
        deep = [deep]
    with pytest.raises(PacketError, match="levels"):
        CODEC.decoder().receive(packed(type=2, nsp="/", data=["a", deep]))


@pytest.mark.parametrize("value", [2**80, object()])
def test_what_cannot_be_written_is_the_callers_fault(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        CODEC.prepare(PacketType.EVENT, "/", ["a", value])
