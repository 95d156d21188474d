"""The memory that large messages pass through.

Must not know: messages, connections, limits.
"""

from __future__ import annotations

from typing import Final

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
