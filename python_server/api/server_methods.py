"""The methods of python-socketio's Server over a hub: shared by both faces that programs see.

Must not know: Flask, WSGI, options; the handshake's environ comes from the function it was given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol, Unpack

from python_server.api.handler_registry import REASONS, HandlerRegistry, Turn
from python_server.api.keywords import Function, SendKeywords, SessionData
from python_server.api.options import takes
from python_server.net.tasks import is_async, name_of
from python_server.socketio.acks import Answers
from python_server.socketio.broadcast import DEFAULT_NAMESPACE, as_arguments, broadcast_options
from python_server.socketio.client import ConnectionRefused, Handler, Socket, SocketState
from python_server.socketio.server import Hub
from python_server.socketio.values import JSONValue, RoomName, Rooms
from python_server.wsgi.environ import Environ

HANDLER_PREFIX: Final = "on_"


class ConnectionRefusedError(ConnectionRefused):
    """Raise it in a connect handler: the client is refused, and learns why.

        raise ConnectionRefusedError("unauthorized", {"retry": False})

    Args:
        args: the message, then what goes along as data: one value as it is, several as a list.
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


class ClientMethods:
    """python-socketio's methods that ask or move one client.

    Attributes:
        namespace: the one that is meant where none is said.
    """

    namespace: str = DEFAULT_NAMESPACE
    _hub: Hub
    _environ_of: Callable[[Socket], Environ]

    def _speak_through(self, other: ClientMethods) -> None:
        self._hub, self._environ_of = other._hub, other._environ_of

    def call(
        self,
        event: str,
        data: object = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float | None = 60,
        ignore_queue: bool = False,
    ) -> JSONValue:
        """Send an event to one client and wait: None, the value, or a tuple of the values of its ack.

        Raises:
            ValueError: no addressee, or more than one. RuntimeError: it could only hang.
            TimeoutError: no ack within `timeout` seconds, or the client has left.
        """
        target = to if to is not None else sid
        if not isinstance(target, str):
            raise ValueError("Cannot use call() to broadcast. It asks one client: `to` is its sid")
        values = self._hub.call(event, as_arguments(data), namespace or self.namespace, target, timeout)
        return None if not values else values[0] if len(values) == 1 else tuple(values)

    def enter_room(self, sid: str, room: RoomName, namespace: str | None = None) -> None:
        """Put a client into a room.

        Raises ValueError: the client is not there, or the room is another client's own.
        """
        self._hub.enter(namespace or self.namespace, sid, room)

    def leave_room(self, sid: str, room: RoomName, namespace: str | None = None) -> None:
        """Take a client out of a room."""
        self._hub.leave(namespace or self.namespace, sid, room)

    def rooms(self, sid: str, namespace: str | None = None) -> list[JSONValue]:
        """The rooms of a client, its own among them."""
        return self._hub.rooms_of(namespace or self.namespace, sid)

    def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Send a client out of the namespace."""
        self._hub.disconnect(namespace or self.namespace, sid)

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """ "polling" or "websocket". Raises KeyError: no such client."""
        return self._find(sid, namespace).client.session.transport

    def get_environ(self, sid: str, namespace: str | None = None) -> Environ | None:
        """The environ of the client's handshake request; None for an unknown client."""
        socket = self._hub.find(namespace or self.namespace, sid)
        return None if socket is None else self._environ_of(socket)

    def get_session(self, sid: str, namespace: str | None = None) -> SessionData:
        """The client's dictionary in the namespace (not Flask's session). Raises KeyError: no such client."""
        socket = self._find(sid, namespace)
        if socket.data is None:
            socket.data = {}
        data: SessionData = socket.data
        return data

    def save_session(self, sid: str, session: SessionData, namespace: str | None = None) -> None:
        """Replace the client's dictionary in the namespace."""
        self._find(sid, namespace).data = session

    @contextmanager
    def session(self, sid: str, namespace: str | None = None) -> Iterator[SessionData]:
        """The client's dictionary, saved at the end of the block."""
        session = self.get_session(sid, namespace)
        yield session
        self.save_session(sid, session, namespace)

    def _find(self, sid: str, namespace: str | None) -> Socket:
        socket = self._hub.find(namespace or self.namespace, sid)
        if socket is None:
            raise KeyError(f"no client {sid!r} in namespace {namespace or self.namespace!r}")
        return socket


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
        """Send an event to a client, a room, a list of them, or everybody in the namespace.

        Args:
            data: None is no argument, a tuple several, all else one. callback: called with each ack's values.
            timeout: seconds after which an ack counts no more. volatile: dropped for who cannot take it now.
            ignore_queue: to the clients of this process only.

        Raises:
            TypeError, ValueError: the data cannot be written. ServerStopped: the server has stopped.
        """
        self._hub.emit(
            event,
            as_arguments(data),
            broadcast_options(
                to, room, skip_sid, except_rooms, namespace or self.namespace, ignore_queue, bool(volatile)
            ),
            None if callback is None else lambda socket, values: callback(*values),
            timeout,
        )

    def send(self, data: object, to: Rooms = None, **options: Unpack[SendKeywords]) -> None:
        """`emit` of the event `message`."""
        self.emit("message", data, to, **options)

    def call_room(
        self,
        event: str,
        data: object = None,
        to: Rooms = None,
        namespace: str | None = None,
        timeout: float = 60,
    ) -> Answers:
        """Send an event to a room and wait for everybody's ack as long as `timeout` allows."""
        return self._hub.call_room(
            event, as_arguments(data), broadcast_options(to, namespace=namespace or self.namespace), timeout
        )

    def close_room(self, room: RoomName, namespace: str | None = None) -> None:
        """Everyone leaves the room. Raises ValueError: it is a client's own."""
        self._hub.close_room(namespace or self.namespace, room)


