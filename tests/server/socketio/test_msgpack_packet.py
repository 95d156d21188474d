"""Socket.IO packets as MessagePack (socketio/msgpack_packet.py).

It must not know sessions.
"""

import itertools
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batches import in_batches
from counted_lines import lines_run
from python_server.socketio import msgpack_packet
from python_server.socketio.jsoncodec import DEPTH_MAX_COUNT, is_deeper
from python_server.socketio.msgpack_packet import MsgpackCodec, _plain, check_values
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


@pytest.mark.parametrize("count", [255, 256, 100_000])
def test_a_namespace_s_name_is_bounded(count: int) -> None:
    name = "/" + "n" * (count - 1)
    if count <= 255:
        packet = CODEC.decoder().receive(packed(type=0, nsp=name))
        assert packet is not None
        assert packet.namespace == name
        return
    with pytest.raises(PacketError, match="namespace of more than 255 characters"):
        CODEC.decoder().receive(packed(type=0, nsp=name))


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


# Keys of maps


def colliding_keys(count: int) -> bytes:
    """A map whose keys are arrays of -1 and -2, which have one hash in CPython."""
    keys = itertools.islice(itertools.product((b"\xff", b"\xfe"), repeat=15), count)
    return b"\xdf" + struct.pack(">I", count) + b"".join(b"\x9f" + b"".join(key) + b"\x01" for key in keys)


def colliding_numbers(count: int) -> bytes:
    """A map whose keys are integers of one hash as far as 64 bits allow, then of one lowest byte."""
    keys = [n * (2**61 - 1) for n in range(8)] + [n << 40 for n in range(1, count - 7)]
    return (
        b"\xdf"
        + struct.pack(">I", count)
        + b"".join(b"\xcf" + struct.pack(">Q", key) + b"\x01" for key in keys)
    )


BAD_KEYS = [
    b"\x01",
    b"\xff",
    b"\xcb" + bytes(8),
    b"\xc0",
    b"\xc3",
    b"\xc4\x01a",
    b"\xd4\x00\x00",
    b"\x90",
    b"\x91\x01",
    b"\x80",
]
BAD_MAPS = [*(b"\x81" + key + b"\x01" for key in BAD_KEYS), colliding_keys(3000), colliding_numbers(3000)]
BESIDE = [b"", b"\xc4\x01a", b"\xd4\x00\x00"]  # bytes and `undefined`: another reader's turn


def event(*values: bytes) -> bytes:
    data = b"\xdc" + struct.pack(">H", 1 + len(values)) + b"\xa1e" + b"".join(values)
    return b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data" + data


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("depth", [0, 1, 5, 6, 7, 150])
@in_batches("bad", BAD_MAPS, 12)
def test_a_map_whose_keys_are_no_strings_is_refused_before_it_is_built(
    monkeypatch: pytest.MonkeyPatch, bad: bytes, depth: int, beside: bytes
) -> None:
    def built(data: bytes) -> Any:
        raise AssertionError("the reader that takes any key was asked")

    monkeypatch.setattr(msgpack_packet, "_decode", built)
    message = event(*filter(None, [beside, b"\x91" * depth + bad]))
    with pytest.raises(PacketError, match="key must be a string"):
        CODEC.decoder().receive(message)


@pytest.mark.parametrize("depth", [1, 6, 7, 190])
def test_maps_of_strings_are_read_at_every_depth(depth: int) -> None:
    message = event(
        b"\x81\xa1k" * depth + b"\xc4\x01a", b"\x81\xa1k" * depth + b"\x01", b"\xd9\x01x", b"\xd4\x00\x00"
    )
    packet = CODEC.decoder().receive(message)
    assert packet is not None
    _, first, second, text, undefined = packet.data
    for _ in range(depth):
        first, second = first["k"], second["k"]
    assert (first, second, text, undefined) == (b"a", 1, "x", None)


@pytest.mark.parametrize("around", [lambda value: [value, "a"], lambda value: {"a": None, "k": value}])
def test_plain_values_are_atoms_within_so_many_levels(around: Any) -> None:
    decode = msgspec.msgpack.Decoder(_plain(2)).decode
    for value in (None, True, 5, -1, 1.5, "text", [], {}, ["text"], {"k": 5}):
        assert decode(msgspec.msgpack.encode(around(value))) == around(value)
    for value in (b"x", [b"x"], {1: 2}, msgspec.msgpack.Ext(0, b"x"), [[5]], {"k": {}}):
        with pytest.raises(msgspec.ValidationError):
            decode(msgspec.msgpack.encode(around(value)))


ANY = msgspec.msgpack.Decoder().decode
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=20)
    ),
    max_leaves=20,
)


def has_other_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return any(type(key) is not str for key in value) or any(map(has_other_keys, value.values()))
    return isinstance(value, list) and any(map(has_other_keys, value))


