"""Moves bytes between one socket and one `Connection`, and waits: for messages, for pongs, for the end.

It must not know URIs, how the socket was opened, or what a program calls.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from ..connection import Connection
from ..types import Close, CloseCode, Event, Pong, ProtocolError, State
from .exceptions import ConcurrencyError

READ_BYTES: Final = 65_536
# After a time-out what the system holds already is taken, but not without end.
LATE_SECONDS: Final = 0.1
# Whoever receives without a pause lets go of the lock so often, and for so long that a thread wakes up.
TURN_SECONDS: Final = 0.01
PAUSE_SECONDS: Final = 0.0001
# No call of the system waits longer: poll refuses 25 days, and every one refuses infinity.
WAIT_MAX_SECONDS: Final = 86_400.0
# Unlike epoll it needs no descriptor of its own.
Poller: Final = getattr(selectors, "PollSelector", selectors.SelectSelector)
NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
Seconds = float | None


class ClientLimits(NamedTuple):
    """Of `connect`: times in seconds, and how many messages wait."""

    ping_interval: Seconds
    ping_timeout: Seconds
    close_timeout: Seconds
    max_queue: int | None


class PingWaiter:
    """Waits for the answer to one ping, as a `threading.Event` would."""

    def __init__(self, wait: Callable[[PingWaiter, Seconds], bool]) -> None:
        self._wait = wait
        self.sent_at_seconds = time.monotonic()
        self.answered = False

    def is_set(self) -> bool:
        """Whether the pong has come; any call that receives receives it."""
        return self.answered

    def wait(self, timeout: Seconds = None) -> bool:
        """Receive until the pong has come, `timeout` seconds are over or the connection is; whether it came.

        Messages that come meanwhile are kept; while `max_queue` of them wait, nothing more is received.
        """
        return self._wait(self, timeout)


class SocketDriver:
    """All methods but `wait_for_pong` are called with `lock`, and let go of it while they wait.

    One thread at a time receives; others wait for it, or send. After a fault of the server's the close frame
    is held until `recv` finds nothing more: messages that came before the fault may be answered.

    Attributes:
        messages: received, and not taken. answering: the last of them was taken, and `recv` not called since.
        ended: nothing is received or sent any more; error: why.
        rcvd, sent, rcvd_then_sent: the close frames, and their order.
        latency: seconds that the latest ping took.
    """

    def __init__(self, sock: socket.socket, connection: Connection, limits: ClientLimits) -> None:
        sock.setblocking(False)
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.messages: deque[str | bytes] = deque()
        self.answering = False
        self.ended = False
        self.error: BaseException | None = None
        self.rcvd: Close | None = None
        self.sent: Close | None = None
        self.rcvd_then_sent: bool | None = None
        self.latency = 0.0
        self._socket = sock
        self._connection = connection
        self._limits = limits
        self._reading = False  # a thread waits for the server: only that one receives
        self._polls_count = 0
        self._buffer = bytearray(READ_BYTES)
        self._unsent = memoryview(b"")
        self._broken = False  # nothing can be sent any more
        self._holding = False  # our last frame
        self._close_at: Seconds = None  # TCP ends then at the latest
        self._pings: dict[bytes, PingWaiter] = {}
        self._keepalive: PingWaiter | None = None
        self._keepalive_at = later(limits.ping_interval)

    def is_over(self) -> bool:
        """No message will come any more."""
        return self.ended or self._connection.state is State.CLOSED

    def until(self, done: Callable[[], bool], deadline: Seconds) -> None:
        """Send and receive until `done`. Raises TimeoutError."""
        turn_ends = time.monotonic() + TURN_SECONDS
        while not done():
            if not self.move():
                if not done():
                    self._wait(deadline)
                    turn_ends = time.monotonic() + TURN_SECONDS
                continue
            now = time.monotonic()
            if deadline is not None and now >= deadline + LATE_SECONDS and not done():
                raise TimeoutError
            if now >= turn_ends:
                self._let_others_in()
                turn_ends = time.monotonic() + TURN_SECONDS

    def _let_others_in(self) -> None:
        """A server that sends without end would keep them waiting: to send, or to close."""
        try:
            self.lock.release()
            time.sleep(PAUSE_SECONDS)
        finally:
            self.lock.acquire()

    def drain(self, deadline: Seconds) -> None:
        """Until what is to be sent has left. Raises TimeoutError: TCP ends then, as a part may have left."""
        self._send_some()
        try:
            self.until(lambda: not self._unsent or self.ended, deadline)
        except TimeoutError as error:
            self.end(error)
            raise

    def move(self) -> bool:
        """Send and receive once, without waiting; whether something came."""
        late = self._close_at is not None and time.monotonic() >= self._close_at
        self._holding = self._holding and not late
        self._send_some()
        came = not self._reading and self._has_room() and self._receive_some()
        if late:
            self.end(TimeoutError("the closing handshake took too long"))
        return came

    def finish(self, deadline: Seconds) -> None:
        """Our last frame leaves, the server's comes, the server ends TCP (RFC 6455 section 7.1.1).

        Raises TimeoutError: at the `deadline`, which is earlier than `close_timeout`.
        """
        self._holding = False
        self._begin_to_close()
        self.until(lambda: self.ended, deadline)

    def _begin_to_close(self) -> None:
        if self._close_at is None:
            self._close_at = later(self._limits.close_timeout)

    def end(self, error: BaseException | None = None) -> None:
        """Of TCP, whoever ended it."""
        if self.ended:
            return
        self.ended = True
        self.error = self.error or error
        self._connection.receive_eof()
        self._unsent = memoryview(b"")
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # who waits for it elsewhere wakes up
        self._let_go()
        self.changed.notify_all()

    def _let_go(self) -> None:
        if self.ended and not self._polls_count:
            self._socket.close()

    # --- waiting ---

    def _wait(self, deadline: Seconds) -> None:
        """Until something may be sent or received, or it is time for a ping. Raises TimeoutError."""
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            raise TimeoutError
        reads = not self._reading and self._has_room()
        alarm = self._keepalive_at if reads and self._connection.state is State.OPEN else None
        times = [at for at in (deadline, alarm, self._close_at) if at is not None]
        seconds = min(max(0.0, min(times) - now), WAIT_MAX_SECONDS) if times else None
        if not reads and not self._unsent:
            self.changed.wait(seconds)  # for the thread that receives, or the one that makes room
            return
        self._reading = self._reading or reads
        try:
            idle = not self._poll(reads, seconds)
        finally:
            if reads:
                self._reading = False
                self.changed.notify_all()
        if idle and alarm is not None:
            self._keep_alive()

    def _poll(self, reads: bool, seconds: Seconds) -> bool:
        """Wait without the lock; whether something is ready. Until then the descriptor stays ours."""
        with Poller() as poller:
            writes = selectors.EVENT_WRITE if self._unsent else 0
            poller.register(self._socket, writes | (selectors.EVENT_READ if reads else 0))
            self._polls_count += 1
            try:  # a signal's handler may raise after any call: two of them, so that both are undone
                try:
                    self.lock.release()
                    return bool(poller.select(seconds))
                finally:
                    self.lock.acquire()
            finally:
                self._polls_count -= 1
                self._let_go()

    def _has_room(self) -> bool:
        """Once the WebSocket closes, messages without room are dropped."""
        return self._is_below_limit() or self._connection.state is not State.OPEN

    def _is_below_limit(self) -> bool:
        return self._limits.max_queue is None or len(self.messages) < self._limits.max_queue

    # --- sending and receiving ---

    def _send_some(self) -> None:
        while not self.ended and not self._broken:
            if not self._unsent:
                self._unsent = memoryview(self._connection.data_to_send(closing=not self._holding))
                if not self._unsent:
                    return
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except NOT_NOW:
                return
            except OSError as error:
                self._broken = True
                # What the server said before, perhaps why, may still be there.
                late = time.monotonic() + LATE_SECONDS
                while self._has_room() and self._receive_some() and time.monotonic() < late:
                    pass
                self.end(error)

    def _receive_some(self) -> bool:
        """Receive once; whether something came."""
        if self.ended:
            return False
        place = self._connection.receive_buffer()
        try:
            size = self._socket.recv_into(self._buffer if place is None else place)
        except NOT_NOW:
            return False
        except OSError as error:
            self.end(error)
            return False
        if not size:
            self.end()
            return False
        try:
            if place is None:
                events = self._connection.receive_data(self._buffer, size)
            else:
                events = self._connection.buffer_received(size)
        except Exception as error:  # not the server's fault: RFC 6455 section 7.4.1, code 1011
            self.error = error
            self.sent = self.sent or Close(CloseCode.INTERNAL_ERROR, self._connection.close_reason)
            raise
        self.take(events)
        return True

    def take(self, events: list[Event]) -> None:
        """What the connection has received, and send its answers."""
        for event in events:
            if isinstance(event, (str, bytes)):
                if self._connection.state is not State.CLOSING or self._is_below_limit():
                    self.messages.append(event)
            elif isinstance(event, Pong):
                self._answered(event.payload)
            elif isinstance(event, Close):
                self.rcvd, self.rcvd_then_sent = event, self.sent is None
                self.sent = self.sent or Close(event.code, "")
                self._begin_to_close()
            elif isinstance(event, ProtocolError):
                self.error = event
                self.sent = self.sent or Close(event.code, event.message)
                self._holding = self.answering or bool(self.messages)
                self._begin_to_close()
        self._send_some()

    # --- pings ---

    def queue_ping(self, data: bytes) -> PingWaiter:
        """To be drained. Raises ConcurrencyError, ValueError."""
        if data in self._pings:
            raise ConcurrencyError("already waiting for a pong with the same data")
        self._connection.ping(data)
        waiter = self._pings[data] = PingWaiter(self.wait_for_pong)
        return waiter

    def wait_for_pong(self, waiter: PingWaiter, timeout: Seconds) -> bool:
        """Whether it came."""
        with self.lock, suppress(TimeoutError):
            self.until(lambda: waiter.answered or self.is_over(), later(timeout))
        return waiter.answered

    def _answered(self, data: bytes) -> None:
        """RFC 6455 section 5.5.3: a pong answers all pings before it as well."""
        if data in self._pings:
            self.latency = time.monotonic() - self._pings[data].sent_at_seconds
        while data in self._pings:
            waiter = self._pings.pop(next(iter(self._pings)))  # the oldest
            waiter.answered = True
            if waiter is self._keepalive:
                self._keepalive, self._keepalive_at = None, later(self._limits.ping_interval)

    def _keep_alive(self) -> None:
        """Nothing came until it was time: for a ping, or to give up."""
        interval, patience = self._limits.ping_interval, self._limits.ping_timeout
        due = self._keepalive_at is not None and time.monotonic() >= self._keepalive_at
        if self._connection.state is not State.OPEN or not due:
            return  # another thread has closed meanwhile, or pinged
        if self._keepalive is None:
            self._keepalive = self.queue_ping(os.urandom(8))
            self._send_some()
        elif patience is not None:
            self.sent = Close(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
            self._connection.close(self.sent.code, self.sent.reason)
            self._send_some()
            self.end(TimeoutError(self.sent.reason))
        self._keepalive_at = later(interval if patience is None else patience)


def later(seconds: Seconds) -> Seconds:
    """The time of the monotonic clock; None is never."""
    return None if seconds is None else time.monotonic() + seconds
