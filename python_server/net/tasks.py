"""Work beside the pools: slots lent while a worker waits, background threads, what counts as `async def`.

Must not know: what a task does, or which protocol waits for it.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from python_server.net.threads import (
    WORKER,
    Mailbox,
    Report,
    Thread,
    blocking,
    fail,
)
from python_server.net.turn import run_in_turn


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
            import asyncio  # who has no coroutines does without

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
