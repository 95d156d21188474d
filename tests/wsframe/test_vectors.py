"""The table of frames (tests/vectors/frames.json) through both cores: whole, bytewise, at every cut.

It must not know why a row is right: the row names its section.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Longer streams are cut around their ends and at a few hundred places between, so that the run stays short.
EVERY_CUT_BYTES = 600
PIECES = 48

Plain = Callable[[list[Any]], list[list[Any]]]


def cuts(length: int) -> list[int]:
    if length <= EVERY_CUT_BYTES:
        return list(range(length + 1))
    return [*range(16), *range(16, length - 16, length // PIECES), *range(length - 16, length + 1)]


def test_whole(told: list[Any], as_plain: Plain) -> None:
    """R25, R26, R27, R42, R46: fragments, reserved bits, masks, lengths, close frames: as a vector says."""
    for name, new_decoder, stream, expectation in told:
        decoder = new_decoder()
        events = decoder.receive(stream)
        assert as_plain(events) == expectation, name
        assert decoder.attention is any(kind[0] not in ("text", "binary") for kind in expectation), name
        assert decoder.failed is any(kind[0] == "fault" for kind in expectation), name


def test_byte_by_byte(told: list[Any], as_plain: Plain) -> None:
    """R25, R26, R27: the same, a byte at a time."""
    for name, new_decoder, stream, expectation in told:
        decoder = new_decoder()
        step = 1 if len(stream) <= EVERY_CUT_BYTES else 251
        events: list[Any] = []
        ended = False
        for at in range(0, len(stream), step):
            came = decoder.receive(stream[at : at + step])
            events += came
            ended = ended or any(kind[0] in ("close", "fault") for kind in as_plain(came))
            assert decoder.at_rest() is not (decoder.attention or decoder.unfinished or ended), name
        assert as_plain(events) == expectation, name


def test_at_every_cut(told: list[Any], as_plain: Plain) -> None:
    """R25, R26, R27: the same, cut in two at each byte."""
    for name, new_decoder, stream, expectation in told:
        for cut in cuts(len(stream)):
            decoder = new_decoder()
            events = decoder.receive(stream[:cut]) + decoder.receive(stream[cut:])
            assert as_plain(events) == expectation, f"{name}, cut at {cut}"


def from_a_reused_buffer(decoder: Any, stream: bytes) -> list[Any]:
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
    return events


def test_from_a_reused_buffer(told: list[Any], as_plain: Plain) -> None:
    """As a server receives: one buffer for all reads, overwritten after each; large payloads in place."""
    for name, new_decoder, stream, expectation in told:
        assert as_plain(from_a_reused_buffer(new_decoder(), stream)) == expectation, name


def test_nothing_follows_the_end(told: list[Any], as_plain: Plain) -> None:
    """After a close frame or a fault a decoder gives nothing, holds nothing and waits for nothing."""
    for name, new_decoder, stream, _ in told:
        decoder = new_decoder()
        events = decoder.receive(stream)
        if events and as_plain(events)[-1][0] in ("close", "fault"):
            assert decoder.receive(stream) == [], name
            assert decoder.attention is False, name
            assert decoder.unfinished is False, name
            assert decoder.receive_buffer() is None, name
