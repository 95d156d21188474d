"""Engine.IO alone for any WSGI application, in the words of python-engineio's Server.

Must not know: Socket.IO's packets, Flask, selectors; it answers sessions, and is called through the door.
"""

from __future__ import annotations

import inspect
import json as stdlib_json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import Any, Final, TypeAlias, TypedDict, TypeVar, Unpack, overload

from python_server.engineio.cors import AllowedOrigins
from python_server.engineio.options import EngineOptions
from python_server.engineio.packet import Prepared, message
from python_server.engineio.session import DisconnectReason, Session, SessionHandler
from python_server.http1.parser import Request
from python_server.net import tasks
from python_server.net.backlog import Backlog
from python_server.observe import log
from python_server.serve.mounts import Mount
from python_server.socketio.client import ConnectionRefused, NamespaceReason
from python_server.socketio.jsoncodec import words_of
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import Codec, TextCodec
from python_server.socketio.services import HubServices
from python_server.wsgi.environ import Environ, ServerFacts, build_environ

ENGINE_OPTIONS: Final = {
    "ping_interval": "ping_interval_seconds",
    "ping_timeout": "ping_timeout_seconds",
    "max_http_buffer_size": "max_payload_bytes",
    "allow_upgrades": "allow_upgrades",
    "transports": "transports",
    "cors_allowed_origins": "cors_allowed_origins",
    "cors_credentials": "cors_credentials",
    "http_compression": "http_compression",
    "compression_threshold": "compression_threshold_bytes",
    "cookie": "cookie",
    "upgrade_timeout": "upgrade_timeout_seconds",
    "max_queued_bytes": "max_queued_bytes",
    "allow_request": "allow_request",
    "max_decode_packets": "max_packets_per_payload_count",
    "jsonp": "jsonp",
}
# The hub speaks the official server's words, these programs expect python-socketio's.
REASONS: Final = {
    NamespaceReason.CLIENT.value: "client disconnect",
    NamespaceReason.SERVER.value: "server disconnect",
    DisconnectReason.FORCED_CLOSE.value: "server disconnect",
}
Function = Callable[..., object]
# Options as they were given: each is looked at where it is read.
Keywords: TypeAlias = Mapping[str, Any]
# What a program keeps for one client.
SessionData: TypeAlias = dict[str, Any]
# How a program judges a handshake: False or a sentence refuses it.
RequestRule = Callable[[Environ], bool | str | None]
Decorated = TypeVar("Decorated", bound=Function)


class Reason:
    """Why a client left, as disconnect handlers are told; the hub has finer words besides."""

    CLIENT_DISCONNECT: Final = "client disconnect"
    SERVER_DISCONNECT: Final = "server disconnect"
    PING_TIMEOUT: Final = "ping timeout"
    TRANSPORT_CLOSE: Final = "transport close"
    TRANSPORT_ERROR: Final = "transport error"


class EngineKeywords(TypedDict, total=False):
    """What python-engineio's Server takes, and what we add."""

    ping_interval: float | tuple[float, float]
    ping_timeout: float
    upgrade_timeout: float
    max_http_buffer_size: int
    max_queued_bytes: int
    allow_upgrades: bool
    http_compression: bool
    compression_threshold: int
    cookie: str | Mapping[str, object] | None
    cors_allowed_origins: str | Iterable[str] | Callable[[str], bool] | Callable[[str, Environ], bool] | None
    cors_credentials: bool | None
    transports: str | Sequence[str] | None
    allow_request: RequestRule | None
    max_decode_packets: int | None
    jsonp: bool


def read_engine_options(given: Keywords) -> EngineOptions:
    """python-engineio's keywords as ours.

    Raises:
        TypeError: a name that does not exist.
    """
    unknown = sorted(set(given) - set(ENGINE_OPTIONS))
    if unknown:
        raise TypeError(f"there is no option {unknown[0]!r}; there are {', '.join(sorted(ENGINE_OPTIONS))}")
    values = {ENGINE_OPTIONS[name]: value for name, value in given.items()}
    if "transports" in values:
        transports = values["transports"] or ("polling", "websocket")
        values["transports"] = (transports,) if isinstance(transports, str) else tuple(transports)
    if "cors_allowed_origins" in values:
        values["cors_allowed_origins"] = origin_rule(values["cors_allowed_origins"])
    values["allow_request"] = request_rule(values.get("allow_request"))
    return EngineOptions(**values)


