"""What `receive_buffer` lends: memory comes back by itself, and nobody changes bytes that were accepted.

It must not test what an undisturbed loan does: that is test_decoder.py's.
"""

from __future__ import annotations

import gc
import pickle
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from counted_memory import counts_memory, tracemalloc
from wsframe import Connection, Role

MakeFrame = Callable[[int, bytes, bytes | None], bytes]
MASK = b"\x81\x02\xc3\x04"
KIB = 1024
SIZE = 300 * KIB
TEXT = "grüße " * (SIZE // 8)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What comes back, comes back when its last owner goes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def lent(core: ModuleType, frame: bytes) -> tuple[Any, Any, bytes]:
    """A decoder with the first third of a large frame, what it lends for the rest, and the rest."""
    decoder = core.Decoder(Role.SERVER, max_message_bytes=1 << 24)
    assert decoder.receive(frame[: len(frame) // 3]) == []
    return decoder, decoder.receive_buffer(), frame[len(frame) // 3 :]


def held_bytes(work: Callable[[], object]) -> int:
    """What is held of all that `work` took, while what it returned is kept."""
    tracemalloc.start()
    try:
        kept = work()
        held, _ = tracemalloc.get_traced_memory()
        del kept
    finally:
        tracemalloc.stop()
    return held


@counts_memory
@pytest.mark.usefixtures("no_collector")
def test_a_dropped_upload_needs_no_collector(core: ModuleType, make_frame: MakeFrame) -> None:
    frame = make_frame(0x82, bytes(SIZE), MASK)

    def drop_uploads() -> None:
        for _ in range(20):
            lent(core, frame)

    assert held_bytes(drop_uploads) < SIZE // 3


@counts_memory
@pytest.mark.usefixtures("no_collector")
def test_a_dropped_connection_needs_no_collector(
    connection_type: type[Connection], make_frame: MakeFrame
) -> None:
    frame = make_frame(0x82, bytes(SIZE), MASK)

    def drop_uploads() -> None:
        for _ in range(20):
            connection = connection_type(Role.SERVER)
            connection.receive_data(frame[:-1000])
            assert connection.receive_buffer() is None  # too little is missing
            connection = connection_type(Role.SERVER)
            connection.receive_data(frame[: SIZE // 2])
            assert connection.receive_buffer() is not None

    assert held_bytes(drop_uploads) < SIZE // 3


@counts_memory
@pytest.mark.usefixtures("no_collector")
def test_the_end_of_tcp_lets_go_of_an_upload_though_its_connection_stays(
    connection_type: type[Connection], make_frame: MakeFrame
) -> None:
    frame = make_frame(0x82, bytes(SIZE), MASK)

    def end_uploads() -> list[Any]:
        kept: list[Any] = []
        for _ in range(20):
            connection = connection_type(Role.SERVER)
            connection.receive_data(frame[: SIZE // 2])
            kept += [connection, connection.receive_buffer()]
            connection.receive_eof()
            assert not connection.unfinished
        return kept

    assert held_bytes(end_uploads) < SIZE // 3


def test_a_loan_ends_with_its_decoder_closed(core: ModuleType, make_frame: MakeFrame) -> None:
    decoder, place, rest = lent(core, make_frame(0x82, bytes(SIZE), MASK))
    decoder.close()
    with pytest.raises(ValueError, match="released"):
        place[0] = 1
    with pytest.raises(ValueError, match="buffer_received without"):
        decoder.buffer_received(1)
    assert (decoder.receive(rest), decoder.receive_buffer(), decoder.unfinished) == ([], None, False)
    assert not decoder.failed
    decoder.close()


def test_a_closed_decoder_that_failed_has_failed(core: ModuleType) -> None:
    decoder = core.Decoder(Role.SERVER)
    decoder.receive(b"\x83\x80")
    decoder.close()
    assert decoder.failed


def test_a_decoder_is_not_closed_from_within(core: ModuleType, make_frame: MakeFrame) -> None:
    def inflate(chunk: bytes | None, last: bool, max_bytes: int) -> bytes:
        with pytest.raises(RuntimeError, match="one owner"):
            decoder.close()
        return b"inflated"

    decoder = core.Decoder(Role.SERVER, inflate=inflate)
    assert decoder.receive(make_frame(0xC1, b"x", MASK)) == ["inflated"]


@counts_memory
def test_a_loan_costs_no_reference_to_none(core: ModuleType, make_frame: MakeFrame) -> None:
    """Of consequence before CPython 3.12, where None counts its references."""
    decoder, _, _ = lent(core, make_frame(0x82, bytes(SIZE), MASK))
    before = sys.getrefcount(None)
    for _ in range(2000):
        decoder.receive_buffer()
    assert abs(sys.getrefcount(None) - before) < 500


def keep_slice(place: memoryview) -> Any:
    return place[:]


def keep_buffer(place: memoryview) -> Any:
    """Another object's buffer of the view: the view itself cannot be released then."""
    return memoryview(pickle.PickleBuffer(place))


@pytest.mark.parametrize("keep", [keep_slice, keep_buffer])
def test_a_kept_buffer_outlives_its_decoder(
    core: ModuleType, make_frame: MakeFrame, keep: Callable[[memoryview], Any]
) -> None:
    decoder, place, _ = lent(core, make_frame(0x82, bytes(SIZE), MASK))
    kept = keep(place)
    decoder.close()
    del decoder, place
    spoil(kept)
    assert bytes(kept) == b"\xff" * len(kept)


def spoil(kept: Any) -> None:
    kept[:] = b"\xff" * len(kept)


@pytest.mark.parametrize("first", [0x81, 0x82])
@pytest.mark.parametrize("keep", [keep_slice, keep_buffer])
@pytest.mark.parametrize("told", ["buffer_received", "receive"])
def test_accepted_bytes_do_not_change(
    core: ModuleType, make_frame: MakeFrame, first: int, keep: Callable[[memoryview], Any], told: str
) -> None:
    """Neither before the next call nor after it: what was validated as UTF-8 is what is handed out."""
    payload = TEXT.encode()
    decoder, place, rest = lent(core, make_frame(first, payload, MASK))
    kept, events = [], []
    while place is not None:
        kept.append(keep(place))
        count = len(place)
        place[:] = rest[:count]
        events += decoder.buffer_received(count) if told == "buffer_received" else decoder.receive(place)
        spoil(kept[-1])
        rest = rest[count:]
        place = decoder.receive_buffer()
        for each in kept:
            spoil(each)
    events += decoder.receive(rest)
    assert events == [TEXT if first == 0x81 else payload]
    assert not decoder.failed


@pytest.mark.parametrize("ended", ["bytes received", "lent again", "message whole"])
def test_a_slice_of_an_unused_loan_is_no_part_of_the_message(
    core: ModuleType, make_frame: MakeFrame, ended: str
) -> None:
    payload = bytes(i % 251 for i in range(SIZE))
    decoder, place, rest = lent(core, make_frame(0x82, payload, MASK))
    kept = place[:]
    events = []
    if ended == "bytes received":
        events += decoder.receive(rest[:5000])
        rest = rest[5000:]
    elif ended == "lent again":
        assert decoder.receive_buffer() is not None
    else:
        events += decoder.receive(rest)
        rest = b""
    kept[:] = b"\xff" * len(kept)
    assert events + decoder.receive(rest) == [payload]


def test_nothing_is_lent_behind_a_loans_back(core: ModuleType, make_frame: MakeFrame) -> None:
    """The object behind the view gives no buffer once the loan has ended."""
    decoder, place, rest = lent(core, make_frame(0x82, bytes(SIZE), MASK))
    behind = place.obj
    again = memoryview(behind)
    decoder.receive(rest[:1])
    if core.IMPLEMENTATION == "cython":
        with pytest.raises(BufferError, match="the loan has ended"):
            memoryview(behind)
    again[:] = b"\xff" * len(again)
    assert decoder.receive(rest[1:]) == [bytes(SIZE)]
