"""Masks, headers and whole frames on both cores, against definitions written down here.

It must not test messages: that is test_decoder.py's and test_vectors.py's.
"""

from __future__ import annotations

import array
import mmap
import random
from collections.abc import Callable
from types import ModuleType

import pytest

from batches import in_batches
from wsframe import Header, Opcode, ProtocolError

MakeFrame = Callable[[int, bytes, bytes | None], bytes]
MASK = b"\x37\xfa\x21\x3d"
SIZES = [*range(70), 125, 126, 127, 128, 255, 1000, 4095, 65535, 65536, 70001]


def masked(data: bytes, mask: bytes, offset: int = 0) -> bytes:
    """Section 5.3, letter by letter."""
    return bytes(byte ^ mask[(i + offset) % 4] for i, byte in enumerate(data))


@in_batches("size", SIZES, 20)
def test_apply_mask(core: ModuleType, size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert core.apply_mask(data, MASK) == masked(data, MASK)
    assert core.apply_mask(bytearray(data), MASK) == masked(data, MASK)
    assert core.apply_mask(memoryview(b"xyz" + data)[3:], MASK) == masked(data, MASK)


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 1027, 2**40 + 3])
def test_apply_mask_inplace(core: ModuleType, offset: int) -> None:
    for size in SIZES:
        data = random.Random(size).randbytes(size)
        buffer = bytearray(b"<" + data + b">")
        core.apply_mask_inplace(memoryview(buffer)[1:-1], MASK, offset)
        assert buffer == b"<" + masked(data, MASK, offset) + b">", f"{size} bytes"
        whole = bytearray(data)
        core.apply_mask_inplace(whole, MASK, offset)
        assert whole == masked(data, MASK, offset), f"{size} bytes"


def test_masks_on_other_buffers(core: ModuleType) -> None:
    words = array.array("I", [1, 2, 3])
    before = words.tobytes()
    core.apply_mask_inplace(words, MASK)
    assert words.tobytes() == masked(before, MASK)
    assert core.apply_mask(words, MASK) == before
    with mmap.mmap(-1, 10) as area:
        core.apply_mask_inplace(area, MASK)
        assert area[:] == masked(bytes(10), MASK)


@pytest.mark.parametrize("mask", [b"", b"123", b"12345"])
def test_a_mask_has_four_bytes(core: ModuleType, mask: bytes) -> None:
    for call in (
        lambda: core.apply_mask(b"data", mask),
        lambda: core.apply_mask_inplace(bytearray(4), mask),
        lambda: core.encode_frame(1, b"data", mask),
        lambda: core.encode_header(1, 4, mask),
    ):
        with pytest.raises(ValueError, match="mask must be 4 bytes"):
            call()


def test_the_callers_mistakes_with_masks(core: ModuleType) -> None:
    with pytest.raises(TypeError, match="mask must be bytes"):
        core.apply_mask(b"data", "abcd")
    with pytest.raises(TypeError, match="mask must be bytes"):
        core.encode_frame(1, b"data", bytearray(4))
    with pytest.raises(TypeError):
        core.apply_mask("text", MASK)
    with pytest.raises(BufferError):
        core.apply_mask_inplace(b"bytes are not writable", MASK)
    with pytest.raises(ValueError, match="offset"):
        core.apply_mask_inplace(bytearray(4), MASK, -1)


@in_batches("size", SIZES, 20)
def test_encode_message(core: ModuleType, make_frame: MakeFrame, size: int) -> None:
    """R43, R44: text and bytes of every size, the empty one too."""
    payload = random.Random(size).randbytes(size)
    assert core.encode_message(payload) == make_frame(0x82, payload, None)
    assert core.encode_message(memoryview(payload)) == make_frame(0x82, payload, None)
    text = "\u00e4" * size
    assert core.encode_message(text) == make_frame(0x81, text.encode(), None)
    with pytest.raises(UnicodeEncodeError):
        core.encode_message("\ud800")
    with pytest.raises(TypeError):
        core.encode_message(5)


