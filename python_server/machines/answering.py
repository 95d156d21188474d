"""Polls and posts that another machine has got for sessions of ours: they are answered as if here.

Must not know: sessions, who calls, how the connection was made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from python_server.connection.exchange import (
    AnsweredAtOnce,
    DeadlineLike,
    Exchange,
    ExchangeServices,
    MakeHandler,
    RequestHandler,
)
from python_server.http1.head import BadRequest, Limits, Request, parse_head
from python_server.machines.greeting import MakeDeadline
from python_server.machines.stream import FrameStream
from python_server.machines.words import (
    BODY_MAX_BYTES,
    FRAME_MAX_BYTES,
    About,
    ForeignAnswer,
    ForeignRequest,
    Kind,
    RequestOrigin,
    WordsError,
    read,
)
from python_server.net.byte_handler import Address, Buffer, ByteHandler, Source, address_from
from python_server.net.sendfile import FileSlice
from python_server.net.transport import Piece

# Something has to come within each span of so long; a caller pings twice as often.
SILENCE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class AnsweringServices:
    """What answers a request that came to another machine.

    Attributes:
        handler_of: who answers; None: nobody does here. limits: of heads. exchange: what exchanges need.
        hurry: answers a request that may wait for long. report: for a handler's fault.
    """

    handler_of: Callable[[Request], RequestHandler | None]
    limits: Limits
    exchange: ExchangeServices
    hurry: Callable[[Exchange], None]
    report: Callable[[str, BaseException], None]


def request_of(origin: RequestOrigin, head: bytes, limits: Limits) -> Request:
    """A request as the machine that got it has seen it. Raises BadRequest: it goes beyond our limits."""
    request = parse_head(head, limits)
    request.peer, request.local = address_from(origin.peer), address_from(origin.local)
    request.scheme, request.authority = origin.scheme, origin.authority
    request.handed = True
    return request


@dataclass(slots=True, eq=False)
class AnswerBuffer:
    """Where an answer is written for a client that is connected elsewhere (the TransportLike port)."""

    peer: Address
    local: Address
    cut: Callable[[], None]
    pieces: list[Buffer] = field(default_factory=list)
    pauses: int = 0
    receive_max_bytes: int = 0
    outbox: Source | None = None

    @property
    def blocked(self) -> bool:
        return False

    @property
    def queued_bytes(self) -> int:
        return sum(map(len, self.pieces))

    def write(self, data: Piece) -> None:
        self.pieces.append(data.read(len(data)) if isinstance(data, FileSlice) else data)

    def pause_reading(self, reasons: int, paused: bool) -> None:
        """The body has come whole."""

    def set_handler(self, handler: ByteHandler) -> None:
        """No other protocol follows."""

    def close(self, abort: str | None = None, *, reset: bool = False) -> None:
        self.cut()


def _refusal(status: int, text: str) -> AnsweredAtOnce:
    return AnsweredAtOnce(lambda exchange: exchange.refuse(status, text))


# Machines may be told to serve different paths, as while one after the other gets a new release.
NOT_SERVED: Final = _refusal(404, "this path is not served here")


@dataclass(slots=True, eq=False)
class AnsweringLink:
    """The called end. Every method belongs to the loop's thread.

    Attributes:
        stream: greeted. lost: called once, when the connection has ended.
        passed_over: called with the kind of a frame that this release does not know.
    """

    stream: FrameStream
    services: AnsweringServices
    lost: Callable[[AnsweringLink], None]
    passed_over: Callable[[int], None]
    make_deadline: MakeDeadline
    _waiting: dict[int, tuple[Exchange, RequestHandler]] = field(default_factory=dict, init=False)
    _heard_count: int = field(default=0, init=False)
    _silence: DeadlineLike = field(init=False)

    def begin(self) -> None:
        stream = self.stream
        stream.take, stream.lost = self._take, self._lost
        stream.reader.limit_bytes = FRAME_MAX_BYTES
        self._silence = self.make_deadline(self._look)
        self._silence.set(SILENCE_SECONDS)
        stream.begin()

    @property
    def queued_bytes(self) -> int:
        """What the other machine has not taken yet."""
        return self.stream.queued_bytes

    def close(self) -> None:
        """`lost` is not called."""
        self.stream.release()
        self._end()
        self.stream.close("server stopped")

    def _lost(self, reason: str) -> None:
        self._end()
        self.lost(self)

    def _end(self) -> None:
        self._silence.cancel()
        for number in [*self._waiting]:
            self._forget(number, "the other machine has gone")

    def _look(self) -> None:
        heard_count = self.stream.received_count
        if heard_count == self._heard_count:
            self.stream.close("the other machine is silent")
            return
        self._heard_count = heard_count
        self._silence.set(SILENCE_SECONDS)

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == Kind.REQUEST:
            self._answer(read(payload, ForeignRequest))
        elif kind == Kind.FORGET:
            self._forget(read(payload, About).number, "the client left")
        elif kind == Kind.HURRY:
            waiting = self._waiting.get(read(payload, About).number)
            if waiting is not None:
                waiting[0].refuse_keep_alive()
                self.services.hurry(waiting[0])
        elif kind == Kind.PING:
            self.stream.send(Kind.PONG)
        else:
            self.passed_over(kind)

    def _answer(self, asked: ForeignRequest) -> None:
        if asked.number in self._waiting:
            raise WordsError(f"another machine asks twice under the number {asked.number}")
        try:
            request = request_of(asked.origin, asked.head, self.services.limits)
        except BadRequest as error:
            self._serve(asked, Request("", "", "", "", (1, 1), ()), _refusal(error.status, error.message))
            return
        request.expect_continue = False  # its body is here
        request.upgrade = ""  # that needs a connection of its own
        self._serve(asked, request, self.services.handler_of(request) or NOT_SERVED)

    def _serve(self, asked: ForeignRequest, request: Request, handler: RequestHandler) -> None:
        number = asked.number
        buffer = AnswerBuffer(
            address_from(asked.origin.peer), address_from(asked.origin.local), partial(self._cut, number)
        )
        done = partial(self._done, number, buffer)
        exchange = Exchange(request, self.services.exchange, buffer, done, _no_upgrade)
        exchange.body_complete = True
        if asked.last:
            exchange.refuse_keep_alive()
        self._waiting[number] = exchange, handler
        try:  # a fault is one client's affair
            handler.request_received(exchange)
            if asked.body and exchange.open:
                handler.body_received(exchange, asked.body)
            if exchange.open:
                handler.body_ended(exchange)
            if asked.last and exchange.open:
                self.services.hurry(exchange)
        except Exception as error:
            self._fault(error)
            self._cut(number)
            self._lose(exchange, handler, "internal error")

    def _done(self, number: int, buffer: AnswerBuffer, keep_alive: bool) -> None:
        exchange, _ = self._waiting.pop(number)
        if buffer.queued_bytes > BODY_MAX_BYTES:
            self.stream.send(Kind.CUT, About(number))
            return
        answer = ForeignAnswer(number, exchange.status, keep_alive, b"".join(buffer.pieces))
        self.stream.send_in_turn(number, Kind.ANSWER, answer)

    def _cut(self, number: int) -> None:
        if self._waiting.pop(number, None) is not None:
            self.stream.send(Kind.CUT, About(number))

    def _forget(self, number: int, reason: str) -> None:
        """As when a client's connection has ended."""
        self.stream.held.pop(number, None)
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            self._lose(*waiting, reason)

    def _lose(self, exchange: Exchange, handler: RequestHandler, reason: str) -> None:
        exchange.drop()
        try:
            handler.exchange_lost(exchange, reason)
        except Exception as error:
            self._fault(error)

    def _fault(self, error: Exception) -> None:
        self.services.report("request of another machine", error)


def _no_upgrade(make: MakeHandler) -> None:
    raise RuntimeError("a request of another machine has no connection to take")
