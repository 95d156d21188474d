"""Engine.IO alone for any WSGI application, in the words of python-engineio's Server.

Must not know: Socket.IO's packets, Flask, selectors; it answers sessions, and is called through the door.
"""

from __future__ import annotations

import json as stdlib_json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final, Protocol, Unpack

from python_server.api.handler_registry import REASONS, HandlerRegistry, Turn
from python_server.api.keywords import (
    EngineKeywords,
    Function,
    NamedEngineKeywords,
    SessionData,
    drop_unknown,
)
from python_server.api.options import ASYNC_MODES, read_engine_options, takes
from python_server.api.peer_views import EngineSocket
from python_server.api.thread_words import ThreadWords
from python_server.api.wsgi_app import Middleware, Mounting, WSGIApp
from python_server.engineio.packet import Prepared, message
from python_server.engineio.session import DisconnectReason, Session, SessionHandler
from python_server.net.client_backlog import Backlog
from python_server.observe import log
from python_server.observe.masking import short
from python_server.serve.called_servers import UNMOUNTED
from python_server.serve.mounts import Mount
from python_server.socketio.client import ConnectionRefused
from python_server.socketio.jsoncodec import JSONError, JSONWords, words_of
from python_server.socketio.services import HubServices

# `from python_server.api import python_engineio as engineio` has what programs ask of that package's server.
__all__ = ["EngineServer", "Middleware", "Server", "WSGIApp"]

EVENTS: Final = ("connect", "message", "disconnect")


@dataclass(slots=True)
class _EngineClient:
    """What an EngineServer keeps for one session."""

    backlog: Backlog
    data: SessionData = field(default_factory=dict)


class EncodesItself(Protocol):
    """python-engineio's Packet."""

    def encode(self) -> str | bytes: ...


