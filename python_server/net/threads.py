"""The door between the loop's thread and the workers: the only file that imports `threading`.

Must not know: what a job does; every public method says which thread may call it.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from functools import partial
from typing import Any, Final, Generic, NoReturn, Protocol, TypeAlias, TypeVar

from python_server.net.forks import call_in_children, free

MAILBOX_BATCH_COUNT: Final = 4096

# For rooms of this folder that hand data between threads.
Condition = threading.Condition
Event = threading.Event
Lock: TypeAlias = threading.Lock
Thread = threading.Thread
ReentrantLock = threading.RLock
ThreadLocal = threading.local
Queue = queue.Queue
QueueEmpty = queue.Empty
current_thread_id: Callable[[], int] = threading.get_ident
living_threads: Callable[[], list[threading.Thread]] = threading.enumerate
# What ends a call of the loop, and not the loop. Ctrl+C is for whoever runs it.
FAULTS: Final = (Exception, SystemExit, GeneratorExit)

Answer = TypeVar("Answer")
Job = Callable[[], None]
Report = Callable[[str, BaseException], None]


class Lender(Protocol):
    """Port: the pool whose worker waits."""

    def lend(self) -> bool: ...
    def reclaim(self) -> None: ...
    def end_wait(self) -> None: ...


class Turns(Protocol):
    """Port: the turn that the current thread has."""

    def join(self) -> None: ...
    def leave(self) -> None: ...


class _Worker(threading.local):
    """The current thread, to whoever must know what else waits when it does."""

    pool: Lender | None = None  # whose worker it is
    coroutines: bool = False  # it runs them, all of them
    turn: Turns | None = None  # while it runs in one


WORKER: Final = _Worker()


@contextmanager
def blocking(*, lends: bool = False) -> Iterator[None]:
    """Any thread: around each wait of this package that a pool's worker may come to.

    The loop, which may be giving way to this worker, goes on: what the worker waits for could not come else.

    Args:
        lends: the wait ends by what a client or the clock does: another thread may use the place in the pool
            meanwhile. Without it the place is kept, so that slow clients cannot multiply threads.
    """
    pool, turn = WORKER.pool, WORKER.turn
    lent = False
    if turn is not None:
        turn.leave()
    if pool is not None:
        if lends:
            lent = pool.lend()
        else:
            pool.end_wait()
    try:
        yield
    finally:
        if pool is not None and lent:
            pool.reclaim()
        if turn is not None:
            turn.join()


def wait_on(condition: threading.Condition, timeout_seconds: float | None = None) -> bool:
    """A worker that holds `condition` and looks again afterwards: `condition.wait`, as a wait of `blocking`.

    Whoever waits for its turn holds no lock: the one who has the turn may need it.
    """
    with blocking():
        came = condition.wait(timeout_seconds)
        condition.release()
    condition.acquire()
    return came


def end_turn() -> None:
    """The calling thread is a server's from here on: it shares no turn with handlers."""
    if WORKER.turn is not None:
        WORKER.turn.leave()


def native_id_of(thread_id: int) -> int | None:
    """The system's number of a thread that lives."""
    return next((thread.native_id for thread in living_threads() if thread.ident == thread_id), None)


def on_main_thread() -> bool:
    """Is this the thread that the program began on?"""
    return threading.current_thread() is threading.main_thread()


class ServerStopped(RuntimeError):
    """Something was asked of a server whose loop has ended. Whoever is cut off so has made no fault."""

    blameless: Final = True


def fail(error: BaseException) -> NoReturn:
    """What stands for an answer where there is an error: a call of it raises."""
    raise error


class Executor(Protocol):
    """Port: runs jobs, in a pool of threads or inline."""

    def submit(self, job: Job) -> None:
        """Loop's thread: run `job`."""

    def resubmit(self, job: Job) -> None:
        """A worker, from within a job: run `job` after those that wait already."""


class InlineExecutor:
    """Runs each job at once in the caller's thread: a whole server without threads, for tests."""

    def submit(self, job: Job) -> None:
        job()

    resubmit = submit


