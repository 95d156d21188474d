"""A blocking WebSocket without a connection: what an application says and hears, what is held, how it ends.

It must not know who routes to it; the test is both the loop and the worker.
"""

import socket
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import pytest

from python_server.connection.exchange import Exchange, ExchangeServices
from python_server.connection.websocket_channel import WebSocketServices
from python_server.http1.parser import Request
from python_server.http1.response import StandingFields
from python_server.net.backpressure import Backpressure
from python_server.net.bounded_queue import BoundedQueue
from python_server.net.client_backlog import SOFT_BYTES
from python_server.net.pauses import Pause
from python_server.net.threads import Door, InlineExecutor, Mailbox
from python_server.settings import WebSocketSettings
from python_server.wsgi.environ import ServerFacts
from python_server.wsgi.handler import WSGIHandler, WSGIServices
from python_server.wsgi.websocket import BlockingWebSocket, WebSocketError, WebSocketTakeover
from told_time import HandDeadline
from wsframe import Opcode, encode_frame

MAX_QUEUE_COUNT = 64
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
        self.own: socket.socket | None = None  # that can be detached
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

    def detach(self) -> socket.socket | None:
        return self.own

    def receive(self, payload: bytes, opcode: Opcode = Opcode.BINARY) -> None:
        data = bytearray(encode_frame(opcode, payload, b"mask"))
        self.handler.data_received(data, len(data))


def services() -> WebSocketServices:
    return WebSocketServices(
        settings=WebSocketSettings(max_message_bytes=SOFT_BYTES, ping_interval_seconds=0.0),
        closing_max_bytes=4_000_000,
        send_timeout_seconds=60.0,
        backpressure=Backpressure({}, monotonic),
        deflate=None,
        deadline=HandDeadline,
        began=lambda channel: None,
        ended=lambda channel: None,
        call_soon=lambda function: pytest.fail("so much does not come at once"),
    )


