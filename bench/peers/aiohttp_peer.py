"""aiohttp: its WebSocketReader with a queue that keeps messages, its writer's frame head, its mask function.

It must not start a loop: the reader and the mask need none, and the writer's transport discards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp._websocket.helpers import websocket_mask
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader
from aiohttp._websocket.writer import WebSocketWriter

# A reader of 3.14.5 that was fed some GiB begins to hold messages back: it is renewed before that.
RENEW_BYTES = 1 << 30


def parse(stream: bytes) -> Callable[[], list[object]]:
    class Protocol:
        _reading_paused = False

        def pause_reading(self) -> None:
            pass

        def resume_reading(self) -> None:
            pass

    loop = asyncio.new_event_loop()
    fed_bytes = 0

    def fresh() -> tuple[Any, WebSocketReader]:
        # aiohttp's own queue: the compiled reader takes no other. Its `read` never waits here.
        queue: Any = WebSocketDataQueue(Protocol(), 1 << 26, loop=loop)  # type: ignore[arg-type]
        return queue, WebSocketReader(queue, 1 << 26, True, True)

    queue, reader = fresh()

    def run() -> list[object]:
        nonlocal queue, reader, fed_bytes
        fed_bytes += len(stream)
        if fed_bytes > RENEW_BYTES:
            fed_bytes = 0
            queue, reader = fresh()
        reader.feed_data(stream)
        messages: list[object] = []
        while queue._buffer:
            try:
                queue.read().send(None)
            except StopIteration as read:
                messages.append(read.value.data)
        return messages

    return run


class Transport:
    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        pass

    def writelines(self, data: Any) -> None:
        pass


def encode(payload: bytes, times: int) -> Callable[[], None]:
    """send_frame is a coroutine; its first and only step is driven by hand."""

    class Protocol:
        _paused = False

        async def _drain_helper(self) -> None:
            pass

    writer = WebSocketWriter(Protocol(), Transport(), use_mask=False, limit=1 << 30)  # type: ignore[arg-type]

    def run() -> None:
        for _ in range(times):
            try:
                writer.send_frame(payload, 2).send(None)  # type: ignore[arg-type]
            except StopIteration:
                pass

    return run


def mask_inplace(size: int, times: int) -> Callable[[], None]:
    buffer, mask = bytearray(size), b"\x37\xfa\x21\x3d"

    def run() -> None:
        for _ in range(times):
            websocket_mask(mask, buffer)

    return run