def origin_rule(allowed: Any) -> AllowedOrigins:
    """`cors_allowed_origins`, where a function of two arguments gets the origin and the environ.

    It is called on the server's own thread, and must not block.
    """
    if not callable(allowed) or not takes(allowed, 2):
        verbatim: AllowedOrigins = allowed
        return verbatim

    def rule(origin: str, request: Request) -> bool:
        return bool(allowed(origin, build_environ(request, ServerFacts(), BytesIO())))

    return rule


def request_rule(allow: RequestRule | None) -> Callable[[Request], bool | str | None] | None:
    """`allow_request`: asked with the environ of each handshake; False or a sentence refuses (403, code 4).

    It is called on the server's own thread, and must not block; one that raises refuses.
    """
    if allow is None:
        return None

    def rule(request: Request) -> bool | str | None:
        try:
            return allow(build_environ(request, ServerFacts(), BytesIO()))
        except BaseException as error:
            log.report("allow_request", error)
            return False

    return rule


def codec_of(serializer: str, json: object = None) -> Codec:
    """The codec that the options `serializer` and `json` ask for.

    Raises:
        ValueError: no such serializer; a module that cannot be one; both at once.
    """
    if serializer not in ("default", "msgpack"):
        raise ValueError("serializer is 'default' or 'msgpack'")
    if serializer == "msgpack":
        if json is not None:
            raise ValueError("serializer='msgpack' writes no JSON: leave the option json out")
        return MsgpackCodec()
    return TextCodec() if json is None or json is stdlib_json else TextCodec(words_of(json))


class HandlerRegistry:
    """The decorators that both servers share."""

    @overload
    def on(
        self, event: str, handler: None = None, namespace: str | None = None, **options: bool
    ) -> Callable[[Decorated], Decorated]: ...

    @overload
    def on(
        self, event: str, handler: Decorated, namespace: str | None = None, **options: bool
    ) -> Decorated: ...

    def on(
        self, event: str, handler: Function | None = None, namespace: str | None = None, **options: bool
    ) -> object:
        """Register a handler; without one, a decorator. `options` are the server's own, if it has any."""

        def register(function: Function) -> Function:
            self._register(event, function, namespace, **options)
            return function

        return register if handler is None else register(handler)

    @overload
    def event(self, function: Decorated, /) -> Decorated: ...

    @overload
    def event(self, *, namespace: str | None = None, **options: bool) -> Callable[[Decorated], Decorated]: ...

    def event(self, *args: Any, **kwargs: Any) -> Any:
        """Decorator: the event is named as the function is."""
        if len(args) == 1 and not kwargs and callable(args[0]):
            return self.on(args[0].__name__)(args[0])
        return lambda function: self.on(function.__name__, *args, **kwargs)(function)

    def _register(self, event: str, function: Function, namespace: str | None, **options: bool) -> None:
        raise NotImplementedError

    def start_background_task(
        self, target: Function, *args: object, **kwargs: object
    ) -> tasks.BackgroundTask:
        """Run `target` in a thread of its own; the object that is returned can be joined."""
        task = tasks.BackgroundTask(target, args, kwargs, log.report)
        task.start()
        return task

    def sleep(self, seconds: float = 0.0) -> None:
        """Wait without keeping a thread of the pool from others."""
        tasks.sleep(seconds)


def takes(function: Function, count: int) -> bool:
    """Can it be called with so many arguments?"""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    return True


class _EngineClient:
    """What an EngineServer keeps for one session."""

    __slots__ = ("backlog", "data", "environ")

    def __init__(self, backlog: Backlog) -> None:
        self.backlog = backlog
        self.environ: Environ | None = None
        self.data: SessionData = {}


