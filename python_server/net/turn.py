"""One at a time: threads that may run only while they have the turn, and give it back where they wait.

Must not know: who takes part, or what runs in a turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from python_server.net.system import REAL
from python_server.net.threads import WORKER, Lock, blocking, current_thread_id

# A holder that has kept the turn so long, in a process that computes little, waits without giving it back:
# for a lock, a database. What it waits for may need the turn itself.
TAKE_OVER_SECONDS: Final = 0.05
# Of one core. Above it somebody computes, and it may well be the holder.
COMPUTING_SHARE: Final = 0.5


class Turn:
    """A lock that is handed on in the order of asking. Any thread.

    Args:
        on_taken_over: called with the id of a thread that has lost the turn, which waits somewhere else.
        monotonic, cpu: clocks; the second of the processor's time that this process has used.
    """

    def __init__(
        self,
        on_taken_over: Callable[[int], None],
        monotonic: Callable[[], float] = REAL.monotonic,
        cpu: Callable[[], float] = REAL.cpu,
    ) -> None:
        self._on_taken_over = on_taken_over
        self._monotonic = monotonic
        self._cpu = cpu
        self._lock = Lock()
        self._holder: int | None = None
        self._waiting: deque[tuple[int, Lock]] = deque()  # who, and what wakes it
        self._taken_at = self._taken_cpu = 0.0

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
                self._give_to(me)
                return
            bell = Lock()
            bell.acquire()
            self._waiting.append((me, bell))
            patience_seconds = TAKE_OVER_SECONDS * len(self._waiting)
        with blocking():
            while not bell.acquire(timeout=patience_seconds):
                self._take_over()

    def give_back(self) -> None:
        """The next one has it; nothing happens if it was taken over before."""
        with self._lock:
            if self._holder == current_thread_id():
                self._hand_on()

    def _hand_on(self) -> None:
        """Under the lock."""
        if self._waiting:
            next_one, bell = self._waiting.popleft()
            self._give_to(next_one)
            bell.release()
        else:
            self._holder = None

    def _give_to(self, thread_id: int) -> None:
        self._holder = thread_id
        self._taken_at, self._taken_cpu = self._monotonic(), self._cpu()

    def _take_over(self) -> None:
        """A thread that waits: hand the turn on if its holder waits too."""
        with self._lock:
            held_seconds = self._monotonic() - self._taken_at
            computed_seconds = self._cpu() - self._taken_cpu
            if held_seconds < TAKE_OVER_SECONDS:
                return
            if computed_seconds > held_seconds * COMPUTING_SHARE:
                # It is looked at anew: whoever computed until now may begin to wait.
                self._taken_at, self._taken_cpu = self._monotonic(), self._cpu()
                return
            loser = self._holder
            self._hand_on()
        if loser is not None:
            self._on_taken_over(loser)


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