class Mailbox:
    """Calls posted by any thread, made by the loop's thread in the order of posting.

    The wake-up order is exact. Poster: append; read the flag; only if it is down, raise it and ring.
    Loop: empty the pipe; lower the flag; drain. Every near variant loses wake-ups.

    Args:
        ring: wakes the loop (writes one byte to its pipe).
        max_bytes: bytes posted and not yet drained above which workers wait; the loop's thread never does.
    """

    def __init__(self, ring: Callable[[], None], max_bytes: int) -> None:
        self._ring = ring
        self._max_bytes = max_bytes
        self._calls: deque[tuple[Callable[..., object], tuple[object, ...], int]] = deque()
        self._pending_bytes = 0
        self._bytes_lock = threading.Lock()
        self._space = threading.Condition(self._bytes_lock)
        self.owner: int = threading.get_ident()  # the loop's thread
        self._closed = False
        self.raised: bool = False
        self.asked: set[Waiter[Any]] = set()  # answers that workers wait for

    def adopt(self) -> None:
        """The calling thread becomes the loop's thread."""
        self.owner = threading.get_ident()

    def disown(self) -> None:
        """In a forked child: the loop is the parent's, and whoever posts is told so."""
        self._closed = True

    def on_loop(self) -> bool:
        """Any thread: is the caller the loop's thread?"""
        return current_thread_id() == self.owner

    def at_once(self) -> bool:
        """Any thread: would a call that is made now, here, come where it would come if it were posted?"""
        return current_thread_id() == self.owner and not self._calls and not self._closed

    def post(self, function: Callable[..., object], *args: object, nbytes: int = 0) -> None:
        """Any thread: have `function(*args)` called by the loop, after everything posted before.

        Raises:
            ServerStopped: the loop has ended.
        """
        if self._closed:
            raise ServerStopped("the server has stopped: nothing can be sent through it any more")
        if nbytes and current_thread_id() == self.owner:
            nbytes = 0  # it never waits, and drains this itself before it does anything else for long
        if nbytes:
            with self._bytes_lock:  # the lock itself: a condition's `with` is two calls of Python more
                if self._pending_bytes > self._max_bytes:
                    self._wait_for_space()
                self._pending_bytes += nbytes
        self._calls.append((function, args, nbytes))
        if not self.raised:
            self.raised = True
            self._ring()

    def post_unless(
        self, unless: Callable[[], object], function: Callable[..., object], *args: object, nbytes: int
    ) -> bool:
        """Any thread: `post`, True; False where `unless()` is once there is room. The loop is not asked."""
        if self._closed or current_thread_id() == self.owner:
            self.post(function, *args)
            return True
        with self._bytes_lock:
            self._wait_for_space()
            if unless():
                return False
            self._pending_bytes += nbytes
        self._calls.append((function, args, nbytes))
        if not self.raised:
            self.raised = True
            self._ring()
        return True

    def _wait_for_space(self) -> None:
        while self._pending_bytes > self._max_bytes and not self._closed:
            wait_on(self._space)

    def drain(self, report: Report) -> bool:
        """Loop's thread: make the posted calls, at most one batch; returns whether some are left."""
        self.raised = False
        if not (calls := self._calls):
            return False
        freed_bytes = 0
        for _ in range(min(len(calls), MAILBOX_BATCH_COUNT)):
            function, args, nbytes = calls.popleft()
            freed_bytes += nbytes
            try:
                function(*args)
            except FAULTS as error:
                report("posted call", error)
        if freed_bytes:
            with self._space:
                self._pending_bytes -= freed_bytes
                self._space.notify_all()
        return bool(calls)

    def close(self) -> None:
        """Loop's thread: refuse further posts and free the workers that wait for space or for an answer."""
        self._closed = True
        with self._space:
            self._space.notify_all()
        for waiter in [*self.asked]:
            waiter.set(partial(fail, ServerStopped("the server has stopped before it answered")))


class StrandState(Enum):
    """Who runs a strand's jobs."""

    IDLE = auto()  # there is none, neither waiting nor under way
    RUNNING = auto()
    HOLDING = auto()  # the job under way will not be over when it returns
    HELD = auto()  # it has returned; what it began needs no thread


_IDLE: Final = StrandState.IDLE
_HOLDING: Final = StrandState.HOLDING


