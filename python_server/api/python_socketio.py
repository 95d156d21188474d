"""Socket.IO for any WSGI application, in the words of python-socketio's Server.

Must not know: Flask, selectors, frames; every call goes to a hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Final, Unpack

from python_server.api import exceptions
from python_server.api.event_streams import make_stream
from python_server.api.keywords import NamedServerKeywords, ServerKeywords
from python_server.api.options import read_server_options
from python_server.api.peer_views import EngineView
from python_server.api.server_methods import ConnectionRefusedError, Namespace, ServerMethods
from python_server.api.wsgi_app import Middleware, Mounting, WSGIApp
from python_server.http1.event_stream import HEADERS
from python_server.serve.called_servers import UNMOUNTED
from python_server.serve.mounts import Mount
from python_server.socketio.client import Socket
from python_server.socketio.cluster.broker.url import SERVER_CHANNEL
from python_server.socketio.handlers import Handlers
from python_server.socketio.server import Hub
from python_server.socketio.values import RoomName
from python_server.wsgi.environ import Environ, StartResponse

# `from python_server.api import python_socketio as socketio` has what programs ask of that package's server.
__all__ = ["ConnectionRefusedError", "Middleware", "Namespace", "Server", "WSGIApp", "exceptions"]
# Those of its names that are no server's stay its own.
THEIRS: Final = frozenset(
    [
        "Client",
        "SimpleClient",
        "ClientNamespace",
        "AsyncClient",
        "AsyncSimpleClient",
        "AsyncClientNamespace",
        "Manager",
        "PubSubManager",
        "RedisManager",
        "KombuManager",
        "KafkaManager",
        "ZmqManager",
    ]
)


def __getattr__(name: str) -> object:
    if name not in THEIRS:
        raise AttributeError(f"python_server.api.python_socketio has no {name!r}")
    return getattr(import_module("socketio"), name)


class Server(ServerMethods, Mounting):
    """A Socket.IO server for any WSGI application, with the API of python-socketio 5's synchronous Server.

    Mount it with `WSGIApp(server, application)`. Handlers get (sid, environ[, auth]) for `connect`,
    (sid[, reason]) for `disconnect`, else the sid and the event's arguments; a handler of `*` gets the
    event's name first. Handlers run in ordinary threads; the events of one client run in order.

        server = Server(cors_allowed_origins="https://shop.example")

        @server.event
        def buy(sid, what):
            server.emit("sold", what, skip_sid=sid)

        app = WSGIApp(server, wsgi_app)

    Args:
        client_manager: a RedisManager of python-socketio, whose URL is used; a Manager means no broker.
        serializer: "default" or "msgpack". json: a module with dumps and loads.
        namespaces: names of namespaces that clients may join without a handler; "*" for any.
        always_connect: True answers CONNECT before the connect handler runs.
        logger, engineio_logger: True, or a logger object: lines about clients and events, and about sessions.
        async_handlers, monitor_clients: accepted, no effect (docs/migration.md).
        engineio_options: those of EngineServer, and: message_queue: URL of a broker that connects several
            machines (redis://host), with `channel`, `redis_options` and `channel_per_room`.
            connection_state_recovery: True, or {"max_disconnection_duration": seconds, "max_bytes": bytes}.
            connect_timeout: seconds to join a namespace. attachments_timeout: seconds to complete a binary
            packet. serve_client: whether to serve the browser client at `socket.io.js` below the path,
            default True. The log names unknown options.

    Raises:
        ValueError: the value of an option is invalid, or not supported.
        BrokerError: the URL of `message_queue` is malformed, or its client library is not installed.
    """

    default_path = "socket.io"

    def __init__(
        self,
        client_manager: object = None,
        logger: object = False,
        serializer: str = "default",
        json: object = None,
        async_handlers: bool = True,
        always_connect: bool = False,
        namespaces: str | Iterable[str] | None = None,
        **engineio_options: Unpack[NamedServerKeywords],
    ) -> None:
        given = {
            "client_manager": client_manager,
            "logger": logger,
            "serializer": serializer,
            "json": json,
            "always_connect": always_connect,
            "namespaces": namespaces or None,
        }
        chosen = read_server_options("Server", ServerKeywords, {**given, **engineio_options}, SERVER_CHANNEL)
        handlers = Handlers()
        if chosen.namespaces is not None:
            handlers.only(chosen.namespaces)
        super().__init__(Hub(chosen.configuration, handlers), self._environ)
        self._chosen = chosen
        self.eio: EngineView = EngineView(self._hub, lambda: chosen.engine)
        UNMOUNTED.add(self)

    def mount(self, path: str) -> Mount:
        """What the server looks for under `path`."""
        return self._chosen.mount(path, self._hub, self._serving)

    def stream(
        self,
        environ: Environ,
        start_response: StartResponse,
        source: RoomName | Iterator[object] = None,
        event: str | None = None,
        namespace: str | None = None,
    ) -> Iterable[bytes]:
        """Answer a request of any WSGI application with server-sent events.

            body = server.stream(environ, start_response, "prices")

        Args:
            environ, start_response: those of the application. source, event, namespace: as of
                `SocketIO.stream`, whose errors it raises.

        Returns: the body, which the application must return.
        """
        body = make_stream(self._hub, self._chosen.engine, environ, source, event, namespace)
        start_response("200 OK", list(HEADERS))
        return body

    def _environ(self, socket: Socket) -> Environ:
        client = socket.client
        if client.context is None:
            client.context = self._handshake_environ(client.session.request)
        environ: Environ = client.context
        return environ
