"""Workers that send faster than a client takes: they wait here until it has caught up, or a time is over.

Must not know: what is sent, to whom, or how it is known that the client is behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from python_server.net.threads import WORKER, Door, Lock, Waiter

Key = TypeVar("Key")


class Backpressure:
    """The workers that wait for a target to take what was sent to it.

    Args:
        places_counts: how many threads of a pool may wait at once, for pools whose threads serve everybody;
            one more does not wait, so that clients that do not read cannot hold a whole pool.
    """

    def __init__(self, places_counts: Mapping[Key, int], monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._places_counts: dict[object, int] = dict(places_counts.items())
        self._lock = Lock()
        self._waiters: dict[object, list[Waiter[None]]] = {}  # by target: one of each thread that waits

    def post(
        self,
        door: Door,
        target: object,
        behind: Callable[[], object],
        timeout_seconds: float,
        call: tuple[Callable[..., object], *tuple[object, ...]],
        nbytes: int,
    ) -> None:
        """A worker: post `call` (a function, its arguments) once `target` is not behind, or the time is over.

        `behind` is asked by any thread; whoever makes it false calls `release` afterwards.
        """
        end = self._monotonic() + timeout_seconds
        while not door.post_unless(behind, *call, nbytes=nbytes):
            if not self._wait(target, behind, end - self._monotonic()):
                door.post(*call, nbytes=nbytes)
                return

    def _wait(self, target: object, behind: Callable[[], object], timeout_seconds: float) -> bool:
        """Whether it was worth it: False when the time is over, or this thread must not wait."""
        if timeout_seconds <= 0 or WORKER.coroutines:  # all coroutines would wait as well
            return False
        pool = WORKER.pool
        waiter: Waiter[None] = Waiter()
        with self._lock:
            if not behind():
                return True
            left_count = self._places_counts.get(pool)
            if left_count is not None:
                if not left_count:
                    return False
                self._places_counts[pool] = left_count - 1
            self._waiters.setdefault(target, []).append(waiter)
        try:
            waiter.wait(timeout_seconds)
            released = True
        except TimeoutError:
            released = False
        with self._lock:
            if left_count is not None:
                self._places_counts[pool] += 1
            waiters = self._waiters.get(target, [])
            if waiter in waiters:
                waiters.remove(waiter)
                if not waiters:
                    del self._waiters[target]
        return released

    def release(self, target: object) -> None:
        """Loop's thread: `target` has caught up, or is gone."""
        with self._lock:
            for waiter in self._waiters.pop(target, ()):
                waiter.set(None)
