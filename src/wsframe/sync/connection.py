"""What a program calls on an open WebSocket of a client: receive, send, ping, close.

It must not know URIs, or how bytes are moved and waited for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType

from ..connection import Buffer, Connection
from ..types import Close, CloseCode, State
from .driver import ClientLimits, PingWaiter, Seconds, SocketDriver, later
from .exceptions import (
    OK_CODES,
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeResponse,
)

Message = str | Buffer


class ClientConnection:
    """What `connect` returns; iterate over it to receive messages until it is closed.

        def echo(websocket: ClientConnection) -> None:
            for message in websocket:
                websocket.send(message)

    It has no thread of its own: pings of the server are answered, and our own sent, while a method runs. Two
    threads may use it at the same time, for example one that receives and one that sends.

    Attributes:
        socket: to register in a selector; then `recv(timeout=0)`. response: the server's answer.
        subprotocol: the agreed one, or None.
    """

    def __init__(
        self,
        sock: socket.socket,
        connection: Connection,
        limits: ClientLimits,
        response: HandshakeResponse,
        rest: bytes,
        subprotocol: str | None,
    ) -> None:
        """`rest` came behind the head of `response`."""
        self.socket = sock
        self.response = response
        self.subprotocol = subprotocol
        self._connection = connection
        self._driver = SocketDriver(sock, connection, limits)
        self._lock = self._driver.lock
        self._fragmenting: object = None  # whoever has begun a message in fragments
        with self._lock:
            self._driver.take(connection.receive_data(rest))

    def recv(self, timeout: Seconds = None, decode: bool | None = None) -> str | bytes:
        """Return the next message; str for text, bytes for binary.

            message = websocket.recv(timeout=5)

        Args:
            timeout: in seconds; 0 takes only what has come already, None waits as long as it takes.
            decode: True makes str of binary messages too, False bytes of text.

        Raises TimeoutError; ConnectionClosedOK, ConnectionClosedError: no message will come any more.
        """
        driver, deadline = self._driver, later(timeout)
        with self._lock:
            driver.answering = False
            try:
                driver.until(lambda: bool(driver.messages) or driver.is_over(), deadline)
            except TimeoutError:
                raise TimeoutError(f"no message came within {timeout} seconds") from None
            if not driver.messages:
                raise self._closed(deadline)
            message = driver.messages.popleft()
            driver.answering = True
            driver.changed.notify_all()  # there is room
        if decode and isinstance(message, bytes):
            return message.decode()
        return message.encode() if decode is False and isinstance(message, str) else message

    def __iter__(self) -> Iterator[str | bytes]:
        """Messages until a normal close. Raises ConnectionClosedError after another."""
        with suppress(ConnectionClosedOK):
            while True:
                yield self.recv()

    def send(
        self, message: Message | Iterable[Message], *, text: bool | None = None, timeout: Seconds = None
    ) -> None:
        """Send a message, and wait until the system has taken all of it; receive what comes meanwhile.

            websocket.send("hello")
            websocket.send(open("report.csv"))  # one message, each line a fragment

        Args:
            message: str is sent as text, bytes-like as binary, an iterable of one of these in fragments.
            text: of a whole message, True or False decides this otherwise.
            timeout: in seconds, of each fragment; None waits as long as it takes.

        Raises TimeoutError: the server does not read; since a part may have left, the connection ends.
        ConnectionClosedOK, ConnectionClosedError. TypeError: not a message. UnicodeError: not UTF-8.
        ConcurrencyError: a message of another thread is not finished. An iterable that raises closes.
        """
        if isinstance(message, (str, bytes, bytearray, memoryview)):
            if text is not None and isinstance(message, str) is not text:
                message = message.encode() if isinstance(message, str) else bytes(message).decode()
            self._send_piece(message, None, True, timeout)
        elif isinstance(message, Iterable) and not isinstance(message, Mapping) and text is None:
            self._send_fragments(message, timeout)
        else:
            raise TypeError(f"message must be str, bytes-like or an iterable of these, not {type(message)}")

    def _send_fragments(self, pieces: Iterable[Message], timeout: Seconds) -> None:
        """The iterable may take its time: other threads receive meanwhile, and ping."""
        owner = object()
        waiting: Message | None = None
        try:
            for piece in pieces:
                if waiting is not None:
                    self._send_piece(waiting, owner, False, timeout)
                # A copy: the iterable may use its buffer again.
                waiting = piece if isinstance(piece, str | bytes) else bytes(memoryview(piece))
            if waiting is not None:
                self._send_piece(waiting, owner, True, timeout)
        except BaseException:
            if self._fragmenting is owner:  # what has left cannot be taken back
                self.close(CloseCode.INTERNAL_ERROR, "the message cannot be finished")
            raise

    def _send_piece(self, piece: Message, owner: object, final: bool, timeout: Seconds) -> None:
        """Of the message of `owner`; None: of one that is whole."""
        deadline = later(timeout)
        with self._lock:
            self._driver.move()  # a server that has closed is noticed, one that asks is answered
            if self._driver.ended or not self._connection.encoder.open:
                raise self._closed(deadline)
            if self._fragmenting not in (None, owner):
                raise ConcurrencyError("another thread sends a message in fragments, which is not finished")
            if owner is not None:
                self._connection.send_fragment(piece, final)
                self._fragmenting = None if final else owner
            elif isinstance(piece, str):
                self._connection.send_text(piece)
            else:
                self._connection.send_binary(piece)
            self._drain(timeout, deadline)

    def ping(self, data: Message | None = None, *, timeout: Seconds = None) -> PingWaiter:
        """Send a ping.

            milliseconds = websocket.latency * 1000 if websocket.ping().wait(5) else None

        Args:
            data: at most 125 bytes; None: eight random ones. timeout: in seconds, to send it.

        Returns: what waits for the pong by `wait(timeout)`; a later ping's pong answers this one too.
        Raises as `send`. ValueError: too long. TypeError. ConcurrencyError: the same `data` are on their way.
        """
        deadline = later(timeout)
        with self._lock:
            self._driver.move()
            if self.state is not State.OPEN:
                raise self._closed(deadline)
            data = os.urandom(8) if data is None else data
            payload = data.encode() if isinstance(data, str) else bytes(memoryview(data))
            waiter = self._driver.queue_ping(payload)
            self._drain(timeout, deadline)
        return waiter

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the WebSocket: say so, wait for the answer and the server's end of TCP, for `close_timeout`.

            websocket.close(1001, "good night")

        Messages that came before can still be received. On a closed connection nothing happens.

        Args:
            code: a code that RFC 6455 section 7.4 allows. reason: at most 123 bytes of UTF-8.

        Raises ValueError: the code or the reason may not be sent.
        """
        with self._lock:
            if self.state is State.OPEN:
                self._connection.close(code, reason)
                self._driver.sent = Close(int(code), reason)
            self._driver.finish(None)

    def __enter__(self) -> ClientConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None
    ) -> None:
        self.close(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

    @property
    def latency(self) -> float:
        """Seconds that the latest ping took; 0 before."""
        return self._driver.latency

    @property
    def state(self) -> State:
        """OPEN, CLOSING or CLOSED."""
        return self._connection.state

    @property
    def close_code(self) -> int | None:
        """As of `wsframe.Connection`; None while it is open."""
        return self._connection.close_code

    @property
    def close_reason(self) -> str | None:
        """As of `wsframe.Connection`; None while it is open."""
        return None if self._connection.close_code is None else self._connection.close_reason

    # --- all below is called with the lock ---

    def _drain(self, timeout: Seconds, deadline: Seconds) -> None:
        try:
            self._driver.drain(deadline)
        except TimeoutError:
            raise TimeoutError(f"the server did not read for {timeout} seconds") from None
        if self._driver.ended:
            raise self._closed(deadline)

    def _closed(self, deadline: Seconds) -> ConnectionClosed:
        """What to raise where nothing more can come, or leave; its end is waited for until the `deadline`."""
        with suppress(TimeoutError):
            self._driver.finish(deadline)
        driver = self._driver
        codes = {None if close is None else close.code for close in (driver.rcvd, driver.sent)}
        kind = ConnectionClosedOK if codes <= OK_CODES else ConnectionClosedError
        error = kind(driver.rcvd, driver.sent, driver.rcvd_then_sent)
        error.__cause__ = driver.error
        return error
