"""Places for jobs that may have to wait for somebody else's bytes, so that they never hold all workers.

Must not know: what a job is, threads, clocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Job = TypeVar("Job")


class UploadSlots(Generic[Job]):
    """A bounded number of places and the line before them, first come, first served. One thread's own.

    Args:
        count: of the places. start: called with a job that has got one.
    """

    def __init__(self, count: int, start: Callable[[Job], None]) -> None:
        self._free_count = count
        self._start = start
        self._line: dict[Job, None] = {}

    @property
    def waiting_count(self) -> int:
        return len(self._line)

    def ask(self, job: Job) -> None:
        """Start the job with a place, now or when its turn has come."""
        if self._free_count:
            self._free_count -= 1
            self._start(job)
        else:
            self._line[job] = None

    def give_up(self, job: Job) -> bool:
        """Leave the line; False for a job that does not stand in it."""
        return self._line.pop(job, job) is None

    def leave(self) -> None:
        """A job with a place needs it no longer: the next one gets it."""
        if self._line:
            job = next(iter(self._line))
            del self._line[job]
            self._start(job)
        else:
            self._free_count += 1
