"""One request and its response on an HTTP connection: head, framing and end of the answer, whoever gives it.

Must not know: what comes before or after it on the connection, applications, sessions, threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, Protocol

from python_server.http1.parser import Request
from python_server.http1.response import (
    CONTINUE,
    LAST_CHUNK,
    Framing,
    Headers,
    StandingFields,
    chunk,
    response_head,
    status_text,
)
from python_server.net.byte_handler import Address, Buffer, ByteHandler, Source
from python_server.net.pauses import Pause
from python_server.net.sendfile import FileSlice
from python_server.net.transport import Piece
from wsframe import JoinCache, Outbox

# A request body that the answer did not wait for is read and dropped up to this; else the connection ends.
DROPPED_BODY_MAX_BYTES: Final = 65_536
# A body up to this leaves in one write with its head.
COPIED_MAX_BYTES: Final = 16_384


class TransportLike(Protocol):
    """Port: what a channel asks of a connection's transport; the real one, or a fake in tests."""

    peer: Address
    local: Address
    pauses: int  # the reasons not to read, of `Pause`
    receive_max_bytes: int  # at once

    @property
    def outbox(self) -> Source | None: ...
    @outbox.setter
    def outbox(self, outbox: Source) -> None:
        """By a protocol whose small pieces the transport is to take from there."""

    @property
    def blocked(self) -> bool: ...
    @property
    def queued_bytes(self) -> int: ...
    def write(self, data: Piece) -> None: ...
    def pause_reading(self, reasons: int, paused: bool) -> None: ...
    def set_handler(self, handler: ByteHandler) -> None: ...
    def close(self, abort: str | None = None, *, reset: bool = False) -> None: ...


# Makes the protocol that a connection goes to, of what came behind the head; None: it keeps the connection.
MakeHandler = Callable[[TransportLike, bytes], ByteHandler | None]


class DeadlineLike(Protocol):
    """A moment that can be moved, put off for ever, and dropped."""

    def set(self, seconds: float) -> None: ...
    def clear(self) -> None: ...
    def cancel(self) -> None: ...


class RequestHandler(Protocol):
    """Port: who answers requests (the Engine.IO engine, raw WebSockets, the WSGI application)."""

    def request_received(self, exchange: Exchange) -> None:
        """A head has come; the answer may be given now or later."""

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        """A piece of the body."""

    def body_ended(self, exchange: Exchange) -> None:
        """The body is complete (also called, at once, for a request without one)."""

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        """Nobody waits for the answer any more ("end of stream": perhaps still, half-closed)."""


@dataclass(frozen=True, slots=True)
class AnsweredAtOnce:
    """A RequestHandler whose answer needs neither the body nor time."""

    request_received: Callable[[Exchange], None]

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        """Nobody reads it."""

    def body_ended(self, exchange: Exchange) -> None:
        """It was answered."""

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        """Nothing is kept for it."""


@dataclass(frozen=True, slots=True)
class ExchangeServices:
    """What all exchanges of a worker share: clock, Date text, lines of every answer, and who counts them.

    Attributes:
        done: called at the end of each, with its seconds. given: called instead when it goes elsewhere.
    """

    now: Callable[[], float]
    date: Callable[[], str]
    standing: StandingFields
    done: Callable[[Exchange, float], None]
    given: Callable[[Exchange], None] = lambda exchange: None


class ExchangeState(Enum):
    """The life of an answer."""

    WAITING = auto()  # nothing has been written
    STREAMING = auto()  # the head has left, the body follows
    DONE = auto()


_WAITING: Final = ExchangeState.WAITING
_STREAMING: Final = ExchangeState.STREAMING
_DONE: Final = ExchangeState.DONE
_NO_BODY: Final = Framing.NONE


