"""Socket.IO for any WSGI application, in the words of python-socketio's Server.

Must not know: Flask, selectors, frames; every call goes to a hub.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from python_server.api.keywords import ServerKeywords
from python_server.api.options import read_server_options
from python_server.api.python_engineio import EngineServer
from python_server.api.server_methods import HubMethods, ServerMethods
from python_server.connection.arrival import arrived
from python_server.serve.mounts import Mount
from python_server.socketio.broadcast import DEFAULT_NAMESPACE
from python_server.socketio.client import Socket
from python_server.socketio.cluster.broker.url import SERVER_CHANNEL
from python_server.socketio.handlers import Handlers
from python_server.socketio.server import Hub
from python_server.wsgi.environ import Application, Environ, StartResponse
from python_server.wsgi.foreign_server import ForeignGuard


class Server(ServerMethods):
    """The synchronous Server of python-socketio 5. Mount it with `WSGIApp(server, application)`.

    Handlers get (sid, environ[, auth]) for `connect`, (sid[, reason]) for `disconnect`, (sid, *arguments)
    else; a catch-all `*` gets the event's name first. They run in ordinary threads, a client's in order.

        server = Server(cors_allowed_origins="https://shop.example")

        @server.event
        def buy(sid, what):
            server.emit("sold", what, skip_sid=sid)

        app = WSGIApp(server, wsgi_app)

    Args:
        options: EngineServer's, and: serializer: "default" or "msgpack". json: a module with dumps and loads.
            namespaces: that may be joined without a handler ("*": any). always_connect: CONNECT is answered
            before the connect handler runs. message_queue: URL of a broker that joins several machines
            (redis://host), with `channel`, `redis_options` and `channel_per_room`; or python-socketio's
            RedisManager as `client_manager`. connection_state_recovery: True, or
            {"max_disconnection_duration": seconds, "max_bytes": bytes}. connect_timeout: seconds to join a
            namespace. attachments_timeout: seconds to complete a binary packet.

    Raises:
        TypeError, ValueError: an option or a value that does not exist.
        BrokerError: a message_queue whose URL is malformed, or whose package is not installed.
    """

    def __init__(self, **options: Unpack[ServerKeywords]) -> None:
        chosen = read_server_options("Server", ServerKeywords, options, SERVER_CHANNEL)
        handlers = Handlers()
        if chosen.namespaces is not None:
            handlers.only(chosen.namespaces)
        super().__init__(Hub(chosen.configuration, handlers), self._environ)
        self._options, self._broker = chosen.engine, chosen.broker

    def mount(self, path: str) -> Mount:
        """What the server looks for under `path`."""
        return Mount(path, self._hub, self._options, self._serving, broker=self._broker)

    def _environ(self, socket: Socket) -> Environ:
        client = socket.client
        if client.context is None:
            client.context = self._handshake_environ(client.session.request)
        environ: Environ = client.context
        return environ


class Namespace(HubMethods):
    """Handlers of one namespace as methods `on_<event>`; register an instance with `register_namespace`.

    Its other methods are the server's, in its own namespace unless another one is given:

        class Shop(Namespace):
            def on_buy(self, sid, what):
                self.emit("sold", what, skip_sid=sid)

        server.register_namespace(Shop("/shop"))
    """

    server: Server

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace: str = namespace or DEFAULT_NAMESPACE


class WSGIApp:
    """A server under a path of a WSGI application: python-socketio's and python-engineio's WSGIApp.

        app = WSGIApp(Server(), wsgi_app, "/events/")     # python -m python_server module:app

    Args:
        wsgi_app: answers everything else; without it there is only 404.
        path: default "socket.io" or "engine.io"; `socketio_path` and `engineio_path` are the peers' words.

    Raises:
        TypeError: a keyword that does not exist.
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
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "10")]
        start_response("404 Not Found", headers)
        return [b"Not Found\n"]
