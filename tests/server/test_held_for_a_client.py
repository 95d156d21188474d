"""A client that is faster than its handler: what a worker holds for it stays within the stated bound.

Every face, each with a client that always reads, one that stopped reading, and one that stopped and went on.
It must not know how a face counts: what counts is what the worker has taken from the client's socket. A real
worker runs in this process; handlers stand still until the test lets them go on, so nothing is timed.
"""

import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from threading import Event, Lock
from typing import Any

import pytest

from python_server import Resource, WebSocket, WebSocketApplication, WSGIServer
from python_server.api.python_engineio import EngineServer
from python_server.api.python_socketio import Server, WSGIApp
from python_server.connection.http_channel import HTTPChannel
from python_server.connection.websocket_channel import WebSocketChannel
from python_server.net.client_backlog import SOFT_BYTES, SOFT_COUNT
from python_server.settings import Settings
from wsframe import Decoder, Opcode, Role, encode_frame

PATIENCE_SECONDS = 60.0
SETTINGS = Settings(access_log=None)
RECEIVE_BYTES = SETTINGS.transport.receive_buffer_bytes
QUEUED_MAX_BYTES = 2 * 1024 * 1024  # of a client that polls
MASK = bytes(4)  # leaves the payload as it is

# (bytes of a message, how many are sent): many small ones, far above the bound by number; or by bytes.
SMALL = (64, 20_000)
LARGE = (262_144, 64)


class Application:
    """What all faces do with a message: by its first letter they keep it, or send it back."""

    def __init__(self) -> None:
        self.go_on = Event()
        self.handled = Counter[str]()
        self._lock = Lock()
        self.engine = EngineServer(max_queued_bytes=QUEUED_MAX_BYTES)
        self.server = Server(max_queued_bytes=QUEUED_MAX_BYTES)
        self.engine.on(
            "message", lambda sid, text: self.work(text, lambda answer: self.engine.send(sid, answer))
        )
        for event, inline in (("m", False), ("i", True)):
            self.server.on(event, self._event, inline=inline)
        self.raw = {"/event": Raw(self), "/inline": Raw(self, inline=True)}
        site = WSGIApp(self.engine, WSGIApp(self.server, self._blocking))
        self.site = Resource(self.raw, site)

    def work(self, text: str, answer: Callable[[str], None]) -> None:
        kind = text[0]
        if kind == "k":  # kept
            assert self.go_on.wait(PATIENCE_SECONDS)
        else:
            if kind == "h":  # hello
                self._answer = answer
            answer(text)
        with self._lock:
            self.handled[kind] += 1

    def push(self, count: int) -> None:
        """A worker: large messages to the client that said hello last."""
        for _ in range(count):
            self._answer("p" + "x" * LARGE[0])

    def _message(self, sid: str, text: str) -> None:
        self.work(text, lambda answer: self.engine.send(sid, answer))

    def _event(self, sid: str, text: str) -> None:
        self.work(text, lambda answer: self.server.emit("a", answer, to=sid))

    def _blocking(self, environ: Any, start_response: Any) -> list[bytes]:
        ws = environ["wsgi.websocket"]
        while (text := ws.receive()) is not None:
            self.work(text, ws.send)
        return []


class Raw(WebSocketApplication):
    def __init__(self, application: Application, inline: bool = False) -> None:
        self.inline = inline  # type: ignore[misc]
        self._work = application.work

    def on_message(self, ws: WebSocket, message: Any) -> None:
        self._work(message, ws.send)


