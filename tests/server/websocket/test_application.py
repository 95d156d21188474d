"""What applications see of raw WebSockets, without a socket: routes, registry, threads, faults.

It must not know frames beyond what `wsframe` decodes.
"""

import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from python_server.connection.exchange import Exchange, ExchangeServices
from python_server.connection.websocket_channel import WebSocketServices
from python_server.http1.parser import Request
from python_server.http1.response import StandingFields
from python_server.net.backpressure import Backpressure
from python_server.net.client_backlog import SOFT_BYTES, SOFT_COUNT
from python_server.net.threads import Door, InlineExecutor, Mailbox
from python_server.settings import WebSocketSettings
from python_server.websocket.application import (
    SLOW_CLIENT_TEXT,
    Resource,
    WebSocket,
    WebSocketApplication,
    WebSocketRoutes,
)
from told_time import HandDeadline
from wsframe import Opcode, encode_frame

PATIENCE_SECONDS = 60.0
MASK = b"\1\2\3\4"


class Recorder(WebSocketApplication):
    """Notes its events."""

    inline = True
    subprotocols = ("b", "a")
    allowed_origins = ("http://friend",)

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def on_open(self, ws: WebSocket) -> None:
        self.events.append(("open", ws.path, ws.origin, ws.protocol, ws.header("X-Word"), ws.query))

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        if message == "fail":
            raise LookupError("on purpose")
        self.events.append(("message", message))
        ws.send(message)

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        self.events.append(("close", code, ws.closed))


