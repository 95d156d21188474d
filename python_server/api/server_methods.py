"""The methods of python-socketio's Server over a hub: shared by both faces that programs see.

Must not know: Flask, WSGI, options; the handshake's environ comes from the function it was given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, Unpack

from python_server.api.client_methods import ClientMethods
from python_server.api.event_calls import EventCalls
from python_server.api.handler_registry import Declaring, HandlerRegistry, Turn
from python_server.api.keywords import Function, SendKeywords
from python_server.api.options import takes
from python_server.api.peer_views import Environs, Manager
from python_server.monitoring.admin import Admin
from python_server.socketio.acks import Answers
from python_server.socketio.broadcast import DEFAULT_NAMESPACE, as_arguments, broadcast_options
from python_server.socketio.client import ConnectionRefused, Socket
from python_server.socketio.handlers import RESERVED
from python_server.socketio.server import Hub
from python_server.socketio.values import RoomName, Rooms
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


class ServerMethods(Declaring, HubMethods, HandlerRegistry):
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
        self._calls = EventCalls(environ_of, self.not_handled)
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
        methods = {
            name.removeprefix(HANDLER_PREFIX): method
            for name, method in inspect.getmembers(namespace_handler, callable)
            if name.startswith(HANDLER_PREFIX)
        }
        routes = getattr(namespace_handler, "trigger_event", None)
        if routes is not None and getattr(routes, "__func__", None) is not Namespace.trigger_event:
            self._hub.handlers.on_namespace(namespace, self._calls.router(namespace, routes, methods))
            told = {(namespace, name): (method, 1) for name, method in methods.items()}
            self._hub.handlers.functions |= told
            return
        for name, method in methods.items():
            self.on(name, method, namespace)

    def _register(self, event: str, function: Function, namespace: str | None, turn: Turn) -> None:
        place = namespace or DEFAULT_NAMESPACE
        self._hub.handlers.on(place, event, self._calls.handler(event, function, place, turn))
        self._hub.handlers.functions[place, event] = function, 1

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
