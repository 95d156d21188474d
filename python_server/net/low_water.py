"""How much of a large payload must have come before the loop wakes for it (SO_RCVLOWAT, tcp(7), socket(7)).

Must not know: messages, frames; only that more bytes are awaited, and how many.
"""

from __future__ import annotations

import socket
from typing import Final

from python_server.net.loop import Deadline, Loop
from python_server.net.portability import SO_RCVLOWAT

# Bytes in one piece, or still awaited, from which on a stream is worth a look at what is to follow.
BULK_MIN_BYTES: Final = 65_536
# The kernel keeps twice the mark free for its receiver, and half of its largest buffer is 3 MiB (tcp_rmem).
MARK_MAX_BYTES: Final = 2 << 20
# What does not come at this speed comes piece by piece: each piece is a sign of life to whoever listens.
MARK_MAX_SECONDS: Final = 0.25


class LowWater:
    """The low-water mark of one socket during one large payload. Loop's thread.

    Woken for every segment, a receiver took 4 MiB in 24 to 35 pieces, and each cost its sender time; with
    the mark it takes five.
    """

    __slots__ = ("_bytes", "_late", "_socket")

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self._socket = sock
        self._bytes = 1
        self._late: Deadline | None = Deadline(loop, self._on_late)
        self._late.set(MARK_MAX_SECONDS)

    def expect(self, nbytes: int) -> None:
        """`nbytes` of the payload have room and are still to come: wake for them together."""
        if self._late is not None:
            self._set(min(nbytes, MARK_MAX_BYTES))

    def cancel(self) -> None:
        """Wake for every byte again."""
        if self._late is not None:
            self._late.cancel()
            self._on_late()

    def _on_late(self) -> None:
        self._late = None
        self._set(1)

    def _set(self, nbytes: int) -> None:
        if nbytes != self._bytes and SO_RCVLOWAT is not None:
            self._bytes = nbytes
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVLOWAT, nbytes)
            except OSError:  # the peer has reset the connection, as the next receive says
                pass
