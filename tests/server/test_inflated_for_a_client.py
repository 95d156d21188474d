"""A client whose few bytes inflate to many: what a worker holds for it stays within the stated bound.

A real worker runs in this process. It must not know how a face counts: messages are weighed as they wait.
"""

import socket
import zlib
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from python_server import Resource, WebSocket, WebSocketApplication, WSGIServer
from python_server.connection.websocket_handshake import DEFLATED_RECEIVE_BYTES
from python_server.net.client_backlog import SOFT_BYTES, Backlog
from python_server.settings import Settings, WebSocketSettings
from wsframe import Opcode, encode_frame

PATIENCE_SECONDS = 60.0
SETTINGS = Settings(access_log=None, websocket=WebSocketSettings(per_message_deflate=True))
MESSAGE_BYTES = 1_000_000
MESSAGES_COUNT = 100
# zlib's own documentation: deflate makes 1032 bytes of one at most.
HELD_MAX_BYTES = SOFT_BYTES + 1032 * DEFLATED_RECEIVE_BYTES
HANDSHAKE = (
    b"GET /raw HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


def bomb(count: int) -> bytes:
    """So many messages of a million zeros."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    frames = []
    for _ in range(count):
        data = stream.compress(bytes(MESSAGE_BYTES)) + stream.flush(zlib.Z_SYNC_FLUSH)
        frames.append(encode_frame(Opcode.BINARY, data[:-4], bytes(4), rsv1=True))
    return b"".join(frames)


class Kept(WebSocketApplication):
    """Its handler stands still until the test lets it go on."""

    def __init__(self) -> None:
        self.go_on = Event()
        self.all_handled = Event()
        self.count = 0

    def on_message(self, ws: WebSocket, message: Any) -> None:
        assert self.go_on.wait(PATIENCE_SECONDS)
        self.count += 1
        if self.count == MESSAGES_COUNT:
            self.all_handled.set()


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        self.held_bytes = 0
        self.waits = Event()
        self.application = Kept()
        monkeypatch.setattr(Backlog, "submit", self._weighing(Backlog.submit))
        monkeypatch.setattr(Backlog, "pause", self._telling(Backlog.pause))
        self.worker = WSGIServer(("127.0.0.1", 0), Resource({"/raw": self.application}), settings)
        self.worker.start()

    def _weighing(self, submit: Any) -> Any:
        def weigh(backlog: Backlog, job: Any, size_bytes: int) -> Any:
            answer = submit(backlog, job, size_bytes)
            self.held_bytes = max(self.held_bytes, backlog.held_bytes)
            return answer

        return weigh

    def _telling(self, pause: Any) -> Any:
        def tell(backlog: Backlog) -> None:
            pause(backlog)
            self.waits.set()

        return tell

    def connect(self) -> socket.socket:
        return socket.create_connection(self.worker.address, PATIENCE_SECONDS)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(monkeypatch, SETTINGS)
    yield bench
    bench.application.go_on.set()
    bench.worker.stop(0)


def read_head(client: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n") and (byte := client.recv(1)):
        head += byte
    return head


def test_messages_that_inflate_a_thousandfold_wait_within_the_bound(bench: Bench) -> None:
    with bench.connect() as client:
        client.sendall(HANDSHAKE)
        assert b"permessage-deflate" in read_head(client)
        client.sendall(bomb(MESSAGES_COUNT))
        assert bench.waits.wait(PATIENCE_SECONDS)
        bench.application.go_on.set()
        assert bench.application.all_handled.wait(PATIENCE_SECONDS)
    assert MESSAGE_BYTES < bench.held_bytes <= HELD_MAX_BYTES


def test_no_more_than_that_stands_behind_a_handshake(bench: Bench) -> None:
    """A client waits for the answer first; what did not wait is not inflated."""
    with bench.connect() as client:
        client.sendall(HANDSHAKE + bomb(20))
        try:
            while client.recv(65_536):
                pass
        except ConnectionResetError:
            pass
    assert bench.held_bytes == 0
