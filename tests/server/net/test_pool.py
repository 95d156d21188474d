"""A pool's growth and its complaint, a turn's jobs handed out together, the loop giving way (net/pool.py).

It must not know what jobs are for; time is an argument of the tests, never waited for.
"""

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from threading import Event, get_ident
from time import monotonic
from typing import Any

import pytest

from python_server.net import pool as pool_module
from python_server.net.loop import Loop
from python_server.net.pool import Lending, Pool
from python_server.net.system import REAL
from python_server.net.threads import Door, blocking


def never(what: str, error: BaseException) -> None:
    raise AssertionError(what) from error


class Clock:
    """The pool's loop: its time moved by hand, each of its turns one submitted job."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.cpu = 0.0
        self.hushed_count = 0
        self.later: list[Callable[[], None]] = []

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        self.later.append(function)

    def call_at_turn_end(self, function: Callable[[], None]) -> None:
        function()

    def stop_waking(self) -> None:
        self.hushed_count += 1

    def pass_by(self, seconds: float, busy: float = 0.0) -> None:
        self.now += seconds
        self.cpu += seconds * busy
        due, self.later = self.later, []
        for function in due:
            function()


def pool_of(turns: Any, max_threads: int, **more: Any) -> Pool:
    """On the turns' own clock, where they have one."""
    told = isinstance(turns, Clock)
    given: dict[str, Any] = {
        "system": replace(REAL, monotonic=lambda: turns.now, cpu=lambda: turns.cpu) if told else REAL,
        "report": never,
        "on_saturated": lambda *what: None,
        "on_failed_start": never,
        "lending": Lending(1_000, lambda: None, monotonic),
        **more,
    }
    return Pool("threads", max_threads, turns, **given)


def make_pool(clock: Clock, max_threads: int) -> tuple[Pool, list[tuple[str, float]]]:
    said: list[tuple[str, float]] = []
    return pool_of(clock, max_threads, on_saturated=lambda *what: said.append(what)), said


def test_a_pool_grows_while_jobs_wait_up_to_its_cap_and_then_names_the_option() -> None:
    clock = Clock()
    pool, said = make_pool(clock, 3)
    go, running = Event(), [Event() for _ in range(3)]
    numbers = itertools.count()

    def block() -> None:
        number = next(numbers)
        if number < 3:
            running[number].set()
        assert go.wait(60)

    for _ in range(4):
        pool.submit(block)
    assert running[0].wait(60)
    for number in (1, 2):
        clock.pass_by(0.002)
        assert running[number].wait(60)
    clock.pass_by(0.5)
    assert said == []
    clock.pass_by(0.6)
    ((option, waited),) = said
    assert option == "threads"
    assert waited > 1.0
    clock.pass_by(0.1)
    assert len(said) == 1
    assert pool.waiting_count() == 1
    threads_count, running_count, waiting_count, wait_seconds = pool.figures()
    assert (threads_count, running_count, waiting_count) == (3, 3, 1)
    assert wait_seconds == pytest.approx(1.204)
    go.set()
    assert pool.close(60) == 0
    assert pool.figures() == (0, 0, 0, 0.0)


def test_a_job_that_a_thread_takes_while_the_loop_looks_is_no_fault() -> None:
    class Taken(deque[Any]):
        """Jobs were there a moment ago."""

        def __bool__(self) -> bool:
            return True

    clock = Clock()
    pool, said = make_pool(clock, 1)
    pool._jobs = Taken()
    pool._watch()
    clock.pass_by(1.0)
    assert clock.later == []  # it looks again when a job waits
    assert said == []


def test_a_computing_pool_does_not_grow_until_a_job_starves() -> None:
    clock = Clock()
    pool, _ = make_pool(clock, 2)
    go, first, second = Event(), Event(), Event()

    def block(mine: Event) -> None:
        mine.set()
        assert go.wait(60)

    pool.submit(lambda: block(first))
    pool.submit(lambda: block(second))
    assert first.wait(60)
    clock.pass_by(0.01, busy=1.0)
    assert pool.waiting_count() == 1
    clock.pass_by(0.05, busy=1.0)
    assert second.wait(60)
    go.set()
    assert pool.close(60) == 0


def test_a_lent_slot_is_used_by_another_thread() -> None:
    clock = Clock()
    pool, _ = make_pool(clock, 1)
    answered, asked = Event(), Event()

    def waits() -> None:
        asked.set()
        pool.lend()
        assert answered.wait(60)
        pool.reclaim()

    pool.submit(waits)
    assert asked.wait(60)
    pool.submit(answered.set)
    assert answered.wait(60)
    assert pool.close(60) == 0


