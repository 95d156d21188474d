"""A fatal signal (SEGV, BUS, FPE, ILL, ABRT) writes the stacks of all threads into the error log.

Must not know: the loggers: nothing of Python runs any more.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from contextlib import suppress


def write_stacks_at_fatal_signals(path: str | None) -> None:
    """Into the file at `path`, behind what stands there; None: into standard error.

    Who has asked for it already (`-X faulthandler`, an application) has said where it goes.
    """
    if faulthandler.is_enabled():
        return
    with suppress(OSError, ValueError, AttributeError, RuntimeError):  # there may be no standard error
        faulthandler.enable(
            sys.stderr if path is None else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        )
