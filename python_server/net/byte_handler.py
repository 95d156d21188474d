"""What a transport asks of the protocol that reads it, and of the place where that leaves small pieces.

Must not know: any protocol, or how bytes travel.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Protocol, TypeVar

Buffer = bytes | bytearray | memoryview
# As the socket module tells an address: its form is its family's.
Address = tuple[object, ...] | str | bytes | None
Whom = TypeVar("Whom")


def address_from(value: object) -> Address:
    """An address that has come from another process: a tuple has become a list on its way."""
    if isinstance(value, list):
        return tuple(value)
    return value if isinstance(value, tuple | str | bytes) else None


class Source(Sized, Protocol):
    """Port: where a handler leaves small pieces for the transport to take, without a call of `write`."""

    max_bytes: int  # above it they come by `write`

    def open(self, max_bytes: int, wake: Callable[[Whom], object], whom: Whom, /) -> None:
        """Hold up to `max_bytes`; call `wake(whom)` when something comes that nobody expects."""

    def expect(self) -> bool:
        """The caller is going to take; False when somebody was woken to already."""

    def take(self) -> bytes:
        """All of it."""

    def close(self) -> None:
        """Hold nothing more."""


class ByteHandler(Protocol):
    """Port: what a transport tells the protocol that reads it."""

    def receive_buffer(self) -> memoryview | None:
        """Where to receive next; None for the loop's shared buffer. Asked when much has come at once."""

    def data_received(self, buffer: Buffer, nbytes: int) -> None:
        """`nbytes` were put at the start of `buffer`; 0 means the peer has ended its side."""

    def write_blocked(self, blocked: bool) -> None:
        """The queue passed the high watermark, or fell below the low one."""

    def connection_lost(self, reason: str) -> None:
        """The connection is gone; called once, last."""
