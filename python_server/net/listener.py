"""Listening sockets: binding with errors that say what to try, and accepting in batches.

Must not know: what a connection is for.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, Final

from python_server.net.loop import Loop

# gevent's figures: 10 ms, doubling to one second, while the process is out of descriptors.
BACK_OFF_MIN_SECONDS: Final = 0.01
BACK_OFF_MAX_SECONDS: Final = 1.0

# Faults of one connection that was lost before we took it: the next accept may succeed.
TRANSIENT: Final = {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR}


Socket = socket.socket


class BindError(OSError):
    """An address cannot be listened on; the message names it and what to try."""


def bind_tcp(host: str, port: int, backlog_count: int) -> socket.socket:
    """A listening, non-blocking TCP socket.

    Args:
        host: a name or a numeric address; "" and "0.0.0.0" are every IPv4 address, "::" every address.
        port: 0 lets the system choose; ask the socket for the real one.

    Raises:
        BindError: the name does not resolve, or the address is taken or not ours.
    """
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        infos = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE, family=_family(host)
        )
    except socket.gaierror as error:
        raise BindError(
            f"cannot listen on {shown}: the host name does not resolve ({error.strerror})"
        ) from None
    family, kind, protocol, _, address = infos[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(backlog_count)
    except OSError as error:
        sock.close()
        raise BindError(f"cannot listen on {shown}: {_advice(error, port)}") from None
    sock.setblocking(False)
    return sock


def _family(host: str) -> int:
    return socket.AF_INET if host in ("", "0.0.0.0") else socket.AF_UNSPEC


def _advice(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"the port is in use; stop the program that has it (ss -ltnp 'sport = :{port}') "
            "or choose another with --port"
        )
    if error.errno == errno.EACCES:
        return "permission denied; ports below 1024 need privileges, choose a higher one with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has that address; try --host 127.0.0.1 or --host 0.0.0.0"
    return error.strerror or str(error)


class Listener:
    """Accepts connections on one listening socket. Every method belongs to the loop's thread.

    Args:
        accepted: called with (socket, peer address) for each connection; the socket is non-blocking.
        exhausted: called with the error when the process or system is out of descriptors.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        accepted: Callable[[socket.socket, Any], None],
        exhausted: Callable[[OSError], None],
        batch_count: int,
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._accepted = accepted
        self._exhausted = exhausted
        self._batch_count = batch_count
        self._back_off_seconds = BACK_OFF_MIN_SECONDS
        self._listening = False

    def start(self) -> None:
        """Begin, or go on, to accept."""
        if not self._listening and self._socket.fileno() >= 0:
            self._listening = True
            self._loop.add_reader(self._socket.fileno(), self._on_readable, late=True)

    def pause(self) -> None:
        """Leave new connections in the kernel's backlog."""
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._socket.fileno())

    def drain_and_close(self) -> None:
        """Take what the system has accepted for us already, then stop listening for good."""
        if self._listening:
            self._on_readable()
        self.close()

    def close(self) -> None:
        """Stop listening for good."""
        self.pause()
        self._socket.close()

    def _on_readable(self) -> None:
        for _ in range(self._batch_count):
            if not self._listening:
                return
            try:
                connection, peer = self._socket.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in TRANSIENT:
                    continue
                self._wait_for_descriptors(error)
                return
            connection.setblocking(False)
            if connection.family != getattr(socket, "AF_UNIX", None):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._accepted(connection, peer)
        self._back_off_seconds = BACK_OFF_MIN_SECONDS

    def _wait_for_descriptors(self, error: OSError) -> None:
        """EMFILE, ENFILE, ENOBUFS, ENOMEM: the listener stays readable, so look away for a while."""
        self.pause()
        self._exhausted(error)
        self._loop.call_later(self._back_off_seconds, self.start)
        self._back_off_seconds = min(self._back_off_seconds * 2, BACK_OFF_MAX_SECONDS)
