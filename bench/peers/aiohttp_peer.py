"""aiohttp: its compiled WebSocketReader with its own queue, its writer, its mask function.

It must not start a loop: the reader and the mask need none, and the writer's transport discards.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from aiohttp import set_zlib_backend
from aiohttp._websocket.helpers import websocket_mask
from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader
from aiohttp._websocket.writer import WebSocketWriter

from peers.ends import Deflate, Handler, Reads, Sink, always

# A reader of 3.14.5 that was fed some GiB begins to hold messages back: it is renewed before that.
RENEW_BYTES = 1 << 30


class Protocol:
    """What the queue and the writer ask of aiohttp's connection."""

    _reading_paused = False
    _paused = False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def receive(role: str, reads: Reads, kind: str, handle: Handler) -> Callable[[], None]:
    """Its reader takes masked frames and others alike, and knows no role."""
    loop = asyncio.new_event_loop()
    loop.close()
    stream_bytes = sum(map(len, reads.views))
    fed_bytes = 0

    def fresh() -> tuple[Any, WebSocketReader]:
        # aiohttp's own queue: the compiled reader takes no other. Its `read` never waits here.
        queue: Any = WebSocketDataQueue(Protocol(), 1 << 26, loop=loop)  # type: ignore[arg-type]
        return queue, WebSocketReader(queue, 1 << 26, True, True)

    queue, reader = fresh()

    async def run_through() -> None:
        read, waiting, feed_data = queue.read, queue._buffer, reader.feed_data
        for data in reads.copies():
            feed_data(data)
            while waiting:
                handle((await read()).data)

    def run() -> None:
        nonlocal queue, reader, fed_bytes
        fed_bytes += stream_bytes
        if fed_bytes > RENEW_BYTES:
            fed_bytes = stream_bytes
            queue, reader = fresh()
        finish(run_through())

    return run


def finish(coroutine: Any) -> None:
    """A coroutine that never waits, to its end."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("aiohttp waits for a loop")


class Transport(Sink):
    """What the writer asks of an asyncio transport."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink.write, sink.writelines)
        self.is_closing = always(False)


def send(role: str, messages: Sequence[str | bytes], kind: str, sink: Sink) -> Callable[[], None]:
    return send_by(writer_of(sink, use_mask=role == "client"), messages)


def writer_of(sink: Sink, **settings: Any) -> WebSocketWriter:
    protocol: Any = Protocol()
    transport: Any = Transport(sink)
    return WebSocketWriter(protocol, transport, limit=1 << 30, **settings)


def send_by(writer: WebSocketWriter, messages: Sequence[str | bytes]) -> Callable[[], None]:
    """`send_frame`, as `send_str` and `send_bytes` of its WebSocket call it."""

    async def run_through() -> None:
        send_frame: Any = writer.send_frame
        for message in messages:
            if isinstance(message, str):
                await send_frame(message.encode(), 1)
            else:
                await send_frame(message, 2)

    return lambda: finish(run_through())


class Compressing:
    """Its writer with one of the libraries that `set_zlib_backend` takes, at that library's fastest level."""

    def __init__(self, library: ModuleType) -> None:
        self.library = library

    def receive(self, settings: Deflate, reads: Reads, handle: Handler) -> Callable[[], None]:
        return self.chosen(receive("server", reads, "any", handle))

    def send(
        self, settings: Deflate, messages: Sequence[str | bytes], sink: Sink
    ) -> Callable[[], None] | None:
        if settings.level is not None:
            return None
        return self.chosen(send_by(writer_of(sink, compress=15, notakeover=not settings.context), messages))

    def chosen(self, call: Callable[[], None]) -> Callable[[], None]:
        """The library is the whole process's, so it is chosen anew for each measured step."""

        def run() -> None:
            set_zlib_backend(self.library)
            call()

        return run


def compressing() -> dict[str, Compressing]:
    found = {}
    for name, module in (("", "zlib"), ("_zlib_ng", "zlib_ng.zlib_ng"), ("_isal", "isal.isal_zlib")):
        try:
            found[f"aiohttp{name}"] = Compressing(importlib.import_module(module))
        except ModuleNotFoundError:
            continue
    return found


def mask_inplace(size: int, times: int) -> Callable[[], None]:
    buffer, mask = bytearray(size), b"\x37\xfa\x21\x3d"

    def run() -> None:
        for _ in range(times):
            websocket_mask(mask, buffer)

    return run
