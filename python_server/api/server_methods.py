"""The methods of python-socketio's Server over a hub: shared by both faces that programs see.

Must not know: Flask, WSGI, options; the handshake's environ comes from the function it was given.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, Unpack

from python_server.api.client_methods import ClientMethods
from python_server.api.handler_registry import REASONS, HandlerRegistry, Turn
from python_server.api.keywords import Function, SendKeywords
from python_server.api.options import takes
from python_server.api.peer_views import Environs, Manager
from python_server.monitoring.admin import Admin
from python_server.net.tasks import is_async, name_of
from python_server.socketio.acks import Answers
from python_server.socketio.broadcast import DEFAULT_NAMESPACE, as_arguments, broadcast_options
from python_server.socketio.client import ConnectionRefused, Handler, Socket
from python_server.socketio.handlers import ANY, RESERVED
from python_server.socketio.server import Hub
from python_server.socketio.values import JSONValue, RoomName, Rooms
from python_server.wsgi.environ import Environ

HANDLER_PREFIX: Final = "on_"


class ConnectionRefusedError(ConnectionRefused):
    """Raise this in a connect handler to refuse the client and tell it why.

        raise ConnectionRefusedError("unauthorized", {"retry": False})

    Args:
        args: the message, then the data for the client: one value is sent as it is, several as a list.
    """

    def __init__(self, *args: object) -> None:
        message, data = (str(args[0]), args[1:]) if args else ("Connection rejected by server", ())
        super().__init__(message, (data[0] if len(data) == 1 else list(data)) if data else None)

    @property
    def error_args(self) -> dict[str, object]:
        """What the client gets."""
        said: dict[str, object] = {"message": self.message}
        return said if self.data is None else {**said, "data": self.data}


class NamespaceHandler(Protocol):
    """An object whose `on_...` methods handle the events of its namespace."""

    namespace: str
    server: Any  # who it was registered with; its own affair


class HubMethods(ClientMethods):
    """Those as well that send to many."""

    def emit(
        self,
        event: str,
        data: object = None,
        to: Rooms = None,
        room: Rooms = None,
        skip_sid: Rooms = None,
        namespace: str | None = None,
        callback: Function | None = None,
        ignore_queue: bool = False,
        *,
        except_rooms: Rooms = None,
        volatile: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Send an event to a client, a room, a list of them, or to all clients in `namespace`.

            server.emit("news", {"title": "hello"}, to="readers")

        Args:
            data: None sends no argument, a tuple several, anything else one.
            to, room: a sid, a room, or a list of them. skip_sid, except_rooms: sids or rooms to exclude.
            callback: called with the values of each acknowledgement. timeout: seconds to wait for it.
            volatile: drop it for clients that cannot receive it now. ignore_queue: only this process.

        Raises:
            TypeError, ValueError: the data cannot be encoded. ServerStopped: the server has stopped.
        """
        place = namespace or self.namespace
        options = broadcast_options(to, room, skip_sid, except_rooms, place, ignore_queue, bool(volatile))
        told = None if callback is None else lambda socket, values: callback(*values)
        self._hub.emit(event, as_arguments(data), options, told, timeout)

    def send(
        self,
        data: object,
        to: Rooms = None,
        room: Rooms = None,
        skip_sid: Rooms = None,
        namespace: str | None = None,
        callback: Function | None = None,
        ignore_queue: bool = False,
        **options: Unpack[SendKeywords],
    ) -> None:
        """Send the event `message` with one argument, `data`.

            server.send("hello", to="readers")

        Args:
            to, room, skip_sid, namespace, callback, ignore_queue, options: as of `emit`.
        """
        self.emit("message", data, to, room, skip_sid, namespace, callback, ignore_queue, **options)

    def call_room(
        self,
        event: str,
        data: object = None,
        to: Rooms = None,
        namespace: str | None = None,
        timeout: float = 60,
    ) -> Answers:
        """Send an event to all clients in a room of `namespace`, and wait for their acknowledgements.

            answers = server.call_room("ready?", to="players", timeout=5)

        Args:
            data: as of `emit`. to: a room, a sid, or a list of them. timeout: seconds.

        Returns: the acknowledgements that came in time, and how many did not.
        """
        return self._hub.call_room(
            event, as_arguments(data), broadcast_options(to, namespace=namespace or self.namespace), timeout
        )

    def close_room(self, room: RoomName, namespace: str | None = None) -> None:
        """Remove all clients from a room of `namespace`.

            server.close_room("readers")

        Raises ValueError: the room is the private room of a client (its sid).
        """
        self._hub.close_room(namespace or self.namespace, room)


class Namespace(HubMethods):
    """Base class for class-based namespaces: write methods `on_<event>`, and call `register_namespace`.

    The other methods call those of the server, with the namespace of the object unless you pass another one:

        class Shop(Namespace):
            def on_buy(self, sid, what):
                self.emit("sold", what, skip_sid=sid)

        server.register_namespace(Shop("/shop"))
    """

    server: ServerMethods

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace: str = namespace or DEFAULT_NAMESPACE

    def trigger_event(self, event: str, *args: Any) -> object:
        """Call the method for `event`. If you override this method, yours gets every event.

        Args:
            args: the sid, then the event's arguments: environ and auth for connect, the reason for
                disconnect. In the namespace "*" the client's namespace comes before them.
        """
        method: Function | None = getattr(self, f"{HANDLER_PREFIX}{event}", None)
        if method is None:
            return self.server.not_handled
        if event in RESERVED and not takes(method, len(args)):
            args = args[:-1]
        return method(*args)


