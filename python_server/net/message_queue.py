"""Whole messages from the loop to one worker that waits for them, bounded in number.

Must not know: what a message is.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from python_server.net.threads import Condition, Lock, blocking


class MessageQueue:
    """First in, first out; after the end there is only None.

    Args:
        max_count: messages held above which `offer` asks the loop to pause.
    """

    def __init__(self, max_count: int) -> None:
        self._max_count = max_count
        self._messages: deque[Any] = deque()
        self._ended = False
        self._changed = Condition(Lock())

    def __len__(self) -> int:
        return len(self._messages)

    def offer(self, message: Any) -> bool:
        """Loop's thread: append; True when the producer should pause."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify()
            return len(self._messages) >= self._max_count

    def end(self) -> None:
        """Any thread: nothing follows."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def get(self, timeout_seconds: float | None = None) -> Any:
        """Worker: the next message, None after the end.

        Raises:
            TimeoutError: nothing came in time.
        """
        with self._changed:
            while not self._messages:
                if self._ended:
                    return None
                with blocking():
                    came = self._changed.wait(timeout_seconds)
                if not came:
                    raise TimeoutError(f"no message within {timeout_seconds} s")
            return self._messages.popleft()
