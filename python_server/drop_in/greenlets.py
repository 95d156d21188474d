"""Greenlets as threads, alone and in pools; one class for eventlet's words and gevent's.

Must not know: modules that are replaced; how a wait is ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Self

from python_server.drop_in.events import AsyncResult, Linked, Semaphore
from python_server.drop_in.importing import warn_once
from python_server.drop_in.turns import need_turns
from python_server.drop_in.waiting import Fault, Seconds, ThreadState, become, current, sleep
from python_server.net.system import REAL
from python_server.net.threads import Thread, blocking
from python_server.net.turn import run_in_turn
from python_server.observe import log

# How long `kill` waits for a thread that is in no wait of ours, and may never come to one.
KILL_SECONDS: Final = 1.0
# Greenlets, and servers of gevent's.
RUNNING: Final[set[Linked]] = set()


class GreenletExit(BaseException):
    """What `kill` raises in a greenlet; it is no fault of it."""


class Greenlet(ThreadState, AsyncResult):
    """A function in a thread of its own; a subclass may have a method `_run` instead."""

    _run: Callable[..., object]

    def __init__(self, run: Callable[..., object] | None = None, *args: object, **kwargs: object) -> None:
        ThreadState.__init__(self)
        AsyncResult.__init__(self)
        need_turns()
        self._call = partial(run or self._run, *args, **kwargs)
        self.name: str = getattr(run, "__name__", type(self).__name__)
        self.started = False

    @classmethod
    def spawn(cls, *args: object, **kwargs: object) -> Self:
        return cls.spawn_later(0, *args, **kwargs)

    @classmethod
    def spawn_later(cls, seconds: float, *args: object, **kwargs: object) -> Self:
        make: Callable[..., Self] = cls
        greenlet = make(*args, **kwargs)
        greenlet.start_later(seconds)
        return greenlet

    def start(self) -> None:
        self.start_later(0)

    def start_later(self, seconds: float) -> None:
        """Start after a time; `kill` before that keeps the function from being called."""
        if not self.started and not self._ready:
            self.started = True
            RUNNING.add(self)
            body = partial(run_in_turn, partial(self._work, seconds))
            Thread(target=body, name=f"greenlet {self.name}", daemon=True).start()

    def _work(self, seconds: float) -> None:
        become(self)
        try:
            if seconds:
                sleep(seconds)
            self.raise_due()
            self.value = self._call()
        except GreenletExit as error:
            self.value = error
        except BaseException as error:
            self.exception = error
            if not (isinstance(error, SystemExit) and not error.code):
                log.report(f"greenlet {self.name}", error)
        RUNNING.discard(self)
        self._become_ready()

    @property
    def dead(self) -> bool:
        return self._ready

    def __bool__(self) -> bool:
        return self.started and not self._ready

    def join(self, timeout: Seconds = None) -> None:
        self._wait_ready(timeout)

    def wait(self, timeout: Seconds = None) -> object:
        """eventlet's word: what the function returned, or raises what ended it."""
        value = self.get(timeout=timeout)
        if isinstance(value, GreenletExit):
            raise value
        return value

    def kill(self, exception: Fault = GreenletExit, block: object = True, timeout: Seconds = None) -> None:
        """Raise an error in it, at its next wait of a stand-in; `block`: wait for its end."""
        error = exception() if isinstance(exception, type) else exception
        if not self.started:
            self.started = True
            self.set(error)
        if self._ready:
            return
        in_vain = self.waits_on is None
        self.throw(error)
        if block is True and self is not current():
            self._wait_ready(min(KILL_SECONDS, timeout or KILL_SECONDS) if in_vain else timeout)
        if in_vain and not self._ready:
            warn_once(f"kill() cannot interrupt greenlet {self.name}: it ends at its next wait of a stand-in")

    cancel = kill

    def link(self, callback: Callable[..., object], *args: object, **kwargs: object) -> None:
        """Call `callback(self, ...)` at its end."""
        self.rawlink(lambda greenlet: callback(greenlet, *args, **kwargs))

    def link_value(self, callback: Callable[..., object]) -> None:
        self.link(lambda greenlet: greenlet.successful() and callback(greenlet))

    def link_exception(self, callback: Callable[..., object]) -> None:
        self.link(lambda greenlet: greenlet.successful() or callback(greenlet))


spawn, spawn_later = Greenlet.spawn, Greenlet.spawn_later


def kill(greenlet: Greenlet, exception: Fault = GreenletExit, *rest: object) -> None:
    greenlet.kill(exception, block=False)


def killall(
    greenlets: Iterable[Greenlet],
    exception: Fault = GreenletExit,
    block: bool = True,
    timeout: Seconds = None,
) -> None:
    for greenlet in list(greenlets):
        greenlet.kill(exception, block, timeout)


def iwait(objects: Iterable[Linked], timeout: Seconds = None, count: int | None = None) -> Iterator[Linked]:
    """Greenlets, events and results, one by one as they become ready, until the time is over."""
    waited = list(objects)
    ready: deque[Linked] = deque()
    came = Semaphore(0)

    def on_ready(thing: Linked) -> None:
        ready.append(thing)
        came.release()

    for thing in waited:
        thing.rawlink(on_ready)
    end = None if timeout is None else REAL.monotonic() + timeout
    for _ in waited[:count]:
        if not came.acquire(timeout=None if end is None else max(0.0, end - REAL.monotonic())):
            return
        yield ready.popleft()


