"""A pool's growth and its complaint, a turn's jobs handed out together, the loop giving way (net/pool.py).

It must not know what jobs are for; time is an argument of the tests, never waited for.
"""

import itertools
from collections.abc import Callable
from threading import Event, get_ident
from typing import Any

import pytest

from python_server.net import pool as pool_module
from python_server.net.loop import Loop
from python_server.net.pool import Pool
from python_server.net.threads import Door


def never(what: str, error: BaseException) -> None:
    raise AssertionError(what) from error


class Clock:
    """The pool's loop: its time moved by hand, each of its turns one submitted job."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        self.cpu = 0.0
        self.hushed_count = 0
        self.later: list[Callable[[], None]] = []
        monkeypatch.setattr(pool_module.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(pool_module.time, "process_time", lambda: self.cpu)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        self.later.append(function)

    def call_at_turn_end(self, function: Callable[[], None]) -> None:
        function()

    def hush(self) -> None:
        self.hushed_count += 1

    def pass_by(self, seconds: float, busy: float = 0.0) -> None:
        self.now += seconds
        self.cpu += seconds * busy
        due, self.later = self.later, []
        for function in due:
            function()


def make_pool(clock: Clock, max_threads: int) -> tuple[Pool, list[tuple[str, float]]]:
    said: list[tuple[str, float]] = []
    return Pool("threads", max_threads, clock, never, lambda *what: said.append(what)), said


def test_a_pool_grows_while_jobs_wait_up_to_its_cap_and_then_names_the_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
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
    go.set()
    monkeypatch.undo()
    assert pool.close(60) == 0


def test_a_computing_pool_does_not_grow_until_a_job_starves(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
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
    monkeypatch.undo()
    assert pool.close(60) == 0


def test_a_lent_slot_is_used_by_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
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
    monkeypatch.undo()
    assert pool.close(60) == 0


def test_a_job_that_raises_is_reported_and_the_thread_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    reported: list[BaseException] = []
    pool = Pool("threads", 1, clock, lambda what, error: reported.append(error), lambda *what: None)
    done = Event()

    def fail() -> None:
        raise SystemExit(3)

    pool.submit(fail)
    pool.submit(done.set)
    assert done.wait(60)
    assert [type(error) for error in reported] == [SystemExit]
    monkeypatch.undo()
    assert pool.close(60) == 0


@pytest.fixture
def loop() -> Any:
    made = Loop(never)
    yield made
    made.close()


def test_a_turns_jobs_are_handed_out_together_at_its_end(loop: Loop) -> None:
    pool = Pool("threads", 4, loop, never, lambda *what: None)
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
    monkeypatch.setattr(pool_module, "GIVE_WAY_SECONDS", 10.0)  # the worker's end ends it, not the clock
    pool = Pool("threads", 1, loop, never, lambda *what: None)
    made: list[int] = []
    for number in range(3):
        loop.call_soon(lambda number=number: pool.submit(lambda: loop.mailbox.post(made.append, number)))  # type: ignore[misc]
    loop.run_once(0)
    loop.run_once(10)
    assert made == [0, 1, 2]
    assert rings == []
    assert pool.close(60) == 0


def test_jobs_that_block_are_seldom_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    pool, _ = make_pool(clock, 1)
    go = Event()
    for _ in range(20):
        pool.submit(lambda: go.wait(60))  # type: ignore[arg-type,return-value]
    assert clock.hushed_count <= 5  # turns 1, 3, 7 and 15; one more if the worker took its job late
    go.set()
    monkeypatch.undo()
    while pool.waiting_count():
        pass
    assert pool.close(60) == 0


def test_a_worker_that_waits_itself_is_not_waited_for(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "GIVE_WAY_SECONDS", 10.0)
    pool = Pool("threads", 1, loop, never, lambda *what: None)
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
    pool = Pool("threads", 1, loop, never, lambda *what: None)
    door = Door(loop.mailbox, pool)
    answers: list[int] = []
    loop.call_soon(lambda: pool.submit(lambda: answers.append(door.ask(lambda: 7))))
    loop.run_once(0)
    while not answers:
        loop.run_once(0)
    assert answers == [7]
    assert pool.close(60) == 0
