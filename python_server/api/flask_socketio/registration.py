"""Registration: how SocketIO is told which function handles what.

Must not know: sending, serving, how an event's context is made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Unpack

import flask

from python_server.api.flask_socketio.event_runner import EventRunner
from python_server.api.flask_socketio.namespace import Namespace
from python_server.api.handler_registry import Declaring, Face, read_turn
from python_server.api.keywords import Decorated, Function, OnKeywords
from python_server.api.options import takes
from python_server.socketio.broadcast import DEFAULT_NAMESPACE
from python_server.socketio.server import Hub
from python_server.socketio.values import JSONValue, RoomName


class Registration(Declaring, Face):
    """The decorators of SocketIO.

    Args:
        hub: dispatches. runner: makes handlers of functions.
    """

    def __init__(self, hub: Hub, runner: EventRunner) -> None:
        self.handlers: list[tuple[str, Function, str]] = []
        self.namespace_handlers: list[Namespace] = []
        self._hub = hub
        self._runner = runner
        self._app: flask.Flask | None = None
        self._presence: dict[tuple[str, str], list[tuple[Function, int]]] = {}

    @property
    def exception_handlers(self) -> dict[str, Function]:
        """Error handlers by namespace."""
        return self._runner.error_handlers

    @property
    def default_exception_handler(self) -> Function | None:
        return self._runner.default_error_handler

    def on(
        self, message: str, namespace: str | None = None, **options: Unpack[OnKeywords]
    ) -> Callable[[Decorated], Decorated]:
        """Decorator: register the function as the handler of an event.

            @socketio.on("answer", rate_limit="20/s")
            def answer(value):
                return value == 42  # the acknowledgement

        Args:
            message: name of the event; also `connect`, `disconnect`, and `*` for events without a handler.
            namespace: default "/"; "*" handles the event in every namespace.
            options: inline: True runs the function on the loop's thread; it must never block.
                ordered: False lets the client's next event run before this one has ended.
                rate_limit: "20/s", "5/10s" or (count, seconds) per client; a client above it is disconnected.

        Raises:
            TypeError, ValueError: an option is invalid, or the function cannot handle the event.
        """
        turn = read_turn(message, options)

        def register(function: Decorated) -> Decorated:
            wrapped = self._runner.handler(message, function, turn)
            self.handlers.append((message, function, namespace or DEFAULT_NAMESPACE))
            self._hub.handlers.on(namespace or DEFAULT_NAMESPACE, message, wrapped)
            self._hub.handlers.functions[namespace or DEFAULT_NAMESPACE, message] = function, 0
            return function

        return register

    def on_event(
        self, message: str, handler: Function, namespace: str | None = None, **options: Unpack[OnKeywords]
    ) -> None:
        """Register a handler without a decorator.

            socketio.on_event("answer", check_answer)

        Args:
            message, namespace, options: as of `on`.
            handler: the function.

        Raises the same errors as `on`.
        """
        self.on(message, namespace, **options)(handler)

    def on_error(self, namespace: str | None = None) -> Callable[[Decorated], Decorated]:
        """Decorator: the function gets exceptions of a namespace's handlers; it returns the acknowledgement.

            @socketio.on_error("/chat")
            def tell(error):
                return {"error": str(error)}

        Args:
            namespace: default "/".
        """
        return partial(self._on_error, namespace or DEFAULT_NAMESPACE)

    def on_error_default(self, exception_handler: Decorated) -> Decorated:
        """Decorator: the function gets the exceptions of namespaces that have no `on_error` function.

            @socketio.on_error_default
            def tell(error):
                return {"error": str(error)}

        Args:
            exception_handler: the function; its return value is the acknowledgement.
        """
        return self._on_error(None, exception_handler)

    def _on_error(self, namespace: str | None, function: Decorated) -> Decorated:
        if not callable(function):
            raise ValueError("exception_handler must be callable")
        if namespace is None:
            self._runner.default_error_handler = function
        else:
            self._runner.error_handlers[namespace] = function
        return function

    def on_namespace(self, namespace_handler: Namespace) -> None:
        """Register a class of handlers.

            socketio.on_namespace(Shop("/shop"))

        Args:
            namespace_handler: an instance of a subclass of `Namespace`.

        Raises:
            ValueError: `namespace_handler` is not such an instance.
        """
        if not isinstance(namespace_handler, Namespace):
            raise ValueError("Not a namespace instance.")
        namespace_handler._set_socketio(self)
        self.namespace_handlers.append(namespace_handler)
        handler, names = self._runner.whole(namespace_handler), None
        if (
            type(namespace_handler).trigger_event is Namespace.trigger_event
        ):  # else it has a routing of its own
            methods = (name for name in dir(namespace_handler) if name.startswith("on_"))
            names = [name.removeprefix("on_") for name in methods]
        namespace = namespace_handler.namespace
        for name in handler.names:
            if callable(method := getattr(namespace_handler, f"on_{name}")):
                self._hub.handlers.functions[namespace, name] = method, 0
        self._hub.handlers.on_namespace(namespace, handler, names)

    def before_event(self, function: Decorated) -> Decorated:
        """Decorator: call the function with (event, arguments) before each handler, in the handler's context.

            @socketio.before_event
            def members_only(event, arguments):
                return event == "connect" or current_user.is_authenticated

        Args:
            function: if it returns False, the event is dropped and its acknowledgement is empty; its
                exceptions go to `on_error`.
        """
        self._runner.before_event = function
        return function

    def on_room_join(self, namespace: str | None = None) -> Callable[[Decorated], Decorated]:
        """Decorator: call the function with (sid, room) when a client joins a room; or (sid, room, meta).

            @socketio.on_room_join()
            def joined(sid, room, meta):
                socketio.emit("joined", meta, to=room)

        Args:
            namespace: default "/".
        """
        return partial(self._on_presence, "join", namespace or DEFAULT_NAMESPACE)

    def on_room_update(self, namespace: str | None = None) -> Callable[[Decorated], Decorated]:
        """Decorator: call the function with (sid, room, meta) when a client's metadata in a room changes.

            @socketio.on_room_update()
            def changed(sid, room, meta):
                socketio.emit("changed", meta, to=room)

        Args:
            namespace: default "/".
        """
        return partial(self._on_presence, "update", namespace or DEFAULT_NAMESPACE)

    def on_room_leave(self, namespace: str | None = None) -> Callable[[Decorated], Decorated]:
        """Decorator: as `on_room_join`, when a client leaves a room or disconnects.

            @socketio.on_room_leave("/chat")
            def left(sid, room):
                socketio.emit("left", sid, to=room, namespace="/chat")

        Args:
            namespace: default "/".
        """
        return partial(self._on_presence, "leave", namespace or DEFAULT_NAMESPACE)

    def _on_presence(self, kind: str, namespace: str, function: Decorated) -> Decorated:
        count = 3 if takes(function, 3) else 2
        self._presence.setdefault((kind, namespace), []).append((function, count))
        self._hub.handlers.on_presence(self._tell_presence)
        return function

    def _tell_presence(
        self, kind: str, namespace: str, sid: str, room: RoomName, meta: JSONValue = None
    ) -> None:
        """A worker: in an application context, in the order in which it happened."""
        assert self._app is not None
        for function, count in self._presence.get((kind, namespace), []):
            self._runner.run_alone(function, (sid, room, meta)[:count], self._app.app_context())
