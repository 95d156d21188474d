"""Connections cut at every byte of a valid upgrade and of its frames: nothing of them stays in the process.

It must not know the server's code: descriptors and threads are read from /proc.
"""

import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60.0
RESET = struct.pack("ii", 1, 0)
FRAMES = (
    b"\x81\x82\0\0\0\0hi"
    + b"\x02\x81\0\0\0\0a"
    + b"\x89\x80\0\0\0\0"
    + b"\x80\xfe\x00\x80\0\0\0\0"
    + b"b" * 128
)


def handshake(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def connections(url: str) -> int:
    """How many the application counts on its path, with this one."""
    # The application tells who has left: a client whose queue is full would not see the server's close frame.
    with connect(url.replace("http", "ws") + "/inline", max_queue=None) as ws:
        hello: dict[str, int] = json.loads(ws.recv(timeout=PATIENCE_SECONDS))
        return hello["hello"]


def settle(count: Callable[[], int], wanted: int) -> int:
    """The count once it is down to `wanted`, or after patience has run out."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while count() > wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    return count()


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any]) -> Any:
    return serve(APPS, "raw_app:app", "--no-access-log")


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "reset"])
@pytest.mark.parametrize("path", ["/inline", "/chat", "/blocking", "/simple"])
def test_every_cut_leaves_nothing_behind(server: Any, path: str, reset: bool) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    idle = descriptors(server.pid)
    assert connections(server.url) == 1
    before = settle(lambda: descriptors(server.pid), idle)
    data = handshake(path) + FRAMES
    # Every byte of the frames; of the head every fourth, and its last ones.
    head_bytes = len(data) - len(FRAMES)
    cuts = [*range(0, head_bytes - 4, 4), *range(head_bytes - 4, len(data) + 1)]
    for cut in cuts:
        with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(data[:cut])
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    # Who comes last is accepted last: the server has met all of them now, if not yet all of their ends.
    assert settle(lambda: connections(server.url), 1) == 1
    assert settle(lambda: descriptors(server.pid), before) <= before
    # What threads there are belong to the pools; they wait for work, none is stuck with a lost client.
    assert threads(server.pid) < len(cuts)