@in_batches("size", SIZES, 20)
def test_encode_frame(core: ModuleType, make_frame: MakeFrame, size: int) -> None:
    payload = random.Random(size).randbytes(size)
    assert core.encode_frame(Opcode.BINARY, payload) == make_frame(0x82, payload, None)
    assert core.encode_frame(2, bytearray(payload), MASK) == make_frame(0x82, payload, MASK)
    assert core.encode_frame(0, memoryview(payload), None, False) == make_frame(0x00, payload, None)
    assert core.encode_frame(1, payload, fin=False, rsv1=True) == make_frame(0x41, payload, None)
    assert core.encode_header(2, size) + payload == make_frame(0x82, payload, None)
    assert core.encode_header(2, size, MASK, rsv1=True) + masked(payload, MASK) == make_frame(
        0xC2, payload, MASK
    )


@pytest.mark.parametrize("text", ["", "Hello", "é", "€" * 50, "\U0001f600 mixed", "a" * 70000])
def test_encode_text(core: ModuleType, make_frame: MakeFrame, text: str) -> None:
    assert core.encode_frame(1, text) == make_frame(0x81, text.encode(), None)
    assert core.encode_frame(1, text, MASK) == make_frame(0x81, text.encode(), MASK)


def test_the_callers_mistakes_with_frames(core: ModuleType) -> None:
    for opcode in (-1, 3, 7, 11, 15, 16):
        with pytest.raises(ValueError, match=f"opcode {opcode} is not defined"):
            core.encode_frame(opcode, b"")
        with pytest.raises(ValueError, match=f"opcode {opcode} is not defined"):
            core.encode_header(opcode, 0)
    for opcode in (8, 9, 10):
        with pytest.raises(ValueError, match="payload of a control frame must be 125 bytes"):
            core.encode_frame(opcode, bytes(126))
        with pytest.raises(ValueError, match="fin must be set"):
            core.encode_frame(opcode, b"", fin=False)
        with pytest.raises(ValueError, match="rsv1 must not be set"):
            core.encode_frame(opcode, b"", rsv1=True)
    for rsv1_on in (core.encode_frame, core.encode_header):  # our own decoder would refuse it
        with pytest.raises(ValueError, match="rsv1 must not be set on a continuation frame"):
            rsv1_on(0, b"" if rsv1_on is core.encode_frame else 0, fin=False, rsv1=True)
    for length in (-1, 1 << 63, 1 << 64, 1 << 100):
        with pytest.raises(ValueError, match=r"length must not be negative, and below 2\*\*63"):
            core.encode_header(2, length)
    with pytest.raises(TypeError):
        core.encode_header(2, 5.0)
    with pytest.raises(TypeError):
        core.encode_frame(1, 5)
    with pytest.raises(TypeError):
        core.encode_frame("1", b"")
    with pytest.raises(UnicodeEncodeError):
        core.encode_frame(1, "\ud800")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 2**32 + 1, 2**40, 2**62, 2**63 - 1])
@pytest.mark.parametrize("mask", [None, MASK])
def test_headers_there_and_back(core: ModuleType, size: int, mask: bytes | None) -> None:
    """R45, R27: 2, 4 and 10 bytes, with a mask and without."""
    header = core.encode_header(Opcode.BINARY, size, mask, False, True)
    wanted = Header(False, 4, Opcode.BINARY, mask, size, len(header))
    assert core.decode_header(header) == wanted
    assert core.decode_header(b"..." + header + b"payload", 3) == wanted
    assert type(core.decode_header(header).opcode) is Opcode
    for length in range(len(header)):
        assert core.decode_header(header[:length]) is None


@pytest.mark.parametrize(
    ("header", "section"),
    [
        ("8300", "5.2"),
        ("8f00", "5.2"),
        ("0900", "5.5"),
        ("897e", "5.5"),
        ("827e007d", "5.2"),
        ("827f000000000000ffff", "5.2"),
        ("827f8000000000000000", "5.2"),
    ],
)
def test_refused_headers(core: ModuleType, header: str, section: str) -> None:
    """R27: each rule of a header."""
    with pytest.raises(ProtocolError, match=f"RFC 6455 section {section}") as refused:
        core.decode_header(bytes.fromhex(header))
    assert refused.value.code == 1002


def test_the_callers_mistakes_with_headers(core: ModuleType) -> None:
    for offset in (-1, 3):
        with pytest.raises(ValueError, match="offset"):
            core.decode_header(b"\x81\x00", offset)
    with pytest.raises(TypeError):
        core.decode_header("text")


def test_the_rfc_bits_that_decode_header_only_tells(core: ModuleType) -> None:
    assert core.decode_header(b"\xf1\x00").rsv == 7
    assert core.decode_header(b"\xb1\x00").rsv == 3
    assert core.decode_header(b"\x91\x00").rsv == 1
