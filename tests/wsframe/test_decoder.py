"""The Decoder's promises beyond the table of frames: what it holds, lends, refuses and survives.

It must not repeat a rule of RFC 6455 that the table has.
"""

from __future__ import annotations

import copy
import gc
import sys
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from counted_memory import counts_memory, tracemalloc
from wsframe import Decoder, MessageTooBig, Ping, Role, deflate

MakeFrame = Callable[[int, bytes, bytes | None], bytes]
MASK = b"\x01\x02\x03\x04"
KIB = 1024


def half_received(
    core: ModuleType, make_frame: MakeFrame, payload: bytes, first: int = 0x82
) -> tuple[Any, bytes]:
    """A decoder that has half of a large frame, and the other half."""
    decoder = core.Decoder(Role.SERVER, max_message_bytes=1 << 24)
    frame = make_frame(first, payload, MASK)
    middle = len(frame) // 2
    assert decoder.receive(frame[:middle]) == []
    return decoder, frame[middle:]


def receive_in_place(decoder: Any, rest: bytes) -> list[Any]:
    events: list[Any] = []
    while rest:
        place = decoder.receive_buffer()
        if place is None:
            return events + decoder.receive(rest)
        piece = rest[: len(place)]
        place[: len(piece)] = piece
        rest = rest[len(piece) :]
        events += decoder.buffer_received(len(piece))
    return events


@counts_memory
def test_an_idle_decoder_is_small(make_frame: MakeFrame) -> None:
    """At most 256 bytes of its own, before and after a partial message."""
    codec = pytest.importorskip("wsframe._codec", reason="a WSFRAME_PURE=1 build has no compiled core")
    decoder = codec.Decoder(Role.SERVER)
    assert sys.getsizeof(decoder) <= 256
    frame = make_frame(0x82, bytes(100 * KIB), MASK)
    decoder.receive(frame[: 50 * KIB])
    assert len(decoder.receive(frame[50 * KIB :])) == 1
    assert [
        held for held in gc.get_referents(decoder) if held is not None and held is not type(decoder)
    ] == []


def test_length_takes_the_first_bytes_only(core: ModuleType, make_frame: MakeFrame) -> None:
    frame = make_frame(0x81, b"abc", MASK)
    assert core.Decoder(Role.SERVER).receive(bytearray(frame + b"garbage"), len(frame)) == ["abc"]
    assert core.Decoder(Role.SERVER).receive(frame, 0) == []
    with pytest.raises(ValueError, match="length"):
        core.Decoder(Role.SERVER).receive(frame, len(frame) + 1)


def test_the_buffer_is_not_kept(core: ModuleType, make_frame: MakeFrame) -> None:
    buffer = bytearray(make_frame(0x82, b"abc", MASK) + make_frame(0x82, b"defg", MASK)[:7])
    decoder = core.Decoder(Role.SERVER)
    (message,) = decoder.receive(buffer)
    buffer[:] = b"\0" * len(buffer)
    buffer.clear()  # would raise if the decoder still held a view of it
    assert message == b"abc"
    assert decoder.unfinished


@counts_memory
def test_text_is_compact_ascii_where_it_can_be(core: ModuleType, make_frame: MakeFrame) -> None:
    for size in (1, 5, 31, 32, 1000):
        (message,) = core.Decoder(Role.SERVER).receive(make_frame(0x81, b"a" * size, MASK))
        assert sys.getsizeof(message) == sys.getsizeof("a" * size)
        assert message == "a" * size
        assert {message: 1}["a" * size] == 1


@pytest.mark.parametrize("first", [0x81, 0x82])
@pytest.mark.parametrize("size", [100 * KIB, 1000 * KIB + 7])
def test_a_large_payload_is_received_in_place(
    core: ModuleType, make_frame: MakeFrame, first: int, size: int
) -> None:
    payload = bytes(ord("a") + i % 23 for i in range(size))
    decoder, rest = half_received(core, make_frame, payload, first)
    assert decoder.receive_buffer() is not None
    (message,) = receive_in_place(decoder, rest)
    assert message == (payload if first == 0x82 else payload.decode())
    assert decoder.receive_buffer() is None
    assert not decoder.unfinished


