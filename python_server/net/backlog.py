"""One client's messages that wait for a worker: while they are too many or too large, it is not read from.

Must not know: what a message is, or how reading is paused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from python_server.net.threads import Door, Job, ServerStopped

# Messages of one client that wait: above the first bound its reading pauses, and goes on below the second.
# Who cannot be paused is given up above the third.
SOFT_COUNT: Final = 256
RESUME_COUNT: Final = 64
HARD_COUNT: Final = 10_000
# The same bounds in characters, for messages of at least HEAVY_BYTES; lighter ones are bound by number.
HEAVY_BYTES: Final = 4096
SOFT_BYTES: Final = 4 * 1024 * 1024
HARD_BYTES: Final = 64 * 1024 * 1024


class Backlog:
    """A strand whose client waits when it is far ahead of the workers.

    Args:
        door: to the loop. pause_reading: called on the loop's thread with True, and with False to go on.

    Attributes:
        strand: runs the jobs in order. paused: does the client wait?
    """

    __slots__ = ("_finished_bytes", "_pause_reading", "_post", "_submitted_bytes", "paused", "strand")

    def __init__(self, door: Door, pause_reading: Callable[[bool], None]) -> None:
        self._post = door.post
        self._pause_reading = pause_reading
        self.strand = door.strand()
        self.paused = False
        # Of large messages: the first counted by the loop, the second by the one worker that runs the strand.
        self._submitted_bytes = 0
        self._finished_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Of large messages, those that wait or are being handled."""
        return self._submitted_bytes - self._finished_bytes

    @property
    def overloaded(self) -> bool:
        """Has the client gone on in spite of the pause?"""
        return self.strand.waiting_count >= HARD_COUNT or self.held_bytes >= HARD_BYTES

    def submit(self, job: Job, size_bytes: int) -> None:
        """Loop's thread: run `job`, which handles a message of that size, after those before it."""
        strand = self.strand
        if size_bytes >= HEAVY_BYTES:
            self._submitted_bytes += size_bytes
            job = partial(self._run_heavy, job, size_bytes)
        strand.submit(job)
        if (
            strand.waiting_count >= SOFT_COUNT or self._submitted_bytes - self._finished_bytes >= SOFT_BYTES
        ) and not self.paused:
            self.paused = True
            self._pause_reading(True)
            self._relieve()  # the worker may have been faster than these lines

    def _run_heavy(self, job: Job, size_bytes: int) -> None:
        """Worker: a message that counts by its size."""
        job()
        self._finished_bytes += size_bytes
        if self.paused:
            self._ask_relief()

    def _ask_relief(self) -> None:
        """Worker."""
        try:
            self._post(self._relieve)
        except ServerStopped:
            pass

    def _relieve(self) -> None:
        """Read again from a client whose messages have been handled; until then, be told of it."""
        if not self.paused:
            return
        strand = self.strand
        if strand.waiting_count >= RESUME_COUNT:
            # A POST that is being read adds messages while the client is paused: every look arms the next one.
            strand.when_below(RESUME_COUNT, self._ask_relief)
        if strand.waiting_count < RESUME_COUNT and self.held_bytes < SOFT_BYTES // 2:
            self.paused = False
            self._pause_reading(False)
