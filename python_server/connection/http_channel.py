"""One TCP connection's requests, in order; at a 101 a WebSocketChannel takes this channel's place.

Must not know: sockets and selectors, what a path means, sessions, applications.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from python_server.connection.exchange import (
    DeadlineLike,
    Exchange,
    ExchangeServices,
    MakeHandler,
    RequestHandler,
    TransportLike,
)
from python_server.http1.body_time import BodyTime
from python_server.http1.parser import END, BadRequest, Event, ParserState, Request, RequestParser
from python_server.net.byte_handler import Buffer
from python_server.net.pauses import Pause
from python_server.net.states import StateEnum
from python_server.settings import HTTPSettings

# Bytes of further requests that may wait behind a running one; then reading pauses.
PIPELINE_MAX_BYTES: Final = 65_536
# The loop's clock stands still during a turn, the exchanges' does not.
MOMENT_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class HTTPServices:
    """What all HTTP channels of a worker share.

    Attributes:
        route: the handler of a request. deadline: makes one.
        exchange: what exchanges need. lost: called once with the channel when its connection is gone.
        stop: says of a head whether its connection may be given away before the body is read.
    """

    route: Callable[[Request], RequestHandler]
    settings: HTTPSettings
    deadline: Callable[[Callable[[], object]], DeadlineLike]
    exchange: ExchangeServices
    lost: Callable[[HTTPChannel], None]
    stop: Callable[[Request], bool] | None = None


class HTTPState(StateEnum):
    """Where an HTTP connection stands."""

    IDLE = "HEAD", "BUSY", "CLOSING", "LOST"  # between requests
    HEAD = "BUSY", "CLOSING", "LOST"  # a part of a head has come
    # An exchange runs, or its unread body is being dropped.
    BUSY = "IDLE", "HEAD", "CLOSING", "UPGRADED", "LOST"
    CLOSING = "LOST"
    UPGRADED = "LOST"
    LOST = ()


_IDLE: Final = HTTPState.IDLE
_BUSY: Final = HTTPState.BUSY
OPEN_STATES: Final = {_IDLE, HTTPState.HEAD, _BUSY}
_COMPLETE: Final = ParserState.COMPLETE
# What lets a client wait no longer when its next request, or another protocol, begins; an end of the stream
# that came already is told again.
_NEXT: Final = Pause.BODY | Pause.PIPELINED | Pause.ENDED


@dataclass(slots=True, eq=False, repr=False)
class HTTPChannel:
    """The requests of one connection, in order. Every method belongs to the loop's thread."""

    _transport: TransportLike
    _services: HTTPServices
    handed: bool = False  # its first request was passed on to us by another process
    _exchange: Exchange | None = field(default=None, init=False)
    _handler: RequestHandler = field(init=False)  # of the last exchange
    _body_time: BodyTime | None = field(default=None, init=False)  # while the rest of a body is awaited
    _state: HTTPState = field(default=_IDLE, init=False)
    _advancing: bool = field(default=False, init=False)  # further down the stack events are being handled
    _last: bool = field(default=False, init=False)  # no request is to follow the running one
    _parser: RequestParser = field(init=False)
    _deadline: DeadlineLike = field(init=False)

    def __post_init__(self) -> None:
        services = self._services
        self._parser = RequestParser(services.settings, services.stop)
        self._deadline = services.deadline(self._on_deadline)
        self._deadline.set(services.settings.header_timeout_seconds)

    # What the transport tells

    def receive_buffer(self) -> memoryview | None:
        return None

    def data_received(self, buffer: Buffer, nbytes: int) -> None:
        if self._state not in OPEN_STATES:
            return
        if nbytes == 0:
            self._on_end_of_stream()
            return
        if self._body_time is not None:
            self._body_time.received(nbytes, self._services.exchange.now(), self._body_resumed_at())
        self._advancing = True
        self._handle(self._parser.receive(memoryview(buffer)[:nbytes]))
        self._advancing = False
        self._advance()
        if self._exchange is not None and self._parser.held_bytes > PIPELINE_MAX_BYTES:
            self._transport.pause_reading(Pause.PIPELINED, True)

    def write_blocked(self, blocked: bool) -> None:
        if self._exchange is not None:
            self._exchange.write_blocked(blocked)
        elif not blocked:
            self._advance()

    def connection_lost(self, reason: str) -> None:
        self._end_exchange(reason)
        self._deadline.cancel()
        if self._state is not HTTPState.LOST:
            self._state = self._state.to(HTTPState.LOST)
        self._services.lost(self)

    # What its acceptor may ask (the Channel port)

    @property
    def peers(self) -> tuple[object, object]:
        return self._transport.peer, self._transport.peer

    @property
    def held_bytes(self) -> int:
        body_bytes = 0 if self._exchange is None else self._exchange.held_bytes
        return self._transport.queued_bytes + self._parser.held_bytes + body_bytes

    def refuse_keep_alive(self) -> None:
        """Graceful stop: the running exchange, or the next one, is the last."""
        self._last = True
        if self._exchange is not None:
            self._exchange.refuse_keep_alive()

    def part(self) -> bool:
        """Others have clearly less to do: an idle connection ends with its next answer (RFC 9112 9.6).

        False: something runs; or it has come for a session here, and would only come again.
        """
        if self.handed or self._state is not _IDLE:
            return False
        self._last = True
        return True

    def close_when_idle(self) -> None:
        """Graceful stop: end now if nothing runs; a running exchange is the last one anyway."""
        if self._state in (_IDLE, HTTPState.HEAD):
            self.abort("server stopped")  # nothing was asked, so nothing can be lost by not lingering

    def abort(self, reason: str) -> None:
        self._transport.close(reason)

    # Requests

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            exchange = self._exchange
            if isinstance(event, bytes):
                if exchange is not None:
                    self._handler.body_received(exchange, event)
            elif event is END:
                if exchange is not None:
                    exchange.body_complete = True
                    self._handler.body_ended(exchange)
            elif isinstance(event, BadRequest):
                self._refuse(event)
                return
            else:
                self._begin(event)
                if self._parser.state is ParserState.STOPPED and self._state in OPEN_STATES:
                    self._handle(self._parser.go_on(event))  # nobody has taken the connection

    def _begin(self, request: Request) -> None:
        self._state = self._state.to(_BUSY)
        self._body_time = None
        request.peer, request.local = self._transport.peer, self._transport.local
        request.handed = self.handed and self._parser.served_count == 1
        self._handler = self._services.route(request)
        exchange = self._exchange = Exchange(
            request, self._services.exchange, self._transport, self._on_exchange_done, self._upgrade
        )
        if self._last or not self._services.settings.keep_alive_timeout_seconds:
            exchange.refuse_keep_alive()
        self._handler.request_received(exchange)

    def _on_exchange_done(self, keep_alive: bool) -> None:
        """The running exchange has written its last byte."""
        self._exchange = None
        if self._state is not _BUSY:
            return
        if not keep_alive:
            self._close()
            return
        if self._parser.state is not _COMPLETE:
            self._transport.pause_reading(Pause.BODY, False)  # the rest of it is dropped
        self._advance()

    def _advance(self) -> None:
        """Go on to what is next: a pipelined request, or waiting for one.

        Never within the handling of events: what is left of them belongs to the request before.
        """
        if self._advancing:
            return
        self._advancing = True
        parser = self._parser
        while (
            self._exchange is None
            and self._state is _BUSY
            and parser.state is _COMPLETE
            and not self._transport.blocked  # a client that only asks and never reads
        ):
            self._state = self._state.to(_IDLE)
            events = parser.next_request()
            if events:
                self._handle(events)
            self._transport.pause_reading(_NEXT, False)
        self._advancing = False
        self._watch()

    def _watch(self) -> None:
        """Set the deadline that fits where we stand."""
        settings = self._services.settings
        if self._state is _IDLE:
            if self._parser.head_begun:
                self._state = self._state.to(HTTPState.HEAD)
                self._deadline.set(settings.header_timeout_seconds)
            elif self._parser.served_count:
                self._deadline.set(settings.keep_alive_timeout_seconds)
        elif self._state is _BUSY:
            if self._parser.state is _COMPLETE:
                self._body_time = None
                self._deadline.clear()
            else:
                self._deadline.set(self._body_left_seconds())

    def _body_left_seconds(self) -> float:
        """How long the rest of the body may still keep us waiting."""
        now = self._services.exchange.now()
        if self._body_time is None:
            settings = self._services.settings
            self._body_time = BodyTime(settings.body_timeout_seconds, settings.body_rate_min_bytes, now)
        return self._body_time.left_seconds(now, self._body_resumed_at())

    def _body_resumed_at(self) -> float:
        return 0.0 if self._exchange is None else self._exchange.body_resumed_at

    def _on_deadline(self) -> None:
        exchange = self._exchange
        if self._state is HTTPState.HEAD:
            self._refuse(BadRequest(408, "the request head did not arrive in time"))
        elif exchange is None:  # idle, or only a body that nobody reads is awaited
            self._close()
        elif exchange.body_paused:
            self._deadline.set(self._services.settings.body_timeout_seconds)
        elif (left_seconds := self._body_left_seconds()) > MOMENT_SECONDS:  # it was paused in between
            self._deadline.set(left_seconds)
        else:
            self._refuse(BadRequest(408, "the request body did not arrive in time"))

    def _refuse(self, error: BadRequest) -> None:
        """Answer the peer's fault and close; nothing after it is looked at (reliability: smuggling)."""
        exchange = self._exchange
        if exchange is None:
            nobody = Request("", "", "", "", (1, 1), ())
            exchange = Exchange(
                nobody, self._services.exchange, self._transport, self._on_exchange_done, self._upgrade
            )
        else:
            self._handler.exchange_lost(exchange, error.message)
            self._exchange = None
        if exchange.started:
            self._state = self._state.to(HTTPState.CLOSING)
            exchange.abort(error.message)
            return
        exchange.refuse(error.status, error.message)
        self._close()

    def _on_end_of_stream(self) -> None:
        """The peer has ended its side: its message never ends, an answer may still leave."""
        exchange = self._exchange
        if exchange is None or not exchange.body_complete:
            self._end_exchange("the client left")
            self._close()
            return
        self._transport.pause_reading(Pause.ENDED, True)
        if not self._parser.held_bytes:  # what was pipelined is still answered; the end is then met again
            exchange.refuse_keep_alive()
        self._handler.exchange_lost(exchange, "end of stream")

    def _end_exchange(self, reason: str) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.drop()
            self._handler.exchange_lost(exchange, reason)

    def _close(self) -> None:
        self._deadline.cancel()
        if self._state in OPEN_STATES:
            self._state = self._state.to(HTTPState.CLOSING)
            self._transport.close()

    def _upgrade(self, make: MakeHandler) -> None:
        """Give the connection to another protocol, with the bytes that came behind the head."""
        self._exchange = None
        self._deadline.cancel()
        self._state = self._state.to(HTTPState.UPGRADED)
        leftover = self._parser.take_leftover()
        handler = make(self._transport, leftover)
        self._services.lost(self)
        if handler is None:
            return
        self._transport.set_handler(handler)
        self._transport.pause_reading(_NEXT, False)
        if leftover:
            handler.data_received(bytearray(leftover), len(leftover))
