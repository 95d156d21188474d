"""Admission: a handshake request is shown to the application's middleware before the engine answers it.

Must not know: Engine.IO beyond what a handshake is, Flask, what the middleware looks at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import parse_qsl

from python_server.exchange import Exchange, RequestHandler
from python_server.http1.parser import Request
from python_server.http1.response import Headers
from python_server.net.threads import Door, ServerStopped

# The exchange writes these itself.
FRAMING: Final = frozenset({"connection", "content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer of a middleware that lets nobody through."""

    status: str
    headers: Headers
    body: bytes


class Admission:
    """Stands before an engine. Every method belongs to the loop's thread.

    Args:
        engine: answers what was admitted, and every request that begins no session.
        admit: called by a worker with a handshake request; None lets it in.
        report: for what `admit` raises; the client then gets 500.
    """

    def __init__(
        self,
        engine: RequestHandler,
        admit: Callable[[Request], Refusal | None],
        door: Door,
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._engine = engine
        self._admit = admit
        self._door = door
        self._report = report
        self.body_received = engine.body_received
        self.body_ended = engine.body_ended
        self.exchange_lost = engine.exchange_lost

    def request_received(self, exchange: Exchange) -> None:
        request = exchange.request
        begins = request.method == "GET" and not dict(parse_qsl(request.query)).get("sid")
        if begins:
            self._door.submit(partial(self._ask, exchange))
        else:
            self._engine.request_received(exchange)

    def _ask(self, exchange: Exchange) -> None:
        """A worker."""
        try:
            refusal = self._admit(exchange.request)
        except BaseException as error:
            self._report("middleware around a Socket.IO handshake", error)
            refusal = Refusal("500 Internal Server Error", [], b"")
        try:
            self._door.post(self._answer, exchange, refusal)
        except ServerStopped:
            pass  # so has the connection

    def _answer(self, exchange: Exchange, refusal: Refusal | None) -> None:
        if refusal is None:
            self._engine.request_received(exchange)
            return
        if exchange.request.upgrade:
            exchange.refuse_keep_alive()
        headers = [(name, value) for name, value in refusal.headers if name.lower() not in FRAMING]
        exchange.respond(refusal.status, headers, refusal.body)
