"""Registration: how SocketIO is told which function handles what.

Must not know: sending, serving, how an event's context is made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Unpack, overload

import flask

from python_server.api.flask_socketio.event_runner import EventRunner, check_rate
from python_server.api.flask_socketio.keywords import Function, HandlerOptions, Rate
from python_server.api.flask_socketio.namespace import Namespace
from python_server.socketio.broadcast import DEFAULT_NAMESPACE
from python_server.socketio.server import Hub
from python_server.socketio.values import RoomName


class Registration:
    """The decorators of SocketIO.

    Args:
        hub: dispatches. runner: makes handlers of functions.
    """

    def __init__(self, hub: Hub, runner: EventRunner) -> None:
        self.handlers: list[tuple[str, Callable[..., object], str]] = []
        self.namespace_handlers: list[Namespace] = []
        self._hub = hub
        self._runner = runner
        self._app: flask.Flask | None = None
        self._presence: dict[tuple[str, str], list[Callable[..., object]]] = {}

    @property
    def exception_handlers(self) -> dict[str, Callable[..., object]]:
        """Error handlers by namespace."""
        return self._runner.error_handlers

    @property
    def default_exception_handler(self) -> Callable[..., object] | None:
        return self._runner.default_error_handler

    def on(
        self,
        message: str,
        namespace: str | None = None,
        *,
        inline: bool = False,
        ordered: bool = True,
        rate_limit: Rate = None,
    ) -> Callable[[Function], Function]:
        """Decorator: the function handles the event `message`; `connect`, `disconnect` and `*` included.

        Args:
            namespace: default "/"; "*" takes the event in every namespace.
            inline: the function never blocks: run it on the server's own thread.
            ordered: a client's next event waits for this one; with False it may overtake.
            rate_limit: "20/s", "5/10s" or (count, seconds) per client; who exceeds it is sent away.
        """

        check_rate(rate_limit)

        def register(function: Function) -> Function:
            self.on_event(message, function, namespace, inline=inline, ordered=ordered, rate_limit=rate_limit)
            return function

        return register

    @overload
    def event(self, function: Function, /) -> Function: ...

    @overload
    def event(
        self, namespace: str | None = None, **options: Unpack[HandlerOptions]
    ) -> Callable[[Function], Function]: ...

    def event(self, *args: Any, **kwargs: Any) -> Any:
        """Decorator: the event is named as the function is."""
        if len(args) == 1 and not kwargs and callable(args[0]):
            return self.on(args[0].__name__)(args[0])
        return lambda function: self.on(function.__name__, *args, **kwargs)(function)

    def on_event(
        self,
        message: str,
        handler: Callable[..., object],
        namespace: str | None = None,
        *,
        inline: bool = False,
        ordered: bool = True,
        rate_limit: Rate = None,
    ) -> None:
        """Register `handler` for the event `message`; see `on`."""
        wrapped = self._runner.handler(
            message, handler, inline=inline, ordered=ordered, rate_limit=rate_limit
        )
        self.handlers.append((message, handler, namespace or DEFAULT_NAMESPACE))
        self._hub.handlers.on(namespace or DEFAULT_NAMESPACE, message, wrapped)

    def on_error(self, namespace: str | None = None) -> Callable[[Function], Function]:
        """Decorator: the function gets the exceptions of the namespace's handlers; its result is the ack."""

        def register(function: Function) -> Function:
            if not callable(function):
                raise ValueError("exception_handler must be callable")
            self._runner.error_handlers[namespace or DEFAULT_NAMESPACE] = function
            return function

        return register

    def on_error_default(self, exception_handler: Function) -> Function:
        """Decorator: the function gets the exceptions that no `on_error` took."""
        if not callable(exception_handler):
            raise ValueError("exception_handler must be callable")
        self._runner.default_error_handler = exception_handler
        return exception_handler

    def on_namespace(self, namespace_handler: Namespace) -> None:
        """Register a class namespace."""
        if not isinstance(namespace_handler, Namespace):
            raise ValueError("Not a namespace instance.")
        namespace_handler._set_socketio(self)
        self.namespace_handlers.append(namespace_handler)
        self._hub.handlers.on_namespace(namespace_handler.namespace, self._runner.whole(namespace_handler))

    def before_event(self, function: Function) -> Function:
        """Decorator: the function is called with (event, arguments) before each handler, in its context.

        When it returns False the event is dropped, its ack is empty; what it raises goes to `on_error`.
        """
        self._runner.before_event = function
        return function

    def on_room_join(self, namespace: str | None = None) -> Callable[[Function], Function]:
        """Decorator: the function is told (sid, room) of every client that comes into a room."""
        return partial(self._on_presence, "join", namespace or DEFAULT_NAMESPACE)

    def on_room_leave(self, namespace: str | None = None) -> Callable[[Function], Function]:
        """Decorator: the function is told (sid, room) of every client that leaves a room, or the server."""
        return partial(self._on_presence, "leave", namespace or DEFAULT_NAMESPACE)

    def _on_presence(self, kind: str, namespace: str, function: Function) -> Function:
        self._presence.setdefault((kind, namespace), []).append(function)
        self._hub.handlers.on_presence(self._tell_presence)
        return function

    def _tell_presence(self, kind: str, namespace: str, sid: str, room: RoomName) -> None:
        """A worker: in an application context, in the order in which it happened."""
        for function in self._presence.get((kind, namespace), []):
            self._runner.run_alone(function, (sid, room), self._app)