class EngineServer(HandlerRegistry):
    """Engine.IO alone: python-engineio's synchronous Server.

    Handlers: connect(sid, environ), message(sid, data), disconnect(sid[, reason]). A connect handler that
    returns False, or raises ConnectionRefused, ends the session it was called for.
    """

    reason = Reason

    def __init__(self, **options: Unpack[EngineKeywords]) -> None:
        self._options = read_engine_options(options)
        self._handlers: dict[str, Function] = {}
        self._sessions: dict[str, Session] = {}
        self._services: HubServices | None = None
        self._facts = ServerFacts()

    def mount(self, path: str) -> Mount:
        """What the server looks for under `path`."""
        return Mount(path, self, self._options, self._serving)

    def _serving(self, facts: ServerFacts, application: object) -> None:
        self._facts = facts

    def _register(self, event: str, function: Function, namespace: str | None, **options: bool) -> None:
        if options:
            raise TypeError(f"there is no option {next(iter(options))!r}")
        if event not in ("connect", "message", "disconnect"):
            raise ValueError("Engine.IO has the events connect, message and disconnect")
        self._handlers[event] = function

    # Any thread

    def send(self, sid: str, data: str | bytes) -> None:
        """Send one message; nothing happens for a client that has gone."""
        prepared = Prepared([message(data)])
        self._running().door.post(self._send, sid, prepared, nbytes=len(prepared.frames))

    def disconnect(self, sid: str | None = None) -> None:
        """End a session, or all."""
        self._running().door.post(self._end, sid)

    def transport(self, sid: str) -> str:
        """ "polling" or "websocket"."""
        return self._running().door.ask(lambda: self._sessions[sid].transport)

    def get_session(self, sid: str) -> SessionData:
        """The client's dictionary."""
        data: SessionData = self._client(sid).data
        return data

    def save_session(self, sid: str, session: SessionData) -> None:
        self._client(sid).data = session

    @contextmanager
    def session(self, sid: str) -> Iterator[SessionData]:
        """The client's dictionary, saved at the end of the block."""
        session = self.get_session(sid)
        yield session
        self.save_session(sid, session)

    def _client(self, sid: str) -> _EngineClient:
        client: _EngineClient = self._running().door.ask(lambda: self._sessions[sid].context)
        return client

    def _running(self) -> HubServices:
        if self._services is None:
            raise RuntimeError("no server runs yet")
        return self._services

    # Loop's thread

    def attach(self, services: HubServices) -> SessionHandler:
        """A worker serves from here on; this answers its sessions."""
        self._services = services
        return self

    def session_opened(self, session: Session) -> None:
        client = session.context = _EngineClient(Backlog(self._running().door, session.pause_reading))
        self._sessions[session.sid] = session
        session.join()
        client.backlog.strand.submit(partial(self._run_connect, session, client))

    def on_message(self, session: Session, data: str | bytes) -> None:
        client: _EngineClient = session.context
        backlog = client.backlog
        if backlog.submit(partial(self._run, "message", session.sid, data), len(data)):
            if backlog.overloaded:
                session.end(DisconnectReason.SLOW_CLIENT)
            else:
                backlog.pause()

    def session_closed(self, session: Session, reason: DisconnectReason) -> None:
        self._sessions.pop(session.sid, None)
        client: _EngineClient = session.context
        job = partial(self._run, "disconnect", session.sid, REASONS.get(reason, str(reason)))
        client.backlog.strand.submit(job)

    def _send(self, sid: str, prepared: Prepared) -> None:
        session = self._sessions.get(sid)
        if session is not None:
            session.send(prepared)

    def _end(self, sid: str | None) -> None:
        for session in list(self._sessions.values()) if sid is None else [self._sessions.get(sid)]:
            if session is not None:
                session.end(DisconnectReason.FORCED_CLOSE)

    # Workers

    def _run_connect(self, session: Session, client: _EngineClient) -> None:
        request = session.request
        client.environ = request.context or build_environ(request, self._facts, BytesIO())
        try:
            if self._call("connect", session.sid, client.environ) is not False:
                return
        except ConnectionRefused:
            pass
        except BaseException as error:
            log.report("handler of event 'connect'", error)
        self._running().door.post(self._end, session.sid)

    def _run(self, event: str, *arguments: object) -> None:
        try:
            self._call(event, *arguments)
        except BaseException as error:
            log.report(f"handler of event {event!r}", error)

    def _call(self, event: str, *arguments: object) -> object:
        function = self._handlers.get(event)
        if function is None:
            return None
        return function(*(arguments if takes(function, len(arguments)) else arguments[:-1]))
