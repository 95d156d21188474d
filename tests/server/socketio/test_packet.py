"""Socket.IO packets against tests/vectors/socketio.json (socketio/packet.py).

It must not know sessions.
"""

from typing import Any

import pytest

from python_server.socketio.packet import (
    NAMESPACE_MAX_CHARACTERS,
    Assembler,
    PacketError,
    PacketType,
    TextCodec,
    TextDecoder,
    decode,
)

PLACE = '{"_placeholder":true,"num":%d}'


def encode(*packet: Any) -> list[str | bytes]:
    """A packet's text and attachments, without what Engine.IO has in front."""
    text, *attachments = TextCodec().prepare(*packet).packets
    assert isinstance(text, str)
    assert text[0] == "4"
    return [text[1:], *attachments]


def test_packets_decode_as_the_table_says(vectors: Any) -> None:
    for text, kind, namespace, id, data, attachments_count in vectors["packets"]:
        packet = decode(text)
        assert [packet.kind, packet.namespace, packet.id, packet.data, packet.attachments_count] == [
            kind,
            namespace,
            id,
            data,
            attachments_count,
        ], text


def test_refused_packets(vectors: Any) -> None:
    for text, why in vectors["refused"]:
        with pytest.raises(PacketError):
            print(why, decode(text))


def test_packets_are_written_as_the_table_says(vectors: Any) -> None:
    for kind, namespace, id, data, texts in vectors["written"]:
        assert encode(PacketType(kind), namespace, data, id) == texts


def test_an_id_of_many_digits_stays_an_integer() -> None:
    assert decode("2" + "9" * 100 + '["a"]').id == int("9" * 100)
    with pytest.raises(PacketError):
        decode("2" + "9" * 101 + '["a"]')


def test_nesting_is_bounded() -> None:
    with pytest.raises(PacketError):
        decode('2["a",' + "[" * 300 + "]" * 300 + "]")
    with pytest.raises(PacketError):
        decode('2["a",' + "[" * 100_000 + "]" * 100_000 + "]")


def test_digits_are_bounded() -> None:
    with pytest.raises(PacketError):
        decode('2["a",' + "9" * 100_000 + "]")


def test_bytes_become_attachments_wherever_they_stand() -> None:
    data = ["up", b"\x01", {"b": [bytearray(b"\x02"), memoryview(b"\x03")]}]
    assert encode(PacketType.EVENT, "/shop", data, 8) == [
        f'53-/shop,8["up",{PLACE % 0},{{"b":[{PLACE % 1},{PLACE % 2}]}}]',
        b"\x01",
        b"\x02",
        b"\x03",
    ]
    assert encode(PacketType.ACK, "/", [b"x"], 1) == [f"61-1[{PLACE % 0}]", b"x"]


@pytest.mark.parametrize("value", [object(), {1, 2}, {b"x": 1}])
def test_what_json_has_no_word_for_is_the_callers_fault(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode(PacketType.EVENT, "/", ["a", value])


def test_a_lone_surrogate_is_written_as_an_escape() -> None:
    assert encode(PacketType.EVENT, "/", decode('2["\\ud800"]').data) == ['2["\\ud800"]']


def feed(*messages: str | bytes, max_bytes: int = 100) -> Any:
    decoder = TextDecoder(max_bytes)
    for message in messages[:-1]:
        assert decoder.receive(message) is None
    return decoder.receive(messages[-1])


def test_attachments_find_their_placeholders() -> None:
    packet = feed(f'52-["up",{{"b":{PLACE % 1}}},{PLACE % 0}]', b"first", b"second")
    assert (packet.kind, packet.data) == (PacketType.EVENT, ["up", {"b": b"second"}, b"first"])
    assert packet.size_bytes > 11


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([b"x"], "an attachment without its packet"),
        ([f'51-["a",{PLACE % 0}]', '2["b"]'], "text where an attachment is due"),
        ([f'51-["a",{PLACE % 1}]', b"x"], "num out of range"),
        ([f'51-["a",{PLACE % -1}]', b"x"], "num below zero"),
        (['51-["a",{"_placeholder":true,"num":"0"}]', b"x"], "num is no number"),
        (['51-["a",{"_placeholder":true,"num":0.0}]', b"x"], "num is a float"),
        (['51-["a",{"_placeholder":true}]', b"x"], "no num"),
        (['51-["a"]', b"x"], "fewer placeholders than attachments"),
        ([f'52-["a",{PLACE % 0},{PLACE % 0}]', b"x", b"y"], "one attachment named twice"),
        ([f'51-["a",{PLACE % 0}]', b"x" * 101], "too many bytes"),
        ([f'52-["a",{PLACE % 0},{PLACE % 1}]', b"x" * 60, b"x" * 60], "too many bytes together"),
    ],
)
def test_attachments_that_do_not_fit(messages: list[Any], why: str) -> None:
    with pytest.raises(PacketError):
        print(why, feed(*messages))


def test_an_assembler_is_whole_with_its_last_attachment() -> None:
    assembler = Assembler(decode(f'52-["a",{PLACE % 0},{PLACE % 1}]'), 10)
    assert assembler.add(b"x") is None
    packet = assembler.add(b"")
    assert packet is not None
    assert packet.data == ["a", b"x", b""]


def test_the_codec_keeps_text_and_attachments_together() -> None:
    prepared = TextCodec().prepare(PacketType.EVENT, "/", ["a", b"x"])
    assert list(prepared.packets) == [f'451-["a",{PLACE % 0}]', b"x"]
    assert TextCodec().decoder().receive('2["a"]') is not None


@pytest.mark.parametrize("count", [NAMESPACE_MAX_CHARACTERS, NAMESPACE_MAX_CHARACTERS + 1, 500_000])
@pytest.mark.parametrize("rest", ["", ",", ',{"token":"x"}'])
def test_a_namespace_s_name_is_bounded(count: int, rest: str) -> None:
    name = "/" + "n" * (count - 1)
    if count <= NAMESPACE_MAX_CHARACTERS:
        assert decode(f"0{name}{rest}").namespace == name
        return
    with pytest.raises(PacketError, match="namespace of more than 255 characters"):
        decode(f"0{name}{rest}")
