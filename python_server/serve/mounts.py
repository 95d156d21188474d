"""What there is to serve: an application, the Socket.IO mounts and raw WebSockets that it carries.

Must not know: how any of them is served.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from python_server.engineio.options import EngineOptions
from python_server.engineio.session import SessionHandler
from python_server.serve.called_servers import mounts_of_called
from python_server.socketio.cluster.broker.url import BrokerError
from python_server.socketio.cluster.port import BrokerOptions
from python_server.socketio.server import Hub
from python_server.socketio.services import HubServices
from python_server.websocket.application import WebSocketApplication
from python_server.wsgi.environ import Application, ServerFacts
from python_server.wsgi.handshake_middleware import Admit


class Mountable(Protocol):
    """Port: what a worker serves under a path."""

    def attach(self, services: HubServices) -> SessionHandler:
        """Loop's thread: a worker serves from here on; what is returned answers its sessions."""


@dataclass(slots=True)
class Mount:
    """A Socket.IO or Engine.IO server under a path of an application.

    Attributes:
        path: with both slashes, "/socket.io/".
        serving: called with the server's facts and the application served, once a worker serves.
        admit: set by `serving` where middleware is to see handshakes first: see HandshakeMiddleware.
        broker: what joins it to other machines.
        serve_client: whether the client for browsers is answered below the path too.
        holder: the part of the application that carries it, where something stands around that part.
        loggers: a program's `logger` and `engineio_logger`: who has the lines of the debug log.
    """

    path: str
    server: Mountable
    options: EngineOptions
    serving: Callable[[ServerFacts, Application], None]
    admit: Admit | None = None
    broker: BrokerOptions | None = None
    serve_client: bool = False
    holder: object = None
    loggers: tuple[object, object] = (None, None)

    @property
    def hub(self) -> Hub | None:
        """The server, if it speaks Socket.IO: it can be told to emit, and may have lost clients."""
        return self.server if isinstance(self.server, Hub) else None


@dataclass(slots=True)
class Site:
    """What one server serves: an application, its Socket.IO mounts, its raw WebSockets by path.

    Attributes:
        holders: the part of the application that carries a raw WebSocket, where something stands around it.
        environ: what stands in each environ besides, whatever the request says.
    """

    application: Application
    mounts: list[Mount] = field(default_factory=list)
    websockets: dict[str | re.Pattern[str], WebSocketApplication] = field(default_factory=dict)
    holders: dict[str | re.Pattern[str], object] = field(default_factory=dict)
    environ: dict[str, object] = field(default_factory=dict)


def layers(application: object) -> Iterator[object]:
    """An application, and what it wraps: middleware keeps that in `wsgi_app` or `app`.

    As Flask, Werkzeug and most others do.
    """
    seen: set[int] = set()
    while application is not None and id(application) not in seen:
        seen.add(id(application))
        yield application
        application = getattr(application, "wsgi_app", None) or getattr(application, "app", None)


def find_site(application: Application) -> Site:
    """An application with the mounts and raw WebSockets that it, or what it wraps, carries.

    They stand in `wsframe_mounts` and `wsframe_websockets`. What stands around a part that carries some, and
    knows how to let handshakes arrive (`wsframe_arrivals`), is asked whom it lets in. A server that none
    carries is found under its default path: the application, which calls it, is asked too.

    Raises:
        BrokerError: two of them would share a stream.
    """
    site = Site(application)
    for layer in layers(application):
        mounts: list[Mount] = getattr(layer, "wsframe_mounts", [])
        routes = getattr(layer, "wsframe_websockets", {})
        site.mounts += mounts
        site.websockets |= routes
        if layer is not application and getattr(layer, "wsframe_arrivals", False):
            site.holders |= dict.fromkeys(routes, layer)
            for mount in mounts:
                mount.holder = layer
    site.mounts += mounts_of_called({mount.path for mount in site.mounts})
    _check_streams(site.mounts)
    return site


def _check_streams(mounts: list[Mount]) -> None:
    """Each reads its stream whole, and would wait there for what the other has said; and have its clients."""
    paths: dict[tuple[str, str], str] = {}
    for mount in mounts:
        broker = mount.broker
        if broker is None or not broker.stream_max_count:
            continue
        other = paths.setdefault((broker.url, broker.channel), mount.path)
        if other != mount.path:
            raise BrokerError(
                f"the servers at {other} and {mount.path} have one stream: give each its own `channel` "
                "[message-queue]"
            )


def normal_root_path(path: str) -> str:
    """ "/shop" for "shop/"; "" for "/"."""
    path = path.strip("/")
    return f"/{path}" if path else ""


def below_root(root: str, path: str) -> str:
    """The path as the application knows it, below where a proxy has mounted it."""
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("/", ""):
        return path[len(root) :]
    return path
