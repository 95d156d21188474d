"""Waits that a timeout or a kill can end: the one mechanism below everything that stands in for greenlets.

Must not know: eventlet's or gevent's words; what is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Self, TypeAlias

from python_server.drop_in.importing import warn_once
from python_server.net.system import REAL
from python_server.net.tasks import check_waiting
from python_server.net.threads import Condition, ThreadLocal, blocking

_THREAD: Final = ThreadLocal()
_FOREVER: Final = float("inf")
# How long a wait may last; None: for ever.
Seconds: TypeAlias = float | None
# What may be raised in a thread; what a timeout may have instead of itself.
Fault: TypeAlias = BaseException | type[BaseException]
Thrown: TypeAlias = Fault | bool | None


class ThreadState:
    """A thread, as those see it who want to end its waits.

    Attributes:
        thrown: raised at its next wait. timeouts: those that run in it. waits_on: set while it waits.
    """

    def __init__(self) -> None:
        self.thrown: BaseException | None = None
        self.timeouts: list[Timeout] = []
        self.waits_on: Condition | None = None

    def throw(self, error: BaseException) -> None:
        """Any thread: end this one's wait, or its next, with an error."""
        self.thrown = error
        condition = self.waits_on
        if condition is not None:
            with condition:
                condition.notify_all()

    def raise_due(self) -> None:
        """Raises what was thrown, or the timeout that is over."""
        if self.thrown is not None:
            error, self.thrown = self.thrown, None
            raise error
        for timeout in self.timeouts:
            if timeout.ends_at <= REAL.monotonic():
                self.timeouts.remove(timeout)
                raise timeout.error()


def current() -> ThreadState:
    """The state of the calling thread; that of a greenlet is the greenlet."""
    if not hasattr(_THREAD, "state"):
        _THREAD.state = ThreadState()
    state: ThreadState = _THREAD.state
    return state


def become(state: ThreadState) -> None:
    """The calling thread is this one's from here on."""
    _THREAD.state = state


def wait_until(condition: Condition, attempt: Callable[[], bool], seconds: Seconds = None) -> bool:
    """Until `attempt()`, which is called under the condition's lock, is true; False when the time is over.

    Others have their turn meanwhile. They may need the lock: it is let go before the turn comes back.

    Raises:
        BaseException: a timeout is over, or somebody has thrown an error into this thread.
    """
    with condition:
        if attempt():
            return True
    check_waiting("wait()")
    state = current()
    end = _FOREVER if seconds is None else REAL.monotonic() + seconds
    with blocking(lends=True), condition:
        state.waits_on = condition
        try:
            while not attempt():
                state.raise_due()
                now = REAL.monotonic()
                if now >= end:
                    return False
                left = min([end, *(timeout.ends_at for timeout in state.timeouts)]) - now
                condition.wait(None if left == _FOREVER else max(0.0, left))
        finally:
            state.waits_on = None
    return True


def sleep(seconds: float = 0, ref: bool = True) -> None:
    """Wait; 0 lets others run."""
    if seconds > 0:
        wait_until(Condition(), bool, seconds)
    else:
        current().raise_due()
        with blocking():
            time.sleep(0)


class Timeout(BaseException):
    """Raised in the thread that started it, at its first wait of a stand-in after so many seconds.

    Args:
        seconds: None is never. exception: raised instead; with False the `with` statement ends silently.
    """

    is_timeout = True  # for programs that ask so

    def __init__(self, seconds: Seconds = None, exception: Thrown = None, ref: bool = True) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        self.exception = exception
        self.ends_at = _FOREVER
        self._state: ThreadState = current()

    def __str__(self) -> str:
        """gevent's words: programs show them."""
        if self.seconds is None:
            return ""
        silent = " (silent)" if self.exception is False else ""
        thrown = "" if self.exception in (None, True, False) else f": {self.exception}"
        return f"{self.seconds} second{'' if self.seconds == 1 else 's'}{silent}{thrown}"

    @classmethod
    def start_new(cls, timeout: Timeout | float | None = None, exception: Thrown = None) -> Timeout:
        """One that runs; a Timeout that is given is started."""
        limit: Timeout = timeout if isinstance(timeout, Timeout) else cls(timeout, exception)
        return limit.__enter__()

    @property
    def pending(self) -> bool:
        """Does it run?"""
        return self in self._state.timeouts

    def start(self) -> None:
        """It runs from here on, for this thread."""
        if self.seconds is not None and not self.pending:
            self._state = current()
            self.ends_at = REAL.monotonic() + self.seconds
            self._state.timeouts.append(self)

    def cancel(self) -> None:
        """It is not raised any more."""
        if self.pending:
            self._state.timeouts.remove(self)
            if self.ends_at <= REAL.monotonic():
                warn_once(
                    "a Timeout is over and has interrupted nothing: it acts at waits of stand-ins alone"
                )

    close = cancel

    def error(self) -> BaseException:
        """What is raised for it."""
        if self.exception is None or isinstance(self.exception, bool):
            return self
        error: BaseException = self.exception() if isinstance(self.exception, type) else self.exception
        return error

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self.cancel()
        return error is self and self.exception is False


class StartedTimeout(Timeout):
    """eventlet's, which runs from when it is made."""

    def __init__(self, seconds: Seconds = None, exception: Thrown = None) -> None:
        super().__init__(seconds, exception)
        self.start()


def with_timeout(seconds: float, function: Callable[..., object], *args: object, **kwargs: object) -> object:
    """What the function returns; when it waits for too long, `timeout_value`, or Timeout without one."""
    has_value, value = "timeout_value" in kwargs, kwargs.pop("timeout_value", None)
    timeout = Timeout(seconds)
    result: object = None
    try:
        with timeout:
            result = function(*args, **kwargs)
    except Timeout as error:
        if error is not timeout or not has_value:
            raise
        return value
    return result
