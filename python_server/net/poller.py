"""Which descriptors are ready: epoll or the standard `selectors`, behind the same few words.

Must not know: what is done with a ready descriptor, or who waits.
"""

from __future__ import annotations

import select
import selectors
from collections.abc import Callable
from typing import Final, Protocol

# Event bits, with epoll's values: anything but "writable" is news for the reader (data, end, error).
READABLE: Final = 1
WRITABLE: Final = 4
# With READABLE, on Linux: of several processes that wait for the same socket one is woken, not all.
EXCLUSIVE: Final = getattr(select, "EPOLLEXCLUSIVE", 0)


class Poller(Protocol):
    """Which descriptors are ready; `selectors` or epoll behind the same four words."""

    def register(self, descriptor: int, events: int) -> None: ...
    def modify(self, descriptor: int, events: int) -> None: ...
    def unregister(self, descriptor: int) -> None: ...
    def poll(self, timeout_seconds: float) -> list[tuple[int, int]]: ...
    def close(self) -> None: ...


# The same bits in the words of `selectors`, and back.
MASKS: Final = {
    0: 0,
    READABLE: selectors.EVENT_READ,
    WRITABLE: selectors.EVENT_WRITE,
    READABLE | WRITABLE: selectors.EVENT_READ | selectors.EVENT_WRITE,
}
EVENTS: Final = {mask: events for events, mask in MASKS.items()}


class SelectorPoller:
    """Any system: the standard `selectors` module."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.close: Callable[[], None] = self._selector.close

    def register(self, descriptor: int, events: int) -> None:
        self._selector.register(descriptor, MASKS[events & ~EXCLUSIVE])

    def modify(self, descriptor: int, events: int) -> None:
        self._selector.modify(descriptor, MASKS[events & ~EXCLUSIVE])

    def unregister(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def poll(self, timeout_seconds: float) -> list[tuple[int, int]]:
        return [(key.fd, EVENTS[mask]) for key, mask in self._selector.select(timeout_seconds)]


class EpollPoller:
    """Linux: epoll itself, without the key object that `selectors` makes for every event."""

    def __init__(self) -> None:
        epoll = select.epoll()
        self.register: Callable[[int, int], None] = epoll.register
        self.modify: Callable[[int, int], None] = epoll.modify
        self.unregister: Callable[[int], None] = epoll.unregister
        self.poll: Callable[[float], list[tuple[int, int]]] = epoll.poll
        self.close: Callable[[], None] = epoll.close


def best_poller() -> Poller:
    """What this system has."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
