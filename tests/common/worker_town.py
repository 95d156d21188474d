"""Several workers on one loop, joined as siblings, with real connections: what the tests of hand-overs drive.

It must not know what any test expects.
"""

import gc
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from joined_peers import joined
from python_server.connection.acceptor import Channel
from python_server.connection.address_caps import AddressCaps
from python_server.connection.exchange import Exchange, ExchangeServices
from python_server.connection.http_channel import HTTPChannel, HTTPServices
from python_server.connection.websocket_channel import WebSocketServices
from python_server.engineio.packet import Prepared, message
from python_server.engineio.server import Engine, EngineOptions
from python_server.engineio.session_ids import SessionIds
from python_server.http1.parser import Request
from python_server.http1.response import StandingFields
from python_server.net.backpressure import Backpressure
from python_server.net.loop import Deadline, Loop
from python_server.net.tls import HandshakeQueue, TLSTransport
from python_server.net.transport import Transport
from python_server.settings import HTTPSettings, TransportSettings, WebSocketSettings
from python_server.workers.handover import Handover
from python_server.workers.peers import Peers
from wsframe import Close, Decoder, Opcode, Role, encode_frame

TURNS_MAX_COUNT = 20_000
ENGINE_PATH = "/engine.io/"
LIMITS = replace(
    TransportSettings(),
    high_watermark_bytes=100_000,
    low_watermark_bytes=10_000,
    hard_limit_bytes=50_000_000,
)


def descriptors_count() -> int:
    """Open descriptors of this process."""
    gc.collect()  # what was left to the collector is open no more, then and now
    return len(os.listdir("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd"))


