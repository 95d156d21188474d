"""What an application sees of a raw WebSocket: events, routes by path, and the list of live connections.

Must not know: frames, sockets, sessions, WSGI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from python_server.exchange import Exchange
from python_server.http1 import Request
from python_server.net.threads import Door, Strand
from python_server.websocket_channel import WebSocketChannel, WebSocketServices, accept_websocket
from wsframe import CloseCode


class WebSocket:
    """One open WebSocket. `send` and `close` may be called from any thread.

    Attributes:
        path: of the request. origin: its Origin field, or "". protocol: the subprotocol chosen, or None.
    """

    __slots__ = ("_channel", "_door", "_request", "context")

    def __init__(self, channel: WebSocketChannel, request: Request, door: Door) -> None:
        self._channel = channel
        self._request = request
        self._door = door
        self.context: Any = None

    @property
    def path(self) -> str:
        return self._request.path

    @property
    def origin(self) -> str:
        return self._request.get("origin")

    @property
    def protocol(self) -> str | None:
        return self._channel.subprotocol

    @property
    def closed(self) -> bool:
        return not self._channel.open

    def send(self, message: str | bytes) -> None:
        """Send one message: text for `str`, binary for `bytes`.

        Raises:
            TypeError: neither str nor bytes. ServerStopped: the server has stopped.
        """
        if not isinstance(message, (str, bytes)):
            raise TypeError(f"message must be str or bytes, not {type(message).__name__}")
        if self._door.on_loop():
            self._channel.send(message)
        else:
            self._door.post(self._channel.send, message, nbytes=len(message))

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455 7.1.2)."""
        self._door.post(self._channel.close, code, reason)


class WebSocketApplication:
    """Events of the WebSockets on one path; subclass it and override what is needed.

    One instance serves all connections; a connection's events run one at a time, in order.

    Attributes:
        inline: the methods never block: run them on the loop's thread instead of a worker.
        subprotocols: what may be chosen, the most wanted first.
        connections: the live WebSockets of this application.
    """

    inline = False
    subprotocols: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.connections: set[WebSocket] = set()

    def on_open(self, ws: WebSocket) -> None:
        """A client has come."""

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        """A client has sent a message."""

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        """A client has gone; called once, last."""


class WebSocketRoutes:
    """Answers the opening handshakes of the paths it knows (the RequestHandler port).

    Args:
        applications: path -> application.
    """

    def __init__(
        self,
        applications: dict[str, WebSocketApplication],
        door: Door,
        services: WebSocketServices,
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._applications = applications
        self._door = door
        self._services = services
        self._report = report

    def request_received(self, exchange: Exchange) -> None:
        application = self._applications[exchange.request.path]
        accept_websocket(
            exchange,
            self._services,
            partial(self._opened, application, exchange.request),
            subprotocols=application.subprotocols,
        )

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        """A handshake has no body; one that came was refused with its head."""

    def body_ended(self, exchange: Exchange) -> None:
        """Nothing was expected."""

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        """The refusal may or may not have arrived."""

    def _opened(self, application: WebSocketApplication, request: Request, channel: WebSocketChannel) -> None:
        ws = WebSocket(channel, request, self._door)
        run = self._guard
        application.connections.add(ws)
        if application.inline:
            on_message = application.on_message
            channel.on_message = lambda message: run(on_message, ws, message)
            channel.on_close = lambda code, reason: self._closed(application, ws, code, reason, None)
            run(application.on_open, ws)
        else:
            strand = self._door.strand()
            channel.on_message = lambda message: strand.submit(
                partial(run, application.on_message, ws, message)
            )
            channel.on_close = lambda code, reason: self._closed(application, ws, code, reason, strand)
            strand.submit(partial(run, application.on_open, ws))

    def _closed(
        self, application: WebSocketApplication, ws: WebSocket, code: int, reason: str, strand: Strand | None
    ) -> None:
        application.connections.discard(ws)
        job = partial(self._guard, application.on_close, ws, code, reason)
        if strand is None:
            job()
        else:
            strand.submit(job)

    def _guard(self, function: Callable[..., None], ws: WebSocket, *args: Any) -> None:
        """One fault: logged once, the WebSocket closed with 1011, everyone else untouched."""
        try:
            function(ws, *args)
        except Exception as error:
            self._report(f"WebSocket handler {function.__qualname__}", error)
            ws.close(CloseCode.INTERNAL_ERROR)


def broadcast(connections: Iterable[WebSocket], message: str | bytes) -> None:
    """Send one message to many connections."""
    for ws in list(connections):
        ws.send(message)
