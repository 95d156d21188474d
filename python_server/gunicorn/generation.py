"""The workers of one arbiter, in memory that it shares with them: who loads, serves or drains.

Must not know: gunicorn, sockets, or what workers say to each other.
"""

from __future__ import annotations

import mmap
import os
from enum import IntEnum
from typing import Final

from python_server.net.scoreboard import ROWS_COUNT, Scoreboard
from python_server.net.system import REAL

# One aligned 8-byte store each, by the worker of that row; by the arbiter before it is forked.
FIELDS_COUNT: Final = 4
AGE, PID, STAGE, INDEX = range(FIELDS_COUNT)
CELL_BYTES: Final = 8


class Stage(IntEnum):
    """What a worker does, as its siblings see it."""

    LOADING = 0
    SERVING = 1
    DRAINING = 2  # told to end: it takes nothing over


class Generation:
    """The arbiter makes it and claims a row before each fork; all its workers see the same memory.

    Attributes:
        board: of the connections, its rows are the same.
    """

    def __init__(self) -> None:
        self.board: Scoreboard = Scoreboard(REAL.monotonic)
        self._cells = memoryview(mmap.mmap(-1, ROWS_COUNT * FIELDS_COUNT * CELL_BYTES)).cast("q")
        self._rows: set[int] = set()

    def claim(self, age: int) -> int:
        """The arbiter's process: a row for a worker that is about to be forked.

        Raises:
            RuntimeError: all are in use.
        """
        for row in [row for row in self._rows if self._is_gone(row)]:
            self._rows.remove(row)
            self.board.clear(row)
        row = self.board.claim()
        self._rows.add(row)
        for field, value in enumerate((age, 0, Stage.LOADING, 0)):
            self.write(row, field, value)
        return row

    def write(self, row: int, field: int, value: int) -> None:
        """That worker's process, once it is forked."""
        self._cells[row * FIELDS_COUNT + field] = value

    def give(self, row: int, index: int) -> None:
        """That worker's process: its index."""
        self.write(row, INDEX, index)
        self.write(0, INDEX, max(index, self.last_index))

    @property
    def last_index(self) -> int:
        """The highest that was given in this generation."""
        return self._read(0, INDEX)  # of no worker: row 0 is the board's own

    def ending(self, elder_than: int = 0) -> set[int]:
        """The indexes of workers that were told to end, or will be before one of that age."""
        return {
            self._read(row, INDEX)
            for row in self._used()
            if self._read(row, AGE) < elder_than or self._read(row, STAGE) == Stage.DRAINING
        }

    def loading(self, younger_than: int = 0) -> bool:
        """Is there a worker, of a higher age than that, which is about to serve?"""
        return any(
            self._read(row, AGE) > younger_than
            and self._read(row, STAGE) == Stage.LOADING
            and not self._is_gone(row)
            for row in self._used()
        )

    def _used(self) -> list[int]:
        return [row for row in range(ROWS_COUNT) if self._read(row, AGE)]

    def _read(self, row: int, field: int) -> int:
        return self._cells[row * FIELDS_COUNT + field]

    def _is_gone(self, row: int) -> bool:
        """Has its process ended? One that was forked a moment ago has not said its number yet."""
        pid = self._read(row, PID)
        if not pid:
            return False
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, PermissionError):  # or the number is another user's by now
            return True
        return False
