"""Accepting for a worker: the limit, the count, the stop (connection/acceptor.py).

It must not know requests: a channel here only remembers what it was told.
"""

import errno
import socket
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from python_server.connection import acceptor as module
from python_server.connection.acceptor import Acceptor
from python_server.connection.address_caps import AddressCaps
from python_server.net.loop import Loop
from python_server.net.scoreboard import Row, Scoreboard
from python_server.net.tls import HandshakeQueue
from python_server.net.transport import Transport
from python_server.settings import Settings, TransportSettings


class Channel:
    def __init__(self, transport: Any, services: Any, *, handed: bool) -> None:
        self.transport = transport
        self.handed = handed
        self.idle = True
        self.received = b""
        self.told: list[str] = []
        self.services = services

    @property
    def peers(self) -> tuple[Any, Any]:
        return self.transport.peer, self.transport.peer

    def receive_buffer(self) -> memoryview | None:
        return None

    def data_received(self, buffer: Any, nbytes: int) -> None:
        self.received += bytes(memoryview(buffer)[:nbytes])

    def write_blocked(self, blocked: bool) -> None:
        raise AssertionError("nothing is written")

    def connection_lost(self, reason: str) -> None:
        self.services.lost(self)

    def refuse_keep_alive(self) -> None:
        self.told.append("refuse")

    def part(self) -> bool:
        self.told.append("part")
        return self.idle

    def close_when_idle(self) -> None:
        self.told.append("idle")
        self.transport.close("idle")

    def abort(self, reason: str) -> None:
        self.transport.close(reason)


class Bench:
    """Its socket is a UNIX one, whose queue has a connection when connect() returns: TCP's gets it later."""

    def __init__(
        self, limit: int | None = None, per_address: int = 0, wait_seconds: float = 60.0, shared: bool = False
    ) -> None:
        self.loop = Loop(self.report)
        self.board = Scoreboard(lambda: 100.0)  # no beat gets old
        self.row = self.board.claim()
        self.complaints: list[str] = []
        self.clients: list[socket.socket] = []
        self.folder = tempfile.TemporaryDirectory(prefix="met-")
        self.socket = socket.socket(socket.AF_INET if per_address else socket.AF_UNIX)
        self.socket.bind(("127.0.0.1", 0) if per_address else f"{self.folder.name}/s")
        self.socket.listen()
        self.socket.setblocking(False)
        self.address = self.socket.getsockname()
        row = Row(self.board, self.row)
        row.beat()
        row.accept(True)
        if shared:
            other = Row(self.board, self.board.claim())
            other.beat()
            other.accept(True)
        self.caps = AddressCaps(per_address, complain=self.complain)
        self.acceptor = Acceptor(
            self.loop,
            replace(Settings(), connections_max_count=limit, connections_wait_seconds=wait_seconds),
            [self.socket],
            row,
            self.complain,
            self.caps,
        )
        services: Any = type("Services", (), {"lost": self.acceptor.lost})
        self.acceptor.set_services(services)

    def complain(self, kind: str, message: str) -> None:
        self.complaints.append(kind)

    def turn_until_answered(self, client: socket.socket) -> bytes:
        client.setblocking(False)
        heard = b""
        while True:
            self.loop.run_once(0.01)
            try:
                piece = client.recv(65_536)
            except BlockingIOError:
                continue
            if not piece:
                return heard
            heard += piece

    def report(self, what: str, error: BaseException) -> None:
        raise AssertionError(what) from error

    def connect(self, count: int = 1) -> None:
        for _ in range(count):
            self.clients.append(socket.socket(self.socket.family))
            self.clients[-1].connect(self.address)

    def until(self, count: int) -> None:
        while len(self.acceptor.channels) != count:
            self.loop.run_once(5)

    def close(self) -> None:
        self.acceptor.stop(take_waiting=False)
        self.acceptor.abort("over")
        self.until(0)
        for client in self.clients:
            client.close()
        self.board.close()
        self.loop.close()
        self.folder.cleanup()


