"""A fatal signal (SEGV, BUS, FPE, ILL, ABRT) writes the stacks of all threads into the error log.

Must not know: the loggers: nothing of Python runs any more.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from contextlib import suppress
from typing import Final

PERMISSIONS: Final = 0o666
# By its path, the one that faulthandler writes into: it has been told that number, and nobody can ask for it.
_opened: Final[dict[str, int]] = {}


def write_stacks_at_fatal_signals(path: str | None) -> None:
    """Into the file at `path`, behind what stands there; None: into standard error.

    Who has asked for it already (`-X faulthandler`, an application) has said where it goes.
    """
    if faulthandler.is_enabled():
        return
    with suppress(OSError, ValueError, AttributeError, RuntimeError):  # there may be no standard error
        if path is None:
            faulthandler.enable(sys.stderr)
            return
        whole = os.path.abspath(path)
        _opened[whole] = _open(whole)
        faulthandler.enable(_opened[whole])


def reopen() -> None:
    """The file has been moved: from now on into the one that has its name, by the same number."""
    for path, number in _opened.items():
        with suppress(OSError):  # the old one goes on
            new = _open(path)
            os.dup2(new, number, inheritable=False)
            os.close(new)


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PERMISSIONS)
