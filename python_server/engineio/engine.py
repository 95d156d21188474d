"""The Engine.IO server: requests become sessions, polls, posts and upgrades.

Must not know: event names, rooms, Flask, sockets; a connection is an exchange or a WebSocket channel.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final
from urllib.parse import parse_qsl

from python_server.engineio.heartbeat import Heartbeats
from python_server.engineio.origin import AllowedOrigins, OriginRules
from python_server.engineio.packet import (
    PROBE_PING,
    PROBE_PONG,
    PacketError,
    PacketType,
    Prepared,
    decode_payload,
    open_packet,
)
from python_server.engineio.session import (
    DisconnectReason,
    OverlapError,
    Session,
    SessionHandler,
    SessionState,
)
from python_server.exchange import Exchange
from python_server.http1 import Request
from python_server.websocket_channel import WebSocketChannel, WebSocketServices, accept_websocket
from wsframe import CloseCode

PROTOCOL: Final = "4"
SID_BYTES: Final = 15  # 20 characters of base64url, as both reference servers


class EngineError(Enum):
    """The protocol's refusals: (code, message, HTTP status), as the official server gives them."""

    UNKNOWN_TRANSPORT = (0, "Transport unknown", 400)
    UNKNOWN_SID = (1, "Session ID unknown", 400)
    BAD_HANDSHAKE_METHOD = (2, "Bad handshake method", 400)
    BAD_REQUEST = (3, "Bad request", 400)
    FORBIDDEN = (4, "Forbidden", 403)
    UNSUPPORTED_PROTOCOL_VERSION = (5, "Unsupported protocol version", 400)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of an engine, with the official server's defaults."""

    ping_interval_seconds: float = 25.0
    ping_timeout_seconds: float = 20.0
    # A polling body or a WebSocket message.
    max_payload_bytes: int = 1_000_000
    # A probed WebSocket must say "5" within this.
    upgrade_timeout_seconds: float = 10.0
    # How long a close packet waits for a poll to fetch it.
    closing_timeout_seconds: float = 30.0
    # Packets waiting for a polling client; a WebSocket's bound is the transport's hard limit.
    max_queued_bytes: int = 16 * 1024 * 1024
    transports: tuple[str, ...] = ("polling", "websocket")
    allow_upgrades: bool = True
    cors_allowed_origins: AllowedOrigins = None
    cors_credentials: bool = True


class _Post:
    """The body of a POST under way."""

    __slots__ = ("pieces", "session", "size_bytes")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.pieces: list[bytes] = []
        self.size_bytes = 0


