"""Signals as orders, and the application's own handlers of them (serve/signals.py), in this process.

It must not know what a server does with an order.
"""

import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from python_server.net.threads import ServerStopped
from python_server.serve.signals import ApplicationSignals, OnlySaid, Order, Orders, given_as_orders

Install = Callable[[int, Callable[[int, FrameType | None], Any]], None]


@pytest.fixture
def install() -> Iterator[Install]:
    former: dict[int, Any] = {}

    def handler(number: int, function: Callable[[int, FrameType | None], Any]) -> None:
        former.setdefault(number, signal.signal(number, function))

    yield handler
    for number, function in former.items():
        signal.signal(number, function)


class Bench:
    """Orders that note themselves, and an application's signals as they are when it is made."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.faults: list[str] = []
        self.theirs = ApplicationSignals(lambda what, error: self.faults.append(f"{what}: {error}"))
        self.orders: Orders = {
            signal.SIGTERM: lambda: self.said.append("stop"),
            signal.SIGHUP: lambda: self.said.append("hang up"),
            signal.SIGUSR2: OnlySaid(self.said.append, "means nothing"),
        }

    def raises(self, *numbers: int, post: Callable[[Order], None] = lambda order: order()) -> list[str]:
        with given_as_orders(post, self.orders, self.theirs):
            for number in numbers:
                signal.raise_signal(number)
        return self.said


def test_an_order_is_given_and_the_handler_before_comes_back(install: Install) -> None:
    def before(number: int, frame: FrameType | None) -> None: ...

    install(signal.SIGHUP, before)
    assert Bench().raises(signal.SIGHUP, signal.SIGUSR2) == ["hang up", "means nothing"]
    assert signal.getsignal(signal.SIGHUP) is before


def test_the_application_hears_first_and_of_a_stop_once(install: Install) -> None:
    install(signal.SIGTERM, lambda number, frame: bench.said.append(f"theirs {number}"))
    bench = Bench()
    assert bench.raises(signal.SIGTERM, signal.SIGTERM) == [f"theirs {int(signal.SIGTERM)}", "stop", "stop"]


def test_a_signal_that_means_nothing_here_is_the_applications(install: Install) -> None:
    install(signal.SIGUSR2, lambda number, frame: bench.said.append("theirs"))
    bench = Bench()
    assert bench.raises(signal.SIGUSR2) == ["theirs"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_one_that_leaves_stops_the_server_and_leaves_then(install: Install, number: int) -> None:
    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(7)

    install(number, leave)
    bench = Bench()
    with pytest.raises(SystemExit, match="7"):
        bench.raises(number)
    assert bench.said == ["stop"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_one_that_passes_ctrl_c_on_stops_the_server(install: Install, number: int) -> None:
    # As python-socketio's client does, in the name of whoever was there before it.
    install(number, lambda number, frame: signal.default_int_handler(number, frame))
    assert Bench().raises(number) == ["stop"]


def test_a_fault_is_reported_and_the_order_given(install: Install) -> None:
    install(signal.SIGHUP, lambda number, frame: {}["missing"])
    bench = Bench()
    assert bench.raises(signal.SIGHUP) == ["hang up"]
    assert bench.faults == ["the application's handler of SIGHUP: 'missing'"]


def test_a_second_stop_interrupts_a_handler(install: Install) -> None:
    def hang(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)
        bench.said.append("never said")

    install(signal.SIGTERM, hang)
    bench = Bench()
    assert bench.raises(signal.SIGTERM) == ["stop", "stop"]


def test_a_first_stop_leaves_another_signals_handler_to_its_end(install: Install) -> None:
    def read_anew(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)
        bench.said.append("read anew")

    install(signal.SIGHUP, read_anew)
    bench = Bench()
    assert bench.raises(signal.SIGHUP) == ["stop", "read anew", "hang up"]


def test_a_second_stop_interrupts_what_came_upon_the_first_ones_handler_too(install: Install) -> None:
    def hang(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGHUP if number == signal.SIGTERM else signal.SIGTERM)
        bench.said.append("never said")

    install(signal.SIGTERM, hang)
    install(signal.SIGHUP, hang)
    bench = Bench()
    assert bench.raises(signal.SIGTERM) == ["stop", "stop"]


def test_a_second_stop_while_a_fault_is_told_interrupts_nobody(install: Install) -> None:
    def tell(what: str, error: BaseException) -> None:
        signal.raise_signal(signal.SIGTERM)
        bench.said.append(what)

    install(signal.SIGTERM, lambda number, frame: {}["missing"])
    bench = Bench()
    bench.theirs = ApplicationSignals(tell)
    assert bench.raises(signal.SIGTERM) == ["stop", "the application's handler of SIGTERM", "stop"]


def test_a_word_of_the_supervisor_is_told_as_its_signal(install: Install) -> None:
    install(signal.SIGUSR1, lambda number, frame: bench.said.append(f"theirs, {frame}"))
    bench = Bench()
    assert not bench.theirs.tell(signal.SIGUSR1)
    assert bench.said == ["theirs, None"]


def test_after_the_end_there_is_nothing_to_stop() -> None:
    def gone(order: Order) -> None:
        raise ServerStopped

    assert Bench().raises(signal.SIGTERM, post=gone) == []


def test_a_forked_child_has_the_applications_handlers_and_no_other(install: Install) -> None:
    def theirs(number: int, frame: object) -> None:
        """The application's."""

    def ours(number: int, frame: object) -> None:
        """The server's own, which was there before."""

    install(signal.SIGTERM, theirs)
    install(signal.SIGUSR1, ours)
    install(signal.SIGINT, ours)
    found = ApplicationSignals(lambda what, error: None, not_theirs=[ours])
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    assert [number in found for number in numbers] == [True, False, False]
    signal.signal(signal.SIGTERM, ours)
    found.give_back(numbers)
    assert signal.getsignal(signal.SIGTERM) is theirs
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
