"""What is read of the machine: clocks, ready descriptors, chance. The only file that reads the real ones.

Must not know: who reads. Each part is handed the functions that it needs; a test hands it its own.
"""

from __future__ import annotations

import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from mmap import PAGESIZE
from typing import Final, Protocol

from python_server.net.poller import Poller, best_poller


@dataclass(frozen=True, slots=True)
class System:
    """Clocks in seconds; any thread.

    Attributes:
        monotonic: never goes back; the same for all processes of a machine. wall: since 1970.
        cpu: used by this process. poller: makes a loop's own. entropy: so many bytes that nobody can guess.
    """

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    cpu: Callable[[], float]
    poller: Callable[[], Poller]
    entropy: Callable[[int], bytes]


REAL: Final = System(time.monotonic, time.time, time.process_time, best_poller, os.urandom)


class TimerLike(Protocol):
    """What `CallLater` gives: a call to come."""

    @property
    def when(self) -> float:
        """The moment, by the loop's clock."""

    def cancel(self) -> None:
        """It does not come any more."""


# What rooms above ask of a clock: seconds from now, and the function; what that returns is not looked at.
CallLater = Callable[[float, Callable[[], object]], TimerLike]


def thread_cpu(thread_id: int) -> float:
    """Seconds of the processor's time that a thread which lives has used; of all, where that is not told."""
    if hasattr(time, "pthread_getcpuclockid"):
        return time.clock_gettime(time.pthread_getcpuclockid(thread_id))
    return time.process_time()


def is_runnable(native_id: int | None) -> bool:
    """Has a thread work to do, though others may have the processors? False where nobody tells."""
    try:
        with open(f"/proc/self/task/{native_id}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] == b"R"
    except OSError:
        return False


def count_sleeps(native_id: int | None) -> int:
    """How often a thread has fallen asleep, by the system's number of it; 0 where nobody tells."""
    try:
        with open(f"/proc/self/task/{native_id}/status", "rb") as status:
            return int(status.read().rpartition(b"\nvoluntary_ctxt_switches:")[2].split()[0])
    except (OSError, IndexError):
        return 0


def resident_bytes() -> int:
    """What of this process stands in memory; 0 where nobody tells."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * PAGESIZE
    except OSError:
        return 0


def open_descriptors_count() -> int:
    """How many this process has; 0 where nobody tells."""
    folder = next(filter(os.path.isdir, ("/proc/self/fd", "/dev/fd")), None)
    return 0 if folder is None else len(os.listdir(folder))


def token(count: int, entropy: Callable[[int], bytes]) -> str:
    """A name of letters, digits, "-" and "_" out of so many bytes."""
    return urlsafe_b64encode(entropy(count)).rstrip(b"=").decode("ascii")


def below(limit: int, entropy: Callable[[int], bytes]) -> int:
    """A number from 0 on, below `limit`; of far fewer bits than are read, so that none comes more often."""
    return int.from_bytes(entropy(16)) % limit
