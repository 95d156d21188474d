"""The beginning of a connection of the cluster: both ends prove themselves, then it belongs to its purpose.

Must not know: what it is for, how a connection is made or passed on.

    caller                           called
    HELLO (whom it wants)     ->
                              <-     CHALLENGE
    PROOF                     ->
                              <-     WELCOME, from the worker that is called; or GONE

What follows WELCOME, the caller says first: between PROOF and WELCOME nothing is on its way, and the
connection may change hands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from python_server.connection.exchange import DeadlineLike, TransportLike
from python_server.machines.proof import NONCE_BYTES, Proofs, is_proof
from python_server.machines.stream import CLOSED, FrameStream
from python_server.machines.words import (
    HEADER_BYTES,
    VERSION,
    Challenge,
    Hello,
    Kind,
    Proof,
    WordsError,
    frame,
    read,
)

# For a greeting; and for the connection before it.
GREETING_SECONDS: Final = 2.0
# Why a caller fails.
OTHER_SECRET: Final = "the other machine has another --cluster-secret"
REFUSED: Final = "it closes the connection: it has another --cluster-secret, or it is ending"
GONE: Final = "the worker that is called is not there"

MakeDeadline = Callable[[Callable[[], object]], DeadlineLike]


@dataclass(slots=True, eq=False)
class Caller:
    """The end that has made the connection. Every method belongs to the loop's thread.

    Attributes:
        hello: what it wants. done: called once, with the connection, or with None and why it failed.
    """

    transport: TransportLike
    secret: bytes
    hello: Hello
    done: Callable[[FrameStream | None, str], None]
    make_deadline: MakeDeadline
    _stream: FrameStream = field(init=False)
    _proofs: Proofs | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)
    _deadline: DeadlineLike = field(init=False)

    def begin(self) -> None:
        self._stream = FrameStream(self.transport, self._take, self._lost)
        self._deadline = self.make_deadline(partial(self._end, None, "no answer in time"))
        self._deadline.set(GREETING_SECONDS)
        self._stream.begin()
        self._stream.send(Kind.HELLO, self.hello)

    def cancel(self) -> None:
        """Nobody waits for it any more: `done` is not called."""
        self.done = lambda stream, reason: None
        self._end(None, "")

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == Kind.CHALLENGE and self._proofs is None:
            read(payload, Challenge)
            hello = frame(Kind.HELLO, self.hello)[HEADER_BYTES:]
            self._proofs = Proofs(self.secret, hello, payload)
            self._stream.send(Kind.PROOF, Proof(self._proofs.caller))
        elif kind == Kind.WELCOME and self._proofs is not None:
            if not is_proof(read(payload, Proof).digest, self._proofs.called):
                raise WordsError(OTHER_SECRET)
            self._end(self._stream, "")
        elif kind == Kind.GONE and self._proofs is not None:
            self._end(None, GONE)
        else:
            raise WordsError(f"a frame of kind {kind} within the greeting")

    def _lost(self, reason: str) -> None:
        # Who is called closes without a word where it does not believe us; so does one that ends.
        self._end(None, REFUSED if self._proofs is not None and reason == CLOSED else reason)

    def _end(self, stream: FrameStream | None, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        self._deadline.cancel()
        if stream is None and not self._stream.ended:
            self._stream.close(reason)
        self.done(stream, reason)


@dataclass(frozen=True, slots=True)
class Called:
    """A caller that has proven itself. `welcome`: the frame that it waits for."""

    hello: Hello
    welcome: bytes


@dataclass(slots=True, eq=False)
class Doorkeeper:
    """The end to which somebody has come. Every method belongs to the loop's thread.

    Attributes:
        entropy: so many bytes that nobody can guess.
        done: called once, with the caller, whose connection `transport` is another's from then on; or with
            None and why it is not let in, when the connection has ended.
    """

    transport: TransportLike
    secret: bytes
    entropy: Callable[[int], bytes]
    done: Callable[[Doorkeeper, Called | None, str], None]
    make_deadline: MakeDeadline
    _stream: FrameStream = field(init=False)
    _hello: Hello | None = field(default=None, init=False)
    _proofs: Proofs | None = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)
    _deadline: DeadlineLike = field(init=False)

    def begin(self) -> None:
        self._stream = FrameStream(self.transport, self._take, partial(self._end, None))
        self._deadline = self.make_deadline(partial(self._stream.close, "no proof in time"))
        self._deadline.set(GREETING_SECONDS)
        self._stream.begin()

    def close(self, reason: str) -> None:
        """End it, without a word to who has come."""
        self._stream.close(reason)

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == Kind.HELLO and self._hello is None:
            self._hello = read(payload, Hello)
            if len(self._hello.nonce) != NONCE_BYTES:
                raise WordsError("a HELLO without its nonce")
            challenge = Challenge(VERSION, self.entropy(NONCE_BYTES))
            self._proofs = Proofs(self.secret, payload, frame(Kind.CHALLENGE, challenge)[HEADER_BYTES:])
            self._stream.send(Kind.CHALLENGE, challenge)
        elif kind == Kind.PROOF and self._proofs is not None and self._hello is not None:
            if not is_proof(read(payload, Proof).digest, self._proofs.caller):
                raise WordsError("a caller has another --cluster-secret")
            self._stream.release()
            self._end(Called(self._hello, frame(Kind.WELCOME, Proof(self._proofs.called))), "")
        else:
            raise WordsError(f"a frame of kind {kind} within the greeting")

    def _end(self, called: Called | None, reason: str) -> None:
        if not self._ended:
            self._ended = True
            self._deadline.cancel()
            self.done(self, called, reason)
