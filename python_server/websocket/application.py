"""What an application sees of raw WebSockets: an object to speak through, events and routes by path.

Must not know: frames, sockets, sessions, WSGI.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from python_server.connection.arrival import arrived
from python_server.connection.exchange import DeadlineLike, Exchange
from python_server.connection.websocket_channel import WebSocketChannel, WebSocketServices
from python_server.connection.websocket_handshake import accept_websocket
from python_server.http1.parser import Request
from python_server.net.client_backlog import Backlog
from python_server.net.threads import Door, Strand, current_thread_id
from wsframe import CloseCode, Opcode, encode_frame

SLOW_CLIENT_TEXT: Final = (
    "a WebSocket was cut, slow client: it did not take what was sent to it; the bound is --limit-unsent"
)

Message = str | bytes
# Pages that may connect: None for our own origin only, "*", one, several, or a function that is asked.
PageOrigins = str | Iterable[str] | Callable[[str], bool] | None
# (exchange, what opens its WebSocket): calls the second, now or later, or answers the request itself.
Admit = Callable[[Exchange, Callable[[], None]], None]


class WebSocket:
    """One open WebSocket. The server creates it and passes it to the methods of a WebSocketApplication.

        def greet(ws: WebSocket): ws.send("welcome")

    `send`, `ping` and `close` may be called from any thread.

    Attributes:
        path: the path of the request. origin: its Origin header, or "". protocol: the chosen subprotocol, or
            None. context: any value that the application sets.
    """

    __slots__ = ("_channel", "_door", "_loop_thread", "_outbox", "_request", "context")

    def __init__(self, channel: WebSocketChannel, request: Request, door: Door, loop_thread: int) -> None:
        self._channel = channel
        self._outbox = channel.outbox
        self._request = request
        self._door = door
        self._loop_thread = loop_thread
        self.context: Any = None

    @property
    def path(self) -> str:
        return self._request.path

    @property
    def query(self) -> str:
        return self._request.query

    @property
    def origin(self) -> str:
        return self._request.get("origin")

    @property
    def protocol(self) -> str | None:
        return self._channel.subprotocol

    @property
    def closed(self) -> bool:
        return not self._channel.open

    def header(self, name: str) -> str:
        """Return a header of the handshake request.

            agent = ws.header("User-Agent")

        Returns: the value of the header `name`, whose case does not matter; "" if there is none.
        """
        return self._request.get(name.lower())

    def send(self, message: Message, compress: bool | None = None) -> None:
        """Send one `message`: text for `str`, binary for `bytes`. On a closing WebSocket it does nothing.

            ws.send("welcome")

        The call waits for a limited time while the client does not read earlier messages; on the loop's
        thread it never waits. With permessage-deflate, `compress` says whether to compress; None: by size.

        Raises TypeError: `message` is not str or bytes. ServerStopped: the server has stopped.
        """
        if current_thread_id() == self._loop_thread and self._outbox.send(message):
            return  # nearly every message of an inline handler
        if type(message) is not str and type(message) is not bytes:
            raise TypeError(f"message must be str or bytes, not {type(message).__name__}")
        if current_thread_id() == self._loop_thread:
            self._channel.send(message, compress)
        else:
            self._channel.post_message(self._door, message, compress)

    def send_frames(self, frames: bytes) -> None:
        """Send `frames` that were encoded once for many recipients. Only on the loop's thread.

            ws.send_frames(wsframe.encode_message("news"))

        On a closing WebSocket it does nothing.
        """
        self._channel.send_frames(frames)

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping (RFC 6455 5.5.2); the pong is not reported. Any thread.

            ws.ping()

        `payload` has at most 125 bytes.
        """
        self._door.post(self._channel.ping, payload)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Start the closing handshake (RFC 6455 7.1.2). Any thread.

            ws.close(1008, "not a member")

        `code` is 1000 to 1003, 1007 to 1014, or 3000 to 4999; `reason` has at most 123 bytes of UTF-8.
        """
        self._door.post(self._channel.close, code, reason)


class WebSocketApplication:
    """Base class for the WebSockets of one path. Override the methods that you need.

        class Echo(WebSocketApplication):
            def on_message(self, ws, message):
                ws.send(message)

    One instance serves all connections. The events of one connection run one at a time, in order.

    Attributes:
        inline: True runs the methods on the loop's thread instead of a pool; they must never block.
        subprotocols: the supported ones. The server chooses the first one in the client's list that is here.
        allowed_origins: pages that may connect: None for the server's own origin, "*", a list, or a function.
        ping_interval_seconds, ping_timeout_seconds: keepalive, in seconds; None means the server's setting.
        max_message_bytes: maximum bytes of one message; None means the server's setting.
    """

    inline = False
    subprotocols: tuple[str, ...] = ()
    allowed_origins: PageOrigins = None
    ping_interval_seconds: float | None = None
    ping_timeout_seconds: float | None = None
    max_message_bytes: int | None = None

    def on_open(self, ws: WebSocket) -> None:
        """Called when a client has connected; `ws` is its WebSocket.

            def on_open(self, ws): ws.send("welcome")

        An exception closes the WebSocket with 1011, as in `on_message`.
        """

    def on_message(self, ws: WebSocket, message: Message) -> None:
        """Called when the client `ws` has sent a message.

            def on_message(self, ws, message): self.broadcast(message, exclude=[ws])

        `message` is str for a text message, bytes for a binary message.
        """

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        """Called when the client `ws` has disconnected; once, as the last method.

            def on_close(self, ws, code, reason): self.broadcast(f"one left ({code})")

        `code` is the close code of RFC 6455, 1006 without a close frame; `reason` is the text sent with it.
        """

    # The live connections. `_registry` is set by the server that serves this application.
    _registry: WebSocketRegistry | None = None

    @property
    def connection_count(self) -> int:
        """The number of connected clients. Any thread."""
        return len(self._registry.members) if self._registry is not None else 0

    def broadcast(self, message: Message, exclude: Iterable[WebSocket] = ()) -> None:
        """Send one message to all connections, encoded once. Any thread.

            chat.broadcast("hello")

        `message` is str or bytes; the WebSockets in `exclude` do not get it. The call waits a little for
        clients that read slowly; on the loop's thread it never waits.
        """
        if self._registry is not None:
            self._registry.broadcast(message, frozenset(exclude))

    def close_all(self, code: int = CloseCode.GOING_AWAY, reason: str = "") -> None:
        """Close all connections. Any thread.

            chat.close_all(reason="the chat ends")

        `code` and `reason` are as of `WebSocket.close`.
        """
        if self._registry is not None:
            self._registry.close_all(code, reason)


@dataclass(slots=True, eq=False)
class WebSocketRegistry:
    """The live WebSockets of one application; its collections belong to the loop's thread.

    A broadcast from a worker waits for members that are behind, each of which may keep the others waiting
    for `broadcast_wait_seconds` at one time. One that was behind for so long is not waited for again.
    """

    _door: Door
    _services: WebSocketServices
    members: set[WebSocket] = field(default_factory=set, init=False)
    # Who is waited for, and until when; who is not any more.
    _behind: dict[WebSocketChannel, DeadlineLike] = field(default_factory=dict, init=False)
    _late: set[WebSocketChannel] = field(default_factory=set, init=False)

    def broadcast(self, message: Message, excluded: frozenset[WebSocket]) -> None:
        frames = encode_frame(Opcode.TEXT if isinstance(message, str) else Opcode.BINARY, message)
        if self._door.on_loop():
            self._deliver(frames, excluded)
            return
        nbytes, behind = len(frames), self._behind.__len__
        if not self._door.post_unless(behind, self._deliver, frames, excluded, nbytes=nbytes):
            call = (self._deliver, frames, excluded)
            wait_seconds = self._services.settings.broadcast_wait_seconds
            self._services.backpressure.post(self._door, self, behind, wait_seconds, call, nbytes)

    def member_blocked(self, channel: WebSocketChannel, blocked: bool) -> None:
        """Loop's thread: a member does not take what it was sent, or has taken it, or is closing."""
        if not blocked:
            self._wait_no_longer(channel)
        elif channel not in self._late:
            deadline = self._services.deadline(partial(self._leave_behind, channel))
            deadline.set(self._services.settings.broadcast_wait_seconds)
            self._behind[channel] = deadline

    def member_left(self, ws: WebSocket) -> None:
        """Loop's thread."""
        self.members.discard(ws)
        self._late.discard(ws._channel)

    def _leave_behind(self, channel: WebSocketChannel) -> None:
        self._late.add(channel)
        self._wait_no_longer(channel)

    def _wait_no_longer(self, channel: WebSocketChannel) -> None:
        deadline = self._behind.pop(channel, None)
        if deadline is not None:
            deadline.cancel()
            if not self._behind:
                self._services.backpressure.release(self)

    def close_all(self, code: int, reason: str) -> None:
        self._door.post(self._close_all, code, reason)

    def _deliver(self, frames: bytes, excluded: frozenset[WebSocket]) -> None:
        for ws in self.members - excluded if excluded else self.members:
            try:
                if not ws._outbox.write(frames):
                    ws.send_frames(frames)
            except MemoryError:  # nothing may follow a gap; the others get theirs
                ws._channel.abort("no memory for a message")

    def _close_all(self, code: int, reason: str) -> None:
        for ws in list(self.members):
            ws.close(code, reason)


