"""Lines that leave through a thread of their own: whoever adds one never waits for their reader.

Must not know: what a line says, or what kind of place it goes to.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from python_server.net.portability import in_children
from python_server.net.threads import Lock, Thread

# The first line of a quiet log is written at once; what comes within so long goes with the next write. Each
# write takes the interpreter from the loop for a moment: 50 a second are not felt, and nobody reads faster.
GATHER_SECONDS: Final = 0.02
# How often lines are said to be dropped; after so long without a line `quiet` is called.
REPEAT_SECONDS: Final = 10.0
# A reader that does not read must not hold up the end of the process.
FLUSH_SECONDS: Final = 2.0
FLUSHING_SECONDS: Final = 0.001


@dataclass(eq=False)
class LineWriter:
    """Lines in order to one place, through one thread. Above a bound new ones are dropped and counted.

    Args:
        write: by the thread: puts bytes where they belong, however long that takes; no bytes at all after a
            `wake`. Raises OSError or ValueError where it cannot.
        piece_bytes: lines are joined up to this. waiting_max_bytes: of lines that wait.
        dropping: any thread, now and then: lines are dropped.
        dropped: by the thread, now and then: lines are written again, and so many were not.
        quiet: by the thread, when no line has come for a while.
    """

    name: str
    write: Callable[[bytes], None]
    piece_bytes: int
    waiting_max_bytes: int
    dropping: Callable[[], None]
    dropped: Callable[[int], None]
    quiet: Callable[[], None]
    monotonic: Callable[[], float]

    def __post_init__(self) -> None:
        self._begin()
        reference = weakref.ref(self)
        in_children(lambda: _begin_again(reference))
        self._start()

    def _begin(self) -> None:
        self._lines: deque[bytes] = deque()
        # Each counter has one thread that moves it: what waits is exact without a lock.
        self._added_bytes = self._written_bytes = 0
        self._refused_count = self._failed_count = self._told_count = 0
        self._next_word = self._next_alarm = float("-inf")
        self._fails = False  # the last write
        self._running = False
        self._rung = False
        self._bell = Lock()
        self._bell.acquire()

    def add(self, line: bytes) -> None:
        """Any thread, one at a time (a log handler's lock sees to it): write `line` soon, or drop it."""
        waiting_bytes = self._added_bytes - self._written_bytes
        if waiting_bytes and waiting_bytes + len(line) > self.waiting_max_bytes:
            self._refused_count += 1
            self._alarm()
            return
        self._lines.append(line)
        self._added_bytes += len(line)
        self.wake()

    def wake(self) -> None:
        """Any thread, a signal's handler too: let the thread look, whether there are lines or not."""
        if self._rung:
            return
        self._rung = True
        if self._running or self._start():
            try:
                self._bell.release()
            except RuntimeError:
                pass  # somebody has rung in the same moment
        else:
            self._rung = False
            self._write_lines()  # at the interpreter's end, or without memory

    def flush(self, timeout_seconds: float = FLUSH_SECONDS) -> None:
        """Any thread: wait until everything added has been written."""
        for _ in range(round(timeout_seconds / FLUSHING_SECONDS)):  # its thread has its own time
            if self._written_bytes >= self._added_bytes:
                break
            self.wake()
            time.sleep(FLUSHING_SECONDS)

    def close(self) -> None:
        """Any thread: what was added is written, and the thread ends; a later line starts another."""
        self.flush()
        bell = self._bell
        self._begin()
        with suppress(RuntimeError):  # it has been rung
            bell.release()

    def untold_count(self) -> int:
        """Any thread: lines that were dropped, and of which nothing has been said yet; from now on it has."""
        count = self._refused_count + self._failed_count - self._told_count
        self._told_count += count
        return count

    def _start(self) -> bool:
        try:
            Thread(target=self._run, args=(self._bell,), name=self.name, daemon=True).start()
        except (RuntimeError, MemoryError):
            return False
        self._running = True
        return True

    # The thread

    def _run(self, bell: Lock) -> None:
        wait_seconds = -1.0
        while True:
            rung = bell.acquire(timeout=wait_seconds)
            if bell is not self._bell:  # closed
                return
            if not rung:
                self._tell(float("inf"))
                self.quiet()
                wait_seconds = -1.0
                continue
            self._rung = False
            self._write_lines()
            self._tell(self.monotonic())
            time.sleep(GATHER_SECONDS)
            wait_seconds = REPEAT_SECONDS

    def _write_lines(self) -> None:
        lines = self._lines
        while True:
            piece: list[bytes] = []
            piece_bytes = 0
            while lines and not (piece and piece_bytes + len(lines[0]) > self.piece_bytes):
                piece.append(lines.popleft())
                piece_bytes += len(piece[-1])
            try:
                self.write(b"".join(piece))
                if piece:  # a look alone does not show that lines are taken again
                    self._fails = False
            except (OSError, ValueError):
                self._fails = True
                if piece:
                    self._failed_count += len(piece)
                    self._alarm()
            self._written_bytes += piece_bytes
            if not lines:
                return

    def _alarm(self) -> None:
        now = self.monotonic()
        if now >= self._next_alarm:
            self._next_alarm = now + REPEAT_SECONDS
            self.dropping()

    def _tell(self, now: float) -> None:
        if now >= self._next_word and not self._fails and (count := self.untold_count()):
            self._next_word = self.monotonic() + REPEAT_SECONDS
            self.dropped(count)


def _begin_again(reference: weakref.ref[LineWriter]) -> None:
    """In a child: it has no thread, and what waits is its parent's to write."""
    writer = reference()
    if writer is not None:
        writer._begin()
