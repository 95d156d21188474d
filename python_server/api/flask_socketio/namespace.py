"""Namespace: a class whose `on_*` methods are the handlers of one namespace.

Must not know: the hub; it speaks through the SocketIO it is registered with.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Unpack, cast

from python_server.api.flask_socketio.event_runner import method_arity
from python_server.api.flask_socketio.keywords import Addressing
from python_server.api.python_engineio import SessionData
from python_server.api.server_methods import ServerMethods
from python_server.socketio.handlers import RESERVED
from python_server.socketio.values import JSONValue, RoomName, Rooms


class Namespace:
    """Subclass it, give it methods `on_<event>`, and register an instance with `socketio.on_namespace`.

    A method `error(exception)` gets what no error handler took; its result is the ack.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace: str = namespace or "/"
        self.socketio: Any = None
        self.server: ServerMethods = cast("ServerMethods", None)  # until it is registered

    def _set_socketio(self, socketio: Any) -> None:
        self.socketio = socketio
        self.server = socketio.server

    def trigger_event(self, event: str, *args: JSONValue) -> object:
        """Find the method for `event` and call it; overload it for a routing of your own.

        Args:
            args: the sid, then the event's: for connect the environ and the auth, for disconnect the reason.
        """
        handler: Callable[..., object] | None = getattr(self, f"on_{event}", None)
        if handler is None:
            return None
        _, *arguments = args
        if event in RESERVED:
            arguments = arguments[-1:] if method_arity(handler, event) else []
        return handler(*arguments)

    # Flask-SocketIO's words

    def emit(
        self,
        event: str,
        data: object = None,
        room: Rooms = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: Callable[..., object] | None = None,
        **options: Unpack[Addressing],
    ) -> None:
        """Send an event to everybody in the namespace, or to a room."""
        namespace = namespace or self.namespace
        options.setdefault("to", room)
        self.socketio.emit(
            event, data, include_self=include_self, namespace=namespace, callback=callback, **options
        )

    def send(
        self,
        data: object,
        room: Rooms = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: Callable[..., object] | None = None,
    ) -> None:
        """Send the event `message` to everybody in the namespace, or to a room."""
        self.emit("message", data, room, include_self, namespace, callback)

    def close_room(self, room: RoomName, namespace: str | None = None) -> None:
        """Everyone leaves the room."""
        self.socketio.close_room(room, namespace or self.namespace)

    # python-socketio's words

    def call(
        self,
        event: str,
        data: object = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float | None = None,
        ignore_queue: bool = False,
    ) -> JSONValue:
        """Send an event to one client and wait for its answer."""
        target = to if to is not None else sid
        seconds = 60 if timeout is None else timeout
        return self.server.call(
            event, data, to=target, namespace=namespace or self.namespace, timeout=seconds
        )

    def enter_room(self, sid: str, room: RoomName, namespace: str | None = None) -> None:
        """Put a client into a room."""
        self.server.enter_room(sid, room, namespace or self.namespace)

    def leave_room(self, sid: str, room: RoomName, namespace: str | None = None) -> None:
        """Take a client out of a room."""
        self.server.leave_room(sid, room, namespace or self.namespace)

    def rooms(self, sid: str, namespace: str | None = None) -> list[JSONValue]:
        """The rooms of a client."""
        return self.server.rooms(sid, namespace or self.namespace)

    def get_session(self, sid: str, namespace: str | None = None) -> SessionData:
        """The client's own dictionary."""
        return self.server.get_session(sid, namespace or self.namespace)

    def save_session(self, sid: str, session: SessionData, namespace: str | None = None) -> None:
        """Replace the client's own dictionary."""
        self.server.save_session(sid, session, namespace or self.namespace)

    def session(self, sid: str, namespace: str | None = None) -> AbstractContextManager[SessionData]:
        """The client's own dictionary, saved at the end of the block."""
        return self.server.session(sid, namespace or self.namespace)

    def disconnect(self, sid: str, namespace: str | None = None) -> None:
        """Send a client out of the namespace."""
        self.server.disconnect(sid, namespace or self.namespace)
