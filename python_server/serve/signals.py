"""Signals become orders, carried out by the loop; what the application installed for them runs first.

Must not know: what an order does, or how many workers there are.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Final

from python_server.net.forks import call_in_children, leave_children_alone
from python_server.net.portability import signals
from python_server.net.threads import ServerStopped

Order = Callable[[], object]
Orders = dict[int, Order]

# Ctrl+Break is Windows' alone. A server in a thread of a program needs none of them.
STOPS: Final = frozenset(signals(dict.fromkeys(("SIGTERM", "SIGINT", "SIGQUIT", "SIGBREAK"))))


class OnlySaid(partial[None]):
    """The order of a signal that means nothing here: it says so, unless the application takes the signal."""


class Interrupted(BaseException):
    """A second signal to stop has come while the application's handler of the first one runs."""


class ApplicationSignals:
    """The handlers that the application had installed when serving began.

    Each is called when its signal comes, before the server's own order and with the arguments that Python
    gives, as on a server that installs none. One that raises SystemExit or KeyboardInterrupt has the server
    stop gracefully; SystemExit goes on when it has. Of the signals that stop, the first alone is told; the
    second interrupts a handler that still runs.

    Args:
        report: told of any other exception of a handler.
        not_theirs: handlers of the server's own that are there already.
    """

    def __init__(
        self, report: Callable[[str, BaseException], None], not_theirs: Collection[object] = ()
    ) -> None:
        self._report = report
        self._handlers = {
            int(number): handler
            for number in signal.valid_signals()
            if callable(handler := signal.getsignal(number))
            and handler is not signal.default_int_handler
            and handler not in not_theirs
        }
        self.told_to_stop: bool = False  # a signal that stops has come
        self.stopping: bool = False  # the handler of a signal that stops runs
        self.leaving: SystemExit | None = None

    def __contains__(self, number: int) -> bool:
        return number in self._handlers

    def give_back(self, numbers: Iterable[int]) -> None:
        """In a forked child: a signal is for it alone, with the application's handler or as by default."""
        for number in numbers:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, self._handlers.get(number, default))

    def tell(self, number: int, frame: FrameType | None = None) -> bool:
        """Main thread: the signal has come, or the supervisor says the same by other means.

        Returns:
            whether the handler wants the program to end.
        """
        if number in STOPS:
            if self.told_to_stop:
                return False
            self.told_to_stop = True
        handler = self._handlers.get(number)
        if handler is None:
            return False
        before = self.stopping
        try:
            self.stopping = before or number in STOPS
            try:
                handler(number, frame)
            finally:
                self.stopping = before  # a fault that is told below is not interrupted
        except SystemExit as error:
            self.leaving = self.leaving or error
            return True
        except KeyboardInterrupt:  # what Ctrl+C is by default: python-socketio's client passes it on
            return True
        except Interrupted:
            if before:  # it is for the handler that this one has come upon
                raise
        except Exception as error:
            self._report(f"the application's handler of {signal.Signals(number).name}", error)
        return False


@contextmanager
def given_as_orders(
    post: Callable[[Order], None], orders: Orders, theirs: ApplicationSignals
) -> Iterator[None]:
    """While open, the order of each signal is posted to the loop.

    Raises:
        SystemExit: at the end, if a handler of the application has raised it.
    """

    def given(number: int, frame: FrameType | None) -> None:
        again = theirs.stopping and number in STOPS
        leaves = theirs.tell(number, frame)
        order = orders[signal.SIGTERM if leaves and number not in STOPS else number]
        if not (isinstance(order, OnlySaid) and number in theirs):
            with suppress(ServerStopped):  # there is nothing left to stop
                post(order)
        if again:
            raise Interrupted

    def give_back() -> None:
        for number, handler in former.items():
            if handler is not None:  # one that was not installed from Python cannot be
                signal.signal(number, handler)

    former = {number: signal.signal(number, given) for number in orders}
    call_in_children(give_back)
    try:
        yield
    finally:
        leave_children_alone(give_back)
        give_back()
    if theirs.leaving is not None:
        raise theirs.leaving
