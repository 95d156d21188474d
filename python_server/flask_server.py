"""`socketio.server`: the words of python-socketio's Server for programs that reach below SocketIO.

Must not know: Flask's context; every call goes to the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from python_server.environ import Environ
from python_server.flask_context import ClientState
from python_server.flask_handlers import DEFAULT_NAMESPACE, REASONS, arity_of
from python_server.socketio.client import Handler, Socket, SocketState
from python_server.socketio.handlers import RESERVED
from python_server.socketio.hub import Hub


class Reason:
    """Why a client left, as disconnect handlers are told; the hub has finer words besides."""

    CLIENT_DISCONNECT: Final = "client disconnect"
    SERVER_DISCONNECT: Final = "server disconnect"
    PING_TIMEOUT: Final = "ping timeout"
    TRANSPORT_CLOSE: Final = "transport close"
    TRANSPORT_ERROR: Final = "transport error"


class Server:
    """python-socketio's Server as far as programs use it.

    Args:
        hub: does the work. state_of: a client's state. background: starts a task. sleep: see SocketIO.
    """

    reason = Reason

    def __init__(
        self,
        hub: Hub,
        state_of: Callable[[Socket], ClientState],
        background: Callable[..., Any],
        sleep: Callable[[float], None],
        shutdown: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._state_of = state_of
        self.start_background_task = background
        self.sleep = sleep
        self.shutdown = shutdown
        self.async_mode = "threading"
        self.async_handlers = True
        self.manager = Manager(hub)
        self.environ: Mapping[str, Environ] = Environs(hub, state_of)

    # Registration: handlers get (sid, *arguments) and run without a Flask context

    def on(self, event: str, handler: Callable[..., Any] | None = None, namespace: str | None = None) -> Any:
        """Register a handler; without one, a decorator."""
        if handler is None:
            return partial(self._register, event, namespace)
        self._register(event, namespace, handler)
        return None

    def event(self, *args: Any, **kwargs: Any) -> Any:
        """Decorator: the event is named as the function is."""
        if len(args) == 1 and not kwargs and callable(args[0]):
            return self.on(args[0].__name__)(args[0])
        return lambda handler: self.on(handler.__name__, *args, **kwargs)(handler)

    def _register(self, event: str, namespace: str | None, handler: Callable[..., Any]) -> Any:
        takes = arity_of(partial(handler, None), event) if event == "disconnect" else 1

        def run(socket: Socket, name: str, arguments: tuple[Any, ...]) -> Any:
            if name == "connect":
                given = (socket.sid, self._state_of(socket).environ)
                return handler(*given, *arguments) if arguments[0] is not None else handler(*given)
            if name == "disconnect":
                arguments = tuple(REASONS.get(reason, reason) for reason in arguments)[:takes]
            if event == "*" and name not in RESERVED:
                return handler(name, socket.sid, *arguments)
            return handler(socket.sid, *arguments)

        self._hub.handlers.on(namespace or DEFAULT_NAMESPACE, event, Handler(run))
        return handler

    # Sending

    def emit(
        self,
        event: str,
        data: Any = None,
        to: Any = None,
        room: Any = None,
        skip_sid: Any = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """Send an event to a client, rooms, or everybody."""
        self._hub.emit(
            event,
            as_arguments(data),
            namespace=namespace or DEFAULT_NAMESPACE,
            rooms=as_rooms(to if to is not None else room),
            excepted=as_rooms(skip_sid) or (),
            callback=None if callback is None else lambda socket, values: callback(*values),
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
        timeout: float | None = 60,
        ignore_queue: bool = False,
    ) -> Any:
        """Send an event to one client and return the values of its ack: None, one, or a tuple."""
        target = to if to is not None else sid
        if target is None:
            raise ValueError("Cannot use call() to broadcast.")
        if not isinstance(target, str):
            raise ValueError("call() asks one client: `to` is its sid")
        values = self._hub.call(
            event,
            as_arguments(data),
            namespace=namespace or DEFAULT_NAMESPACE,
            sid=target,
            timeout_seconds=timeout,
        )
        return None if not values else values[0] if len(values) == 1 else tuple(values)

    # Clients and rooms

    def enter_room(self, sid: str, room: Any, namespace: str | None = None) -> None:
        """Put a client into a room.

        Raises:
            ValueError: the client is not there, or the room is another client's own.
        """
        self._hub.enter(namespace or DEFAULT_NAMESPACE, sid, room)

    def leave_room(self, sid: str, room: Any, namespace: str | None = None) -> None:
        """Take a client out of a room."""
        self._hub.leave(namespace or DEFAULT_NAMESPACE, sid, room)

    def close_room(self, room: Any, namespace: str | None = None) -> None:
        """Everyone leaves the room."""
        self._hub.close_room(namespace or DEFAULT_NAMESPACE, room)

    def rooms(self, sid: str, namespace: str | None = None) -> list[Any]:
        """The rooms of a client, its own among them."""
        return self._hub.rooms_of(namespace or DEFAULT_NAMESPACE, sid)

    def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Send a client out of the namespace."""
        self._hub.disconnect(namespace or DEFAULT_NAMESPACE, sid)

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """ "polling" or "websocket".

        Raises:
            KeyError: no such client.
        """
        return self._socket(sid, namespace).client.session.transport

    def get_environ(self, sid: str, namespace: str | None = None) -> Environ | None:
        """The WSGI environ of the client's handshake request; None for an unknown client."""
        socket = self._hub.find(namespace or DEFAULT_NAMESPACE, sid)
        return None if socket is None else self._state_of(socket).environ

    def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """The client's dictionary in the namespace (nothing to do with Flask's session)."""
        sessions = self._state_of(self._socket(sid, namespace)).sessions
        return sessions.setdefault(namespace or DEFAULT_NAMESPACE, {})

    def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        """Replace the client's dictionary in the namespace."""
        self._state_of(self._socket(sid, namespace)).sessions[namespace or DEFAULT_NAMESPACE] = session

    @contextmanager
    def session(self, sid: str, namespace: str | None = None) -> Iterator[dict[str, Any]]:
        """The client's dictionary, saved at the end of the block."""
        session = self.get_session(sid, namespace)
        yield session
        self.save_session(sid, session, namespace)

    def _socket(self, sid: str, namespace: str | None) -> Socket:
        socket = self._hub.find(namespace or DEFAULT_NAMESPACE, sid)
        if socket is None:
            raise KeyError(f"no client {sid!r} in namespace {namespace or DEFAULT_NAMESPACE!r}")
        return socket


