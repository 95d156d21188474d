"""Two ends of the codec: what one takes of any type, the other hears as it is; who has ended holds nothing.

It must not know frames: bytes go from one end to the other, in pieces, in place where a place is lent.
"""

from __future__ import annotations

import gc
import random
from array import array
from collections import Counter
from typing import Any

from findings import Fault, Record

from wsframe import Connection, Role, deflate

AGREED = deflate.Agreement(options=deflate.Options(server_no_context_takeover=False, threshold_bytes=10))
WORDS: dict[str, Any] = {
    "text": "Grüße",
    "no text": "",
    "long text": "ж" * 50_000,
    "bytes": b"abc",
    "many bytes": bytes(range(256)) * 400,
    "bytearray": bytearray(b"abc"),
    "view": memoryview(b"abcdef")[1:4],
    "every second": memoryview(b"abcdef")[::2],
    "array": array("H", [1, 2, 3]),
    "number": 5,
    "large number": 70_000,
    "truth": True,
    "none": None,
    "list": [1, 2],
    "map": {1: 2},
}
WAYS = ("send_text", "send_binary", "encode", "encode_pieces")
REFUSALS = (TypeError, ValueError, BufferError)


def meaning(way: str, value: Any) -> str | bytes | None:
    """What the other end has to hear; None for what no end may take."""
    if isinstance(value, str):
        return value if way != "send_binary" else None
    try:
        return bytes(memoryview(value)) if way != "send_text" else None
    except TypeError:
        return None


class Pair:
    """One end that speaks, one that hears."""

    def __init__(self, role: Role, compressed: bool) -> None:
        agreed = AGREED if compressed else None
        self._speaker = Connection(role, deflate=agreed)
        self._hearer = Connection(Role(3 - role), deflate=agreed)
        self._wire = bytearray()
        self.said: list[str | bytes] = []
        self.heard: list[Any] = []

    def say(self, way: str, word: str, compress: bool | None) -> bool:
        """Is it taken?"""
        value = WORDS[word]
        wanted = meaning(way, value)
        try:
            came = getattr(self._speaker, way)(value, compress)
        except REFUSALS as error:
            if wanted is not None and word != "every second":
                raise Fault("a message is refused", f"{way} of {word}: {error!r}") from error
            return False
        if wanted is None:
            raise Fault("taken as something else", f"{way} of {word}")
        self._wire += self._speaker.data_to_send()
        self._wire += came if isinstance(came, bytes) else b"".join(came or ())
        self.said.append(wanted)
        return True

    def hear(self, piece_bytes: int, left_bytes: int = 0) -> None:
        """What is on its way, in pieces; but for the last of it."""
        while len(self._wire) > left_bytes:
            count = min(piece_bytes, len(self._wire) - left_bytes)
            place = self._hearer.receive_buffer()
            if place is not None:
                count = min(count, len(place))
                place[:count] = self._wire[:count]
                self.heard += self._hearer.buffer_received(count)
            else:
                self.heard += self._hearer.receive_data(self._wire[:count])
            del self._wire[:count]

    def end(self) -> None:
        """TCP ends, perhaps within a message, while a place for it is lent."""
        place, rest = self._hearer.receive_buffer(), bytes(self._wire)
        self._hearer.receive_eof()
        self._speaker.receive_eof()
        late = self._hearer.decoder.receive(rest) + self._hearer.receive_data(rest)
        if late or self._hearer.unfinished or self._hearer.receive_buffer() is not None:
            raise Fault("it goes on after the end", f"{late!r:.300}, unfinished: {self._hearer.unfinished}")
        try:
            if place is not None:
                place[:0] = b""
                raise Fault("a place is lent after the end", f"{len(place)} bytes")
        except ValueError:
            pass  # it has been taken back


class CodecPlayer:
    """The machine that `findings.campaign` runs."""

    NAME = "codec"

    def __init__(self) -> None:
        self._begun = False

    def close(self) -> None:
        if self._begun:
            gc.unfreeze()

    def make(self, seed: int) -> Record:
        chance = random.Random(seed)
        record: Record = [["begin", chance.choice((1, 2)), chance.random() < 0.5]]
        for _ in range(chance.randrange(1, 12)):
            record.append(
                [
                    "say",
                    chance.choice(WAYS),
                    chance.choice([*WORDS]),
                    chance.choice((None, None, True, False)),
                ]
            )
            if chance.random() < 0.6:
                left_bytes = chance.choice((0, 0, 1, 50, 5_000, 60_000))
                record.append(["hear", chance.choice((1, 700, 20_000, 1_000_000)), left_bytes])
        return record

    def play(self, seed: int, record: Record) -> Counter[str]:
        if not self._begun:  # only what is made here is looked at
            gc.collect()
            gc.freeze()
            self._begun = True
        gc.collect()
        gc.disable()
        try:
            counts = self._play(record)
            left_count = gc.collect()
        finally:
            gc.enable()
        if left_count:
            raise Fault("held after the end", f"{left_count} objects that only the collector frees")
        return counts

    def _play(self, record: Record) -> Counter[str]:
        counts: Counter[str] = Counter()
        pair = Pair(Role.SERVER, compressed=False)
        for kind, *rest in record:
            if kind == "begin":
                pair = Pair(Role(rest[0]), rest[1])
            elif kind == "say":
                counts["taken" if pair.say(*rest) else "refused"] += 1
            elif kind == "hear":
                pair.hear(*rest)
            else:
                raise ValueError(f"no operation of a pair: {kind!r}")
        if pair.heard != pair.said[: len(pair.heard)]:
            raise Fault("another message", f"{pair.heard!r:.300}, not {pair.said!r:.300}")
        pair.end()
        return counts
