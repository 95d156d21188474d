"""Which descriptors are ready: epoll or the standard `selectors`, behind the same few words.

Must not know: what is done with a ready descriptor, or who waits.
"""

from __future__ import annotations

import errno
import select
import selectors
from collections.abc import Callable
from typing import Final, Protocol

from python_server.net.portability import UNIX

# Event bits, with epoll's values: anything but "writable" is news for the reader (data, end, error).
READABLE: Final = 1
WRITABLE: Final = 4
# With READABLE, on Linux: of several processes that wait for the same socket one is woken, not all.
EXCLUSIVE: Final = getattr(select, "EPOLLEXCLUSIVE", 0)
# FD_SETSIZE: select(2) knows descriptors below it, that of Python on Windows so many sockets of any number.
SELECT_MAX_COUNT: Final = 1024 if UNIX else 512
# How many descriptors this system's poller watches; None where only memory bounds it.
WATCHED_MAX_COUNT: Final = (
    SELECT_MAX_COUNT if issubclass(selectors.DefaultSelector, selectors.SelectSelector) else None
)


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

    def __init__(self, kind: Callable[[], selectors.BaseSelector] = selectors.DefaultSelector) -> None:
        self._selector = kind()
        self._is_select = isinstance(self._selector, selectors.SelectSelector)
        self.close: Callable[[], None] = self._selector.close

    def register(self, descriptor: int, events: int) -> None:
        """Raises OSError, as epoll does, where no further descriptor is watched: select itself would fail
        at each turn."""
        if self._is_select and (descriptor if UNIX else len(self._selector.get_map())) >= SELECT_MAX_COUNT:
            raise OSError(errno.ENOSPC, f"select watches {SELECT_MAX_COUNT} descriptors and no more")
        self._selector.register(descriptor, MASKS[events & ~EXCLUSIVE])

    def modify(self, descriptor: int, events: int) -> None:
        self._selector.modify(descriptor, MASKS[events & ~EXCLUSIVE])

    def unregister(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def poll(self, timeout_seconds: float) -> list[tuple[int, int]]:
        try:
            return [(key.fd, EVENTS[mask]) for key, mask in self._selector.select(timeout_seconds)]
        except OSError:
            closed = [key.fd for key in self._selector.get_map().values() if is_closed(key.fd)]
            if not closed:
                raise
        # Somebody has closed what was watched. epoll forgets it; select would fail until we do. Told once.
        for descriptor in closed:
            self._selector.unregister(descriptor)
        return [(descriptor, READABLE | WRITABLE) for descriptor in closed]


def is_closed(descriptor: int) -> bool:
    try:
        select.select([descriptor], [], [], 0)
    except OSError:
        return True
    return False


class EpollPoller:
    """Linux: epoll itself, without the key object that `selectors` makes for every event."""

    def __init__(self) -> None:
        epoll = select.epoll()
        self.register: Callable[[int, int], None] = epoll.register
        self.modify: Callable[[int, int], None] = epoll.modify
        self.unregister: Callable[[int], None] = epoll.unregister
        self.poll: Callable[[float], list[tuple[int, int]]] = epoll.poll
        self.close: Callable[[], None] = epoll.close


def wait_for(descriptor: int, events: int, timeout_seconds: float | None) -> bool:
    """Any thread: this one descriptor, once. False: it was not ready in time; None waits for ever."""
    kind = getattr(selectors, "PollSelector", selectors.SelectSelector)
    with kind() as selector:
        selector.register(descriptor, MASKS[events])
        return bool(selector.select(timeout_seconds))


def best_poller() -> Poller:
    """What this system has."""
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
