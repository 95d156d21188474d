"""What a peer still sends after our last byte: taken and dropped, for a bounded time and number of bytes.

Must not know: any protocol, or what was answered.

A connection that is closed with unread bytes is reset, and the reset may eat the answer on its way
(RFC 9112 9.6).
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from python_server.net.loop import Loop
from python_server.settings import TransportSettings


class Lingering:
    """Reads one socket whose own side is shut, until the peer ends or a bound is reached.

    Args:
        sock: watched by the caller, who has `on_readable` called.
        end: called with the reason, once or again; it takes the descriptor off the loop.
    """

    __slots__ = ("_end", "_loop", "_room_bytes", "_socket", "_timer")

    def __init__(
        self, loop: Loop, sock: socket.socket, limits: TransportSettings, end: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._room_bytes = limits.linger_max_bytes
        self._end = end
        self._timer = loop.call_later(limits.linger_timeout_seconds, lambda: end("closed"))

    def cancel(self) -> None:
        """The descriptor is about to be closed."""
        self._timer.cancel()

    def on_readable(self) -> None:
        """Take a piece, and look whether it was the last."""
        nbytes = 0
        try:
            nbytes = self._socket.recv_into(self._loop.receive_buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            pass
        self._room_bytes -= nbytes
        if not nbytes or self._room_bytes < 0:
            self._end("closed")
