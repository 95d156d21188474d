"""wsaccel: its XOR mask and nothing else; the package parses no frames.

It must not be asked for what it does not have.
"""

from __future__ import annotations

from collections.abc import Callable

from wsaccel.xormask import XorMaskerSimple


def mask_copy(size: int, times: int) -> Callable[[], None]:
    data, mask = bytes(size), b"\x37\xfa\x21\x3d"

    def run() -> None:
        for _ in range(times):
            XorMaskerSimple(mask).process(data)

    return run