def get(query: str, fields: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"GET %s?%s HTTP/%s\r\nHost: localhost\r\n%s\r\n" % (
        ENGINE_PATH.encode(),
        query.encode(),
        version,
        fields,
    )


def post(sid: str, body: bytes, *, chunked: bool = False) -> bytes:
    head = b"POST %s?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: localhost\r\n" % (
        ENGINE_PATH.encode(),
        sid.encode(),
    )
    if not chunked:
        return head + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def upgrade(sid: str = "") -> bytes:
    query = "EIO=4&transport=websocket" + (f"&sid={sid}" if sid else "")
    return get(
        query,
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    )


def frame(text: str) -> bytes:
    return bytes(encode_frame(Opcode.TEXT, text, mask=b"mask"))


def frames_decoder() -> Decoder:
    return Decoder(Role.CLIENT)


class Heard:
    """A session handler that says everything back."""

    def __init__(self) -> None:
        self.sessions: list[Any] = []
        self.messages: list[str | bytes] = []
        self.closed: list[str] = []

    def session_opened(self, session: Any) -> None:
        self.sessions.append(session)

    def on_message(self, session: Any, data: str | bytes) -> None:
        self.messages.append(data)
        session.send(Prepared([message(data)]))

    def session_closed(self, session: Any, reason: str) -> None:
        self.closed.append(str(reason))


class Elsewhere:
    """What answers paths that are not the engine's: with the worker's index and the body.

    Below /long/ as many further bytes follow as the path says.
    """

    def __init__(self, index: int) -> None:
        self.index = index

    def request_received(self, exchange: Exchange) -> None:
        exchange.context = []
        exchange.send_continue()

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        exchange.context.append(piece)

    def body_ended(self, exchange: Exchange) -> None:
        _, mark, count = exchange.request.path.partition("/long/")
        body = b"".join(exchange.context) + (b"x" * int(count) if mark else b"")
        exchange.respond(200, [], b"worker %d:" % self.index + body)

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        exchange.abort(reason)


class Worker:
    """One of them: an engine under ENGINE_PATH, everything else answered by `Elsewhere`."""

    def __init__(self, loop: Loop, index: int, faults: list[Any], **options: Any) -> None:
        self.loop = loop
        self.faults = faults
        self.channels: set[Any] = set()
        self.complaints: list[str] = []
        self.answered: list[tuple[str, int, Any]] = []
        self.heard = Heard()
        self.siblings = Peers(loop, index, self.report, self.complain)
        self.homes = Handover(
            loop,
            self.siblings,
            self.serve,
            self.began,
            self.channels.discard,
            self.report,
            self.complain,
            LIMITS,
        )
        deadline = partial(Deadline, loop)
        websockets = WebSocketServices(
            WebSocketSettings(),
            4_000_000,
            60.0,
            Backpressure({}, monotonic),
            None,
            deadline,
            self.channels.add,
            self.channels.discard,
            loop.call_soon,
        )
        self.engine = Engine(
            self.heard,
            EngineOptions(**{"ping_interval_seconds": 3600.0} | options),  # no ping in between, however slow
            loop.call_later,
            loop.call_soon,
            lambda: loop.now,
            websockets,
            self.complain,
            SessionIds(index),
            self.homes,
        )
        self.elsewhere = Elsewhere(index)
        self.services = HTTPServices(
            route=lambda request: self.engine if request.path == ENGINE_PATH else self.elsewhere,
            settings=HTTPSettings(),
            deadline=deadline,
            exchange=ExchangeServices(
                lambda: loop.now, lambda: "today", StandingFields.of("town"), self.count
            ),
            lost=self.channels.discard,
            stop=lambda request: request.path == ENGINE_PATH and self.engine.is_foreign(request.query),
        )

    def report(self, what: str, error: BaseException) -> None:
        self.faults.append((what, error))

    def complain(self, kind: str, sentence: str) -> None:
        self.complaints.append(sentence)

    def began(self, channel: Channel) -> None:
        """What the acceptor asks of each connection, and the cap of memory of all."""
        AddressCaps().key(*channel.peers)
        assert channel.held_bytes >= 0
        self.channels.add(channel)

    def count(self, exchange: Exchange, seconds: float) -> None:
        self.answered.append((exchange.request.target, exchange.status, exchange.request.peer))

    def serve(self, transport: Transport, data: bytes = b"") -> None:
        channel = HTTPChannel(transport, self.services, handed=bool(data))
        self.channels.add(channel)
        transport.set_handler(channel)
        if data:
            channel.data_received(bytearray(data), len(data))

    def requests(self) -> list[Request]:
        return [session.request for session in self.heard.sessions]


class Client:
    """A client's end of a connection, plain; `pump` moves what can be moved without waiting."""

    def __init__(self, town: "Town", sock: socket.socket) -> None:
        sock.setblocking(False)
        self.town = town
        self.sock = sock
        self.received = bytearray()
        self.unsent = bytearray()
        self.ended = False
        self.reading = True

    def send(self, data: bytes) -> None:
        self.unsent += data
        self.pump()

    def pump(self) -> None:
        try:
            while self.unsent:
                del self.unsent[: self.sock.send(self.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.unsent.clear()
        try:
            while self.reading and not self.ended:
                self.take(self.sock.recv(1 << 20))
        except BlockingIOError:
            pass
        except OSError:
            self.ended = True

    def take(self, data: bytes) -> None:
        self.received += data
        self.ended = not data

    def response(self) -> tuple[int, bytes]:
        """(status, body) of the next answer."""
        self.town.until(lambda: b"\r\n\r\n" in self.received or self.ended)
        head, mark, _ = bytes(self.received).partition(b"\r\n\r\n")
        assert mark, bytes(self.received)
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        start = len(head) + 4
        self.town.until(lambda: len(self.received) >= start + length or self.ended)
        body = bytes(self.received[start : start + length])
        del self.received[: start + length]
        return int(head.split()[1]), body

    def ask(self, data: bytes) -> tuple[int, bytes]:
        self.send(data)
        return self.response()

    def open(self) -> str:
        """A polling session over this connection; its sid."""
        status, body = self.ask(get("EIO=4&transport=polling"))
        assert status == 200, body
        return str(json.loads(body[1:])["sid"])

    def poll(self, sid: str) -> tuple[int, bytes]:
        return self.ask(get(f"EIO=4&transport=polling&sid={sid}"))

    def post(self, sid: str, body: bytes) -> tuple[int, bytes]:
        return self.ask(post(sid, body))

    def leave(self) -> None:
        self.sock.close()

    def messages(self, count: int, decoder: Decoder) -> list[Any]:
        """That many messages of a WebSocket whose 101 has been read."""
        got: list[Any] = []

        def enough() -> bool:
            data = bytes(self.received)
            self.received.clear()
            got.extend("closed" if isinstance(event, Close) else event for event in decoder.receive(data))
            return len(got) >= count or self.ended

        self.town.until(enough)
        return got


class TLSClient(Client):
    """A client's end of a TLS connection."""

    def __init__(self, town: "Town", sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(town, sock)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.up = False
        town.until(self.shake)

    def shake(self) -> bool:
        try:
            self.tls.do_handshake()
            self.up = True
        except ssl.SSLWantReadError:
            pass
        super().pump()
        self.flush()
        return self.up

    def flush(self) -> None:
        self.unsent += self.outgoing.read()
        super().pump()

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view) :]
        self.flush()

    def take(self, data: bytes) -> None:
        if not data:
            self.ended = True
            return
        self.incoming.write(data)
        if not self.up:
            return
        try:
            while plain := self.tls.read(1 << 20):
                self.received += plain
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True


def turn_until(loop: Loop, clients: Iterable[Client], done: Callable[[], bool]) -> None:
    """Turn the loop and the clients until `done()`."""
    for _ in range(TURNS_MAX_COUNT):
        if done():
            return
        loop.run_once(0.002)
        for client in clients:
            if client.sock.fileno() >= 0:
                client.pump()
    raise AssertionError("it has not come to pass")


class Town:
    """Workers that are each other's siblings, on one loop.

    Args:
        count: of workers, with indexes from 1. options: of their engines.
    """

    get = staticmethod(get)
    post = staticmethod(post)
    upgrade = staticmethod(upgrade)
    frame = staticmethod(frame)
    frames_decoder = staticmethod(frames_decoder)
    descriptors_count = staticmethod(descriptors_count)

    def __init__(self, count: int = 3, **options: Any) -> None:
        self.faults: list[Any] = []
        self.loop = Loop(lambda what, error: self.faults.append((what, error)))
        self.loop.mailbox.adopt()
        self.workers = {i: Worker(self.loop, i, self.faults, **options) for i in range(1, count + 1)}
        self.clients: list[Client] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        joined(*(worker.siblings for worker in self.workers.values()))
        self.until(lambda: all(len(worker.siblings.living) == count - 1 for worker in self.workers.values()))

    def __getitem__(self, index: int) -> Worker:
        return self.workers[index]

    def until(self, done: Callable[[], bool]) -> None:
        """Turn the loop and the clients until `done()`."""
        turn_until(self.loop, self.clients, done)

    def turn(self, count: int = 5) -> None:
        for _ in range(count):
            self.loop.run_once(0)

    def connect(self, index: int) -> Client:
        """A new connection, accepted by that worker."""
        ours, theirs, peer = self._pair()
        client = Client(self, ours)
        self.clients.append(client)
        self[index].serve(
            Transport(self.loop, theirs, self[index].report, LIMITS, peer, theirs.getsockname())
        )
        return client

    def connect_unix(self, index: int, path: str) -> Client:
        """The same through a UNIX socket."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        client = Client(self, ours)
        self.clients.append(client)
        self[index].serve(Transport(self.loop, theirs, self[index].report, LIMITS, "", path))
        return client

    def connect_tls(self, index: int, server: ssl.SSLContext, client: ssl.SSLContext) -> TLSClient:
        """The same over TLS."""
        ours, theirs, peer = self._pair()
        transport = TLSTransport(self.loop, theirs, self[index].report, LIMITS, peer, theirs.getsockname())
        transport.begin(
            HandshakeQueue(
                self.loop,
                server,
                30.0,
                b"",
                lambda transport, greeting: self[index].serve(transport),
                lambda greeting, reason: None,
            )
        )
        made = TLSClient(self, ours, client)
        self.clients.append(made)
        return made

    def _pair(self) -> tuple[socket.socket, socket.socket, Any]:
        ours = socket.create_connection(self.listening.getsockname())
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        theirs, peer = self.listening.accept()
        theirs.setblocking(False)
        return ours, theirs, peer

    def close(self) -> None:
        for client in self.clients:
            client.leave()
        for worker in self.workers.values():
            for channel in list(worker.channels):
                channel.abort("the test is over")
        self.turn()
        for worker in self.workers.values():
            worker.siblings.close()
        self.turn()
        self.loop.close()
        self.listening.close()
