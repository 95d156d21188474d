"""PEP 3333: a request becomes an environ, an application's answer becomes an exchange's pieces.

Must not know: selectors, frames, sessions; workers run applications here and never touch a connection.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import IO, Final

from python_server.connection.exchange import Exchange
from python_server.http1.response import Headers, check_headers, check_status
from python_server.net.bounded_queue import BoundedQueue, StreamBroken
from python_server.net.byte_handler import Buffer
from python_server.net.sendfile import FileSlice
from python_server.net.threads import Executor, ServerStopped
from python_server.wsgi.environ import (
    PIECE_BYTES,
    Application,
    BodyReader,
    ExcInfo,
    FileWrapper,
    ServerFacts,
    Write,
    body_pieces,
    build_environ,
    file_pieces,
)
from python_server.wsgi.loop_answer import LoopAnswer, LoopPiece
from python_server.wsgi.upload_slots import UploadSlots
from python_server.wsgi.websocket import WebSocketTakeover

# An answer that a worker produces faster than the client takes it waits in this window.
RESPONSE_WINDOW_BYTES: Final = 262_144
# So much of a body, or all of it, has come before a worker is taken: a client that stalls holds none. Who
# needs one sooner (100-continue is sent on the application's first read) or has more gets one of few places.
BODY_AHEAD_BYTES: Final = 65_536
# A wait for a place worth a line in the log.
LONG_WAIT_SECONDS: Final = 1.0
# A whole body above it goes out in pieces: it must not fill the connection's queue to its hard limit.
LARGE_BODY_BYTES: Final = 1_048_576
# The next piece of an answer, b"" at its end, None when there is none yet.
TakePiece = Callable[[], FileSlice | Buffer | None]


@dataclass(frozen=True, slots=True)
class WSGIServices:
    """What all requests to one application share.

    Attributes:
        application: any PEP 3333 callable.
        executor: runs requests; `waiting_count` of them wait at most up to `queue_count`, then 503.
        post: the mailbox's.
        report: called with (what, exception) for an application's unhandled exception.
        window_bytes: request body held for an application that does not read it yet.
        takeover: for a request that asks for a WebSocket, what its application may turn it into;
            such requests run on `takeover_executor`.
        places_count: workers that may be held, at one time, by requests whose body is still on its way.
        on_waited: called with the seconds that such a request has waited for one of these. now: a clock.
    """

    application: Application
    executor: Executor
    post: Callable[..., None]
    facts: ServerFacts
    report: Callable[[str, BaseException], None]
    window_bytes: int
    waiting_count: Callable[[], int]
    queue_count: int
    takeover: Callable[[Exchange], WebSocketTakeover]
    takeover_executor: Executor
    places_count: int
    on_waited: Callable[[float], None]
    now: Callable[[], float]


class WSGIHandler:
    """Answers requests through a WSGI application, one worker per running request."""

    def __init__(self, services: WSGIServices) -> None:
        self._services = services
        self._places: UploadSlots[_Run] = UploadSlots(services.places_count, self._start_placed)

    # Loop's thread: the RequestHandler port

    def request_received(self, exchange: Exchange) -> None:
        upgrading = exchange.request.upgrade == "websocket"
        takeover = self._services.takeover(exchange) if upgrading else None
        run = _Run(exchange, self._services, self._run_over, takeover)
        exchange.context = run
        if run.body is None:
            self._submit(exchange, run)
        elif exchange.request.expect_continue:
            self._ask_for_place(exchange, run)

    def _submit(self, exchange: Exchange, run: _Run) -> None:
        """Its body is complete, or it has none: its worker never waits for the client's bytes."""
        run.state = _RUNNING
        if run.takeover is not None:
            self._services.takeover_executor.submit(run)
        elif not self._refused(exchange):
            self._services.executor.submit(run)

    def _ask_for_place(self, exchange: Exchange, run: _Run) -> None:
        """A worker would wait for its client."""
        if run.takeover is not None:
            self._submit(exchange, run)
        elif not self._refused(exchange):
            run.state = RunState.IN_LINE
            run.asked_at = self._services.now()
            self._places.ask(run)

    def _start_placed(self, run: _Run) -> None:
        waited_seconds = self._services.now() - run.asked_at
        if waited_seconds >= LONG_WAIT_SECONDS:
            self._services.on_waited(waited_seconds)
        run.state = RunState.PLACED
        self._services.executor.submit(run)

    def _refused(self, exchange: Exchange) -> bool:
        if self._services.waiting_count() + self._places.waiting_count < self._services.queue_count:
            return False
        exchange.context = None
        exchange.refuse(503, "The server is busy.", [("Retry-After", "1")])
        return True

    def _run_over(self, run: _Run) -> None:
        """Its worker is free, or need not wait for its client any more."""
        if run.state is RunState.PLACED:
            run.state = _RUNNING
            self._places.leave()

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        run: _Run | None = exchange.context
        if run is None or run.body is None:
            return
        if run.body.offer(piece):
            exchange.pause_body(True)
            if (
                run.body.held_bytes < self._services.window_bytes // 2
            ):  # read empty before it could see the pause
                exchange.pause_body(False)
        if run.state is RunState.COLLECTING and run.body.held_bytes >= BODY_AHEAD_BYTES:
            self._ask_for_place(exchange, run)

    def body_ended(self, exchange: Exchange) -> None:
        run: _Run | None = exchange.context
        if run is None or run.body is None:
            return
        run.body.end()
        if run.state is RunState.COLLECTING or self._places.give_up(run):
            self._submit(exchange, run)
        else:
            self._run_over(run)

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        run: _Run | None = exchange.context
        # A half-closed client may read an answer that ends, and none that goes on for ever.
        if run is not None and (reason != "end of stream" or run.goes_on is not None):
            exchange.context = None
            self._places.give_up(run)
            run.break_off(reason)


