"""Accepting connections in batches, with back-off when descriptors run out and a pause at a limit.

Must not know: what a connection is for, or how the socket was bound.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Final

from python_server.net.byte_handler import Address
from python_server.net.loop import Deadline, Loop
from python_server.net.portability import AF_UNIX
from python_server.net.sockets import Socket
from python_server.net.states import StateEnum

# gevent's figures: 10 ms, doubling to one second, while the process is out of descriptors.
BACK_OFF_MIN_SECONDS: Final = 0.01
BACK_OFF_MAX_SECONDS: Final = 1.0
# While other workers have fewer connections they are left the next ones for so long.
YIELD_SECONDS: Final = 0.005

# A request's head is seldom larger.
REFUSED_READ_BYTES: Final = 65_536

# Faults of one connection that was lost before we took it: the next accept may succeed.
TRANSIENT: Final = {errno.ECONNABORTED, errno.ECONNRESET, errno.EPROTO, errno.EPERM, errno.EINTR}
# Faults of the listening socket itself: no later accept can succeed.
FATAL: Final = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP}


class ListenerState(StateEnum):
    """What a listening socket is doing."""

    PAUSED = "ACCEPTING", "CLOSED"  # connections wait in the kernel's backlog until `start`
    ACCEPTING = "PAUSED", "BACKING_OFF", "YIELDING", "CLOSED"
    BACKING_OFF = "PAUSED", "ACCEPTING", "CLOSED"  # out of descriptors; a timer starts it again
    YIELDING = "PAUSED", "ACCEPTING", "CLOSED"  # others have fewer connections; a timer starts it again
    CLOSED = ()


def turn_away(sock: Socket, answer: bytes) -> None:
    """End a connection that is not taken, with an answer if it fits.

    Nothing is kept for it: a flood of such connections must not hold descriptors. What the client has sent is
    read once, since unread bytes would make its end a reset.
    """
    try:
        if answer:
            sock.send(answer)
        sock.recv(REFUSED_READ_BYTES)
    except OSError:  # nothing has come yet
        pass
    sock.close()


class Listener:
    """Accepts connections on one listening socket. Every method belongs to the loop's thread.

    Args:
        sock: a listening, non-blocking socket, owned from here on.
        accepted: called with (socket, peer address) for each connection; the socket is non-blocking.
        exhausted: called with the error when the process or system is out of descriptors.
        batch_count: connections taken per turn of the loop; data of existing ones comes first.
        allowance: where others accept on the same socket: how many to take now. At 0 or less one is taken,
            since perhaps nobody else was woken for it, and the next ones are left to them for a moment. At
            None none is taken.
    """

    def __init__(
        self,
        loop: Loop,
        sock: Socket,
        accepted: Callable[[Socket, Address], None],
        exhausted: Callable[[OSError], None],
        batch_count: int,
        allowance: Callable[[], int | None] | None = None,
    ) -> None:
        self._loop = loop
        self._socket = sock
        loop.sockets.add(sock)
        self._accepted = accepted
        self._exhausted = exhausted
        self._batch_count = batch_count
        self._allowance = allowance
        self._back_off_seconds = BACK_OFF_MIN_SECONDS
        self._again = Deadline(loop, self._accept)
        self.state: ListenerState = ListenerState.PAUSED

    def start(self) -> None:
        """Begin, or go on, to accept."""
        if self.state is ListenerState.PAUSED:
            self._accept()

    def pause(self) -> None:
        """Leave new connections in the kernel's backlog until `start`."""
        if self.state not in (ListenerState.PAUSED, ListenerState.CLOSED):
            self._leave(ListenerState.PAUSED)

    def look_again(self) -> None:
        """Somebody who shares the socket has gone, perhaps with a connection that only it was woken for."""
        if self.state is ListenerState.ACCEPTING:
            self._leave(ListenerState.PAUSED)
            self._accept()

    def drain_and_close(self) -> None:
        """Take what the system has accepted for us already, then stop listening for good."""
        if self.state is ListenerState.YIELDING:
            self._accept()
        if self.state is ListenerState.ACCEPTING:
            self._take(self._batch_count)
        self.close()

    def close(self) -> None:
        """Stop listening for good."""
        if self.state is not ListenerState.CLOSED:
            self._leave(ListenerState.CLOSED)
            self._loop.sockets.discard(self._socket)
            self._socket.close()

    def _accept(self) -> None:
        self.state = self.state.to(ListenerState.ACCEPTING)
        shared = self._allowance is not None
        try:
            self._loop.add_reader(self._socket.fileno(), self._on_readable, late=True, exclusive=shared)
        except OSError as error:
            if error.errno not in (errno.ENOMEM, errno.ENOSPC):
                raise
            self._wait_for_descriptors(error)  # the system watches no further one now

    def _leave(self, state: ListenerState) -> None:
        if self.state is ListenerState.ACCEPTING:
            self._loop.remove_reader(self._socket.fileno())
        self._again.cancel()
        self.state = self.state.to(state)

    def _on_readable(self) -> None:
        count = self._batch_count
        allowed: int | None = count
        if self._allowance is not None:
            allowed = self._allowance()
            count = 0 if allowed is None else min(count, max(1, allowed))
        self._take(count)
        if (allowed is None or allowed <= 0) and self.state is ListenerState.ACCEPTING:
            self._leave(ListenerState.YIELDING)
            self._again.set(YIELD_SECONDS)

    def _take(self, count: int) -> None:
        for _ in range(count):
            if self.state is not ListenerState.ACCEPTING:
                return
            try:
                connection, peer = self._socket.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in TRANSIENT:
                    continue
                if error.errno in FATAL:
                    self.close()
                    raise
                self._wait_for_descriptors(error)
                return
            connection.setblocking(False)
            if connection.family != AF_UNIX:
                try:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                except OSError:  # macOS: the peer has reset the connection already
                    connection.close()
                    continue
            self._accepted(connection, peer)
        self._back_off_seconds = BACK_OFF_MIN_SECONDS

    def _wait_for_descriptors(self, error: OSError) -> None:
        """EMFILE, ENFILE, ENOBUFS, ENOMEM: the listener stays readable, so it is not watched for a while."""
        self._leave(ListenerState.BACKING_OFF)
        self._exhausted(error)
        self._again.set(self._back_off_seconds)
        self._back_off_seconds = min(self._back_off_seconds * 2, BACK_OFF_MAX_SECONDS)
