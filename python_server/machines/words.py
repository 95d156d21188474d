"""What workers of two machines say to each other over a connection, and how it is framed. Sans-I/O.

Must not know: connections, who proves what, where a session lives.

A frame is its length (4 bytes, big-endian, of what follows), its kind (1 byte), and MessagePack. Releases
that differ speak with each other: a later one adds fields at the end, which an earlier one passes over, and
kinds, which it counts and passes over.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, TypeVar

import msgspec

from python_server.net.byte_handler import Buffer

VERSION: Final = 1
HEADER_BYTES: Final = 5
# Before the proof nobody has much to say.
GREETING_MAX_BYTES: Final = 1024
# A request with its body, or an answer; engines have smaller bounds, unless they are told others.
FRAME_MAX_BYTES: Final = 256 * 1024 * 1024
# Of either; the rest is for a head, and what else stands beside it.
BODY_MAX_BYTES: Final = FRAME_MAX_BYTES - 4 * 1024 * 1024


class Kind(IntEnum):
    """What a frame says. The first group is the greeting's, see `greeting`."""

    HELLO = 1
    CHALLENGE = 2
    PROOF = 3
    WELCOME = 4
    GONE = 5  # the worker that was called is not here
    # From whoever has called, about its clients.
    REQUEST = 10
    FORGET = 11  # nobody waits for that answer any more
    HURRY = 12  # the client's connection is to end: answer it soon, and as its last one
    PING = 13
    # From whom it has called.
    ANSWER = 20
    CUT = 21  # there is no answer to that request: its connection is to end
    PONG = 22
    # From whoever has called for a WebSocket: its handshake; what follows it are the client's own bytes.
    HANDSHAKE = 30


class WordsError(ValueError):
    """What came over a connection of the cluster cannot be read; the connection ends."""


class Hello(msgspec.Struct, array_like=True):
    """HELLO: who calls whom, and what for.

    Attributes:
        version: of these words. nonce: 32 random bytes. machine: the caller's tag.
        to_machine, to_worker: the tag and the index of who is called.
        websocket: is the connection to become one client's WebSocket? Else it carries requests of many.
    """

    version: int
    nonce: bytes
    machine: str
    to_machine: str
    to_worker: int
    websocket: bool


class Challenge(msgspec.Struct, array_like=True):
    """CHALLENGE. `nonce`: 32 random bytes."""

    version: int
    nonce: bytes


class Proof(msgspec.Struct, array_like=True):
    """PROOF and WELCOME: see `proof`."""

    digest: bytes


class RequestOrigin(msgspec.Struct, array_like=True):
    """Who has sent a request, as the machine that got it has seen it, or believes its proxy.

    Attributes:
        peer, local: addresses, as the socket module has them. scheme: "http" or "https".
        authority: host and port asked for.
    """

    peer: Any
    local: Any
    scheme: str
    authority: str


class ForeignRequest(msgspec.Struct, array_like=True):
    """REQUEST: a poll or a post, whole. `head`: as the client has sent it; `last`: see HURRY."""

    number: int
    origin: RequestOrigin
    head: bytes
    body: bytes
    last: bool = False


class ForeignAnswer(msgspec.Struct, array_like=True):
    """ANSWER: `data` is the whole answer in HTTP/1.1. `keep_alive`: may the client's connection go on?"""

    number: int
    status: int
    keep_alive: bool
    data: bytes


class About(msgspec.Struct, array_like=True):
    """FORGET, HURRY and CUT: of which request."""

    number: int


class ForeignHandshake(msgspec.Struct, array_like=True):
    """HANDSHAKE: the head of a client's opening handshake."""

    origin: RequestOrigin
    head: bytes


_encode: Final = msgspec.msgpack.Encoder().encode
Word = TypeVar("Word", bound=msgspec.Struct)


def frame(kind: Kind, word: msgspec.Struct | None = None) -> bytes:
    """A frame, whole. None: the kind alone says it."""
    payload = b"" if word is None else _encode(word)
    return b"%b%c%b" % ((len(payload) + 1).to_bytes(4, "big"), kind, payload)


def read(payload: bytes, kind: type[Word]) -> Word:
    """What `frame` was given. Raises WordsError."""
    try:
        return msgspec.msgpack.decode(payload, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise WordsError(f"a malformed {kind.__name__}: {error}") from None


class FrameReader:
    """Cuts a stream of bytes into frames.

    Attributes:
        limit_bytes: of one frame; a longer one is not waited for.
    """

    __slots__ = ("_held", "limit_bytes")

    def __init__(self, limit_bytes: int = GREETING_MAX_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._held = bytearray()

    def receive(self, data: Buffer) -> None:
        """Take bytes; they are copied."""
        self._held += data

    def next(self) -> tuple[int, bytes] | None:
        """(kind, payload) of the next whole frame, None while there is none. Raises WordsError."""
        held = self._held
        if len(held) < HEADER_BYTES:
            return None
        length = int.from_bytes(held[:4], "big")
        if not 0 < length <= self.limit_bytes:
            raise WordsError(f"a frame of {length} bytes where at most {self.limit_bytes} are expected")
        if len(held) < 4 + length:
            return None
        kind, payload = held[4], bytes(memoryview(held)[HEADER_BYTES : 4 + length])
        del held[: 4 + length]
        return kind, payload

    def take_rest(self) -> bytes:
        """What came behind the last frame, where it is no frame."""
        rest, self._held = bytes(self._held), bytearray()
        return rest
