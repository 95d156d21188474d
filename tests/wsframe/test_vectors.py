"""The table of frames (tests/vectors/frames.json) through both cores: whole, bytewise, at every cut.

It must not know why a row is right: the row names its section.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wsframe import Decoder

# Longer streams are cut around their ends and at a few hundred places between, so that the run stays short.
EVERY_CUT_BYTES = 600
PIECES = 48

Plain = Callable[[list[Any]], list[list[Any]]]
Maker = Callable[[], Decoder]


def cuts(length: int) -> list[int]:
    if length <= EVERY_CUT_BYTES:
        return list(range(length + 1))
    return [*range(16), *range(16, length - 16, length // PIECES), *range(length - 16, length + 1)]


def test_whole(
    vector_decoder: Maker, stream: bytes, vector_expectation: list[list[Any]], as_plain: Plain
) -> None:
    """R25, R26, R27, R42, R46: fragments, reserved bits, masks, lengths, close frames: as a vector says."""
    decoder = vector_decoder()
    events = decoder.receive(stream)
    assert as_plain(events) == vector_expectation
    assert decoder.attention is any(kind[0] not in ("text", "binary") for kind in vector_expectation)
    assert decoder.failed is any(kind[0] == "fault" for kind in vector_expectation)


def test_byte_by_byte(
    vector_decoder: Maker, stream: bytes, vector_expectation: list[list[Any]], as_plain: Plain
) -> None:
    """R25, R26, R27: the same, a byte at a time."""
    decoder = vector_decoder()
    step = 1 if len(stream) <= EVERY_CUT_BYTES else 251
    events: list[Any] = []
    ended = False
    for at in range(0, len(stream), step):
        came = decoder.receive(stream[at : at + step])
        events += came
        ended = ended or any(kind[0] in ("close", "fault") for kind in as_plain(came))
        assert decoder.at_rest() is not (decoder.attention or decoder.unfinished or ended)
    assert as_plain(events) == vector_expectation


def test_at_every_cut(
    vector_decoder: Maker, stream: bytes, vector_expectation: list[list[Any]], as_plain: Plain
) -> None:
    """R25, R26, R27: the same, cut in two at each byte."""
    for cut in cuts(len(stream)):
        decoder = vector_decoder()
        events = decoder.receive(stream[:cut]) + decoder.receive(stream[cut:])
        assert as_plain(events) == vector_expectation, f"cut at {cut}"


def test_from_a_reused_buffer(
    vector_decoder: Maker, stream: bytes, vector_expectation: list[list[Any]], as_plain: Plain
) -> None:
    """As a server receives: one buffer for all reads, overwritten after each; large payloads in place."""
    decoder = vector_decoder()
    buffer = bytearray(40_000)
    events: list[Any] = []
    at = 0
    while at < len(stream):
        place = decoder.receive_buffer()
        target = buffer if place is None else place
        piece = stream[at : at + len(target)]
        target[: len(piece)] = piece
        at += len(piece)
        events += (
            decoder.receive(buffer, len(piece)) if place is None else decoder.buffer_received(len(piece))
        )
        buffer[:] = b"\xff" * len(buffer)
    assert as_plain(events) == vector_expectation


def test_nothing_follows_the_end(vector_decoder: Maker, stream: bytes, as_plain: Plain) -> None:
    """After a close frame or a fault a decoder gives nothing, holds nothing and waits for nothing."""
    decoder = vector_decoder()
    events = decoder.receive(stream)
    if events and as_plain(events)[-1][0] in ("close", "fault"):
        assert decoder.receive(stream) == []
        assert decoder.attention is False
        assert decoder.unfinished is False
        assert decoder.receive_buffer() is None
