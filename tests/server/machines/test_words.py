"""What workers of two machines say, and how it is framed (machines/words.py).

It must not know connections.
"""

import random
from typing import Any

import msgspec
import pytest

from python_server.machines.words import (
    FRAME_MAX_BYTES,
    GREETING_MAX_BYTES,
    About,
    Challenge,
    ForeignAnswer,
    ForeignHandshake,
    ForeignRequest,
    FrameReader,
    Hello,
    Kind,
    Proof,
    RequestOrigin,
    WordsError,
    frame,
    read,
)
from python_server.net.byte_handler import address_from

ORIGIN = RequestOrigin(("192.0.2.1", 4000), "/run/socket", "https", "here:8000")
WORDS: list[tuple[Kind, Any]] = [
    (Kind.HELLO, Hello(1, b"n" * 32, "m1", "m2", 3, False)),
    (Kind.CHALLENGE, Challenge(1, b"c" * 32)),
    (Kind.PROOF, Proof(b"p" * 32)),
    (Kind.REQUEST, ForeignRequest(7, ORIGIN, b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff" * 300, True)),
    (Kind.ANSWER, ForeignAnswer(7, 200, True, b"HTTP/1.1 200 OK\r\n\r\n")),
    (Kind.FORGET, About(1 << 60)),
    (Kind.HANDSHAKE, ForeignHandshake(ORIGIN, b"GET / HTTP/1.1\r\n\r\n")),
]
STREAM = b"".join([frame(kind, word) for kind, word in WORDS] + [frame(Kind.PING)])
EXPECTED = [*((int(kind), word) for kind, word in WORDS), (int(Kind.PING), None)]


def understood(reader: FrameReader) -> list[tuple[int, Any]]:
    types = {int(kind): type(word) for kind, word in WORDS}
    found = []
    while (came := reader.next()) is not None:
        kind, payload = came
        found.append((kind, read(payload, types[kind]) if payload else None))
    return found


def as_values(words: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Comparable: a tuple of an address comes as a list."""
    return [(kind, msgspec.msgpack.encode(word)) for kind, word in words]


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 4, 5, 7, 64, len(STREAM)])
def test_frames_come_whole_in_whatever_pieces(piece_bytes: int) -> None:
    reader, found = FrameReader(FRAME_MAX_BYTES), []
    for at in range(0, len(STREAM), piece_bytes):
        reader.receive(STREAM[at : at + piece_bytes])
        found += understood(reader)
    assert as_values(found) == as_values(EXPECTED)
    assert reader.take_rest() == b""


def test_frames_come_whole_from_every_cut() -> None:
    for cut in range(len(STREAM)):
        reader = FrameReader(FRAME_MAX_BYTES)
        reader.receive(memoryview(STREAM)[:cut])
        found = understood(reader)
        reader.receive(memoryview(STREAM)[cut:])
        assert as_values(found + understood(reader)) == as_values(EXPECTED)


def test_what_follows_the_last_frame_can_be_taken() -> None:
    reader = FrameReader()
    reader.receive(frame(Kind.PING) + b"\x81\x85client")
    assert reader.next() == (Kind.PING, b"")
    assert reader.take_rest() == b"\x81\x85client"
    assert reader.take_rest() == b""
    assert reader.next() is None


def test_an_address_is_a_tuple_again() -> None:
    came = read(frame(Kind.HANDSHAKE, WORDS[-1][1])[5:], ForeignHandshake)
    assert (address_from(came.origin.peer), address_from(came.origin.local)) == (
        ("192.0.2.1", 4000),
        "/run/socket",
    )
    assert address_from(None) is None


def test_a_frame_is_no_longer_than_its_bound() -> None:
    for length in (0, GREETING_MAX_BYTES + 1, 0x47455420, 0xFFFFFFFF):  # the third: "GET "
        reader = FrameReader()
        reader.receive(length.to_bytes(4, "big"))
        assert reader.next() is None  # a header has five bytes
        reader.receive(b"\1")
        with pytest.raises(WordsError, match=f"a frame of {length} bytes"):
            reader.next()
    reader = FrameReader()
    reader.receive(GREETING_MAX_BYTES.to_bytes(4, "big") + b"\1" + b"x" * (GREETING_MAX_BYTES - 1))
    assert reader.next() == (1, b"x" * (GREETING_MAX_BYTES - 1))


def test_a_later_release_adds_fields_and_an_earlier_one_lacks_those_with_a_default() -> None:
    later = msgspec.msgpack.encode([1, b"n" * 32, "m1", "m2", 3, True, "new", {"more": [1]}])
    assert read(later, Hello) == Hello(1, b"n" * 32, "m1", "m2", 3, True)
    origin = [["192.0.2.1", 1], None, "http", "here", "new"]
    earlier = msgspec.msgpack.encode([7, origin, b"head", b"body"])
    assert read(earlier, ForeignRequest).last is False


@pytest.mark.parametrize("kind", [type(word) for _, word in WORDS])
def test_what_cannot_be_read_has_one_error(kind: Any) -> None:
    good = {type(word): frame(number, word)[5:] for number, word in WORDS}[kind]
    chance = random.Random(7)
    tried = [good[:cut] for cut in range(len(good))]
    tried += [
        b"",
        b"\xc0",
        b"\x90",
        b"\x80",
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xc7\x0c\xff" + b"\xff" * 12,
    ]
    for _ in range(2000):
        changed = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        tried.append(bytes(changed))
    refusals = []
    for payload in tried:
        try:
            assert isinstance(read(payload, kind), kind)
        except WordsError as error:
            refusals.append(str(error))
    assert len(refusals) > len(good)
    assert all(each.startswith(f"a malformed {kind.__name__}") for each in refusals)
