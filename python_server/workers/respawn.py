"""The command that starts this very program again: for workers and for the reloader.

Must not know: what the program does, or who starts it.
"""

from __future__ import annotations

import sys


def own_command() -> list[str]:
    """The interpreter with its options, module or script, and arguments, as it was started.

    `sys.orig_argv` still has `-m package`, `-X` and `-W` options, which `sys.argv` has lost.
    """
    return [sys.executable, *sys.orig_argv[1:]]
