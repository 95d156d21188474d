"""Threads that run jobs: started on demand up to a cap, fed once per turn of the loop.

Must not know: what a job does; every public method says which thread may call it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from python_server.net.forks import call_in_children, free, leave_children_alone
from python_server.net.loop import Loop
from python_server.net.system import System
from python_server.net.threads import WORKER, Job, Lock, Report, Thread
from python_server.net.turn import PROGRAM

# How long a job may wait before a second thread is woken. Under one interpreter lock a pool of pure
# Python handlers is fastest on one thread; only handlers that block gain from more.
GROW_AFTER_SECONDS: Final = 0.001
# Above this share of one core the process computes rather than waits: more threads would only fight.
BUSY_SHARE: Final = 0.75
# Even a busy pool grows when its oldest job has waited this long.
STARVING_SECONDS: Final = 0.05
# A wait for a thread worth a line in the log.
SATURATED_SECONDS: Final = 1.0
IDLE_THREAD_SECONDS: Final = 60.0
# Between two looks at threads that are to end.
CLOSING_SECONDS: Final = 0.005
# The system has no thread for us (memory, a limit of processes): when to ask again.
START_AGAIN_SECONDS: Final = 0.1
# How often it is said that no more threads are lent.
REPEAT_SECONDS: Final = 10.0
# A turn's jobs are handed out together at its end, and then the loop gives way to them. Under one interpreter
# lock it would only take turns with the workers, at each of its system calls; this way a turn's answers leave
# in one burst, and each kind of work finds its code in the caches. A one-line Flask view costs a fifth less.
GIVE_WAY_SECONDS: Final = 0.003
# While jobs are taken it goes on: 6 ms at most, about one switch interval of CPython's own.
GIVE_WAY_MAX_COUNT: Final = 2
# Jobs that block are not worth waiting for: after waits in vain so many turns, at most, go without one.
VAIN_MAX_COUNT: Final = 63


class Lending:
    """The slots of workers that wait in a handler, of all pools together, beside the caps of their pools.

    Above `max_count` one is refused, and any thread calls `on_spent` now and then.
    """

    def __init__(self, max_count: int, on_spent: Callable[[], None], monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._max_count = max_count
        self._on_spent = on_spent
        self._lock = Lock()
        self._count = 0
        self._next_word = float("-inf")

    def take(self) -> bool:
        """Any thread: one more; False at the cap."""
        with self._lock:
            if self._count < self._max_count:
                self._count += 1
                return True
            now = self._monotonic()
            due = now >= self._next_word
            if due:
                self._next_word = now + REPEAT_SECONDS
        if due:
            self._on_spent()
        return False

    def free(self) -> None:
        """In a forked child."""
        free(self._lock)

    def give_back(self) -> None:
        """Any thread: one less."""
        with self._lock:
            self._count -= 1


class PoolFigures(NamedTuple):
    """How much a pool has to do; `wait_seconds`: of its oldest job that no thread has taken."""

    threads_count: int
    running_count: int
    waiting_count: int
    wait_seconds: float


class Pool:
    """Threads that run jobs: none at first, woken and added only while jobs wait, up to a cap.

    A thread is counted once it runs: where the system has none to give, the jobs wait and it is asked again.

    Args:
        name: of its threads, and of the option that sets `max_threads`.
        report: for a job that raised (jobs are expected to catch their own faults).
        on_saturated: called with (name, waited_seconds) when a job waits long and the cap is reached.
        on_failed_start: called with (name, error) when the system has no thread for a job.
        lending: shared by all pools. system: its monotonic clock, and that of the processor's time, are used.
    """

    def __init__(
        self,
        name: str,
        max_threads: int,
        loop: Loop,
        report: Report,
        on_saturated: Callable[[str, float], None],
        on_failed_start: Callable[[str, BaseException], None],
        lending: Lending,
        system: System,
    ) -> None:
        self._monotonic = system.monotonic
        self._cpu = system.cpu
        self.name = name
        self._max_threads = max_threads
        self._loop = loop
        self._report = report
        self._on_saturated = on_saturated
        self._on_failed_start = on_failed_start
        self._lending = lending
        self._lock = Lock()
        self._fresh: list[Job] = []  # of this turn
        self._asked = False  # for the turn's end
        self._jobs: deque[tuple[float, Job]] = deque()
        call_in_children(self._forked)
        self._idle: list[Lock] = []  # each idle thread's lock; the last one to become idle is woken first
        self._threads_count = 0
        self._lent_count = 0
        self._start_error: BaseException | None = None  # of the last start, if it failed
        self._start_again_at = float("-inf")
        self._watching = False
        self._watched_at = 0.0
        self._watched_cpu = 0.0
        self._next_complaint = 0.0
        self._closed = False
        self._awaited = False  # the loop waits for `_dry`, which the next worker without a job releases
        self._dry = Lock()
        self._dry.acquire()
        self._vain_count = self._vain_left_count = 0

    def submit(self, job: Job) -> None:
        """Loop's thread: run `job` on a thread of the pool, from the end of this turn on."""
        self._fresh.append(job)
        if not self._asked:
            self._asked = True
            self._loop.call_at_turn_end(self._hand_out)

    def _hand_out(self) -> None:
        """Loop's thread, at a turn's end: the turn's jobs go to the workers."""
        self._asked = False  # first: should this run out of memory, the next job asks again
        give_way = not self._vain_left_count
        if give_way:
            self._loop.stop_waking()  # before the first of them can run
        with self._lock:
            self._awaited = give_way
            now = self._monotonic()
            self._jobs.extend([(now, job) for job in self._fresh])
            self._fresh.clear()
            if self._running_count() <= 0:
                self._add_worker()
        if give_way:
            self._give_way()
        else:
            self._vain_left_count -= 1
        if self._jobs and not self._watching:
            self._watch()

    def _give_way(self) -> None:
        """Wait until a worker has no more to do, as long as jobs are taken."""
        for _ in range(GIVE_WAY_MAX_COUNT):
            waiting_count = len(self._jobs)
            if self._dry.acquire(timeout=GIVE_WAY_SECONDS):
                self._vain_count //= 2
                return
            if len(self._jobs) >= waiting_count:
                self._vain_count = self._vain_left_count = min(2 * self._vain_count + 1, VAIN_MAX_COUNT)
                break
        with self._lock:
            if self._awaited:
                self._awaited = False
            else:
                self._dry.acquire()  # released between the wait and here

    def _end_wait(self) -> None:
        """Under the lock: the loop need not wait any longer."""
        if self._awaited:
            self._awaited = False
            self._dry.release()

    def end_wait(self) -> None:
        """A worker about to wait for the loop: what it waits for cannot come while the loop gives way."""
        if self._awaited:
            with self._lock:
                self._end_wait()

    def figures(self) -> PoolFigures:
        """Any thread."""
        with self._lock:
            threads_count, running_count = self._threads_count, self._running_count()
        try:
            wait_seconds = max(0.0, self._monotonic() - self._jobs[0][0])
        except IndexError:  # no job, or a worker has just taken the last one
            wait_seconds = 0.0
        return PoolFigures(threads_count, max(0, running_count), self.waiting_count(), wait_seconds)

    def resubmit(self, job: Job) -> None:
        """A worker, from within a job: queue `job`; the caller itself comes back for it."""
        self._jobs.append((self._monotonic(), job))

    def waiting_count(self) -> int:
        """Any thread: jobs that no thread has taken yet."""
        return len(self._jobs) + len(self._fresh)

    def lend(self) -> bool:
        """A worker about to wait: its slot may be used by another thread until `reclaim`. False: too many are
        lent, it keeps its slot, and `reclaim` must not follow."""
        lent = self._lending.take()
        with self._lock:
            self._end_wait()
            if lent:
                self._lent_count += 1
                if self._jobs:
                    self._add_worker()
        return lent

    def reclaim(self) -> None:
        """The same worker, after its wait."""
        self._lending.give_back()
        with self._lock:
            self._lent_count -= 1

    def close(self, timeout_seconds: float) -> int:
        """Loop's thread: end idle threads, let running jobs finish; returns how many are still running."""
        leave_children_alone(self._forked)
        with self._lock:
            self._closed = True
            self._jobs.clear()
            self._fresh.clear()
            for bell in self._idle:
                bell.release()
            self._idle.clear()
        for _ in range(round(timeout_seconds / CLOSING_SECONDS)):  # threads end in their own time
            if not self._threads_count:
                break
            time.sleep(CLOSING_SECONDS)
        return self._threads_count

    def _running_count(self) -> int:
        """Under the lock: threads that neither sleep nor have lent their slot."""
        return self._threads_count - len(self._idle) - self._lent_count

    def _add_worker(self) -> bool:
        """Under the lock: wake a thread that sleeps, or start one; False at the cap or the system's limit."""
        if self._running_count() >= self._max_threads:
            self._start_error = None  # it is not the system that has none
            return False
        if self._idle:
            self._idle.pop().release()
            return True
        now = self._monotonic()
        if now < self._start_again_at:
            return False
        try:
            # Daemon: a handler that never returns must not keep a stopped process alive.
            name = f"{self.name}-{self._threads_count + 1}"
            Thread(target=self._work, name=name, daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            self._start_error = error.with_traceback(None)
            self._start_again_at = now + START_AGAIN_SECONDS
            return False
        self._threads_count += 1
        self._start_error = None
        return True

    def _forked(self) -> None:
        """In a child: jobs are the parent's; the thread that forked ends the child if it comes back here."""
        free(self._lock)
        self._lending.free()
        self._jobs.clear()
        self._jobs.append((0.0, partial(os._exit, 1)))

    def _work(self) -> None:
        """Run jobs until the thread ends; however it ends, it is no longer counted."""
        WORKER.pool = self
        try:
            self._run_jobs()
        except BaseException:  # out of memory between two jobs, or within a report
            with self._lock:
                self._threads_count -= 1
                if self._jobs:
                    self._add_worker()

    def _run_jobs(self) -> None:
        bell = Lock()
        bell.acquire()
        jobs = self._jobs
        turn = PROGRAM.turn
        while True:
            try:
                _, job = jobs.popleft()
            except IndexError:
                with self._lock:
                    if jobs:
                        continue
                    if self._closed:
                        self._threads_count -= 1
                        return
                    self._idle.append(bell)
                    self._end_wait()
                if bell.acquire(timeout=IDLE_THREAD_SECONDS):
                    continue
                with self._lock:
                    if bell in self._idle:  # nobody rang while the wait ran out
                        self._idle.remove(bell)
                        self._threads_count -= 1
                        return
                bell.acquire()
                continue
            try:
                if turn is None:
                    job()
                else:
                    with turn.held():
                        job()
            except BaseException as error:  # SystemExit in a handler must not end a pool thread silently
                self._report(f"job of pool {self.name}", error)
            job = None  # type: ignore[assignment]  # what the job holds must not outlive it in a sleeping thread

    # Growth, looked at by the loop while jobs wait

    def _watch(self) -> None:
        self._watching = True
        self._watched_at = self._monotonic()
        self._watched_cpu = self._cpu()
        self._loop.call_later(GROW_AFTER_SECONDS, self._look)

    def _look(self) -> None:
        """Loop's thread: add threads while jobs wait and the process is not busy computing."""
        with self._lock:
            self._watching = False
            try:
                waiting_since, _ = self._jobs[0]
            except IndexError:  # threads take jobs without the lock
                return
            if self._closed:
                return
            now = self._monotonic()
            waited = now - waiting_since
            elapsed = max(now - self._watched_at, 1e-6)
            busy = (self._cpu() - self._watched_cpu) / elapsed > BUSY_SHARE
            grown = True
            if waited >= GROW_AFTER_SECONDS and (not busy or waited >= STARVING_SECONDS):
                running_count = max(1, self._threads_count - len(self._idle))
                for _ in range(min(len(self._jobs), running_count)):
                    grown = self._add_worker()
                    if not grown:
                        break
            self._watch()
        if grown:
            return
        if self._start_error is not None:
            self._on_failed_start(self.name, self._start_error)
        elif waited >= SATURATED_SECONDS and now >= self._next_complaint:
            self._next_complaint = now + REPEAT_SECONDS
            self._on_saturated(self.name, waited)
