"""Socket.IO for any WSGI application, in the words of python-socketio's Server.

Must not know: Flask, selectors, frames; every call goes to a hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Unpack

from python_server.api.python_engineio import EngineKeywords, EngineServer, codec_of, read_engine_options
from python_server.api.server_methods import SendKeywords, ServerMethods
from python_server.connection.arrival import arrived
from python_server.serve.mounts import Mount
from python_server.socketio.client import Socket
from python_server.socketio.cluster.broker.url import SERVER_CHANNEL, read_broker
from python_server.socketio.handlers import Handlers
from python_server.socketio.recovery.log import recovery_log
from python_server.socketio.server import Hub
from python_server.socketio.services import ClientTimeouts, Configuration
from python_server.socketio.values import Rooms
from python_server.wsgi.environ import Application, Environ, ServerFacts, StartResponse, build_environ
from python_server.wsgi.foreign_server import ForeignGuard


class Server(ServerMethods):
    """python-socketio's synchronous Server. Mount it with `WSGIApp(server, application)`.

    Handlers get (sid, environ[, auth]) for `connect`, (sid[, reason]) for `disconnect`, (sid, *arguments)
    else; a catch-all `*` gets the event's name first. They run in ordinary threads, a client's in order.

    Args:
        serializer: "default" or "msgpack". json: a module with dumps and loads to use instead of ours.
        namespaces: that may be joined without a handler ("*": any).
        always_connect: CONNECT is answered before the connect handler runs.
        connection_state_recovery: True, or {"max_disconnection_duration": seconds, "max_bytes": bytes}.
        connect_timeout: seconds in which a client must join a namespace. attachments_timeout: seconds in
            which a binary packet must be complete.
        message_queue: URL of a broker that joins several machines (redis://host), with `channel`,
            `redis_options` and `channel_per_room`; or python-socketio's RedisManager as `client_manager`.
        options: the engine's: ping_interval, ping_timeout, upgrade_timeout, max_http_buffer_size, cookie
            and so on.

    Raises:
        TypeError, ValueError: an option or a value that does not exist.
        BrokerError: a message_queue whose URL is malformed, or whose package is not installed.
    """

    def __init__(
        self,
        *,
        serializer: str = "default",
        json: object = None,
        namespaces: Iterable[str] | str | None = None,
        always_connect: bool = False,
        connection_state_recovery: bool | Mapping[str, object] = False,
        connect_timeout: float = 45.0,
        attachments_timeout: float = 30.0,
        message_queue: str | None = None,
        channel: str = SERVER_CHANNEL,
        redis_options: Mapping[str, object] | None = None,
        channel_per_room: bool = False,
        client_manager: object = None,
        **options: Unpack[EngineKeywords],
    ) -> None:
        configuration = Configuration(
            codec_of(serializer, json),
            recovery_log(connection_state_recovery),
            always_connect,
            ClientTimeouts(connect_timeout, attachments_timeout),
        )
        handlers = Handlers()
        if namespaces is not None:
            handlers.only({namespaces} if isinstance(namespaces, str) else namespaces)
        super().__init__(Hub(configuration, handlers), self._environ)
        self._options = read_engine_options(options)
        broker: dict[str, object] = {
            "message_queue": message_queue,
            "channel": channel,
            "redis_options": redis_options,
            "channel_per_room": channel_per_room,
        }
        if client_manager is not None:
            broker = {"client_manager": client_manager, "channel_per_room": channel_per_room}
        self._broker = read_broker(broker, SERVER_CHANNEL)
        self._facts = ServerFacts()

    def mount(self, path: str) -> Mount:
        """What the server looks for under `path`."""
        return Mount(path, self._hub, self._options, self._serving, broker=self._broker)

    def _serving(self, facts: ServerFacts, application: object) -> None:
        self._facts = facts

    def _environ(self, socket: Socket) -> Environ:
        client = socket.client
        if client.context is None:
            request = client.session.request
            client.context = request.context or build_environ(request, self._facts, BytesIO())
        environ: Environ = client.context
        return environ


class Namespace:
    """Handlers of one namespace as methods `on_<event>`; `server` is set by `register_namespace`."""

    server: Server

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace: str = namespace or "/"

    def emit(
        self, event: str, data: object = None, to: Rooms = None, **options: Unpack[SendKeywords]
    ) -> None:
        """`Server.emit` in this namespace."""
        options.setdefault("namespace", self.namespace)
        self.server.emit(event, data, to, **options)


class WSGIApp:
    """A server under a path of a WSGI application: python-socketio's and python-engineio's WSGIApp.

    Args:
        server: a Server or an EngineServer. wsgi_app: answers everything else; without it there is only 404.
    """

    wsframe_arrivals = True

    def __init__(
        self,
        server: Server | EngineServer,
        wsgi_app: Application | None = None,
        path: str | None = None,
        **places: str,
    ) -> None:
        default = "socket.io" if isinstance(server, Server) else "engine.io"
        path = path or places.pop("socketio_path", None) or places.pop("engineio_path", None) or default
        if places:
            raise TypeError(f"WSGIApp has no option {next(iter(places))!r}")
        self.wsgi_app = wsgi_app
        self.path: str = "/" + path.strip("/") + "/"
        self._guard = ForeignGuard(self.path)
        self.wsframe_mounts: list[Mount] = [server.mount(self.path)]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if arrived(self, environ, start_response):
            return [b""]
        refusal = self._guard.answer(environ, start_response)
        if refusal is not None:
            return refusal
        if self.wsgi_app is not None:
            return self.wsgi_app(environ, start_response)
        status, body = "404 Not Found", b"Not Found\n"
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]
