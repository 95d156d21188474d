"""A machine in one process: told time, told chance, pollers that never wait, threads that run one at a time.

It must not know what its workers serve or who their clients are; it reads no clock, and nothing sleeps.
"""

from __future__ import annotations

import os
import random
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from python_server.net.loop import Loop
from python_server.net.poller import READABLE, WRITABLE
from python_server.net.pool import PoolFigures
from python_server.net.system import System
from python_server.net.threads import WORKER, Door, Job, Waiter
from python_server.observe import log
from python_server.serve.mounts import Site
from python_server.serve.wiring import Given, Pools
from python_server.serve.worker import Worker
from python_server.settings import Settings

BEGAN_SECONDS = 5_000.0
WALL_SECONDS = 1_796_000_000.0
GUARD_SECONDS = 120.0  # of a thread that neither ends its job nor waits


class Stuck(AssertionError):
    """What should have happened cannot happen any more, or not in the time it was given."""


class ToldPoller:
    """A loop's own. What the system says is ready is told in an order of chance, unless it is held back."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._poll = select.poll()
        self.watched: dict[int, int] = {}

    def register(self, descriptor: int, events: int) -> None:
        self.watched[descriptor] = events & (READABLE | WRITABLE)
        self._poll.register(descriptor, self.watched[descriptor])

    def modify(self, descriptor: int, events: int) -> None:
        self.unregister(descriptor)
        self.register(descriptor, events)

    def unregister(self, descriptor: int) -> None:
        del self.watched[descriptor]
        self._poll.unregister(descriptor)

    def ready(self) -> list[tuple[int, int]]:
        """(descriptor, events), as epoll would tell them now, without those that are held back."""
        machine, found = self._machine, []
        for descriptor, mask in self._poll.poll(0):
            wanted = self.watched[descriptor]
            # Descriptor by descriptor as epoll's bits: news that is neither (end, error) is told as it is.
            events = mask & wanted or mask & ~(READABLE | WRITABLE)
            if events and not machine.is_held(descriptor):
                found.append((descriptor, events))
        return found

    def poll(self, timeout_seconds: float) -> list[tuple[int, int]]:
        found = self.ready()
        self._machine.random.shuffle(found)
        return found

    def close(self) -> None: ...


class Runner:
    """A thread of a pool that runs only while the machine waits for it. It is the turn of its thread."""

    def __init__(self, pool: ToldPool) -> None:
        self._pool = pool
        self._job: Job | None = None
        self._granted = threading.Semaphore(0)
        self._returned = threading.Semaphore(0)
        self.waking = False  # what it waited for has come; it waits for its turn
        self.awaited: Waiter[Any] | None = None  # what brings that
        self._thread = threading.Thread(target=self._work, name=pool.name, daemon=True)
        self._thread.start()

    def run(self, job: Job | None = None) -> None:
        """The machine: let it begin a job, or go on with its own, until it ends or waits."""
        if job is not None:
            self._job = job
        self.waking = False
        self._granted.release()
        if not self._returned.acquire(timeout=GUARD_SECONDS):
            raise Stuck(f"a thread of {self._pool.name} neither ends nor waits: {self._job}")

    def leave(self) -> None:
        """Its thread: it waits for something from here on."""
        self._pool.away.append(self)
        self._returned.release()

    def join(self) -> None:
        """Its thread: that has come."""
        self.waking = True
        self._granted.acquire()
        self._pool.away.remove(self)

    def end(self) -> None:
        self._job = None
        self._granted.release()
        self._thread.join(GUARD_SECONDS)

    def _work(self) -> None:
        WORKER.pool, WORKER.turn = self._pool, self
        while True:
            self._granted.acquire()
            if self._job is None:
                return
            try:
                self._job()
            except BaseException as error:
                log.report(f"job of pool {self._pool.name}", error)
            self._job = None  # with what it holds
            self._pool.idle.append(self)
            self._returned.release()


_wait = Waiter.wait


def told_wait(waiter: Waiter[Any], timeout_seconds: float | None, *, lends: bool = False) -> Any:
    """As `Waiter.wait`, whoever answers: a runner's thread says first what it waits for."""
    runner = WORKER.turn
    if not isinstance(runner, Runner):
        return _wait(waiter, timeout_seconds, lends=lends)
    runner.awaited = waiter
    try:
        return _wait(waiter, timeout_seconds, lends=lends)
    finally:
        runner.awaited = None


Waiter.wait = told_wait  # type: ignore[method-assign]


class ToldPool:
    """Stands for `net/pool.py`'s: its jobs are run when the machine says so, one at a time."""

    def __init__(self, name: str, loop: Loop) -> None:
        self.name = name
        self.loop = loop
        self.jobs: deque[Job] = deque()
        self.idle: list[Runner] = []
        self.away: list[Runner] = []  # they wait inside a job

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    resubmit = submit

    def lend(self) -> bool:
        return True

    def reclaim(self) -> None: ...

    def end_wait(self) -> None: ...

    def waiting_count(self) -> int:
        return len(self.jobs)

    def figures(self) -> PoolFigures:
        return PoolFigures(len(self.idle) + len(self.away), len(self.away), len(self.jobs), 0.0)

    def can_run(self) -> bool:
        """A job waits, or a thread that waited may go on."""
        return bool(self.jobs) or any(runner.waking for runner in self.away)

    def run_next(self) -> None:
        """One job, until it ends or waits."""
        woken = next((runner for runner in self.away if runner.waking), None)
        if woken is not None:
            woken.run()
        elif self.jobs:
            runner = self.idle.pop() if self.idle else Runner(self)
            runner.run(self.jobs.popleft())

    def close(self, timeout_seconds: float) -> int:
        self.jobs.clear()
        for runner in self.idle:
            runner.end()
        self.idle.clear()
        return len(self.away)


