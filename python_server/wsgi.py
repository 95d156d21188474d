"""PEP 3333: a request becomes an environ, an application's answer becomes an exchange's pieces.

Must not know: selectors, frames, sessions; workers run applications here and never touch a connection.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from python_server.exchange import Exchange
from python_server.http1 import Request
from python_server.http1_response import Headers, check_headers, check_status
from python_server.net.byte_queue import ByteQueue, StreamBroken
from python_server.net.threads import Executor

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

# An answer that a worker produces faster than the client takes it waits in this window.
RESPONSE_WINDOW_BYTES: Final = 262_144
# Distinct header names kept as environ keys; an endless variety of names must not grow the table.
NAMES_MAX_COUNT: Final = 1024
_NAMES: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What an environ says of the server."""

    server_name: str | None = None
    software: str = "python_server"
    multiprocess: bool = False


def environ_key(name: str) -> str:
    """ "HTTP_X_A" for "x-a"; "" for a name with an underscore, which would collide with it."""
    key = _NAMES.get(name)
    if key is None:
        key = "" if "_" in name else "HTTP_" + name.upper().replace("-", "_")
        if key in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
            key = key[5:]
        if len(_NAMES) < NAMES_MAX_COUNT:
            _NAMES[name] = key
    return key


def build_environ(request: Request, facts: ServerFacts, body: Any) -> Environ:
    """The environ of PEP 3333 for one request; `body` is the file-like `wsgi.input`."""
    peer, local = request.peer, request.local
    host, port = (str(local[0]), str(local[1])) if isinstance(local, tuple) else ("localhost", "80")
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "REQUEST_URI": request.target,
        "RAW_URI": request.target,
        "SERVER_NAME": facts.server_name or host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{request.version[0]}.{request.version[1]}",
        "SERVER_SOFTWARE": facts.software,
        "REMOTE_ADDR": str(peer[0]) if isinstance(peer, tuple) else "",
        "REMOTE_PORT": str(peer[1]) if isinstance(peer, tuple) else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": facts.multiprocess,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    for name, value in request.fields.items():
        key = environ_key(name)
        if key:
            environ[key] = value
    if request.authority:
        environ["HTTP_HOST"] = request.authority
    if request.body_length is None:  # already unchunked: the length is not known, the end is
        environ.pop("HTTP_TRANSFER_ENCODING", None)
    return environ


class BodyReader(io.RawIOBase):
    """A worker's end of a request body; `io.BufferedReader` around it is `wsgi.input`."""

    def __init__(
        self, queue: ByteQueue, before_read: Callable[[], None], after_read: Callable[[], None]
    ) -> None:
        self._queue = queue
        self._before_read: Callable[[], None] | None = before_read
        self._after_read = after_read
        self._chunk = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._chunk:
            if self._before_read is not None:
                before_read, self._before_read = self._before_read, None
                before_read()
            self._chunk = memoryview(self._queue.get())
            self._after_read()
        size = min(len(buffer), len(self._chunk))
        buffer[:size] = self._chunk[:size]
        self._chunk = self._chunk[size:]
        return size


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
    ) -> None:
        self._application = application
        self._executor = executor
        self._post = post
        self._facts = facts
        self._report = report
        self._window_bytes = window_bytes
        self._waiting_count = waiting_count
        self._queue_count = queue_count
        self._takeover = takeover
        self._takeover_executor = takeover_executor

    # Loop's thread: the RequestHandler port

    def request_received(self, exchange: Exchange) -> None:
        if self._waiting_count() >= self._queue_count:
            exchange.refuse_keep_alive()
            exchange.respond(
                503, [("Content-Type", "text/plain"), ("Retry-After", "1")], b"The server is busy.\n"
            )
            return
        upgrading = exchange.request.upgrade == "websocket"
        takeover = self._takeover(exchange) if upgrading else None
        run = _Run(
            self._application, exchange, self._post, self._facts, self._report, self._window_bytes, takeover
        )
        exchange.context = run
        (self._takeover_executor if upgrading else self._executor).submit(run)

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        run: _Run | None = exchange.context
        if run is not None and run.body.offer(piece):
            exchange.pause_body(True)

    def body_ended(self, exchange: Exchange) -> None:
        if exchange.context is not None:
            exchange.context.body.end()

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        if exchange.context is not None and reason != "end of stream":
            exchange.context.break_off(reason)


