"""The memory that large messages pass through: the process's own, and the kernel's behind a socket.

Must not know: messages, connections, limits.
"""

from __future__ import annotations

import socket
from typing import Final

# The largest block that comes from memory kept free; glibc learns nothing from one above 32 MiB.
KEPT_BLOCK_BYTES: Final = 16 << 20
# Unsent bytes that the kernel holds for a client whose buffer was full once. It asks for more at half of it,
# which lasts 0.2 ms at 10 Gbit/s.
UNSENT_MAX_BYTES: Final = 512 << 10
UNSENT_OPTION: Final = getattr(socket, "TCP_NOTSENT_LOWAT", None)


def keep_large_blocks() -> None:
    """Any thread, once: up to twice `KEPT_BLOCK_BYTES` of freed memory stay with the process.

    glibc maps a large block afresh each time, and gives free memory at the heap's end back to the system;
    from which size on, it learns from the blocks that were freed (mallopt(3), M_MMAP_THRESHOLD). For messages
    of 4 MiB that meant a thousand page faults each, half the time of an echo. One block, never touched,
    teaches it. Where MALLOC_MMAP_THRESHOLD_ or its like is set, and with another allocator, nothing changes.
    """
    bytes(KEPT_BLOCK_BYTES)


def limit_unsent(sock: socket.socket) -> None:
    """Loop's thread: what `sock` cannot send yet waits with us, where it is counted; any kind of stream.

    Else the kernel takes 4 MiB at once, which have left the caches when the client receives them.
    """
    if UNSENT_OPTION is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, UNSENT_OPTION, UNSENT_MAX_BYTES)
    except OSError:  # macOS: the peer has reset the connection, as the next send says
        pass
