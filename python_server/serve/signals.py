"""Signals become orders, given in the main thread; what the application installed for them runs first.

Must not know: what an order does, or how many workers there are.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from python_server.net.forks import call_in_children, leave_children_alone
from python_server.net.threads import ServerStopped

Orders = Mapping[int, Callable[[], Any]]
Report = Callable[[str, BaseException], None]

STOPS: Final = frozenset(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGQUIT") if hasattr(signal, name)
)


class ApplicationSignals:
    """The handlers that the application had installed when serving began.

    Each is called when its signal comes, before the server's own order and with the arguments that Python
    gives, as on a server that installs none. One that raises SystemExit or KeyboardInterrupt has the server
    stop gracefully; the exception goes on when it has. Of the signals that stop, the second comes past the
    application's handler, so that it forces the end even of one that hangs.

    Args:
        report: told of any other exception of a handler.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._handlers = {
            int(number): handler
            for number in signal.valid_signals()
            if callable(handler := signal.getsignal(number)) and handler is not signal.default_int_handler
        }
        self._stop_told = False
        self.leaving: BaseException | None = None

    def __contains__(self, number: int) -> bool:
        return number in self._handlers

    def tell(self, number: int, frame: Any = None) -> bool:
        """Main thread: the signal has come, or the supervisor says the same by other means.

        Returns:
            whether the handler wants the program to end.
        """
        if number in STOPS:
            if self._stop_told:
                return False
            self._stop_told = True
        handler = self._handlers.get(number)
        try:
            if handler is not None:
                handler(number, frame)
        except (SystemExit, KeyboardInterrupt) as error:
            self.leaving = self.leaving or error
            return True
        except Exception as error:
            self._report(f"the application's handler of {signal.Signals(number).name}", error)
        return False

    def told_to_stop(self) -> None:
        """Main thread: this worker is to end gracefully, which other servers say by SIGTERM."""
        self.tell(signal.SIGTERM)


@contextmanager
def given_as_orders(
    orders: Orders, theirs: ApplicationSignals, only_said: frozenset[int] = frozenset()
) -> Iterator[None]:
    """While open, each signal's order is given between two instructions of whatever the main thread runs.

    Args:
        only_said: signals that mean nothing here, whose order says so, unless the application takes them.

    Raises:
        SystemExit, KeyboardInterrupt: at the end, what a handler of the application has raised.
    """

    def given(number: int, frame: Any) -> None:
        leaves = theirs.tell(number, frame)
        try:
            if leaves and number not in STOPS:
                orders[signal.SIGTERM]()
            elif number not in only_said or number not in theirs:
                orders[number]()
        except ServerStopped:
            pass  # there is nothing left to stop

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
