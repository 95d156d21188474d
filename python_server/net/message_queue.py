"""Whole messages from the loop to one worker that waits for them, bounded in number and bytes.

Must not know: what a message is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from typing import Generic, TypeVar

from python_server.net.threads import Condition, Lock, wait_on

Message = TypeVar("Message", bound=Sized)


class MessageQueue(Generic[Message]):
    """First in, first out; after the end there is only None.

    Args:
        max_count, max_bytes: what may be held; from the first of them on `offer` asks the loop to pause.
    """

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._messages: deque[Message] = deque()
        self._held_bytes = 0
        self._ended = False
        self._changed = Condition(Lock())

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def low(self) -> bool:
        """Any thread: is so little held that the producer should go on?"""
        return len(self._messages) <= self._max_count // 2 and self._held_bytes <= self._max_bytes // 2

    def offer(self, message: Message) -> bool:
        """Loop's thread: append; True when the producer should pause, until the queue is `low`."""
        with self._changed:
            self._messages.append(message)
            self._held_bytes += len(message)
            self._changed.notify()
            return len(self._messages) >= self._max_count or self._held_bytes >= self._max_bytes

    def end(self) -> None:
        """Any thread: nothing follows."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def get(self, timeout_seconds: float | None = None) -> Message | None:
        """Worker: the next message, None after the end.

        Raises:
            TimeoutError: nothing came in time.
        """
        with self._changed:
            while not self._messages:
                if self._ended:
                    return None
                if not wait_on(self._changed, timeout_seconds):
                    raise TimeoutError(f"no message within {timeout_seconds} s")
            message = self._messages.popleft()
            self._held_bytes -= len(message)
            return message
