"""Socket.IO packets against tests/vectors/socketio.json (socketio/packet.py).

It must not know sessions.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest

from python_server.socketio.jsoncodec import JSONWords
from python_server.socketio.packet import (
    ATTACHMENTS_MAX_BYTES,
    NAMESPACE_MAX_CHARACTERS,
    Assembler,
    PacketError,
    PacketType,
    RefusalError,
    TextCodec,
    TextDecoder,
    decode,
    fill,
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


class Pair(NamedTuple):
    first: object
    second: object


class Holder(msgspec.Struct):
    inside: object


@dataclass
class Record:
    a: bytes


@pytest.mark.parametrize("kind", [PacketType.EVENT, PacketType.ACK])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"x", PLACE % 0),
        ([1, [b"x"]], f"[1,[{PLACE % 0}]]"),
        ((1, (b"x",)), f"[1,[{PLACE % 0}]]"),
        ({"a": 1, "b": {"c": b"x"}}, f'{{"a":1,"b":{{"c":{PLACE % 0}}}}}'),
        (OrderedDict(a=b"x"), f'{{"a":{PLACE % 0}}}'),
        (Pair(1, b"x"), f"[1,{PLACE % 0}]"),
        (Holder(b"x"), f'{{"inside":{PLACE % 0}}}'),
        (Pair(Holder(1), Holder([Record(b"x")])), f'[{{"inside":1}},{{"inside":[{{"a":{PLACE % 0}}}]}}]'),
    ],
)
def test_bytes_become_attachments_in_whatever_holds_them(kind: PacketType, value: Any, text: str) -> None:
    """Behind a plain value of every kind, and of a kind that JSON's writer has no word for."""
    plain = ["up", None, True, 1, 1.5, UUID(int=1)]
    said = f'["up",null,true,1,1.5,"{UUID(int=1)}",{text}]'
    assert encode(kind, "/", [*plain, value], 7) == [f"{kind + 3}1-7{said}", b"x"]


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


NO_ATTACHMENT = "a placeholder that names no attachment"
# What the log says of a client's packet, word for word.
WORDS = {
    '79["a"]': "unknown packet type '7'",
    "": "unknown packet type ''",
    "0null": "the data of a connect packet must be an object",
    "0[]": "the data of a connect packet must be an object",
    "1[]": "a disconnect packet has no data",
    "2{}": "an event must be a non-empty array",
    "2[]": "an event must be a non-empty array",
    "2": "an event must be a non-empty array",
    "2[null]": "an event's name must be a string",
    '2["connect"]': "the event name 'connect' is reserved",
    '2/n,["newListener"]': "the event name 'newListener' is reserved",
    "3[]": "an ack needs an id and an array",
    "31{}": "an ack needs an id and an array",
    '4{"message":"x"}': "only the server sends connect errors",
    '5["a"]': "a binary packet without its attachment count",
    '50-["a"]': "0 attachments, allowed are 1 to 10",
    '611-1["a"]': "11 attachments, allowed are 1 to 10",
    "0/" + "n" * NAMESPACE_MAX_CHARACTERS: "a namespace of more than 255 characters",
}


@pytest.mark.parametrize(("text", "words"), WORDS.items(), ids=lambda text: text[:20])
def test_the_words_of_a_refusal(text: str, words: str) -> None:
    with pytest.raises(PacketError) as caught:
        decode(text)
    assert str(caught.value) == words


@pytest.mark.parametrize("text", ["2[", '2/n,["a"', "0{"])
def test_malformed_json_says_what_is_wrong_with_it(text: str) -> None:
    with pytest.raises(PacketError, match=r"^malformed JSON: .") as caught:
        decode(text)
    assert not str(caught.value).endswith("None")


def test_a_refusal_that_only_servers_send_is_at_hand() -> None:
    """Who is a client of another server reads it."""
    with pytest.raises(RefusalError) as caught:
        decode('4/n,{"message":"no"}')
    packet = caught.value.packet
    assert (packet.kind, packet.namespace, packet.data) == (
        PacketType.CONNECT_ERROR,
        "/n",
        {"message": "no"},
    )


@pytest.mark.parametrize("name", [5, 1.5, -1])
@pytest.mark.parametrize("begin", ["2", "2/n,", "27"])
def test_a_number_may_name_an_event(name: float, begin: str) -> None:
    assert decode(f"{begin}[{name}]").data == [name]


@pytest.mark.parametrize("count", [1, 10])
@pytest.mark.parametrize("kind", [PacketType.EVENT, PacketType.ACK])
def test_binary_packets_say_what_they_become(kind: PacketType, count: int) -> None:
    packet = decode(f'{kind + 3}{count}-/n,7["a"]')
    assert (packet.kind, packet.namespace, packet.id, packet.data, packet.attachments_count) == (
        kind,
        "/n",
        7,
        ["a"],
        count,
    )