def test_a_job_that_raises_is_reported_and_the_thread_goes_on() -> None:
    clock = Clock()
    reported: list[BaseException] = []
    pool = pool_of(clock, 1, report=lambda what, error: reported.append(error))
    done = Event()

    def fail() -> None:
        raise SystemExit(3)

    pool.submit(fail)
    pool.submit(done.set)
    assert done.wait(60)
    assert [type(error) for error in reported] == [SystemExit]
    assert pool.close(60) == 0


@pytest.fixture
def loop() -> Any:
    made = Loop(never)
    yield made
    made.close()


def test_a_turns_jobs_are_handed_out_together_at_its_end(loop: Loop) -> None:
    pool = pool_of(loop, 4)
    ran: list[int] = []
    for number in range(5):
        loop.call_soon(lambda number=number: pool.submit(lambda: ran.append(number)))  # type: ignore[misc]
    loop.call_soon(lambda: ran.append(-1))
    loop.run_once(0)
    assert pool.close(60) == 0
    assert ran == [-1, 0, 1, 2, 3, 4]


def test_what_workers_post_while_the_loop_gives_way_is_found_without_a_bell(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    rings: list[int] = []
    monkeypatch.setattr(loop.mailbox, "_ring", lambda: rings.append(get_ident()))
    monkeypatch.setattr(pool_module, "GIVE_WAY_SECONDS", 60.0)  # the worker's end ends it, not the clock
    pool = pool_of(loop, 1)
    made: list[int] = []
    for number in range(3):
        loop.call_soon(lambda number=number: pool.submit(lambda: loop.mailbox.post(made.append, number)))  # type: ignore[misc]
    loop.run_once(0)
    loop.run_once(60)
    assert made == [0, 1, 2]
    assert rings == []
    assert pool.close(60) == 0


def test_jobs_that_block_are_seldom_waited_for() -> None:
    clock = Clock()
    pool, _ = make_pool(clock, 1)
    go = Event()
    for _ in range(20):
        pool.submit(lambda: go.wait(60))  # type: ignore[arg-type,return-value]
    assert clock.hushed_count <= 5  # turns 1, 3, 7 and 15; one more if the worker took its job late
    go.set()
    while pool.waiting_count():
        pass
    assert pool.close(60) == 0


def test_a_worker_that_waits_itself_is_not_waited_for(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "GIVE_WAY_SECONDS", 60.0)
    pool = pool_of(loop, 1)
    answered = Event()
    order: list[str] = []

    def asks() -> None:
        pool.lend()
        assert answered.wait(60)
        pool.reclaim()
        order.append("worker")

    loop.call_soon(lambda: pool.submit(asks))
    loop.run_once(0)
    order.append("loop")
    answered.set()
    assert pool.close(60) == 0
    assert order == ["loop", "worker"]


def test_a_question_to_the_loop_ends_its_wait(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that asks for its rooms is answered at once, not when the loop has waited long enough."""
    monkeypatch.setattr(pool_module, "GIVE_WAY_SECONDS", 60.0)
    pool = pool_of(loop, 1)
    door = Door(loop.mailbox, pool)
    answers: list[int] = []
    loop.call_soon(lambda: pool.submit(lambda: answers.append(door.ask(lambda: 7))))
    loop.run_once(0)
    while not answers:
        loop.run_once(0)
    assert answers == [7]
    assert pool.close(60) == 0


class FewThreads:
    """The system: it has as many threads as a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
        self.left_count = 0
        self.refused_count = 0
        system = self
        real = pool_module.Thread

        class Limited(real):  # type: ignore[valid-type,misc]
            def start(self) -> None:
                if not system.left_count:
                    system.refused_count += 1
                    raise error
                system.left_count -= 1
                super().start()

        monkeypatch.setattr(pool_module, "Thread", Limited)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=repr)
def test_a_thread_that_did_not_start_is_not_counted_and_its_job_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    clock = Clock()
    system = FewThreads(monkeypatch, error)
    said: list[tuple[str, BaseException]] = []
    pool = pool_of(clock, 2, on_failed_start=lambda *what: said.append(what))
    ran: list[int] = []
    done = Event()
    for number in range(3):
        pool.submit(lambda number=number: ran.append(number))  # type: ignore[misc]
    pool.submit(done.set)
    for _ in range(10):  # more failures than the cap: each was one thread less, for ever
        clock.pass_by(0.2)
    assert pool.waiting_count() == 4
    assert system.refused_count == 11
    assert {(option, type(given)) for option, given in said} == {("threads", type(error))}
    system.left_count = 1
    clock.pass_by(0.2)
    assert done.wait(60)
    assert ran == [0, 1, 2]
    monkeypatch.undo()
    assert pool.close(60) == 0


def test_where_threads_fail_the_system_is_asked_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    system = FewThreads(monkeypatch, RuntimeError("can't start new thread"))
    pool = pool_of(clock, 2, on_failed_start=lambda *what: None)
    pool.submit(lambda: None)
    for _ in range(99):
        clock.pass_by(0.001)
    assert system.refused_count == 1
    clock.pass_by(0.01)
    assert system.refused_count == 2


def test_a_slot_lent_while_threads_fail_is_taken_by_one_later(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    system = FewThreads(monkeypatch, RuntimeError("can't start new thread"))
    system.left_count = 1
    pool = pool_of(clock, 1, on_failed_start=lambda *what: None)
    lends, lent, answered = Event(), Event(), Event()

    def waits() -> None:
        assert lends.wait(60)
        assert pool.lend()
        lent.set()
        assert answered.wait(60)
        pool.reclaim()

    pool.submit(waits)
    pool.submit(answered.set)
    lends.set()
    assert lent.wait(60)
    assert system.refused_count == 1
    system.left_count = 1
    clock.pass_by(0.2)
    assert answered.wait(60)
    monkeypatch.undo()
    assert pool.close(60) == 0


def test_above_their_cap_waiting_handlers_keep_their_threads() -> None:
    """As clients do that never answer a `call`: threads are bounded, and nothing stands still for good."""
    clock = Clock()
    spent: list[str] = []
    lending = Lending(3, lambda: spent.append("said"), lambda: clock.now)
    pool = pool_of(clock, 2, lending=lending)
    answered = Event()
    ended: list[int] = []
    waiting = [Event() for _ in range(9)]

    def calls(number: int) -> None:
        with blocking(lends=True):
            waiting[number].set()
            assert answered.wait(60)
        ended.append(number)

    for number in range(9):
        pool.submit(lambda number=number: calls(number))  # type: ignore[misc]
    for number in range(5):  # three beside the pool's two
        while not waiting[number].wait(0.01):
            clock.pass_by(0.01)
    for _ in range(50):
        clock.pass_by(0.06)
    assert pool.waiting_count() == 4
    assert [event.is_set() for event in waiting[5:]] == [False] * 4
    assert spent == ["said"]
    answered.set()
    while len(ended) < 9:
        pass
    assert pool.close(60) == 0
    for _ in range(3):  # every place has come back
        assert lending.take()
    assert not lending.take()


def test_that_no_more_are_lent_is_said_now_and_then() -> None:
    clock = Clock()
    spent: list[float] = []
    lending = Lending(0, lambda: spent.append(clock.now), lambda: clock.now)
    for _ in range(30):
        assert not lending.take()
        clock.now += 1.0
    assert spent == [1000.0, 1010.0, 1020.0]


def test_threads_that_slept_are_woken_up_to_the_cap_alone() -> None:
    """There are more of them than the cap once slots were lent."""
    clock = Clock()
    pool = pool_of(clock, 1)
    began, answered, go = [Event(), Event()], Event(), Event()

    def lends(number: int) -> None:
        with blocking(lends=True):
            began[number].set()
            assert answered.wait(60)

    pool.submit(lambda: lends(0))
    assert began[0].wait(60)
    pool.submit(lambda: lends(1))
    assert began[1].wait(60)
    answered.set()
    while len(pool._idle) < 2:
        pass
    running = [Event(), Event()]
    for event in running:
        pool.submit(lambda event=event: (event.set(), go.wait(60)))  # type: ignore[misc]
    assert running[0].wait(60)
    for _ in range(20):
        clock.pass_by(0.06)
    assert not running[1].is_set()
    go.set()
    assert running[1].wait(60)
    assert pool.close(60) == 0


def test_a_thread_that_dies_of_its_report_is_not_counted() -> None:
    clock = Clock()

    def report(what: str, error: BaseException) -> None:
        raise MemoryError

    pool = pool_of(clock, 1, report=report)
    done = Event()

    def fails() -> None:
        raise ValueError

    for _ in range(3):
        pool.submit(fails)
    pool.submit(done.set)
    while not done.wait(0.01):
        clock.pass_by(0.06)
    assert pool.close(60) == 0
