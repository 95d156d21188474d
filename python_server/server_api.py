"""Socket.IO for any WSGI application, in the words of python-socketio's Server.

Must not know: Flask, selectors, frames; every call goes to a hub.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final

from python_server.engine_api import REASONS, EngineServer, Function, Registry, read_engine_options, takes
from python_server.environ import Environ, ServerFacts, build_environ
from python_server.foreign import ForeignGuard
from python_server.server import Mount
from python_server.socketio.client import Handler, Patience, Socket
from python_server.socketio.handlers import RESERVED
from python_server.socketio.hub import Hub
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import TextCodec
from python_server.socketio.recovery import RECOVERY_MAX_BYTES, RECOVERY_SECONDS, RecoveryLog
from python_server.socketio.speaker import Answers

HANDLER_PREFIX: Final = "on_"


class Server(Registry):
    """python-socketio's synchronous Server. Mount it with `WSGIApp(server, application)`.

    Handlers get (sid, environ[, auth]) for `connect`, (sid[, reason]) for `disconnect`, (sid, *arguments)
    else; a catch-all `*` gets the event's name first. They run in ordinary threads, a client's in order.

    Args:
        serializer: "default" or "msgpack". namespaces: that may be joined without a handler ("*": any).
        always_connect: CONNECT is answered before the connect handler runs.
        connection_state_recovery: True, or {"max_disconnection_duration": seconds, "max_bytes": bytes}.
        connect_timeout: seconds in which a client must join a namespace. attachments_timeout: seconds in
            which a binary packet must be complete.
        options: the engine's: ping_interval, ping_timeout, upgrade_timeout, max_http_buffer_size, cookie
            and so on.

    Raises:
        TypeError, ValueError: an option or a value that does not exist.
    """

    def __init__(
        self,
        *,
        serializer: str = "default",
        namespaces: Iterable[str] | str | None = None,
        always_connect: bool = False,
        connection_state_recovery: bool | Mapping[str, Any] = False,
        connect_timeout: float = 45.0,
        attachments_timeout: float = 30.0,
        **options: Any,
    ) -> None:
        if serializer not in ("default", "msgpack"):
            raise ValueError("serializer is 'default' or 'msgpack'")
        self._hub = Hub(
            codec=MsgpackCodec() if serializer == "msgpack" else TextCodec(),
            recovery=_recovery_log(connection_state_recovery),
        )
        self._hub.always_connect = always_connect
        self._hub.patience = Patience(connect_timeout, attachments_timeout)
        if namespaces is not None:
            self._hub.handlers.open = {namespaces} if isinstance(namespaces, str) else set(namespaces)
        self._options = read_engine_options(options)
        self._facts = ServerFacts()

    def mount(self, path: str) -> Mount:
        """What the server looks for under `path`."""
        return Mount(path, self._hub, self._options, self._serving)

    def _serving(self, facts: ServerFacts, application: Any) -> None:
        self._facts = facts

    # Registration

    def register_namespace(self, namespace_handler: Namespace) -> None:
        """Every `on_...` method of the object handles the event its name ends with."""
        namespace_handler.server = self
        for name, method in inspect.getmembers(namespace_handler, callable):
            if name.startswith(HANDLER_PREFIX):
                self._register(name.removeprefix(HANDLER_PREFIX), method, namespace_handler.namespace)

    def _register(self, event: str, function: Function, namespace: str | None) -> None:
        takes_most = takes(function, 3 if event == "connect" else 2)

        def run(socket: Socket, name: str, arguments: tuple[Any, ...]) -> Any:
            if name == "connect":
                given = (socket.sid, self._environ(socket), *arguments)
                return function(*(given if takes_most else given[:2]))
            if name == "disconnect":
                reason = REASONS.get(arguments[0], arguments[0])
                return function(socket.sid, reason) if takes_most else function(socket.sid)
            if event == "*" and name not in RESERVED:
                return function(name, socket.sid, *arguments)
            return function(socket.sid, *arguments)

        self._hub.handlers.on(namespace or "/", event, Handler(run))

    # Sending

    def emit(
        self,
        event: str,
        data: Any = None,
        to: Any = None,
        room: Any = None,
        skip_sid: Any = None,
        namespace: str | None = None,
        callback: Function | None = None,
        ignore_queue: bool = False,
        *,
        except_rooms: Any = None,
        volatile: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Send an event to a client, a room, a list of them, or everybody in the namespace.

        Args:
            data: None is no argument, a tuple several, all else one. callback: called with each ack's values.
            timeout: seconds after which an ack counts no more. volatile: dropped for who cannot take it now.

        Raises:
            TypeError, ValueError: the data cannot be written. ServerStopped: the server has stopped.
        """
        self._hub.emit(
            event,
            _arguments(data),
            namespace=namespace or "/",
            rooms=_rooms(to if to is not None else room),
            excepted=(*(_rooms(skip_sid) or ()), *(_rooms(except_rooms) or ())),
            callback=None if callback is None else lambda socket, values: callback(*values),
            timeout_seconds=timeout,
            volatile=volatile,
            local=ignore_queue,
        )

    def send(self, data: Any, to: Any = None, **options: Any) -> None:
        """`emit` of the event `message`."""
        self.emit("message", data, to, **options)

    def call(
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float = 60,
    ) -> Any:
        """Send an event to one client and wait: None, the value, or a tuple of the values of its ack.

        Raises:
            ValueError: no addressee. TimeoutError: no ack in time, or the client left.
        """
        addressee = to or sid
        if addressee is None:
            raise ValueError("call() needs the sid of one client")
        values = self._hub.call(
            event, _arguments(data), namespace=namespace or "/", sid=addressee, timeout_seconds=timeout
        )
        return None if not values else values[0] if len(values) == 1 else tuple(values)

    def call_room(
        self, event: str, data: Any = None, to: Any = None, namespace: str | None = None, timeout: float = 60
    ) -> Answers:
        """Send an event to a room and wait for everybody's ack as long as `timeout` allows."""
        return self._hub.call_room(
            event, _arguments(data), namespace=namespace or "/", rooms=_rooms(to), timeout_seconds=timeout
        )

    # Rooms and clients

    def enter_room(self, sid: str, room: Any, namespace: str | None = None) -> None:
        self._hub.enter(namespace or "/", sid, room)

    def leave_room(self, sid: str, room: Any, namespace: str | None = None) -> None:
        self._hub.leave(namespace or "/", sid, room)

    def close_room(self, room: Any, namespace: str | None = None) -> None:
        self._hub.close_room(namespace or "/", room)

    def rooms(self, sid: str, namespace: str | None = None) -> list[Any]:
        return self._hub.rooms_of(namespace or "/", sid)

    def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        self._hub.disconnect(namespace or "/", sid)

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """ "polling" or "websocket"."""
        return self._find(sid, namespace).client.session.transport

    def get_environ(self, sid: str, namespace: str | None = None) -> Environ | None:
        """The environ of the client's handshake request; None for an unknown client."""
        socket = self._hub.find(namespace or "/", sid)
        return None if socket is None else self._environ(socket)

    def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """The client's dictionary in the namespace."""
        socket = self._find(sid, namespace)
        if socket.data is None:
            socket.data = {}
        data: dict[str, Any] = socket.data
        return data

    def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        self._find(sid, namespace).data = session

    @contextmanager
    def session(self, sid: str, namespace: str | None = None) -> Iterator[dict[str, Any]]:
        """The client's dictionary, saved at the end of the block."""
        session = self.get_session(sid, namespace)
        yield session
        self.save_session(sid, session, namespace)

    def _find(self, sid: str, namespace: str | None) -> Socket:
        socket = self._hub.find(namespace or "/", sid)
        if socket is None:
            raise KeyError(f"no client {sid!r} in namespace {namespace or '/'!r}")
        return socket

    def _environ(self, socket: Socket) -> Environ:
        client = socket.client
        if client.context is None:
            client.context = build_environ(client.session.request, self._facts, BytesIO())
        environ: Environ = client.context
        return environ


