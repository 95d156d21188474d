"""PEP 3333: a request becomes an environ, an application's answer becomes an exchange's pieces.

Must not know: selectors, frames, sessions; workers run applications here and never touch a connection.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import IO, Final, Protocol

from python_server.connection.exchange import Exchange
from python_server.http1.response import Headers, check_headers, check_status
from python_server.net.bounded_queue import BoundedQueue, StreamBroken
from python_server.net.sendfile import FileSlice, FileSource
from python_server.net.threads import Executor
from python_server.wsgi.environ import (
    PIECE_BYTES,
    Application,
    BodyReader,
    Environ,
    ExcInfo,
    FileWrapper,
    ServerFacts,
    Write,
    body_pieces,
    build_environ,
    file_pieces,
)
from python_server.wsgi.upload_slots import UploadSlots

__all__ = ["Application", "Environ", "ServerFacts", "Takeover", "WSGIHandler", "build_environ"]


# An answer that a worker produces faster than the client takes it waits in this window.
RESPONSE_WINDOW_BYTES: Final = 262_144
# So much of a body, or all of it, has come before a worker is taken: a client that stalls holds none. Who
# needs one sooner (100-continue is sent on the application's first read) or has more gets one of few places.
BODY_AHEAD_BYTES: Final = 65_536
# A wait for a place worth a line in the log.
LONG_WAIT_SECONDS: Final = 1.0
# A whole body above it goes out in pieces: it must not fill the connection's queue to its hard limit.
LARGE_BODY_BYTES: Final = 1_048_576


class Takeover(Protocol):
    """What an upgrade request may become: the application may take its connection."""

    @property
    def taken(self) -> bool: ...
    def entries(self, environ: Environ) -> Environ: ...
    def forgives(self, error: BaseException) -> bool: ...
    def finish(self) -> None: ...


class WSGIHandler:
    """Answers requests through a WSGI application, one worker per running request.

    Args:
        application: any PEP 3333 callable.
        executor: runs requests; `waiting_count` of them wait at most up to `queue_count`, then 503.
        post: the mailbox's.
        facts: see `ServerFacts`.
        report: called with (what, exception) for an application's unhandled exception.
        window_bytes: request body held for an application that does not read it yet.
        takeover: for a request that asks for a WebSocket, what its application may turn it into;
            such requests run on `takeover_executor`.
        places_count: workers that may be held, at one time, by requests whose body is still on its way.
        on_waited: called with the seconds that such a request has waited for one of these. now: a clock.
    """

    def __init__(
        self,
        application: Application,
        executor: Executor,
        post: Callable[..., None],
        facts: ServerFacts,
        report: Callable[[str, BaseException], None],
        window_bytes: int,
        waiting_count: Callable[[], int],
        queue_count: int,
        takeover: Callable[[Exchange], Takeover],
        takeover_executor: Executor,
        places_count: int,
        on_waited: Callable[[float], None],
        now: Callable[[], float],
    ) -> None:
        self._executor = executor
        self._window_bytes = window_bytes
        self._services = _RunServices(application, post, facts, report, window_bytes, self._run_over)
        self._places: UploadSlots[_Run] = UploadSlots(places_count, self._start_placed)
        self._on_waited, self._now = on_waited, now
        self._waiting_count = waiting_count
        self._queue_count = queue_count
        self._takeover = takeover
        self._takeover_executor = takeover_executor

    # Loop's thread: the RequestHandler port

    def request_received(self, exchange: Exchange) -> None:
        upgrading = exchange.request.upgrade == "websocket"
        takeover = self._takeover(exchange) if upgrading else None
        run = _Run(exchange, self._services, takeover)
        exchange.context = run
        if run.body is None:
            self._submit(exchange, run)
        elif exchange.request.expect_continue:
            self._ask_for_place(exchange, run)

    def _submit(self, exchange: Exchange, run: _Run) -> None:
        """Its body is complete, or it has none: its worker never waits for the client's bytes."""
        run.state = _RUNNING
        if run.upgrading:
            self._takeover_executor.submit(run)
        elif not self._refused(exchange):
            self._executor.submit(run)

    def _ask_for_place(self, exchange: Exchange, run: _Run) -> None:
        """A worker would wait for its client."""
        if run.upgrading:
            self._submit(exchange, run)
        elif not self._refused(exchange):
            run.state = RunState.IN_LINE
            run.asked_at = self._now()
            self._places.ask(run)

    def _start_placed(self, run: _Run) -> None:
        waited_seconds = self._now() - run.asked_at
        if waited_seconds >= LONG_WAIT_SECONDS:
            self._on_waited(waited_seconds)
        run.state = RunState.PLACED
        self._executor.submit(run)

    def _refused(self, exchange: Exchange) -> bool:
        if self._waiting_count() + self._places.waiting_count < self._queue_count:
            return False
        exchange.context = None
        exchange.refuse_keep_alive()
        exchange.respond(
            503, [("Content-Type", "text/plain"), ("Retry-After", "1")], b"The server is busy.\n"
        )
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
            if run.body.held_bytes < self._window_bytes // 2:  # read empty before it could see the pause
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
        if run is not None and reason != "end of stream":
            exchange.context = None
            self._places.give_up(run)
            run.break_off(reason)