@pytest.fixture(autouse=True)
def channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HTTPChannel", Channel)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_connections_are_counted_on_the_board(bench: Bench) -> None:
    bench.acceptor.start()
    bench.connect(3)
    bench.until(3)
    assert bench.board.connections_count(bench.row) == 3
    next(iter(bench.acceptor.channels)).abort("gone")
    bench.until(2)
    assert bench.board.connections_count(bench.row) == 2


def test_at_the_limit_new_ones_wait_until_one_ends() -> None:
    bench = Bench(limit=2)
    bench.acceptor.start()
    bench.connect(3)
    bench.until(2)
    bench.loop.run_once(0)
    assert len(bench.acceptor.channels) == 2
    assert bench.complaints == ["limit"]
    first = next(iter(bench.acceptor.channels))
    first.abort("gone")
    while first in bench.acceptor.channels:
        bench.loop.run_once(5)
    bench.until(2)
    bench.close()


def test_who_waits_too_long_at_the_limit_is_told_until_one_ends() -> None:
    bench = Bench(limit=2, wait_seconds=0.0)
    bench.acceptor.start()
    bench.connect(3)
    bench.until(2)
    answer = bench.turn_until_answered(bench.clients[2])
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nConnection: close\r\n" in answer
    body = answer.partition(b"\r\n\r\n")[2]
    assert f"Content-Length: {len(body)}\r\n".encode() in answer
    assert len(bench.acceptor.channels) == 2
    assert bench.complaints == ["limit", "limit refused"]
    first = next(iter(bench.acceptor.channels))
    first.abort("gone")
    while first in bench.acceptor.channels:
        bench.loop.run_once(5)
    bench.connect()
    bench.until(2)
    bench.close()


def test_at_the_limit_nobody_is_refused_whom_another_worker_can_take() -> None:
    bench = Bench(limit=2, shared=True)
    bench.acceptor.start()
    bench.connect(3)
    bench.until(2)
    bench.acceptor._tell_newcomers()
    for _ in range(20):
        bench.loop.run_once(0)
    bench.clients[2].setblocking(False)
    with pytest.raises(BlockingIOError):
        bench.clients[2].recv(1)
    assert bench.complaints == ["limit"]
    bench.close()


def test_one_address_has_so_many_connections_and_no_more() -> None:
    bench = Bench(per_address=2)
    bench.acceptor.start()
    bench.connect(2)
    bench.until(2)
    bench.connect()
    assert bench.turn_until_answered(bench.clients[2]).startswith(b"HTTP/1.1 503 ")
    assert len(bench.acceptor.channels) == 2
    assert bench.complaints == ["connections of one address"]
    first = next(iter(bench.acceptor.channels))
    first.abort("gone")
    bench.until(1)
    bench.connect()
    bench.until(2)
    bench.close()


def test_on_a_tls_port_who_is_refused_costs_no_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "tls_context", lambda settings: object())  # no handshake can begin
    bench = Bench(per_address=1)
    bench.caps.opened("127.0.0.1")
    bench.acceptor.start()
    bench.connect()
    assert bench.turn_until_answered(bench.clients[0]) == b""
    assert bench.complaints == ["connections of one address"]
    bench.close()


@pytest.mark.parametrize(("take_waiting", "count"), [(True, 3), (False, 1)])
def test_a_stop_takes_what_waits_only_where_nobody_else_would(take_waiting: bool, count: int) -> None:
    bench = Bench()
    bench.acceptor.start()
    bench.connect()
    bench.until(1)
    bench.connect(2)
    bench.acceptor.stop(take_waiting=take_waiting)
    assert len(bench.acceptor.channels) == count
    assert all("refuse" in channel.told for channel in bench.acceptor.channels)
    with pytest.raises(OSError, match="refused"):
        bench.connect()
    bench.acceptor.close_idle()
    bench.until(0)
    bench.close()


