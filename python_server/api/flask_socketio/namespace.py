"""Namespace: a class whose `on_*` methods are the handlers of one namespace.

Must not know: the hub; it speaks through the SocketIO it is registered with.
"""

from __future__ import annotations

from typing import Any, Unpack, cast

from python_server.api.client_methods import ClientMethods
from python_server.api.handler_registry import method_arity
from python_server.api.keywords import Addressing, Function
from python_server.api.server_methods import ServerMethods
from python_server.socketio.broadcast import DEFAULT_NAMESPACE
from python_server.socketio.handlers import RESERVED
from python_server.socketio.values import JSONValue, RoomName, Rooms


class Namespace(ClientMethods):
    """Base class for class-based namespaces: write methods `on_<event>`, and call `socketio.on_namespace`.

    A method `error(exception)` gets exceptions that no error handler handles; it returns the acknowledgement.
    Methods such as `emit` use the namespace of the object unless you pass another one:

        class Shop(Namespace):
            def on_buy(self, what):
                self.emit("sold", what, include_self=False)

        socketio.on_namespace(Shop("/shop"))

    Args:
        namespace: default "/".
    """

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace: str = namespace or DEFAULT_NAMESPACE
        self.socketio: Any = None
        self.server: ServerMethods = cast("ServerMethods", None)  # until it is registered

    def _set_socketio(self, socketio: Any) -> None:
        self.socketio = socketio
        self.server = socketio.server
        self._speak_through(self.server)

    def trigger_event(self, event: str, *args: JSONValue) -> object:
        """Find the method for `event` and call it. Override it to choose methods in another way.

            def trigger_event(self, event, *args): return self.routes[event](*args)

        Args:
            args: the sid, then the event's arguments: environ and auth for connect, the reason for
                disconnect.

        Returns: what the method returns, which is the acknowledgement.
        """
        handler: Function | None = getattr(self, f"on_{event}", None)
        if handler is None:
            return None
        _, *arguments = args
        if event in RESERVED:
            arguments = arguments[-1:] if method_arity(handler, event) else []
        return handler(*arguments)

    def emit(
        self,
        event: str,
        data: object = None,
        room: Rooms = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: Function | None = None,
        **options: Unpack[Addressing],
    ) -> None:
        """Call `SocketIO.emit` for this namespace.

            self.emit("sold", "tea", include_self=False)

        Args:
            data, room, include_self, namespace, callback, options: as of `SocketIO.emit`, also the errors.
        """
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
        callback: Function | None = None,
    ) -> None:
        """Send the event `message` with one argument.

            self.send("hello", room="readers")

        Args:
            data, room, include_self, namespace, callback: as of `emit`.
        """
        self.emit("message", data, room, include_self, namespace, callback)

    def close_room(self, room: RoomName, namespace: str | None = None) -> None:
        """Remove all clients from a room of this namespace or of `namespace`.

            self.close_room("readers")

        Raises ValueError: the room is the private room of a client (its sid).
        """
        self.socketio.close_room(room, namespace or self.namespace)
