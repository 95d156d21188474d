"""Which part of a worker answers a request: an engine, a raw WebSocket, or the application.

Must not know: what any of them does with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from python_server.exchange import RequestHandler
from python_server.http1.parser import Request
from python_server.mounts import below_root
from python_server.proxy import Origin, ProxyRules

if TYPE_CHECKING:
    from python_server.engineio.engine import Engine
    from python_server.websocket_api import WebSocketRoutes


class Router:
    """Looks at a request's path, after a trusted proxy and the root path have had their say.

    Args:
        scheme: what connections speak here. proxies: whose word on the client is believed; None: nobody's.
        root_path: where a proxy has mounted us, "" for nowhere.
        engines: by path prefix, with both slashes.
        routes: the raw WebSockets. otherwise: who answers everything else.
    """

    def __init__(
        self,
        scheme: str,
        proxies: ProxyRules | None,
        root_path: str,
        engines: Sequence[tuple[str, Engine]],
        routes: WebSocketRoutes,
        otherwise: RequestHandler,
    ) -> None:
        self._scheme = scheme
        self._proxies = proxies
        self._root_path = root_path
        self._engines = engines
        self._routes = routes
        self._otherwise = otherwise

    def route(self, request: Request) -> RequestHandler:
        """Who answers; the request is changed to what the proxy said."""
        request.scheme = self._scheme
        if self._proxies is not None:
            self._believe(self._proxies, request)
        path = request.path = below_root(self._root_path, request.path)
        engine = self._engine_of(path)
        if engine is not None:
            return engine
        if request.upgrade == "websocket" and self._routes.serves(path):
            return self._routes
        return self._otherwise

    def is_foreign(self, request: Request) -> bool:
        """Is a head for a session of a sibling, or for one that is to begin there?"""
        engine = self._engine_of(below_root(self._root_path, request.path))
        return engine is not None and engine.is_foreign(request.query)

    def _engine_of(self, path: str) -> Engine | None:
        for prefix, engine in self._engines:
            if path.startswith(prefix) or path == prefix[:-1]:
                return engine
        return None

    @staticmethod
    def _believe(proxies: ProxyRules, request: Request) -> None:
        said = Origin(request.peer, request.scheme, request.authority)
        request.fields, origin = proxies.resolve(request.fields, said)
        request.peer, request.scheme, request.authority = origin.peer, origin.scheme, origin.authority
        if origin.port is not None:
            host = request.local[0] if isinstance(request.local, tuple) else "localhost"
            request.local = (host, origin.port)
