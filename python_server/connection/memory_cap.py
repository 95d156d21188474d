"""A bound on what all clients of a worker together keep waiting: above it those that hold most are ended.

Must not know: sockets, clocks, or in which direction the bytes go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

# How often it is looked at: between two looks the sum may grow by what arrives meanwhile.
LOOK_SECONDS: Final = 0.25
Reason = TypeVar("Reason")


def end_largest(
    max_bytes: int,
    holders: Iterable[tuple[int, Callable[[Reason], object]]],
    reason: Reason,
    complain: Callable[[str, str], None],
) -> None:
    """End holders, the largest first, until the others hold no more than the bound.

    Args:
        holders: (bytes that it keeps waiting, what ends it) for each. reason: of the end.
        complain: called with (kind, message).
    """
    held = list(holders)
    total_bytes = sum(held_bytes for held_bytes, _ in held)
    if total_bytes <= max_bytes:
        return
    held.sort(key=lambda pair: pair[0], reverse=True)
    count = 0
    left_bytes = total_bytes
    for held_bytes, end in held:
        if left_bytes <= max_bytes:
            break
        end(reason)
        left_bytes -= held_bytes
        count += 1
    complain(
        "memory of all clients",
        f"clients kept {total_bytes} bytes waiting: {count} that held most were ended, see --limit-memory",
    )
