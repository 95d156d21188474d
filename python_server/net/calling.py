"""Connections that this process makes: a TCP connection that is tried without waiting, plain or with TLS.

Must not know: whom it reaches, what is said there.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from python_server.net.byte_handler import Address
from python_server.net.loop import Deadline, Loop
from python_server.net.sockets import Socket
from python_server.net.states import StateEnum
from python_server.net.tls import HandshakeQueue, TLSTransport
from python_server.net.transport import Transport
from python_server.settings import TransportSettings

if TYPE_CHECKING:
    from python_server.net.certificates import TLSContext

# Called once, with the transport or with why there is none.
Called = Callable[[Transport | None, str], None]
BEGUN: Final = (0, errno.EINPROGRESS, errno.EINTR, errno.EWOULDBLOCK)


class CallState(StateEnum):
    """How far an attempt has come."""

    NEW = "CONNECTING", "DONE"
    CONNECTING = "GREETING", "DONE"
    GREETING = "DONE"  # of TLS
    DONE = ()


@dataclass(slots=True, eq=False)
class Call:
    """One attempt. Every method belongs to the loop's thread.

    Attributes:
        host, port: numeric: nothing is looked up here. seconds: for all of it.
        context: for TLS; None: the connection is plain. server_name: what the certificate must be for.
    """

    loop: Loop
    host: str
    port: int
    seconds: float
    done: Called
    report: Callable[[str, BaseException], None]
    limits: TransportSettings
    context: TLSContext | None = None
    server_name: str = ""
    _state: CallState = field(default=CallState.NEW, init=False)
    _socket: Socket = field(init=False)
    _transport: Transport | None = field(default=None, init=False)
    _deadline: Deadline = field(init=False)

    def begin(self) -> None:
        """`done` is told in a later turn."""
        self._deadline = Deadline(self.loop, lambda: self._fail("no answer in time"))
        try:
            self._socket = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        except OSError as error:
            self._fail_soon(error)
            return
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = self._socket.connect_ex((self.host, self.port))
            if number not in BEGUN:
                raise OSError(number, os.strerror(number))
            self.loop.add_writer(self._socket.fileno(), self._connected)
        except (OSError, OverflowError, TypeError, ValueError) as error:  # an address that is none
            self._socket.close()
            self._fail_soon(error)
            return
        self.loop.sockets.add(self._socket)
        self._state = self._state.to(CallState.CONNECTING)
        self._deadline.set(self.seconds)

    def cancel(self) -> None:
        """Nobody waits for it any more: `done` is not called."""
        self.done = lambda transport, reason: None
        if self._state is not CallState.DONE:
            self._fail("")

    def _fail_soon(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error)
        self.loop.call_soon(lambda: self._end(None, reason))

    def _fail(self, reason: str) -> None:
        if self._state is CallState.CONNECTING:
            self._let_go()
            self._socket.close()
        self._end(None, reason)
        if self._transport is not None:
            self._transport.close(reason)

    def _let_go(self) -> None:
        self.loop.forget(self._socket.fileno())
        self.loop.sockets.discard(self._socket)

    def _end(self, transport: Transport | None, reason: str) -> None:
        if self._state is not CallState.DONE:
            self._state = self._state.to(CallState.DONE)
            self._deadline.cancel()
            self.done(transport, reason)

    def _connected(self) -> None:
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._fail(os.strerror(number))
            return
        self._let_go()
        peer: Address = (self.host, self.port)
        common = (self.loop, self._socket, self.report, self.limits, peer)
        if self.context is None:
            self._end(Transport(*common), "")
            return
        self._state = self._state.to(CallState.GREETING)
        transport = TLSTransport(*common)
        queue = HandshakeQueue(
            loop=self.loop,
            context=self.context,
            timeout_seconds=self.seconds,
            plain_answer=b"",
            established=lambda transport, greeting: self._end(transport, ""),
            lost=lambda greeting, reason: self._end(None, reason),
            server_side=False,
            server_name=self.server_name,
        )
        try:
            transport.begin(queue)
        except (OSError, ValueError, MemoryError) as error:  # of OpenSSL, too
            self._end(None, str(error) or "no memory for TLS")
            return
        self._transport = transport
