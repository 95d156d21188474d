"""The Engine.IO server: requests become sessions, polls, posts and upgrades.

Must not know: event names, rooms, Flask, sockets; a connection is an exchange or a WebSocket channel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from python_server.engineio.heartbeat import Heartbeats
from python_server.engineio.options import EngineError, EngineOptions
from python_server.engineio.origin import OriginRules
from python_server.engineio.packet import PacketError, Prepared, decode_payload, open_packet
from python_server.engineio.probe import Probe
from python_server.engineio.replies import (
    accepted_encoding,
    compress,
    cookie_header,
    error_body,
    jsonp_unwrap,
    jsonp_wrap,
    read_query,
)
from python_server.engineio.session import (
    DisconnectReason,
    OverlapError,
    Session,
    SessionHandler,
    SessionState,
)
from python_server.engineio.sids import ELSEWHERE, Home, Homes, Names
from python_server.exchange import Exchange
from python_server.http1.parser import Request
from python_server.http1.response import Headers
from python_server.websocket_channel import WebSocketChannel, WebSocketServices, accept_websocket
from wsframe import CloseCode

__all__ = ["Engine", "EngineError", "EngineOptions"]

PROTOCOL: Final = "4"


class _Post:
    """The body of a POST under way; `jsonp` is its index when it is a form."""

    __slots__ = ("jsonp", "pieces", "session", "size_bytes")

    def __init__(self, session: Session, jsonp: str | None) -> None:
        self.session = session
        self.jsonp = jsonp
        self.pieces: list[bytes] = []
        self.size_bytes = 0


class Engine:
    """Answers the requests under its path. Every method belongs to the loop's thread.

    Args:
        handler: hears of sessions and messages.
        call_later, now: the loop's clock.
        websockets: what WebSocket channels need.
        complain: called with (kind, sentence) for what an operator should see.
        names: makes session ids. homes: where requests go whose session lives in a sibling.
    """

    def __init__(
        self,
        handler: SessionHandler,
        options: EngineOptions,
        call_later: Callable[[float, Callable[[], Any]], Any],
        now: Callable[[], float],
        websockets: WebSocketServices,
        complain: Callable[[str, str], None],
        names: Names | None = None,
        homes: Homes | None = None,
    ) -> None:
        self._closing = False
        self._names = names or Names()
        self._homes = homes
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
        """End every session, and begin no other one."""
        self._closing = True
        for session in list(self.sessions.values()):
            session.end(reason)

    # The RequestHandler port

    def request_received(self, exchange: Exchange) -> None:
        request = exchange.request
        query = read_query(request.query)
        refusal = self._origins.refusal(request)
        if refusal is not None:
            self._complain("origin refused", refusal)
            self._refuse(exchange, EngineError.FORBIDDEN, refusal)
        elif request.method == "OPTIONS":
            exchange.respond(204, self._origins.headers(request))
        else:
            error = self._answer_request(exchange, query)
            if error is not None:
                self._refuse(exchange, error)

    def _answer_request(self, exchange: Exchange, query: dict[str, str]) -> EngineError | None:
        """The official server's checks, in its order."""
        request = exchange.request
        transport, sid, protocol = query.get("transport"), query.get("sid"), query.get("EIO", "")
        if transport not in self._options.transports:
            return EngineError.UNKNOWN_TRANSPORT
        if not sid:
            if request.method != "GET":
                return EngineError.BAD_HANDSHAKE_METHOD
            if transport == "websocket" and request.upgrade != "websocket":
                return EngineError.BAD_REQUEST
            return self._handshake(exchange, transport, protocol, query.get("j"))
        session = self.sessions.get(sid)
        if session is None:
            return self._send_home(exchange, sid)
        if transport == "websocket":
            return self._upgrade(exchange, session)
        return self._polling(exchange, session, query.get("j"))

    def is_foreign(self, query: str) -> bool:
        """May a request with that query, at a glance, be for a sibling? Its answer looks closer."""
        if "sid=" in query:
            return f"sid={self._names.prefix}" not in query
        return self._closing  # a session that begins

    def _send_home(self, exchange: Exchange, sid: str) -> EngineError | None:
        """A session that is not here."""
        home, index = self._names.find(sid)
        if home is Home.ELSEWHERE:
            self._complain("session of another machine", ELSEWHERE)
            self._refuse(exchange, EngineError.UNKNOWN_SID, ELSEWHERE)
            return None
        if (
            home is Home.SIBLING
            and self._homes is not None
            and not exchange.request.handed  # one hop: its sender was wrong, and we would be too
            and self._homes.send_home(exchange, index)
        ):
            return None
        return EngineError.UNKNOWN_SID

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        post: _Post | None = exchange.context
        if type(post) is not _Post:
            return
        post.size_bytes += len(piece)
        if post.size_bytes > self._options.max_payload_bytes:
            self._too_large(exchange, post)
        else:
            post.pieces.append(piece)
            exchange.held_bytes = post.size_bytes

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
        body: bytes | None = b"".join(post.pieces)
        if post.jsonp is not None and body is not None:
            body = jsonp_unwrap(body)
        if body is None:
            session.end(DisconnectReason.PARSE_ERROR)
            self._refuse(exchange, EngineError.BAD_REQUEST)
            return
        try:
            session.receive_packets(decode_payload(body))
        except PacketError:
            self._refuse(exchange, EngineError.BAD_REQUEST)
            return
        session.when_reading(partial(self._answer_post, exchange))

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

    def _handshake(
        self, exchange: Exchange, transport: str, protocol: str, jsonp: str | None
    ) -> EngineError | None:
        if self._closing:
            self._begin_elsewhere(exchange)
            return None
        request, options = exchange.request, self._options
        allowed = options.allow_request(request) if options.allow_request is not None else None
        if allowed is False or isinstance(allowed, str):
            self._refuse(exchange, EngineError.FORBIDDEN, allowed or None)
            return None
        if protocol != PROTOCOL:
            if protocol:
                self._complain(
                    "protocol version",
                    f"a client speaks Engine.IO protocol {protocol[:8]!r}, this server speaks 4: "
                    "socket.io-client 3 or 4 and python-socketio 5 fit",
                )
            return EngineError.UNSUPPORTED_PROTOCOL_VERSION
        sid = self._names.make()
        cookie = [] if options.cookie is None else cookie_header(options.cookie, sid)
        if transport == "websocket":
            opened = partial(self._open_on_websocket, sid, request)
            self._accept(exchange, opened, cookie)
            return None
        session = self._open(sid, request)
        upgrades = ["websocket"] if options.allow_upgrades and "websocket" in options.transports else []
        self._answer(exchange, self._open_packet(session, upgrades), jsonp, cookie)
        self._handler.session_opened(session)
        return None

    def _begin_elsewhere(self, exchange: Exchange) -> None:
        """A session that began here now would end at once, and with it what its client was sent."""
        handed = exchange.request.handed  # one hop
        if handed or self._homes is None or not self._homes.send_on(exchange):
            exchange.refuse_keep_alive()
            exchange.respond(503, [("Retry-After", "1"), *self._origins.headers(exchange.request)])

    def _open(self, sid: str, request: Request) -> Session:
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

    def _open_on_websocket(self, sid: str, request: Request, channel: WebSocketChannel) -> None:
        session = self._open(sid, request)
        session.open_websocket(channel)
        self._attach(session, channel)
        session.send(Prepared([self._open_packet(session, [])]))
        self._handler.session_opened(session)

    def _attach(self, session: Session, channel: WebSocketChannel) -> None:
        def closed(code: int, reason: str) -> None:
            if reason == DisconnectReason.SLOW_CLIENT:
                session.end(DisconnectReason.SLOW_CLIENT)
            elif code == CloseCode.MESSAGE_TOO_BIG:
                self._complain("message too large", self._too_large_text("a WebSocket message"))
                session.end(DisconnectReason.MESSAGE_TOO_LARGE)
            elif code in (CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA):
                session.end(DisconnectReason.TRANSPORT_ERROR)
            else:
                session.end(DisconnectReason.TRANSPORT_CLOSE)

        channel.on_message = session.receive
        channel.on_close = closed

    # Polling

    def _polling(self, exchange: Exchange, session: Session, jsonp: str | None) -> EngineError | None:
        method = exchange.request.method
        if session.state is SessionState.WEBSOCKET:
            return EngineError.BAD_REQUEST  # without disturbing the session
        if method == "GET":
            return self._poll(exchange, session, jsonp)
        if method == "POST" and session.alive:
            return self._post(exchange, session, jsonp)
        return EngineError.BAD_REQUEST

    def _poll(self, exchange: Exchange, session: Session, jsonp: str | None) -> EngineError | None:
        def answer(payload: str) -> None:
            exchange.context = None
            self._answer(exchange, payload, jsonp)

        exchange.context = session
        try:
            session.poll(answer)
        except OverlapError:
            exchange.context = None
            return EngineError.BAD_REQUEST
        finally:
            self._release(session)
        return None

    def _post(self, exchange: Exchange, session: Session, jsonp: str | None) -> EngineError | None:
        length = exchange.request.body_length
        if session.posting:
            session.end(DisconnectReason.TRANSPORT_ERROR)
            return EngineError.BAD_REQUEST
        post = exchange.context = _Post(session, jsonp)
        session.posting = True
        if length is not None and length > self._options.max_payload_bytes:
            self._too_large(exchange, post)
        else:
            exchange.send_continue()
        return None

    def _too_large(self, exchange: Exchange, post: _Post) -> None:
        exchange.context = None
        post.session.posting = False
        exchange.refuse_keep_alive()
        text = self._too_large_text("a polling request")
        self._complain("payload too large", text)
        headers = [("Content-Type", "text/plain; charset=utf-8"), *self._origins.headers(exchange.request)]
        exchange.respond(413, headers, f"{text}\n".encode())

    def _too_large_text(self, what: str) -> str:
        limit_bytes = self._options.max_payload_bytes
        return f"message too large: {what} exceeds max_http_buffer_size ({limit_bytes} bytes)"

    # WebSocket and upgrade

    def _accept(
        self, exchange: Exchange, opened: Callable[[WebSocketChannel], None], headers: Headers | None = None
    ) -> None:
        accept_websocket(
            exchange,
            self._websockets,
            opened,
            max_message_bytes=self._options.max_payload_bytes,
            headers=headers or [],
        )

    def _upgrade(self, exchange: Exchange, session: Session) -> EngineError | None:
        if exchange.request.upgrade != "websocket":
            return EngineError.BAD_REQUEST
        if session.state is SessionState.POLLING and self._options.allow_upgrades:
            self._accept(exchange, partial(self._probe, session))
        else:
            # As the official server: the handshake succeeds, then the WebSocket is closed.
            self._accept(exchange, lambda channel: channel.close())
        return None

    def _probe(self, session: Session, channel: WebSocketChannel) -> None:
        probe = Probe(session, channel, self._attach)
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
                self._options.closing_timeout_seconds, partial(self.sessions.pop, session.sid, None)
            )
        else:
            self.sessions.pop(session.sid, None)

    def _release(self, session: Session) -> None:
        """A closing session whose close packet has been fetched is known no longer."""
        if session.state is SessionState.CLOSED:
            self.sessions.pop(session.sid, None)

    # Answers

    def _answer(
        self, exchange: Exchange, payload: str, jsonp: str | None, cookie: Headers | None = None
    ) -> None:
        """A poll's answer."""
        request, options = exchange.request, self._options
        content_type = "text/plain; charset=UTF-8"
        if jsonp is not None:
            payload = jsonp_wrap(jsonp, payload)
            content_type = "text/javascript; charset=UTF-8"
        body = payload.encode("utf-8", "replace")
        headers = [
            ("Content-Type", content_type),
            ("Cache-Control", "no-store"),
            *(cookie or ()),
            *self._origins.headers(request),
        ]
        if options.http_compression and len(body) >= options.compression_threshold_bytes:
            encoding = accepted_encoding(request.get("accept-encoding"))
            if encoding is not None:
                body = compress(body, encoding)
                headers.append(("Content-Encoding", encoding))
        exchange.respond(200, headers, body)

    def _answer_post(self, exchange: Exchange) -> None:
        headers = [
            ("Content-Type", "text/html"),  # some browsers offer to save text/plain of a form's POST
            ("Cache-Control", "no-store"),
            *self._origins.headers(exchange.request),
        ]
        exchange.respond(200, headers, b"ok")

    def _refuse(self, exchange: Exchange, error: EngineError, message: str | None = None) -> None:
        code, text, status = error.value
        message = message or text
        if exchange.request.upgrade == "websocket":  # a plain answer, and the end of the connection
            exchange.refuse_keep_alive()
            headers, body = [("Content-Type", "text/plain; charset=utf-8")], message.encode()
        else:
            headers, body = [("Content-Type", "application/json")], error_body(code, message)
        exchange.respond(status, [*headers, *self._origins.headers(exchange.request)], body)