class _Run:
    """One request on its worker. Methods say which thread they belong to."""

    def __init__(
        self,
        application: Application,
        exchange: Exchange,
        post: Callable[..., None],
        facts: ServerFacts,
        report: Callable[[str, BaseException], None],
        window_bytes: int,
        takeover: Takeover | None = None,
    ) -> None:
        self._application = application
        self._exchange = exchange
        self._takeover = takeover
        self._post = post
        self._facts = facts
        self._report = report
        self._window_bytes = window_bytes
        self._status: str | None = None
        self._headers: Headers = []
        self._streaming = False
        self.body = ByteQueue(window_bytes)
        self._response = ByteQueue(RESPONSE_WINDOW_BYTES)

    # Worker

    def __call__(self) -> None:
        exchange = self._exchange
        environ = build_environ(exchange.request, self._facts, self._input())
        takeover = self._takeover
        if takeover is not None:
            environ.update(takeover.entries(environ))
        result: Iterable[bytes] = ()
        try:
            try:
                result = self._application(environ, self._start_response)
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
        except Exception as error:
            if takeover is not None and takeover.forgives(error):
                return
            self._report(f"{exchange.request.method} {exchange.request.target}", error)
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

    def _input(self) -> Any:
        if not self._exchange.request.has_body:
            return io.BytesIO()
        return io.BufferedReader(BodyReader(self.body, self._before_read, self._after_read))

    def _before_read(self) -> None:
        if self._exchange.request.expect_continue:
            self._post(self._exchange.send_continue)

    def _after_read(self) -> None:
        if self._exchange.body_paused and self.body.held_bytes < self._window_bytes // 2:
            self._post(self._resume_body)

    def _start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self._streaming:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._status is not None:
            raise RuntimeError("start_response was called twice without exc_info (PEP 3333)")
        check_status(status)
        headers = list(headers)
        check_headers(headers)
        self._status, self._headers = status, headers
        return self._write

    def _write(self, data: bytes) -> None:
        """The imperative `write` of PEP 3333; also every streamed piece."""
        if type(data) is not bytes:
            raise TypeError(f"the application gave {type(data).__name__} where bytes are due")
        if not self._streaming:
            if self._status is None:
                raise RuntimeError("the application gave data before it called start_response")
            self._streaming = True
            self._post(self._begin_stream, self._status, self._headers, data, nbytes=len(data))
        elif data and self._response.put(data):
            self._post(self._pump)

    def _send(self, result: Iterable[bytes]) -> None:
        if type(result) in (list, tuple) and not self._streaming:
            self._send_whole(b"".join(result))
            return
        first: bytes | None = None
        for piece in result:
            if first is None and not self._streaming:
                if not piece:
                    continue
                if self._declared_length() == len(piece):
                    first = piece  # the usual answer of a framework: all of it in the first piece
                    continue
            elif first is not None:
                self._write(first)
                first = None
            self._write(piece)
        if self._streaming:
            self._response.end()
            self._post(self._pump)
        else:
            self._send_whole(first or b"")

    def _send_whole(self, body: bytes) -> None:
        if self._status is None:
            raise RuntimeError("the application returned without calling start_response")
        if not isinstance(body, bytes):
            raise TypeError(f"the application gave {type(body).__name__} where bytes are due")
        declared = self._declared_length()
        if declared is not None and declared != len(body) and self._exchange.request.method != "HEAD":
            self._write(body)
            self._response.end()
            self._post(self._pump)
            return
        self._streaming = True
        self._post(self._exchange.respond, self._status, self._headers, body, nbytes=len(body))

    def _declared_length(self) -> int | None:
        for name, value in self._headers:
            if name.lower() == "content-length":
                return int(value)
        return None

    # Loop's thread

    def break_off(self, reason: str) -> None:
        self.body.break_off(reason)
        self._response.break_off(reason)

    def _resume_body(self) -> None:
        if self._exchange.body_paused and self._exchange.open:
            self._exchange.pause_body(False)

    def _begin_stream(self, status: str, headers: Headers, first: bytes) -> None:
        self._exchange.on_writable = self._pump
        self._exchange.start(status, headers, first)

    def _pump(self) -> None:
        exchange = self._exchange
        while exchange.open and not exchange.blocked:
            piece = self._response.take()
            if piece is None:
                return
            if not piece:
                exchange.finish()
                return
            exchange.write(piece)
