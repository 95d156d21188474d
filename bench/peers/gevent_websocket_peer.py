"""gevent-websocket: its WebSocket object over files in memory, a server's; large frames take it seconds.

It must not switch a greenlet: the stream never blocks.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from geventwebsocket.websocket import WebSocket

from peers.ends import Handler, Reads, Sink

SMALL_BYTES = 128


class Owner:
    client_address = ("127.0.0.1", 1)


class Stream:
    def __init__(self, write: Handler) -> None:
        self.handler = Owner()
        self.read: Any = None
        self.write = write


def make(write: Handler) -> WebSocket:
    return WebSocket({}, Stream(write), Owner())  # type: ignore[no-untyped-call]


def receive(role: str, reads: Reads, kind: str, handle: Handler) -> Callable[[], None] | None:
    """It asks for bytes itself, so it is given all of them at once."""
    stream = b"".join(reads.views)
    if role == "client" or kind != "binary" or stream[1] & 0x7F > SMALL_BYTES - 3:
        return None
    socket = make(lambda data: None)

    def run() -> None:
        file = io.BytesIO(stream)
        socket.raw_read = socket.stream.read = file.read
        read_message, length = socket.read_message, len(stream)
        while file.tell() < length:
            handle(bytes(read_message()))

    return run


def send(role: str, messages: Sequence[str | bytes], kind: str, sink: Sink) -> Callable[[], None] | None:
    if role == "client" or kind != "binary" or max(map(len, messages)) > SMALL_BYTES:
        return None
    socket = make(sink.write)

    def run() -> None:
        send_frame = socket.send_frame
        for message in messages:
            send_frame(message, 2)

    return run
