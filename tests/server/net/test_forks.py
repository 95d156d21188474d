"""What a forked child of a server gives back, and how it ends (net/forks.py).

It must not know servers; the children are real ones.
"""

import asyncio
import gc
import os
import stat
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from python_server.net.coroutines import AsyncRunner
from python_server.net.listener import Listener
from python_server.net.loop import Loop
from python_server.net.poller import SelectorPoller
from python_server.net.pool import Lending, Pool
from python_server.net.sockets import Socket
from python_server.net.system import REAL
from python_server.net.threads import Door, blocking, fail

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
PATIENCE_SECONDS = 60.0


def report(what: str, error: BaseException) -> None:
    fail(error)


def exit_code(child: int) -> int:
    """Of a child that ends by itself."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("the child lives on")
        time.sleep(0.01)


def held_elsewhere(lock: Any, function: Callable[[], int]) -> int:
    """`function()` while another thread holds a lock, as one may at any moment."""
    taken, done = Event(), Event()

    def hold() -> None:
        with lock:
            taken.set()
            done.wait()

    Thread(target=hold).start()
    taken.wait()
    child = function()
    if child:
        done.set()
    return child


@pytest.mark.parametrize("which", ["strands", "pool", "lending"])
def test_a_child_that_comes_back_waits_for_no_lock_of_its_parents(which: str) -> None:
    loop = Loop(report)
    lending = Lending(5, lambda: None, REAL.monotonic)
    pool = Pool("events", 2, loop, report, fail, fail, lending, REAL)  # type: ignore[arg-type]
    door = Door(loop.mailbox, pool)
    lock = {"strands": door._strand_lock, "pool": pool._lock, "lending": lending._lock}[which]
    children: list[int] = []

    def handler() -> None:
        child = held_elsewhere(lock, os.fork)
        if child:
            children.append(child)
            door.post(loop.stop)
        else:
            with blocking(lends=True):  # as `socketio.sleep` does
                pass

    door.strand().submit(handler)
    loop.run()
    pool.close(PATIENCE_SECONDS)
    loop.close()
    assert exit_code(children[0]) == 1


def test_a_child_of_a_coroutine_that_comes_back_ends_and_the_others_go_on() -> None:
    async def forks() -> int:
        return os.fork()

    async def answer() -> str:
        await asyncio.sleep(0)
        return "answer"

    runner = AsyncRunner()
    child = runner.run(forks())
    assert exit_code(child) == 1
    assert [runner.run(answer()) for _ in range(20)] == ["answer"] * 20
    runner.close()


def test_what_failed_before_it_served_is_dropped() -> None:
    def make() -> list[weakref.ref[Any]]:
        loop = Loop(report)
        pool = Pool("events", 2, loop, report, fail, fail, Lending(1, lambda: None, REAL.monotonic), REAL)  # type: ignore[arg-type]
        return [weakref.ref(each) for each in (loop, pool, Door(loop.mailbox, pool))]

    made = make()
    gc.collect()
    assert [each() for each in made] == [None, None, None]


def test_a_child_keeps_the_files_whose_numbers_were_a_sockets(tmp_path: Path) -> None:
    loop = Loop(report)
    sock = Socket()
    Listener(loop, sock, fail, fail, 1)  # type: ignore[arg-type]
    number = sock.fileno()
    sock.close()  # by who made it; the loop was never run
    opened = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    if opened != number:  # somebody, or the collector, has freed a lower one
        os.dup2(opened, number)
        os.close(opened)
    with open(number, "wb", buffering=0) as file:
        child = os.fork()
        if not child:
            file.write(b"from the child")
            os._exit(0)
        assert exit_code(child) == 0
    assert (tmp_path / "file").read_bytes() == b"from the child"
    loop.close()


def test_a_child_gives_back_the_rest_where_it_inherits_no_poller() -> None:
    """A kqueue: its number is nobody's in the child, so that closing it fails."""
    parent = os.getpid()

    class Kqueue(SelectorPoller):
        def __init__(self) -> None:
            super().__init__()
            close = self.close
            self.close = lambda: close() if os.getpid() == parent else os.close(-1)

    loop = Loop(report, system=replace(REAL, poller=Kqueue))
    receiver = loop._wake_up.receiver
    child = os.fork()
    if child == 0:
        os._exit(stat.S_ISFIFO(os.fstat(receiver).st_mode))
    assert exit_code(child) == 0
    loop.close()
