"""The loop's turn: descriptors, posted calls, timers, late callbacks, one flush; over pipes and a told time.

It must not know transports.
"""

import os
import select
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from python_server.net.loop import SWEEP_MIN_COUNT, WIDE_MIN_COUNT, Deadline, Loop
from python_server.net.poller import EXCLUSIVE, READABLE, WRITABLE, EpollPoller, SelectorPoller
from python_server.net.system import REAL

POLLERS = {
    "epoll": EpollPoller,
    "selectors": SelectorPoller,
    "poll": lambda: SelectorPoller(selectors.PollSelector),
    "select": lambda: SelectorPoller(selectors.SelectSelector),
}
if not hasattr(select, "epoll"):
    del POLLERS["epoll"]
if not hasattr(select, "poll"):
    del POLLERS["poll"]
every_poller = pytest.mark.parametrize("kind", POLLERS.values(), ids=POLLERS)


class Time:
    """The loop's clock, moved by the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(params=POLLERS.values(), ids=POLLERS)
def loop(request: pytest.FixtureRequest, time: Time) -> Iterator[Any]:
    faults: list[tuple[str, str]] = []
    system = replace(REAL, monotonic=time, poller=request.param)
    loop: Any = Loop(lambda what, error: faults.append((what, str(error))), system=system)
    loop.mailbox.adopt()
    loop_faults[loop] = faults
    yield loop
    loop.close()
    assert not loop_faults.pop(loop), "a fault that no test has looked for"


loop_faults: dict[Any, list[tuple[str, str]]] = {}


def faults_of(loop: Any) -> list[tuple[str, str]]:
    """Since the last call."""
    told = list(loop_faults[loop])
    loop_faults[loop].clear()
    return told


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


class Flushed:
    def __init__(self, said: list[Any], word: Any = "flush") -> None:
        self.said, self.word = said, word

    def flush(self) -> None:
        self.said.append(self.word)


def failing() -> None:
    raise LookupError("broken")


def test_a_turn_has_its_order(loop: Any, pipe: tuple[int, int]) -> None:
    said: list[Any] = []
    loop.call_at_turn_end(lambda: said.append("last"))
    loop.flush_at_turn_end(Flushed(said))
    loop.call_later(0, lambda: said.append("timer"))
    loop.call_soon(lambda: said.append("soon"))
    loop.mailbox.post(said.append, "posted")
    loop.add_reader(pipe[0], lambda: said.append(os.read(pipe[0], 10)))
    os.write(pipe[1], b"bytes")
    loop.run_once(0)
    assert sorted(map(str, said[:2])) == ["b'bytes'", "posted"]
    assert said[2:] == ["soon", "timer", "flush", "last"]


def test_a_late_reader_comes_after_the_others(loop: Any, pipe: tuple[int, int]) -> None:
    said: list[str] = []
    loop.add_reader(pipe[0], lambda: said.append("late"), late=True)
    loop.call_soon(lambda: said.append("soon"))
    os.write(pipe[1], b"x")
    loop.run_once(0)
    assert said == ["soon", "late"]


def test_a_reader_and_a_writer_of_one_descriptor_come_and_go_alone(loop: Any) -> None:
    one, other = socket.socketpair()
    with one, other:
        said: list[str] = []
        descriptor = one.fileno()
        loop.add_reader(descriptor, lambda: said.append("read"))
        loop.add_writer(descriptor, lambda: said.append("write"))
        other.send(b"x")
        loop.run_once(0)
        assert said == ["read", "write"]
        loop.remove_reader(descriptor)
        loop.run_once(0)
        assert said == ["read", "write", "write"]
        loop.add_reader(descriptor, lambda: said.append("read again"))
        loop.remove_writer(descriptor)
        loop.run_once(0)
        assert said[3:] == ["read again"]
        loop.remove_reader(descriptor)
        loop.remove_reader(descriptor)
        loop.remove_writer(descriptor)
        loop.run_once(0)
        assert len(said) == 4


def test_a_writer_alone_goes(loop: Any, pipe: tuple[int, int]) -> None:
    said: list[str] = []
    loop.add_writer(pipe[1], lambda: said.append("write"))
    loop.run_once(0)
    loop.remove_writer(pipe[1])
    loop.run_once(0)
    assert said == ["write"]


def test_an_exclusive_reader_is_asked_for_as_such() -> None:
    asked: list[tuple[int, int]] = []

    class Poller(SelectorPoller):
        def register(self, descriptor: int, events: int) -> None:
            asked.append((descriptor, events))

        def unregister(self, descriptor: int) -> None:
            asked.append((descriptor, 0))

    loop = Loop(lambda what, error: None, system=replace(REAL, poller=Poller))
    loop.add_reader(12345, failing, exclusive=True)
    loop.remove_reader(12345)
    loop.close()
    assert asked[1:] == [(12345, READABLE | EXCLUSIVE), (12345, 0)]


def test_what_raises_is_reported_and_stops_nothing(loop: Any, pipe: tuple[int, int]) -> None:
    said: list[str] = []
    loop.add_reader(pipe[0], failing)
    os.write(pipe[1], b"x")
    loop.call_soon(failing)
    loop.call_soon(lambda: said.append("soon"))
    loop.call_later(0, failing)
    loop.mailbox.post(failing)
    broken: Any = Flushed(said)
    broken.flush = failing
    loop.flush_at_turn_end(broken)
    loop.flush_at_turn_end(Flushed(said))
    loop.call_at_turn_end(failing)
    loop.run_once(0)
    assert said == ["soon", "flush"]
    kinds = ["callback"] * 3 + ["descriptor callback", "flush", "posted call"]
    assert sorted(faults_of(loop)) == [(kind, "broken") for kind in kinds]


def test_timers_come_when_they_are_due_and_cancelled_ones_never(loop: Any, time: Time) -> None:
    said: list[int] = []
    timers = [loop.call_later(seconds, lambda n=seconds: said.append(n)) for seconds in (3, 1, 2)]
    loop.run_once(0)
    assert said == []
    timers[2].cancel()
    time.now += 2.5
    loop.run_once(0)
    assert said == [1]
    time.now += 1
    loop.run_once(0)
    assert said == [1, 3]


def test_cancelled_timers_do_not_pile_up(loop: Any) -> None:
    kept = loop.call_later(50, failing)
    for _ in range(5 * SWEEP_MIN_COUNT):
        loop.call_later(60, failing).cancel()
    assert len(loop._timers) <= SWEEP_MIN_COUNT
    assert kept in loop._timers


def test_a_deadline_moves_without_new_timers(loop: Any, time: Time) -> None:
    reached: list[float] = []
    deadline = Deadline(loop, lambda: reached.append(time.now))

    def turn(seconds: float) -> None:
        time.now += seconds
        loop.run_once(0)

    deadline.set(2)
    turn(1)
    for _ in range(3):
        deadline.set(2)  # moved on: the timer that waits looks again
        assert len([timer for timer in loop._timers if timer.function]) == 1
    turn(1)
    assert reached == []
    turn(1)
    assert reached == [103.0]
    deadline.set(9)
    deadline.set(1)  # moved back: an earlier timer is needed
    turn(1)
    assert reached == [103.0, 104.0]
    deadline.set(1)
    deadline.clear()
    turn(1)
    deadline.set(1)
    deadline.cancel()
    turn(5)
    assert reached == [103.0, 104.0]


def test_a_broadcast_to_many_is_flushed_after_one_more_look(loop: Any, pipe: tuple[int, int]) -> None:
    said: list[Any] = []
    loop.add_reader(pipe[0], lambda: said.append(os.read(pipe[0], 10)))
    for number in range(WIDE_MIN_COUNT):
        loop.flush_at_turn_end(Flushed(said, number))
    loop.run_once()
    assert said == []
    os.write(pipe[1], b"came meanwhile")
    loop.run_once()  # it waits for nothing
    assert said == [b"came meanw", *range(WIDE_MIN_COUNT)]


def test_what_the_workers_say_of_that_look_leaves_as_well(loop: Any, pipe: tuple[int, int]) -> None:
    """And what they post while the flush goes on is looked at in the next turn, unasked."""
    said: list[Any] = []

    def work() -> None:
        said.append("worked")
        loop.mailbox.post(lambda: loop.flush_at_turn_end(Flushed(said, "answer")))

    def came() -> None:
        os.read(pipe[0], 10)
        loop.call_at_turn_end(work)

    loop.add_reader(pipe[0], came)
    for number in range(WIDE_MIN_COUNT):
        loop.flush_at_turn_end(Flushed(said, number))
    loop.run_once()
    os.write(pipe[1], b"came")
    loop.run_once()
    assert said == ["worked", *range(WIDE_MIN_COUNT), "answer"]
    loop.flush_at_turn_end(Flushed(said, "few"))
    loop.call_at_turn_end(work)
    loop.run_once()
    assert said[-2:] == ["few", "worked"], "a flush of few does not wait"


def test_run_ends_with_the_turn_that_stops_it(loop: Any) -> None:
    said: list[str] = []
    loop.call_soon(lambda: (loop.stop(), loop.call_soon(lambda: said.append("next turn")))[0])
    loop.flush_at_turn_end(Flushed(said))
    loop.run()
    assert said == ["flush"]


def test_a_signal_wakes_a_loop_that_has_nothing_to_do(loop: Any) -> None:
    """Its handler stops the loop: a wait of a day is over at once."""
    came: list[int] = []

    def handler(number: int, frame: Any) -> None:
        came.append(number)
        loop.stop()

    former: Callable[..., Any] | Any = signal.signal(signal.SIGUSR2, handler)
    try:
        loop.call_later(0, lambda: os.kill(os.getpid(), signal.SIGUSR2))
        loop.run()
    finally:
        signal.signal(signal.SIGUSR2, former)
    assert came == [signal.SIGUSR2]
    assert signal.set_wakeup_fd(-1) == -1, "the descriptor that was set is taken back"


def test_who_holds_the_thread_is_looked_at_unasked(loop: Any) -> None:
    said: list[str] = []
    loop.stop_waking()
    loop.mailbox._calls.append((said.append, ("posted",), 0))  # as a thread does that finds the flag raised
    loop.run_once()
    assert said == ["posted"]


def test_a_bell_that_is_full_or_gone_harms_nobody(loop: Any) -> None:
    while True:
        try:
            loop._wake_up.send(b"\0" * 4096)
        except BlockingIOError:
            break
    loop._wake()
    loop._empty_pipe()
    other = Loop(lambda what, error: None)
    other.close()
    other._wake()


@every_poller
def test_pollers_say_the_same(kind: Any, pipe: tuple[int, int]) -> None:
    poller = kind()
    poller.register(pipe[0], READABLE)
    poller.register(pipe[1], WRITABLE)
    assert poller.poll(0) == [(pipe[1], WRITABLE)]
    os.write(pipe[1], b"x")
    poller.modify(pipe[1], WRITABLE)
    assert sorted(poller.poll(0)) == sorted([(pipe[0], READABLE), (pipe[1], WRITABLE)])
    poller.unregister(pipe[1])
    poller.unregister(pipe[0])
    assert poller.poll(0) == []
    poller.close()