class Resource:
    """Serves raw WebSockets at some paths, and a WSGI application at all others.

        app = Resource({"/chat": Chat()}, wsgi_app)  # wsframe serve module:app

    Args:
        routes: a mapping of paths to WebSocketApplication; a path may be a compiled regular expression,
            which must match the whole path.
        application: answers every other request; without it they get 404.

    Raises:
        TypeError: a route is not a WebSocketApplication.
    """

    wsframe_arrivals = True

    def __init__(
        self,
        routes: Mapping[str | re.Pattern[str], WebSocketApplication],
        application: Callable[..., Iterable[bytes]] | None = None,
    ) -> None:
        for path, target in routes.items():
            if not isinstance(target, WebSocketApplication):
                raise TypeError(f"route {path!r} must be a WebSocketApplication, not {type(target).__name__}")
        self.wsframe_websockets: dict[str | re.Pattern[str], WebSocketApplication] = dict(routes)
        self.wsgi_app = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        if arrived(self, environ, start_response):
            return [b""]
        if self.wsgi_app is not None:
            return self.wsgi_app(environ, start_response)
        body = b"There is nothing here.\n"
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]


@dataclass(frozen=True, slots=True)
class _Route:
    """One application with what the server knows about it."""

    application: WebSocketApplication
    registry: WebSocketRegistry
    member_blocked: Callable[[WebSocketChannel, bool], None]  # the registry's: one object for all connections
    refusal: Callable[[Request], str | None]
    admit: Admit | None


