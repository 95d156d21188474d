"""Messages that are handed out, and sent, in pieces: the same text at every cut, in the memory of one piece.

It must not know a network: streams are fed whole, byte by byte and at every cut.
"""

from __future__ import annotations

import io
import itertools
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from wsframe import (
    Close,
    Connection,
    ConnectionClosed,
    Decoder,
    Fragment,
    MessageTooBig,
    Opcode,
    Ping,
    ProtocolError,
    Role,
    State,
    deflate,
)

Maker = type[Connection]
MakeFrame = Callable[[int, bytes, bytes | None], bytes]
MASK = b"\x81\x02\xf3\x04"
# One, two, three and four bytes in UTF-8, mixed and in runs.
TEXT = "aé漢😀" * 3 + "plain ASCII, " + "漢字かな交じり文" * 4 + "привет " * 6 + "😀" * 5


def joined(events: list[Any]) -> list[Any]:
    """Messages made of their fragments again; the rules that each fragment keeps are looked at."""
    out: list[Any] = []
    pieces: list[Any] = []
    for event in events:
        if not isinstance(event, Fragment):
            assert not pieces or not isinstance(event, str | bytes)
            out.append(event)
            continue
        assert event.data or event.final
        pieces.append(event.data)
        if event.final:
            assert len({type(piece) for piece in pieces}) == 1
            out.append(type(pieces[0])().join(pieces))
            pieces = []
    assert not pieces
    return out


def fed(decoder: Decoder, stream: bytes, sizes: Iterator[int]) -> list[Any]:
    events: list[Any] = []
    at = 0
    while at < len(stream):
        size = next(sizes)
        events += decoder.receive(stream[at : at + size])
        at += size
    return events


@pytest.mark.parametrize("fragment_bytes", [1, 2, 3, 4, 7, 64, 1000])
@pytest.mark.parametrize("role", Role)
def test_text_is_the_same_at_every_cut(
    core: ModuleType, make_frame: MakeFrame, role: Role, fragment_bytes: int
) -> None:
    payload = TEXT.encode()
    mask = MASK if role is Role.SERVER else None
    stream = make_frame(0x81, payload, mask)
    for cut in range(1, len(stream)):
        decoder = core.Decoder(role, fragment_bytes=fragment_bytes)
        events = decoder.receive(stream[:cut]) + decoder.receive(stream[cut:])
        assert joined(events) == [TEXT]
        assert not decoder.unfinished
        for fragment in events[:-1]:
            assert len(fragment.data.encode()) + 3 >= fragment_bytes
    for size in (1, 2, 3, 5, 17):
        decoder = core.Decoder(role, fragment_bytes=fragment_bytes)
        assert joined(fed(decoder, stream, itertools.repeat(size))) == [TEXT]


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
def test_both_cores_cut_at_the_same_places(make_frame: MakeFrame, opcode: Opcode) -> None:
    codec = pytest.importorskip("wsframe._codec", reason="a WSFRAME_PURE=1 build has no compiled core")
    from wsframe import _pure

    payload = (TEXT * 5).encode()
    for seed in range(60):
        source = random.Random(seed)
        pieces, rest = [], payload
        while rest:
            size = source.randrange(120)
            pieces.append(rest[:size])
            rest = rest[size:]
        stream = b"".join(
            make_frame(
                (0x80 if number == len(pieces) - 1 else 0) | (opcode if number == 0 else 0), piece, MASK
            )
            + (
                make_frame(0x89, b"between", MASK)
                if number < len(pieces) - 1 and source.random() < 0.2
                else b""
            )
            for number, piece in enumerate(pieces)
        )
        fragment_bytes = source.randrange(1, 200)
        sizes = [source.randrange(1, 90) for _ in range(len(stream))]
        told = [
            fed(module.Decoder(Role.SERVER, fragment_bytes=fragment_bytes), stream, iter(sizes))
            for module in (codec, _pure)
        ]
        assert told[0] == told[1]
        messages = [event for event in joined(told[0]) if not isinstance(event, Ping)]
        assert messages == [payload.decode() if opcode is Opcode.TEXT else payload]