class FakeTransport:
    """One connection: keeps what was written and the protocol that took it over."""

    peer = local = None
    blocked = False

    def __init__(self) -> None:
        self.sent = b""
        self.handler: Any = None
        self.closed = False
        self.pauses = 0

    def write(self, data: Any) -> None:
        self.sent += bytes(data)

    @property
    def paused(self) -> bool:
        return bool(self.pauses)

    def pause_reading(self, reasons: int, paused: bool) -> None:
        self.pauses = self.pauses | reasons if paused else self.pauses & ~reasons

    def set_handler(self, handler: Any) -> None:
        self.handler = handler

    def close(self, abort: str | None = None) -> None:
        self.closed = True

    def block(self, blocked: bool) -> None:
        """Its client does not take what waits for it, or has taken it."""
        self.blocked = blocked
        self.handler.write_blocked(blocked)

    def receive(self, opcode: int, payload: str | bytes) -> None:
        data = bytearray(encode_frame(opcode, payload, MASK))
        self.handler.data_received(data, len(data))

    def frames(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent


class Bench:
    """Routes with a worker's surroundings faked; handlers run inline."""

    def __init__(self, routes: dict[Any, WebSocketApplication], executor: Any = None) -> None:
        self.mailbox = Mailbox(lambda: None, 1 << 20)
        self.reports: list[BaseException] = []
        self.complaints: list[str] = []
        self.backpressure = Backpressure({}, monotonic)
        self.deadlines: list[HandDeadline] = []
        services = WebSocketServices(
            WebSocketSettings(max_message_bytes=1000, ping_interval_seconds=0.0),
            4_000_000,
            60.0,
            self.backpressure,
            None,
            self._deadline,
            lambda c: None,
            lambda c: None,
            self.mailbox.post,
        )
        self.routes = WebSocketRoutes(
            routes,
            Door(self.mailbox, executor or InlineExecutor()),
            services,
            lambda allowed: lambda request: self._refusal(allowed, request),
            lambda what, error: self.reports.append(error),
            lambda kind, sentence: self.complaints.append(sentence),
            {},
        )

    def _deadline(self, function: Any) -> HandDeadline:
        self.deadlines.append(HandDeadline(function))
        return self.deadlines[-1]

    def until_waiting(self) -> None:
        """A worker waits for somebody to take what it was sent."""
        while not self.backpressure._waiters:
            pass

    @staticmethod
    def _refusal(allowed: Any, request: Request) -> str | None:
        origin = request.get("origin")
        return None if not origin or allowed is None or origin in allowed else f"{origin} is a stranger"

    def open(self, path: str, **fields: str) -> FakeTransport:
        headers = {
            "host": "here",
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "sec-websocket-version": "13",
            **fields,
        }
        request = Request(
            "GET", path, path.partition("?")[0], path.partition("?")[2], (1, 1), list(headers.items())
        )
        request.fields = headers
        transport = FakeTransport()

        def upgrade(make: Any) -> None:
            transport.handler = make(transport, b"")

        exchange = Exchange(
            request,
            ExchangeServices(
                lambda: 0.0, lambda: "today", StandingFields.of("server"), lambda exchange, seconds: None
            ),
            transport,
            lambda keep_alive: None,
            upgrade,
        )
        self.routes.request_received(exchange)
        self.drain()
        return transport

    def drain(self) -> None:
        self.mailbox.drain(lambda what, error: self.reports.append(error))


@pytest.fixture
def worker() -> Iterator[ThreadPoolExecutor]:
    """A thread that is not the loop's, which is the test's own."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture(params=[True, False], ids=["inline", "worker"])
def application(request: pytest.FixtureRequest) -> Recorder:
    recorder = Recorder()
    recorder.inline = request.param  # type: ignore[misc]
    return recorder


def test_the_life_of_a_connection(application: Recorder) -> None:
    bench = Bench({"/a": application})
    fields = {"origin": "http://friend", "sec-websocket-protocol": "a, b", "x-word": "hello"}
    transport = bench.open("/a?q=1", **fields)
    assert transport.frames().startswith(b"HTTP/1.1 101 ")
    assert application.events[0][:3] == ("open", "/a", "http://friend")
    assert application.events[0][3] in ("a", "b")
    assert application.events[0][4:] == ("hello", "q=1")
    transport.receive(Opcode.TEXT, "hi")
    bench.drain()
    assert transport.frames() == b"\x81\x02hi"
    transport.receive(Opcode.CLOSE, b"\x03\xe8")
    transport.handler.connection_lost("closed")
    assert application.events[1:] == [("message", "hi"), ("close", 1000, True)]
    assert application.connection_count == 0


def test_a_failing_handler_is_reported_and_its_connection_closed(application: Recorder) -> None:
    bench = Bench({"/a": application})
    one, other = bench.open("/a"), bench.open("/a")
    one.frames(), other.frames()
    one.receive(Opcode.TEXT, "fail")
    bench.drain()
    assert [type(error) for error in bench.reports] == [LookupError]
    assert one.frames()[:4] == b"\x88\x02\x03\xf3"  # 1011
    other.receive(Opcode.TEXT, "ok")
    bench.drain()
    assert other.frames() == b"\x81\x02ok"


@pytest.mark.parametrize(("size", "bound"), [(1, SOFT_COUNT), (SOFT_BYTES // 8, 8)])
def test_a_client_that_is_faster_than_its_handler_waits(size: int, bound: int) -> None:
    """By number and by bytes; the others go on."""
    jobs: deque[Any] = deque()
    executor = SimpleNamespace(submit=jobs.append, resubmit=jobs.append)
    application = Recorder()
    application.inline = False  # type: ignore[misc]
    application.max_message_bytes = SOFT_BYTES  # type: ignore[misc]
    bench = Bench({"/a": application}, executor)
    fast, other = bench.open("/a"), bench.open("/a")
    while jobs:
        jobs.popleft()()
    for _ in range(bound):
        assert not fast.paused
        fast.receive(Opcode.BINARY, bytes(size))
    assert (fast.paused, other.paused) == (True, False)
    while jobs or fast.paused:
        jobs.popleft()()
        bench.drain()
    assert [event[0] for event in application.events].count("message") == bound


def test_broadcast_and_close_all(application: Recorder) -> None:
    bench = Bench({"/a": application})
    transports = [bench.open("/a") for _ in range(3)]
    for transport in transports:
        transport.frames()
    assert application.connection_count == 3
    application.broadcast("hi")
    application.broadcast(b"\0")
    bench.drain()
    assert {transport.frames() for transport in transports} == {b"\x81\x02hi\x82\x01\0"}
    application.close_all(4000, "x")
    bench.drain()  # asked of the registry,
    bench.drain()  # asked of each connection
    assert {transport.frames() for transport in transports} == {b"\x88\x03\x0f\xa0x"}


LET_GO = {
    "it has taken it": lambda bench, transport: transport.block(False),
    "it is being closed": lambda bench, transport: bench.members[0].close(),
    "it has left": lambda bench, transport: transport.handler.connection_lost("closed"),
}


@pytest.mark.parametrize("how", [*LET_GO, "it was late for too long"])
def test_a_broadcast_of_a_worker_waits_for_a_member_that_is_behind(
    application: Recorder, how: str, worker: ThreadPoolExecutor
) -> None:
    bench = Bench({"/a": application})
    slow, other = bench.open("/a"), bench.open("/a")
    slow.frames(), other.frames()
    bench.members = [ws for ws in application._registry.members if ws._channel._transport is slow]  # type: ignore[attr-defined, union-attr]
    slow.block(True)
    (deadline,) = [deadline for deadline in bench.deadlines if deadline.seconds == 1.0]
    done = worker.submit(application.broadcast, "hi")
    bench.until_waiting()
    bench.drain()
    assert other.frames() == b""
    LET_GO.get(how, lambda bench, transport: deadline.fire())(bench, slow)
    bench.drain()
    done.result(PATIENCE_SECONDS)
    bench.drain()
    assert other.frames() == b"\x81\x02hi"
    assert deadline.seconds is None


def test_who_was_late_once_is_not_waited_for_again(application: Recorder, worker: ThreadPoolExecutor) -> None:
    """Else whoever wants to could hold up everybody again and again."""
    bench = Bench({"/a": application})
    slow, other = bench.open("/a"), bench.open("/a")
    slow.frames(), other.frames()
    slow.block(True)
    bench.deadlines[-1].fire()
    for blocked in (False, True):
        slow.block(blocked)
        worker.submit(application.broadcast, "hi").result(PATIENCE_SECONDS)
        bench.drain()
        assert other.frames() == b"\x81\x02hi"
    slow.handler.connection_lost("slow client")
    bench.drain()
    assert application._registry is not None
    assert not application._registry._late
    assert bench.complaints == [SLOW_CLIENT_TEXT]


def test_what_a_worker_sends_to_one_client_waits_for_that_client_alone(
    application: Recorder, worker: ThreadPoolExecutor
) -> None:
    bench = Bench({"/a": application})
    slow, other = bench.open("/a"), bench.open("/a")
    slow.frames(), other.frames()
    by_transport = {ws._channel._transport: ws for ws in application._registry.members}  # type: ignore[union-attr]
    slow.block(True)
    worker.submit(by_transport[other].send, "hi").result(PATIENCE_SECONDS)  # type: ignore[index]
    done = worker.submit(by_transport[slow].send, "hi")  # type: ignore[index]
    bench.until_waiting()
    bench.drain()
    assert (slow.frames(), other.frames()) == (b"", b"\x81\x02hi")
    by_transport[slow].send("the loop waits for nobody")  # type: ignore[index]
    assert slow.frames().endswith(b"nobody")
    slow.block(False)
    done.result(PATIENCE_SECONDS)
    bench.drain()
    assert slow.frames() == b"\x81\x02hi"


def test_before_it_is_served_an_application_has_nobody() -> None:
    application = Recorder()
    application.broadcast("hi")
    application.close_all()
    assert application.connection_count == 0


def test_a_strangers_origin_is_refused_in_words() -> None:
    bench = Bench({"/a": Recorder()})
    transport = bench.open("/a", origin="http://stranger")
    assert transport.sent.startswith(b"HTTP/1.1 403 ")
    assert transport.sent.endswith(b"http://stranger is a stranger\n")
    assert bench.complaints == ["http://stranger is a stranger"]


def test_paths_exact_before_patterns() -> None:
    exact, pattern = Recorder(), Recorder()
    bench = Bench({re.compile(r"/room/\w+"): pattern, "/room/one": exact})
    assert bench.routes.serves("/room/one")
    assert bench.routes.serves("/room/two")
    assert not bench.routes.serves("/room/two/more")
    bench.open("/room/one")
    bench.open("/room/two")
    assert (len(exact.events), len(pattern.events)) == (1, 1)


def test_only_text_and_bytes_can_be_sent() -> None:
    seen: list[WebSocket] = []

    class Keeper(WebSocketApplication):
        inline = True

        def on_open(self, ws: WebSocket) -> None:
            seen.append(ws)

    transport = Bench({"/a": Keeper()}).open("/a")
    transport.frames()
    with pytest.raises(TypeError, match="must be str or bytes, not dict"):
        seen[0].send({})  # type: ignore[arg-type]
    seen[0].send("x")
    assert transport.frames() == b"\x81\x01x"


def test_a_resource_names_what_is_wrong_with_a_route() -> None:
    with pytest.raises(TypeError, match="route '/a' must be a WebSocketApplication, not type"):
        Resource({"/a": Recorder})  # type: ignore[dict-item]


def test_a_resource_answers_other_requests_with_its_application_or_404() -> None:
    answers: list[str] = []

    def start_response(status: str, headers: Any) -> None:
        answers.append(status)

    assert list(Resource({})({}, start_response)) == [b"There is nothing here.\n"]
    assert answers == ["404 Not Found"]
    assert Resource({}, lambda environ, start_response: [b"mine"])({}, start_response) == [b"mine"]
