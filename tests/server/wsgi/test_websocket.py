"""A blocking WebSocket without socket or thread: what it holds for its application, and when it lets go.

It must not know WSGI; the test is both the loop and the worker.
"""

from functools import partial
from time import monotonic
from typing import Any

import pytest

from python_server.connection.exchange import Exchange, ExchangeServices
from python_server.connection.websocket_channel import WebSocketServices
from python_server.http1.parser import Request
from python_server.net.backlog import SOFT_BYTES
from python_server.net.backpressure import Backpressure
from python_server.net.pauses import Pause
from python_server.net.threads import Door, InlineExecutor, Mailbox
from python_server.wsgi.websocket import MAX_QUEUE_COUNT, BlockingWebSocket
from told_time import HandDeadline
from wsframe import Opcode, encode_frame

FIELDS = {
    "host": "here",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "sec-websocket-version": "13",
}


class FakeTransport:
    """Keeps what was written and why it is not read from."""

    peer = local = outbox = None
    blocked = False

    def __init__(self) -> None:
        self.sent = b""
        self.pauses = 0
        self.handler: Any = None

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    def pause_reading(self, reasons: int, paused: bool) -> None:
        self.pauses = self.pauses | reasons if paused else self.pauses & ~reasons

    def set_handler(self, handler: Any) -> None:
        self.handler = handler

    def close(self, abort: str | None = None, *, reset: bool = False) -> None:
        pass

    def receive(self, payload: bytes) -> None:
        data = bytearray(encode_frame(Opcode.BINARY, payload, b"mask"))
        self.handler.data_received(data, len(data))


class Bench:
    """One of them, its handshake answered."""

    def __init__(self) -> None:
        self.mailbox = Mailbox(lambda: None, 1 << 20)
        self.transport = FakeTransport()
        nobody: Any = lambda channel: None  # noqa: E731
        services = WebSocketServices(
            SOFT_BYTES,
            100,
            10.0,
            4_000_000,
            30.0,
            0.0,
            0.0,
            60.0,
            1.0,
            Backpressure({}, monotonic),
            None,
            HandDeadline,
            nobody,
            nobody,
            nobody,
        )
        request = Request("GET", "/", "/", "", (1, 1), list(FIELDS.items()))
        request.fields = FIELDS
        clock = ExchangeServices(lambda: 0.0, lambda: "today", "server", lambda exchange, seconds: None)
        exchange = Exchange(request, clock, self.transport, lambda keep_alive: None, self._upgrade)
        door = Door(self.mailbox, InlineExecutor())
        self.websocket = BlockingWebSocket(exchange, door, services, {}, MAX_QUEUE_COUNT)
        self.websocket.accept()

    def _upgrade(self, make: Any) -> None:
        self.transport.handler = make(self.transport, b"")

    def drain(self) -> None:
        self.mailbox.drain(lambda what, error: pytest.fail(f"{what}: {error}"))

    def receive(self, count: int) -> None:
        """The worker, then the loop."""
        for _ in range(count):
            assert self.websocket.receive(0) is not None
        self.drain()


BOUNDS = [(MAX_QUEUE_COUNT, 1), (8, SOFT_BYTES // 8)]


@pytest.mark.parametrize(("count", "size"), BOUNDS)
def test_a_client_that_is_faster_than_its_application_waits(count: int, size: int) -> None:
    bench = Bench()
    for _ in range(count):
        assert not bench.transport.pauses
        bench.transport.receive(bytes(size))
    assert bench.transport.pauses == Pause.MESSAGES
    bench.receive(count // 2 - 1)
    assert bench.transport.pauses == Pause.MESSAGES
    bench.receive(1)
    assert not bench.transport.pauses


@pytest.mark.parametrize(("count", "size"), BOUNDS)
def test_one_that_was_blocked_meanwhile_waits_as_well(count: int, size: int) -> None:
    """It reads what waited for it: its application is still behind."""
    bench = Bench()
    handler = bench.transport.handler
    handler.write_blocked(True)
    for _ in range(count):
        bench.transport.receive(bytes(size))
    handler.write_blocked(False)
    assert bench.transport.pauses == Pause.MESSAGES
    bench.receive(count // 2)
    assert not bench.transport.pauses
    for _ in range(count // 2):  # and again, as often as it likes
        bench.transport.receive(bytes(size))
    assert bench.transport.pauses == Pause.MESSAGES


def test_an_application_that_was_faster_than_the_pause_does_not_wait_for_ever() -> None:
    bench = Bench()
    pause = bench.transport.pause_reading

    def empty_first(reasons: int, paused: bool) -> None:
        if paused:
            bench.receive(MAX_QUEUE_COUNT)  # it saw no pause
        pause(reasons, paused)

    bench.transport.pause_reading = empty_first  # type: ignore[method-assign]
    for _ in range(MAX_QUEUE_COUNT):
        bench.transport.receive(b"x")
    assert not bench.transport.pauses


def test_a_word_that_comes_late_does_not_end_the_next_pause() -> None:
    """Two receives below the bound ask twice; the second is heard when the queue is full again."""
    bench = Bench()
    send = partial(bench.transport.receive, b"x")
    for _ in range(MAX_QUEUE_COUNT):
        send()
    for _ in range(MAX_QUEUE_COUNT // 2 + 1):
        bench.websocket.receive(0)
    bench.transport.pause_reading(Pause.MESSAGES, False)
    while not bench.transport.pauses:
        send()
    bench.drain()
    assert bench.transport.pauses == Pause.MESSAGES


def test_after_the_application_the_rest_is_dropped_up_to_the_close_frame() -> None:
    bench = Bench()
    for _ in range(MAX_QUEUE_COUNT):
        bench.transport.receive(b"x")
    bench.websocket.finish()
    bench.drain()
    assert bench.transport.sent.endswith(b"\x88\x02\x03\xe8")  # 1000
    assert not bench.transport.pauses  # else the client's own close frame would never be read
    for _ in range(2 * MAX_QUEUE_COUNT):
        bench.transport.receive(b"x")
    assert not bench.transport.pauses
