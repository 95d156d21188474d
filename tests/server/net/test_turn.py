"""Turns: one thread at a time, handed on in order, given back in waits, taken over from who waits elsewhere.

It must not know which programs need them.
"""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from python_server.net import tasks
from python_server.net.system import count_sleeps, is_runnable, thread_cpu
from python_server.net.threads import WORKER, Waiter, blocking, end_turn, native_id_of, wait_on
from python_server.net.turn import LOOK_SECONDS, PROGRAM, Turn, run_in_turn

PATIENCE_SECONDS = 60


@pytest.fixture
def lost() -> list[int]:
    return []


@pytest.fixture
def turn(lost: list[int]) -> Iterator[Turn]:
    """That of the program, until the test ends."""
    PROGRAM.turn = Turn(lost.append)
    yield PROGRAM.turn
    WORKER.turn = PROGRAM.turn = None


def test_one_at_a_time(turn: Turn) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        sum(range(50_000))
        inside -= 1

    threads = [threading.Thread(target=run_in_turn, args=(work,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert (inside, most) == (0, 1)


def test_without_a_turn_nothing_stands_between() -> None:
    seen: list[object] = []
    run_in_turn(lambda: seen.append(getattr(WORKER, "turn", None)))
    assert seen == [None]


def test_the_first_that_asks_is_the_first_that_comes(turn: Turn) -> None:
    order: list[int] = []
    threads = []
    with turn.held():
        for number in range(5):
            thread = threading.Thread(target=run_in_turn, args=(lambda n=number: order.append(n),))
            thread.start()
            while len(turn._waiting) <= number:
                threading.Event().wait(0.001)
            threads.append(thread)
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert order == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("wait", ["blocking", "waiter", "sleep", "wait_on"])
def test_a_wait_gives_it_back_and_takes_it_again(turn: Turn, wait: str) -> None:
    came: Waiter[str] = Waiter()
    condition = threading.Condition()

    def other() -> None:
        came.set("the other ran")
        with condition:
            condition.notify_all()

    with turn.held():
        thread = threading.Thread(target=run_in_turn, args=(other,))
        if wait == "wait_on":
            with condition:
                thread.start()
                assert wait_on(condition, PATIENCE_SECONDS)
        else:
            thread.start()
        if wait == "blocking":
            with blocking():
                thread.join(PATIENCE_SECONDS)
        elif wait == "sleep":
            while came._event.is_set() is False:
                tasks.sleep(0.001)
        assert came.wait(PATIENCE_SECONDS) == "the other ran"
        assert WORKER.turn is turn
        assert turn._holder == threading.get_ident()
    assert turn._holder is None
    thread.join(PATIENCE_SECONDS)


def test_within_a_turn_there_is_no_second_one(turn: Turn) -> None:
    with turn.held(), turn.held():
        assert WORKER.turn is turn


def test_the_loops_thread_takes_no_part(turn: Turn) -> None:
    turn.join()
    end_turn()
    assert turn._holder is None
    assert WORKER.turn is None
    end_turn()  # nothing to give back


def test_who_waits_elsewhere_loses_it(turn: Turn, lost: list[int]) -> None:
    """What it waits for comes from a thread that needs the turn."""
    came = threading.Event()
    with turn.held():
        thread = threading.Thread(target=run_in_turn, args=(came.set,))
        thread.start()
        assert came.wait(PATIENCE_SECONDS)  # a wait that tells nobody
        thread.join(PATIENCE_SECONDS)
        assert lost == [threading.get_ident()]
        with blocking():
            pass
        assert turn._holder == threading.get_ident()  # from the next wait on it takes part again
    assert turn._holder is None


def test_who_computes_keeps_it(lost: list[int]) -> None:
    now, cpu, runnable, sleeps_count = 0.0, 0.0, False, 0
    turn = Turn(
        lost.append, lambda: now, lambda thread_id: cpu, lambda number: runnable, lambda number: sleeps_count
    )
    turn.take()
    bell = threading.Lock()
    bell.acquire()
    turn._waiting += [(1, bell), (2, threading.Lock())]
    now, cpu = 1.0, 0.9
    turn._take_over(bell)
    now, cpu = 1.0 + LOOK_SECONDS / 2, 0.9
    turn._take_over(bell)  # it was looked at anew just now
    now, runnable = 2.0, True  # others have the processors
    turn._take_over(bell)
    now, cpu, runnable, sleeps_count = 3.0, 0.905, False, 5
    turn._take_over(bell)  # it seems to wait, for the first time
    now, sleeps_count = 4.0, 7  # it has asked for the interpreter meanwhile
    turn._take_over(bell)
    now, cpu = 5.0, 1.9
    turn._take_over(bell)
    now = 6.0
    turn._take_over(bell)
    assert lost == []
    now = 7.0
    turn._take_over(turn._waiting[1][1])  # the second looks at nothing
    assert lost == []
    turn._take_over(bell)
    assert lost == [threading.get_ident()]
    assert turn._holder == 1
    assert not bell.locked()
    turn._take_over(bell)
    assert len(lost) == 1
    turn.give_back()  # it has nothing to give any more


def test_a_thread_that_computes_is_told_from_one_that_waits() -> None:
    me = threading.get_ident()
    before = thread_cpu(me)
    sum(range(2_000_000))
    computed = thread_cpu(me) - before
    assert is_runnable(native_id_of(me)) is Path("/proc/self/task").exists()
    assert not is_runnable(None)
    assert count_sleeps(None) == 0
    slept_count = count_sleeps(native_id_of(me))
    before = thread_cpu(me)
    threading.Event().wait(0.05)
    assert thread_cpu(me) - before < computed
    assert (count_sleeps(native_id_of(me)) > slept_count) is Path("/proc/self/task").exists()


def test_a_background_task_takes_part(turn: Turn) -> None:
    seen: list[object] = []
    task = tasks.BackgroundTask(lambda: seen.append(WORKER.turn), (), {}, lambda what, error: None)
    task.start()
    task.join(PATIENCE_SECONDS)
    assert seen == [turn]
