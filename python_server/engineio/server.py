"""The Engine.IO server: requests become sessions, polls, posts and upgrades.

Must not know: event names, rooms, Flask, sockets; a connection is an exchange or a WebSocket channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, NoReturn

from python_server.connection.exchange import Exchange
from python_server.connection.websocket_channel import WebSocketChannel, WebSocketServices
from python_server.connection.websocket_handshake import accept_websocket
from python_server.engineio.cors import OriginRules
from python_server.engineio.heartbeat import Heartbeats
from python_server.engineio.observer import SessionObserver
from python_server.engineio.options import EngineError, EngineOptions, EngineRefusal
from python_server.engineio.packet import PROTOCOL4, Dialect, Prepared, open_packet
from python_server.engineio.polling import PollingAnswers, cookie_header
from python_server.engineio.posts import Post, Posts
from python_server.engineio.protocol3 import PROTOCOL3, PROTOCOL3_AS_TEXT
from python_server.engineio.query import QueryError, read_query
from python_server.engineio.session import DisconnectReason, Session, SessionHandler, SessionState
from python_server.engineio.session_ids import ELSEWHERE, Home, SessionHomes, SessionIds
from python_server.engineio.session_limits import SessionLimits, bounds
from python_server.engineio.upgrade import Probe
from python_server.http1.packed_head import kept
from python_server.http1.parser import Request
from python_server.net.system import CallLater, TimerLike
from wsframe import CloseCode

__all__ = ["Engine", "EngineError", "EngineOptions"]

EIO3_OFF: Final = "Unsupported protocol version: allow_eio3=True serves Socket.IO 2 clients"
JSONP_OFF: Final = "JSONP is off: jsonp=True allows it"
NO_CREDENTIALS: Final = (
    'cors_allowed_origins="*": pages of other origins get no Access-Control-Allow-Credentials, so they can '
    "send no cookies; cors_credentials=True lets them, cors_credentials=False ends this line"
)
# Why a session ends whose WebSocket was closed with that code.
CLOSED_WITH: Final[dict[int, DisconnectReason]] = {
    CloseCode.MESSAGE_TOO_BIG: DisconnectReason.MESSAGE_TOO_LARGE,
    CloseCode.PROTOCOL_ERROR: DisconnectReason.TRANSPORT_ERROR,
    CloseCode.INVALID_DATA: DisconnectReason.TRANSPORT_ERROR,
}
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
        session_limits: of all engines of this worker. observer: watches sessions, see there.
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
        observer: SessionObserver | None = None,
    ) -> None:
        self._session_limits = session_limits or SessionLimits(*bounds(None, None, 0))
        # Made once, for all sessions: a bound method would weigh on each.
        self._for_sessions = (
            self._set_heartbeat,
            self._forget,
            options.max_queued_bytes,
            self._session_limits.joined,
        )
        self._admit = admit
        self._observer = observer
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

    def close(self) -> None:
        """End every session, and begin no other one."""
        self._closing = True
        for session in list(self.sessions.values()):
            session.end(DisconnectReason.SERVER_SHUTTING_DOWN)

    # The RequestHandler port

    def request_received(self, exchange: Exchange) -> None:
        try:
            self._answer_request(exchange)
        except QueryError as error:
            self._refuse(exchange, EngineRefusal(EngineError.BAD_REQUEST, str(error)))
        except EngineRefusal as refusal:
            self._refuse(exchange, refusal)

    def _refuse(self, exchange: Exchange, refusal: EngineRefusal) -> None:
        if self._observer is not None:
            self._observer.request_refused(exchange.request, refusal.message or refusal.error.value[1])
        self._answers.refuse(exchange, refusal.error, refusal.message)

    def _answer_request(self, exchange: Exchange) -> None:
        """The official server's checks, in its order."""
        request = exchange.request
        refusal = self._origins.refusal(request)
        if refusal is not None:
            self._refuse_origin(refusal)
        if request.method == "OPTIONS":
            exchange.respond(204, self._origins.headers(request))
            return
        query = read_query(request.query)
        transport, sid, jsonp = query.get("transport"), query.get("sid"), query.get("j")
        if transport not in self._options.transports:
            raise EngineRefusal(EngineError.UNKNOWN_TRANSPORT)
        if jsonp is not None:
            self._check_jsonp(request)
        if not sid:
            self._handshake(exchange, query)
            return
        session = self.sessions.get(sid)
        if session is None:
            self._send_home(exchange, sid)
        elif transport == "websocket":
            self._upgrade(exchange, session)
        else:
            self._polling(exchange, session, jsonp)

    def _check_jsonp(self, request: Request) -> None:
        """May it ask by <script> or form?"""
        if not self._options.jsonp:
            raise EngineRefusal(EngineError.BAD_REQUEST, JSONP_OFF)
        refusal = self._origins.script_refusal(request)
        if refusal is not None:
            self._refuse_origin(refusal)

    def _refuse_origin(self, refusal: str) -> NoReturn:
        self._complain("origin refused", refusal)
        raise EngineRefusal(EngineError.FORBIDDEN, refusal)

    def is_foreign(self, query: str) -> bool:
        """May a request with that query be for a sibling?"""
        try:
            sid = read_query(query).get("sid")
        except QueryError:
            return False  # it is refused here
        return not sid.startswith(self._names.prefix) if sid else self._closing  # a session that begins

    def home_of(self, query: str) -> tuple[str, int] | None:
        """The (tag, index) of the worker of another machine where the session of that query lives."""
        try:
            sid = read_query(query).get("sid")
        except QueryError:
            return None  # it is refused here
        return None if not sid or sid.startswith(self._names.prefix) else self._names.home_of(sid)

    @property
    def max_payload_bytes(self) -> int:
        """Of a post."""
        return self._options.max_payload_bytes

    def too_large(self, exchange: Exchange) -> None:
        """Answer a post that is larger."""
        self._answers.too_large(exchange)

    def unknown_session(self, exchange: Exchange) -> None:
        """Answer a request whose session is nowhere."""
        self._refuse(exchange, EngineRefusal(EngineError.UNKNOWN_SID))

    @staticmethod
    def hurry(exchange: Exchange) -> None:
        """Answer a poll that waits, with nothing: its connection is to end."""
        if type(exchange.context) is Session:
            exchange.context.release_poll()

    def _send_home(self, exchange: Exchange, sid: str) -> None:
        """A session that is not here."""
        home, index = self._names.find(sid)
        if home is Home.ELSEWHERE:
            self._complain("session of another machine", ELSEWHERE)
            raise EngineRefusal(EngineError.UNKNOWN_SID, ELSEWHERE)
        if (
            home is Home.NOWHERE
            or self._homes is None
            or exchange.request.handed  # one hop: its sender was wrong, and we would be too
            or not self._homes.send_home(exchange, index)
        ):
            raise EngineRefusal(EngineError.UNKNOWN_SID)

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

    def _handshake(self, exchange: Exchange, query: Mapping[str, str]) -> None:
        request = exchange.request
        if request.method != "GET":
            raise EngineRefusal(EngineError.BAD_HANDSHAKE_METHOD)
        if query["transport"] == "websocket" and request.upgrade != "websocket":
            raise EngineRefusal(EngineError.BAD_REQUEST)
        # Who opens the session asks its own middleware; where none may open, nobody need be asked.
        full = self._session_limits.refusal(request.peer) is not None
        if self._admit is None or self._closing or full:
            self._begin(exchange, query)
        else:
            self._admit(exchange, partial(self._begin_admitted, exchange, query))

    def _begin_admitted(self, exchange: Exchange, query: Mapping[str, str]) -> None:
        try:
            self._begin(exchange, query)
        except EngineRefusal as refusal:
            self._refuse(exchange, refusal)

    def _begin(self, exchange: Exchange, query: Mapping[str, str]) -> None:
        """Open a session: the only way to one."""
        if self._closing:
            # A session that began here now would end at once, and with it what its client was sent.
            handed = exchange.request.handed  # one hop
            if handed or self._homes is None or not self._homes.send_on(exchange):
                self._answers.come_again(exchange)
            return
        request, options = exchange.request, self._options
        refusal = self._session_limits.refusal(request.peer)
        if refusal is not None:
            self._complain("session limit", refusal)
            self._answers.come_again(exchange)
            return
        allowed = options.allow_request(request) if options.allow_request is not None else None
        if allowed is False or isinstance(allowed, str):
            raise EngineRefusal(EngineError.FORBIDDEN, allowed or None)
        dialect = self._choose_dialect(query)
        sid = self._names.make()
        cookie = cookie_header(options.cookie, sid, secure=request.scheme == "https")
        if query["transport"] == "websocket":
            self._accept(exchange, partial(self._open_on_websocket, sid, request, dialect), cookie)
            return
        session = self._open(sid, request, dialect)
        upgrades = ["websocket"] if options.allow_upgrades and "websocket" in options.transports else []
        opening = dialect.join_payload([self._open_packet(sid, upgrades)])
        self._answers.poll(exchange, opening, query.get("j"), cookie)
        self._opened(session)

    def _choose_dialect(self, query: Mapping[str, str]) -> Dialect:
        """The version that a handshake asks for; who says none speaks 3, as for the official server."""
        protocol, allowed = query.get("EIO", ""), self._options.allow_eio3
        if protocol == "4":
            return PROTOCOL4
        if allowed and protocol in ("3", ""):
            return PROTOCOL3_AS_TEXT if query.get("b64") or "j" in query else PROTOCOL3
        if protocol:
            self._complain(
                "protocol version",
                f"a client speaks Engine.IO protocol {protocol[:8]!r}, this server speaks 4"
                f"{' and 3' if allowed else ''}: socket.io-client 3 or 4 and python-socketio 5 fit"
                f"{'' if allowed else '; allow_eio3=True serves socket.io-client 2 as well'}",
            )
        raise EngineRefusal(EngineError.UNSUPPORTED_PROTOCOL_VERSION, EIO3_OFF if protocol == "3" else None)

    def _open(self, sid: str, request: Request, dialect: Dialect) -> Session:
        request, head_bytes = kept(request)
        session = Session(sid, self._handler, request, *self._for_sessions, dialect)
        self._session_limits.opened(session, head_bytes, request.peer)
        self.sessions[sid] = session
        self._set_heartbeat(session, True)
        return session

    def _open_packet(self, sid: str, upgrades: list[str]) -> Prepared:
        interval, timeout = self._options.ping_interval_seconds, self._options.ping_timeout_seconds
        return Prepared([open_packet(sid, upgrades, interval, timeout, self._options.max_payload_bytes)])

    def _open_on_websocket(
        self, sid: str, request: Request, dialect: Dialect, channel: WebSocketChannel
    ) -> None:
        session = self._open(sid, request, dialect)
        session.open_websocket(channel)
        self._attach(session, channel)
        session.send(self._open_packet(sid, []))
        self._opened(session)

    def _opened(self, session: Session) -> None:
        if self._observer is not None:
            self._observer.session_opened(session)
        self._handler.session_opened(session)

    def _attach(self, session: Session, channel: WebSocketChannel) -> None:
        def closed(code: int, reason: str) -> None:
            if reason == DisconnectReason.SLOW_CLIENT:
                session.end(DisconnectReason.SLOW_CLIENT)
                return
            if code == CloseCode.MESSAGE_TOO_BIG:
                self._complain("message too large", self._answers.too_large_text("a WebSocket message"))
            session.end(CLOSED_WITH.get(code, DisconnectReason.TRANSPORT_CLOSE))

        channel.on_message = session.receive
        channel.on_close = closed

    # Polling

    def _polling(self, exchange: Exchange, session: Session, jsonp: str | None) -> None:
        method = exchange.request.method
        exchange.routine = True
        if session.state is SessionState.WEBSOCKET:
            raise EngineRefusal(EngineError.BAD_REQUEST)  # without disturbing the session
        if method == "GET":
            self._poll(exchange, session, jsonp)
        elif method == "POST" and session.alive:
            self._posts.begin(exchange, session, jsonp)
        else:
            raise EngineRefusal(EngineError.BAD_REQUEST)

    def _poll(self, exchange: Exchange, session: Session, jsonp: str | None) -> None:
        if session.pinged_by_client:  # it has joined by opening: now it has shown that it listens
            session.join()
        if jsonp is not None and session.dialect is PROTOCOL3:
            raise EngineRefusal(EngineError.BAD_REQUEST)  # it has said that it takes binary payloads

        def answer(payload: str | bytes) -> None:
            exchange.context = None
            self._answers.poll(exchange, payload, jsonp)

        exchange.context = session
        alone = session.poll(answer)
        self._release(session)
        if not alone:
            exchange.context = None
            raise EngineRefusal(EngineError.BAD_REQUEST)

    # WebSocket and upgrade

    def _accept(
        self,
        exchange: Exchange,
        opened: Callable[[WebSocketChannel], None],
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        limit_bytes = self._options.max_payload_bytes
        accept_websocket(exchange, self._websockets, opened, max_message_bytes=limit_bytes, headers=headers)

    def _upgrade(self, exchange: Exchange, session: Session) -> None:
        if exchange.request.upgrade != "websocket":
            raise EngineRefusal(EngineError.BAD_REQUEST)
        if session.state is SessionState.POLLING and self._options.allow_upgrades:
            self._accept(exchange, partial(self._probe, session))
        else:
            # As the official server: the handshake succeeds, then the WebSocket is closed.
            self._accept(exchange, lambda channel: channel.close())

    def _probe(self, session: Session, channel: WebSocketChannel) -> None:
        Probe(
            session, channel, self._attach_upgraded, self._call_later, self._options.upgrade_timeout_seconds
        )

    def _attach_upgraded(self, session: Session, channel: WebSocketChannel) -> None:
        self._attach(session, channel)
        if self._observer is not None:
            self._observer.session_upgraded(session)

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

    def _forget(self, session: Session, reason: DisconnectReason) -> None:
        self._heartbeats.stop(session)
        if self._observer is not None:
            self._observer.session_closed(session, reason)
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