def test_what_comes_at_once_is_handed_out_whole(core: ModuleType, make_frame: MakeFrame) -> None:
    decoder = core.Decoder(Role.SERVER, fragment_bytes=4)
    stream = make_frame(0x82, b"x" * 1000, MASK) + make_frame(0x81, b"short", MASK)
    assert decoder.receive(stream) == [b"x" * 1000, "short"]
    assert not decoder.attention


def test_below_the_bound_messages_are_whole(core: ModuleType, make_frame: MakeFrame) -> None:
    decoder = core.Decoder(Role.SERVER, fragment_bytes=100)
    stream = make_frame(0x81, b"x" * 99, MASK)
    assert fed(decoder, stream, itertools.repeat(1)) == ["x" * 99]


def test_a_fragment_asks_for_attention(core: ModuleType, make_frame: MakeFrame) -> None:
    decoder = core.Decoder(Role.SERVER, fragment_bytes=4)
    assert decoder.receive(make_frame(0x02, b"12345", MASK)) == [Fragment(b"12345", False)]
    assert decoder.attention
    assert decoder.unfinished
    assert decoder.receive(make_frame(0x80, b"", MASK)) == [Fragment(b"", True)]
    assert decoder.attention
    assert decoder.at_rest() is False
    assert decoder.receive(b"") == []
    assert decoder.at_rest()


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_fault_comes_after_what_was_right(core: ModuleType, make_frame: MakeFrame, cut: int) -> None:
    stream = make_frame(0x01, "漢字".encode() + b"ok", MASK) + make_frame(0x80, b"\xe6\xbc\xff", MASK)
    decoder = core.Decoder(Role.SERVER, fragment_bytes=3)
    events = decoder.receive(stream[:cut]) + decoder.receive(stream[cut:])
    assert isinstance(events[-1], ProtocolError)
    assert events[-1].code == 1007
    said = "".join(event.data for event in events[:-1])
    assert "漢字ok".startswith(said)
    assert all(not event.final for event in events[:-1])
    assert decoder.failed


def test_text_that_ends_inside_a_character(core: ModuleType, make_frame: MakeFrame) -> None:
    decoder = core.Decoder(Role.SERVER, fragment_bytes=3)
    stream = make_frame(0x01, b"abcd\xe6", MASK) + make_frame(0x80, b"\xbc", MASK)
    first, fault = decoder.receive(stream)
    assert first == Fragment("abcd", False)
    assert fault.code == 1007


def test_a_fragment_that_would_be_empty_waits(core: ModuleType, make_frame: MakeFrame) -> None:
    decoder = core.Decoder(Role.SERVER, fragment_bytes=1)
    stream = make_frame(0x81, "😀".encode(), MASK)
    told = [decoder.receive(stream[at : at + 1]) for at in range(len(stream))]
    assert [events for events in told if events] == [["😀"]]


@pytest.mark.parametrize("compressed", [False, True])
def test_the_limit_counts_what_was_handed_out(
    core: ModuleType, make_frame: MakeFrame, compressed: bool
) -> None:
    inflate = deflate.MessageDeflate(deflate.Agreement(), Role.SERVER).inflate
    decoder = core.Decoder(
        Role.SERVER, fragment_bytes=100, max_message_bytes=1000, inflate=inflate if compressed else None
    )
    payload = bytes(1001)
    if compressed:
        packed = deflate.compress(payload)
        stream = make_frame(0xC2, packed, MASK)
    else:
        stream = make_frame(0x02, payload[:600], MASK) + make_frame(0x80, payload[600:], MASK)
    events = fed(decoder, stream, itertools.repeat(7))
    assert isinstance(events[-1], MessageTooBig)
    assert sum(len(event.data) for event in events[:-1]) <= 1000


