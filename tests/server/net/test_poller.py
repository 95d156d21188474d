"""What each poller says of an end, a reset, an error; at select's bound nothing but the newcomer ends.

It must not know protocols. Pollers that this system lacks are left out.
"""

import errno
import fcntl
import os
import resource
import select
import selectors
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from python_server.net.listener import Listener, ListenerState
from python_server.net.loop import Loop
from python_server.net.poller import (
    READABLE,
    SELECT_MAX_COUNT,
    WRITABLE,
    EpollPoller,
    SelectorPoller,
    wait_for,
)
from python_server.net.system import REAL
from python_server.net.transport import Transport
from python_server.settings import TransportSettings

POLLERS: dict[str, Callable[[], Any]] = {"select": lambda: SelectorPoller(selectors.SelectSelector)}
if hasattr(select, "poll"):
    POLLERS["poll"] = lambda: SelectorPoller(selectors.PollSelector)
if hasattr(select, "epoll"):
    POLLERS["epoll"] = EpollPoller


def fail(what: str, error: BaseException) -> None:
    raise error


@pytest.fixture(params=POLLERS.values(), ids=POLLERS)
def loop(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from a_loop(request.param)


@pytest.fixture
def select_loop() -> Iterator[Any]:
    yield from a_loop(POLLERS["select"])


def a_loop(poller: Callable[[], Any]) -> Iterator[Any]:
    loop: Any = Loop(fail, system=replace(REAL, poller=poller))
    loop.mailbox.adopt()
    yield loop
    loop.close()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Of a TCP connection: ours, which does not block, and the client's."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as peer,
    ):
        ours = server.accept()[0]
        ours.setblocking(False)
        with ours:
            yield ours, peer


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["end", "reset"])
def test_a_reader_hears_of_every_end(loop: Any, ends: Any, end: Callable[[Any], None]) -> None:
    ours, peer = ends
    heard: list[str] = []
    loop.add_reader(ours.fileno(), lambda: heard.append("reader"))
    end(peer)
    loop.run_once()
    assert heard == ["reader"]
    loop.remove_reader(ours.fileno())


def test_a_writer_hears_of_a_reset(loop: Any, ends: Any) -> None:
    ours, peer = ends
    try:
        while True:
            ours.send(bytes(65_536))
    except BlockingIOError:
        pass
    heard: list[str] = []
    loop.add_writer(ours.fileno(), lambda: heard.append("writer"))
    loop.run_once(0)
    assert heard == []
    reset(peer)
    loop.run_once()
    assert heard == ["writer"]
    loop.remove_writer(ours.fileno())


def test_a_writer_hears_of_an_error_alone(loop: Any) -> None:
    """epoll says of a full pipe whose reader has gone that there is an error, not that it is writable."""
    receive, send = os.pipe()
    os.set_blocking(send, False)
    try:
        while True:
            os.write(send, bytes(65_536))
    except BlockingIOError:
        pass
    heard: list[str] = []
    loop.add_writer(send, lambda: heard.append("writer"))
    os.close(receive)
    loop.run_once(5.0)
    assert heard == ["writer"]
    loop.remove_writer(send)
    os.close(send)


def test_a_connection_that_is_reset_while_it_is_not_read_ends_once(loop: Any, ends: Any) -> None:
    """A paused connection watches nothing: the next write finds out."""
    ours, peer = ends
    lost: list[str] = []
    transport: Any = Transport(loop, ours, fail, TransportSettings())
    transport.set_handler(Handler(lost))
    transport.pause_reading(1 << 20, True)
    reset(peer)
    loop.run_once(0)
    transport.write(b"x" * 10)
    loop.run_once(0)
    loop.run_once(0)
    assert len(lost) == 1


