"""picows: its protocol fed in memory, a listener that takes payloads as bytes, a transport that discards.

It must not make a system call: the transport says that bytes are waiting, so that picows hands frames to it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

from picows import WSAutoPingStrategy, WSListener, WSMsgType, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Listener(WSListener):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[bytes] = []
        self.transport: Any = None

    def on_ws_connected(self, transport: Any) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        self.messages.append(frame.get_payload_as_bytes())


class FakeTransport:
    """What WSProtocol asks of an asyncio transport; writes are dropped."""

    def __init__(self) -> None:
        self.pair = socket.socketpair(socket.AF_UNIX)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.tcp = socket.create_connection(self.server.getsockname())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return self.tcp
        return None if name == "ssl_object" else ("127.0.0.1", 1)

    def get_write_buffer_size(self) -> int:
        return 1

    def write(self, data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, *args: Any, **kwargs: Any) -> None:
        pass

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass


def connected(buffer_bytes: int) -> tuple[Any, Listener]:
    """A server-side protocol after its handshake."""
    listener = Listener()
    # The loop must look as if it ran: the protocol asks for the running one when it is made.
    loop = asyncio.new_event_loop()

    def upgraded(request: Any) -> WSUpgradeResponseWithListener:
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(), listener)

    async def make() -> Any:
        protocol = WSProtocol(
            None, None, False, upgraded, logging.getLogger("bench"), False, 5, False, 10, 10,
            WSAutoPingStrategy.PING_WHEN_IDLE, False, 1 << 26, None, buffer_bytes,
        )  # fmt: skip
        protocol.connection_made(FakeTransport())
        feed(protocol, REQUEST)
        return protocol

    protocol = loop.run_until_complete(make())
    listener.loop = loop  # type: ignore[attr-defined]
    return protocol, listener


def feed(protocol: Any, data: bytes) -> None:
    protocol.get_buffer(-1)[: len(data)] = data
    protocol.buffer_updated(len(data))


def parse(stream: bytes) -> Callable[[], list[object]]:
    protocol, listener = connected(2 * len(stream) + 4096)

    def run() -> list[object]:
        listener.messages = []
        protocol.get_buffer(-1)[: len(stream)] = stream
        protocol.buffer_updated(len(stream))
        return listener.messages  # type: ignore[return-value]

    return run


def encode(payload: bytes, times: int) -> Callable[[], None]:
    _, listener = connected(4096)
    send, binary = listener.transport.send, WSMsgType.BINARY

    def run() -> None:
        for _ in range(times):
            send(binary, payload)

    return run
