"""Engine.IO alone for any WSGI application, in the words of python-engineio's Server.

Must not know: Socket.IO's packets, Flask, selectors; it answers sessions, and is called through the door.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Unpack

from python_server.api.handler_registry import REASONS, HandlerRegistry, Turn
from python_server.api.keywords import EngineKeywords, Function, SessionData, refuse_unknown
from python_server.api.options import read_engine_options, takes
from python_server.engineio.packet import Prepared, message
from python_server.engineio.session import DisconnectReason, Session, SessionHandler
from python_server.net.client_backlog import Backlog
from python_server.observe import log
from python_server.serve.mounts import Mount
from python_server.socketio.client import ConnectionRefused
from python_server.socketio.services import HubServices

EVENTS: Final = ("connect", "message", "disconnect")


@dataclass(slots=True)
class _EngineClient:
    """What an EngineServer keeps for one session."""

    backlog: Backlog
    data: SessionData = field(default_factory=dict)


class EngineServer(HandlerRegistry):
    """Engine.IO alone: the synchronous Server of python-engineio 4.

    Handlers: connect(sid, environ), message(sid, data), disconnect(sid[, reason]). A connect handler that
    returns False, or raises ConnectionRefused, ends the session it was called for. Mount it with WSGIApp:

        engine = EngineServer(ping_interval=10)

        @engine.on("message")
        def echo(sid, data):
            engine.send(sid, data)

        app = WSGIApp(engine, wsgi_app)

    Args:
        options: python-engineio's, with its defaults; times in seconds, sizes in bytes.

    Raises:
        TypeError, ValueError: an option, or a value of it, that does not exist.
    """

    def __init__(self, **options: Unpack[EngineKeywords]) -> None:
        refuse_unknown("EngineServer", options, EngineKeywords)
        self._options = read_engine_options(options)
        self._handlers: dict[str, Function] = {}
        self._sessions: dict[str, Session] = {}
        self._services: HubServices | None = None

    def mount(self, path: str) -> Mount:
        """What the server looks for under `path`."""
        return Mount(path, self, self._options, self._serving)

    def _register(self, event: str, function: Function, namespace: str | None, turn: Turn) -> None:
        if turn != (False, True, None):
            raise TypeError("Engine.IO's handlers have no options")
        if event not in EVENTS:
            raise ValueError("Engine.IO has the events connect, message and disconnect")
        self._handlers[event] = function if takes(function, 2) else lambda sid, last: function(sid)

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
        return self._client(sid).data

    def save_session(self, sid: str, session: SessionData) -> None:
        """Replace the client's dictionary."""
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
        client.backlog.strand.submit(partial(self._run_connect, session))

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

    def _run_connect(self, session: Session) -> None:
        if self._call("connect", session.sid, self._handshake_environ(session.request)) is False:
            self._running().door.post(self._end, session.sid)

    def _run(self, event: str, sid: str, last: object) -> None:
        self._call(event, sid, last)

    def _call(self, event: str, sid: str, last: object) -> object:
        """What the handler returns; False when it fails or refuses."""
        function = self._handlers.get(event)
        try:
            return None if function is None else function(sid, last)
        except BaseException as error:
            if event != "connect" or not isinstance(error, ConnectionRefused):
                log.report(f"handler of event {event!r}", error)
            return False
