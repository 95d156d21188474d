"""websockets: its sans-I/O protocol fed with bytes, its Frame.serialize, its compiled apply_mask.

It must not use the I/O layers.
"""

from __future__ import annotations

from collections.abc import Callable

import websockets.frames
import websockets.protocol
from websockets.speedups import apply_mask


def parse(stream: bytes) -> Callable[[], list[object]]:
    protocol = websockets.protocol.Protocol(
        websockets.protocol.SERVER, state=websockets.protocol.OPEN, max_size=1 << 26
    )

    def run() -> list[object]:
        protocol.receive_data(stream)
        return [frame.data for frame in protocol.events_received()]

    return run


def encode(payload: bytes, times: int) -> Callable[[], None]:
    frame, binary = websockets.frames.Frame, websockets.frames.Opcode.BINARY

    def run() -> None:
        for _ in range(times):
            frame(binary, payload).serialize(mask=False)

    return run


def mask_copy(size: int, times: int) -> Callable[[], None]:
    data, mask = bytes(size), b"\x37\xfa\x21\x3d"

    def run() -> None:
        for _ in range(times):
            apply_mask(data, mask)

    return run
