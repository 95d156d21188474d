"""What one side hands to the other, in order and bounded, between the loop and one worker.

Must not know: whether it is a request, a response or messages.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sized
from typing import Generic, TypeVar

from python_server.net.threads import Condition, Lock, wait_on

Item = TypeVar("Item", bound=Sized)


class StreamBroken(ConnectionError):
    """The other end of a `BoundedQueue` has gone."""


class BoundedQueue(Generic[Item]):
    """First in, first out: the worker waits, the loop never. Bytes in chunks, or whole messages.

    Args:
        max_bytes, max_count: above the one, or from the other on, `offer` asks the loop to pause, and `put`
            makes the worker wait.
    """

    def __init__(self, max_bytes: int, max_count: int = sys.maxsize) -> None:
        self._max_bytes = max_bytes
        self._max_count = max_count
        self._items: deque[Item] = deque()
        self._ended = False
        self._broken: str | None = None
        self._changed = Condition(Lock())
        self.held_bytes: int = 0

    @property
    def low(self) -> bool:
        """Any thread: is so little held that the producer should go on?"""
        return len(self._items) <= self._max_count // 2 and self.held_bytes <= (self._max_bytes + 1) // 2

    @property
    def ended(self) -> bool:
        """The consumer: has everything been taken, and nothing follows?"""
        return self._ended and not self._items

    def offer(self, item: Item) -> bool:
        """Loop's thread: append; True when the producer should pause."""
        with self._changed:
            self._items.append(item)
            self.held_bytes += len(item)
            self._changed.notify()
            return self.held_bytes > self._max_bytes or len(self._items) >= self._max_count

    def put(self, item: Item) -> bool:
        """Worker: append, after waiting for room; True when the queue was empty before.

        Raises:
            StreamBroken: the reader has gone.
        """
        with self._changed:
            while self._broken is None and (
                self.held_bytes > self._max_bytes or len(self._items) >= self._max_count
            ):
                wait_on(self._changed)
            if self._broken is not None:
                raise StreamBroken(self._broken)
            self._items.append(item)
            self.held_bytes += len(item)
            return len(self._items) == 1

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
            self._items.clear()
            self.held_bytes = 0
            self._changed.notify_all()

    def get(self, timeout_seconds: float | None = None) -> Item | None:
        """Worker: the next item, None after the end.

        Raises:
            StreamBroken: the producer has gone before the end.
            TimeoutError: nothing came in time.
        """
        with self._changed:
            while not self._items:
                if self._broken is not None:
                    raise StreamBroken(self._broken)
                if self._ended:
                    return None
                if not wait_on(self._changed, timeout_seconds):
                    raise TimeoutError(f"no message within {timeout_seconds} s")
            item = self._items.popleft()
            self.held_bytes -= len(item)
            return item

    def take(self) -> Item | None:
        """Loop's thread: the next item; None when there is none yet, or when it has `ended`."""
        with self._changed:
            if not self._items:
                return None
            item = self._items.popleft()
            self.held_bytes -= len(item)
            self._changed.notify()
            return item