class Strand:
    """One client's jobs: run one at a time, in order, by whatever thread of the pool comes.

    `submit`, `idle` and `waiting_count` belong to the loop's thread.
    """

    __slots__ = ("_drained", "_executor", "_jobs", "_lock", "_low_count", "_state")

    BATCH_COUNT: Final = 16  # jobs a thread runs for one client before others get their turn

    def __init__(self, executor: Executor, lock: threading.Lock) -> None:
        self._executor = executor
        self._lock = lock
        self._jobs: deque[Job] = deque()
        self._drained: Callable[[], None] | None = None
        self._low_count = 0
        self._state = _IDLE

    @property
    def idle(self) -> bool:
        return self._state is _IDLE

    @property
    def waiting_count(self) -> int:
        return len(self._jobs)

    def submit(self, job: Job) -> int:
        """Loop's thread: run `job` after all jobs submitted before it; returns how many wait."""
        with self._lock:
            self._jobs.append(job)
            if self._state is not _IDLE:
                return len(self._jobs)
            self._state = StrandState.RUNNING
        self._executor.submit(self._run)
        return len(self._jobs)

    def hold(self) -> None:
        """A worker, from within a job: it is not over when it returns; the next one waits for `go_on`."""
        self._state = _HOLDING

    def go_on(self, job: Job) -> None:
        """Loop's thread: what was held has come to its end: run `job`, its last part, then the others."""
        with self._lock:
            self._jobs.appendleft(job)
            before, self._state = self._state, StrandState.RUNNING
        if before is StrandState.HELD or before is _IDLE:  # idle: the job that held it has raised
            self._executor.submit(self._run)

    def when_below(self, low_count: int, drained: Callable[[], None]) -> None:
        """Loop's thread: have `drained` called, by a worker, once fewer than `low_count` jobs wait."""
        with self._lock:
            self._low_count, self._drained = low_count, drained

    def _run(self) -> None:
        for _ in range(self.BATCH_COUNT):
            with self._lock:
                if not self._jobs:
                    self._state = _IDLE
                    return
                job = self._jobs.popleft()
                drained = None
                if self._drained is not None and len(self._jobs) < self._low_count:
                    drained, self._drained = self._drained, None
            if drained is not None:
                drained()
            try:
                job()
            except BaseException:  # whoever submits jobs reports their faults; the client's next ones go on
                self._executor.resubmit(self._run)
                raise
            if self._state is _HOLDING:
                with self._lock:
                    if self._state is _HOLDING:  # not gone on already, while its job returned
                        self._state = StrandState.HELD
                        return
        self._executor.resubmit(self._run)


class BackgroundThread(Thread):
    """A thread of its own for one function, started at once; it never keeps a process alive."""

    def __init__(self, function: Callable[..., object], name: str, *args: object) -> None:
        super().__init__(target=function, args=args, name=name, daemon=True)
        self.start()

    def join(self, timeout: float | None = None) -> None:
        with blocking():
            super().join(timeout)


class Waiter(Generic[Answer]):
    """One answer that a worker waits for and any thread may bring."""

    __slots__ = ("_event", "_value")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._value: Answer  # once the event is set

    def set(self, value: Answer) -> None:
        """Any thread: bring the answer; the first one counts."""
        if not self._event.is_set():
            self._value = value
            self._event.set()

    def wait(self, timeout_seconds: float | None, *, lends: bool = False) -> Answer:
        """A worker: the answer. `lends`: see `blocking`.

        Raises:
            TimeoutError: none came in time.
        """
        if not self._event.is_set():
            with blocking(lends=lends):
                came = self._event.wait(timeout_seconds)
            if not came:
                raise TimeoutError(f"no answer within {timeout_seconds} s")
        return self._value


class Door:
    """The way from any thread to the loop's, whose mailbox it is: post a call, ask a question, open a strand.

    The jobs of strands, and those beside them, are run by `events`.
    """

    def __init__(self, mailbox: Mailbox, events: Executor) -> None:
        self._events = events
        # One lock for all strands: held for a few instructions, and a strand stays small.
        self._strand_lock = threading.Lock()
        self._asked = mailbox.asked
        call_in_children(self._forked)
        self.post: Callable[..., None] = mailbox.post
        self.post_unless: Callable[..., bool] = mailbox.post_unless
        self.on_loop: Callable[[], bool] = mailbox.on_loop
        self.at_once: Callable[[], bool] = mailbox.at_once
        # Loop's thread: run a job beside the strands, in no order.
        self.submit: Callable[[Job], None] = events.submit

    def _forked(self) -> None:
        """In a child: whose job forked may come back to its strand."""
        free(self._strand_lock)

    def strand(self) -> Strand:
        """Loop's thread: a new client's strand."""
        return Strand(self._events, self._strand_lock)

    def tell(self, function: Callable[..., object], *args: object) -> None:
        """Any thread: `post`, or the call itself where it would be the very next thing anyway."""
        if self.at_once():
            function(*args)
        else:
            self.post(function, *args)

    def ask(self, question: Callable[[], Answer], timeout_seconds: float = 30.0) -> Answer:
        """Any thread: the value of `question()`, computed by the loop (at once when already on it).

        Raises:
            TimeoutError: the loop did not answer in time. ServerStopped: it has ended.
            Exception: whatever `question` raised.
        """
        if self.on_loop():
            return question()
        waiter: Waiter[Callable[[], Answer]] = Waiter()

        def answer() -> None:
            try:
                value = question()
                waiter.set(lambda: value)
            except BaseException as error:
                waiter.set(partial(fail, error))

        self._asked.add(waiter)  # first: the loop may end behind the post
        try:
            self.post(answer)
            return waiter.wait(timeout_seconds)()
        finally:
            self._asked.discard(waiter)
