"""wsframe as its users call it: one `receive` per chunk, one `encode_frame` per message.

It must not use anything that wsframe does not export.
"""

from __future__ import annotations

from collections.abc import Callable

import wsframe


def parse(stream: bytes) -> Callable[[], list[object]]:
    """Chunk to owned messages, by one decoder that lives on, from a buffer as a socket fills it."""
    decoder = wsframe.Decoder(wsframe.Role.SERVER, max_message_bytes=1 << 26)
    buffer = bytearray(stream)

    def run() -> list[object]:
        return decoder.receive(buffer)  # type: ignore[return-value]

    return run


def encode(payload: bytes, times: int) -> Callable[[], None]:
    encode_frame = wsframe.encode_frame

    def run() -> None:
        for _ in range(times):
            encode_frame(2, payload)

    return run


def mask_inplace(size: int, times: int) -> Callable[[], None]:
    buffer, mask, apply_mask_inplace = bytearray(size), b"\x37\xfa\x21\x3d", wsframe.apply_mask_inplace

    def run() -> None:
        for _ in range(times):
            apply_mask_inplace(buffer, mask)

    return run


def mask_copy(size: int, times: int) -> Callable[[], None]:
    data, mask, apply_mask = bytes(size), b"\x37\xfa\x21\x3d", wsframe.apply_mask

    def run() -> None:
        for _ in range(times):
            apply_mask(data, mask)

    return run
