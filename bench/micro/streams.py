"""What the cases feed and send: messages of a kind and size, frames of both roles, reads of 64 KiB.

It must not know any peer, and must not time anything.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from peers.ends import Reads

from wsframe import Opcode, encode_frame

READ_BYTES = 65_536
KIB, MIB = 1 << 10, 1 << 20
# Enough of small messages that some frames are cut by the end of a read.
STREAM_BYTES = 2 * READ_BYTES
SCRIPTS = {
    "ASCII": "the quick brown fox jumps over the lazy dog 0123456789 ",
    "Cyrillic": "Съешь ещё этих мягких французских булок, да выпей чаю ",
    "CJK": "天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏",
}
SIZES = {"20 B": 20, "128 B": 128, "1 KiB": KIB, "16 KiB": 16 * KIB, "1 MiB": MIB}
MIXED_COUNT = 200
MIXED_LEAST_BYTES, MIXED_MOST_BYTES = 16, 16 * KIB
FRAGMENTED_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Messages:
    """`kind` says what they are: "text", "binary", or "any" for both.

    `fragments` has, by the number of a message, into how many frames it is cut; the others are one frame.
    """

    name: str
    kind: str
    items: tuple[str | bytes, ...]
    fragments: dict[int, int]

    @property
    def payload_bytes(self) -> int:
        return sum(len(payload_of(item)) for item in self.items)


def payload_of(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def text_of(script: str, nbytes: int) -> str:
    """So many bytes of UTF-8, or up to three fewer: no character is cut."""
    letters = SCRIPTS[script]
    whole = (letters * (nbytes // len(letters.encode()) + 1)).encode()[:nbytes]
    return whole.decode(errors="ignore")


def json_text(source: random.Random) -> str:
    """20 to 120 bytes, as a small event of an application has; one in ten has a letter outside ASCII."""
    nbytes = source.randint(20, 120)
    head = f'{{"id":{source.randint(0, 9999)},"t":"'
    words = "".join(source.choices("abcdefghij klmno", k=nbytes - len(head) - 2))
    if source.random() < 0.1:
        words = words[:-2] + "é"
    return f'{head}{words}"}}'


def repeated(name: str, kind: str, message: str | bytes) -> Messages:
    count = max(1, STREAM_BYTES // len(payload_of(message)))
    return Messages(name, kind, (message,) * count, {})


def mixed() -> Messages:
    """Sizes spread evenly over their logarithm; text of each script, and binary; one in twenty is cut."""
    source = random.Random(11)
    items: list[str | bytes] = []
    for _ in range(MIXED_COUNT):
        least, most = math.log(MIXED_LEAST_BYTES), math.log(MIXED_MOST_BYTES)
        nbytes = round(math.exp(source.uniform(least, most)))
        what = source.choices(("binary", *SCRIPTS), (30, 50, 10, 10))[0]
        items.append(source.randbytes(nbytes) if what == "binary" else text_of(what, nbytes))
    cut = source.sample(range(MIXED_COUNT), round(MIXED_COUNT * FRAGMENTED_SHARE))
    return Messages("mixed sizes", "any", tuple(items), {number: source.randint(2, 5) for number in cut})


def regimes() -> Iterator[Messages]:
    """Every kind of message that is received and sent."""
    source = random.Random(7)
    yield repeated("binary, 32 B", "binary", source.randbytes(32))
    yield Messages("JSON of 20-120 B", "text", tuple(json_text(source) for _ in range(1800)), {})
    yield mixed()
    for words, nbytes in (("1 KiB", KIB), ("16 KiB", 16 * KIB), ("1 MiB", MIB)):
        yield repeated(f"binary, {words}", "binary", source.randbytes(nbytes))
    for script in SCRIPTS:
        for words, nbytes in SIZES.items():
            yield repeated(f"{script} text, {words}", "text", text_of(script, nbytes))


def fragmented() -> Iterator[Messages]:
    """Every message in fragments, as a sender has them that does not know the length before."""
    source = random.Random(5)
    for name, kind, message, count in (
        ("binary, 16 KiB in 4 fragments", "binary", source.randbytes(16 * KIB), 4),
        ("CJK text, 16 KiB in 4 fragments", "text", text_of("CJK", 16 * KIB), 4),
        ("binary, 1 MiB in 64 fragments", "binary", source.randbytes(MIB), 64),
    ):
        whole = repeated(name, kind, message)
        yield Messages(name, kind, whole.items, dict.fromkeys(range(len(whole.items)), count))


def frames_of(message: str | bytes, fragments: int, masked: bool, source: random.Random) -> Iterator[bytes]:
    payload = payload_of(message)
    opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
    # Not at characters' borders: a sender that cuts bytes does not look for them.
    step = max(1, math.ceil(len(payload) / fragments))
    pieces = [payload[begin : begin + step] for begin in range(0, len(payload), step)] or [b""]
    for number, piece in enumerate(pieces):
        mask = source.randbytes(4) if masked else None
        yield encode_frame(
            Opcode.CONTINUATION if number else opcode, piece, mask, fin=number == len(pieces) - 1
        )


def stream_of(messages: Messages, role: str) -> bytes:
    """What `role` receives: a server masked frames, a client frames without masks."""
    source = random.Random(3)
    return b"".join(
        frame
        for number, message in enumerate(messages.items)
        for frame in frames_of(message, messages.fragments.get(number, 1), role == "server", source)
    )


def reads_of(messages: Messages, role: str) -> Reads:
    stream = memoryview(stream_of(messages, role))
    begins = range(0, len(stream), READ_BYTES)
    return Reads(tuple(stream[begin : begin + READ_BYTES] for begin in begins), bool(messages.fragments))


def one_read(messages: Messages, role: str) -> Reads:
    """All in one read, which is there before the clock runs."""
    return Reads((memoryview(stream_of(messages, role)),), bool(messages.fragments), made_before=True)


def one_frame_reads(messages: Messages, role: str) -> Reads:
    """Each read is one frame, as from a peer that waits for answers."""
    source = random.Random(3)
    frames = [
        frame for message in messages.items for frame in frames_of(message, 1, role == "server", source)
    ]
    return Reads(tuple(map(memoryview, frames)), False)