class RunState(Enum):
    """How far the loop is with a run."""

    COLLECTING = auto()  # its body comes; no worker has been asked for
    IN_LINE = auto()  # waits for one of the places of those whose body is still on its way
    PLACED = auto()  # has such a place
    RUNNING = auto()  # has its worker, or waits for one like everybody


_COLLECTING: Final = RunState.COLLECTING
_RUNNING: Final = RunState.RUNNING


@dataclass(slots=True, eq=False, repr=False)
class _Run:
    """One request on its worker. Methods say which thread they belong to."""

    _exchange: Exchange
    _services: WSGIServices
    _over: Callable[[_Run], None]  # loop's thread
    takeover: WebSocketTakeover | None
    body: BoundedQueue[bytes] | None = field(default=None, init=False)
    state: RunState = field(default=_COLLECTING, init=False)  # the loop's own note
    asked_at: float = field(default=0.0, init=False)
    _status: str | None = field(default=None, init=False)
    _headers: Headers = field(init=False)
    _declared: int | None = field(default=None, init=False)  # the Content-Length among them
    _head_posted: bool = field(default=False, init=False)  # the worker's own note: nothing changes it now
    _broken: str | None = field(default=None, init=False)
    _response: BoundedQueue[bytes] | None = field(
        default=None, init=False
    )  # of an answer that comes in pieces
    _take: TakePiece = field(init=False)  # where the loop gets the next piece from
    goes_on: LoopAnswer | None = field(default=None, init=False)  # who writes, once no worker does

    def __post_init__(self) -> None:
        if self._exchange.request.has_body:
            self.body = BoundedQueue(self._services.window_bytes)

    # Worker

    def __call__(self) -> None:
        with suppress(ServerStopped):  # nobody is left who could be answered
            try:
                self._answer()
            finally:
                if self.body is not None:
                    self._services.post(self._over, self)

    def _answer(self) -> None:
        exchange, services = self._exchange, self._services
        environ = build_environ(exchange.request, services.facts, self._input())
        takeover = self.takeover
        if takeover is not None:
            environ.update(takeover.entries(environ))
        result: Iterable[bytes] = ()
        try:
            try:
                result = services.application(environ, self._start_response)
                if takeover is None or not takeover.taken:
                    self._send(result)
            finally:
                if takeover is not None:
                    takeover.finish(sys.exception())
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except (StreamBroken, ServerStopped):
            pass  # the client left, or we do; it will not hear that its answer failed
        except BaseException as error:  # SystemExit too: it ends the request, not the server
            if takeover is not None and takeover.forgives(error):
                return
            services.report(f"{exchange.request.method} {exchange.request.target}", error)
            if takeover is not None and takeover.taken:
                return
            if self._head_posted:
                services.post(exchange.abort, "the application failed in the middle of its answer")
            else:
                services.post(exchange.refuse, 500, "Internal Server Error")

    def _input(self) -> IO[bytes]:
        if self.body is None:
            return io.BytesIO()
        before_read = None
        if self._exchange.request.expect_continue:
            before_read = partial(self._services.post, self._exchange.send_continue)
        return io.BufferedReader(BodyReader(self.body, before_read, self._after_read), 65_536)

    def _after_read(self) -> None:
        low_bytes = self._services.window_bytes // 2
        if self._exchange.body_paused and self.body is not None and self.body.held_bytes < low_bytes:
            self._services.post(self._resume_body)

    def _start_response(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Write:
        if exc_info is not None:
            try:
                if self._head_posted:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._status is not None:
            raise RuntimeError("start_response was called twice without exc_info (PEP 3333) [wsgi-rules]")
        check_status(status)
        if status[0] == "1" and self.takeover is None:
            raise ValueError(f"an interim status cannot be the answer (RFC 9110 15.2): {status!r}")
        headers = list(headers)
        declared = check_headers(headers)
        if declared and status.startswith("204"):
            raise ValueError("204 goes without a body (RFC 9110 15.3.5), yet Content-Length names one")
        self._status, self._headers, self._declared = status, headers, declared
        return self._write

    def _write(self, data: bytes) -> None:
        """The imperative `write` of PEP 3333; also every streamed piece."""
        if type(data) is not bytes:
            raise TypeError(f"the application gave {type(data).__name__} where bytes are due [wsgi-rules]")
        if not self._head_posted:
            if self._status is None:
                raise RuntimeError("the application gave data before it called start_response [wsgi-rules]")
            self._head_posted = True
            self._response = BoundedQueue(RESPONSE_WINDOW_BYTES)
            if self._broken is not None:  # looked at after the queue is there: `break_off` looks in turn
                self._response.break_off(self._broken)
            first, data = data[:PIECE_BYTES], data[PIECE_BYTES:]
            self._post_begin(first, partial(_next_of, self._response))
        if data and self._response is not None:
            for start in range(0, len(data), PIECE_BYTES):
                if self._response.put(data[start : start + PIECE_BYTES]):
                    self._services.post(self._pump)

    def _send(self, result: Iterable[bytes]) -> None:
        if type(result) in (list, tuple) and not self._head_posted:
            self._send_whole(b"".join(result))
            return
        if type(result) is FileWrapper and not self._head_posted and self._status is not None:
            extent = result.extent()
            if extent is not None:
                source, offset, count = extent
                count = count if self._declared is None else min(count, self._declared)
                self._send_pieces(file_pieces(source, offset, count), count)
                return
        first: bytes | None = None
        for piece in result:
            if type(piece) is LoopPiece and first is None and not self._head_posted and self._status:
                self._head_posted = True
                self._services.post(self._go_on, piece, self._status)
                return
            if first is None and not self._head_posted:
                if not piece:
                    continue
                if self._declared == len(piece):
                    first = piece  # the usual answer of a framework: all of it in the first piece
                    continue
            elif first is not None:
                self._write(first)
                first = None
            self._write(piece)
        if self._head_posted:
            self._end_stream()
        else:
            self._send_whole(first or b"")

    def _end_stream(self) -> None:
        if self._response is not None:
            self._response.end()
            self._services.post(self._pump)

    def _post_begin(self, first: bytes, take: TakePiece) -> None:
        self._services.post(self._begin, self._status, self._headers, first, take, nbytes=len(first))

    def _send_pieces(self, pieces: Iterator[FileSlice | memoryview], count: int) -> None:
        """An answer of `count` bytes that the loop sends by itself."""
        self._head_posted = True
        if self._declared is None:
            self._headers.append(("Content-Length", str(count)))
        self._post_begin(b"", partial(next, pieces, b""))

    def _send_whole(self, body: bytes) -> None:
        if self._status is None:
            raise RuntimeError("the application returned without calling start_response [wsgi-rules]")
        if not isinstance(body, bytes):
            raise TypeError(f"the application gave {type(body).__name__} where bytes are due [wsgi-rules]")
        declared = self._declared
        if declared is not None and declared != len(body) and self._exchange.request.method != "HEAD":
            self._write(body)
            self._end_stream()
            return
        if not body and declared is None and self._exchange.request.method == "HEAD":
            self._head_posted = True
            self._post_begin(b"", bytes)  # nobody says how long a GET's would be (RFC 9110 8.6)
            return
        if len(body) > LARGE_BODY_BYTES:
            self._send_pieces(body_pieces(body), len(body))
            return
        self._head_posted = True
        self._services.post(self._exchange.respond, self._status, self._headers, body, nbytes=len(body))

    # Loop's thread

    def break_off(self, reason: str) -> None:
        self._broken = reason
        if self.body is not None:
            self.body.break_off(reason)
        if self._response is not None:
            self._response.break_off(reason)
        if self.goes_on is not None:
            self.goes_on.lost()
            self._exchange.finish()

    def _go_on(self, piece: LoopPiece, status: str) -> None:
        self.goes_on = piece.begin(self._exchange, status, self._headers, self._services.executor)

    def _resume_body(self) -> None:
        if self._exchange.body_paused and self._exchange.open:
            self._exchange.pause_body(False)

    def _begin(self, status: str, headers: Headers, first: bytes, take: TakePiece) -> None:
        if not self._exchange.open:  # it would keep this run, with its file, until the collector comes
            return
        self._take = take
        self._exchange.on_writable = self._pump
        self._exchange.start(status, headers, first)
        self._pump()

    def _pump(self) -> None:
        exchange = self._exchange
        while exchange.open and not exchange.blocked:
            piece = self._take()
            if piece is None:
                return
            if not piece:
                exchange.finish()
            elif isinstance(piece, FileSlice):
                exchange.write_file(piece)
            else:
                exchange.write(piece)


def _next_of(response: BoundedQueue[bytes]) -> bytes | None:
    """No method: a run that held one of its own would wait for the collector, with its request."""
    piece = response.take()
    return b"" if piece is None and response.ended else piece