ATTACHED = {
    "an attachment without its packet": ([b"x"], "an attachment without its packet"),
    "text where an attachment is due": ([f'51-["a",{PLACE % 0}]', "2[]"], "text where an attachment is due"),
    "too many bytes": ([f'51-["a",{PLACE % 0}]', b"x" * 101], "attachments of more than 100 bytes together"),
    "another number": ([f'51-["a",{PLACE % 1}]', b"x"], NO_ATTACHMENT),
    "true for a number": (['51-["a",{"_placeholder":true,"num":true}]', b"x"], NO_ATTACHMENT),
    "not named": (['51-["a"]', b"x"], "fewer placeholders than attachments"),
}


@pytest.mark.parametrize(("messages", "words"), ATTACHED.values(), ids=ATTACHED)
def test_the_words_of_attachments_that_do_not_fit(messages: list[Any], words: str) -> None:
    with pytest.raises(PacketError) as caught:
        feed(*messages)
    assert str(caught.value) == words


def test_attachments_may_have_as_many_bytes_as_are_allowed() -> None:
    packet = feed(f'52-["a",{PLACE % 0},{PLACE % 1}]', b"x" * 60, b"y" * 40)
    assert packet.data == ["a", b"x" * 60, b"y" * 40]
    assert packet.size_bytes == len(f'52-["a",{PLACE % 0},{PLACE % 1}]') + 100


def test_a_decoder_reads_on_behind_a_packet_with_attachments() -> None:
    decoder = TextDecoder(100)
    for _ in range(2):
        assert decoder.receive(f'51-["a",{PLACE % 0}]') is None
        packet = decoder.receive(b"x")
        assert packet is not None
        assert packet.data == ["a", b"x"]
        plain = decoder.receive('27["b"]')
        assert plain is not None
        assert (plain.id, plain.data, plain.size_bytes) == (7, ["b"], 7)


@pytest.mark.parametrize("value", [5, None, "text", [], {}, {"_placeholder": False, "num": 0}, [{"num": 0}]])
def test_what_is_no_placeholder_stays(value: Any) -> None:
    used: set[int] = set()
    assert fill(value, [b"x"], used) == value
    assert used == set()


def test_placeholders_are_filled_wherever_they_stand() -> None:
    used: set[int] = set()
    place = [{"_placeholder": True, "num": number, "more": "ignored"} for number in range(3)]
    assert fill({"a": [place[2], 1], "b": {"c": place[0]}, "d": None}, [b"0", b"1", b"2"], used) == {
        "a": [b"2", 1],
        "b": {"c": b"0"},
        "d": None,
    }
    assert used == {0, 2}


@pytest.mark.parametrize("namespace", ["/", "/shop", "/[", "/7-"])
@pytest.mark.parametrize("id", [None, 12])
@pytest.mark.parametrize("attachments", [[], [b"x", b"y"]])
def test_the_data_of_what_was_prepared(namespace: str, id: int | None, attachments: list[bytes]) -> None:
    name = f"a[{namespace},["
    prepared = TextCodec().prepare(PacketType.EVENT, namespace, [name, *attachments], id)
    places = "".join(f",{PLACE % number}" for number in range(len(attachments)))
    assert TextCodec().data_text(prepared, namespace) == (f'["{name}"{places}]', attachments)


def test_words_of_somebody_else_write_and_read() -> None:
    words = JSONWords(lambda value: "[7]", lambda text: ["read", text], lambda value: None)
    codec = TextCodec(words)
    assert list(codec.prepare(PacketType.EVENT, "/n", ["a"], 1).packets) == ["42/n,1[7]"]
    for text, read in (('2["a"]', '["a"]'), ('2/n,["b"]', '["b"]'), ('27["c"]', '["c"]')):
        packet = codec.decoder().receive(text)
        assert packet is not None
        assert packet.data == ["read", read]


def test_bytes_of_a_packet_without_data_for_clients_are_nobodys() -> None:
    """Only events and acks have attachments: all else with bytes is the caller's fault."""
    with pytest.raises((TypeError, ValueError)):
        encode(PacketType.CONNECT, "/", {"a": b"x"})


def test_the_decoder_of_a_codec_takes_so_many_bytes() -> None:
    decoder = TextCodec().decoder()
    assert decoder.receive(f'51-["a",{PLACE % 0}]') is None
    packet = decoder.receive(bytes(ATTACHMENTS_MAX_BYTES))
    assert packet is not None
    decoder.receive(f'51-["a",{PLACE % 0}]')
    with pytest.raises(PacketError, match="of more than 16777216 bytes"):
        decoder.receive(bytes(ATTACHMENTS_MAX_BYTES + 1))