class WebSocketRoutes:
    """Answers the opening handshakes of the paths it knows (the RequestHandler port).

    Args:
        routes: see `Resource`.
        refusal: for an application's `allowed_origins`, a function that says why a request is refused.
        complain: called with (kind, sentence) for what an operator should see.
        admits: of routes, who is asked before one of their WebSockets opens.
    """

    def __init__(
        self,
        routes: Mapping[str | re.Pattern[str], WebSocketApplication],
        door: Door,
        services: WebSocketServices,
        refusal: Callable[[PageOrigins], Callable[[Request], str | None]],
        report: Callable[[str, BaseException], None],
        complain: Callable[[str, str], None],
        admits: Mapping[str | re.Pattern[str], Admit],
    ) -> None:
        self._door = door
        self._services = services
        self._report = report
        self._complain = complain
        self._loop_thread: int | None = None
        self._exact: dict[str, _Route] = {}
        self._patterns: list[tuple[re.Pattern[str], _Route]] = []
        for path, application in routes.items():
            registry = application._registry = WebSocketRegistry(door, services)
            origins = refusal(application.allowed_origins)
            route = _Route(application, registry, registry.member_blocked, origins, admits.get(path))
            if isinstance(path, str):
                self._exact[path] = route
            else:
                self._patterns.append((path, route))

    def serves(self, path: str) -> bool:
        """Is there an application for WebSockets on this path?"""
        return self._find(path) is not None

    def _find(self, path: str) -> _Route | None:
        return self._exact.get(path) or next(
            (route for pattern, route in self._patterns if pattern.fullmatch(path)), None
        )

    # The RequestHandler port

    def request_received(self, exchange: Exchange) -> None:
        request = exchange.request
        route = self._find(request.path)
        assert route is not None, "asked only for paths it serves"
        refusal = route.refusal(request)
        if refusal is not None:
            self._complain("origin refused", refusal)
            exchange.refuse(403, refusal)
        elif route.admit is None:
            self._accept(exchange, route)
        else:
            route.admit(exchange, partial(self._accept, exchange, route))

    def _accept(self, exchange: Exchange, route: _Route) -> None:
        accept_websocket(
            exchange,
            self._services,
            partial(self._opened, route, exchange.request),
            subprotocols=route.application.subprotocols,
            max_message_bytes=route.application.max_message_bytes,
        )

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        """A handshake has no body; one that came was refused with its head."""

    def body_ended(self, exchange: Exchange) -> None:
        """Nothing was expected."""

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        """The refusal may or may not have arrived."""

    def _opened(self, route: _Route, request: Request, channel: WebSocketChannel) -> None:
        application = route.application
        request.headers = ()  # an idle connection keeps the fields by name, not the list as well
        if self._loop_thread is None:
            self._loop_thread = current_thread_id()  # one number for all
        ws = WebSocket(channel, request, self._door, self._loop_thread)
        route.registry.members.add(ws)
        channel.on_blocked = route.member_blocked
        channel.keep_alive(application.ping_interval_seconds, application.ping_timeout_seconds)
        on_message = application.on_message
        if application.inline:
            # What runs per message is the method itself.
            channel.owner = ws
            channel.on_message = on_message
            channel.on_fault = partial(self._fault, on_message, ws)
            channel.on_close = partial(self._closed, route, ws, None)
            self._guard(application.on_open, ws)
        else:
            backlog = Backlog(self._door, channel.pause_reading)

            def submit(message: Message) -> None:
                if backlog.submit(partial(self._guard, on_message, ws, message), len(message)):
                    backlog.pause()

            channel.on_message = submit
            channel.on_close = partial(self._closed, route, ws, backlog.strand)
            backlog.strand.submit(partial(self._guard, application.on_open, ws))

    def _closed(self, route: _Route, ws: WebSocket, strand: Strand | None, code: int, reason: str) -> None:
        route.registry.member_left(ws)
        if reason == "slow client":
            self._complain("slow client", SLOW_CLIENT_TEXT)
        job = partial(self._guard, route.application.on_close, ws, code, reason)
        if strand is None:
            job()
        else:
            strand.submit(job)

    def _guard(self, function: Callable[..., None], ws: WebSocket, *args: object) -> None:
        """One fault: logged once, the WebSocket closed with 1011, everyone else untouched."""
        try:
            function(ws, *args)
        except BaseException as error:
            self._fault(function, ws, error)

    def _fault(self, function: Callable[..., None], ws: WebSocket, error: BaseException) -> None:
        self._report(f"WebSocket handler {function.__qualname__}", error)
        ws.close(CloseCode.INTERNAL_ERROR)
