"""Workers that wait for a target which is behind (net/backpressure.py), and those that must not.

It must not know what is sent. Real threads; a test goes on when it has seen that they wait.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from time import monotonic
from typing import Any

import pytest

from python_server.net.backpressure import Backpressure
from python_server.net.threads import WORKER, Door, InlineExecutor, Mailbox

PATIENCE_SECONDS = 60.0


class Pool:
    """As much of one as a thread that waits asks for."""

    def end_wait(self) -> None: ...


POOL = Pool()


class Bench:
    """A loop that is this thread, a target, and workers that send to it."""

    def __init__(self, mailbox_max_bytes: int = 1 << 20) -> None:
        self.mailbox = Mailbox(lambda: None, mailbox_max_bytes)
        self.door = Door(self.mailbox, InlineExecutor())
        self.backpressure = Backpressure({POOL: 1}, monotonic)
        self.behind = True
        self.asked = Event()
        self.got: list[str] = []

    def ask(self) -> bool:
        self.asked.set()
        return self.behind

    def post(self, what: str, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        self.backpressure.post(self.door, self, self.ask, timeout_seconds, (self.got.append, what), len(what))

    def drain(self) -> list[str]:
        self.mailbox.drain(lambda what, error: pytest.fail(f"{what}: {error}"))
        return self.got

    def until_waiting(self, count: int = 1) -> None:
        while True:
            self.asked.wait(PATIENCE_SECONDS)
            self.asked.clear()
            with self.backpressure._lock:
                if len(self.backpressure._waiters.get(self, ())) == count:
                    return

    def catch_up(self) -> None:
        self.behind = False
        self.backpressure.release(self)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@contextmanager
def workers(**marks: Any) -> Iterator[Callable[..., "Future[None]"]]:
    """Threads that carry these marks of a worker."""

    def mark() -> None:
        for name, value in marks.items():
            setattr(WORKER, name, value)

    with ThreadPoolExecutor(3, initializer=mark) as executor:
        yield executor.submit


def test_a_worker_waits_until_the_target_has_caught_up(bench: Bench) -> None:
    with workers() as run:
        done = [run(bench.post, "a"), run(bench.post, "b")]
        bench.until_waiting(2)
        assert bench.drain() == []
        bench.catch_up()
        for future in done:
            future.result(PATIENCE_SECONDS)
    assert sorted(bench.drain()) == ["a", "b"]
    assert bench.backpressure._waiters == {}


def test_a_word_without_a_cause_does_not_let_it_go(bench: Bench) -> None:
    """Caught up for a moment, and behind again before the worker ran."""
    with workers() as run:
        done = run(bench.post, "a")
        bench.until_waiting()
        bench.backpressure.release(bench)
        bench.until_waiting()
        assert bench.drain() == []
        bench.catch_up()
        done.result(PATIENCE_SECONDS)
    assert bench.drain() == ["a"]


def test_when_the_time_is_over_it_posts_all_the_same(bench: Bench) -> None:
    with workers() as run:
        run(bench.post, "a", 0.0).result(PATIENCE_SECONDS)
        run(bench.post, "b", 0.001).result(PATIENCE_SECONDS)
    assert bench.drain() == ["a", "b"]
    assert bench.backpressure._waiters == {}


def test_a_pool_that_serves_everybody_has_few_places_and_gets_them_back(bench: Bench) -> None:
    with workers(pool=POOL) as run:
        for round in range(2):
            waits = run(bench.post, f"waits {round}")
            bench.until_waiting()
            run(bench.post, f"finds no place {round}").result(PATIENCE_SECONDS)
            assert bench.drain()[-1] == f"finds no place {round}"
            bench.catch_up()
            waits.result(PATIENCE_SECONDS)
            assert bench.drain()[-1] == f"waits {round}"
            bench.behind = True
        run(bench.post, "late", 0.001).result(PATIENCE_SECONDS)
    assert bench.backpressure._places_counts == {POOL: 1}


def test_the_thread_of_the_coroutines_never_waits(bench: Bench) -> None:
    with workers(coroutines=True) as run:
        run(bench.post, "a").result(PATIENCE_SECONDS)
    assert bench.drain() == ["a"]


def test_who_waited_for_the_loop_looks_at_the_target_again() -> None:
    """Many that saw a target which was not behind yet must not all go on once it is."""
    bench = Bench(mailbox_max_bytes=0)
    bench.behind = False
    with workers() as run:
        run(bench.post, "first").result(PATIENCE_SECONDS)  # the mailbox is full
        done = run(bench.post, "second")
        with bench.mailbox._bytes_lock:  # whether it waits for the loop already or not, what it sees is this
            bench.behind = True
        assert bench.drain() == ["first"]
        bench.until_waiting()
        assert bench.drain() == ["first"]
        bench.catch_up()
        done.result(PATIENCE_SECONDS)
    assert bench.drain() == ["first", "second"]