class Machine:
    """Workers, or loops alone, that share a clock and chance; one step of one of them at a time.

    Args:
        seed: of all chance: the order of what is ready, who takes the next step, session ids.

    Attributes:
        now: seconds by everybody's clock. random: for the caller too.
        held: until when a descriptor's readiness is not told. server_ends: the worker's descriptor of a
            client's end.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now = BEGAN_SECONDS
        self.held: dict[int, float] = {}
        self.server_ends: dict[socket.socket, int] = {}
        self.loops: list[Loop] = []
        self.pools: list[ToldPool] = []
        self.system = System(
            monotonic=lambda: self.now,
            wall=lambda: WALL_SECONDS + self.now - BEGAN_SECONDS,
            cpu=lambda: 0.0,
            poller=lambda: ToldPoller(self),
            entropy=self.random.randbytes,
        )

    def make_pools(self, given: Given, loop: Loop) -> Pools:
        requests, events, websockets = (
            ToldPool(name, loop) for name in ("threads", "event-threads", "websocket-threads")
        )
        self.pools += [requests, events, websockets]
        # They have what is asked of a pool; none of the real one's threads, locks and waits.
        return Pools(requests, events, websockets, Door(loop.mailbox, events))  # type: ignore[arg-type]

    def worker(self, site: Site, settings: Settings, **more: Any) -> Worker:
        """One that has begun to accept; it takes its steps in `step`."""
        listening = more.pop("listening", [])
        worker = Worker(site, settings, listening, system=self.system, make_pools=self.make_pools, **more)
        worker.begin()
        self.loops.append(worker.loop)
        return worker

    def loop(self) -> Loop:
        """One without a worker; this thread's."""
        loop = Loop(log.report, system=self.system)
        loop.mailbox.adopt()
        self.loops.append(loop)
        return loop

    def end(self, worker: Worker) -> None:
        """As its process ends: everything is closed, its threads have ended."""
        self.loops.remove(worker.loop)
        pools = [pool for pool in self.pools if pool.loop is worker.loop]
        self.pools = [pool for pool in self.pools if pool.loop is not worker.loop]
        worker.close()
        for pool in pools:  # who waited for the loop has been told that it is gone
            for runner in [*pool.away]:
                while not runner.waking:
                    os.sched_yield()
                runner.run()
            pool.close(0.0)

    def kill(self, worker: Worker) -> None:
        """Its process is gone at once: nobody hears a word of it, each of its sockets has ended."""
        gone, peer = socket.socketpair()
        peer.close()
        for each in worker.loop.sockets:
            self.held.pop(each.fileno(), None)
            os.dup2(gone.fileno(), each.fileno(), inheritable=False)
        gone.close()
        self.end(worker)

    def connect(self, worker: Worker, peer: tuple[str, int] = ("192.0.2.1", 1)) -> socket.socket:
        """A client's end, non-blocking, of a connection that the worker has just accepted."""
        ours, client = socket.socketpair()
        ours.setblocking(False)
        client.setblocking(False)
        self.held.pop(ours.fileno(), None)
        self.server_ends[client] = ours.fileno()
        worker._acceptor._accepted(ours, peer)
        return client

    def hold(self, client: socket.socket, seconds: float) -> None:
        """What happens on a connection is not told to the worker before that."""
        self.held[self.server_ends[client]] = self.now + seconds

    # Time

    def is_held(self, descriptor: int) -> bool:
        return self.held.get(descriptor, self.now) > self.now

    def step(self) -> bool:
        """A turn of one loop, or a job of one pool, that has something to do; False when nobody has."""
        self._settle()
        choices: list[Callable[[], None]] = [pool.run_next for pool in self.pools if pool.can_run()]
        choices += [loop.run_once for loop in self.loops if self._has_work(loop)]
        if not choices:
            return False
        self.random.choice(choices)()
        return True

    def step_all(self, pools: Sequence[ToldPool]) -> int:
        """One step of each of these pools and of each loop that has something to do, in an order of chance.

        For very many of which few can do something: who they may be the caller knows.
        """
        ready: list[ToldPool | Loop] = [pool for pool in pools if pool.can_run()]
        ready += [loop for loop in self.loops if self._has_work(loop)]
        self.random.shuffle(ready)
        for each in ready:
            if isinstance(each, Loop):
                each.run_once()
            elif each.can_run():  # what another has done meanwhile may be what it waited for
                each.run_next()
        return len(ready)

    def _settle(self) -> None:
        """Threads that have got their answer have noticed it, all of them."""
        for pool in self.pools:
            for runner in pool.away:
                if runner.awaited is not None and runner.awaited._event.is_set():
                    while not runner.waking:
                        os.sched_yield()

    def _has_work(self, loop: Loop) -> bool:
        poller = loop._poller
        assert isinstance(poller, ToldPoller)
        return bool(
            loop._more or loop._dirty or loop.mailbox.raised or loop._next_due <= self.now or poller.ready()
        )

    def pass_time(self, at_most_seconds: float) -> bool:
        """To the next moment at which somebody wants to act; False when that is further away, and then it is
        now `at_most_seconds` later."""
        moments = [loop._next_due for loop in self.loops]
        moments += [moment for moment in self.held.values() if moment > self.now]
        end = self.now + at_most_seconds
        self.now = min([end, *moments])
        return self.now < end

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """So long, or until `until()`.

        Raises:
            Stuck: the time is over and `until()` is still false.
        """
        end = self.now + seconds
        while until is None or not until():
            if self.step():
                continue
            if self.now >= end:
                if until is None:
                    return
                raise Stuck(f"seed {self.seed}: waited in vain for {seconds} s")
            self.pass_time(end - self.now)
