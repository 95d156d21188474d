"""The plain core's outbox: frames of one connection that leave together.

It must not know a socket or a turn of a loop: whoever sends takes what is here, or is woken to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._pure_frames import encode_message

# From this length on a payload is left to its caller, who need not copy it.
LARGE_PAYLOAD_BYTES = 16_384


class JoinCache:
    """What compiled outboxes share; these keep lists of pieces, and share the pieces. See `_codec.pyi`."""


class Outbox:
    """Frames out, kept together until they are taken. One owner, no lock; see `_codec.pyi`."""

    def __init__(self, encodes: bool = True, joins: JoinCache | None = None) -> None:
        if joins is not None and type(joins) is not JoinCache:
            raise TypeError(f"joins must be a JoinCache, not {type(joins).__name__}")
        self._encodes = bool(encodes)
        self._max_bytes = 0
        self._closed = False
        self._awaited = False
        self._wake: Callable[[Any], object] | None = None
        self._whom: Any = None
        self._frames: list[bytes] = []
        self._held_bytes = 0

    @property
    def max_bytes(self) -> int:
        return self._max_bytes

    @max_bytes.setter
    def max_bytes(self, value: int) -> None:
        if not 0 <= value < 1 << 31:
            raise ValueError("max_bytes must not be negative, and below 2**31")
        if not self._closed:
            self._max_bytes = value

    def open(self, max_bytes: int, wake: Callable[[Any], object], whom: Any) -> None:
        self.max_bytes = max_bytes
        if not self._closed:
            self._wake, self._whom = wake, whom

    def close(self) -> None:
        self._closed = True
        self._max_bytes = 0
        self._wake = self._whom = None

    def __len__(self) -> int:
        return self._held_bytes

    def send(self, message: object) -> bool:
        if not self._encodes or not self._max_bytes:
            return False
        if type(message) is str or type(message) is bytes:
            return len(message) < LARGE_PAYLOAD_BYTES and self._put(encode_message(message))
        return False

    def write(self, frames: bytes) -> bool:
        if type(frames) is not bytes:
            raise TypeError(f"frames must be bytes, not {type(frames).__name__}")
        return len(frames) < LARGE_PAYLOAD_BYTES and self._put(frames)

    def expect(self) -> bool:
        first = not self._awaited
        self._awaited = True
        return first

    def take(self) -> bytes:
        self._awaited = False
        out = b"".join(self._frames)  # without memory for it, what is held stays held
        self._frames.clear()
        self._held_bytes = 0
        return out

    def _put(self, frames: bytes) -> bool:
        held_bytes = self._held_bytes + len(frames)
        if held_bytes > self._max_bytes:
            return False
        self._frames.append(frames)
        self._held_bytes = held_bytes
        if not self._awaited:
            self._awaited = True
            if self._wake is not None:
                self._wake(self._whom)
        return True
