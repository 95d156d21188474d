"""What the asyncio protocol of docs/codec.md costs for each message by itself: no loop, no socket.

It must not time a transport: what an echo costs beyond this is the transport's, the loop's and the kernel's.
Run: python bench/echo_share.py
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from peers.wsframe_echo import echo_of_the_page

from wsframe import encode_frame, handshake

ROUNDS = 40
MESSAGES = 3_000


class NoTransport:
    """Takes what is written, and does nothing with it."""

    def write(self, data: bytes) -> None:
        pass

    def writelines(self, pieces: list[Any]) -> None:
        pass

    def close(self) -> None:
        pass


def received(protocol: Any, data: bytes) -> None:
    memoryview(protocol.get_buffer(-1))[: len(data)] = data
    protocol.buffer_updated(len(data))


def main() -> None:
    for size in (128, 16_384):
        protocol = echo_of_the_page()()
        protocol.connection_made(NoTransport())
        request = handshake.request("/", "h")
        lines = ["GET / HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers), "", ""]
        received(protocol, "\r\n".join(lines).encode())
        frame = encode_frame(2, bytes(size), os.urandom(4))
        received(protocol, frame)  # and stays in the buffer, which is the same each time
        seconds = []
        for _ in range(ROUNDS):
            begun = time.process_time()
            for _ in range(MESSAGES):
                protocol.get_buffer(-1)
                protocol.buffer_updated(len(frame))
            seconds.append((time.process_time() - begun) / MESSAGES)
        print(f"{size} bytes: {statistics.median(seconds) * 1e9:.0f} ns for each message")


if __name__ == "__main__":
    main()