def wait(
    objects: Iterable[Linked] | None = None, timeout: Seconds = None, count: int | None = None
) -> list[Linked]:
    """Those that are ready by then; without objects: every greenlet and every server that runs."""
    return list(iwait(RUNNING if objects is None else objects, timeout, count))


def joinall(
    greenlets: Iterable[Greenlet],
    timeout: Seconds = None,
    raise_error: bool = False,
    count: int | None = None,
) -> list[Linked]:
    """Wait for their ends; returns those that have ended. `raise_error`: the first error is raised."""
    done = wait(greenlets, timeout, count)
    for greenlet in done:
        if raise_error and isinstance(greenlet, Greenlet):
            greenlet.get()
    return done


def execute(function: Callable[..., object], *args: object, **kwargs: object) -> object:
    """`tpool.execute`: others have their turn while the function runs."""
    with blocking(lends=True):
        return function(*args, **kwargs)


class GreenletPool:
    """Greenlets, so many at a time; `spawn` waits for a place. Without a size it is gevent's Group."""

    def __init__(self, size: int | None = None, greenlet_class: type[Greenlet] = Greenlet) -> None:
        self.greenlets: set[Greenlet] = set()
        self.size = size
        self._make: Callable[..., Greenlet] = greenlet_class
        self._places = Semaphore(2**31 if size is None else size)

    def __len__(self) -> int:
        return len(self.greenlets)

    def __iter__(self) -> Iterator[Greenlet]:
        return iter(list(self.greenlets))

    def __bool__(self) -> bool:
        return True

    def start(self, greenlet: Greenlet) -> None:
        """Take it in, once there is a place, and start it."""
        self._places.acquire()
        self.greenlets.add(greenlet)
        greenlet.rawlink(self.discard)
        greenlet.start()

    add = start

    def discard(self, greenlet: Greenlet) -> None:
        if greenlet in self.greenlets:
            self.greenlets.discard(greenlet)
            self._places.release()

    def spawn(self, *args: object, **kwargs: object) -> Greenlet:
        greenlet = self._make(*args, **kwargs)
        self.start(greenlet)
        return greenlet

    spawn_n = spawn

    def join(self, timeout: Seconds = None, raise_error: bool = False) -> bool:
        """Wait until nobody is left; False when the time is over."""
        joinall(self, timeout, raise_error)
        return not self.greenlets

    def waitall(self) -> None:
        while not self.join():
            pass  # somebody has come meanwhile

    def kill(self, exception: Fault = GreenletExit, block: bool = True, timeout: Seconds = None) -> None:
        killall(self, exception, block, timeout)

    def free_count(self) -> int:
        return self._places.counter

    def full(self) -> bool:
        return self._places.locked()

    free, running = free_count, __len__

    def apply_async(
        self,
        func: Callable[..., object],
        args: Iterable[object] | None = None,
        kwds: Mapping[str, object] | None = None,
        callback: Callable[..., object] | None = None,
    ) -> Greenlet:
        """`callback` gets the result."""
        greenlet = self.spawn(func, *(args or ()), **(kwds or {}))
        if callback is not None:
            greenlet.link_value(lambda ended: callback(ended.value))
        return greenlet

    def apply(self, func: Callable[..., object], *args: Any, **kwargs: Any) -> object:
        """As `apply_async`, and waits for the result."""
        return self.apply_async(func, *args, **kwargs).get()

    def starmap(self, function: Callable[..., object], rows: Iterable[Iterable[object]]) -> Iterator[object]:
        """The results in order; each row has the arguments of one call. All are begun at once."""
        begun = deque(self.spawn(function, *row) for row in rows)
        return (greenlet.get() for greenlet in begun)

    def imap(self, function: Callable[..., object], *iterables: Iterable[object]) -> Iterator[object]:
        return self.starmap(function, zip(*iterables, strict=False))

    def map(self, function: Callable[..., object], iterable: Iterable[object]) -> list[object]:
        return list(self.imap(function, iterable))

    def imap_unordered(
        self, function: Callable[..., object], *iterables: Iterable[object]
    ) -> Iterator[object]:
        """The results as they come."""
        begun = [self.spawn(function, *row) for row in zip(*iterables, strict=False)]
        return (greenlet.get() for greenlet in iwait(begun) if isinstance(greenlet, Greenlet))


class ThreadPool(GreenletPool):
    """gevent's, whose functions run beside everything else."""

    def spawn(self, *args: Any, **kwargs: Any) -> Greenlet:
        return super().spawn(execute, *args, **kwargs)


class GreenPool(GreenletPool):
    """eventlet's, with its size."""

    def __init__(self, size: int = 1000) -> None:
        super().__init__(size)


class GreenPile:
    """eventlet's: greenlets whose results are iterated over, in the order of spawning."""

    def __init__(self, size_or_pool: int | GreenPool = 1000) -> None:
        self.pool = GreenPool(size_or_pool) if isinstance(size_or_pool, int) else size_or_pool
        self._begun: deque[Greenlet] = deque()

    def spawn(self, *args: object, **kwargs: object) -> None:
        self._begun.append(self.pool.spawn(*args, **kwargs))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> object:
        if not self._begun:
            raise StopIteration
        return self._begun.popleft().get()