class Handler:
    """The ByteHandler port: keeps why its connection was lost."""

    def __init__(self, lost: list[str]) -> None:
        self._lost = lost
        self.received = b""

    def receive_buffer(self) -> None:
        return None

    def data_received(self, buffer: Any, nbytes: int) -> None:
        self.received += bytes(memoryview(buffer)[:nbytes])

    def write_blocked(self, blocked: bool) -> None:
        raise AssertionError

    def connection_lost(self, reason: str) -> None:
        self._lost.append(reason)


@pytest.fixture
def beyond(ends: Any) -> Iterator[socket.socket]:
    """A connection whose descriptor has a number that select does not know."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft <= SELECT_MAX_COUNT:
        resource.setrlimit(resource.RLIMIT_NOFILE, (SELECT_MAX_COUNT + 64, hard))
    with socket.socket(fileno=fcntl.fcntl(ends[0].fileno(), fcntl.F_DUPFD_CLOEXEC, SELECT_MAX_COUNT)) as far:
        yield far
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_select_refuses_a_descriptor_that_it_cannot_watch(beyond: socket.socket) -> None:
    with pytest.raises(ValueError, match="out of range"):
        select.select([beyond.fileno()], [], [], 0)  # and so at each turn
    poller = POLLERS["select"]()
    with pytest.raises(OSError, match="select watches 1024 descriptors") as caught:
        poller.register(beyond.fileno(), READABLE)
    assert caught.value.errno == errno.ENOSPC
    assert poller.poll(0) == []
    poller.close()


def test_a_connection_that_select_cannot_watch_ends_and_the_others_go_on(
    select_loop: Any, ends: Any, beyond: socket.socket
) -> None:
    ours, peer = ends
    lost: list[str] = []
    one, other = Handler(lost), Handler(lost)
    for sock, handler in ((ours, one), (beyond, other)):
        Transport(select_loop, sock, fail, TransportSettings()).set_handler(handler)  # type: ignore[arg-type]
    select_loop.run_once(0)
    assert lost == ["select watches 1024 descriptors and no more"]
    peer.send(b"hello")
    select_loop.run_once()
    assert (one.received, other.received) == (b"hello", b"")


def test_a_listener_that_select_cannot_watch_tries_again(select_loop: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        exhausted: list[OSError] = []
        listener = Listener(select_loop, server, lambda sock, peer: sock.close(), exhausted.append, 1)
        watch = select_loop._poller.register
        select_loop._poller.register = refuse
        listener.start()
        assert (listener.state, len(exhausted)) == (ListenerState.BACKING_OFF, 1)
        select_loop._poller.register = watch
        select_loop.run_once(5.0)
        assert listener.state is ListenerState.ACCEPTING
        listener.close()


def refuse(descriptor: int, events: int) -> None:
    raise OSError(errno.ENOSPC, "no more")


def test_what_somebody_has_closed_is_told_once_and_the_others_go_on(select_loop: Any, ends: Any) -> None:
    """epoll and kqueue forget such a descriptor; select fails until it is forgotten."""
    ours, peer = ends
    lost: list[str] = []
    handler, mistreated = Handler(lost), socket.create_connection(peer.getpeername())
    for sock in (ours, mistreated):
        sock.setblocking(False)
        Transport(select_loop, sock, fail, TransportSettings()).set_handler(handler)  # type: ignore[arg-type]
    mistreated.close()
    select_loop.run_once(0)
    select_loop.run_once(0)
    assert lost == ["Bad file descriptor"]
    peer.send(b"hello")
    select_loop.run_once()
    assert handler.received == b"hello"


@pytest.mark.parametrize("lacks", [(), ("PollSelector",)], ids=["poll", "select"])
def test_one_descriptor_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, ends: Any, lacks: tuple[str, ...]
) -> None:
    for name in lacks:
        monkeypatch.delattr(selectors, name)
    ours, peer = ends
    assert not wait_for(ours.fileno(), READABLE, 0)
    assert wait_for(ours.fileno(), READABLE | WRITABLE, 0)
    peer.send(b"x")
    assert wait_for(ours.fileno(), READABLE, None)
