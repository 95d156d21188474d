"""Accepting for a worker: the limit, the count, the stop (reception.py).

It must not know requests: a channel here only remembers what it was told.
"""

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from python_server import reception as module
from python_server.net.board import Board, Row
from python_server.net.loop import Loop
from python_server.reception import Reception
from python_server.settings import Settings


class Channel:
    def __init__(self, transport: Any, services: Any, *, handed: bool) -> None:
        self.transport = transport
        self.handed = handed
        self.received = b""
        self.told: list[str] = []
        self.services = services

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

    def close_when_idle(self) -> None:
        self.told.append("idle")
        self.transport.close("idle")

    def abort(self, reason: str) -> None:
        self.transport.close(reason)


class Bench:
    def __init__(self, limit: int | None = None) -> None:
        self.loop = Loop(self.report)
        self.board = Board()
        self.row = self.board.claim()
        self.complaints: list[str] = []
        self.clients: list[socket.socket] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.address = self.socket.getsockname()
        row = Row(self.board, self.row)
        row.beat()
        row.accept(True)
        self.reception = Reception(
            self.loop,
            replace(Settings(), connections_max_count=limit),
            [self.socket],
            row,
            lambda kind, message: self.complaints.append(kind),
        )
        services: Any = type("Services", (), {"lost": self.reception.lost})
        self.reception.set_services(services)

    def report(self, what: str, error: BaseException) -> None:
        raise AssertionError(what) from error

    def connect(self, count: int = 1) -> None:
        self.clients += [socket.create_connection(self.address) for _ in range(count)]

    def until(self, count: int) -> None:
        while len(self.reception.channels) != count:
            self.loop.run_once(5)

    def close(self) -> None:
        self.reception.stop(take_waiting=False)
        self.reception.abort("over")
        self.until(0)
        for client in self.clients:
            client.close()
        self.board.close()
        self.loop.close()


@pytest.fixture(autouse=True)
def channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HTTPChannel", Channel)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_connections_are_counted_on_the_board(bench: Bench) -> None:
    bench.reception.start()
    bench.connect(3)
    bench.until(3)
    assert bench.board.connections_count(bench.row) == 3
    next(iter(bench.reception.channels)).abort("gone")
    bench.until(2)
    assert bench.board.connections_count(bench.row) == 2


def test_at_the_limit_new_ones_wait_until_one_ends() -> None:
    bench = Bench(limit=2)
    bench.reception.start()
    bench.connect(3)
    bench.until(2)
    bench.loop.run_once(0)
    assert len(bench.reception.channels) == 2
    assert bench.complaints == ["limit"]
    first = next(iter(bench.reception.channels))
    first.abort("gone")
    while first in bench.reception.channels:
        bench.loop.run_once(5)
    bench.until(2)
    bench.close()


@pytest.mark.parametrize(("take_waiting", "count"), [(True, 3), (False, 1)])
def test_a_stop_takes_what_waits_only_where_nobody_else_would(take_waiting: bool, count: int) -> None:
    bench = Bench()
    bench.reception.start()
    bench.connect()
    bench.until(1)
    bench.connect(2)
    bench.reception.stop(take_waiting=take_waiting)
    assert len(bench.reception.channels) == count
    assert all("refuse" in channel.told for channel in bench.reception.channels)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(bench.address)
    bench.reception.close_idle()
    bench.until(0)
    bench.close()


def test_a_connection_from_a_sibling_comes_with_its_bytes(bench: Bench) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    transport = module.Transport(bench.loop, ours, bench.report, Settings().transport)
    bench.reception.serve(transport, b"GET / HTTP/1.1\r\n\r\n")
    (channel,) = bench.reception.channels
    assert (channel.handed, channel.received) == (True, b"GET / HTTP/1.1\r\n\r\n")
    theirs.send(b"more")
    bench.loop.run_once(5)
    assert channel.received.endswith(b"more")
    theirs.close()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_a_connection_that_cannot_be_watched_is_not_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, secure: bool
) -> None:
    """As at /proc/sys/fs/epoll/max_user_watches."""
    bench.reception.start()
    if secure:
        monkeypatch.setattr(bench.reception, "_tls", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    poller: Any = bench.loop._poller
    real = poller.register

    def register(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(poller, "register", register)
    bench.connect()
    assert bench.clients[0].getsockname()
    while not bench.reception.channels:
        bench.loop.run_once(5)
    bench.until(0)
    assert bench.board.connections_count(bench.row) == 0
    assert bench.clients[0].recv(1) == b""
    monkeypatch.setattr(poller, "register", real)
    bench.connect()
    bench.until(1)
