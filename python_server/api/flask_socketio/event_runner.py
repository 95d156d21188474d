"""How an event of the hub becomes a call of the user's function, in a Flask context of the client.

Must not know: sockets, how the application is served, what `emit` does.
"""

from __future__ import annotations

import inspect
from builtins import ConnectionRefusedError as BuiltinConnectionRefusedError
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import lru_cache, partial
from types import CoroutineType
from typing import Any, Final, Protocol

from python_server.api.flask_socketio.context import ClientState, FlaskContext
from python_server.api.flask_socketio.keywords import Rate
from python_server.api.python_engineio import REASONS
from python_server.net.tasks import AsyncRunner, is_async, name_of
from python_server.net.threads import fail
from python_server.socketio.client import ConnectionRefused, Handler, Socket
from python_server.socketio.handler_runner import Waiting
from python_server.socketio.handlers import ANY, RESERVED
from python_server.socketio.values import JSONValue

# Where a request remembers whose event it is.
SOCKET_KEY: Final = "python_server.socket"


class ConnectionRefusedError(ConnectionRefused):
    """Raise it in a connect handler: the first argument is the message, the others go along as data."""

    def __init__(self, *args: object) -> None:
        message, data = (str(args[0]), args[1:]) if args else ("Connection rejected by server", ())
        super().__init__(message, (data[0] if len(data) == 1 else list(data)) if data else None)

    @property
    def error_args(self) -> dict[str, object]:
        """What the client gets."""
        return (
            {"message": self.message} if self.data is None else {"message": self.message, "data": self.data}
        )


def arity_of(function: Callable[..., object], event: str) -> int:
    """How many arguments a handler of `connect` or `disconnect` takes: 1, or 0.

    Raises:
        TypeError: more than one.
    """
    try:
        signature = inspect.signature(function)
    except ValueError:  # some built-in functions have none
        return 1
    for count in (1, 0):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count
    what = "auth" if event == "connect" else "reason"
    raise TypeError(f"the {event} handler {name_of(function)} may take {what}, or nothing, and no more")


@lru_cache(maxsize=1024)
def _method_arity(function: Callable[..., object], event: str) -> int:
    return arity_of(partial(function, None), event)


def method_arity(method: Callable[..., object], event: str) -> int:
    """`arity_of` a bound method, worked out once per class."""
    function = getattr(method, "__func__", None)
    return arity_of(method, event) if function is None else _method_arity(function, event)


def check_rate(rate: Rate) -> tuple[int, float] | None:
    """ "20/s", "5/10s", "100/m" or (count, seconds) as (count, seconds).

    Raises:
        ValueError: it is neither.
    """
    if rate is None:
        return None
    try:
        if isinstance(rate, str):
            count_text, _, span = rate.partition("/")
            unit = {"s": 1.0, "m": 60.0, "h": 3600.0}[span[-1:]]
            count, seconds = int(count_text), unit * float(span[:-1] or 1)
        else:
            count, seconds = int(rate[0]), float(rate[1])
    except (KeyError, ValueError, TypeError, IndexError):
        count, seconds = 0, 0.0
    if count < 1 or seconds <= 0:
        raise ValueError(f"rate_limit is a text like '20/s' or '5/10s', or (count, seconds), not {rate!r}")
    return count, seconds


class ClassNamespace(Protocol):
    """An object with a method for each event; `error`, if there is one, gets their faults."""

    def trigger_event(self, event: str, *args: JSONValue) -> object:
        """Find the method for `event` and call it."""


