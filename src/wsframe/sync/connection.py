"""One open WebSocket of a client on a socket: messages, pings, time-outs, the closing handshake.

It must not know URIs, how the socket was opened, or a rule of the protocol, which are `Connection`'s.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple

from ..connection import Buffer, Connection
from ..types import Close, CloseCode, Event, Pong, ProtocolError, State
from .exceptions import (
    OK_CODES,
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeResponse,
)

READ_BYTES: Final = 65_536
# After a time-out what the system holds already is taken, but not without end.
LATE_RECEIVES_MAX_COUNT: Final = 128
# Of one connection: for a poll it needs no descriptor of its own, as epoll would.
Poller: Final = getattr(selectors, "PollSelector", selectors.SelectSelector)
Seconds = float | None


class Times(NamedTuple):
    """Of `connect`, in seconds."""

    ping_interval: Seconds
    ping_timeout: Seconds
    close_timeout: Seconds


class PingWaiter:
    """Waits for the answer to one ping, as a `threading.Event` would.

    assert websocket.ping().wait(5)
    """

    def __init__(self, wait: Callable[[PingWaiter, Seconds], bool]) -> None:
        self._wait = wait
        self.sent_at_seconds = time.monotonic()
        self.answered = False

    def is_set(self) -> bool:
        """Returns: whether the pong has come; `ClientConnection.recv` and the others receive it.

        pending = websocket.ping().is_set()
        """
        return self.answered

    def wait(self, timeout: Seconds = None) -> bool:
        """Receive until the pong comes; messages that come meanwhile are kept.

            came = websocket.ping().wait(5)

        Args:
            timeout: in seconds; None waits as long as the connection lives.

        Returns: whether it came. With `max_queue` messages waiting, nothing more is received.
        """
        return self._wait(self, timeout)


class ClientConnection:
    """What `connect` returns; iterate over it to receive messages until it is closed.

        with connect("ws://127.0.0.1:8000/chat") as websocket:
            for message in websocket:
                websocket.send(message)

    It has no thread of its own: pings of the server are answered, and our own sent, while a method runs. Two
    threads may use it at the same time, for example one that receives and one that sends.

    Attributes:
        response: the server's answer. subprotocol: the agreed one, or None.
        latency: seconds that the latest ping took, 0 before.
    """

    def __init__(
        self,
        sock: socket.socket,
        connection: Connection,
        response: HandshakeResponse,
        rest: bytes,
        *,
        subprotocol: str | None,
        times: Times,
        max_queue: int | None,
    ) -> None:
        """Args: see `connect`; `rest` came behind the head of `response`."""
        sock.setblocking(False)
        self.socket = sock
        self.response = response
        self.subprotocol = subprotocol
        self.latency = 0.0
        self._connection = connection
        self._times = times
        self._max_queue = max_queue
        self._changed = threading.Condition(threading.Lock())
        self._reading = False  # a thread waits for the server, outside the lock; only that one receives
        self._polls_count = 0
        self._buffer = bytearray(READ_BYTES)
        self._unsent = memoryview(b"")
        self._messages: deque[str | bytes] = deque()
        self._pings: dict[bytes, PingWaiter] = {}
        self._keepalive: PingWaiter | None = None
        self._keepalive_at = _later(times.ping_interval)
        self._close_at: Seconds = None
        self._broken = False  # nothing can be sent any more
        self._ended = False  # nothing is received or sent any more
        self._error: BaseException | None = None
        self._rcvd: Close | None = None
        self._sent: Close | None = None
        self._rcvd_then_sent: bool | None = None
        with self._changed:
            self._take(connection.receive_data(rest))

    # --- what a program calls ---

    def recv(self, timeout: Seconds = None, decode: bool | None = None) -> str | bytes:
        """Return the next message; str for text, bytes for binary.

            message = websocket.recv(timeout=5)

        Args:
            timeout: in seconds; 0 takes only what has come already, None waits as long as it takes.
            decode: True makes str of binary messages too, False bytes of text.

        Raises TimeoutError; ConnectionClosedOK, ConnectionClosedError: no message will come any more.
        """
        with self._changed:
            try:
                self._until(lambda: bool(self._messages) or self._is_over(), _later(timeout))
            except TimeoutError:
                raise TimeoutError(f"no message came within {timeout} seconds") from None
            if not self._messages:
                raise self._closed()
            message = self._messages.popleft()
            self._changed.notify_all()  # there is room
        if decode and isinstance(message, bytes):
            return message.decode()
        return message.encode() if decode is False and isinstance(message, str) else message

    def __iter__(self) -> Iterator[str | bytes]:
        """Messages until a normal close; raises ConnectionClosedError after another."""
        with suppress(ConnectionClosedOK):
            while True:
                yield self.recv()

    def send(self, message: str | Buffer, *, text: bool | None = None, timeout: Seconds = None) -> None:
        """Send a message, and wait until the system has taken all of it; receive what comes meanwhile.

            websocket.send("hello")

        Args:
            message: str is sent as text, bytes-like as binary. text: True or False decides this otherwise.
            timeout: in seconds; None waits as long as the connection lives.

        Raises TimeoutError: the server does not read; since a part may have left, the connection ends.
        ConnectionClosedOK, ConnectionClosedError. TypeError: not a message. UnicodeError: not UTF-8.
        """
        with self._changed:
            self._check_open()
            if text is not None and isinstance(message, str) is not text:
                message = message.encode() if isinstance(message, str) else bytes(message).decode()
            if isinstance(message, str):
                self._connection.send_text(message)
            else:
                self._connection.send_binary(message)
            self._drain(timeout)

    def ping(self, data: str | Buffer | None = None, *, timeout: Seconds = None) -> PingWaiter:
        """Send a ping.

            milliseconds = websocket.latency * 1000 if websocket.ping().wait(5) else None

        Args:
            data: at most 125 bytes; None: four random ones. timeout: in seconds, to send it.

        Returns: what waits for the pong; a later ping's pong answers this one too.
        Raises TimeoutError, ConnectionClosedOK, ConnectionClosedError: as `send`. ValueError: too long.
        """
        with self._changed:
            self._check_open()
            waiter = self._queue_ping(os.urandom(4) if data is None else _bytes(data))
            self._drain(timeout)
        return waiter

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the WebSocket: say so, wait for the answer and the server's end of TCP, for `close_timeout`.

            websocket.close(1001, "good night")

        Messages that came before can still be received. On a closed connection nothing happens.

        Args:
            code: a code that RFC 6455 section 7.4 allows. reason: at most 123 bytes of UTF-8.

        Raises ValueError: the code or the reason may not be sent.
        """
        with self._changed:
            if self.state is State.OPEN:
                self._connection.close(code, reason)
                self._sent = Close(int(code), reason)
            self._finish()

    def __enter__(self) -> ClientConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None
    ) -> None:
        self.close(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

    @property
    def state(self) -> State:
        """OPEN, CLOSING or CLOSED."""
        return self._connection.state

    @property
    def close_code(self) -> int | None:
        """As of `Connection`; None while it is open."""
        return self._connection.close_code

    @property
    def close_reason(self) -> str | None:
        """As of `Connection`; None while it is open."""
        return None if self._connection.close_code is None else self._connection.close_reason

    # --- all below is called with the lock ---

    def _is_over(self) -> bool:
        return self._ended or self.state is State.CLOSED

    def _check_open(self) -> None:
        """Also receive what has come: a server that has closed is noticed, one that asks is answered."""
        self._move()
        if self._ended or self.state is not State.OPEN:
            raise self._closed()

    def _closed(self) -> ConnectionClosed:
        """What to raise, once the connection has ended."""
        self._finish()
        rcvd, sent = self._rcvd, self._sent
        good = rcvd is not None and sent is not None and {rcvd.code, sent.code} <= OK_CODES
        kind = ConnectionClosedOK if good else ConnectionClosedError
        error = kind(rcvd, sent, self._rcvd_then_sent)
        error.__cause__ = self._error
        return error

    def _finish(self) -> None:
        """Our last frame leaves, the server's comes, the server ends TCP (RFC 6455 section 7.1.1)."""
        if self._close_at is None:
            self._close_at = _later(self._times.close_timeout)
        try:
            self._until(lambda: self._ended, self._close_at)
        except TimeoutError:
            self._end(TimeoutError("the closing handshake took too long"))

    def _drain(self, timeout: Seconds) -> None:
        """Until what was queued has left."""
        self._send_some()
        try:
            self._until(lambda: not self._unsent or self._ended, _later(timeout))
        except TimeoutError as error:
            self._end(error)
            raise TimeoutError(f"the server did not read for {timeout} seconds") from None
        if self._ended:
            raise self._closed()

    def _until(self, done: Callable[[], bool], deadline: Seconds) -> None:
        """Send and receive until `done`. Raises TimeoutError."""
        late_count = 0
        while not done():
            if not self._move():
                if not done():
                    self._wait(deadline)
            elif deadline is not None and time.monotonic() >= deadline:
                late_count += 1
                if late_count > LATE_RECEIVES_MAX_COUNT:
                    raise TimeoutError

    def _wait(self, deadline: Seconds) -> None:
        """Until something may be sent or received, or it is time for a ping. Raises TimeoutError."""
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            raise TimeoutError
        reads = not self._reading and self._has_room()
        alarm = self._keepalive_at if reads and self.state is State.OPEN else None
        times = [at for at in (deadline, alarm) if at is not None]
        seconds = max(0.0, min(times) - now) if times else None
        if not reads and not self._unsent:
            self._changed.wait(seconds)  # for the thread that receives, or the one that makes room
            return
        self._reading = self._reading or reads
        try:
            idle = not self._poll(reads, seconds)
        finally:
            if reads:
                self._reading = False
                self._changed.notify_all()
        if idle and alarm is not None and time.monotonic() >= alarm:
            self._keep_alive()

    def _poll(self, reads: bool, seconds: Seconds) -> bool:
        """Wait without the lock; whether something is ready. Until then the descriptor stays ours."""
        with Poller() as poller:
            writes = selectors.EVENT_WRITE if self._unsent else 0
            poller.register(self.socket, writes | (selectors.EVENT_READ if reads else 0))
            self._polls_count += 1
            self._changed.release()
            try:
                return bool(poller.select(seconds))
            finally:
                self._changed.acquire()
                self._polls_count -= 1
                self._let_go()

    def _has_room(self) -> bool:
        """For another message. Once the WebSocket closes, those without room are dropped."""
        return self._is_below_limit() or self.state is not State.OPEN

    def _is_below_limit(self) -> bool:
        return self._max_queue is None or len(self._messages) < self._max_queue

    def _move(self) -> bool:
        """Send and receive once, without waiting; whether something came."""
        self._send_some()
        return not self._reading and self._has_room() and self._receive_some()

    def _send_some(self) -> None:
        while not self._ended and not self._broken:
            if not self._unsent:
                self._unsent = memoryview(self._connection.data_to_send())
                if not self._unsent:
                    return
            try:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self._broken = True
                # What the server said before, perhaps why, may still be there.
                while self._has_room() and self._receive_some():
                    pass
                self._end(error)

    def _receive_some(self) -> bool:
        """Receive once; whether something came."""
        if self._ended:
            return False
        connection = self._connection
        place = connection.receive_buffer()
        try:
            size = self.socket.recv_into(self._buffer if place is None else place)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            self._end(error)
            return False
        if not size:
            self._end()
            return False
        try:
            filled = place is not None
            self._take(
                connection.buffer_received(size) if filled else connection.receive_data(self._buffer, size)
            )
        except Exception as error:  # not the server's fault: RFC 6455 section 7.4.1, code 1011
            self._error = error
            self._sent = self._sent or Close(CloseCode.INTERNAL_ERROR, connection.close_reason)
            raise
        return True

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, (str, bytes)):
                if self.state is not State.CLOSING or self._is_below_limit():
                    self._messages.append(event)
            elif isinstance(event, Pong):
                self._answered(event.payload)
            elif isinstance(event, Close):
                self._rcvd, self._rcvd_then_sent = event, self._sent is None
                self._sent = self._sent or Close(event.code, "")
            elif isinstance(event, ProtocolError):
                self._error = event
                self._sent = self._sent or Close(event.code, event.message)
        self._send_some()

    def _end(self, error: BaseException | None = None) -> None:
        """Of TCP, whoever ended it."""
        if self._ended:
            return
        self._ended = True
        self._error = self._error or error
        self._connection.receive_eof()
        self._unsent = memoryview(b"")
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # who waits for it elsewhere wakes up
        self._let_go()
        self._changed.notify_all()

    def _let_go(self) -> None:
        if self._ended and not self._polls_count:
            self.socket.close()

    # --- pings ---

    def _queue_ping(self, data: bytes) -> PingWaiter:
        if data in self._pings:
            raise ConcurrencyError("already waiting for a pong with the same data")
        self._connection.ping(data)
        waiter = self._pings[data] = PingWaiter(self._wait_for_pong)
        return waiter

    def _wait_for_pong(self, waiter: PingWaiter, timeout: Seconds) -> bool:
        with self._changed, suppress(TimeoutError):
            self._until(lambda: waiter.answered or self._is_over(), _later(timeout))
        return waiter.answered

    def _answered(self, data: bytes) -> None:
        """RFC 6455 section 5.5.3: a pong answers all pings before it as well."""
        if data not in self._pings:
            return
        for sent in list(self._pings):
            waiter = self._pings.pop(sent)
            waiter.answered = True
            if waiter is self._keepalive:
                self._keepalive, self._keepalive_at = None, _later(self._times.ping_interval)
            if sent == data:
                self.latency = time.monotonic() - waiter.sent_at_seconds
                return

    def _keep_alive(self) -> None:
        """Nothing came until it was time: for a ping, or to give up."""
        if self._keepalive is None:
            self._keepalive = self._queue_ping(os.urandom(4))
            self._send_some()
        elif self._times.ping_timeout is not None:
            reason = "keepalive ping timeout"
            self._connection.close(CloseCode.INTERNAL_ERROR, reason)
            self._sent = Close(CloseCode.INTERNAL_ERROR, reason)
            self._send_some()
            self._end(TimeoutError(reason))
        self._keepalive_at = _later(
            self._times.ping_interval if self._times.ping_timeout is None else self._times.ping_timeout
        )


def _later(seconds: Seconds) -> Seconds:
    """The time of the monotonic clock; None is never."""
    return None if seconds is None else time.monotonic() + seconds


def _bytes(data: str | Buffer) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(memoryview(data))