def test_a_stop_takes_no_more_than_the_limit_and_tells_the_others() -> None:
    bench = Bench(limit=2)
    bench.acceptor.start()
    bench.connect()
    bench.until(1)
    bench.connect(2)
    bench.acceptor.stop(take_waiting=True)
    assert len(bench.acceptor.channels) == 2
    assert bench.turn_until_answered(bench.clients[2]).startswith(b"HTTP/1.1 503 ")
    assert bench.complaints == []  # nobody waits any more
    bench.close()


def test_a_connection_from_a_sibling_comes_with_its_bytes(bench: Bench) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    transport = module.Transport(bench.loop, ours, bench.report, Settings().transport)
    bench.acceptor.serve(transport, b"GET / HTTP/1.1\r\n\r\n")
    (channel,) = bench.acceptor.channels
    assert (channel.handed, channel.received) == (True, b"GET / HTTP/1.1\r\n\r\n")
    theirs.send(b"more")
    bench.loop.run_once(5)
    assert channel.received.endswith(b"more")
    theirs.close()


class Talk:
    """A WebSocket, say: open, and no connection to part with."""

    peers = ("192.0.2.1", 1), ("192.0.2.1", 1)


@pytest.mark.parametrize(("others", "parted"), [(0, 22), (40, 0)])
def test_far_above_its_share_a_worker_parts_with_as_many_idle_connections(
    monkeypatch: pytest.MonkeyPatch, others: int, parted: int
) -> None:
    monkeypatch.setattr(module, "SPREAD_SECONDS", 0.001)
    bench = Bench()
    other = Row(bench.board, bench.board.claim())
    other.beat()
    other.accept(True)
    other.count(100)  # until all have been accepted here
    bench.acceptor.start()
    bench.connect(40)
    bench.until(40)
    channels: list[Any] = list(bench.acceptor.channels)
    for channel in channels[:4]:
        channel.idle = False
    talks = [Talk() for _ in range(4)]
    for talk in talks:
        bench.acceptor.add(talk)
    other.count(others)
    begun = bench.loop.now
    while bench.loop.now < begun + 0.02:  # looked at several times
        bench.loop.run_once(0.005)
    assert len([channel for channel in channels if channel.told and channel.idle]) == parted
    for talk in talks:
        bench.acceptor.lost(talk)
    bench.close()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_connection_that_cannot_be_watched_is_not_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, secure: bool
) -> None:
    """As at /proc/sys/fs/epoll/max_user_watches."""
    bench.acceptor.start()
    if secure:
        acceptor = bench.acceptor
        told = (acceptor._established, acceptor._handshake_lost)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        monkeypatch.setattr(acceptor, "_tls", HandshakeQueue(bench.loop, context, 30.0, b"", *told))
    poller: Any = bench.loop._poller
    real = poller.register

    def register(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(poller, "register", register)
    bench.connect()
    assert bench.clients[0].getpeername() == bench.address
    while not bench.acceptor.channels:
        bench.loop.run_once(5)
    bench.until(0)
    assert bench.board.connections_count(bench.row) == 0
    assert bench.clients[0].recv(1) == b""
    monkeypatch.setattr(poller, "register", real)
    bench.connect()
    bench.until(1)


def test_a_connection_of_another_machine_is_served_once_by_what_it_brings(bench: Bench) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    bench.clients.append(theirs)
    transport = Transport(bench.loop, ours, bench.report, TransportSettings(), ("192.0.2.9", 1), None)
    services: Any = type("Others", (), {"lost": bench.acceptor.lost})
    bench.acceptor.serve_one(transport, services, b"GET / HTTP/1.1\r\n\r\n")
    channel: Any = next(iter(bench.acceptor.channels))
    assert (channel.handed, channel.received, channel.told) == (True, b"GET / HTTP/1.1\r\n\r\n", ["refuse"])
    assert channel.services is services
    assert bench.caps._connections == {"192.0.2.9": 1}
    theirs.send(b"more")
    bench.loop.run_once(5)
    assert channel.received.endswith(b"more")
    channel.abort("over")
    bench.until(0)
    assert bench.caps._connections == {}