class Bench:
    """The worker, and what it has taken from each client's connection."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        self.application = Application()
        self.taken_bytes = Counter[Any]()
        self.transports: dict[Any, Any] = {}
        self.clients: list[Any] = []
        for channel in (HTTPChannel, WebSocketChannel):
            monkeypatch.setattr(channel, "data_received", self._counting(channel.data_received))
        self.worker = WSGIServer(("127.0.0.1", 0), self.application.site, settings)
        self.worker.start()

    def _counting(self, data_received: Any) -> Any:
        def count(channel: Any, buffer: Any, nbytes: int) -> None:
            transport = channel._transport
            self.transports[transport.peer] = transport
            self.taken_bytes[transport.peer] += nbytes
            data_received(channel, buffer, nbytes)

        return count

    def ask(self, question: Callable[[], Any]) -> Any:
        """The loop's own word; asked after whatever it did before."""
        assert self.worker._worker is not None
        return self.worker._worker._pools.door.ask(question, PATIENCE_SECONDS)

    def producer_waits(self, client: Any) -> bool:
        """For it, or for whatever it is a member of."""
        return bool(self.transports[client.address]._handler._services.backpressure._waiters)

    def until(self, condition: Callable[[], Any]) -> None:
        """Asked once a turn of the loop."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.ask(condition):
            assert time.monotonic() < end, "it never came"

    def until_settled(self, client: Any, sending: "Future[Any]") -> None:
        """Everything has been taken that will be: the client waits, or has sent all and it has come."""
        taken_bytes, same_count = -1, 0

        def settled() -> bool:
            nonlocal taken_bytes, same_count
            before_bytes, taken_bytes = taken_bytes, self.taken_bytes[client.address]
            ended = client.waits(self) or sending.done()
            same_count = same_count + 1 if ended and taken_bytes == before_bytes else 0
            return same_count == 20

        self.until(settled)


@pytest.fixture
def make_bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Settings], Bench]]:
    benches: list[Bench] = []

    def make(settings: Settings) -> Bench:
        benches.append(Bench(monkeypatch, settings))
        return benches[-1]

    yield make
    for bench in benches:
        bench.application.go_on.set()
        for client in bench.clients:
            client.close()
        bench.worker.stop(0)


@pytest.fixture
def bench(make_bench: Callable[[Settings], Bench]) -> Bench:
    return make_bench(SETTINGS)


class WebSocketClient:
    """One of any face that speaks through a WebSocket."""

    def __init__(self, bench: Bench, face: str) -> None:
        path, self._wrap, self._prefix = FACES[face]
        self._socket = socket.create_connection(bench.worker.address, PATIENCE_SECONDS)
        self.address = self._socket.getsockname()
        self._decoder = Decoder(Role.CLIENT)
        self._messages: list[Any] = []
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._socket.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        if "socket.io" in path:
            self.send_text("40")
            assert self._hear("40")

    def send_text(self, text: str) -> None:
        self._socket.sendall(encode_frame(Opcode.TEXT, text, MASK))

    def send(self, text: str) -> None:
        self.send_text(self._wrap(text))

    def _hear(self, prefix: str) -> bool:
        """Wait for a message that begins so."""
        while True:
            while self._messages:
                if self._messages.pop(0).startswith(prefix):
                    return True
            data = self._socket.recv(1 << 20)
            if not data:
                return False
            self._messages += [item for item in self._decoder.receive(data) if type(item) is str]

    def hear(self, kind: str) -> bool:
        return self._hear(self._prefix + kind)

    def waits(self, bench: Bench) -> bool:
        """Loop's thread: is it not read from?"""
        return bool(bench.transports[self.address].pauses)

    def held_unsent(self, bench: Bench) -> int:
        return int(bench.transports[self.address].queued_bytes)

    def close(self) -> None:
        self._socket.close()


class PollingClient:
    """One that polls: its messages come in payloads of a few, the next when the one before was answered."""

    PACKETS_COUNT = 3

    def __init__(self, bench: Bench, face: str) -> None:
        self._path, self._wrap, self._prefix = FACES[face]
        self._posts, self._polls = (HTTPConnection(*bench.worker.address, PATIENCE_SECONDS) for _ in range(2))
        opened = json.loads(self._get()[1:])
        self._path += f"&sid={opened['sid']}"
        self._unsent: list[str] = []
        self._messages: list[str] = []
        if "socket.io" in self._path:
            self._post("40")
            assert self._get().startswith("40")
        else:
            self._post("3")
        self.address = self._posts.sock.getsockname()
        engine = next(engine for path, engine in bench.worker._worker._cluster.engines if path in self._path)  # type: ignore[union-attr]
        self.session = engine.sessions[opened["sid"]]

    def _get(self) -> str:
        self._polls.request("GET", self._path)
        return self._polls.getresponse().read().decode()

    def _post(self, payload: str) -> None:
        self._posts.request("POST", self._path, payload)
        response = self._posts.getresponse()
        response.read()
        if response.status != 200:
            raise ConnectionError(response.status)

    def send(self, text: str) -> None:
        self._unsent.append(self._wrap(text))
        if len(self._unsent) == self.PACKETS_COUNT or text[0] in "ho":
            payload, self._unsent = "\x1e".join(self._unsent), []
            self._post(payload)

    def hear(self, kind: str) -> bool:
        while True:
            while self._messages:
                if self._messages.pop(0).startswith(self._prefix + kind):
                    return True
            self._messages += self._get().split("\x1e")

    def waits(self, bench: Bench) -> bool:
        return self.session._when_reading is not None

    def held_unsent(self, bench: Bench) -> int:
        return int(self.session.held_bytes)

    def close(self) -> None:
        self._posts.close()
        self._polls.close()


