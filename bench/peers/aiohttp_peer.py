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

NAME = "aiohttp"


def parse(stream: bytes) -> Callable[[], list[object]]:
    class Protocol:
        _reading_paused = False

        def pause_reading(self) -> None:
            pass

        def resume_reading(self) -> None:
            pass

    # aiohttp's own queue: the compiled reader takes no other. Its messages are taken out as `receive` would.
    queue: Any = WebSocketDataQueue(Protocol(), 1 << 30, loop=asyncio.new_event_loop())  # type: ignore[arg-type]
    reader = WebSocketReader(queue, 1 << 26, True, True)

    def run() -> list[object]:
        reader.feed_data(stream)
        messages: list[object] = [message.data for message, *_ in queue._buffer]
        queue._buffer.clear()
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
