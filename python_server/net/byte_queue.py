"""Bytes that stream between the loop and one worker, bounded in both directions.

Must not know: whether they are a request or a response.
"""

from __future__ import annotations

from collections import deque

from python_server.net.threads import Condition, Lock, wait_on


class StreamBroken(ConnectionError):
    """The other end of a `ByteQueue` has gone."""


class ByteQueue:
    """Bytes between the loop and one worker, bounded: the worker waits, the loop never.

    Args:
        window_bytes: above it `offer` tells the loop to pause, and `put` makes the worker wait.
    """

    def __init__(self, window_bytes: int) -> None:
        self._window_bytes = window_bytes
        self._chunks: deque[bytes] = deque()
        self._held_bytes = 0
        self._ended = False
        self._broken: str | None = None
        self._changed = Condition(Lock())

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    def offer(self, chunk: bytes) -> bool:
        """Loop's thread: append; True when the window is full and the producer should pause."""
        with self._changed:
            self._chunks.append(chunk)
            self._held_bytes += len(chunk)
            self._changed.notify()
            return self._held_bytes > self._window_bytes

    def put(self, chunk: bytes) -> bool:
        """Worker: append, after waiting for room; True when the queue was empty before.

        Raises:
            StreamBroken: the reader has gone.
        """
        with self._changed:
            while self._held_bytes > self._window_bytes and self._broken is None:
                wait_on(self._changed)
            if self._broken is not None:
                raise StreamBroken(self._broken)
            self._chunks.append(chunk)
            self._held_bytes += len(chunk)
            return len(self._chunks) == 1

    def end(self) -> None:
        """Producer: nothing follows."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def break_off(self, reason: str) -> None:
        """Either side: the stream ended early; whoever waits gets `StreamBroken`."""
        with self._changed:
            if self._broken is None:
                self._broken = reason
            self._chunks.clear()
            self._held_bytes = 0
            self._changed.notify_all()

    def get(self, timeout_seconds: float | None = None) -> bytes:
        """Worker: the next chunk, b"" at the end.

        Raises:
            StreamBroken: the producer has gone before the end.
            TimeoutError: nothing came in time.
        """
        with self._changed:
            while not self._chunks:
                if self._broken is not None:
                    raise StreamBroken(self._broken)
                if self._ended:
                    return b""
                if not wait_on(self._changed, timeout_seconds):
                    raise TimeoutError(f"nothing arrived within {timeout_seconds} s")
            return self._pop()

    def take(self) -> bytes | None:
        """Loop's thread: the next chunk, b"" at the end, None when there is none yet."""
        with self._changed:
            if self._chunks:
                chunk = self._pop()
                self._changed.notify()
                return chunk
            return b"" if self._ended else None

    def _pop(self) -> bytes:
        chunk = self._chunks.popleft()
        self._held_bytes -= len(chunk)
        return chunk