class Engine:
    """Answers the requests under its path. Every method belongs to the loop's thread.

    Args:
        handler: hears of sessions and messages.
        call_later, now: the loop's clock.
        websockets: what WebSocket channels need.
        complain: called with (kind, sentence) for what an operator should see.
    """

    def __init__(
        self,
        handler: SessionHandler,
        options: EngineOptions,
        call_later: Callable[[float, Callable[[], Any]], Any],
        now: Callable[[], float],
        websockets: WebSocketServices,
        complain: Callable[[str, str], None],
    ) -> None:
        self._handler = handler
        self._options = options
        self._call_later = call_later
        self._now = now
        self._websockets = websockets
        self._complain = complain
        self._origins = OriginRules(options.cors_allowed_origins, options.cors_credentials)
        self._heartbeats = Heartbeats(options.ping_interval_seconds, options.ping_timeout_seconds)
        self._heartbeat_timer: Any = None
        self.sessions: dict[str, Session] = {}

    def close(self, reason: DisconnectReason = DisconnectReason.SERVER_SHUTTING_DOWN) -> None:
        """End every session."""
        for session in list(self.sessions.values()):
            session.end(reason)

    # The RequestHandler port

    def request_received(self, exchange: Exchange) -> None:
        request = exchange.request
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        refusal = self._origins.refusal(request)
        if refusal is not None:
            self._complain("origin refused", refusal)
            self._refuse(exchange, EngineError.FORBIDDEN, refusal)
            return
        if request.method == "OPTIONS":
            exchange.respond(204, self._origins.headers(request))
            return
        transport, sid = query.get("transport"), query.get("sid")
        if transport not in self._options.transports:
            self._refuse(exchange, EngineError.UNKNOWN_TRANSPORT)
        elif sid is None:
            self._handshake(exchange, transport, query.get("EIO", ""))
        else:
            session = self.sessions.get(sid)
            if session is None:
                self._refuse(exchange, EngineError.UNKNOWN_SID)
            elif transport == "websocket":
                self._upgrade(exchange, session)
            else:
                self._polling(exchange, session)

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        post: _Post | None = exchange.context
        if type(post) is not _Post:
            return
        post.size_bytes += len(piece)
        if post.size_bytes > self._options.max_payload_bytes:
            self._too_large(exchange, post)
        else:
            post.pieces.append(piece)

    def body_ended(self, exchange: Exchange) -> None:
        post: _Post | None = exchange.context
        if type(post) is not _Post:
            return
        session = post.session
        exchange.context = None
        session.posting = False
        if not session.alive:
            self._refuse(exchange, EngineError.UNKNOWN_SID)
            return
        try:
            packets = decode_payload(b"".join(post.pieces))
        except PacketError:
            session.end(DisconnectReason.PARSE_ERROR)
            self._refuse(exchange, EngineError.BAD_REQUEST)
            return
        session.receive_packets(packets)
        self._answer(exchange, "ok")

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        context, exchange.context = exchange.context, None
        if type(context) is _Post:
            context.session.posting = False
            context.session.end(DisconnectReason.TRANSPORT_ERROR)
        elif type(context) is Session:
            context.poll_lost()
            self._release(context)
        exchange.abort(reason)  # a half-closed connection that nothing will be sent to any more

    # Handshake

    def _handshake(self, exchange: Exchange, transport: str, protocol: str) -> None:
        request = exchange.request
        if protocol != PROTOCOL:
            if protocol:
                self._complain(
                    "protocol version",
                    f"a client speaks Engine.IO protocol {protocol[:8]!r}, this server speaks 4: "
                    "socket.io-client 3 or 4 and python-socketio 5 fit",
                )
            self._refuse(exchange, EngineError.UNSUPPORTED_PROTOCOL_VERSION)
        elif request.method != "GET":
            self._refuse(exchange, EngineError.BAD_HANDSHAKE_METHOD)
        elif transport == "polling":
            session = self._open(request)
            upgrades = (
                ["websocket"]
                if self._options.allow_upgrades and "websocket" in self._options.transports
                else []
            )
            self._answer(exchange, self._open_packet(session, upgrades))
            self._handler.session_opened(session)
        elif not self._wants_websocket(request):
            self._refuse(exchange, EngineError.BAD_REQUEST)
        else:
            self._accept(exchange, self._open_on_websocket)

    def _open(self, request: Request) -> Session:
        sid = secrets.token_urlsafe(SID_BYTES)
        session = Session(
            sid, self._handler, request, self._set_heartbeat, self._forget, self._options.max_queued_bytes
        )
        self.sessions[sid] = session
        self._set_heartbeat(session, True)
        return session

    def _open_packet(self, session: Session, upgrades: list[str]) -> str:
        options = self._options
        return open_packet(
            session.sid,
            upgrades,
            options.ping_interval_seconds,
            options.ping_timeout_seconds,
            options.max_payload_bytes,
        )

    def _open_on_websocket(self, request: Request, channel: WebSocketChannel) -> None:
        session = self._open(request)
        session.open_websocket(channel.send_frames, channel.close, channel.pause_reading)
        self._attach(session, channel)
        session.send(Prepared([self._open_packet(session, [])]))
        self._handler.session_opened(session)

    def _attach(self, session: Session, channel: WebSocketChannel) -> None:
        def closed(code: int, reason: str) -> None:
            if reason == DisconnectReason.SLOW_CLIENT:
                session.end(DisconnectReason.SLOW_CLIENT)
            elif code in (CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA, CloseCode.MESSAGE_TOO_BIG):
                session.end(DisconnectReason.TRANSPORT_ERROR)
            else:
                session.end(DisconnectReason.TRANSPORT_CLOSE)

        channel.on_message = session.receive
        channel.on_close = closed

    # Polling

    def _polling(self, exchange: Exchange, session: Session) -> None:
        method = exchange.request.method
        if session.state is SessionState.WEBSOCKET:
            self._refuse(exchange, EngineError.BAD_REQUEST)
        elif method == "GET":
            self._poll(exchange, session)
        elif method == "POST" and session.alive:
            self._post(exchange, session)
        else:
            self._refuse(exchange, EngineError.BAD_REQUEST)

    def _poll(self, exchange: Exchange, session: Session) -> None:
        def answer(payload: str) -> None:
            exchange.context = None
            self._answer(exchange, payload)

        exchange.context = session
        try:
            session.poll(answer)
        except OverlapError:
            exchange.context = None
            self._refuse(exchange, EngineError.BAD_REQUEST)
        self._release(session)

    def _post(self, exchange: Exchange, session: Session) -> None:
        length = exchange.request.body_length
        if session.posting:
            session.end(DisconnectReason.TRANSPORT_ERROR)
            self._refuse(exchange, EngineError.BAD_REQUEST)
            return
        post = exchange.context = _Post(session)
        session.posting = True
        if length is not None and length > self._options.max_payload_bytes:
            self._too_large(exchange, post)
        else:
            exchange.send_continue()

    def _too_large(self, exchange: Exchange, post: _Post) -> None:
        exchange.context = None
        post.session.posting = False
        exchange.refuse_keep_alive()
        self._complain(
            "payload too large",
            f"a polling request exceeds max_http_buffer_size ({self._options.max_payload_bytes} bytes)",
        )
        exchange.respond(413, self._origins.headers(exchange.request))

    # WebSocket and upgrade

    @staticmethod
    def _wants_websocket(request: Request) -> bool:
        return request.upgrade == "websocket"

    def _accept(self, exchange: Exchange, opened: Callable[[Request, WebSocketChannel], None]) -> None:
        request = exchange.request
        accept_websocket(
            exchange,
            self._websockets,
            lambda channel: opened(request, channel),
            max_message_bytes=self._options.max_payload_bytes,
        )

    def _upgrade(self, exchange: Exchange, session: Session) -> None:
        if not self._wants_websocket(exchange.request):
            self._refuse(exchange, EngineError.BAD_REQUEST)
        elif session.state is SessionState.POLLING and self._options.allow_upgrades:
            self._accept(exchange, lambda request, channel: self._probe(session, channel))
        else:
            # As the official server: the handshake succeeds, then the WebSocket is closed.
            self._accept(exchange, lambda request, channel: channel.close())

    def _probe(self, session: Session, channel: WebSocketChannel) -> None:
        probe = _Probe(session, channel, self._attach)
        probe.timer = self._call_later(self._options.upgrade_timeout_seconds, probe.fail)

    # Heartbeats and the end

    def _set_heartbeat(self, session: Session, running: bool) -> None:
        if running:
            self._heartbeats.start(session, self._now())
            self._arm()
        else:
            self._heartbeats.stop(session)

    def _arm(self) -> None:
        due = self._heartbeats.next_due()
        if due is None:
            return
        if self._heartbeat_timer is not None:
            if self._heartbeat_timer.when <= due:
                return
            self._heartbeat_timer.cancel()
        self._heartbeat_timer = self._call_later(max(0.0, due - self._now()), self._beat)

    def _beat(self) -> None:
        self._heartbeat_timer = None
        self._heartbeats.run(self._now())
        self._arm()

    def _forget(self, session: Session) -> None:
        self._heartbeats.stop(session)
        if session.state is SessionState.CLOSING:
            self._call_later(
                self._options.closing_timeout_seconds, lambda: self.sessions.pop(session.sid, None)
            )
        else:
            self.sessions.pop(session.sid, None)

    def _release(self, session: Session) -> None:
        """A closing session whose close packet has been fetched is known no longer."""
        if session.state is SessionState.CLOSED:
            self.sessions.pop(session.sid, None)

    # Answers

    def _answer(self, exchange: Exchange, payload: str) -> None:
        exchange.respond(
            200,
            [
                ("Content-Type", "text/plain; charset=UTF-8"),
                ("Cache-Control", "no-store"),
                *self._origins.headers(exchange.request),
            ],
            payload.encode("utf-8", "replace"),
        )

    def _refuse(self, exchange: Exchange, error: EngineError, message: str | None = None) -> None:
        code, text, status = error.value
        exchange.respond(
            status,
            [("Content-Type", "application/json"), *self._origins.headers(exchange.request)],
            json.dumps({"code": code, "message": message or text}, separators=(",", ":")).encode(),
        )


