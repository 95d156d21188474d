"""What stand-ins wait for: results, flags, semaphores and queues, in eventlet's and gevent's words.

Must not know: threads, greenlets.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable
from queue import Empty, Full
from typing import Self

from python_server.drop_in.waiting import Fault, Seconds, Timeout, wait_until
from python_server.net.threads import Condition

__all__ = ["Empty", "Full"]


class Linked:
    """Something that becomes ready, and then calls whoever wants to know."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._links: list[Callable[..., object]] = []
        self._ready = False

    def ready(self) -> bool:
        return self._ready

    def rawlink(self, callback: Callable[..., object]) -> None:
        """Call `callback(self)` once it is ready; at once if it is."""
        with self._changed:
            if not self._ready:
                self._links.append(callback)
                return
        callback(self)

    def _become_ready(self) -> None:
        with self._changed:
            self._ready = True
            self._changed.notify_all()
            links, self._links = self._links, []
        for callback in links:
            callback(self)

    def _wait_ready(self, timeout: Seconds = None) -> bool:
        return wait_until(self._changed, self.ready, timeout)


class AsyncResult(Linked):
    """A value or an error that comes once: gevent's words, and those of eventlet's Event."""

    def __init__(self) -> None:
        super().__init__()
        self.value: object = None
        self.exception: BaseException | None = None

    def set(self, value: object = None) -> None:
        self.value = value
        self._become_ready()

    def set_exception(self, exception: Fault, exc_info: object = None) -> None:
        self.exception = exception() if isinstance(exception, type) else exception
        self._become_ready()

    def send(self, result: object = None, exc: Fault | None = None) -> None:
        """Raises AssertionError: it was sent before."""
        if self._ready:  # under `python -O` too
            raise AssertionError("Trying to re-send() an already-triggered event.")
        if exc is None:
            self.set(result)
        else:
            self.set_exception(exc)

    def send_exception(self, *args: Fault) -> None:
        """An error, or a class with an error of it, as `sys.exc_info` has them."""
        self.send(exc=args[min(1, len(args) - 1)])

    def reset(self) -> None:
        self.__init__()  # type: ignore[misc]

    def successful(self) -> bool:
        return self._ready and self.exception is None

    def get(self, block: bool = True, timeout: Seconds = None) -> object:
        """The value, or raises the error; Timeout when nothing came in time."""
        if not self._wait_ready(timeout if block else 0):
            raise Timeout(timeout)
        if self.exception is not None:
            raise self.exception
        return self.value

    def wait(self, timeout: Seconds = None) -> object:
        """The value; None for an error, or when nothing came in time."""
        self._wait_ready(timeout)
        return self.value

    def __call__(self, source: AsyncResult) -> None:
        """As a link of a greenlet."""
        self.value, self.exception = source.value, source.exception
        self._become_ready()


class SentEvent(AsyncResult):
    """eventlet's Event, whose `wait` raises."""

    def wait(self, timeout: Seconds = None) -> object:
        """What was sent, or raises it; None when nothing came in time."""
        return self.get() if self._wait_ready(timeout) else None


class Flag(Linked):
    """gevent's Event: threading's, with links."""

    is_set = isSet = Linked.ready
    set = Linked._become_ready
    wait = Linked._wait_ready

    def clear(self) -> None:
        self._ready = False

    def __init__(self) -> None:
        super().__init__()


class Semaphore:
    """So many at a time; `counter` more may come."""

    def __init__(self, value: int = 1) -> None:
        self._changed = Condition()
        self.counter = value

    def locked(self) -> bool:
        return self.counter <= 0

    def acquire(self, blocking: bool = True, timeout: Seconds = None) -> bool:
        """False when the time is over; a time below 0 is none."""
        limited = timeout is not None and timeout >= 0
        return wait_until(self._changed, self._take, (timeout if limited else None) if blocking else 0)

    def _take(self) -> bool:
        free = self.counter > 0
        self.counter -= free
        return free

    def release(self) -> None:
        with self._changed:
            self.counter += 1
            self._changed.notify_all()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


class Queue(queue.Queue[object]):
    """The standard library's, whose waits are those of stand-ins. Iteration ends at an item StopIteration."""

    def __init__(self, maxsize: int | None = None, items: Iterable[object] = ()) -> None:
        super().__init__(maxsize or 0)
        for item in items:
            self.put(item)

    def put(self, item: object, block: bool = True, timeout: Seconds = None) -> None:
        def attempt() -> bool:
            free = self.maxsize <= 0 or self._qsize() < self.maxsize
            if free:
                self._put(item)
                self.unfinished_tasks += 1
                self.not_empty.notify_all()
            return free

        if not wait_until(self.not_full, attempt, timeout if block else 0):
            raise Full

    def get(self, block: bool = True, timeout: Seconds = None) -> object:
        taken: list[object] = []

        def attempt() -> bool:
            if self._qsize():
                taken.append(self._get())
                self.not_full.notify_all()
            return bool(taken)

        if not wait_until(self.not_empty, attempt, timeout if block else 0):
            raise Empty
        return taken[0]

    def join(self, timeout: Seconds = None) -> bool:  # type: ignore[override]
        return wait_until(self.all_tasks_done, lambda: not self.unfinished_tasks, timeout)

    def __len__(self) -> int:
        return self.qsize()

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> object:
        item = self.get()
        if item is StopIteration:
            raise StopIteration
        return item


class PriorityQueue(Queue, queue.PriorityQueue[object]):  # type: ignore[type-var]
    """The smallest item first."""


class LifoQueue(Queue, queue.LifoQueue[object]):
    """The newest item first."""
