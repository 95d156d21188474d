"""Which part of a worker answers a request: an engine, a raw WebSocket, or the application.

Must not know: what any of them does with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from python_server.address_caps import Refusal
from python_server.exchange import Exchange, RequestHandler
from python_server.http1.parser import Request
from python_server.http1.response import status_text
from python_server.mounts import below_root
from python_server.proxy import Origin, ProxyRules

if TYPE_CHECKING:
    from python_server.engineio.engine import Engine
    from python_server.websocket_api import WebSocketRoutes


class Refused:
    """Answers one request with a refusal (the RequestHandler port)."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def request_received(self, exchange: Exchange) -> None:
        exchange.refuse_keep_alive()
        exchange.respond(
            status_text(self._refusal.status),
            [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Retry-After", str(self._refusal.retry_after_seconds)),
            ],
            f"{self._refusal.text}\n".encode(),
        )

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        """Nobody reads it."""

    def body_ended(self, exchange: Exchange) -> None:
        """It was answered."""

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        """Nothing is kept for it."""


class Router:
    """Looks at a request's path, after a trusted proxy and the root path have had their say.

    Args:
        scheme: what connections speak here. proxies: whose word on the client is believed; None: nobody's.
        root_path: where a proxy has mounted us, "" for nowhere.
        engines: by path prefix, with both slashes. handlers: what stands before each of them.
        routes: the raw WebSockets. otherwise: who answers everything else.
        admit: says of (request, its connection's address) what it is told instead of an answer; None: all may
            go on.
    """

    def __init__(
        self,
        scheme: str,
        proxies: ProxyRules | None,
        root_path: str,
        engines: Sequence[tuple[str, Engine]],
        handlers: Sequence[tuple[str, RequestHandler]],
        routes: WebSocketRoutes,
        otherwise: RequestHandler,
        admit: Callable[[Request, Any], Refusal | None] | None = None,
    ) -> None:
        self._scheme = scheme
        self._proxies = proxies
        self._root_path = root_path
        self._engines = engines
        self._handlers = handlers
        self._routes = routes
        self._otherwise = otherwise
        self._admit = admit

    def route(self, request: Request) -> RequestHandler:
        """Who answers; the request is changed to what the proxy said."""
        request.scheme = self._scheme
        own = request.peer
        if self._proxies is not None:
            self._believe(self._proxies, request)
        if self._admit is not None and (refusal := self._admit(request, own)) is not None:
            return Refused(refusal)
        path = request.path = below_root(self._root_path, request.path)
        for prefix, handler in self._handlers:
            if path.startswith(prefix) or path == prefix[:-1]:
                return handler
        if request.upgrade == "websocket" and self._routes.serves(path):
            return self._routes
        return self._otherwise

    def is_foreign(self, request: Request) -> bool:
        """Is a head for a session of a sibling, or for one that is to begin there?"""
        if "EIO=" in request.query:
            path = below_root(self._root_path, request.path)
            for prefix, engine in self._engines:
                if path.startswith(prefix) or path == prefix[:-1]:
                    return engine.is_foreign(request.query)
        return False

    @staticmethod
    def _believe(proxies: ProxyRules, request: Request) -> None:
        origin = proxies.resolve(request.fields, Origin(request.peer, request.scheme, request.authority))
        request.peer, request.scheme, request.authority = origin.peer, origin.scheme, origin.authority
        if origin.port is not None:
            host = request.local[0] if isinstance(request.local, tuple) else "localhost"
            request.local = (host, origin.port)