@pytest.mark.parametrize("takeover", [False, True])
@pytest.mark.parametrize("role", Role)
def test_compressed_messages_stream_too(connection_type: Maker, role: Role, takeover: bool) -> None:
    options = deflate.Options(
        server_no_context_takeover=not takeover, client_no_context_takeover=not takeover, threshold_bytes=10
    )
    agreed = deflate.Agreement(not takeover, not takeover, options=options)
    us = connection_type(role, deflate=agreed)
    other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
    peer = connection_type(other, deflate=agreed, fragment_bytes=500)
    source = random.Random(5)
    for _ in range(3):
        pieces = ["".join(source.choices(TEXT, k=source.randrange(700))) for _ in range(20)]
        stream = b"".join(us.encode_fragments(pieces))
        events = [
            event for at in range(0, len(stream), 300) for event in peer.receive_data(stream[at : at + 300])
        ]
        assert joined(events) == ["".join(pieces)]
        assert len(events) > 3
        # A whole message between: the window goes on, or begins anew, as was agreed.
        assert peer.receive_data(us.encode("whole, " * 50)) == ["whole, " * 50]


@pytest.mark.parametrize("role", Role)
def test_fragments_sent(connection_type: Maker, role: Role) -> None:
    us = connection_type(role)
    peer = connection_type(Role.SERVER if role is Role.CLIENT else Role.CLIENT)
    us.send_fragment("one, ", final=False)
    us.ping(b"between")
    us.send_fragment("", final=False)
    us.send_fragment("two", final=True)
    assert peer.receive_data(us.data_to_send()) == [Ping(b"between"), "one, two"]
    assert peer.receive_data(us.encode_fragment(b"whole", final=True)) == [b"whole"]
    assert list(us.encode_fragments([])) == []
    assert peer.receive_data(b"".join(us.encode_fragments([bytearray(b"a"), memoryview(b"b"), b"c"]))) == [
        b"abc"
    ]


@pytest.mark.parametrize("opcode", [Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY, 3, 11])
def test_a_control_frame_has_an_opcode_of_one(core: ModuleType, opcode: int) -> None:
    with pytest.raises(ValueError, match=f"opcode {int(opcode)} is not one of a control frame"):
        core.Encoder(Role.SERVER).encode_control(opcode, b"")


def test_nothing_comes_between_fragments(connection_type: Maker) -> None:
    us, peer = connection_type(Role.SERVER), connection_type(Role.CLIENT)
    us.outbox.open(1000, lambda _: None, None)
    assert us.outbox.send("before")
    frames = us.outbox.take() + us.encode_fragment("begun, ", final=False)
    for send in (us.encode, us.send_text, us.encode_pieces):
        with pytest.raises(RuntimeError, match="in fragments"):
            send("between")
    assert not us.outbox.send("between")
    assert not us.outbox.write(b"\x81\x00")
    with pytest.raises(TypeError, match="all str"):
        us.encode_fragment(b"bytes", final=True)
    assert us.encoder.unfinished
    frames += us.encode_fragment("ended", final=True)
    assert not us.encoder.unfinished
    assert us.outbox.send("after")
    assert peer.receive_data(frames + us.outbox.take()) == ["before", "begun, ended", "after"]


def test_a_close_may_come_between(connection_type: Maker) -> None:
    us, peer = connection_type(Role.CLIENT), connection_type(Role.SERVER)
    us.send_fragment(b"begun", final=False)
    us.close(1001, "given up")
    assert peer.receive_data(us.data_to_send()) == [Close(1001, "given up")]
    with pytest.raises(ConnectionClosed):
        us.send_fragment(b"more", final=True)


def test_an_iterable_that_raises_leaves_the_message_unfinished(connection_type: Maker) -> None:
    us, peer = connection_type(Role.SERVER), connection_type(Role.CLIENT)

    def pieces() -> Iterator[str]:
        yield "one"
        yield "two"
        raise ZeroDivisionError

    frames = us.encode_fragments(pieces())
    assert peer.receive_data(next(frames)) == []
    with pytest.raises(ZeroDivisionError):
        next(frames)
    assert us.encoder.unfinished
    assert peer.unfinished
    us.close(1011)
    assert peer.receive_data(us.data_to_send()) == [Close(1011, "")]