class EventRunner:
    """Runs handlers in contexts, and hands their faults to the application's error handlers.

    Args:
        state_of: the client's state, made at its first event.
    """

    def __init__(self, state_of: Callable[[Socket], ClientState]) -> None:
        self._state_of = state_of
        self._asyncio = AsyncRunner()
        # Coroutines keep the thread that called them: tests wait for their results.
        self.blocking = False
        self.error_handlers: dict[str, Callable[..., object]] = {}
        self.default_error_handler: Callable[..., object] | None = None
        self.before_event: Callable[..., object] | None = None

    # At registration

    def handler(
        self,
        message: str,
        function: Callable[..., object],
        *,
        inline: bool = False,
        ordered: bool = True,
        rate_limit: Rate = None,
    ) -> Handler:
        """The hub's handler of the event `message`.

        Raises:
            TypeError: not callable; takes what the event does not bring; or cannot run inline.
        """
        if not callable(function):
            raise TypeError(f"a handler is a function, not {type(function).__name__}")
        waits = is_async(function)
        if message in RESERVED:
            if arity_of(function, message) == 0:
                function = _without_arguments(function)
            if inline or not ordered:
                raise TypeError(f"{message} is always a client's own turn: neither inline nor ordered=False")
        elif inline and waits:
            raise TypeError("inline=True is for plain functions; an async def has a loop of its own")
        run = partial(self._run_handler, function, message == ANY, waits)
        return Handler(run, inline, ordered, check_rate(rate_limit))

    def whole(self, instance: ClassNamespace) -> Handler:
        """The hub's handler of a class namespace: its `trigger_event(event, sid, *arguments)`.

        Its method `error`, if there is one, gets what no error handler took.
        """
        for event in sorted(RESERVED):
            if hasattr(instance, f"on_{event}"):
                method_arity(getattr(instance, f"on_{event}"), event)
        return Handler(partial(self._run_trigger, instance))

    # A worker

    def _run_handler(
        self,
        function: Callable[..., object],
        catch_all: bool,
        waits: bool,
        socket: Socket,
        name: str,
        arguments: tuple[JSONValue, ...],
    ) -> object:
        if catch_all:
            return self.run(function, socket, ANY, (name, *arguments), name, waits=waits)
        return self.run(function, socket, name, arguments, name, waits=waits)

    def _run_trigger(
        self, instance: ClassNamespace, socket: Socket, name: str, arguments: tuple[JSONValue, ...]
    ) -> object:
        call = partial(instance.trigger_event, name, socket.sid)
        waits = is_async(getattr(instance, f"on_{name}", None))
        run = partial(self.run, call, socket, name, arguments, name, class_based=True, waits=waits)
        result = self._or_error(instance, run)
        if type(result) is not Waiting:
            return result
        start = result.start
        return Waiting(lambda resume: start(lambda end: resume(partial(self._or_error, instance, end))))

    @staticmethod
    def _or_error(instance: ClassNamespace, work: Callable[[], object]) -> object:
        try:
            return work()
        except ConnectionRefused:
            raise
        except Exception as error:
            on_error: Callable[[Exception], object] | None = getattr(instance, "error", None)
            if on_error is None:
                raise
            return on_error(error)

    def run(
        self,
        function: Callable[..., object],
        socket: Socket,
        message: str | None,
        arguments: tuple[JSONValue, ...],
        name: str | None,
        class_based: bool = False,
        waits: bool = False,
    ) -> object:
        """One call in one context: its result, or Waiting for it.

        Args:
            waits: the function is an `async def`; where nobody said so, its coroutine keeps the thread.
        """
        state = self._state_of(socket)
        told = arguments
        if name == "connect":
            told = (state.environ, *arguments)
            arguments = told if class_based else arguments
        elif name == "disconnect":
            arguments = told = tuple(REASONS.get(reason, reason) for reason in arguments)
        entered = state.contexts.enter(
            state, socket.sid, socket.namespace, {"message": message, "args": told}
        )
        work = partial(self._work, function, name, arguments, message == ANY, waits)
        if waits:
            return self._start(entered, state, socket, name, work)
        with entered as context:
            context.request.__dict__[SOCKET_KEY] = socket
            return self._conclude(state, socket, name, work)

    def _work(
        self,
        function: Callable[..., object],
        name: str | None,
        arguments: tuple[JSONValue, ...],
        catch_all: bool,
        waits: bool,
    ) -> object:
        """In the context: the function's result, or its coroutine."""
        if self.before_event is not None and name is not None and name not in RESERVED:
            data = arguments[1:] if catch_all else arguments
            if self.before_event(name, data) is False:
                return None
        result = function(*arguments)
        if type(result) is CoroutineType and not waits:
            return self._asyncio.run(result)
        return result

    def _start(
        self,
        entered: AbstractContextManager[FlaskContext],
        state: ClientState,
        socket: Socket,
        name: str | None,
        work: Callable[[], object],
    ) -> object:
        """The context lives in variables of its own: a worker opens it, the asyncio thread runs the coroutine
        in it, and a worker concludes and closes it."""
        variables = copy_context()

        def close(outcome: Callable[[], object]) -> object:
            return variables.run(_leave, entered, partial(self._conclude, state, socket, name, outcome))

        variables.run(entered.__enter__).request.__dict__[SOCKET_KEY] = socket
        try:
            result = variables.run(work)
        except BaseException as error:
            return close(partial(fail, error))
        if type(result) is not CoroutineType:
            return close(lambda: result)
        if self.blocking:
            return close(partial(self._asyncio.run, result))
        start = self._asyncio.start
        return Waiting(lambda resume: start(result, variables, lambda end: resume(partial(close, end))))

    def _conclude(
        self, state: ClientState, socket: Socket, name: str | None, work: Callable[[], object]
    ) -> object:
        """In the context: the result of `work`, its faults handed to the error handlers."""
        try:
            result = work()
        except ConnectionRefused:
            raise
        except BuiltinConnectionRefusedError as error:
            if name != "connect":
                return self._failed(socket.namespace, error)
            raise ConnectionRefused("Connection refused by server") from error
        except Exception as error:
            return self._failed(socket.namespace, error)
        state.contexts.save_session()
        return result

    def run_alone(self, function: Callable[..., object], arguments: tuple[JSONValue, ...], app: Any) -> None:
        """A call in no client's name: in a context of the application alone."""
        with app.app_context():
            result = function(*arguments)
            if type(result) is CoroutineType:
                self._asyncio.run(result)

    def _failed(self, namespace: str, error: Exception) -> object:
        """In the context of the event that failed: the error handler's result is the ack."""
        on_error = self.error_handlers.get(namespace, self.default_error_handler)
        if on_error is None:
            raise error
        return on_error(error)

    def close(self) -> None:
        """End the asyncio thread."""
        self._asyncio.close()


def _without_arguments(function: Callable[..., object]) -> Callable[..., object]:
    def call(*arguments: object) -> object:
        return function()

    return call


def _leave(entered: AbstractContextManager[FlaskContext], work: Callable[[], object]) -> object:
    """The end of a `with`, whose beginning was elsewhere."""
    try:
        result = work()
    except BaseException as error:
        if not entered.__exit__(type(error), error, error.__traceback__):
            raise
        return None
    entered.__exit__(None, None, None)
    return result