class ServerMethods(HubMethods, HandlerRegistry):
    """python-socketio's methods. Handlers get (sid, *arguments); every call goes to the hub.

    Args:
        hub: does the work. environ_of: the environ of a client's handshake request.

    Attributes:
        not_handled: the value that `trigger_event` returns if there is no method for an event.
    """

    async_mode = "threading"
    async_handlers = True
    not_handled: object = object()

    def __init__(self, hub: Hub, environ_of: Callable[[Socket], Environ]) -> None:
        self._hub = hub
        self._environ_of = environ_of
        self.manager: Manager = Manager(hub)
        self.environ: Mapping[str, Environ] = Environs(hub, environ_of)

    # Registration

    def register_namespace(self, namespace_handler: NamespaceHandler) -> None:
        """Register `namespace_handler`, whose methods `on_<event>` handle the events of its namespace.

            server.register_namespace(Shop("/shop"))

        Raises ValueError: it is a Namespace of Flask-SocketIO's API (`python_server.Namespace`).
        """
        if isinstance(namespace_handler, ClientMethods):
            if not isinstance(namespace_handler, HubMethods):
                raise ValueError(
                    "Not a namespace instance: python_server.Namespace is for SocketIO; "
                    "derive from python_server.api.python_socketio.Namespace"
                )
            namespace_handler._speak_through(self)
        namespace_handler.server = self
        namespace = namespace_handler.namespace
        routes = getattr(namespace_handler, "trigger_event", None)
        if routes is not None and getattr(routes, "__func__", None) is not Namespace.trigger_event:
            _refuse_async(routes)
            self._hub.handlers.on_namespace(namespace, Handler(self._router(namespace, routes)))
            return
        for name, method in inspect.getmembers(namespace_handler, callable):
            if name.startswith(HANDLER_PREFIX):
                self.on(name.removeprefix(HANDLER_PREFIX), method, namespace)

    def _router(self, namespace: str, trigger_event: Function) -> Function:
        def run(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            told = self._told(namespace, socket, name, arguments)
            result = _call(name, trigger_event, name, *told)
            return None if result is self.not_handled else result

        return run

    def _register(self, event: str, function: Function, namespace: str | None, turn: Turn) -> None:
        _refuse_async(function)
        place = namespace or DEFAULT_NAMESPACE
        count = (3 if event == "connect" else 2) + (place == ANY)
        count -= not takes(function, count)

        def run_reserved(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            return _call(name, function, *self._told(place, socket, name, arguments)[:count])

        def run_any(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            told = self._told(place, socket, name, arguments)
            return function(name, *told) if event == ANY else function(*told)

        def run(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            return function(socket.sid, *arguments)

        chosen = run_reserved if event in RESERVED else run_any if ANY in (event, place) else run
        self._hub.handlers.on(place, event, Handler(chosen, *turn))

    def _told(
        self, place: str, socket: Socket, event: str, arguments: tuple[JSONValue, ...]
    ) -> tuple[Any, ...]:
        """What a handler that was registered for the namespace `place` gets."""
        who = (socket.namespace, socket.sid) if place == ANY else (socket.sid,)
        if event == "connect":
            return *who, self._environ_of(socket), arguments[0] or None  # {}: theirs is told of none
        if event == "disconnect":
            return *who, REASONS.get(arguments[0], arguments[0])
        return *who, *arguments

    def instrument(
        self,
        auth: object = None,
        mode: str = "development",
        read_only: bool = False,
        server_id: str | None = None,
        namespace: str = "/admin",
        server_stats_interval: float = 2,
    ) -> None:
        """Serve the official Admin UI (docs/how-to/admin-ui.md). `auth`: False, or who may come in. `mode`,
        `read_only`, `server_id`, `namespace`, `server_stats_interval` (in seconds): as in python-socketio.

            server.instrument(auth={"username": "admin", "password": password})

        Raises ValueError, TypeError: an argument is invalid. RuntimeError: the server serves already.
        """
        Admin(self._hub, auth, mode, read_only, server_id, namespace, server_stats_interval)


def _refuse_async(function: Function) -> None:
    if is_async(function):
        raise TypeError(
            f"{name_of(function)} is an async def: this server runs plain functions, in threads; "
            "SocketIO runs both [async-handler]"
        )


def _call(event: str, function: Function, *args: object) -> object:
    """Call a handler; what python-socketio's own exceptions and Python's say of a client is a refusal too."""
    try:
        return function(*args)
    except ConnectionRefused:
        raise
    except Exception as error:
        if event == "connect" and isinstance(error, builtins.ConnectionRefusedError):
            raise ConnectionRefused("Connection refused by server") from error
        said = getattr(error, "error_args", None)
        if event == "connect" and isinstance(said, Mapping):
            raise ConnectionRefused(str(said.get("message")), said.get("data")) from error
        raise
