"""One client's messages that wait for a worker: while they are too many or too large, it is not read from.

Must not know: what a message is, or how reading is paused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from python_server.net.threads import Door, Job, ServerStopped, Strand

# Messages of one client that wait: above the first bound its reading pauses, and goes on below the second.
# Who cannot be paused is given up above the third; what one receive of 320 KiB brings of the smallest frames,
# of six bytes, is below it, for it comes before a pause is felt.
SOFT_COUNT: Final = 256
RESUME_COUNT: Final = 64
HARD_COUNT: Final = 55_000
# The same bounds in characters, for messages of at least HEAVY_BYTES; lighter ones are bound by number.
HEAVY_BYTES: Final = 4096
SOFT_BYTES: Final = 4 * 1024 * 1024
HARD_BYTES: Final = 64 * 1024 * 1024


class Backlog:
    """A strand whose client is not read from (`paused`) while it is far ahead of the workers.

    Args:
        pause_reading: called on the loop's thread with True, and with False to go on.
    """

    __slots__ = (
        "_beside_count",
        "_door",
        "_finished_bytes",
        "_pause_reading",
        "_submitted_bytes",
        "paused",
        "strand",
    )

    def __init__(self, door: Door, pause_reading: Callable[[bool], None]) -> None:
        self._door = door
        self._pause_reading = pause_reading
        self.strand: Strand = door.strand()
        self.paused: bool = False
        # Of large messages: the first counted by the loop, the second by the one worker that runs the strand.
        self._submitted_bytes = 0
        self._finished_bytes = 0
        self._beside_count = 0

    @property
    def held_bytes(self) -> int:
        """Of large messages, those that wait or are being handled."""
        return self._submitted_bytes - self._finished_bytes

    @property
    def overloaded(self) -> bool:
        """Has the client gone on where it should have been paused, or in spite of it?"""
        return self.strand.waiting_count + self._beside_count >= HARD_COUNT or self.held_bytes >= HARD_BYTES

    # Loop's thread

    def submit(self, job: Job, size_bytes: int) -> bool:
        """Run `job`, which handles a message of that size, after those before it; is it time to pause?"""
        if size_bytes >= HEAVY_BYTES:
            self._submitted_bytes += size_bytes
            job = partial(self._run_heavy, job, size_bytes)
        return (
            self.strand.submit(job) + self._beside_count >= SOFT_COUNT
            or self._submitted_bytes - self._finished_bytes >= SOFT_BYTES
        )

    def submit_beside(self, job: Job, size_bytes: int) -> bool:
        """The same for a message that may overtake others."""
        self.begin_beside(size_bytes)
        self._door.submit(partial(self._run_beside, job, size_bytes))
        return self.strand.waiting_count + self._beside_count >= SOFT_COUNT or self.held_bytes >= SOFT_BYTES

    def begin_beside(self, size_bytes: int = 0) -> None:
        """A message is handled beside the strand, until `end_beside`."""
        self._beside_count += 1
        self._submitted_bytes += size_bytes

    def end_beside(self, size_bytes: int = 0) -> None:
        self._beside_count -= 1
        self._submitted_bytes -= size_bytes
        self._relieve()

    def pause(self) -> None:
        """Do not read from the client until most of its messages have been handled."""
        if not self.paused:
            self.paused = True
            self._pause_reading(True)
            self._relieve()  # the worker may have been faster than these lines

    def resume(self) -> None:
        """Read from the client again, whatever waits."""
        if self.paused:
            self.paused = False
            self._pause_reading(False)

    def _relieve(self) -> None:
        """Read again if most has been handled; until then, be told of it."""
        if not self.paused:
            return
        strand = self.strand
        if strand.waiting_count >= RESUME_COUNT:
            # A POST that is being read adds messages during the pause: every look arms the next one.
            strand.when_below(RESUME_COUNT, self._ask_relief)
        if strand.waiting_count + self._beside_count < RESUME_COUNT and self.held_bytes < SOFT_BYTES // 2:
            self.resume()

    # Worker

    def _run_heavy(self, job: Job, size_bytes: int) -> None:
        """A message that counts by its size."""
        job()
        self._finished_bytes += size_bytes
        if self.paused:
            self._ask_relief()

    def _run_beside(self, job: Job, size_bytes: int) -> None:
        job()
        self._post(self.end_beside, size_bytes)

    def _ask_relief(self) -> None:
        self._post(self._relieve)

    def _post(self, function: Callable[..., None], *args: int) -> None:
        try:
            self._door.post(function, *args)
        except ServerStopped:
            pass  # nobody is read from any more
