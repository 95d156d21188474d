"""gevent-websocket: its WebSocket object over files in memory.

It must not switch a greenlet: the stream never blocks.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from geventwebsocket.websocket import Header, WebSocket


class Handler:
    client_address = ("127.0.0.1", 1)


class Stream:
    def __init__(self) -> None:
        self.handler = Handler()
        self.read: Any = None
        self.write: Any = lambda data: None


def make() -> WebSocket:
    return WebSocket({}, Stream(), Handler())  # type: ignore[no-untyped-call]


def parse(stream: bytes) -> Callable[[], list[object]]:
    socket = make()
    count = stream_count(stream)

    def run() -> list[object]:
        socket.raw_read = socket.stream.read = io.BytesIO(stream).read
        return [socket.read_message() for _ in range(count)]

    return run


def stream_count(stream: bytes) -> int:
    file, count = io.BytesIO(stream), 0
    while file.tell() < len(stream):
        header = Header.decode_header(file)
        file.seek(header.length, io.SEEK_CUR)
        count += 1
    return count


def encode(payload: bytes, times: int) -> Callable[[], None]:
    socket = make()

    def run() -> None:
        for _ in range(times):
            socket.send_frame(payload, 2)

    return run
