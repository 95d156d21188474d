"""Listening sockets: addresses read, bound or inherited, with errors that say what to try.

Must not know: what a connection is for, or how one is accepted.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import Self

from python_server.net.portability import LISTENING_OPTION, PORT_TOOL, SO_REUSEPORT, unix_socket

Socket = socket.socket

# Where every interface listens; such addresses of both families must not collide on one port.
ANY_IPV4 = ("", "0.0.0.0")
ANY_IPV6 = "::"
PORT_MAX = 65_535


class BindError(OSError):
    """An address cannot be listened on; the message names it and what to try."""


@dataclass(frozen=True, slots=True)
class TCPAddress:
    """A host, by name or by number, and a port; 0 lets the system choose."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Does only this machine reach it, as far as its name tells?"""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")  # RFC 6761 6.3

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A path in the file system."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class InheritedDescriptor:
    """A socket that whoever started us has bound."""

    descriptor: int

    def __str__(self) -> str:
        return f"fd://{self.descriptor}"


Address = TCPAddress | UnixAddress | InheritedDescriptor


def parse_address(text: str, default_port: int) -> Address:
    """An address as -b takes it: host:port, host, [v6]:port, :port, unix:/path or fd://3.

    Raises:
        BindError: it is none of these.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if path.startswith("//"):
            path = path[2:]
        if path:
            return UnixAddress(path)
    elif text.startswith("fd://"):
        number = text.removeprefix("fd://")
        if number.isascii() and number.isdigit():
            return InheritedDescriptor(int(number))
    else:
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]"):
            host, port = text, str(default_port)
        bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if bracketed else host
        number_ok = port.isascii() and port.isdigit() and int(port) <= PORT_MAX
        if number_ok and bracketed == (":" in host) and (host or colon):
            return TCPAddress(host, int(port))
    raise BindError(
        f"cannot listen on {text!r}: write host:port, [::1]:port, unix:/path or fd://number [bad-address]"
    )


@dataclass(slots=True)
class Listening:
    """Bound sockets, and the paths that must go when they do.

    As a context manager it removes at its end the UNIX paths that were made for it.
    """

    sockets: list[Socket] = field(default_factory=list)
    paths: list[tuple[str, int]] = field(default_factory=list)

    def close(self) -> None:
        """Close the sockets and remove the paths."""
        for sock in self.sockets:
            sock.close()
        self.remove_paths()

    def remove_paths(self) -> None:
        """Remove each path that is still the file made here: a successor may have taken the name."""
        while self.paths:
            path, inode = self.paths.pop()
            try:
                if os.stat(path).st_ino == inode:
                    os.unlink(path)
            except OSError:
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()


def listen(
    addresses: Sequence[Address],
    backlog_count: int,
    *,
    reuse_port: bool = False,
    unix_permissions: int = 0o600,
) -> Listening:
    """Bind every address; on a fault none of them stays bound.

    Raises:
        BindError: one of them cannot be listened on.
    """
    listening = Listening()
    any_ipv4_ports = {a.port for a in addresses if isinstance(a, TCPAddress) and a.host in ANY_IPV4}
    try:
        for address in addresses:
            if isinstance(address, TCPAddress):
                both = address.host == ANY_IPV6 and address.port not in any_ipv4_ports
                sock = bind_tcp(
                    address.host, address.port, backlog_count, reuse_port=reuse_port, both_families=both
                )
            elif isinstance(address, UnixAddress):
                sock = bind_unix(address.path, backlog_count, unix_permissions)
                listening.paths.append((address.path, os.stat(address.path).st_ino))
            else:
                sock = adopt(address.descriptor, backlog_count)
            listening.sockets.append(sock)
    except BaseException:
        listening.close()
        raise
    return listening


def bind_tcp(
    host: str, port: int, backlog_count: int, *, reuse_port: bool = False, both_families: bool = True
) -> Socket:
    """A listening, non-blocking TCP socket.

    Args:
        host: a name or a numeric address; "" and "0.0.0.0" are every IPv4 address, "::" every address.
        port: 0 lets the system choose; ask the socket for the real one.
        reuse_port: let other processes of this user bind the same port (SO_REUSEPORT).
        both_families: whether "::" takes IPv4 connections as well.

    Raises:
        BindError: the name does not resolve, there is no such port, or the address is taken or not ours.
    """
    shown = str(TCPAddress(host, port))
    if not 0 <= port <= PORT_MAX:  # the system would take its lower 16 bits
        raise BindError(f"cannot listen on {shown}: a port is a number from 0 to {PORT_MAX}")
    family, address = _resolve(host, port, shown)
    sock = socket.socket(family, socket.SOCK_STREAM)
    with _set_up(sock, shown, advise=partial(_advice, port)):
        if LISTENING_OPTION is not None:
            sock.setsockopt(socket.SOL_SOCKET, LISTENING_OPTION, 1)
        if reuse_port:
            if SO_REUSEPORT is None:
                raise BindError(f"cannot listen on {shown}: this system has no SO_REUSEPORT")
            sock.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and host == ANY_IPV6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both_families)
        sock.bind(address)
        sock.listen(backlog_count)
    return sock


def _reason(error: OSError) -> str:
    """What the system found wrong, in its words."""
    return error.strerror or str(error)


@contextmanager
def _set_up(
    sock: Socket,
    shown: str,
    give_up: Callable[[Socket], object] = Socket.close,
    advise: Callable[[OSError], str] = _reason,
) -> Iterator[None]:
    """A fault in the block gives the socket up, and is told as a BindError; else it does not block after."""
    try:
        yield
        sock.setblocking(False)
    except OSError as error:
        give_up(sock)
        if isinstance(error, BindError):
            raise
        raise BindError(f"cannot listen on {shown}: {advise(error)}") from None


def _resolve(host: str, port: int, shown: str) -> tuple[int, tuple[object, ...]]:
    """(family, address). A numeric host is never looked up anywhere; a name is, once."""
    family = socket.AF_INET if host in ANY_IPV4 else socket.AF_UNSPEC
    look_up = partial(socket.getaddrinfo, host or None, port, family, socket.SOCK_STREAM)
    try:
        try:
            infos = look_up(flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST)
        except socket.gaierror:
            infos = look_up(flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise BindError(
            f"cannot listen on {shown}: the host name does not resolve ({error.strerror}) [unknown-address]"
        ) from None
    return infos[0][0], infos[0][4]


def _advice(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"the port is in use; stop the program that has it ({PORT_TOOL.format(port)}) "
            "or choose another with --port [port-in-use]"
        )
    if error.errno == errno.EACCES:
        return (
            "permission denied; ports below 1024 need privileges, choose a higher one with --port "
            "[privileged-port]"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            "no interface of this machine has that address; try --host 127.0.0.1 or --host 0.0.0.0 "
            "[unknown-address]"
        )
    return _reason(error)


def bind_unix(path: str, backlog_count: int, permissions: int) -> Socket:
    """A listening, non-blocking UNIX socket.

    A file left over from a server that died is replaced; one that somebody answers at, or that is no socket,
    is not touched. The file never exists with more permissions than asked for.

    Raises:
        BindError: the path cannot be listened on.
    """
    shown = str(UnixAddress(path))
    try:
        sock = unix_socket()
    except OSError as error:
        raise BindError(f"cannot listen on {shown}: {error.strerror} [socket-path]") from None
    with _set_up(sock, shown, advise=lambda error: f"{_reason(error)} [socket-path]"):
        _remove_stale(path, shown)
        former = os.umask(0o777 & ~permissions)
        try:
            sock.bind(path)
        finally:
            os.umask(former)
        os.chmod(path, permissions)
        sock.listen(backlog_count)
    return sock


def _remove_stale(path: str, shown: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise BindError(
            f"cannot listen on {shown}: a file there is not a socket: remove it or "
            "choose another path [socket-path]"
        )
    with unix_socket() as probe:
        probe.setblocking(False)  # a server whose backlog is full answers EAGAIN, and lives
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise BindError(
        f"cannot listen on {shown}: another server answers there; stop it or choose another path "
        "[socket-path]"
    )


def connect_unix(path: str, timeout_seconds: float, own_name: str = "") -> Socket:
    """A connected UNIX socket, each of whose steps may take `timeout_seconds`; at 0 it does not block.

    Args:
        own_name: a path that the listener sees as its peer's address.

    Raises:
        OSError: nobody listens there, or it is not ours to speak to.
    """
    sock = unix_socket()
    try:
        sock.settimeout(timeout_seconds)
        if own_name:
            sock.bind(own_name)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def adopt(descriptor: int, backlog_count: int) -> Socket:
    """A listening socket from a descriptor that was handed to this process.

    Raises:
        BindError: it is not an open stream socket.
    """
    shown = str(InheritedDescriptor(descriptor))
    try:
        sock = socket.socket(fileno=descriptor)
    except (OSError, ValueError):
        raise BindError(f"cannot listen on {shown}: it is not an open socket") from None
    with _set_up(sock, shown, Socket.detach):  # it stays with whoever gave it
        if sock.type != socket.SOCK_STREAM:
            raise BindError(f"cannot listen on {shown}: it is not a stream socket")
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sock.listen(backlog_count)
        sock.set_inheritable(False)
    return sock


def shown_urls(sockets: Iterable[Socket], scheme: str) -> list[str]:
    """What a person would type to reach each socket, with the real port."""
    return [
        f"{scheme}://{TCPAddress(*sock.getsockname()[:2])}"
        if sock.family in (socket.AF_INET, socket.AF_INET6)
        else str(UnixAddress(sock.getsockname()))
        for sock in sockets
    ]
