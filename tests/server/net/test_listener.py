"""Accepting: batches, options of new sockets, running out of descriptors (net/listener.py).

It must not know connections' purpose; the loop is turned by hand.
"""

import errno
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from python_server.net.listener import Listener, ListenerState
from python_server.net.loop import Loop


class Bench:
    """Its socket is a UNIX one, whose queue has a connection when connect() returns: TCP's gets it later."""

    def __init__(self, batch_count: int = 3, *, tcp: bool = False) -> None:
        self.reported: list[str] = []
        self.loop = Loop(lambda what, error: self.reported.append(str(error)))
        self.folder = tempfile.TemporaryDirectory(prefix="met-")
        self.socket = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        self.socket.bind(("127.0.0.1", 0) if tcp else f"{self.folder.name}/s")
        self.socket.listen()
        self.socket.setblocking(False)
        self.address = self.socket.getsockname()
        self.accepted: list[socket.socket] = []
        self.exhausted: list[int | None] = []
        self.clients: list[socket.socket] = []
        self.listener = Listener(
            self.loop,
            self.socket,
            lambda sock, peer: self.accepted.append(sock),
            lambda error: self.exhausted.append(error.errno),
            batch_count,
        )
        self.listener.start()

    def connect(self, count: int) -> None:
        for _ in range(count):
            self.clients.append(socket.socket(self.socket.family))
            self.clients[-1].connect(self.address)

    def close(self) -> None:
        self.listener.close()
        for sock in (*self.accepted, *self.clients):
            sock.close()
        self.loop.close()
        self.folder.cleanup()

    def fail_with(self, number: int) -> None:
        """The next accepts fail with this error, until `heal`."""
        real = self.socket

        class Failing:
            def accept(self) -> Any:
                raise OSError(number, "failing")

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        self.listener._socket = Failing()  # type: ignore[assignment]

    def heal(self) -> None:
        self.listener._socket = self.socket


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_a_turn_takes_one_batch_r67(bench: Bench) -> None:
    bench.connect(5)
    bench.loop.run_once(0)
    assert len(bench.accepted) == 3
    bench.loop.run_once(0)
    assert len(bench.accepted) == 5


def test_accepted_sockets_do_not_block_and_do_not_wait_for_more_r72() -> None:
    bench = Bench(tcp=True)
    bench.connect(1)
    while not bench.accepted:
        bench.loop.run_once(5)
    assert not bench.accepted[0].getblocking()
    assert bench.accepted[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    bench.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_out_of_descriptors_looks_away_and_comes_back_r67(bench: Bench, number: int) -> None:
    bench.connect(1)
    bench.fail_with(number)
    bench.loop.run_once(0)
    assert bench.exhausted == [number]
    assert bench.listener.state is ListenerState.BACKING_OFF
    bench.loop.run_once(0)
    assert bench.exhausted == [number]  # no busy loop: not even looked at
    bench.heal()
    bench.loop.now += 1.0
    bench.loop._run_due()
    assert bench.listener.state is ListenerState.ACCEPTING
    bench.loop.run_once(0)
    assert len(bench.accepted) == 1
    assert bench.reported == []


def test_the_wait_doubles_up_to_a_second(bench: Bench) -> None:
    bench.connect(1)
    bench.fail_with(errno.EMFILE)
    waits = []
    for _ in range(10):
        bench.loop.run_once(0)
        (timer,) = [timer for timer in bench.loop._timers if timer.function is not None]
        waits.append(round(timer.when - bench.loop.now, 3))
        bench.loop.now = timer.when
        bench.loop._run_due()
    assert waits[:4] == [0.01, 0.02, 0.04, 0.08]
    assert waits[-1] == 1.0


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.ECONNRESET], ids=["unix", "windows"])
def test_a_connection_lost_in_the_backlog_is_passed_over(bench: Bench, number: int) -> None:
    bench.connect(1)
    bench.fail_with(number)
    bench.loop.run_once(0)
    assert bench.exhausted == []
    assert bench.listener.state is ListenerState.ACCEPTING
    bench.heal()
    bench.loop.run_once(0)
    assert len(bench.accepted) == 1


def test_a_paused_listener_leaves_clients_in_the_backlog(bench: Bench) -> None:
    bench.listener.pause()
    bench.connect(1)
    bench.loop.run_once(0)
    assert bench.accepted == []
    bench.listener.start()
    bench.loop.run_once(0)
    assert len(bench.accepted) == 1


def test_closing_twice_is_closing_once_r2(bench: Bench) -> None:
    bench.listener.close()
    bench.listener.close()
    assert bench.listener.state is ListenerState.CLOSED
    assert bench.socket.fileno() == -1


def test_a_pause_in_the_middle_of_a_batch_holds_at_once_r67(bench: Bench) -> None:
    def take(connection: socket.socket, peer: Any) -> None:
        bench.accepted.append(connection)
        bench.listener.pause()

    bench.listener._accepted = take
    bench.connect(2)
    bench.loop.run_once(0)
    assert len(bench.accepted) == 1
    bench.listener.start()
    bench.loop.run_once(0)
    assert len(bench.accepted) == 2