class Namespace:
    """Handlers of one namespace as methods `on_<event>`; `server` is set by `register_namespace`."""

    server: Server

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace = namespace or "/"

    def emit(self, event: str, data: Any = None, **options: Any) -> None:
        """`Server.emit` in this namespace."""
        self.server.emit(event, data, **{"namespace": self.namespace, **options})


class WSGIApp:
    """A server under a path of a WSGI application: python-socketio's and python-engineio's WSGIApp.

    Args:
        server: a Server or an EngineServer. wsgi_app: answers everything else; without it there is only 404.
    """

    def __init__(
        self, server: Server | EngineServer, wsgi_app: Any = None, path: str | None = None, **places: str
    ) -> None:
        default = "socket.io" if isinstance(server, Server) else "engine.io"
        path = path or places.pop("socketio_path", None) or places.pop("engineio_path", None) or default
        if places:
            raise TypeError(f"WSGIApp has no option {next(iter(places))!r}")
        self.wsgi_app = wsgi_app
        self.path = "/" + path.strip("/") + "/"
        self._guard = ForeignGuard(self.path)
        self.wsframe_mounts = [server.mount(self.path)]

    def __call__(self, environ: Environ, start_response: Function) -> Iterable[bytes]:
        refusal = self._guard.answer(environ, start_response)
        if refusal is not None:
            return refusal
        if self.wsgi_app is not None:
            answer: Iterable[bytes] = self.wsgi_app(environ, start_response)
            return answer
        status, body = "404 Not Found", b"Not Found\n"
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]


def _recovery_log(option: bool | Mapping[str, Any]) -> RecoveryLog | None:
    if option is False:
        return None
    values = {} if option is True else dict(option)
    log = RecoveryLog(
        float(values.pop("max_disconnection_duration", RECOVERY_SECONDS)),
        int(values.pop("max_bytes", RECOVERY_MAX_BYTES)),
    )
    if values:
        raise TypeError(f"connection_state_recovery has no option {next(iter(values))!r}")
    return log


def _rooms(value: Any) -> tuple[Any, ...] | None:
    if value is None:
        return None
    return tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else (value,)


def _arguments(data: Any) -> tuple[Any, ...]:
    return () if data is None else data if isinstance(data, tuple) else (data,)
