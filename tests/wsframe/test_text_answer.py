"""Text that is unmasked at a stroke: one byte above ASCII is seen wherever it stands, whatever the mask.

It must not repeat the table of UTF-8: one wrong byte in text that is right otherwise is enough.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from batches import in_batches
from wsframe import ProtocolError, Role

MakeFrame = Callable[[int, bytes, bytes | None], bytes]
# All short sizes; then around the loops of 64 bytes, and the wide one from 256 on with its lead and tail.
SIZES = [*range(1, 131), 143, 161, 175, 191, 207, 224, 255, *range(256, 430, 13), 511]
# The bytes of an ASCII str begin so far behind the object.
ASCII_HEAD_BYTES = 48


def texts(size: int, seed: int) -> tuple[bytearray, bytes]:
    """ASCII of this size, and a mask that begins with a set top bit every other time."""
    source = random.Random(size * 1000 + seed)
    mask = bytearray(source.randbytes(4))
    mask[0] = mask[0] & 0x7F | (0x80 if seed % 2 else 0)
    return bytearray(source.choices(range(128), k=size)), bytes(mask)


def faults(core: ModuleType, frame: bytes) -> list[Any]:
    return [type(event) for event in core.Decoder(Role.SERVER).receive(frame)]


@in_batches("size", SIZES, 19)
def test_no_byte_above_ascii_is_overlooked(core: ModuleType, make_frame: MakeFrame, size: int) -> None:
    """A lone byte above ASCII is never text: overlooked, it would stand in a str that claims to be ASCII."""
    kept = []
    for seed in range(4):
        text, mask = texts(size, seed)
        # Kept, so that the next strings of this size lie elsewhere.
        kept += core.Decoder(Role.SERVER).receive(make_frame(0x81, bytes(text), mask))
        assert kept[-1] == text.decode()
        assert kept[-1].isascii()
        for place in range(size):
            text[place] |= 0x80
            frame = make_frame(0x81, bytes(text), mask)
            assert faults(core, frame) == [ProtocolError], f"byte {place}"
            text[place] &= 0x7F


def test_strings_begin_beside_a_wide_vectors_border(make_frame: MakeFrame) -> None:
    """Some of them: otherwise the sizes above would not try the bytes before the first aligned one."""
    codec = pytest.importorskip("wsframe._codec", reason="a WSFRAME_PURE=1 build has no compiled core")
    kept = [
        codec.Decoder(Role.SERVER).receive(make_frame(0x81, bytes(texts(size, seed)[0]), b"\0\0\0\0"))
        for size in SIZES
        if size >= 256
        for seed in range(4)
    ]
    assert any((id(message) + ASCII_HEAD_BYTES) % 32 for (message,) in kept)


@pytest.mark.parametrize("size", [3, 5, 9, 17, 70, 129, 300])
def test_text_above_ascii_is_decoded_wherever_it_begins(
    core: ModuleType, make_frame: MakeFrame, size: int
) -> None:
    for place in range(size):
        text = "a" * place + "ж" + "b" * (size - place)
        _, mask = texts(size, place)
        assert core.Decoder(Role.SERVER).receive(make_frame(0x81, text.encode(), mask)) == [text]


@pytest.mark.parametrize("pieces", ["cut", "fragments", "after text"])
def test_a_byte_that_begins_no_character_is_refused_at_once(
    core: ModuleType, make_frame: MakeFrame, pieces: str
) -> None:
    """In pieces too, and before the bytes behind it came: RFC 3629 section 4 has 0xC2 to 0xF4 begin one."""
    for lead in range(0x80, 0x100):
        decoder = core.Decoder(Role.SERVER)
        mask = bytes((lead, 0x80, 0, 0xFF))
        if pieces == "cut":
            events = decoder.receive(make_frame(0x81, bytes((lead,)) + b"\x80\x80\x80", mask)[:7])
        elif pieces == "fragments":
            events = decoder.receive(make_frame(0x01, bytes((lead,)), mask))
        else:
            events = decoder.receive(make_frame(0x01, b"plain text before it", mask))
            events += decoder.receive(make_frame(0x00, b"and more" + bytes((lead,)), mask))
        begins = 0xC2 <= lead <= 0xF4
        assert [event.code for event in events] == ([] if begins else [1007]), f"{lead:#x}"
        assert decoder.failed is not begins, f"{lead:#x}"


LOOK_ALIKES = [
    bytes((first, 0x80 + length, third, 0x85))
    for first, length, third in itertools.product((0x81, 0x82), range(6), (0x00, 0x81))
]
RANDOM_MASKS = [random.Random(seed).randbytes(4) for seed in range(60)]


@in_batches("mask", [*LOOK_ALIKES, *RANDOM_MASKS], 12)
def test_no_rest_of_a_header_passes_for_a_frame(core: ModuleType, make_frame: MakeFrame, mask: bytes) -> None:
    """A mask may look like the beginning of a short whole frame; cut before it, it is still a mask."""
    payloads = [b"", b"abc", b"\x81\x80abcd", "жжж".encode(), bytes(range(130, 140)) * 20]
    for first in (0x81, 0x82):
        for payload in payloads:
            if first == 0x81 and payload[:1] >= b"\x80" and payload != payloads[3]:
                continue
            frame = make_frame(first, payload, mask)
            message = payload.decode() if first == 0x81 else payload
            for cut in range(min(len(frame), 20)):
                decoder = core.Decoder(Role.SERVER)
                assert decoder.receive(frame[:cut]) == []
                assert decoder.receive(frame[cut:] + frame) == [message, message], f"cut at {cut}"
