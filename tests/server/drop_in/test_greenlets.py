"""Greenlets as threads: started, waited for, linked, killed; many of them in pools.

It must not know which package's program uses them.
"""

import threading
from collections.abc import Iterator

import pytest

from python_server.drop_in import greenlets, importing
from python_server.drop_in.events import AsyncResult, Flag
from python_server.drop_in.greenlets import (
    RUNNING,
    Greenlet,
    GreenletExit,
    GreenletPool,
    GreenPile,
    GreenPool,
    ThreadPool,
    iwait,
    joinall,
    kill,
    killall,
    spawn,
    spawn_later,
    wait,
)
from python_server.drop_in.waiting import Timeout, current, sleep
from python_server.net.turn import PROGRAM, Turn

FOREVER = 3600.0
PATIENCE_SECONDS = 60


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    yield
    killall(RUNNING)
    assert not RUNNING


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(greenlets.log, "report", lambda what, error: lines.append(f"{what}: {error!r}"))
    monkeypatch.setattr(importing.log, "warn", lines.append)
    importing._warn.cache_clear()
    return lines


def test_a_greenlet_has_a_value() -> None:
    greenlet = spawn(lambda a, b: a + b, 1, b=2)
    assert greenlet.get() == greenlet.wait() == greenlet.value == 3
    assert greenlet.successful()
    assert greenlet.ready()
    assert greenlet.dead
    assert not greenlet


def test_its_fault_is_logged_and_raised_where_it_is_waited_for(reported: list[str]) -> None:
    def failing() -> None:
        raise LookupError("x")

    greenlet = spawn(failing)
    greenlet.join()
    assert not greenlet.successful()
    assert reported == ["greenlet failing: LookupError('x')"]
    with pytest.raises(LookupError):
        greenlet.get()
    with pytest.raises(LookupError):
        joinall([greenlet], raise_error=True)
    quiet = spawn(lambda: exit())
    quiet.join()
    assert isinstance(quiet.exception, SystemExit)
    assert len(reported) == 1


def test_subclasses_of_both_kinds() -> None:
    class Own(Greenlet):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def _run(self) -> int:
            assert current() is self
            return self.number

    own = Own(7)
    assert not own.started
    own.start()
    own.start()  # once
    assert own.get() == 7
    assert Own.spawn(8).get() == 8


def test_links_are_called_at_the_end(reported: list[str]) -> None:
    def fail() -> None:
        raise LookupError

    heard: list[object] = []
    good, bad = Greenlet(int, 7), Greenlet(fail)
    good.link(lambda greenlet, *words: heard.append((greenlet.value, *words)), "extra")
    for greenlet in (good, bad):
        greenlet.link(lambda greenlet: heard.append("good" if greenlet.successful() else "bad"))
        greenlet.start()
        greenlet.join()
    result = AsyncResult()
    good.link(result)
    assert result.get() == 7
    assert heard == [(7, "extra"), "good", "bad"]


def test_a_kill_ends_a_wait() -> None:
    began = Flag()

    def waits() -> None:
        began.set()
        sleep(FOREVER)

    greenlet = spawn(waits)
    began.wait()
    while greenlet.waits_on is None:
        sleep(0)
    greenlet.kill()
    assert greenlet.ready()
    assert isinstance(greenlet.get(), GreenletExit)  # gevent's way
    with pytest.raises(GreenletExit):
        greenlet.wait()  # eventlet's
    greenlet.kill()  # it is dead


def test_a_kill_before_the_start_keeps_it_from_running() -> None:
    ran: list[int] = []
    late = spawn_later(FOREVER, ran.append, 1)
    never = Greenlet(ran.append, 1)
    never.kill()
    never.start()
    while late.waits_on is None:
        sleep(0)
    kill(late)
    joinall([late, never])
    assert ran == []


def test_a_kill_with_an_error_of_ones_own(reported: list[str]) -> None:
    greenlet = spawn(sleep, FOREVER)
    while greenlet.waits_on is None:
        sleep(0)
    greenlet.kill(LookupError("mine"))
    with pytest.raises(LookupError, match="mine"):
        greenlet.get()


