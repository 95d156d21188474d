"""A few numbers of every worker in shared memory: how many connections, and when its loop last turned.

Must not know: what a worker is, or what is done with the numbers.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from typing import Final

from python_server.net.portability import shared_memory

# accepting (0 or 1), connections, beat in nanoseconds of the system-wide monotonic clock. One aligned
# 8-byte store each; a row is written by one process alone, except by `clear` when that process is gone.
FIELDS_COUNT: Final = 3
ACCEPTING, CONNECTIONS, BEAT = range(FIELDS_COUNT)
ROW_BYTES: Final = 8 * FIELDS_COUNT
# Rows of workers that drain stay in use until they have ended. Row 0 is the board's own: its first cell
# says behind which row all are free.
ROWS_COUNT: Final = 1024
# While workers are replaced two generations stand side by side.
WORKERS_MAX_COUNT: Final = ROWS_COUNT // 2
# A row that was not beaten for so long is not waited for by those who share connections out.
STALE_SECONDS: Final = 3.0
# How far above the mean a worker may stand before it leaves connections to the others.
MARGIN_COUNT: Final = 2
MARGIN_SHARE: Final = 0.125
# A worker that holds back has so many connections at once: a start with few clients keeps nobody waiting.
HELD_BACK_COUNT: Final = 4
# Far above it: it parts with connections that it has, too.
FAR_COUNT: Final = 8
FAR_SHARE: Final = 0.5


class Scoreboard:
    """The rows. `descriptor` is passed to other processes, which open the same memory.

    Args:
        monotonic: the machine's clock, the same for all its processes.
        descriptor: of a board made elsewhere, owned from here on; None makes one.
    """

    def __init__(self, monotonic: Callable[[], float], descriptor: int | None = None) -> None:
        self.monotonic = monotonic
        if descriptor is None:
            descriptor = shared_memory("wsframe-board")
            os.ftruncate(descriptor, ROWS_COUNT * ROW_BYTES)
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, ROWS_COUNT * ROW_BYTES)
        self._cells = memoryview(self._map).cast("q")
        self._used = {0}

    def claim(self) -> int:
        """The maker's process: the lowest free row, so that the used ones stand together.

        Raises:
            RuntimeError: all are in use.
        """
        row = next((row for row in range(ROWS_COUNT) if row not in self._used), None)
        if row is None:
            raise RuntimeError(f"all {ROWS_COUNT} rows of the board are in use")
        self._used.add(row)
        self._cells[0] = max(self._used) + 1
        return row

    def clear(self, row: int) -> None:
        """The maker's process: the row's owner is gone."""
        for field in range(FIELDS_COUNT):
            self._cells[row * FIELDS_COUNT + field] = 0
        self._used.discard(row)
        self._cells[0] = max(self._used) + 1

    def beat_age_seconds(self, row: int) -> float:
        """Since the owner's last beat; infinite when there was none."""
        beat = self._cells[row * FIELDS_COUNT + BEAT]
        return self.monotonic() - beat / 1e9 if beat else float("inf")

    def connections_count(self, row: int) -> int:
        return self._cells[row * FIELDS_COUNT + CONNECTIONS]

    def counts(self) -> list[int]:
        """Connections of each row that accepts and was beaten lately."""
        cells = self._cells
        oldest = (self.monotonic() - STALE_SECONDS) * 1e9
        return [
            cells[at + CONNECTIONS]
            for at in range(FIELDS_COUNT, cells[0] * FIELDS_COUNT, FIELDS_COUNT)
            if cells[at + ACCEPTING] and cells[at + BEAT] >= oldest
        ]

    def mean(self) -> float:
        """Connections per row of `counts`; 0 when there is none."""
        counts = self.counts()
        return sum(counts) / len(counts) if counts else 0.0

    def close(self) -> None:
        self._cells.release()
        self._map.close()
        os.close(self.descriptor)


class Row:
    """One worker's own row; only its process writes it."""

    def __init__(self, board: Scoreboard, row: int) -> None:
        self._board = board
        self._at = row * FIELDS_COUNT
        self._holds_back = False

    def beat(self) -> None:
        """Write down that the loop turns."""
        self._board._cells[self._at + BEAT] = int(self._board.monotonic() * 1e9)

    def accept(self, accepting: bool) -> None:
        """Does this worker take its share of new connections?"""
        self._board._cells[self._at + ACCEPTING] = accepting

    def count(self, connections_count: int) -> None:
        """How many connections are open."""
        self._board._cells[self._at + CONNECTIONS] = connections_count

    def fewest_count(self) -> int:
        """Connections of the worker that has fewest, perhaps this one."""
        return min(self._board.counts(), default=0)

    def hold_back(self, held: bool) -> None:
        """Others are about to accept too: until then we take a few connections only."""
        self._holds_back = held

    def allowance(self) -> int | None:
        """Connections to accept now; 0 or less while others have clearly fewer, None for no single one."""
        own = self._board._cells[self._at + CONNECTIONS]
        if self._holds_back:
            return HELD_BACK_COUNT - own if own < HELD_BACK_COUNT else None
        mean = self._board.mean()
        return int(mean + max(MARGIN_COUNT, mean * MARGIN_SHARE) - own)

    def excess(self) -> int:
        """Connections above the mean, of a worker that stands far above it; else 0."""
        mean = self._board.mean()
        above = self._board._cells[self._at + CONNECTIONS] - mean
        return int(above) if above > mean * FAR_SHARE + FAR_COUNT else 0
