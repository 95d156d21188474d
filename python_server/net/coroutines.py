"""The one asyncio loop, on a thread of its own, of all coroutines of an application.

Must not know: what a coroutine does, or who waits for it.

asyncio costs a worker 2 MB and a twentieth of its start: nobody imports this before there is a coroutine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, Final

from python_server.net.forks import call_in_children
from python_server.net.threads import (
    WORKER,
    Answer,
    Event,
    Lock,
    Thread,
    blocking,
    current_thread_id,
    fail,
)

# How long a stop waits for the asyncio loop to give up its tasks.
ASYNC_STOP_SECONDS: Final = 1.0


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
