"""How an event of the hub becomes a call of the user's function, in a Flask context of the client.

Must not know: sockets, how the application is served, what `emit` does.
"""

from __future__ import annotations

from builtins import ConnectionRefusedError as BuiltinConnectionRefusedError
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from contextvars import copy_context
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Final

from python_server.api.event_checks import Check, check_of
from python_server.api.flask_socketio.context import ClientState, FlaskContext
from python_server.api.flask_socketio.namespace import Namespace
from python_server.api.handler_registry import REASONS, Turn, arity_of, method_arity
from python_server.api.keywords import Function
from python_server.api.options import takes
from python_server.net.tasks import is_async, name_of
from python_server.net.threads import Lock, fail
from python_server.observe import log
from python_server.socketio.client import ConnectionRefused, Handler, InvalidArguments, Socket
from python_server.socketio.handler_runner import Waiting
from python_server.socketio.handlers import ANY, RESERVED
from python_server.socketio.values import JSONValue

if TYPE_CHECKING:
    from python_server.net.coroutines import AsyncRunner

CALLED_ONCE: Final = (
    "connect handler %s raised TypeError when it was given the client's auth; Flask-SocketIO would call it "
    "again without, this server does not: let it take no argument, or give its decorator functools.wraps"
)
# Where a request remembers whose event it is.
SOCKET_KEY: Final = "python_server.socket"


