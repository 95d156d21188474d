"""How the faces are told which function handles what: the decorators they share, and what a handler may be.

Must not know: hubs, engines, Flask; what it was told goes to the face that was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import Any, Final, Unpack, overload

from python_server.api.keywords import Decorated, Function, OnKeywords, Rate, refuse_unknown
from python_server.api.options import takes
from python_server.engineio.session import DisconnectReason
from python_server.http1.parser import Request
from python_server.net import tasks
from python_server.net.tasks import name_of
from python_server.observe import log
from python_server.socketio.broadcast import DEFAULT_NAMESPACE
from python_server.socketio.client import NamespaceReason
from python_server.socketio.handlers import RESERVED
from python_server.socketio.server import Hub
from python_server.wsgi.environ import Application, Environ, ServerFacts, build_environ

# The hub speaks the official server's words, these programs expect python-socketio's.
REASONS: Final = {
    NamespaceReason.CLIENT.value: "client disconnect",
    NamespaceReason.SERVER.value: "server disconnect",
    DisconnectReason.FORCED_CLOSE.value: "server disconnect",
}
# inline, ordered and rate, as Handler takes them.
Turn = tuple[bool, bool, tuple[int, float] | None]


class Reason:
    """Why a client left, as disconnect handlers are told; the hub has finer words besides."""

    CLIENT_DISCONNECT: Final = "client disconnect"
    SERVER_DISCONNECT: Final = "server disconnect"
    PING_TIMEOUT: Final = "ping timeout"
    TRANSPORT_CLOSE: Final = "transport close"
    TRANSPORT_ERROR: Final = "transport error"


class Face:
    """What every face has: a decorator that names the event as the function is, a handshake's environ."""

    on: Callable[..., Any]
    _facts = ServerFacts()

    def _serving(self, facts: ServerFacts, application: Application) -> None:
        """Loop's thread: a worker serves from here on."""
        self._facts = facts

    def _handshake_environ(self, request: Request) -> Environ:
        return request.context or build_environ(request, self._facts, BytesIO())

    @overload
    def event(self, function: Decorated, /) -> Decorated: ...

    @overload
    def event(
        self, namespace: str | None = None, **options: Unpack[OnKeywords]
    ) -> Callable[[Decorated], Decorated]: ...

    def event(self, *args: Any, **kwargs: Any) -> Any:
        """Decorator: register the function as handler of the event that has the function's name.

            @server.event
            def answer(*arguments): ...

            @server.event(namespace="/chat")
            def message(*arguments): ...

        Args:
            args, kwargs: the function; or those of `on`, without the event's name.
        """

        def register(function: Function) -> object:
            return self.on(function.__name__, **kwargs)(function)

        if args and callable(args[0]):
            return register(args[0])
        if args:
            kwargs["namespace"] = args[0]
        return register


class Declaring:
    """What a face of a hub has besides: a word for what it sends, which `wsframe schema` repeats."""

    _hub: Hub

    def emits(self, event: str, *types: object, namespace: str | None = None, answer: object = None) -> None:
        """Declare an event that the server sends, for `wsframe schema`. Nothing else changes.

            socketio.emits("told", Told)

        Args:
            types: of its arguments, in their order: a Struct, a dataclass, a TypedDict, `str`, `list[int]`.
            namespace: default "/".
            answer: type of the acknowledgement; None: it is sent without asking for one.
        """
        self._hub.handlers.sent[namespace or DEFAULT_NAMESPACE, event] = types, answer


class HandlerRegistry(Face):
    """What python-socketio's and python-engineio's servers share."""

    reason = Reason

    @overload
    def on(
        self, event: str, handler: None = None, namespace: str | None = None, **options: Unpack[OnKeywords]
    ) -> Callable[[Decorated], Decorated]: ...

    @overload
    def on(
        self, event: str, handler: Decorated, namespace: str | None = None, **options: Unpack[OnKeywords]
    ) -> Decorated: ...

    def on(
        self,
        event: str,
        handler: Function | None = None,
        namespace: str | None = None,
        **options: Unpack[OnKeywords],
    ) -> object:
        """Register a handler; without one, return a decorator for it.

            @server.on("answer")
            def answer(sid, value): ...

        Args:
            event: its name; also `connect`, `disconnect`, and `*` for events without a handler.
            handler: the function; gets (sid, environ[, auth]) for `connect`, else the sid and the arguments.
            namespace: default "/".
            options: inline, ordered, rate_limit: as of `SocketIO.on`.

        Raises:
            TypeError: an option is invalid, or the function is an async def.
            ValueError: the event or the rate is invalid.
        """
        turn = read_turn(event, options)

        def register(function: Function) -> Function:
            self._register(event, function, namespace, turn)
            return function

        return register if handler is None else register(handler)

    def _register(self, event: str, function: Function, namespace: str | None, turn: Turn) -> None:
        raise NotImplementedError

    def start_background_task(
        self, target: Function, *args: object, **kwargs: object
    ) -> tasks.BackgroundTask:
        """Run a function in a separate thread, at once.

            server.start_background_task(send_prices, 5)

        Args:
            target: the function.
            args, kwargs: its arguments.

        Returns:
            The task, which has `join()`.
        """
        task = tasks.BackgroundTask(target, args, kwargs, log.report)
        task.start()
        return task

    def sleep(self, seconds: float = 0.0) -> None:
        """Wait; meanwhile another handler may use this place in the thread pool.

            server.sleep(0.5)

        Args:
            seconds: with 0, other threads may run.
        """
        tasks.sleep(seconds)


def read_turn(event: str, options: OnKeywords) -> Turn:
    """When a handler of `event` runs, and how often a client may ask for it.

    Raises TypeError: no such option; connect or disconnect out of turn; `@on` without its parentheses.
    ValueError: the rate is none.
    """
    if callable(event):
        raise TypeError(f"name the event: @on({name_of(event)!r}) instead of @on, or @event")
    refuse_unknown(f"the handler of {event!r}", options, OnKeywords)
    inline, ordered = bool(options.get("inline", False)), bool(options.get("ordered", True))
    if event in RESERVED and (inline or not ordered):
        raise TypeError(f"{event} is always a client's own turn: neither inline nor ordered=False")
    return inline, ordered, check_rate(options.get("rate_limit"))


def check_rate(rate: Rate) -> tuple[int, float] | None:
    """ "20/s", "5/10s", "100/m" or (count, seconds) as (count, seconds). Raises ValueError: it is neither."""
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


def arity_of(function: Function, event: str, bound_count: int = 0) -> int:
    """How many arguments a handler of `connect` or `disconnect` takes behind those that are bound: 1, or 0.

    Raises TypeError: more than one.
    """
    for count in (1, 0):
        if takes(function, bound_count + count):
            return count
    what = "auth" if event == "connect" else "reason"
    raise TypeError(
        f"the {event} handler {name_of(function)} may take {what}, or nothing, and no more "
        "[handler-arguments]"
    )


_cached_arity: Final = lru_cache(maxsize=1024)(arity_of)


def method_arity(method: Function, event: str) -> int:
    """`arity_of` a bound method, worked out once per class."""
    function: Function | None = getattr(method, "__func__", None)
    return arity_of(method, event) if function is None else _cached_arity(function, event, 1)