@pytest.mark.parametrize("told", [True, False], ids=["length", "all"])
def test_what_was_lent_may_be_received(core: ModuleType, make_frame: MakeFrame, told: bool) -> None:
    """`receive` of the lent buffer itself is `buffer_received`; a part of it is bytes like any others."""
    payload = bytes(i % 251 for i in range(300 * KIB))
    decoder, rest = half_received(core, make_frame, payload)
    events: list[Any] = []
    while (place := decoder.receive_buffer()) is not None:
        count = len(place) // 2 if told else len(place)
        place[:count] = rest[:count]
        rest = rest[count:]
        events += decoder.receive(place, count) if told else decoder.receive(place)
    assert events + decoder.receive(rest) == [payload]
    decoder, rest = half_received(core, make_frame, payload)
    place = decoder.receive_buffer()
    with pytest.raises(ValueError, match="outside the lent buffer"):
        decoder.receive(place, len(place) + 1)
    place[:1000] = rest[:1000]
    assert decoder.receive(place[:1000]) == []
    assert decoder.receive(rest[1000:]) == [payload]


def test_a_lent_buffer_ends_with_its_frame(core: ModuleType, make_frame: MakeFrame) -> None:
    """So that what follows the frame is never in the message."""
    decoder, rest = half_received(core, make_frame, bytes(100 * KIB))
    while (place := decoder.receive_buffer()) is not None:
        assert len(place) <= len(rest)
        place[:] = rest[: len(place)]
        rest = rest[len(place) :]
        events = decoder.buffer_received(len(place))
    assert events == [bytes(100 * KIB)] or decoder.receive(rest) == [bytes(100 * KIB)]


@counts_memory
def test_storage_grows_with_what_came(core: ModuleType, make_frame: MakeFrame) -> None:
    """Never with what was announced: at most twice what came is held."""
    decoder = core.Decoder(Role.SERVER, max_message_bytes=1 << 30)
    header = make_frame(0x82, bytes(70000), MASK)[:14]
    header = header[:2] + (1 << 29).to_bytes(8, "big") + MASK
    tracemalloc.start()
    try:
        decoder.receive(header)
        decoder.receive(bytes(64 * KIB))
        came = 64 * KIB
        for _ in range(4):
            place = decoder.receive_buffer()
            assert len(place) <= came
            held, _ = tracemalloc.get_traced_memory()
            assert held <= 2 * came + 4 * KIB
            came += len(place)
            decoder.buffer_received(len(place))
    finally:
        tracemalloc.stop()


def test_a_view_kept_by_the_caller_harms_nobody(core: ModuleType, make_frame: MakeFrame) -> None:
    """A slice of the lent buffer outlives the loan: it must not see, or change, what is handed out."""
    payload = bytes(range(256)) * 1000
    decoder, rest = half_received(core, make_frame, payload)
    kept = []
    events: list[Any] = []
    while (place := decoder.receive_buffer()) is not None:
        kept.append(place[:])
        place[:] = rest[: len(place)]
        rest = rest[len(place) :]
        events += decoder.buffer_received(len(place))
    events += decoder.receive(rest)
    for view in kept:
        view[:] = b"\xee" * len(view)
    assert events == [payload]


def test_a_loan_can_be_left_unused(core: ModuleType, make_frame: MakeFrame) -> None:
    payload = bytes(range(256)) * 400
    decoder, rest = half_received(core, make_frame, payload)
    assert decoder.receive_buffer() is not None
    assert decoder.receive_buffer() is not None
    place = decoder.receive_buffer()
    events = decoder.receive(rest[:100])
    with pytest.raises(ValueError, match="buffer_received without"):
        decoder.buffer_received(1)
    del place
    assert events + decoder.receive(rest[100:]) == [payload]