def test_a_pause_outlasts_the_back_off(bench: Bench) -> None:
    bench.connect(1)
    bench.fail_with(errno.EMFILE)
    bench.loop.run_once(0)
    bench.listener.pause()
    bench.heal()
    bench.loop.now += 10.0
    bench.loop._run_due()
    assert bench.listener.state is ListenerState.PAUSED
    bench.loop.run_once(0)
    assert bench.accepted == []


def test_a_broken_listening_socket_is_given_up_r67(bench: Bench) -> None:
    bench.connect(1)
    bench.fail_with(errno.EINVAL)
    bench.loop.run_once(0)
    assert bench.listener.state is ListenerState.CLOSED
    assert bench.socket.fileno() < 0
    assert len(bench.reported) == 1


def test_what_the_system_has_accepted_is_taken_before_the_end(bench: Bench) -> None:
    bench.connect(3)
    bench.listener.drain_and_close()
    assert len(bench.accepted) == 3
    assert bench.listener.state is ListenerState.CLOSED


def test_connections_are_left_to_those_with_fewer_for_a_moment() -> None:
    bench = Bench()
    allowed = [2]
    bench.listener._allowance = lambda: allowed[0] - len(bench.accepted)
    bench.connect(5)
    bench.loop.run_once(5)
    assert len(bench.accepted) == 2
    bench.loop.run_once(5)
    assert bench.listener.state is ListenerState.YIELDING
    assert len(bench.accepted) == 3  # one at least: nobody else may have been woken for it
    while len(bench.accepted) < 4:  # nobody else takes them: one after each pause
        bench.loop.run_once(5)
    assert bench.listener.state is ListenerState.YIELDING
    allowed[0] = 10
    while len(bench.accepted) < 5:
        bench.loop.run_once(5)
    assert bench.listener.state is ListenerState.ACCEPTING
    bench.close()


def test_while_none_is_allowed_all_wait_and_are_taken_soon_after() -> None:
    bench = Bench()
    allowed: list[int | None] = [None]
    bench.listener._allowance = lambda: allowed[0]
    bench.connect(3)
    looked_count = 0
    while looked_count < 3:
        bench.loop.run_once(5)
        looked_count += bench.listener.state is ListenerState.YIELDING
    assert bench.accepted == []
    allowed[0] = 10
    while len(bench.accepted) < 3:
        bench.loop.run_once(5)
    assert bench.listener.state is ListenerState.ACCEPTING
    bench.close()


@pytest.mark.parametrize("end", ["drain_and_close", "close", "pause"])
def test_a_yielding_listener_can_be_ended_and_paused(end: str) -> None:
    bench = Bench()
    bench.listener._allowance = lambda: 0
    bench.connect(3)
    bench.loop.run_once(5)
    assert bench.listener.state is ListenerState.YIELDING
    getattr(bench.listener, end)()
    assert len(bench.accepted) == (3 if end == "drain_and_close" else 1)
    assert not [timer for timer in bench.loop._timers if timer.function is not None]
    bench.close()


@contextmanager
def two_on_one_socket() -> Iterator[tuple[Bench, Bench]]:
    """Two loops, each with a listener of its own, none of them started."""
    first, second = Bench(), Bench()
    try:
        second.listener.close()
        second.listener = Listener(
            second.loop,
            first.socket.dup(),
            lambda sock, peer: second.accepted.append(sock),
            lambda error: None,
            3,
            lambda: 3,
        )
        first.listener.pause()
        first.listener._allowance = lambda: 3
        yield first, second
    finally:
        second.close()
        first.close()


def test_one_of_several_loops_is_woken_for_a_connection() -> None:
    with two_on_one_socket() as benches:
        first, second = benches
        for bench in benches:
            bench.listener.start()
        for count in range(1, 6):
            first.connect(1)
            for bench in benches:
                bench.loop.run_once(0)
            assert len(first.accepted) + len(second.accepted) == count


def test_a_connection_that_another_was_woken_for_is_found_again() -> None:
    """As when the other has died between its waking and its accepting."""
    with two_on_one_socket() as (first, second):
        first.listener.start()
        second.listener.start()
        first.connect(1)
        first.loop._poller.poll(0)  # woken, and then nothing
        first.listener.close()
        second.listener.look_again()
        second.loop.run_once(5)
        assert len(second.accepted) == 1
        second.listener.pause()
        second.listener.look_again()
        assert second.listener.state is ListenerState.PAUSED


def test_a_system_that_watches_no_further_descriptor_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.listener.pause()
    poller: Any = bench.loop._poller
    real = poller.register

    def register(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(poller, "register", register)
    bench.listener.start()
    assert (bench.listener.state, bench.exhausted) == (ListenerState.BACKING_OFF, [errno.ENOSPC])
    monkeypatch.setattr(poller, "register", real)
    bench.connect(1)
    while not bench.accepted:
        bench.loop.run_once(5)
    bench.close()
