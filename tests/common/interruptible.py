"""A long command in a group of its own: whoever interrupts us ends all of it, and what it has found stays.

It must not know what the command is.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# For what it writes down at its end.
GRACE_SECONDS = 30


def run_interruptible(command: Sequence[str | Path], **options: Any) -> int:
    """Its exit status. Raises KeyboardInterrupt, also after a SIGTERM, once all of it has ended."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background has the first one ignored
        signal.signal(number, signal.default_int_handler)
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        return process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
