"""Where a handler leaves small pieces for its transport, which takes them all in one send.

Must not know: a socket, or what the pieces are.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Protocol

from python_server.net.loop import Flushable


class Source(Sized, Protocol):
    """Port: where a handler leaves small pieces for the transport to take, without a call of `write`."""

    max_bytes: int  # above it they come by `write`

    def open(self, max_bytes: int, wake: Callable[[Flushable], object], whom: Flushable, /) -> None:
        """Hold up to `max_bytes`; call `wake(whom)` when something comes that nobody expects."""

    def expect(self) -> bool:
        """The caller is going to take; False when somebody was woken to already."""

    def take(self) -> bytes:
        """All of it."""

    def close(self) -> None:
        """Hold nothing more."""
