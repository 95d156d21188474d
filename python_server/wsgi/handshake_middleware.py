"""A handshake request is shown to the application's middleware before a session opens for it.

Must not know: Engine.IO, which requests are handshakes, Flask, what the middleware looks at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Final

from python_server.connection.arrival import KEY, Arrival
from python_server.connection.exchange import Exchange
from python_server.http1.parser import Request
from python_server.http1.response import Headers
from python_server.net.threads import Door, ServerStopped
from python_server.wsgi.environ import Application, Environ, ExcInfo, ServerFacts, Write, build_environ

# The exchange writes these itself.
FRAMING: Final = frozenset({"connection", "content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class MiddlewareRefusal:
    """The answer of a middleware that lets nobody through."""

    status: str
    headers: Headers
    body: bytes


# What middleware says of a handshake. Any worker.
Admit = Callable[[Request], MiddlewareRefusal | None]


def admission(application: Application, facts: ServerFacts, holder: object) -> Admit:
    """What shows a handshake to all around `holder`; the request's `context` is its environ as it arrived."""

    def admit(request: Request) -> MiddlewareRefusal | None:
        environ = build_environ(request, facts, BytesIO())
        request.context, refusal = through_middleware(application, environ, holder)
        return refusal

    return admit


def through_middleware(
    application: Application, environ: Environ, holder: object
) -> tuple[Environ, MiddlewareRefusal | None]:
    """Hand a handshake's environ to everything around `holder`.

    Returns:
        The environ as it arrived, and None; or the old one, and what it was answered with on the way.
    """
    arrival = Arrival(holder)
    answers: list[tuple[str, Headers]] = []
    body: list[bytes] = []

    def start_response(status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Write:
        answers.append((status, headers))
        return body.append

    result = application({**environ, KEY: arrival}, start_response)
    try:
        body.extend(result)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    if arrival.environ is None:
        status, headers = answers[-1] if answers else ("500 Internal Server Error", [])
        return environ, MiddlewareRefusal(status, list(headers), b"".join(body))
    arrival.environ.pop(KEY, None)
    return arrival.environ, None


@dataclass(frozen=True, slots=True)
class HandshakeMiddleware:
    """What an engine asks when a session is about to open. Every method belongs to the loop's thread.

    Args:
        admit: called by a worker with a handshake request; None lets it in.
        report: for what `admit` raises; the client then gets 500.
    """

    _admit: Admit
    _door: Door
    _report: Callable[[str, BaseException], None]

    def ask(self, exchange: Exchange, admitted: Callable[[], None]) -> None:
        """Call `admitted` when the middleware has let the request through; else answer it."""
        self._door.submit(partial(self._ask, exchange, admitted))

    def _ask(self, exchange: Exchange, admitted: Callable[[], None]) -> None:
        """A worker."""
        try:
            refusal = self._admit(exchange.request)
        except BaseException as error:
            self._report("middleware around a Socket.IO handshake", error)
            refusal = MiddlewareRefusal("500 Internal Server Error", [], b"")
        try:
            self._door.post(self._answer, exchange, admitted, refusal)
        except ServerStopped:
            pass  # so has the connection

    def _answer(
        self, exchange: Exchange, admitted: Callable[[], None], refusal: MiddlewareRefusal | None
    ) -> None:
        if not exchange.open:  # the client has left meanwhile
            return
        if refusal is None:
            admitted()
            return
        if exchange.request.upgrade:
            exchange.refuse_keep_alive()
        headers = [(name, value) for name, value in refusal.headers if name.lower() not in FRAMING]
        exchange.respond(refusal.status, headers, refusal.body)
