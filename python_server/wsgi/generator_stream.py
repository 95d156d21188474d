"""A generator whose values go out as server-sent events: it runs on a worker, and waits without one.

Must not know: what a value says, sessions, rooms; how an application is run.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from python_server.connection.exchange import Exchange
from python_server.http1.event_stream import HEARTBEAT_SECONDS, block
from python_server.net.states import StateEnum
from python_server.net.system import CallLater, TimerLike
from python_server.net.threads import Executor, ServerStopped

# So much is made before the worker looks whether its client has taken it.
BURST_BYTES: Final = 65_536


class GeneratorState(StateEnum):
    """Who has the generator."""

    WAITING = "RUNNING", "ENDED"  # nobody: it has not begun, or its client is behind
    RUNNING = "WAITING", "ENDED"  # a worker
    ENDED = ()  # nobody waits for it; set by the loop, read by the worker


@dataclass(eq=False, slots=True)
class GeneratorStream:
    """The LoopAnswer of one request. Methods say which thread they belong to.

    Attributes:
        values: closed when its client goes, once it gives its next value; or when it is not to begin.
        text_of: the data of a value. event: the name of each.
        post, call_later: the loop's. report: told (what, exception) of one that fails.
    """

    values: Iterator[object]
    text_of: Callable[[object], str]
    event: str
    post: Callable[..., None]
    call_later: CallLater
    report: Callable[[str, BaseException], None]
    _exchange: Exchange = field(init=False)
    _executor: Executor = field(init=False)
    _timer: TimerLike = field(init=False)
    _state: GeneratorState = field(default=GeneratorState.WAITING, init=False)
    # Of the request that asked: what a generator sets in one step it finds in the next, on any thread.
    _context: contextvars.Context = field(default_factory=contextvars.copy_context, init=False)

    # Loop's thread

    def begin(self, exchange: Exchange, executor: Executor) -> None:
        self._exchange, self._executor = exchange, executor
        exchange.on_writable = self._go_on
        self._timer = self.call_later(HEARTBEAT_SECONDS, self._beat)
        self._go_on()

    def drop(self, executor: Executor) -> None:
        """What the generator does at its end may block: not on this thread."""
        executor.submit(self._close)

    def lost(self) -> None:
        self._timer.cancel()
        was, self._state = self._state, self._state.to(GeneratorState.ENDED)
        if was is GeneratorState.WAITING:
            self._executor.submit(self._close)

    def _go_on(self) -> None:
        if self._state is GeneratorState.WAITING and not self._exchange.blocked:
            self._state = self._state.to(GeneratorState.RUNNING)
            self._executor.submit(self._run)

    def _rest(self) -> None:
        """The worker has given it back."""
        if self._state is GeneratorState.ENDED:
            self._executor.submit(self._close)
        else:
            self._state = self._state.to(GeneratorState.WAITING)
            self._go_on()

    def _end(self, event: str) -> None:
        if self._state is not GeneratorState.ENDED:
            self.lost()
            self._exchange.write(block("null", event))
            self._exchange.finish()

    def _beat(self) -> None:
        self._timer = self.call_later(HEARTBEAT_SECONDS, self._beat)
        if not self._exchange.blocked:
            self._exchange.write(block())

    # Worker

    def _run(self) -> None:
        made_bytes = 0
        try:
            while made_bytes < BURST_BYTES and self._state is not GeneratorState.ENDED:
                value = self._context.run(next, self.values, self)
                if value is self:
                    self.post(self._end, "end")
                    return
                made = block(self.text_of(value), self.event)
                made_bytes += len(made)
                self.post(self._exchange.write, made, nbytes=len(made))
            self.post(self._rest)
        except ServerStopped:
            self._close()
        except BaseException as error:  # of the application
            self.report("a stream's generator", error)
            self._close()
            self.post(self._end, "failed")

    def _close(self) -> None:
        """What it does at its end is its own; what it raises is told."""
        try:
            self._context.run(getattr(self.values, "close", lambda: None))
        except BaseException as error:
            self.report("a stream's generator", error)