class _ProbeState(Enum):
    """How far an upgrade has come."""

    WAITING = auto()  # for `2probe`
    PROBED = auto()  # for `5`
    UPGRADED = auto()
    FAILED = auto()


class _Probe:
    """A WebSocket that wants to take over a polling session (Engine.IO protocol, "Upgrade")."""

    def __init__(
        self,
        session: Session,
        channel: WebSocketChannel,
        attach: Callable[[Session, WebSocketChannel], None],
    ) -> None:
        self._session = session
        self._channel = channel
        self._attach = attach
        self._state = _ProbeState.WAITING
        self.timer: Any = None  # ends the attempt
        channel.on_message = self._receive
        channel.on_close = self._closed

    def _receive(self, data: str | bytes) -> None:
        if self._state is _ProbeState.UPGRADED:  # came in the same piece as the "5"
            self._session.receive(data)
        elif (
            self._state is _ProbeState.WAITING
            and data == PROBE_PING
            and self._session.probe(self._channel.close)
        ):
            self._state = _ProbeState.PROBED
            self._channel.send(PROBE_PONG)
        elif self._state is _ProbeState.PROBED and data == PacketType.UPGRADE:
            self.timer.cancel()
            self._state = _ProbeState.UPGRADED
            channel = self._channel
            self._attach(self._session, channel)
            self._session.upgrade(channel.send_frames, channel.close, channel.pause_reading)
        else:
            self.fail()

    def fail(self) -> None:
        self._channel.close()
        self._closed(CloseCode.NORMAL_CLOSURE, "upgrade failed")

    def _closed(self, code: int, reason: str) -> None:
        if self._state in (_ProbeState.WAITING, _ProbeState.PROBED):
            self.timer.cancel()
            probed = self._state is _ProbeState.PROBED
            self._state = _ProbeState.FAILED
            if probed:
                self._session.upgrade_failed()