class EventRunner:
    """Runs handlers in contexts, and hands their faults to the application's error handlers.

    Args:
        state_of: the client's state, made at its first event.
    """

    def __init__(self, state_of: Callable[[Socket], ClientState]) -> None:
        self._state_of = state_of
        self._lock = Lock()
        self._runner: AsyncRunner | None = None
        # Coroutines keep the thread that called them: tests wait for their results.
        self.blocking = False
        self.error_handlers: dict[str, Function] = {}
        self.default_error_handler: Function | None = None
        self.before_event: Function | None = None

    @property
    def _coroutines(self) -> AsyncRunner:
        """Any thread; made with the first coroutine."""
        with self._lock:
            if self._runner is None:
                from python_server.net.coroutines import AsyncRunner

                self._runner = AsyncRunner()
            return self._runner

    # At registration

    def handler(self, message: str, function: Function, turn: Turn) -> Handler:
        """The hub's handler of the event `message`.

        Raises TypeError: not callable; takes what the event does not bring; or cannot run inline.
        """
        if not callable(function):
            raise TypeError(f"a handler is a function, not {type(function).__name__}")
        waits = is_async(function)
        if message in RESERVED and arity_of(function, message) == 0:
            plain = function
            function = lambda *arguments: plain()  # noqa: E731
        inline, *_ = turn
        if inline and waits:
            raise TypeError(
                "inline=True needs a plain function: write def, or leave inline=True out [async-handler]"
            )
        check = None
        if message != "disconnect":
            check = check_of(function, message == ANY, auth=message == "connect")
        run = self._run_any if message == ANY else self.run
        return Handler(partial(run, function, waits, check), *turn)

    def whole(self, instance: Namespace) -> Handler:
        """The hub's handler of a class namespace: its `trigger_event(event, sid, *arguments)`.

        Its method `error`, if there is one, gets what no error handler took.
        """
        for event in sorted(RESERVED):
            if hasattr(instance, f"on_{event}"):
                method_arity(getattr(instance, f"on_{event}"), event)
        names = frozenset(name.removeprefix("on_") for name in dir(instance) if name.startswith("on_"))
        checks = {
            name: check
            for name in names - {"disconnect"}
            if callable(method := getattr(instance, f"on_{name}"))
            and (check := check_of(method, auth=name == "connect"))
        }
        return Handler(partial(self._run_trigger, instance, checks), names=names)

    # A worker

    def _run_any(
        self,
        function: Function,
        waits: bool,
        check: Check | None,
        socket: Socket,
        name: str,
        arguments: tuple[JSONValue, ...],
    ) -> object:
        return self.run(function, waits, check, socket, name, (name, *arguments), ANY)

    def _run_trigger(
        self,
        instance: Namespace,
        checks: dict[str, Check],
        socket: Socket,
        name: str,
        arguments: tuple[JSONValue, ...],
    ) -> object:
        call: Function = partial(instance.trigger_event, name, socket.sid)
        if name == "connect":
            call = partial(call, self._state_of(socket).environ)
        waits = is_async(getattr(instance, f"on_{name}", None))
        run = partial(self.run, call, waits, checks.get(name), socket, name, arguments)
        result = self._or_error(instance, run)
        if type(result) is not Waiting:
            return result
        start = result.start
        return Waiting(lambda resume: start(lambda end: resume(partial(self._or_error, instance, end))))

    @staticmethod
    def _or_error(instance: Namespace, work: Callable[[], object]) -> object:
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
        function: Function,
        waits: bool,
        check: Check | None,
        socket: Socket,
        name: str | None,
        arguments: tuple[JSONValue, ...],
        message: str | None = None,
    ) -> object:
        """One call in one context: its result, or Waiting for it.

        Args:
            waits: the function is an `async def`; where nobody said so, its coroutine keeps the thread.
            check: of what the client has sent, if it is to be checked.
            name: of the event; None for a callback. message: what the function is registered for, if another.
        """
        state = self._state_of(socket)
        told = arguments
        if name == "connect":
            told = (state.environ, *arguments)
        elif name == "disconnect":
            arguments = told = tuple(REASONS.get(reason, reason) for reason in arguments)
        event: dict[str, object] = {"message": message or name, "args": told}
        entered = state.contexts.enter(state, socket.sid, socket.namespace, event)
        work = partial(self._work, check, event, function, waits, name, arguments, message)
        if waits:
            return self._start(entered, state, socket, name, work)
        with entered as context:
            context.request.__dict__[SOCKET_KEY] = socket
            return self._conclude(state, socket, name, work)

    def _work(
        self,
        check: Check | None,
        event: dict[str, object],
        function: Function,
        waits: bool,
        name: str | None,
        arguments: tuple[JSONValue, ...],
        message: str | None,
    ) -> object:
        """In the context: the function's result, or its coroutine. `before_event` hears what was sent, and
        finds its fault with the event."""
        called: tuple[object, ...] = arguments
        fault: InvalidArguments | None = None
        if check is not None:
            try:
                called = check.convert(arguments[1:] if message == ANY else arguments)
                called = (name, *called) if message == ANY else called
            except InvalidArguments as error:
                event["fault"], fault = error.answer, error
        if self.before_event is not None and name is not None and name not in RESERVED:
            data = arguments[1:] if message == ANY else arguments
            if self.before_event(name, data) is False:
                return None
        if fault is not None:
            raise fault
        try:
            result = function(*called)
        except TypeError:
            if check is None and name == "connect" and takes(function, 0):
                log.warn(CALLED_ONCE % name_of(getattr(function, "func", function)))
            raise
        if type(result) is CoroutineType and not waits:
            return self._coroutines.run(result)
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
        opened = ExitStack()

        def conclude(outcome: Callable[[], object]) -> object:
            with opened:
                return self._conclude(state, socket, name, outcome)

        def close(outcome: Callable[[], object]) -> object:
            return variables.run(conclude, outcome)

        variables.run(opened.enter_context, entered).request.__dict__[SOCKET_KEY] = socket
        try:
            result = variables.run(work)
        except BaseException as error:
            return close(partial(fail, error))
        if type(result) is not CoroutineType:
            return close(lambda: result)
        if self.blocking:
            return close(partial(self._coroutines.run, result))
        start = self._coroutines.start
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

    def run_alone(
        self, function: Function, arguments: tuple[JSONValue, ...], entered: AbstractContextManager[object]
    ) -> None:
        """A call in no client's name: in a context of the application alone."""
        with entered:
            result = function(*arguments)
            if type(result) is CoroutineType:
                self._coroutines.run(result)

    def _failed(self, namespace: str, error: Exception) -> object:
        """In the context of the event that failed: the error handler's result is the ack."""
        on_error = self.error_handlers.get(namespace, self.default_error_handler)
        if on_error is None:
            raise error
        return on_error(error)