class ServerMethods(HubMethods, HandlerRegistry):
    """python-socketio's methods. Handlers get (sid, *arguments); every call goes to the hub.

    Args:
        hub: does the work. environ_of: the environ of a client's handshake request.
    """

    async_mode = "threading"
    async_handlers = True

    def __init__(self, hub: Hub, environ_of: Callable[[Socket], Environ]) -> None:
        self._hub = hub
        self._environ_of = environ_of
        self.manager: Manager = Manager(hub)
        self.environ: Mapping[str, Environ] = Environs(hub, environ_of)

    # Registration

    def register_namespace(self, namespace_handler: NamespaceHandler) -> None:
        """Every `on_...` method of the object handles the event its name ends with."""
        namespace_handler.server = self
        if isinstance(namespace_handler, ClientMethods):
            namespace_handler._speak_through(self)
        for name, method in inspect.getmembers(namespace_handler, callable):
            if name.startswith(HANDLER_PREFIX):
                self.on(name.removeprefix(HANDLER_PREFIX), method, namespace_handler.namespace)

    def _register(self, event: str, function: Function, namespace: str | None, turn: Turn) -> None:
        if is_async(function):
            raise TypeError(
                f"{name_of(function)} is an async def: this server runs plain functions, in threads; "
                "SocketIO runs both"
            )
        count = 3 if event == "connect" else 2
        if not takes(function, count):
            count -= 1

        def run_connect(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            return function(*(socket.sid, self._environ_of(socket), *arguments)[:count])

        def run_disconnect(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            return function(*(socket.sid, REASONS.get(arguments[0], arguments[0]))[:count])

        def run_any(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            return function(name, socket.sid, *arguments)

        def run(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            return function(socket.sid, *arguments)

        runs = {"connect": run_connect, "disconnect": run_disconnect, "*": run_any}
        self._hub.handlers.on(namespace or DEFAULT_NAMESPACE, event, Handler(runs.get(event, run), *turn))


class Manager:
    """What programs ask of python-socketio's client manager."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def get_participants(self, namespace: str, room: RoomName) -> list[tuple[str, str]]:
        """(sid, Engine.IO sid) of each client in the room; of everybody for None.

        The Engine.IO sid is a secret of its worker: it is "" for clients of other processes.
        """
        own = {s.sid: s.client.session.sid for s in self._hub.sockets() if s.namespace == namespace}
        return [(sid, own.get(sid, "")) for sid in self._hub.members_of(namespace, room)]

    def get_rooms(self, sid: str, namespace: str) -> list[JSONValue]:
        """The rooms of a client."""
        return self._hub.rooms_of(namespace, sid)

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Is the client there, its connect handler done?"""
        socket = self._hub.find(namespace, sid)
        return socket is not None and socket.state is SocketState.CONNECTED

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """The client's name in a namespace."""
        sockets = (socket for socket in self._hub.sockets() if socket.namespace == namespace)
        return next((socket.sid for socket in sockets if socket.client.session.sid == eio_sid), None)


class Environs(Mapping[str, Environ]):
    """The environs of handshakes by Engine.IO sid: those of the clients that are there when it is asked."""

    def __init__(self, hub: Hub, environ_of: Callable[[Socket], Environ]) -> None:
        self._hub = hub
        self._environ_of = environ_of

    def __getitem__(self, eio_sid: str) -> Environ:
        return self._environ_of(self._sockets()[eio_sid])

    def __iter__(self) -> Iterator[str]:
        return iter(self._sockets())

    def __len__(self) -> int:
        return len(self._sockets())

    def _sockets(self) -> dict[str, Socket]:
        return {socket.client.session.sid: socket for socket in self._hub.sockets()}
