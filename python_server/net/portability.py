"""What not every system has: each call is asked for here, and this table says what happens elsewhere.

Must not know: who calls. `poller.py` has the pollers; docs/deployment.md the same table.

| what | Linux | macOS, FreeBSD | Windows |
| --- | --- | --- | --- |
| ready descriptors | epoll | kqueue | select: 512 sockets |
| who wakes for a new connection | one worker | every worker | there is one worker |
| `--workers`, `--max-requests` | yes | yes | refused |
| the reloader | yes | yes | there is none, as a line in the log says |
| `--uds`, `--control-socket` | yes | yes | refused; no control socket without the option |
| `--reuse-port` | yes | as the system shares out | refused |
| Ctrl+C, SIGTERM | stop in order | stop in order | Ctrl+C, Ctrl+Break stop in order; a kill is none |
| QUIT, HUP, USR1, USR2, TTIN, TTOU | orders | orders | do not exist |
| the limit of descriptors | is raised | is raised as far as may be | does not exist |
| the file of `--pid` | is locked | is locked | is not, and stays behind |
| a file that an application hands over | sendfile | sendfile | is read, then sent |
| a large payload wakes the loop | for much at once | for much at once | for every segment |
| large pieces leave | many in one call | many in one call | one in each call |
| a thread wakes the loop | by a pipe | by a pipe | by a socket |
| which threads could run (`--drop-in`) | is looked up | is not known | is not known |
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

try:
    import fcntl as fcntl
    import resource as resource
except ImportError:  # Windows
    fcntl = resource = None  # type: ignore[assignment]

Value = TypeVar("Value")

# Processes fork, and their descriptors go from one to the other: what workers and the reloader stand on.
UNIX: Final = hasattr(os, "fork")
AF_UNIX: Final = getattr(socket, "AF_UNIX", None)
SO_REUSEPORT: Final = getattr(socket, "SO_REUSEPORT", None)
# A port whose last connections are not forgotten yet may be taken. Windows' option of that name would let a
# second server steal a port that is in use; it has another one, against that.
LISTENING_OPTION: Final = socket.SO_REUSEADDR if UNIX else getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
# Windows knows the name and refuses the option.
SO_RCVLOWAT: Final = getattr(socket, "SO_RCVLOWAT", None) if UNIX else None
SENDFILE: Final = hasattr(os, "sendfile") and hasattr(os, "pread")
# POSIX guarantees 16, Linux, macOS and FreeBSD allow 1,024: pieces of one gathered send.
IOV_MAX_COUNT: Final = 1024
# What tells who listens on a port.
_PORT_TOOLS = {"linux": "ss -ltnp 'sport = :{}'", "darwin": "lsof -nP -iTCP:{}", "win32": "netstat -ano"}
PORT_TOOL: Final = _PORT_TOOLS.get(sys.platform, "sockstat -l -p {}")
# Of this process; where there are none, the one name of a folder that is never made.
user_id: Final[Callable[[], int]] = getattr(os, "geteuid", lambda: 0)


def signals(table: Mapping[str, Value]) -> dict[int, Value]:
    """What stands under names of signals, under the numbers of those that this system has."""
    return {getattr(signal, name): value for name, value in table.items() if hasattr(signal, name)}


def in_children(function: Callable[[], object]) -> None:
    """Have `function` called in each child that is forked from now on, for good."""
    if UNIX:
        os.register_at_fork(after_in_child=function)


def unix_socket(kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Raises OSError where there are none."""
    if AF_UNIX is None:
        raise OSError(errno.EAFNOSUPPORT, "this system has no UNIX sockets")
    return socket.socket(AF_UNIX, kind)


def _send_gathered(sock: socket.socket, pieces: list[Any]) -> tuple[int, int]:
    """(pieces offered, bytes taken): one send of bytes-like pieces, of as many as it takes."""
    pieces = pieces[:IOV_MAX_COUNT]
    return len(pieces), sock.sendmsg(pieces)


def _send_first(sock: socket.socket, pieces: list[Any]) -> tuple[int, int]:
    return 1, sock.send(pieces[0])


send_gathered: Final = _send_gathered if hasattr(socket.socket, "sendmsg") else _send_first


class WakeUp:
    """Bytes from any thread, or a signal, to a poller: two descriptors, neither of which blocks.

    A pair of sockets costs twice what a pipe does, and select on Windows waits for nothing else.
    """

    def __init__(self) -> None:
        if UNIX:
            self.receiver, self.sender = os.pipe()
            for descriptor in (self.receiver, self.sender):
                os.set_blocking(descriptor, False)
            self.send: Callable[[bytes], int] = partial(os.write, self.sender)
            self.receive: Callable[[int], bytes] = partial(os.read, self.receiver)
            self._closes: list[Callable[[], object]] = [
                partial(os.close, self.receiver),
                partial(os.close, self.sender),
            ]
            return
        ends = socket.socketpair()
        for end in ends:
            end.setblocking(False)
        self.receiver, self.sender = (end.fileno() for end in ends)
        self.send, self.receive = ends[1].send, ends[0].recv
        self._closes = [end.close for end in ends]

    def close(self) -> None:
        for close in self._closes:
            close()


def shared_memory(name: str) -> int:
    """A descriptor of memory that goes with its last user; a nameless file where there is no better."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    descriptor, path = tempfile.mkstemp(prefix=f"{name}-")
    os.unlink(path)
    return descriptor
