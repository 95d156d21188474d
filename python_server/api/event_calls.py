"""How an event of the hub becomes a call in python-socketio's words: the client's sid, then the arguments.

Must not know: Flask, which namespace has which handler, what is sent.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping

from python_server.api.event_checks import Check, check_of
from python_server.api.handler_registry import REASONS, Turn
from python_server.api.keywords import Function
from python_server.api.options import takes
from python_server.net.tasks import is_async, name_of
from python_server.socketio.client import ConnectionRefused, Handler, Socket
from python_server.socketio.handlers import ANY, RESERVED
from python_server.socketio.values import JSONValue
from python_server.wsgi.environ import Environ


class EventCalls:
    """Makes the hub's handlers of functions.

    Args:
        environ_of: the environ of a client's handshake request.
        not_handled: what a namespace returns that has no method for an event.
    """

    def __init__(self, environ_of: Callable[[Socket], Environ], not_handled: object) -> None:
        self._environ_of = environ_of
        self._not_handled = not_handled

    def handler(self, event: str, function: Function, place: str, turn: Turn) -> Handler:
        """Of an event of the namespace `place`. Raises TypeError: it is async, or cannot be checked."""
        _refuse_async(function)
        count = (3 if event == "connect" else 2) + (place == ANY)
        count -= not takes(function, count)

        def run_reserved(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            return _call(name, function, *self._told(place, socket, name, arguments)[:count])

        def run_any(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            told = self._told(place, socket, name, arguments)
            return function(name, *told) if event == ANY else function(*told)

        def run(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            return function(socket.sid, *arguments)

        def run_checked(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            assert check is not None
            return chosen(socket, name, check.convert(arguments))

        chosen = run_reserved if event in RESERVED else run_any if ANY in (event, place) else run
        check = _check_of(function, event, place)
        return Handler(chosen if check is None else run_checked, *turn)

    def router(self, place: str, trigger_event: Function, methods: Mapping[str, Function]) -> Handler:
        """Of a namespace whose own `trigger_event` gets every event. Raises TypeError as `handler` does."""
        _refuse_async(trigger_event)
        checks = {name: _check_of(method, name, place) for name, method in methods.items()}

        def run(socket: Socket, name: str, arguments: tuple[JSONValue, ...]) -> object:
            if (check := checks.get(name)) is not None:
                arguments = check.convert(arguments)
            result = _call(name, trigger_event, name, *self._told(place, socket, name, arguments))
            return None if result is self._not_handled else result

        return Handler(run)

    def _told(
        self, place: str, socket: Socket, event: str, arguments: tuple[JSONValue, ...]
    ) -> tuple[JSONValue, ...]:
        """What a handler that was registered for the namespace `place` gets."""
        who = (socket.namespace, socket.sid) if place == ANY else (socket.sid,)
        if event == "connect":
            return *who, self._environ_of(socket), arguments[0] or None  # {}: theirs is told of none
        if event == "disconnect":
            return *who, REASONS.get(arguments[0], arguments[0])
        return *who, *arguments


def _check_of(function: Function, event: str, place: str) -> Check | None:
    """Behind the client's name stand what `_told` puts there, and a catch-all's event."""
    if event == "disconnect":
        return None
    bound_count = 1 + (place == ANY) + (event in ("connect", ANY))
    return check_of(function, bound_count, auth=event == "connect")


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
