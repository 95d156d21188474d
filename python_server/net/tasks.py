"""Work beside the pools: slots lent while a worker waits, background threads, the one asyncio loop.

Must not know: what a task does, or which protocol waits for it.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, ClassVar, Final

from python_server.net.forks import call_in_children
from python_server.net.threads import (
    WORKER,
    Answer,
    Event,
    Lock,
    Mailbox,
    Report,
    Thread,
    blocking,
    current_thread_id,
    fail,
)
from python_server.net.turn import run_in_turn

# How long a stop waits for the asyncio loop to give up its tasks.
ASYNC_STOP_SECONDS: Final = 1.0


def check_waiting(what: str) -> None:
    """Raises RuntimeError in the thread of all coroutines, which a wait would stop."""
    if WORKER.coroutines:
        raise RuntimeError(
            f"{what} would stop every async def handler: await asyncio.to_thread({what.rstrip('()')}, ...), "
            "or asyncio.sleep() [would-block]"
        )


def sleep(seconds: float = 0.0) -> None:
    """Any thread but the loop's: wait; a pool's worker lends its slot."""
    with blocking(lends=True):
        time.sleep(seconds)


class BackgroundTask(Thread):
    """A function in a daemon thread of its own, with a report of its fault: of `start_background_task`."""

    # Set by a worker that traces: in the thread that makes a task it gives what runs the target as its part.
    keep: ClassVar[Callable[[], Callable[[Callable[[], object]], object]] | None] = None

    def __init__(
        self,
        target: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
        report: Report,
    ) -> None:
        super().__init__(name=f"background {name_of(target)}", daemon=True)
        self._report = report
        self._within = None if BackgroundTask.keep is None else BackgroundTask.keep()
        self._call: partial[Any] = partial(target, *args, **kwargs)

    def join(self, timeout: float | None = None) -> None:
        """Any thread: wait for its end; a pool's worker lends its slot.

        Raises:
            RuntimeError: it has not been started: the server does not serve yet.
        """
        if self.ident is None:
            raise RuntimeError("the background task starts when the server does: it cannot be joined before")
        with blocking(lends=True):
            super().join(timeout)

    def run(self) -> None:
        """In the thread."""
        try:
            if self._within is None:
                self._run_target()
            else:
                self._within(self._run_target)
        except BaseException as error:
            # `sys.exit()` is how a thread ends itself, silently in `threading`; with a code it is a fault.
            if not (isinstance(error, SystemExit) and not error.code):
                self._report(f"background task {name_of(self._call.func)}", error)

    def _run_target(self) -> None:
        if is_async(self._call):
            asyncio.run(self._call())
        else:
            run_in_turn(self._call)


def is_async(function: object) -> bool:
    """An `async def`, an object that is called like one, or a partial of either."""
    while isinstance(function, partial):
        function = function.func
    call = getattr(type(function), "__call__", None)  # noqa: B004 - what matters is how it is called
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def name_of(function: Callable[..., object]) -> str:
    """How a log line calls a function."""
    return str(getattr(function, "__name__", type(function).__name__))


class AsyncRunner:
    """The one thread that runs coroutines, started with the first of them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
        """A worker: the coroutine's result; it sees the caller's context variables. Its slot is lent.

        Raises:
            RuntimeError: called on the asyncio thread itself, where it could only hang.
            BaseException: whatever the coroutine raised.
        """
        try:
            if WORKER.coroutines:
                raise RuntimeError("the asyncio thread cannot wait for itself: await it instead")
            loop = self._started()
        except (RuntimeError, MemoryError):
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        with blocking(lends=True):
            return future.result()

    def start(
        self,
        coroutine: Coroutine[Any, Any, Answer],
        context: Context,
        done: Callable[[Callable[[], Answer]], None],
    ) -> None:
        """A worker: run the coroutine in `context`, which nobody else may enter until it is over.

        Args:
            done: called on the asyncio thread with a function that gives the coroutine's result, or raises
                what it raised; here and now where there can be no such thread.
        """

        def begin() -> None:
            task = loop.create_task(coroutine, context=context)
            task.add_done_callback(lambda task: done(partial(_result_of, task)), context=Context())

        try:
            loop = self._started()
            loop.call_soon_threadsafe(begin)
        except (RuntimeError, MemoryError) as error:
            coroutine.close()
            done(partial(fail, error))

    def _started(self) -> asyncio.AbstractEventLoop:
        """Raises RuntimeError, MemoryError: no thread can be started; the next coroutine tries again."""
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                ready = Event()
                try:
                    Thread(target=self._serve, args=(loop, ready), name="asyncio", daemon=True).start()
                except BaseException:
                    loop.close()
                    raise
                with blocking():
                    ready.wait()
                self._loop = loop
            return self._loop

    def close(self) -> None:
        """Any thread but its own: cancel what runs, end the thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            ended = asyncio.run_coroutine_threadsafe(_cancel_all(), loop)
            try:
                ended.result(ASYNC_STOP_SECONDS)
            except TimeoutError:
                pass  # a task that swallows its cancellation; the thread is a daemon
            loop.call_soon_threadsafe(loop.stop)

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop, ready: Event) -> None:
        WORKER.coroutines = True
        own = current_thread_id()

        def forked() -> None:
            """In a child of a coroutine that comes back: it would take the wake-ups of its parent's loop."""
            if current_thread_id() == own:
                loop.call_soon(os._exit, 1)

        call_in_children(forked)
        asyncio.set_event_loop(loop)
        loop.call_soon(ready.set)
        try:
            while True:
                try:
                    loop.run_forever()
                    return
                except (SystemExit, KeyboardInterrupt):
                    pass  # one coroutine's, whose waiter is told by its task; the others go on
        finally:
            loop.close()


def _result_of(task: asyncio.Task[Answer]) -> Answer:
    if task.cancelled():
        raise RuntimeError("the coroutine was cancelled")
    return task.result()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class InlineMailbox(Mailbox):
    """A mailbox without a loop, for tests: its owner's calls are made at once, others' at a `drain`."""

    def __init__(self) -> None:
        super().__init__(ring=lambda: None, max_bytes=sys.maxsize)

    def post(self, function: Callable[..., object], *args: object, nbytes: int = 0) -> None:
        if self.on_loop():
            self.drain()
            function(*args)
        else:
            super().post(function, *args)

    def post_unless(
        self, unless: Callable[[], object], function: Callable[..., object], *args: object, nbytes: int
    ) -> bool:
        """Nobody waits here, so `unless` is never asked."""
        self.post(function, *args)
        return True

    def drain(self, report: Report = lambda what, error: fail(error)) -> bool:
        while super().drain(report):
            pass
        return False
