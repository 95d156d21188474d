"""A client's end of a connection: what it still has to send, what it has heard; it may not read.

It must not know what is said, or whether time is told.
"""

from __future__ import annotations

import socket

RECEIVE_BYTES = 1 << 20


class Connection:
    """One client's end: what it still has to send, and all it has heard."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.unsent = bytearray()
        self.heard = bytearray()
        self.sent_bytes = 0
        self.ended = False  # the server's side has
        self.half = False
        self.deaf = False  # the client takes nothing of what is sent to it
        self.stalled_bytes = 0  # sent when handlers ceased to run

    def pump(self) -> bool:
        """Send and hear what can be; did anything move?"""
        moved = False
        try:
            while self.unsent and not self.half:
                count = self.end.send(self.unsent)
                del self.unsent[:count]
                self.sent_bytes += count
                moved = True
        except BlockingIOError:
            pass
        except OSError:
            self.unsent.clear()
        try:
            while not self.ended and not self.deaf:
                data = self.end.recv(RECEIVE_BYTES)
                self.heard += data
                self.ended = not data
                moved = True
        except BlockingIOError:
            pass
        except OSError:
            self.ended = True
        return moved
