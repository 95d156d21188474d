"""Puts each Python process of a strict run into the run's mode, and notes whether it is in it.

It must not know a test or a module of ours: `run.py` puts this folder on PYTHONPATH, so that every process
that the tests start begins here.
"""

import os
import sys
from collections.abc import Callable

MODE = os.environ["STRICT_MODE"]
SWITCH_INTERVAL_SECONDS = 1e-6
_interval, _set_interval = sys.getswitchinterval, sys.setswitchinterval


def _allocator() -> bytes:
    import ctypes  # here alone: some tests say what may be imported

    name = ctypes.pythonapi._PyMem_GetCurrentAllocatorName
    name.restype = ctypes.c_char_p
    return bytes(name())


IS_IN: dict[str, Callable[[], bool]] = {
    "switch": lambda: _interval() == SWITCH_INTERVAL_SECONDS,
    "dev": lambda: sys.flags.dev_mode and "error" in sys.warnoptions,
    "optimised": lambda: sys.flags.optimize == 1,
    "malloc": lambda: _allocator() == b"pymalloc_debug",
}
is_in_its_mode = IS_IN[MODE]

if MODE == "switch":
    # Whoever sets the interval later, as the server does, hears that it is set; it stays what it is.
    told = [_interval()]
    sys.getswitchinterval = lambda: told[0]
    sys.setswitchinterval = lambda interval: told.__setitem__(0, interval)
    _set_interval(SWITCH_INTERVAL_SECONDS)

_note = os.open(os.environ["STRICT_PROCESSES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(_note, f"{'in' if is_in_its_mode() else 'NOT IN'} {MODE}: {sys.orig_argv[1:4]}\n".encode())
os.close(_note)
