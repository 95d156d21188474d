"""One at a time: threads that may run only while they have the turn, and give it back where they wait.

Must not know: who takes part, or what runs in a turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from python_server.net.system import REAL, count_sleeps, is_runnable, thread_cpu
from python_server.net.threads import WORKER, Lock, blocking, current_thread_id, native_id_of

# A holder that at two looks has computed little, and slept on in between, waits without giving the turn back:
# for a lock, a database. What it waits for may need the turn itself.
LOOK_SECONDS: Final = 0.02
# Of one core: what a thread may use of it that waits. One that computes has more, even where many do.
WAITING_SHARE: Final = 0.01


class Turn:
    """A lock that is handed on in the order of asking. Any thread.

    Args:
        on_taken_over: called with the id of a thread that has lost the turn, which waits somewhere else.
        monotonic, thread_cpu: clocks; the second of the processor's time that a thread has used, by its id.
        runnable, count_sleeps: has a thread work to do, how often has it fallen asleep; by the system's
            number of it.
    """

    def __init__(
        self,
        on_taken_over: Callable[[int], None],
        monotonic: Callable[[], float] = REAL.monotonic,
        thread_cpu: Callable[[int], float] = thread_cpu,
        runnable: Callable[[int | None], bool] = is_runnable,
        count_sleeps: Callable[[int | None], int] = count_sleeps,
    ) -> None:
        self._on_taken_over = on_taken_over
        self._monotonic = monotonic
        self._thread_cpu = thread_cpu
        self._runnable = runnable
        self._count_sleeps = count_sleeps
        self._lock = Lock()
        self._holder: int | None = None
        self._waiting: deque[tuple[int, Lock]] = deque()  # who, and what wakes it
        self._seen_at = self._seen_cpu = 0.0
        self._seen_sleeps: int | None = None  # once it seems to wait

    @contextmanager
    def held(self) -> Iterator[None]:
        """The body runs in a turn, which `net.threads.blocking` gives back meanwhile."""
        if WORKER.turn is self:
            yield
            return
        self.join()
        try:
            yield
        finally:
            self.leave()

    def join(self) -> None:
        """The calling thread takes part from here on: wait for the turn."""
        self.take()
        WORKER.turn = self

    def leave(self) -> None:
        """The calling thread takes part no more."""
        WORKER.turn = None
        self.give_back()

    def take(self) -> None:
        """Wait for the turn."""
        me = current_thread_id()
        with self._lock:
            if self._holder is None:
                self._holder = me
                return
            if not self._waiting:
                self._look_at(self._holder)
            bell = Lock()
            bell.acquire()
            self._waiting.append((me, bell))
            patience_seconds = LOOK_SECONDS * len(self._waiting)
        with blocking():
            while not bell.acquire(timeout=patience_seconds):
                self._take_over(bell)

    def give_back(self) -> None:
        """The next one has it; nothing happens if it was taken over before."""
        with self._lock:
            if self._holder == current_thread_id():
                self._hand_on()

    def _hand_on(self) -> None:
        """Under the lock."""
        if self._waiting:
            self._holder, bell = self._waiting.popleft()
            bell.release()
            if self._waiting:
                self._look_at(self._holder)
        else:
            self._holder = None

    def _look_at(self, holder: int, sleeps_count: int | None = None) -> None:
        """Under the lock, while somebody waits: the holder is judged by what it does from now on."""
        self._seen_at, self._seen_cpu = self._monotonic(), self._thread_cpu(holder)
        self._seen_sleeps = sleeps_count

    def _take_over(self, bell: Lock) -> None:
        """The first that waits, which this wakes: hand the turn on if its holder waits too.

        Whoever waits for the interpreter seems to, but wakes again and again to ask for it.
        """
        with self._lock:
            holder, seen_at = self._holder, self._seen_at
            held_seconds = self._monotonic() - seen_at
            is_first = bool(self._waiting) and self._waiting[0][1] is bell
            if holder is None or held_seconds < LOOK_SECONDS or not is_first:
                return
            works = self._thread_cpu(holder) - self._seen_cpu > held_seconds * WAITING_SHARE
        native_id = native_id_of(holder)
        works = works or self._runnable(native_id)
        sleeps_count = None if works else self._count_sleeps(native_id)
        with self._lock:
            if (self._holder, self._seen_at) != (holder, seen_at):
                return  # it has given the turn back meanwhile
            if works or sleeps_count != self._seen_sleeps:
                self._look_at(holder, sleeps_count)
                return
            self._hand_on()
        self._on_taken_over(holder)


class _Program:
    """What holds for the program that this process runs.

    Attributes:
        turn: that of its handlers, its tasks and its requests; None where they run side by side.
    """

    turn: Turn | None = None


PROGRAM: Final = _Program()


def run_in_turn(function: Callable[[], object]) -> None:
    """Run `function`, in a turn where the program's handlers have one."""
    if PROGRAM.turn is None:
        function()
        return
    with PROGRAM.turn.held():
        function()
