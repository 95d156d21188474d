"""Clients' connections on a told machine: delays, held readiness, cuts and silence, by chance.

It must not know what the bytes mean.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable

from python_server.net.loop import Loop
from simulated_machine import Machine

SMALL_BUFFER_BYTES = 4_608  # the least that the system gives
READ_BYTES = 65_536


def narrow(sock: socket.socket) -> None:
    """What it sends fills the pipe soon."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER_BYTES)


class Network:
    """What all connections share.

    Attributes:
        loop: of the clients. slow: the share of what is sent, and of what has come, that waits for a while.
        delay_seconds: at most. narrow: pipes are small, so that they are full soon.
    """

    def __init__(self, machine: Machine, loop: Loop, slow: float, delay_seconds: float, narrow: bool) -> None:
        self.machine = machine
        self.loop = loop
        self.slow = slow
        self.delay_seconds = delay_seconds
        self.narrow = narrow
        self.wires: dict[Wire, None] = {}
        self.full_count = 0  # sends that a full pipe did not take
        self.calm = False  # nothing is delayed any more

    def delay(self) -> float:
        """Of one thing."""
        chance = self.machine.random
        return chance.random() * self.delay_seconds if not self.calm and chance.random() < self.slow else 0.0


class Wire:
    """A client's end of one connection to whoever listens at `path`.

    Args:
        received: called with what comes. lost: called once, when it has ended otherwise than by `close`.
    """

    def __init__(
        self, network: Network, path: str, received: Callable[[bytes], None], lost: Callable[[], None]
    ) -> None:
        self._network = network
        self._received = received
        self._lost = lost
        self._sends: deque[bytes] = deque()
        self._ripe = 0  # of them, those whose time has come
        self._last_due = 0.0
        self._writes = False
        self.silent = False
        self.open = True
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        if network.narrow:
            narrow(self._socket)
        network.machine.held.pop(self._socket.fileno(), None)
        network.wires[self] = None
        try:
            self._socket.connect(path)
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.EAGAIN, errno.ENOENT):
                raise
            network.loop.call_soon(self._end)
            return
        network.loop.add_reader(self._socket.fileno(), self._on_readable)

    def send(self, data: bytes) -> None:
        """It arrives later, behind all that was sent before."""
        loop = self._network.loop
        self._sends.append(data)
        self._last_due = max(self._last_due, loop.now + self._network.delay())
        loop.call_later(self._last_due - loop.now, self._ripen)

    def hold(self, seconds: float) -> None:
        """The client reads nothing for so long."""
        if self.open:
            self._network.machine.held[self._socket.fileno()] = self._network.machine.now + seconds

    def silence(self) -> None:
        """Nothing passes any more, and nobody is told."""
        if self.open and not self.silent:
            self.silent = True
            self._stop()

    def close(self) -> None:
        """Cut: what is under way is lost."""
        if self.open:
            if not self.silent:
                self._stop()
            self.open = False
            del self._network.wires[self]
            self._network.machine.held.pop(self._socket.fileno(), None)
            self._socket.close()

    def _end(self) -> None:
        if self.open:
            self.close()
            self._lost()

    def _stop(self) -> None:
        self._network.loop.remove_reader(self._socket.fileno())
        if self._writes:
            self._writes = False
            self._network.loop.remove_writer(self._socket.fileno())

    def _ripen(self) -> None:
        self._ripe += 1
        if not self._writes:
            self._write()

    def _write(self) -> None:
        while self.open and not self.silent and self._ripe:
            try:
                sent = self._socket.send(self._sends[0])
            except BlockingIOError:
                self._network.full_count += 1
                if not self._writes:
                    self._writes = True
                    self._network.loop.add_writer(self._socket.fileno(), self._write)
                return
            except OSError:
                return  # its end is told to the reader, behind what still comes
            self._sends[0] = self._sends[0][sent:]
            if not self._sends[0]:
                self._sends.popleft()
                self._ripe -= 1
        if self._writes:
            self._writes = False
            self._network.loop.remove_writer(self._socket.fileno())

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        if seconds := self._network.delay():
            self.hold(seconds)
        self._received(data)
