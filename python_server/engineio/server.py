"""The Engine.IO server: requests become sessions, polls, posts and upgrades.

Must not know: event names, rooms, Flask, sockets; a connection is an exchange or a WebSocket channel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from python_server.connection.exchange import Exchange
from python_server.connection.websocket_channel import WebSocketChannel, WebSocketServices
from python_server.connection.websocket_handshake import accept_websocket
from python_server.engineio.cors import OriginRules
from python_server.engineio.heartbeat import Heartbeats
from python_server.engineio.options import EngineError, EngineOptions
from python_server.engineio.packet import Prepared, open_packet
from python_server.engineio.polling import PollingAnswers, cookie_header
from python_server.engineio.posts import Post, Posts
from python_server.engineio.query import QueryError, read_query
from python_server.engineio.session import (
    DisconnectReason,
    OverlapError,
    Session,
    SessionHandler,
    SessionState,
)
from python_server.engineio.session_ids import ELSEWHERE, Home, SessionHomes, SessionIds
from python_server.engineio.session_limits import SessionLimits, bounds
from python_server.engineio.upgrade import Probe
from python_server.http1.packed_head import kept
from python_server.http1.parser import Request
from python_server.http1.response import Headers
from python_server.net.system import CallLater, TimerLike
from wsframe import CloseCode

__all__ = ["Engine", "EngineError", "EngineOptions"]

PROTOCOL: Final = "4"
JSONP_OFF: Final = "JSONP is off: jsonp=True allows it"
NO_CREDENTIALS: Final = (
    'cors_allowed_origins="*": pages of other origins get no Access-Control-Allow-Credentials, so they can '
    "send no cookies; cors_credentials=True lets them, cors_credentials=False ends this line"
)
# (exchange, what opens its session): calls the second, now or later, or answers the request itself.
Admit = Callable[[Exchange, Callable[[], None]], None]


class Engine:
    """Answers the requests under its path. Every method belongs to the loop's thread.

    Args:
        handler: hears of sessions and messages.
        call_later, now: the loop's clock. call_soon: calls a function in its next turn.
        websockets: what WebSocket channels need.
        complain: called with (kind, sentence) for what an operator should see.
        names: makes session ids. homes: where requests go whose session lives in a sibling.
        admit: asked when a session is about to open, with what opens it; None: nobody is to be asked.
        session_limits: of all engines of this worker.
    """

    def __init__(
        self,
        handler: SessionHandler,
        options: EngineOptions,
        call_later: CallLater,
        call_soon: Callable[[Callable[[], None]], object],
        now: Callable[[], float],
        websockets: WebSocketServices,
        complain: Callable[[str, str], None],
        names: SessionIds | None = None,
        homes: SessionHomes | None = None,
        admit: Admit | None = None,
        session_limits: SessionLimits | None = None,
    ) -> None:
        self._session_limits = session_limits or SessionLimits(*bounds(None, None, 0))
        self._joined = self._session_limits.joined
        self._admit = admit
        self._closing = False
        self._names = names or SessionIds()
        self._homes = homes
        self._handler = handler
        self._options = options
        self._call_later = call_later
        self._now = now
        self._websockets = websockets
        self._complain = complain
        self._origins = OriginRules(options.cors_allowed_origins, options.cors_credentials)
        if self._origins.leaves_credentials_out:
            complain("cors credentials", NO_CREDENTIALS)
        self._answers = PollingAnswers(options, self._origins, complain)
        self._posts = Posts(options, self._answers, call_soon, complain)
        self._heartbeats = Heartbeats(options.ping_interval_seconds, options.ping_timeout_seconds)
        self._heartbeat_timer: TimerLike | None = None
        self.sessions: dict[str, Session] = {}

    def close(self, reason: DisconnectReason = DisconnectReason.SERVER_SHUTTING_DOWN) -> None:
        """End every session, and begin no other one."""
        self._closing = True
        for session in list(self.sessions.values()):
            session.end(reason)

    # The RequestHandler port

    def request_received(self, exchange: Exchange) -> None:
        request = exchange.request
        refusal = self._origins.refusal(request)
        if refusal is not None:
            self._complain("origin refused", refusal)
            self._answers.refuse(exchange, EngineError.FORBIDDEN, refusal)
        elif request.method == "OPTIONS":
            exchange.respond(204, self._origins.headers(request))
        else:
            self._refuse(exchange, self._answer_request(exchange))

    def _refuse(self, exchange: Exchange, error: EngineError | None) -> None:
        if error is not None:
            self._answers.refuse(exchange, error)

    def _answer_request(self, exchange: Exchange) -> EngineError | None:
        """The official server's checks, in its order."""
        request = exchange.request
        try:
            query = read_query(request.query)
        except QueryError as error:
            self._answers.refuse(exchange, EngineError.BAD_REQUEST, str(error))
            return None
        transport, sid, protocol = query.get("transport"), query.get("sid"), query.get("EIO", "")
        jsonp = query.get("j")
        if transport not in self._options.transports:
            return EngineError.UNKNOWN_TRANSPORT
        if jsonp is not None and self._refuse_jsonp(exchange):
            return None
        if not sid:
            if request.method != "GET":
                return EngineError.BAD_HANDSHAKE_METHOD
            if transport == "websocket" and request.upgrade != "websocket":
                return EngineError.BAD_REQUEST
            return self._handshake(exchange, transport, protocol, jsonp)
        session = self.sessions.get(sid)
        if session is None:
            return self._send_home(exchange, sid)
        if transport == "websocket":
            return self._upgrade(exchange, session)
        return self._polling(exchange, session, jsonp)

    def _refuse_jsonp(self, exchange: Exchange) -> bool:
        """Is a request by <script> or form refused, and has it been?"""
        if not self._options.jsonp:
            self._answers.refuse(exchange, EngineError.BAD_REQUEST, JSONP_OFF)
            return True
        refusal = self._origins.script_refusal(exchange.request)
        if refusal is not None:
            self._complain("origin refused", refusal)
            self._answers.refuse(exchange, EngineError.FORBIDDEN, refusal)
        return refusal is not None

    def is_foreign(self, query: str) -> bool:
        """May a request with that query be for a sibling?"""
        try:
            sid = read_query(query).get("sid")
        except QueryError:
            return False  # it is refused here
        return not sid.startswith(self._names.prefix) if sid else self._closing  # a session that begins

    def _send_home(self, exchange: Exchange, sid: str) -> EngineError | None:
        """A session that is not here."""
        home, index = self._names.find(sid)
        if home is Home.ELSEWHERE:
            self._complain("session of another machine", ELSEWHERE)
            self._answers.refuse(exchange, EngineError.UNKNOWN_SID, ELSEWHERE)
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
        if type(exchange.context) is Post:
            self._posts.body_received(exchange, exchange.context, piece)

    def body_ended(self, exchange: Exchange) -> None:
        if type(exchange.context) is Post:
            self._posts.body_ended(exchange, exchange.context)

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        context, exchange.context = exchange.context, None
        if type(context) is Post:
            self._posts.lost(context)
        elif type(context) is Session:
            context.poll_lost()
            self._release(context)
        exchange.abort(reason)  # a half-closed connection that nothing will be sent to any more

    # Handshake

    def _handshake(
        self, exchange: Exchange, transport: str, protocol: str, jsonp: str | None
    ) -> EngineError | None:
        # Who opens the session asks its own middleware; where none may open, nobody need be asked.
        full = self._session_limits.refusal(exchange.request.peer) is not None
        if self._admit is None or self._closing or full:
            return self._begin(exchange, transport, protocol, jsonp)
        self._admit(
            exchange, lambda: self._refuse(exchange, self._begin(exchange, transport, protocol, jsonp))
        )
        return None

    def _begin(
        self, exchange: Exchange, transport: str, protocol: str, jsonp: str | None
    ) -> EngineError | None:
        """Open a session: the only way to one."""
        if self._closing:
            self._begin_elsewhere(exchange)
            return None
        refusal = self._session_limits.refusal(exchange.request.peer)
        if refusal is not None:
            self._complain("session limit", refusal)
            self._answers.come_again(exchange)
            return None
        request, options = exchange.request, self._options
        allowed = options.allow_request(request) if options.allow_request is not None else None
        if allowed is False or isinstance(allowed, str):
            self._answers.refuse(exchange, EngineError.FORBIDDEN, allowed or None)
            return None
        if protocol != PROTOCOL:
            self._complain_of_version(protocol)
            return EngineError.UNSUPPORTED_PROTOCOL_VERSION
        sid = self._names.make()
        cookie = (
            []
            if options.cookie is None
            else cookie_header(options.cookie, sid, secure=request.scheme == "https")
        )
        if transport == "websocket":
            opened = partial(self._open_on_websocket, sid, request)
            self._accept(exchange, opened, cookie)
            return None
        session = self._open(sid, request)
        upgrades = ["websocket"] if options.allow_upgrades and "websocket" in options.transports else []
        self._answers.poll(exchange, self._open_packet(session, upgrades), jsonp, cookie)
        self._handler.session_opened(session)
        return None

    def _complain_of_version(self, protocol: str) -> None:
        if protocol:
            self._complain(
                "protocol version",
                f"a client speaks Engine.IO protocol {protocol[:8]!r}, this server speaks 4: "
                "socket.io-client 3 or 4 and python-socketio 5 fit",
            )

    def _begin_elsewhere(self, exchange: Exchange) -> None:
        """A session that began here now would end at once, and with it what its client was sent."""
        handed = exchange.request.handed  # one hop
        if handed or self._homes is None or not self._homes.send_on(exchange):
            self._answers.come_again(exchange)

    def _open(self, sid: str, request: Request) -> Session:
        request, head_bytes = kept(request)
        session = Session(
            sid,
            self._handler,
            request,
            self._set_heartbeat,
            self._forget,
            self._options.max_queued_bytes,
            self._joined,
        )
        self._session_limits.opened(session, head_bytes, request.peer)
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
                self._complain("message too large", self._answers.too_large_text("a WebSocket message"))
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
            return self._posts.begin(exchange, session, jsonp)
        return EngineError.BAD_REQUEST

    def _poll(self, exchange: Exchange, session: Session, jsonp: str | None) -> EngineError | None:
        def answer(payload: str) -> None:
            exchange.context = None
            self._answers.poll(exchange, payload, jsonp)

        exchange.context = session
        try:
            session.poll(answer)
        except OverlapError:
            exchange.context = None
            return EngineError.BAD_REQUEST
        finally:
            self._release(session)
        return None

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
            self._call_later(self._options.closing_timeout_seconds, partial(self._drop, session))
        else:
            self._drop(session)

    def _drop(self, session: Session) -> None:
        if self.sessions.pop(session.sid, None) is not None:
            self._session_limits.ended(session)

    def _release(self, session: Session) -> None:
        """A closing session whose close packet has been fetched is known no longer."""
        if session.state is SessionState.CLOSED:
            self._drop(session)