def test_who_waits_elsewhere_cannot_be_killed_and_it_is_said(
    reported: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greenlets, "KILL_SECONDS", 0.001)
    elsewhere, began = threading.Event(), Flag()

    def waits() -> None:
        began.set()
        elsewhere.wait(PATIENCE_SECONDS)
        sleep(FOREVER)

    greenlet = spawn(waits)
    began.wait()
    greenlet.kill()
    assert not greenlet.ready()
    assert "kill() cannot interrupt greenlet waits" in reported[0]
    elsewhere.set()
    greenlet.join(PATIENCE_SECONDS)
    assert isinstance(greenlet.value, GreenletExit)


def test_waiting_for_several() -> None:
    flag, slow = Flag(), spawn(sleep, FOREVER)
    quick = spawn(int, 1)
    assert wait([quick, slow], count=1) == [quick]
    assert joinall([quick, slow], timeout=0) == [quick]
    flag.set()
    assert set(wait([flag, quick])) == {flag, quick}
    assert list(iwait([slow], timeout=0)) == []
    with pytest.raises(Timeout):
        slow.get(timeout=0)
    while slow.waits_on is None:
        sleep(0)
    killall([slow])
    assert wait() == []


def test_a_pool_runs_so_many_at_a_time() -> None:
    pool = GreenletPool(2)
    inside, most = 0, 0

    def work(number: int) -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        sleep(0.001)
        inside -= 1
        return number * number

    assert pool.map(work, range(6)) == [0, 1, 4, 9, 16, 25]
    assert sorted(pool.imap_unordered(work, range(4))) == [0, 1, 4, 9]  # type: ignore[type-var]
    assert list(pool.imap(pow, [2, 3], [3, 2])) == [8, 9]
    assert most == 2
    assert pool.join()
    assert (len(pool), pool.free_count(), pool.full(), bool(pool), list(pool)) == (0, 2, False, True, [])


def test_a_pool_kills_its_own() -> None:
    pool = GreenletPool()
    pool.spawn(sleep, FOREVER)
    greenlet = Greenlet(sleep, FOREVER)
    pool.add(greenlet)
    assert greenlet in pool
    assert not pool.join(timeout=0)
    for greenlet in pool:
        while greenlet.waits_on is None:
            sleep(0)
    pool.kill()
    assert pool.join(timeout=PATIENCE_SECONDS)


def test_eventlets_pools() -> None:
    pool = GreenPool(3)
    heard: list[int] = []
    pool.spawn_n(heard.append, 1)
    pool.waitall()
    assert heard == [1]
    assert (pool.running(), pool.free()) == (0, 3)
    assert list(pool.starmap(pow, [(2, 3), (3, 2)])) == [8, 9]


def test_a_pool_calls_as_a_pool_of_processes_does() -> None:
    heard: list[object] = []
    pool = GreenletPool(2)
    assert pool.apply(pow, (2, 3)) == 8
    assert pool.apply(dict, kwds={"one": 1}) == {"one": 1}
    greenlet = pool.apply_async(pow, (2, 4), callback=heard.append)
    assert greenlet.get() == 16
    joinall([greenlet])
    assert heard == [16]


def test_links_for_values_and_for_errors(reported: list[str]) -> None:
    heard: list[str] = []
    for run, name in ((int, "value"), (lambda: 1 / 0, "error")):
        greenlet = Greenlet(run)
        greenlet.link_value(lambda ended, name=name: heard.append(f"{name} is a value"))
        greenlet.link_exception(lambda ended, name=name: heard.append(f"{name} is an error"))
        greenlet.start()
        greenlet.join()
    assert heard == ["value is a value", "error is an error"]


def test_a_pile_gives_results_in_the_order_of_spawning() -> None:
    pile = GreenPile(2)
    flag = Flag()
    pile.spawn(lambda: flag.wait() and "late")
    pile.spawn(lambda: flag.set() or "soon")
    assert next(pile) == "late"
    assert list(pile) == ["soon"]
    assert list(GreenPile(GreenPool(1))) == []


def test_a_pool_of_threads_runs_beside_the_one_that_has_the_turn() -> None:
    PROGRAM.turn = Turn(print, runnable=lambda native_id: True)
    try:
        with PROGRAM.turn.held():
            came = threading.Event()
            greenlet = ThreadPool(1).spawn(came.wait, PATIENCE_SECONDS)
            sleep(0.001)
            came.set()  # by who has the turn, while the other waits as it likes
            assert greenlet.get() is True
    finally:
        PROGRAM.turn = None
