"""The memory that large messages pass through, and what Python's cycle collector does about the rest.

Must not know: messages, connections, limits.
"""

from __future__ import annotations

import gc
from typing import Final

# Of CPython 3.11 and 3.12, and of 3.13. Later ones have no such rule, and a program's own choice stays.
USUAL_THRESHOLDS: Final = ((700, 10, 10), (2000, 10, 10))
# After so many looks at middle-aged objects the collector looks at all of them.
LOOKS_MAX_COUNT: Final = 100

# The largest block that comes from memory kept free; glibc learns nothing from one above 32 MiB.
KEPT_BLOCK_BYTES: Final = 16 << 20


def keep_large_blocks() -> None:
    """Any thread, once: up to twice `KEPT_BLOCK_BYTES` of freed memory stay with the process.

    glibc maps a large block afresh each time, and gives free memory at the heap's end back to the system;
    from which size on, it learns from the blocks that were freed (mallopt(3), M_MMAP_THRESHOLD). For messages
    of 4 MiB that meant a thousand page faults each, half the time of an echo. One block, never touched,
    teaches it. Where MALLOC_MMAP_THRESHOLD_ or its like is set, and with another allocator, nothing changes.
    """
    bytes(KEPT_BLOCK_BYTES)


def spare_old_objects() -> None:
    """Any thread, once the application is there: it stays, so the collector need not look at it again.

    Connections stay as well, for minutes or hours, and each look at all objects of a process with thousands
    of them holds everybody up. Such looks come a tenth as often, which is an eighth of what a handshake costs
    among 5,000 connections. What only the collector frees is found as soon as before, while it is young.
    """
    gc.freeze()
    if (thresholds := gc.get_threshold()) in USUAL_THRESHOLDS:
        young, middle, _ = thresholds
        gc.set_threshold(young, middle, LOOKS_MAX_COUNT)