def test_the_callers_mistakes_with_loans(core: ModuleType, make_frame: MakeFrame) -> None:
    decoder, rest = half_received(core, make_frame, bytes(100 * KIB))
    with pytest.raises(ValueError, match="buffer_received without"):
        decoder.buffer_received(1)
    place = decoder.receive_buffer()
    for wrong in (-1, len(place) + 1):
        with pytest.raises(ValueError, match="nbytes"):
            decoder.buffer_received(wrong)
    assert decoder.buffer_received(0) == []
    assert decoder.receive(rest) == [bytes(100 * KIB)]


def test_a_loan_dies_with_its_decoder(core: ModuleType, make_frame: MakeFrame) -> None:
    decoder, _ = half_received(core, make_frame, bytes(100 * KIB))
    place = decoder.receive_buffer()
    alive = weakref.ref(place)
    del decoder, place
    gc.collect()
    assert alive() is None


@counts_memory
@pytest.mark.parametrize("announced", [1 << 20, (1 << 62), (1 << 63) - 1])
def test_too_big_is_refused_before_memory_is_taken(core: ModuleType, announced: int) -> None:
    """R27: the limit comes before the memory."""
    decoder = core.Decoder(Role.CLIENT, max_message_bytes=1000)
    tracemalloc.start()
    try:
        (fault,) = decoder.receive(b"\x82\x7f" + announced.to_bytes(8, "big"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert type(fault) is MessageTooBig
    assert fault.code == 1009
    assert "RFC 6455 section 10.4" in str(fault)
    assert peak < 64 * KIB


def test_unfinished_follows_the_bytes(core: ModuleType, make_frame: MakeFrame) -> None:
    decoder = core.Decoder(Role.SERVER)
    stream = make_frame(0x01, b"ab", MASK) + make_frame(0x89, b"p", MASK) + make_frame(0x80, b"", MASK)
    told = []
    for byte in stream:
        decoder.receive(bytes((byte,)))
        told.append(decoder.unfinished)
    assert told == [True] * (len(stream) - 1) + [False]


def test_attention_is_about_the_last_list(core: ModuleType, make_frame: MakeFrame) -> None:
    decoder = core.Decoder(Role.SERVER)
    assert decoder.attention is False
    decoder.receive(make_frame(0x81, b"a", MASK))
    assert decoder.attention is False
    assert decoder.receive(make_frame(0x89, b"", MASK)) == [Ping(b"")]
    assert decoder.attention is True
    decoder.receive(make_frame(0x81, b"a", MASK))
    assert decoder.attention is False


@pytest.mark.parametrize(
    "options",
    [
        {"max_message_bytes": 0},
        {"max_message_bytes": -1},
        {"max_message_bytes": 1 << 62},
        {"max_fragments": 0},
        {"max_fragments": 1 << 31},
    ],
)
def test_bounds_out_of_range(core: ModuleType, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        core.Decoder(Role.SERVER, **options)


def test_the_callers_mistakes(core: ModuleType) -> None:
    with pytest.raises(ValueError, match="3 is not a valid Role"):
        core.Decoder(3)
    with pytest.raises(TypeError, match="inflate"):
        core.Decoder(Role.SERVER, inflate=5)
    decoder = core.Decoder(Role.SERVER)
    for wrong in ("text", None, 5):
        with pytest.raises(TypeError):
            decoder.receive(wrong)
    assert not decoder.failed
    with pytest.raises(TypeError):
        decoder.receive()


def test_one_owner(core: ModuleType, make_frame: MakeFrame) -> None:
    """A call from within a call is refused, and the outer one is not harmed."""
    refused = []

    def inflate(chunk: bytes | None, last: bool, max_bytes: int) -> bytes:
        for call in (
            lambda: decoder.receive(b"\x81\x80"),
            decoder.receive_buffer,
            lambda: decoder.buffer_received(0),
        ):
            with pytest.raises(RuntimeError, match="one owner"):
                call()
            refused.append(True)
        return b"inflated"

    decoder: Decoder = core.Decoder(Role.SERVER, inflate=inflate)
    assert decoder.receive(make_frame(0xC1, b"x", MASK)) == ["inflated"]
    assert len(refused) == 3


def test_an_error_inside_inflate_is_the_callers_and_final(core: ModuleType, make_frame: MakeFrame) -> None:
    def inflate(chunk: bytes | None, last: bool, max_bytes: int) -> bytes:
        raise MemoryError

    decoder = core.Decoder(Role.SERVER, inflate=inflate)
    with pytest.raises(MemoryError):
        decoder.receive(make_frame(0xC1, b"x", MASK))
    assert decoder.failed
    assert decoder.receive(make_frame(0x81, b"x", MASK)) == []


@pytest.mark.parametrize("error", [MemoryError, ZeroDivisionError])
def test_what_came_before_an_error_is_not_lost(
    core: ModuleType, make_frame: MakeFrame, error: type[Exception]
) -> None:
    """The list first, then the error, then nothing."""

    def inflate(chunk: bytes | None, last: bool, max_bytes: int) -> bytes:
        raise error

    decoder = core.Decoder(Role.SERVER, inflate=inflate)
    frames = make_frame(0x81, b"first", MASK) + make_frame(0x89, b"ping", MASK)
    assert decoder.receive(frames + make_frame(0xC1, b"x", MASK) + frames) == ["first", Ping(b"ping")]
    assert (decoder.failed, decoder.attention, decoder.unfinished) == (True, True, False)
    with pytest.raises(error):
        decoder.receive(b"")
    assert decoder.receive(frames) == []
    assert decoder.receive_buffer() is None


def test_what_stops_the_program_does_not_wait(core: ModuleType, make_frame: MakeFrame) -> None:
    def inflate(chunk: bytes | None, last: bool, max_bytes: int) -> bytes:
        raise KeyboardInterrupt

    decoder = core.Decoder(Role.SERVER, inflate=inflate)
    with pytest.raises(KeyboardInterrupt):
        decoder.receive(make_frame(0x81, b"first", MASK) + make_frame(0xC1, b"x", MASK))
    assert decoder.failed
    assert decoder.receive(make_frame(0x81, b"x", MASK)) == []


@pytest.mark.parametrize("limit", [1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 5, 1 << 40, (1 << 62) - 1])
def test_a_limit_above_what_an_address_can_say_holds_as_it_is(
    core: ModuleType, make_frame: MakeFrame, limit: int
) -> None:
    """Of consequence with addresses of 32 bits, where 2**32 was a limit of nothing."""
    inflate = deflate.MessageDeflate(deflate.Agreement(), Role.SERVER).inflate
    decoder = core.Decoder(Role.SERVER, max_message_bytes=limit, inflate=inflate)
    frames = make_frame(0xC2, deflate.compress(b"hello" * 10), MASK)
    frames += make_frame(0x02, b"abc", MASK) + make_frame(0x80, b"abc", MASK)
    assert decoder.receive(frames) == [b"hello" * 10, b"abcabc"]


def test_inflate_must_return_bytes(core: ModuleType, make_frame: MakeFrame) -> None:
    decoder = core.Decoder(Role.SERVER, inflate=lambda chunk, last, max_bytes: "text")
    with pytest.raises(TypeError):
        decoder.receive(make_frame(0xC2, b"x", MASK))


def test_decoders_are_not_copied() -> None:
    codec = pytest.importorskip("wsframe._codec", reason="a WSFRAME_PURE=1 build has no compiled core")
    with pytest.raises(TypeError):
        copy.copy(codec.Decoder(Role.SERVER))


def test_the_limit_holds_though_inflate_gives_more_than_was_asked_for(core: ModuleType) -> None:
    decoder = core.Decoder(Role.CLIENT, max_message_bytes=10, inflate=lambda chunk, last, most: bytes(100))
    (fault,) = decoder.receive(b"\xc2\x03abc")
    assert fault.code == 1009
