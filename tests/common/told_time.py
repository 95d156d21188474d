"""Time that passes when a test says so: a clock with timers, and a deadline that is fired by hand.

It must not know what waits.
"""

from collections.abc import Callable
from typing import Any


class Timer:
    def __init__(self, when: float, function: Callable[[], Any]) -> None:
        self.when = when
        self.function: Callable[[], Any] | None = function

    def cancel(self) -> None:
        self.function = None


class Clock:
    """Moves only when it is told to; what is due together comes in the order in which it was asked for."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []

    def call_later(self, seconds: float, function: Callable[[], Any]) -> Timer:
        self.timers.append(Timer(self.now + seconds, function))
        return self.timers[-1]

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            due = sorted((t for t in self.timers if t.function and t.when <= end), key=lambda t: t.when)
            if not due:
                break
            self.now = max(self.now, due[0].when)
            function, due[0].function = due[0].function, None
            assert function is not None
            function()
        self.now = end
        self.timers = [timer for timer in self.timers if timer.function]

    def deadline(self, function: Callable[[], Any]) -> "ClockDeadline":
        return ClockDeadline(self, function)

    @property
    def waits(self) -> bool:
        """Is anything due some time?"""
        return any(timer.function for timer in self.timers)


class HandDeadline:
    """A moment that the test reaches by calling `fire`."""

    def __init__(self, fire: Callable[[], Any]) -> None:
        self.fire = fire
        self.seconds: float | None = None

    def set(self, seconds: float) -> None:
        self.seconds = seconds

    def clear(self) -> None:
        self.seconds = None

    cancel = clear


class ClockDeadline:
    """A moment that can be moved, reached when the clock is moved there."""

    def __init__(self, clock: Clock, function: Callable[[], Any]) -> None:
        self.clock = clock
        self.function = function
        self.timer: Timer | None = None

    def set(self, seconds: float) -> None:
        self.clear()
        self.timer = self.clock.call_later(seconds, self.function)

    def clear(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    cancel = clear
