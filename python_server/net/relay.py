"""Two connections joined end to end: what comes from one leaves by the other, with back-pressure both ways.

Must not know: what the bytes are.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from python_server.net.byte_handler import Buffer
from python_server.net.loop import Loop
from python_server.net.pauses import Pause
from python_server.net.transport import Transport
from python_server.settings import TransportSettings


class RelayTransport(Protocol):
    """What is asked of each side's transport."""

    @property
    def blocked(self) -> bool: ...
    def write(self, data: bytes) -> None: ...
    def pause_reading(self, reasons: int, paused: bool) -> None: ...
    def close(self, abort: str | None = None) -> None: ...


class RelayEnd:
    """Hands what its own transport receives to the other one (the ByteHandler port)."""

    def __init__(self, other: RelayTransport) -> None:
        self._other = other

    def receive_buffer(self) -> memoryview | None:
        return None

    def data_received(self, buffer: Buffer, nbytes: int) -> None:
        if nbytes:
            self._other.write(bytes(memoryview(buffer)[:nbytes]))
        else:
            self._other.close()

    def write_blocked(self, blocked: bool) -> None:
        self._other.pause_reading(Pause.UNSENT, blocked)

    def connection_lost(self, reason: str) -> None:
        self._other.close()

    def abort(self, reason: str) -> None:
        """End the other one at once."""
        self._other.close(reason)


def relay_to_socket(
    loop: Loop,
    transport: RelayTransport,
    leftover: bytes,
    report: Callable[[str, BaseException], None],
    limits: TransportSettings,
) -> tuple[socket.socket, RelayEnd]:
    """(a socket for an application that stands for `transport`'s connection, the handler that `transport`
    must be given). The application reads `leftover` first, which was read from the connection already."""
    application_end, loop_end = socket.socketpair()
    loop_end.setblocking(False)
    inner = Transport(loop, loop_end, report, limits)
    inner.set_handler(RelayEnd(transport))
    if transport.blocked:  # by what was written to it before
        inner.pause_reading(Pause.UNSENT, True)
    if leftover:
        inner.write(leftover)
    return application_end, RelayEnd(inner)