class EngineServer(HandlerRegistry, Mounting, ThreadWords):
    """An Engine.IO server without Socket.IO, with the API of the synchronous Server of python-engineio 4.

    Handlers: connect(sid, environ), message(sid, data), disconnect(sid[, reason]). If a connect handler
    returns a value other than True or None, or raises an exception, the session ends. A message arrives as
    the text or the bytes that were sent. Mount the server with WSGIApp:

        engine = EngineServer(ping_interval=10)

        @engine.on("message")
        def echo(sid, data):
            engine.send(sid, data)

        app = WSGIApp(engine, wsgi_app)

    Args:
        logger: True, or a logger object: it gets lines about sessions and refused requests.
        async_mode, async_handlers, monitor_clients: accepted, no effect (docs/migration.md).
        ping_interval, ping_timeout: seconds between two pings, and seconds to wait for the answer.
        max_http_buffer_size: maximum bytes of one message or polling body.
        transports: "polling", "websocket" or both. allow_upgrades: whether a session may change to WebSocket.
        http_compression: whether to compress responses to polls from `compression_threshold` bytes on.
        cookie: name of a cookie with the session id. cors_allowed_origins: as of `SocketIO`.
        json: a module with dumps and loads, for messages that are lists and mappings.
        cors_credentials: None means True, except with `cors_allowed_origins="*"`.
        options: further options. Times are in seconds, sizes in bytes. The log names unknown options.

    Raises:
        ValueError: the value of an option is invalid.
    """

    default_path = "engine.io"
    _reads_json: ClassVar[bool] = False

    def __init__(
        self,
        async_mode: str | None = None,
        ping_interval: float | tuple[float, float] = 25,
        ping_timeout: float = 20,
        max_http_buffer_size: int = 1_000_000,
        allow_upgrades: bool = True,
        http_compression: bool = True,
        compression_threshold: int = 1024,
        cookie: str | Mapping[str, object] | None = None,
        cors_allowed_origins: str | Iterable[str] | Callable[..., bool] | bool | None = None,
        cors_credentials: bool | None = None,
        logger: object = False,
        json: object = None,
        async_handlers: bool = True,
        monitor_clients: bool | None = None,
        transports: str | Sequence[str] | None = None,
        **options: Unpack[NamedEngineKeywords],
    ) -> None:
        given: dict[str, Any] = dict(locals())
        if async_mode not in ASYNC_MODES:
            raise ValueError("Invalid async_mode specified")
        given |= drop_unknown("EngineServer", options, EngineKeywords)
        self._options = read_engine_options(given)
        self._logger = logger
        self._json = JSONWords() if json in (None, stdlib_json) else words_of(json)
        self._handlers: dict[str, Function] = {}
        self._sessions: dict[str, Session] = {}
        self._services: HubServices | None = None
        UNMOUNTED.add(self)

    def mount(self, path: str) -> Mount:
        """What the server looks for under `path`."""
        return Mount(path, self, self._options, self._serving, loggers=(None, self._logger))

    def _register(self, event: str, function: Function, namespace: str | None, turn: Turn) -> None:
        if turn != (False, True, None):
            raise TypeError("Engine.IO's handlers have no options")
        if event not in EVENTS:
            raise ValueError("Engine.IO has the events connect, message and disconnect")
        self._handlers[event] = function if takes(function, 2) else lambda sid, last: function(sid)

    # Any thread

    @property
    def sockets(self) -> dict[str, EngineSocket]:
        """The sessions of this process as they are, by sid."""
        return {} if self._services is None else self._services.door.ask(self._sockets)

    def _sockets(self) -> dict[str, EngineSocket]:
        sessions = self._sessions.items()
        return {sid: EngineSocket(sid, session.transport == "websocket") for sid, session in sessions}

    def send(self, sid: str, data: object) -> None:
        """Send one message; nothing happens for a client that has gone.

            engine.send(sid, "hello")

        Args:
            data: str or bytes are sent unchanged, a list or a mapping as JSON, anything else as str.
        """
        if isinstance(data, (bytes, bytearray)):
            packet: str | bytes = bytes(data)
        elif isinstance(data, (list, dict)):
            packet = message(self._json.dumps(data))
        else:
            packet = message("" if data is None else str(data))
        self._send_encoded(sid, packet)

    def send_packet(self, sid: str, pkt: EncodesItself) -> None:
        """Send `pkt`, a packet of python-engineio's class; its own method encodes it.

            engine.send_packet(sid, Packet(packet.MESSAGE, "hello"))

        Nothing happens for a client that has gone.
        """
        self._send_encoded(sid, pkt.encode())

    def _send_encoded(self, sid: str, packet: str | bytes) -> None:
        prepared = Prepared([packet])
        self._running().door.post(self._send, sid, prepared, nbytes=len(prepared.frames))

    def disconnect(self, sid: str | None = None) -> None:
        """End a session, or without a sid all sessions of this process.

            engine.disconnect(sid)

        Nothing happens for a client that has gone.
        """
        self._running().door.post(self._end, sid)

    def transport(self, sid: str) -> str:
        """Return the transport of a client.

            if engine.transport(sid) == "websocket": ...

        Returns: "polling" or "websocket". Raises KeyError: no such client.
        """
        return self._running().door.ask(lambda: self._sessions[sid].transport)

    def get_session(self, sid: str) -> SessionData:
        """Return the program's data for a client.

            name = engine.get_session(sid)["name"]

        Returns: the client's dictionary. Raises KeyError: no such client.
        """
        return self._client(sid).data

    def save_session(self, sid: str, session: SessionData) -> None:
        """Replace the client's dictionary by `session`.

            engine.save_session(sid, {"name": "ann"})

        Raises KeyError: no such client.
        """
        self._client(sid).data = session

    @contextmanager
    def session(self, sid: str) -> Iterator[SessionData]:
        """Open the client's dictionary; it is saved at the end of the block.

            with engine.session(sid) as session: session["name"] = "ann"

        Returns: a context manager. Raises KeyError: no such client.
        """
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
        client.backlog.strand.submit(partial(self._run_connect, session))

    def on_message(self, session: Session, data: str | bytes) -> None:
        client: _EngineClient = session.context
        backlog = client.backlog
        if backlog.submit(partial(self._run_message, session.sid, data), len(data)):
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

    def _run_connect(self, session: Session) -> None:
        answer = self._call("connect", session.sid, self._handshake_environ(session.request))
        if answer is not None and answer is not True:
            self._running().door.post(self._end, session.sid)

    def _run_message(self, sid: str, data: str | bytes) -> None:
        value: object = data
        if self._reads_json and isinstance(data, str) and not data[:1].isnumeric():  # integers stay text
            try:
                value = self._json.loads(data)
            except JSONError:
                pass
        self._call("message", sid, value)

    def _run(self, event: str, sid: str, last: object) -> None:
        self._call(event, sid, last)

    def _call(self, event: str, sid: str, last: object) -> object:
        """What the handler returns; False when it fails or refuses."""
        function = self._handlers.get(event)
        try:
            return None if function is None else function(sid, last)
        except BaseException as error:
            if event != "connect" or not isinstance(error, ConnectionRefused):
                log.report(log.Named.of(f"handler of event {event!r}", event=event, sid=short(sid)), error)
            return False


class Server(EngineServer):
    """An EngineServer that reads messages as python-engineio's Server does.

    One that is JSON arrives as its value; a number, and what is no JSON, as text.
    """

    _reads_json = True