@dataclass(frozen=True, slots=True)
class _RunServices:
    """What all runs share; see `WSGIHandler`."""

    application: Application
    post: Callable[..., None]
    facts: ServerFacts
    report: Callable[[str, BaseException], None]
    window_bytes: int
    over: Callable[[_Run], None]


class RunState(Enum):
    """How far the loop is with a run."""

    COLLECTING = auto()  # its body comes; no worker has been asked for
    IN_LINE = auto()  # waits for one of the places of those whose body is still on its way
    PLACED = auto()  # has such a place
    RUNNING = auto()  # has its worker, or waits for one like everybody


# An enum's member costs ten times a global in CPython 3.11; these two are asked for with every request.
_COLLECTING: Final = RunState.COLLECTING
_RUNNING: Final = RunState.RUNNING


class _Run:
    """One request on its worker. Methods say which thread they belong to."""

    __slots__ = (
        "_broken",
        "_declared",
        "_exchange",
        "_headers",
        "_pieces",
        "_post",
        "_response",
        "_services",
        "_status",
        "_streaming",
        "_takeover",
        "asked_at",
        "body",
        "state",
    )

    def __init__(self, exchange: Exchange, services: _RunServices, takeover: Takeover | None = None) -> None:
        self._exchange = exchange
        self._services = services
        self._post = services.post
        self._takeover = takeover
        self._status: str | None = None
        self._headers: Headers = []
        self._declared: int | None = None  # the Content-Length among them
        self._streaming = False
        self.state = _COLLECTING  # the loop's own note
        self.asked_at = 0.0
        self._broken: str | None = None
        self._response: BoundedQueue[bytes] | None = None  # made by the worker for an answer in pieces
        self._pieces: Iterator[FileSlice | memoryview] = iter(())  # what the loop sends by itself
        self.body: BoundedQueue[bytes] | None = None
        if exchange.request.has_body:
            self.body = BoundedQueue(services.window_bytes)

    @property
    def upgrading(self) -> bool:
        return self._takeover is not None

    # Worker

    def __call__(self) -> None:
        if self.body is None:
            self._answer()
            return
        try:
            self._answer()
        finally:
            self._post(self._services.over, self)

    def _answer(self) -> None:
        exchange, services = self._exchange, self._services
        environ = build_environ(exchange.request, services.facts, self._input())
        takeover = self._takeover
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
                    takeover.finish()
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except StreamBroken:
            pass  # the client left; it will not hear that its answer failed
        except BaseException as error:  # SystemExit too: it ends the request, not the server
            if takeover is not None and takeover.forgives(error):
                return
            services.report(f"{exchange.request.method} {exchange.request.target}", error)
            if takeover is not None and takeover.taken:
                return
            if self._streaming:
                self._post(exchange.abort, "the application failed in the middle of its answer")
            else:
                self._post(exchange.refuse_keep_alive)
                self._post(
                    exchange.respond,
                    500,
                    [("Content-Type", "text/plain; charset=utf-8")],
                    b"Internal Server Error\n",
                )

    def _input(self) -> IO[bytes]:
        if self.body is None:
            return io.BytesIO()
        return io.BufferedReader(BodyReader(self.body, self._before_read, self._after_read), 65_536)

    def _before_read(self) -> None:
        if self._exchange.request.expect_continue:
            self._post(self._exchange.send_continue)

    def _after_read(self) -> None:
        body = self.body
        if body is None or not self._exchange.body_paused:
            return
        if body.held_bytes < self._services.window_bytes // 2:
            self._post(self._resume_body)

    def _start_response(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Write:
        if exc_info is not None:
            try:
                if self._streaming:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._status is not None:
            raise RuntimeError("start_response was called twice without exc_info (PEP 3333)")
        check_status(status)
        if status[0] == "1" and self._takeover is None:
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
            raise TypeError(f"the application gave {type(data).__name__} where bytes are due")
        if not self._streaming:
            if self._status is None:
                raise RuntimeError("the application gave data before it called start_response")
            self._streaming = True
            self._response = BoundedQueue(RESPONSE_WINDOW_BYTES)
            if self._broken is not None:  # looked at after the queue is there: `break_off` looks in turn
                self._response.break_off(self._broken)
            first, data = data[:PIECE_BYTES], data[PIECE_BYTES:]
            self._post(self._begin_stream, self._status, self._headers, first, nbytes=len(first))
        if data and self._response is not None:
            for start in range(0, len(data), PIECE_BYTES):
                if self._response.put(data[start : start + PIECE_BYTES]):
                    self._post(self._pump)

    def _send(self, result: Iterable[bytes]) -> None:
        if type(result) in (list, tuple) and not self._streaming:
            self._send_whole(b"".join(result))
            return
        if type(result) is FileWrapper and not self._streaming and self._status is not None:
            extent = result.extent()
            if extent is not None:
                self._send_file(*extent)
                return
        first: bytes | None = None
        for piece in result:
            if first is None and not self._streaming:
                if not piece:
                    continue
                if self._declared == len(piece):
                    first = piece  # the usual answer of a framework: all of it in the first piece
                    continue
            elif first is not None:
                self._write(first)
                first = None
            self._write(piece)
        if self._streaming:
            self._end_stream()
        else:
            self._send_whole(first or b"")

    def _end_stream(self) -> None:
        if self._response is not None:
            self._response.end()
            self._post(self._pump)

    def _send_file(self, source: FileSource, offset: int, count: int) -> None:
        declared = self._declared
        if declared is None:
            self._headers.append(("Content-Length", str(count)))
        else:
            count = min(count, declared)
        self._streaming = True
        self._post(self._begin_pieces, self._status, self._headers, file_pieces(source, offset, count))

    def _send_whole(self, body: bytes) -> None:
        if self._status is None:
            raise RuntimeError("the application returned without calling start_response")
        if not isinstance(body, bytes):
            raise TypeError(f"the application gave {type(body).__name__} where bytes are due")
        declared = self._declared
        if declared is not None and declared != len(body) and self._exchange.request.method != "HEAD":
            self._write(body)
            self._end_stream()
            return
        self._streaming = True
        if len(body) > LARGE_BODY_BYTES:
            if declared is None:
                self._headers.append(("Content-Length", str(len(body))))
            self._post(self._begin_pieces, self._status, self._headers, body_pieces(body))
            return
        self._post(self._exchange.respond, self._status, self._headers, body, nbytes=len(body))

    # Loop's thread

    def break_off(self, reason: str) -> None:
        self._broken = reason
        self._pieces = iter(())
        if self.body is not None:
            self.body.break_off(reason)
        if self._response is not None:
            self._response.break_off(reason)

    def _resume_body(self) -> None:
        if self._exchange.body_paused and self._exchange.open:
            self._exchange.pause_body(False)

    def _begin_stream(self, status: str, headers: Headers, first: bytes) -> None:
        self._exchange.on_writable = self._pump
        self._exchange.start(status, headers, first)

    def _begin_pieces(self, status: str, headers: Headers, pieces: Iterator[FileSlice | memoryview]) -> None:
        self._pieces = pieces
        self._exchange.on_writable = self._pump_pieces
        self._exchange.start(status, headers)
        self._pump_pieces()

    def _pump_pieces(self) -> None:
        exchange = self._exchange
        while exchange.open and not exchange.blocked:
            piece = next(self._pieces, None)
            if piece is None:
                exchange.finish()
            elif isinstance(piece, FileSlice):
                exchange.write_file(piece)
            else:
                exchange.write(piece)

    def _pump(self) -> None:
        exchange = self._exchange
        while exchange.open and not exchange.blocked and self._response is not None:
            if (piece := self._response.take()) is None:
                if self._response.ended:
                    exchange.finish()
                return
            exchange.write(piece)