@dataclass(slots=True, eq=False, repr=False)
class Exchange:
    """A request with the means to answer it. Every method belongs to the loop's thread.

    Attributes:
        request: the head. context: the handler's own, for this request.
        on_writable: called when a blocked transport takes bytes again.
        status, headers, sent_bytes: of the answer, for the access log.
        routine: it is one of many that say little: the access log may leave it out.
        held_bytes: of the body, in the handler's hands until it is complete.
        body_resumed_at: when the client was last let go on with its body.
    """

    request: Request
    _services: ExchangeServices
    _transport: TransportLike
    _done: Callable[[bool], None]
    _upgrade: Callable[[MakeHandler], None]
    context: Any = field(default=None, init=False)
    on_writable: Callable[[], None] | None = field(default=None, init=False)
    body_complete: bool = field(init=False)
    body_resumed_at: float = field(default=0.0, init=False)
    held_bytes: int = field(default=0, init=False)
    status: int = field(default=0, init=False)
    headers: Sequence[tuple[str, str]] = field(default=(), init=False)
    routine: bool = field(default=False, init=False)
    sent_bytes: int = field(default=0, init=False)
    started_at: float = field(init=False)
    _state: ExchangeState = field(default=_WAITING, init=False)
    _framing: Framing = field(default=_NO_BODY, init=False)
    _keep_alive: bool = field(init=False)
    _remaining: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        request = self.request
        self.body_complete = request.body_length == 0
        self._keep_alive = request.keep_alive
        self.started_at = self._services.now()

    @property
    def open(self) -> bool:
        """May something still be written?"""
        return self._state is not _DONE

    @property
    def started(self) -> bool:
        """Has the head of the answer left?"""
        return self._state is _STREAMING

    @property
    def blocked(self) -> bool:
        """Is the connection's queue above its high watermark?"""
        return self._transport.blocked

    @property
    def keep_alive(self) -> bool:
        """May the connection go on after this answer?"""
        return self._keep_alive

    def refuse_keep_alive(self) -> None:
        """The connection ends after this answer."""
        self._keep_alive = False

    # The request's body

    @property
    def body_paused(self) -> bool:
        """Any thread: does the client wait with the rest of its body?"""
        return bool(self._transport.pauses & Pause.BODY)

    def pause_body(self, paused: bool) -> None:
        """Let the client wait with the rest of its body, or go on."""
        if self.body_paused and not paused:
            self.body_resumed_at = self._services.now()
        self._transport.pause_reading(Pause.BODY, paused)

    def send_continue(self) -> None:
        """100 Continue, once, if the client asked for it (RFC 9110 10.1.1)."""
        if self.request.expect_continue and self._state is _WAITING:
            self.request.expect_continue = False
            self._transport.write(CONTINUE)

    # The answer

    def respond(self, status: str | int, headers: Headers, body: bytes = b"") -> None:
        """The whole answer in one write."""
        if self._state is not _WAITING:
            return
        head = self._head(status, headers, len(body))
        if self._framing is _NO_BODY:
            body = b""
        self.sent_bytes = len(body)
        if len(body) <= COPIED_MAX_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        self._finish()

    def refuse(self, status: int, text: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Say in plain text why nothing else is answered; the connection ends with it."""
        self._keep_alive = False
        plain = ("Content-Type", "text/plain; charset=utf-8")
        self.respond(status, [plain, *headers], f"{text}\n".encode())

    def start(self, status: str | int, headers: Headers, first: bytes = b"") -> None:
        """The head of an answer whose body follows, with its first piece in the same write."""
        if self._state is not _WAITING:
            return
        head = self._head(status, headers, None)
        self._state = _STREAMING
        piece = self._frame(first)
        self._transport.write(head + piece if piece else head)

    def write_file(self, piece: FileSlice) -> None:
        """A piece of the body that stands in a file; its bytes are within the Content-Length."""
        if self._state is _STREAMING and self._framing is Framing.LENGTH:
            self._remaining -= len(piece)
            self.sent_bytes += len(piece)
            self._transport.write(piece)

    def write(self, data: Buffer) -> None:
        """A piece of the body; empty pieces are dropped, bytes beyond Content-Length too."""
        if self._state is _STREAMING:
            piece = self._frame(data)
            if piece:
                self._transport.write(piece)

    @property
    def framing(self) -> Framing:
        """Of the answer that has been started."""
        return self._framing

    def outbox(self, joins: JoinCache) -> Outbox:
        """Takes small pieces of an endless body, already framed; what it declines is to be written."""
        outbox = self._transport.outbox
        if not isinstance(outbox, Outbox):
            outbox = self._transport.outbox = Outbox(False, joins)
        return outbox

    def finish(self) -> None:
        """The body is complete."""
        if self._state is not _STREAMING:
            return
        if self._framing is Framing.CHUNKED:
            self._transport.write(LAST_CHUNK)
        elif self._framing is Framing.LENGTH and self._remaining:
            self.abort("the answer ended before its Content-Length")
            return
        self._finish()

    def abort(self, reason: str) -> None:
        """Cut the answer short so that the client can see it: no last chunk, no clean end (RFC 9112 8).

        An end by closing would look clean, so there the connection is reset.
        """
        if self._state is _DONE:
            return
        started = self._state is _STREAMING
        self._end()
        if started and self._framing in (Framing.LENGTH, Framing.CHUNKED):
            self._transport.close()
        else:
            self._transport.close(reason, reset=started)

    def drop(self) -> None:
        """The connection has gone: whatever is still written goes nowhere."""
        if self._state is not _DONE:
            self._end()

    def upgrade(self, headers: Headers, make: MakeHandler) -> None:
        """Answer 101 and hand the connection to the protocol that `make` returns."""
        if self._state is _WAITING:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
            lines += self._services.standing.without_server
            self._transport.write(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode("latin-1"))
            self.headers = headers
            self.hand_over(make)

    def hand_over(self, make: MakeHandler) -> None:
        """Hand the connection, unanswered, to what `make(transport, bytes behind the head)` returns.

        None means that `make` has taken the connection off the loop.
        """
        if self._state is not _WAITING:
            return
        self.status = 101
        self._end()
        self._upgrade(make)

    def give_away(self, make: MakeHandler) -> None:
        """Hand the connection over with this request: whoever gets it answers, counts and logs it."""
        if self._state is _WAITING:
            self._state = _DONE
            self._services.given(self)
            self._upgrade(make)

    def pass_answer(self, status: int, data: bytes, *, keep_alive: bool) -> None:
        """The whole answer as another process has written it, which has counted and logged it."""
        if self._state is _WAITING:
            self.status = status
            self._state = _DONE
            self.context = None
            self._services.given(self)
            self._transport.write(data)
            self._done(keep_alive and self._keep_alive)

    def write_blocked(self, blocked: bool) -> None:
        if not blocked and self.on_writable is not None:
            self.on_writable()

    def _head(self, status: str | int, headers: Headers, body_length: int | None) -> bytes:
        request, services = self.request, self._services
        if isinstance(status, int):
            status = status_text(status)
        if not self.body_complete and (
            request.expect_continue
            or request.body_length is None
            or request.body_length > DROPPED_BODY_MAX_BYTES
        ):
            self._keep_alive = False
        head, self._framing, self._keep_alive, self._remaining = response_head(
            request, self._keep_alive, status, headers, body_length, services.date(), services.standing
        )
        self.status = int(status[:3])
        self.headers = headers
        return head

    def _frame(self, data: Buffer) -> Buffer:
        framing = self._framing
        if framing is Framing.NONE:
            return b""
        if framing is Framing.LENGTH:
            if len(data) > self._remaining:
                data = data[: self._remaining]
            self._remaining -= len(data)
        self.sent_bytes += len(data)
        return chunk(data) if framing is Framing.CHUNKED else data

    def _finish(self) -> None:
        self._end()
        self.context = None  # it may hold this exchange in turn: a cycle that would wait for the collector
        self._done(self._keep_alive)

    def _end(self) -> None:
        self._state = _DONE
        self.on_writable = None
        self._services.done(self, self._services.now() - self.started_at)