class Manager:
    """What programs ask of python-socketio's client manager."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def get_participants(self, namespace: str, room: Any) -> list[tuple[str, str]]:
        """(sid, Engine.IO sid) of each client in the room; of everybody for None."""
        found = ((sid, self._hub.find(namespace, sid)) for sid in self._hub.members_of(namespace, room))
        return [(sid, socket.client.session.sid) for sid, socket in found if socket is not None]

    def get_rooms(self, sid: str, namespace: str) -> list[Any]:
        """The rooms of a client."""
        return self._hub.rooms_of(namespace, sid)

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Is the client there, its connect handler done?"""
        socket = self._hub.find(namespace, sid)
        return socket is not None and socket.state is SocketState.CONNECTED

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """The client's name in a namespace."""
        for sid, owner in self.get_participants(namespace, None):
            if owner == eio_sid:
                return sid
        return None


class Environs(Mapping[str, Environ]):
    """Handshake environs by Engine.IO sid."""

    def __init__(self, hub: Hub, state_of: Callable[[Socket], ClientState]) -> None:
        self._hub = hub
        self._state_of = state_of

    def __getitem__(self, eio_sid: str) -> Environ:
        for socket in self._hub.sockets():
            if socket.client.session.sid == eio_sid:
                return self._state_of(socket).environ
        raise KeyError(eio_sid)

    def __iter__(self) -> Iterator[str]:
        return iter({socket.client.session.sid: None for socket in self._hub.sockets()})

    def __len__(self) -> int:
        return len({socket.client.session.sid for socket in self._hub.sockets()})


def as_rooms(value: Any) -> tuple[Any, ...] | None:
    """One room, or a list of them; None is everybody."""
    if value is None:
        return None
    return tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else (value,)


def as_arguments(data: Any) -> tuple[Any, ...]:
    """An event's arguments: None is none, a tuple is several, all else is one."""
    if data is None:
        return ()
    return data if isinstance(data, tuple) else (data,)
