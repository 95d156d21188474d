"""What the threads of a broker's two connections tell, kept for a test that waits for it.

It must not know any broker.
"""

import threading
from collections.abc import Callable
from typing import Any

from python_server.socketio.cluster.broker.connections import BrokerLinkState

WAIT_SECONDS = 60.0


class LinkLog:
    """What threads tell, and a wait for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.states: list[tuple[BrokerLinkState, str]] = []
        self.messages: list[tuple[bytes, bytes | None]] = []
        self.reached: list[Any] = []
        self.refusals: list[tuple[str, str]] = []
        self.oversized_count = self.dropped_count = 0

    def state(self, state: BrokerLinkState, reason: str) -> None:
        self._tell(lambda: self.states.append((state, reason)))

    def heard(self, messages: list[tuple[bytes, bytes | None]], oversized_count: int) -> None:
        def take() -> None:
            self.messages += messages
            self.oversized_count += oversized_count

        self._tell(take)

    def refused(self, command: str, reason: str) -> None:
        self._tell(lambda: self.refusals.append((command, reason)))

    def done(self, count: Any) -> None:
        self._tell(lambda: self.reached.append(count))

    def dropped(self, count: int) -> None:
        def take() -> None:
            self.dropped_count += count

        self._tell(take)

    def _tell(self, change: Callable[[], Any]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_SECONDS), vars(self)

    def payloads(self, channel: bytes | None = None) -> list[bytes]:
        """Of one channel, or of all."""
        return [payload for name, payload in self.messages if channel in (None, name) and payload is not None]
