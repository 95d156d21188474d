"""A WSGI application that takes over its connection: the blocking WebSocket, and the raw socket below it.

Must not know: frames, selectors, sessions; how an application is run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from python_server.connection.exchange import Exchange, TransportLike
from python_server.connection.websocket_channel import WebSocketChannel, WebSocketServices, ignore_message
from python_server.connection.websocket_handshake import accept_websocket
from python_server.net.bounded_queue import BoundedQueue
from python_server.net.byte_handler import ByteHandler
from python_server.net.client_backlog import SOFT_BYTES
from python_server.net.sockets import Socket
from python_server.net.threads import Door
from python_server.wsgi.environ import Environ
from wsframe import CloseCode, ConnectionClosed

Message = str | bytes


class WebSocketError(ConnectionError):
    """The WebSocket cannot be used: the handshake was refused, or the WebSocket is closed."""


class ClientLeft(ConnectionAbortedError):
    """There is no connection to take any more."""


@dataclass(eq=False, repr=False)
class BlockingWebSocket:
    """`environ['wsgi.websocket']`: gevent-websocket's words, for one worker.

    The opening handshake is answered at the first `receive` or `send`; until then the application may
    answer the request in the ordinary way (401, 403, ...).

    Attributes:
        environ: of the request. path, origin, version: of the request. protocol: the subprotocol chosen.
        close_code, close_reason: what the peer said, once it is closed.
    """

    _exchange: Exchange
    _door: Door
    _services: WebSocketServices
    _messages: BoundedQueue[Message]
    _channel: WebSocketChannel | None = field(default=None, init=False)
    environ: Environ = field(default_factory=dict, init=False)
    subprotocols: tuple[str, ...] = field(default=(), init=False)
    close_code: int | None = field(default=None, init=False)
    close_reason: str = field(default="", init=False)

    @property
    def path(self) -> str:
        return self._exchange.request.path

    @property
    def origin(self) -> str:
        return self._exchange.request.get("origin")

    @property
    def version(self) -> str:
        return self._exchange.request.get("sec-websocket-version")

    @property
    def protocol(self) -> str | None:
        return self._channel.subprotocol if self._channel is not None else None

    @property
    def accepted(self) -> bool:
        """Has the opening handshake been answered with 101?"""
        return self._channel is not None

    @property
    def closed(self) -> bool:
        return self.close_code is not None or (self._channel is not None and not self._channel.open)

    # Worker

    def accept(self, subprotocols: tuple[str, ...] = ()) -> None:
        """Answer the opening handshake now; `receive` and `send` do it by themselves.

        Raises:
            WebSocketError: it was refused; the client has its answer already.
        """
        if self._channel is None:
            self.subprotocols = tuple(subprotocols) or self.subprotocols
            if not self._door.ask(self._accept):
                raise WebSocketError("the opening handshake was refused, or the client has left")

    def receive(self, timeout_seconds: float | None = None) -> Message | None:
        """The next message; None when the WebSocket is closed.

        Raises:
            WebSocketError: it was closed before. TimeoutError: nothing came in time.
        """
        self.accept()
        message = self._messages.get(timeout_seconds)
        channel = self._channel
        if channel is not None and channel.paused and self._messages.low:
            self._door.post(self._resume, channel)
        return message

    def send(self, message: object, binary: bool | None = None, compress: bool | None = None) -> None:
        """Send one message; wait, up to a time, while the client does not take those before it.

        Args:
            binary: None: text for str, binary for bytes; True or False to choose.
            compress: choose for this message where permessage-deflate was agreed.

        Raises:
            WebSocketError: the WebSocket is closed.
        """
        self.accept()
        channel = self._channel
        if channel is None or not channel.open:
            raise WebSocketError("the WebSocket is closed")
        if isinstance(message, (bytearray, memoryview)):
            message = bytes(message)
        if binary is True and isinstance(message, str):
            message = message.encode()
        elif binary is False and isinstance(message, bytes):
            message = message.decode()
        elif not isinstance(message, (str, bytes)):
            message = str(message)
        channel.post_message(self._door, message, compress)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, message: str | bytes = "") -> None:
        """Begin the closing handshake; closing twice does nothing."""
        reason = message.decode("utf-8", "replace") if isinstance(message, bytes) else message
        if self._channel is not None:
            self._door.post(self._channel.close, code, reason)

    def finish(self, code: int) -> None:
        """The application has returned, or failed."""
        if self._channel is not None:
            self._door.post(self._finish, self._channel, code)

    # Loop's thread

    def _accept(self) -> bool:
        if self._exchange.open:  # else another thread of the application may have been faster
            accept_websocket(self._exchange, self._services, self._opened, subprotocols=self.subprotocols)
        return self._channel is not None

    def _opened(self, channel: WebSocketChannel) -> None:
        self._channel = channel
        channel.keep_alive(None, None)
        channel.on_message = partial(self._on_message, channel)
        channel.on_close = self._on_close

    def _on_message(self, channel: WebSocketChannel, message: Message) -> None:
        if self._messages.offer(message):
            channel.pause_reading(True)
            self._resume(channel)  # the worker may have been faster than these lines

    def _resume(self, channel: WebSocketChannel) -> None:
        if self._messages.low:
            channel.pause_reading(False)

    @staticmethod
    def _finish(channel: WebSocketChannel, code: int) -> None:
        """Nobody receives any more: what still comes is dropped, up to the client's close frame."""
        channel.on_message = ignore_message
        channel.pause_reading(False)
        channel.close(code)

    def _on_close(self, code: int, reason: str) -> None:
        self.close_code, self.close_reason = code, reason
        self._messages.end()


