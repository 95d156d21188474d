"""Seeded streams of frames for the fuzzers: mostly legal, with rules broken and bytes mutated on purpose.

It must not judge: what a stream should give is for the cores to agree on.
"""

from __future__ import annotations

import random
import zlib

from wsframe import Role

TEXTS = (
    "",
    "a",
    "Hello",
    "Grüße",
    "κόσμε",
    "日本語のテキスト",
    "\U0001f600\U0010ffff",
    "plain ASCII text " * 12,
)
BAD_TEXTS = (
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"ok\xe2\x82",
    b"\xf0\x9f\x98",
    b"\x80",
)
LENGTHS = (0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 124, 125, 126, 127, 128, 300, 65535, 65536, 70000)
LENGTH_WEIGHTS = (6, 6, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 0.05, 0.05, 0.05)
CLOSE_CODES = (1000, 1001, 1007, 1011, 3000, 4999, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)


class StreamMaker:
    """One random source, one stream after the other."""

    def __init__(self, seed: int, *, deflate: bool = False) -> None:
        self.random = random.Random(seed)
        self.deflate = deflate
        self.frames = 0

    def stream(self, role: Role) -> bytes:
        """A stream for a decoder of this role."""
        chance = self.random.random
        pieces, open_message = [], False
        for _ in range(self.random.randrange(1, 10)):
            piece, open_message = self.frame(role, open_message)
            pieces.append(piece)
        data = bytearray(b"".join(pieces))
        if chance() < 0.25:
            self.mutate(data)
        if chance() < 0.1:
            del data[self.random.randrange(len(data) + 1) :]
        return bytes(data)

    def frame(self, role: Role, open_message: bool) -> tuple[bytes, bool]:
        chance, choose = self.random.random, self.random.choice
        self.frames += 1
        fin, first = chance() < 0.7, 0
        payload = self.payload()
        if chance() < 0.25:
            opcode, fin = choose((8, 9, 9, 9, 10, 10)), chance() < 0.97
            payload = self.close_payload() if opcode == 8 else payload[: choose((0, 5, 125, 125, 126))]
        elif chance() < 0.03:
            opcode = self.random.randrange(16)
        elif open_message and chance() < 0.95:
            opcode, open_message = 0, not fin
        else:
            opcode, open_message = choose((1, 2)), not fin
            if self.deflate and chance() < 0.6:
                first, payload, fin, open_message = 0x40, self.compressed(payload), True, False
        if chance() < 0.02:
            first |= choose((0x10, 0x20, 0x40, 0x70))
        masked = (role is Role.SERVER) is not (chance() < 0.01)
        return self.header(first | (0x80 if fin else 0) | opcode, payload, masked), open_message

    def payload(self) -> bytes:
        kind = self.random.random()
        if kind < 0.5:
            text = self.random.choice(TEXTS).encode()
            return text[: self.random.randrange(len(text) + 1)] if kind < 0.08 else text
        if kind < 0.55:
            return self.random.choice(BAD_TEXTS)
        length: int = self.random.choices(LENGTHS, LENGTH_WEIGHTS)[0]
        return self.random.randbytes(length) if kind < 0.75 else b"x" * length

    def compressed(self, payload: bytes) -> bytes:
        compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
        payload = payload * self.random.choice((1, 1, 1, 50))
        flush = zlib.Z_FINISH if self.random.random() < 0.1 else zlib.Z_SYNC_FLUSH
        wire = bytearray(compressor.compress(payload) + compressor.flush(flush))
        if flush == zlib.Z_SYNC_FLUSH:
            del wire[-4:]
        else:
            wire.append(0)
        if self.random.random() < 0.1:
            self.mutate(wire)
        return bytes(wire)

    def close_payload(self) -> bytes:
        kind = self.random.random()
        if kind < 0.2:
            return b"\x03" if kind < 0.05 else b""
        code: int = self.random.choice(CLOSE_CODES)
        reason = self.random.choice(BAD_TEXTS) if kind < 0.3 else self.random.choice(TEXTS[:7]).encode()
        return code.to_bytes(2, "big") + reason

    def header(self, first: int, payload: bytes, masked: bool) -> bytes:
        """The frame; its length rarely in a form that is too long, or with its top bit set."""
        top, length, kind = 0x80 if masked else 0, len(payload), self.random.random()
        if kind < 0.005:
            sized = bytes((top | 127,)) + (length | 1 << 63).to_bytes(8, "big")
        elif length >= 65536 or kind < 0.01:
            sized = bytes((top | 127,)) + length.to_bytes(8, "big")
        elif length >= 126 or kind < 0.015:
            sized = bytes((top | 126,)) + length.to_bytes(2, "big")
        else:
            sized = bytes((top | length,))
        if not masked:
            return bytes((first,)) + sized + payload
        mask = self.random.randbytes(4)
        repeated = (mask * (length // 4 + 1))[:length]
        xored = int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")
        return bytes((first,)) + sized + mask + xored.to_bytes(length, "little")

    def mutate(self, data: bytearray) -> None:
        """Flip, delete, insert or repeat, a few times."""
        for _ in range(self.random.randrange(1, 4)):
            at = self.random.randrange(len(data) + 1)
            kind = self.random.randrange(5)
            if kind == 0 and at < len(data):
                data[at] ^= 1 << self.random.randrange(8)
            elif kind == 1:
                del data[at : at + self.random.randrange(1, 9)]
            elif kind == 2:
                data[at:at] = self.random.randbytes(self.random.randrange(1, 9))
            elif kind == 3 and at < len(data):
                data[at] = self.random.choice((0, 0x7E, 0x7F, 0x80, 0xFE, 0xFF))
            else:
                data[at:at] = data[at : at + 20]

    def cuts(self, length: int) -> list[int]:
        """Sizes of reads that sum up to length."""
        sizes = []
        while length:
            most = self.random.choice((1, 2, 5, 14, 100, 40_000))
            size = min(length, self.random.randrange(1, most + 1))
            sizes.append(size)
            length -= size
        return sizes