class Bench:
    """One request for a WebSocket, and what stands around it; `leftover` came behind its head."""

    def __init__(self, leftover: bytes = b"", **fields: str) -> None:
        self.mailbox = Mailbox(lambda: None, 1 << 20)
        self.door = Door(self.mailbox, InlineExecutor())
        self.transport = FakeTransport()
        self.leftover = leftover
        self.reported: list[BaseException] = []
        self.relayed: list[bytes] = []
        self.taken_count = 0
        given = FIELDS | {name.replace("_", "-"): value for name, value in fields.items()}
        request = Request("GET", "/talk", "/talk", "", (1, 1), tuple(given.items()), upgrade="websocket")
        request.fields = given
        clock = ExchangeServices(
            lambda: 0.0, lambda: "today", StandingFields.of("server"), lambda exchange, seconds: None
        )
        self.exchange = Exchange(request, clock, self.transport, lambda keep_alive: None, self._upgrade)

    def _upgrade(self, make: Any) -> None:
        self.transport.handler = make(self.transport, self.leftover)

    def run(self, application: Callable[[dict[str, Any]], object]) -> bytes:
        """What the client of an application gets that has this environ; its failure is in `reported`."""

        def called(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            application(environ)
            return []

        executor = InlineExecutor()
        handler = WSGIHandler(
            WSGIServices(
                application=called,
                executor=executor,
                post=self.mailbox.post,
                facts=ServerFacts(),
                report=lambda what, error: self.reported.append(error),
                window_bytes=1000,
                waiting_count=lambda: 0,
                queue_count=10,
                takeover=self._takeover,
                takeover_executor=executor,
                places_count=1,
                on_waited=lambda seconds: None,
                now=lambda: 0.0,
            )
        )
        handler.request_received(self.exchange)
        self.drain()
        return self.transport.sent

    def _takeover(self, exchange: Exchange) -> WebSocketTakeover:
        return WebSocketTakeover(exchange, self.door, services(), self._relay, self._socket_taken, 64)

    def _relay(self, transport: Any, leftover: bytes) -> tuple[Any, Any]:
        self.relayed.append(leftover)
        end, other = socket.socketpair()
        other.sendall(leftover)
        other.close()
        return end, "what feeds it"

    def _socket_taken(self) -> None:
        self.taken_count += 1

    def drain(self) -> None:
        self.mailbox.drain(lambda what, error: pytest.fail(f"{what}: {error}"))


class OpenBench(Bench):
    """With its handshake answered."""

    def __init__(self) -> None:
        super().__init__()
        self.websocket = BlockingWebSocket(
            self.exchange, self.door, services(), BoundedQueue(SOFT_BYTES - 1, MAX_QUEUE_COUNT)
        )
        self.websocket.accept()
        self.transport.sent = b""

    def receive(self, count: int) -> None:
        """The worker, then the loop."""
        for _ in range(count):
            assert self.websocket.receive(0) is not None
        self.drain()


BOUNDS = [(MAX_QUEUE_COUNT, 1), (8, SOFT_BYTES // 8)]


@pytest.mark.parametrize(("count", "size"), BOUNDS)
def test_a_client_that_is_faster_than_its_application_waits(count: int, size: int) -> None:
    bench = OpenBench()
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
    bench = OpenBench()
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
    bench = OpenBench()
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
    bench = OpenBench()
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
    bench = OpenBench()
    for _ in range(MAX_QUEUE_COUNT):
        bench.transport.receive(b"x")
    bench.websocket.finish(1000)
    bench.drain()
    assert bench.transport.sent.endswith(b"\x88\x02\x03\xe8")  # 1000
    assert not bench.transport.pauses  # else the client's own close frame would never be read
    for _ in range(2 * MAX_QUEUE_COUNT):
        bench.transport.receive(b"x")
    assert not bench.transport.pauses


SENT = [
    ("word", {}, Opcode.TEXT, b"word"),
    (b"bytes", {}, Opcode.BINARY, b"bytes"),
    (bytearray(b"more"), {}, Opcode.BINARY, b"more"),
    (memoryview(b"view"), {}, Opcode.BINARY, b"view"),
    ("word", {"binary": True}, Opcode.BINARY, b"word"),
    (b"word", {"binary": False}, Opcode.TEXT, b"word"),
    (42, {}, Opcode.TEXT, b"42"),
]


@pytest.mark.parametrize(("message", "how", "opcode", "payload"), SENT)
def test_a_message_is_text_or_binary_by_its_type_or_by_choice(
    message: object, how: dict[str, bool], opcode: Opcode, payload: bytes
) -> None:
    bench = OpenBench()
    bench.websocket.send(message, **how)
    bench.drain()
    assert bench.transport.sent == encode_frame(opcode, payload)


def test_what_the_request_said_and_what_was_agreed_on() -> None:
    said: list[object] = []

    def application(environ: dict[str, Any]) -> None:
        ws = environ["wsgi.websocket"]
        said.extend([environ["wsgi.websocket_version"], ws.path, ws.origin, ws.version, ws.protocol])
        assert ws.environ is environ
        assert not ws.accepted
        assert not ws.closed
        ws.accept(("chat",))
        said.append(ws.protocol)
        ws.accept(("another",))  # it has been accepted

    wire = Bench(origin="http://page", sec_websocket_protocol="soup, chat").run(application)
    assert said == ["13", "/talk", "http://page", "13", None, "chat"]
    assert wire.count(b"HTTP/1.1 101 ") == 1


def test_an_environ_can_be_shown_and_shows_nothing_of_the_server() -> None:
    def application(environ: dict[str, Any]) -> None:
        shown.append(repr(environ))
        environ["wsgi.websocket"].accept()
        shown.append(repr(environ))

    shown: list[str] = []
    bench = Bench()
    bench.run(application)
    assert not bench.reported
    assert all("BlockingWebSocket object at" in text for text in shown)


def test_messages_come_in_order_then_nothing_in_time_then_the_end() -> None:
    bench = OpenBench()
    websocket, transport = bench.websocket, bench.transport
    transport.receive(b"one", Opcode.TEXT)
    transport.receive(b"two")
    assert [websocket.receive(), websocket.receive()] == ["one", b"two"]
    with pytest.raises(TimeoutError):
        websocket.receive(0)
    transport.receive(b"\x0f\xa2bye", Opcode.CLOSE)
    transport.handler.connection_lost("closed")
    assert websocket.receive() is None
    assert (websocket.closed, websocket.close_code, websocket.close_reason) == (True, 4002, "bye")
    with pytest.raises(WebSocketError):
        websocket.send("late")


@pytest.mark.parametrize("reason", ["bye", b"bye"])
def test_an_application_closes_with_code_and_reason(reason: str | bytes) -> None:
    bench = OpenBench()
    bench.websocket.close(4002, reason)
    bench.websocket.close(4003)
    bench.drain()
    assert bench.transport.sent == encode_frame(Opcode.CLOSE, b"\x0f\xa2bye")
    assert bench.websocket.closed


def test_a_refused_handshake_is_the_applications_fault_no_more_than_a_client_that_left() -> None:
    def application(environ: dict[str, Any]) -> None:
        environ["wsgi.websocket"].receive()

    refused = Bench(sec_websocket_version="7")
    assert refused.run(application).startswith(b"HTTP/1.1 426 ")
    left = Bench()
    left.exchange.drop()
    assert left.run(application) == b""
    assert refused.reported == left.reported == []


def ends(error: BaseException | None) -> Bench:
    """An application that has accepted, and then ends."""
    bench = Bench()

    def application(environ: dict[str, Any]) -> None:
        environ["wsgi.websocket"].accept()
        bench.transport.sent = b""
        if error is not None:
            raise error

    bench.run(application)
    return bench


@pytest.mark.parametrize("error", [None, WebSocketError("closed"), StopIteration(), ConnectionResetError()])
def test_an_application_that_is_done_closes_with_1000(error: BaseException | None) -> None:
    bench = ends(error)
    assert bench.transport.sent == encode_frame(Opcode.CLOSE, b"\x03\xe8")
    assert bench.reported == []


@pytest.mark.parametrize("error", [LookupError("on purpose"), SystemExit(1)])
def test_an_application_that_fails_closes_with_1011(error: BaseException) -> None:
    bench = ends(error)
    assert bench.transport.sent == encode_frame(Opcode.CLOSE, b"\x03\xf3")
    assert bench.reported == [error]


def test_one_that_fails_before_it_accepts_answers_500() -> None:
    bench = Bench()
    wire = bench.run(lambda environ: environ["no such key"])
    assert wire.startswith(b"HTTP/1.1 500 ")
    assert isinstance(bench.reported[0], KeyError)


def test_the_socket_is_given_at_its_first_use_and_closed_behind_the_application() -> None:
    bench = Bench()
    bench.transport.own, peer = socket.socketpair()

    def application(environ: dict[str, Any]) -> None:
        sock = environ["werkzeug.socket"]
        with pytest.raises(AttributeError):
            sock._closed  # noqa: B018  # a look at what is private takes nothing
        assert bench.taken_count == 0
        sock.sendall(b"by hand")
        assert (bench.taken_count, sock.gettimeout()) == (1, None)
        raise OSError("closed under its writer")

    with peer:
        assert bench.run(application) == b""  # nothing is answered by us
        assert peer.recv(100) == b"by hand"
        assert peer.recv(100) == b""
    assert bench.reported == []
    assert not bench.exchange.open


@pytest.mark.parametrize("leftover", [b"", b"a frame"])
def test_a_connection_that_cannot_be_given_away_is_relayed(leftover: bytes) -> None:
    bench = Bench(leftover)
    heard: list[bytes] = []
    bench.run(lambda environ: heard.append(environ["werkzeug.socket"].recv(100)))
    assert heard == bench.relayed == [leftover]
    assert bench.transport.handler == "what feeds it"


def test_who_takes_the_socket_of_a_client_that_left_is_forgiven() -> None:
    bench = Bench()
    bench.exchange.drop()
    bench.run(lambda environ: environ["werkzeug.socket"].recv(100))
    assert bench.reported == []
    assert bench.taken_count == 0