@settings(max_examples=300, deadline=None)
@given(VALUES, st.integers(0, 300))
def test_the_walk_refuses_other_keys_and_depth_and_nothing_else(value: Any, levels: int) -> None:
    for _ in range(levels):
        value = [value]
    data = msgspec.msgpack.encode(value)
    if has_other_keys(value) or is_deeper(value, DEPTH_MAX_COUNT):
        with pytest.raises(PacketError):
            check_values(data)
    else:
        check_values(data)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60) | VALUES.map(msgspec.msgpack.encode).map(lambda data: data[:-1]))
def test_the_walk_lets_nothing_pass_that_builds_other_keys(data: bytes) -> None:
    try:
        check_values(data)
    except PacketError:
        return
    try:
        value = ANY(data)
    except (msgspec.MsgspecError, ValueError):
        return
    assert not has_other_keys(value)


WORST = [
    *(
        b"\xdd" + struct.pack(">I", 2000) + item * 2000
        for item in (b"\x80", b"\x91\x00", b"\x81\xa0\x00", b"\xa1a", b"\xcc\x01")
    ),
    b"\xdf" + struct.pack(">I", 2000) + b"\xa0\x01" * 2000,
    b"\xdf" + struct.pack(">I", 2000) + b"\xa0\x91\x01" * 2000,
    *(b"\x91" * 4000, b"\xdd\xff\xff\xff\xff" * 800, colliding_keys(300), colliding_numbers(300)),
    b"\xdf\xff\xff\xff\xff" + b"\xa0\x80" * 2000,
]


@pytest.mark.parametrize("data", WORST)
def test_a_message_costs_a_bounded_number_of_lines_per_byte(data: bytes) -> None:
    assert (
        lines_run(check_values, data, refusals=(PacketError,), below=str(msgpack_packet.__file__))
        <= 16 * len(data) + 50
    )


DATA = ["a"]
WORDS = [
    ("text", "text where a MessagePack packet is due: the client uses another parser"),
    (b"", "malformed MessagePack"),
    (b"\xc1", "malformed MessagePack"),
    (packed(type=2, nsp="/", data=DATA) + b"\0", "malformed MessagePack"),
    (b"\x90", "a packet must be a map"),
    (packed(nsp="/", data=DATA), "unknown packet type"),
    (packed(type=5, nsp="/", data=DATA), "unknown packet type"),
    (packed(type=2, data=DATA), "a packet without its namespace"),
    (packed(type=2, nsp="shop", data=DATA), "a packet without its namespace"),
    (packed(type=2, nsp="", data=DATA), "a packet without its namespace"),
    (packed(type=2, nsp="/", data=DATA, id=-1), "a packet's id must be a number"),
    (packed(type=2, nsp="/", data=DATA, id=1.0), "a packet's id must be a number"),
    (packed(type=2, nsp="/", data=[{1: 2}]), "a map's key must be a string"),
    (b"\x91" * (DEPTH_MAX_COUNT + 1) + b"\x90", "nested deeper than 200 levels"),
]


@pytest.mark.parametrize(("message", "words"), WORDS, ids=lambda value: repr(value)[:30])
def test_the_words_of_a_refusal(message: Any, words: str) -> None:
    with pytest.raises(PacketError) as caught:
        CODEC.receive(message)
    assert str(caught.value) == words


@pytest.mark.parametrize("id", [0, 1, 2**63])
def test_a_packet_is_as_large_as_its_message(id: int) -> None:
    message = packed(type=2, nsp="/", data=DATA, id=id)
    packet = CODEC.receive(message)
    assert packet is not None
    assert (packet.id, packet.size_bytes, packet.attachments_count) == (id, len(message), 0)


def test_extensions_that_nobody_knows_stay_as_they_are() -> None:
    extension = msgspec.msgpack.Ext(5, b"xy")
    packet = CODEC.receive(packed(type=2, nsp="/", data=["a", extension]))
    assert packet is not None
    assert packet.data == ["a", extension]


def test_what_cannot_be_written_says_why() -> None:
    with pytest.raises(ValueError, match=r"^the data cannot be written as MessagePack: .") as caught:
        CODEC.prepare(PacketType.EVENT, "/", [2**70])
    assert not str(caught.value).endswith("None")


@pytest.mark.parametrize("namespace", ["/", "/shop"])
def test_the_data_of_what_was_prepared(namespace: str) -> None:
    prepared = CODEC.prepare(PacketType.EVENT, namespace, ["a", b"x", {"b": b"y"}])
    place = '{"_placeholder":true,"num":%d}'
    assert CODEC.data_text(prepared, namespace) == (
        f'["a",{place % 0},{{"b":{place % 1}}}]',
        [b"x", b"y"],
    )
