"""Runs the codec's hot paths in turn, a marker call between them: run under callgrind by guards.py.

It must not count: callgrind dumps its counters at every marker, `getpgid`, which nothing else here calls.
"""

import os
import sys
from collections.abc import Callable

from wsframe import Decoder, Opcode, Role, apply_mask_inplace, encode_frame

TIMES_COUNT = int(sys.argv[1])
MASK = b"\x37\xfa\x21\x3d"


def receiving(opcode: Opcode, payload: bytes, frames_count: int = 1) -> Callable[[], object]:
    """One chunk of so many masked frames, as the server receives it."""
    decoder = Decoder(Role.SERVER)
    chunk = bytearray(encode_frame(opcode, payload, MASK) * frames_count)
    assert len(decoder.receive(chunk)) == frames_count
    return lambda: decoder.receive(chunk)


def encoding(opcode: Opcode, payload: str | bytes) -> Callable[[], object]:
    return lambda: encode_frame(opcode, payload)


def masking(size: int) -> Callable[[], object]:
    buffer = bytearray(size)
    return lambda: apply_mask_inplace(buffer, MASK)


PATHS: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "receive 1 frame of 128 B": receiving(Opcode.BINARY, bytes(128)),
    "receive 1 text of 128 B, ASCII": receiving(Opcode.TEXT, b"a" * 128),
    "receive 1 text of 128 B, Cyrillic": receiving(Opcode.TEXT, "ж".encode() * 64),
    "receive 32 frames of 32 B": receiving(Opcode.BINARY, bytes(32), 32),
    "receive 1 frame of 64 KiB": receiving(Opcode.BINARY, bytes(65_536)),
    "encode a frame of 32 B": encoding(Opcode.BINARY, bytes(32)),
    "encode a text of 128 B": encoding(Opcode.TEXT, "a" * 128),
    "mask 1 KiB in place": masking(1024),
}

if __name__ == "__main__":
    for work in PATHS.values():
        for _ in range(20):
            work()
        os.getpgid(0)
        for _ in range(TIMES_COUNT):
            work()
        os.getpgid(0)