@pytest.mark.parametrize("agreement", [None, deflate.Agreement()])
def test_an_iterable_may_use_one_buffer_again(
    connection_type: Maker, agreement: deflate.Agreement | None
) -> None:
    us, peer = (connection_type(role, deflate=agreement) for role in (Role.CLIENT, Role.SERVER))
    source, buffer = io.BytesIO(b"a" * 10 + b"b" * 10 + b"c" * 5), bytearray(10)
    pieces = iter(lambda: memoryview(buffer)[: source.readinto(buffer)], b"")
    assert peer.receive_data(b"".join(us.encode_fragments(pieces))) == [source.getvalue()]
    with pytest.raises(TypeError):
        list(us.encode_fragments([None]))  # type: ignore[list-item]


@pytest.mark.parametrize("final", [False, True])
def test_a_fragment_without_a_place_in_the_queue_was_not_begun(connection_type: Maker, final: bool) -> None:
    class Full(list[bytes]):
        def append(self, frame: bytes) -> None:
            raise MemoryError

    us, peer = connection_type(Role.SERVER), connection_type(Role.CLIENT)
    peer.receive_data(us.encode_fragment("one, ", final=False))
    queue, us._queue = us._queue, Full()
    with pytest.raises(MemoryError):
        us.send_fragment("two, ", final=final)
    us._queue = queue
    with pytest.raises(TypeError):
        us.send_fragment(b"bytes", final=True)
    assert us.data_to_send() == b""
    us.send_fragment("two, ", final=False)
    us.send_fragment("three", final=True)
    assert peer.receive_data(us.data_to_send()) == ["one, two, three"]


def test_a_compressed_message_that_failed_in_the_middle_cannot_go_on(
    connection_type: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    us = connection_type(Role.CLIENT, deflate=deflate.Agreement())
    us.encode_fragment("begun", final=False)

    def no_random_bytes(nbytes: int) -> bytes:
        raise OSError("no random bytes")

    monkeypatch.setattr(os, "urandom", no_random_bytes)

    def until_no_mask_is_in_store() -> None:
        for _ in range(1025):
            us.encode_fragment("more", final=False)

    with pytest.raises(OSError, match="no random bytes"):
        until_no_mask_is_in_store()
    with pytest.raises(ConnectionClosed):
        us.encode_fragment("more", final=True)
    assert us.state is State.OPEN


def test_a_sender_begins_anew_after_a_first_fragment_that_failed(connection_type: Maker) -> None:
    us, peer = (connection_type(role, deflate=deflate.Agreement()) for role in (Role.SERVER, Role.CLIENT))
    with pytest.raises(TypeError):
        us.encode_fragment(5, final=False)
    with pytest.raises(UnicodeEncodeError):
        us.encode_fragment("\ud800", final=False)
    assert not us.encoder.unfinished
    assert peer.receive_data(us.encode("a message, " * 200)) == ["a message, " * 200]


@pytest.mark.parametrize("wrong", [0, -1, 1 << 30])
def test_fragment_bytes_has_bounds(core: ModuleType, wrong: int) -> None:
    with pytest.raises(ValueError, match="fragment_bytes"):
        core.Decoder(Role.SERVER, fragment_bytes=wrong)


@pytest.mark.parametrize("text", [False, True])
def test_memory_stays_flat(core: ModuleType, make_frame: MakeFrame, text: bool) -> None:
    """Forty times one fragment: what the decoder holds is never more than three."""
    decoder = core.Decoder(Role.CLIENT, fragment_bytes=20_000, max_message_bytes=1 << 40)
    payload = ("漢字 and more " * 3200).encode()[:40_000]
    header = bytes((0x81 if text else 0x82, 127)) + (len(payload) * 20).to_bytes(8, "big")
    decoder.receive(header)
    tracemalloc.start()
    try:
        heard = 0
        for number in range(20):
            for at in range(0, len(payload), 10_000):
                for event in decoder.receive(payload[at : at + 10_000]):
                    heard += len(event.data.encode() if text else event.data)
                    assert event.final is (number == 19 and at == 30_000)
            event = None
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert heard == len(payload) * 20
    assert most < 3 * 20_000 + 200_000 * (core.IMPLEMENTATION == "python") + 100_000