def event(name: str) -> Callable[[str], str]:
    return lambda text: f'42["{name}","{text}"]'


# Face: its path, how a message is written, how an answer begins.
FACES: dict[str, tuple[str, Callable[[str], str], str]] = {
    "event": ("/event", str, ""),
    "inline": ("/inline", str, ""),
    "blocking": ("/blocking", str, ""),
    "EngineServer": ("/engine.io/?EIO=4&transport=websocket", "4{}".format, "4"),
    "Socket.IO": ("/socket.io/?EIO=4&transport=websocket", event("m"), '42["a","'),
    "Socket.IO inline": ("/socket.io/?EIO=4&transport=websocket", event("i"), '42["a","'),
    "EngineServer polling": ("/engine.io/?EIO=4&transport=polling", "4{}".format, "4"),
    "Socket.IO polling": ("/socket.io/?EIO=4&transport=polling", event("m"), '42["a","'),
}
KEEPING = [face for face in FACES if face != "inline"]  # that handler cannot stand still: the loop runs it
POLLING = [face for face in FACES if "polling" in face]


def connect(bench: Bench, face: str) -> Any:
    client = (PollingClient if face in POLLING else WebSocketClient)(bench, face)
    bench.clients.append(client)
    return client


def bound_bytes(face: str, size: int) -> int:
    """What may be held: the bound by number or bytes, and what one receive, or one POST, brings beyond it."""
    framed = size + 32
    waiting = SOFT_COUNT * framed if size < 4096 else SOFT_BYTES + framed
    if "polling" in face:
        heads = (SOFT_COUNT // PollingClient.PACKETS_COUNT + 2) * 256
        return waiting + PollingClient.PACKETS_COUNT * framed + heads
    return waiting + RECEIVE_BYTES + framed


def send_all(client: Any, kind: str, size: int, count: int) -> None:
    text = kind + "x" * (size - 1)
    for _ in range(count):
        client.send(text)


def others_are_served(bench: Bench, face: str) -> None:
    other = connect(bench, face)
    other.send("o")
    assert other.hear("o")
    other.close()


def block_and_go_on(bench: Bench, client: Any, face: str, executor: ThreadPoolExecutor) -> None:
    """It is sent much, takes nothing until it holds up who sends, and then takes it all."""
    count = 6 if face in POLLING else 36
    pushing = executor.submit(bench.application.push, count)
    bench.until(lambda: pushing.done() or bench.transports[client.address].blocked)
    for _ in range(count):
        assert client.hear("p")
    pushing.result(PATIENCE_SECONDS)
    bench.until(lambda: client.held_unsent(bench) == 0)


@pytest.mark.parametrize(("size", "count"), [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("past", ["never blocked", "blocked meanwhile"])
@pytest.mark.parametrize("face", KEEPING)
def test_a_handler_that_stands_still(bench: Bench, face: str, past: str, size: int, count: int) -> None:
    handled, client = bench.application.handled, connect(bench, face)
    client.send("h")
    assert client.hear("h")
    if face in POLLING:
        count = 900 if size < 4096 else 63
    before_bytes = bench.ask(lambda: bench.taken_bytes[client.address])
    with ThreadPoolExecutor(2) as executor:
        if face == "Socket.IO inline":
            client.send_text(event("m")("k"))  # one that is not inline stands before all others
        sending = executor.submit(send_all, client, "k", size, count)
        bench.until_settled(client, sending)
        if past == "blocked meanwhile":
            block_and_go_on(bench, client, face, executor)
            bench.until_settled(client, sending)
        assert bench.taken_bytes[client.address] - before_bytes <= bound_bytes(face, size)
        others_are_served(bench, face)
        bench.application.go_on.set()
        sending.result(PATIENCE_SECONDS)
        bench.until(lambda: handled["k"] == count + (face == "Socket.IO inline"))
    bench.until(lambda: bench.transports[client.address].pauses == 0)
    leave(bench, client)


@pytest.mark.parametrize("face", ["EngineServer", "Socket.IO"])
def test_a_burst_of_the_smallest_messages_waits(bench: Bench, face: str) -> None:
    """One receive may bring more of them than a client that cannot be paused may have waiting."""
    client, count = connect(bench, face), 60_000
    bench.application.go_on.set()
    client._socket.sendall(encode_frame(Opcode.TEXT, client._wrap("k"), MASK) * count)
    bench.until(lambda: bench.application.handled["k"] == count)
    others_are_served(bench, face)


@pytest.mark.parametrize("face", [face for face in FACES if face not in POLLING])
def test_a_client_that_takes_no_answers(bench: Bench, face: str) -> None:
    """It is not read from, its messages wait; once it reads, it gets every answer."""
    size, count = LARGE
    client = connect(bench, face)
    with ThreadPoolExecutor(1) as executor:
        sending = executor.submit(send_all, client, "e", size, count)
        bench.until_settled(client, sending)
        # In this order no message is counted twice: it is handled first, and then its answer is unsent.
        unsent_bytes = bench.ask(lambda: client.held_unsent(bench))
        unhandled_count = bench.taken_bytes[client.address] // size - bench.application.handled["e"]
        held_bytes = unhandled_count * size + unsent_bytes
        watermark_bytes = SETTINGS.transport.high_watermark_bytes
        assert held_bytes <= bound_bytes(face, size) + watermark_bytes
        others_are_served(bench, face)
        for _ in range(count):
            assert client.hear("e")
        sending.result(PATIENCE_SECONDS)
    bench.until(lambda: not client.waits(bench))
    assert bench.ask(lambda: client.held_unsent(bench)) == 0
    leave(bench, client)


@pytest.mark.parametrize("face", POLLING)
def test_a_client_that_never_polls(bench: Bench, face: str) -> None:
    """Its answers wait up to a bound; then its session ends."""
    size, count = LARGE
    client = connect(bench, face)
    most_bytes = [0]

    def send_and_look() -> None:
        for _ in range(count):
            client.send("e" + "x" * (size - 1))
            most_bytes.append(bench.ask(lambda: client.held_unsent(bench)))

    with pytest.raises(ConnectionError):
        send_and_look()
    assert max(most_bytes) <= QUEUED_MAX_BYTES + size + 32
    others_are_served(bench, face)
    assert bench.ask(lambda: client.session._queue) == []
    client.close()


def members_wait(seconds: float) -> Settings:
    return replace(SETTINGS, websocket=replace(SETTINGS.websocket, broadcast_wait_seconds=seconds))


@pytest.mark.parametrize(
    ("face", "way"),
    [
        ("event", "send"),
        ("event", "broadcast"),
        ("inline", "send"),
        ("inline", "broadcast"),
        ("blocking", "send"),
    ],
)
def test_a_producer_is_no_faster_than_a_client_that_reads(
    make_bench: Callable[[Settings], Bench], face: str, way: str
) -> None:
    """It would fill what is cut at 16 MiB many times over."""
    bench, (size, count) = make_bench(members_wait(PATIENCE_SECONDS)), LARGE
    client = connect(bench, face)
    client.send("h")
    assert client.hear("h")
    produce = bench.application.push
    if way == "broadcast":
        produce = partial(broadcast_all, bench.application.raw[f"/{face}"])
    with ThreadPoolExecutor(1) as executor:
        producing = executor.submit(produce, 4 * count)
        bench.until(lambda: bench.producer_waits(client) or producing.done())
        most_bytes = SETTINGS.transport.high_watermark_bytes + SETTINGS.mailbox_max_bytes + 2 * size
        assert bench.ask(lambda: client.held_unsent(bench)) <= most_bytes
        others_are_served(bench, face)
        for _ in range(4 * count):
            assert client.hear("p")
        producing.result(PATIENCE_SECONDS)
    leave(bench, client)


@pytest.mark.parametrize("face", ["event", "inline"])
def test_a_member_that_does_not_read_holds_nobody_for_ever(
    make_bench: Callable[[Settings], Bench], face: str
) -> None:
    """It is waited for once, then it is left behind, and cut where the bound is."""
    bench = make_bench(members_wait(0.05))
    raw = bench.application.raw[f"/{face}"]
    dead, client = connect(bench, face), connect(bench, face)
    bench.until(lambda: raw.connection_count == 2)
    with ThreadPoolExecutor(1) as executor:
        while raw.connection_count == 2:
            producing = executor.submit(broadcast_all, raw, 16)  # few: this client is never late by much
            for _ in range(16):
                assert client.hear("p")
            producing.result(PATIENCE_SECONDS)
    assert bench.ask(lambda: dead.held_unsent(bench)) == 0
    leave(bench, client)


def broadcast_all(raw: Raw, count: int) -> None:
    for _ in range(count):
        raw.broadcast("p" + "x" * LARGE[0])


def leave(bench: Bench, client: Any) -> None:
    """The client goes; nothing of it stays."""
    client.close()
    assert bench.worker._worker is not None
    acceptor = bench.worker._worker._acceptor
    bench.until(lambda: not acceptor.channels)
    bench.until(lambda: not any(raw.connection_count for raw in bench.application.raw.values()))