class LazySocket:
    """`environ['werkzeug.socket']`: the connection as a blocking socket, from its first use on.

    Packages that write their own 101 look for it: simple-websocket, and with it flask-sock and Flask-SocketIO
    in threading mode. It has the names of `socket.socket`.
    """

    def __init__(self, take: Callable[[], Socket]) -> None:
        self._take = take
        self._socket: Socket | None = None

    @property
    def taken(self) -> bool:
        return self._socket is not None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._socket is None:
            self._socket = self._take()
        value = getattr(self._socket, name)
        setattr(self, name, value)  # the next use finds it without this detour
        return value

    def finish(self) -> None:
        if self._socket is not None:
            self._socket.close()


class WebSocketTakeover:
    """What one upgrade request may become in an application's hands.

    Args:
        exchange: the request.
        relay: for a connection that cannot be given away (TLS, bytes already read): makes a socket for the
            application and the handler that feeds it.
        socket_taken: called once an application does its own I/O on the connection.
    """

    def __init__(
        self,
        exchange: Exchange,
        door: Door,
        services: WebSocketServices,
        relay: Callable[[TransportLike, bytes], tuple[Socket, ByteHandler]],
        socket_taken: Callable[[], None],
        max_queue_count: int,
    ) -> None:
        self._exchange = exchange
        self._relay = relay
        self._socket_taken = socket_taken
        # Full from SOFT_BYTES on, as a backlog is.
        messages: BoundedQueue[Message] = BoundedQueue(SOFT_BYTES - 1, max_queue_count)
        self._websocket = BlockingWebSocket(exchange, door, services, messages)
        self._socket = LazySocket(partial(door.ask, self._take))

    # Worker

    def entries(self, environ: Environ) -> Environ:
        """What the environ gets."""
        self._websocket.environ = environ
        return {
            "wsgi.websocket": self._websocket,
            "wsgi.websocket_version": self._websocket.version,
            "werkzeug.socket": self._socket,
        }

    @property
    def taken(self) -> bool:
        """Has the application taken the connection, so that no response may follow?"""
        return self._socket.taken or self._websocket.accepted

    def forgives(self, error: BaseException) -> bool:
        """Is `error` how such programs end (a client that left, a closed WebSocket, a socket they took)?"""
        if isinstance(error, (WebSocketError, ClientLeft)):
            return True
        if self._socket.taken and isinstance(error, OSError):
            return True  # simple-websocket's reader may close the socket under its writer
        return self.taken and isinstance(error, (ConnectionError, ConnectionClosed, StopIteration))

    def finish(self, error: BaseException | None) -> None:
        """The application has returned, or raised `error`."""
        failed = error is not None and not self.forgives(error)
        self._websocket.finish(CloseCode.INTERNAL_ERROR if failed else CloseCode.NORMAL_CLOSURE)
        self._socket.finish()

    # Loop's thread

    def _take(self) -> Socket:
        if not self._exchange.open:
            raise ClientLeft("the client has left, or was answered already")
        taken: list[Socket] = []

        def make(transport: Any, leftover: bytes) -> ByteHandler | None:
            own: Socket | None = None if leftover else transport.detach()
            handler = None
            if own is None:
                own, handler = self._relay(transport, leftover)
            taken.append(own)
            return handler

        self._exchange.hand_over(make)
        self._socket_taken()
        taken[0].setblocking(True)
        return taken[0]
