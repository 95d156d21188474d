"""Which part of a worker answers a request: an engine, a raw WebSocket, or the application.

Must not know: what any of them does with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from python_server.connection.address_caps import Refusal
from python_server.connection.allowed_hosts import AllowedHosts
from python_server.connection.exchange import AnsweredAtOnce, Exchange, RequestHandler
from python_server.connection.proxy_headers import Origin, ProxyRules
from python_server.http1.parser import Request
from python_server.http1.response import status_text
from python_server.serve.mounts import below_root

if TYPE_CHECKING:
    from python_server.engineio.server import Engine
    from python_server.websocket.application import WebSocketRoutes


def _refused(refusal: Refusal) -> AnsweredAtOnce:
    """Answers one request with a refusal."""

    def answer(exchange: Exchange) -> None:
        exchange.refuse_keep_alive()
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        if refusal.retry_after_seconds is not None:
            headers.append(("Retry-After", str(refusal.retry_after_seconds)))
        exchange.respond(status_text(refusal.status), headers, f"{refusal.text}\n".encode())

    return AnsweredAtOnce(answer)


# As Django and Starlette answer. Not 421 (RFC 9110 15.5.20): browsers take it as an invitation to ask again
# over another connection.
OTHER_HOST: Final = Refusal(400, "this host is not served here")


def engine_of(engines: Sequence[tuple[str, Engine]], path: str) -> Engine | None:
    """Who answers below that path, of the pairs of prefix and engine."""
    for prefix, engine in engines:
        if path.startswith(prefix) or path == prefix[:-1]:
            return engine
    return None


@dataclass(frozen=True, slots=True)
class Router:
    """Finds who answers a request, by its path; what trusted proxies say and the root path come first.

    Attributes:
        scheme: what connections speak here. proxies: whose word on the client is believed; None: nobody's.
        hosts: what requests may be for. complain: called with (kind, sentence).
        root_path: where a proxy has mounted us, "" for nowhere.
        engines: by path prefix, with both slashes.
        routes: the raw WebSockets. otherwise: who answers everything else.
        admit: says of (request, its connection's address) what it is told instead of an answer; None: all may
            go on.
        client_files: what answers a GET or HEAD of a path below an engine's, in its place.
        elsewhere: what passes a request on to another machine, where its session lives on one.
    """

    scheme: str
    proxies: ProxyRules | None
    hosts: AllowedHosts
    complain: Callable[[str, str], None]
    root_path: str
    engines: Sequence[tuple[str, Engine]]
    routes: WebSocketRoutes
    otherwise: RequestHandler
    admit: Callable[[Request, object], Refusal | None] | None = None
    client_files: Mapping[str, RequestHandler] = field(default_factory=dict)
    elsewhere: Callable[[Engine, Request], RequestHandler | None] | None = None

    def route(self, request: Request) -> RequestHandler:
        """Who answers; the request is changed to what the proxy said."""
        request.scheme = self.scheme
        own = request.peer
        if self.proxies is not None and not self.proxies.names.isdisjoint(request.fields):
            self._believe(self.proxies, request)
        if self.admit is not None and (refusal := self.admit(request, own)) is not None:
            return _refused(refusal)
        if not self.hosts.allows(request.authority):
            host = request.authority or "(none)"
            self.complain("host refused", f"a request for host {host!r} is refused: --allowed-hosts lacks it")
            return _refused(OTHER_HOST)
        path = request.path = below_root(self.root_path, request.path)
        engine = engine_of(self.engines, path)
        if engine is not None:
            if self.elsewhere is not None and (passed := self.elsewhere(engine, request)) is not None:
                return passed
            file = self.client_files.get(path)
            asks = file is not None and request.method in ("GET", "HEAD") and request.upgrade != "websocket"
            return file if file is not None and asks else engine
        if request.upgrade == "websocket" and self.routes.serves(path):
            return self.routes
        return self.otherwise

    def is_foreign(self, request: Request) -> bool:
        """Is a head for a session of a sibling, or for one that is to begin there?"""
        engine = engine_of(self.engines, below_root(self.root_path, request.path))
        return engine is not None and engine.is_foreign(request.query)

    @staticmethod
    def _believe(proxies: ProxyRules, request: Request) -> None:
        said = Origin(request.peer, request.scheme, request.authority)
        request.fields, origin = proxies.resolve(request.fields, said)
        request.peer, request.scheme, request.authority = origin.peer, origin.scheme, origin.authority
        if origin.port is not None:
            host = request.local[0] if isinstance(request.local, tuple) else "localhost"
            request.local = (host, origin.port)
