"""Messages and descriptors between two processes' ends, here both on one loop (net/link.py).

It must not know what messages are for.
"""

import errno
import gc
import os
import random
import resource
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from python_server.net import link as module
from python_server.net.link import FRAME_MAX_BYTES, Link, LinkState, encode, pair
from python_server.net.loop import Loop
from python_server.net.poller import SelectorPoller, best_poller
from python_server.net.system import REAL


class End:
    def __init__(self, loop: Loop, sock: socket.socket, reported: list[str], max_queued_bytes: int) -> None:
        self.got: list[tuple[int, bytes, int | None]] = []
        self.lost = 0
        self.link = Link(
            loop,
            sock,
            lambda kind, payload, descriptor: self.got.append((kind, payload, descriptor)),
            self.on_lost,
            lambda what, error: reported.append(f"{what}: {error}"),
            max_queued_bytes,
        )

    def on_lost(self) -> None:
        self.lost += 1


class Bench:
    def __init__(self, selectors: bool = False) -> None:
        self.reported: list[str] = []
        self.loop = Loop(
            lambda what, error: self.reported.append(f"{what}: {error}"),
            system=replace(REAL, poller=SelectorPoller if selectors else best_poller),
        )
        first, second = pair()
        self.first = End(self.loop, first, self.reported, 1_000_000)
        self.second = End(self.loop, second, self.reported, 1_000_000)

    def turn(self, times: int = 3) -> None:
        for _ in range(times):
            self.loop.run_once(0)

    def until(self, count: int) -> None:
        while len(self.second.got) < count:
            self.loop.run_once(5)

    def close(self) -> None:
        self.first.link.close()
        self.second.link.close()
        self.turn()
        self.loop.close()


@pytest.fixture(params=[False, True], ids=["best", "selectors"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(request.param)
    yield bench
    bench.close()


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


def test_messages_arrive_whole_and_in_order_both_ways(bench: Bench) -> None:
    sent = [(kind, bytes([kind]) * size) for kind, size in enumerate([0, 1, 5, 100_000, 3, 300_000, 0, 7])]
    for kind, payload in sent:
        assert bench.first.link.send(kind, payload[:2], payload[2:])
    assert bench.second.link.send(255, b"back")
    bench.until(len(sent))
    assert [(kind, payload) for kind, payload, _ in bench.second.got] == sent
    assert bench.first.got == [(255, b"back", None)]
    assert bench.first.link.queued_bytes == 0


def test_a_message_has_left_before_a_client_is_answered(bench: Bench) -> None:
    """Else an event is acknowledged that the others never hear of, when this process is killed in between."""
    queued: list[int] = []
    answer = SimpleNamespace(flush=lambda: queued.append(bench.first.link.queued_bytes))
    bench.loop.flush_at_turn_end(answer)
    assert bench.first.link.send(1, b"an event")
    bench.turn(1)
    assert queued == [0]


def test_small_messages_of_one_turn_leave_in_one_send(bench: Bench) -> None:
    sends: list[int] = []
    real = bench.first.link._socket

    class Counting:
        def send(self, data: bytes) -> int:
            sends.append(len(data))
            return real.send(data)

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    bench.first.link._socket = Counting()  # type: ignore[assignment]
    for _ in range(50):
        bench.first.link.send(1, b"x" * 10)
    bench.until(50)
    assert sends == [50 * 16]


def test_descriptors_stay_with_their_messages(bench: Bench, tmp_path: Path) -> None:
    generator = random.Random(7)
    gc.collect()  # what an earlier test has left to the collector must not go meanwhile
    before = open_descriptors()
    expected: list[str | None] = []
    for number in range(60):
        payload = b"%d:" % number + b"x" * generator.choice([0, 3, 5_000, 80_000])
        if generator.random() < 0.5:
            path = tmp_path / str(number)
            path.write_text(path.name)
            descriptor = os.open(path, os.O_RDONLY)
            while not bench.first.link.send(number, payload, descriptor=descriptor):
                bench.turn()
            expected.append(path.name)
        else:
            while not bench.first.link.send(number, payload):
                bench.turn()
            expected.append(None)
    bench.until(60)
    for number, (kind, payload, descriptor) in enumerate(bench.second.got):
        assert (kind, payload.partition(b":")[0]) == (number, b"%d" % number)
        assert (descriptor is None) == (expected[number] is None)
        if descriptor is not None:
            assert not os.get_inheritable(descriptor)
            with os.fdopen(descriptor) as file:
                assert file.read() == expected[number]
    assert open_descriptors() == before


def test_a_full_queue_refuses_and_takes_again_when_it_has_emptied(bench: Bench) -> None:
    bench.second.link._loop.remove_reader(bench.second.link._descriptor)  # it reads nothing
    taken = 0
    while bench.first.link.send(1, b"x" * 50_000):
        taken += 1
        bench.turn(1)
    read, write = os.pipe()
    assert not bench.first.link.send(1, b"", descriptor=read)
    os.close(read)
    os.close(write)
    assert bench.first.link.queued_bytes > 1_000_000
    bench.loop.add_reader(bench.second.link._descriptor, bench.second.link._on_readable)
    bench.until(taken)
    assert bench.first.link.queued_bytes == 0
    assert bench.first.link.send(2, b"more")
    bench.until(taken + 1)
    assert bench.second.got[-1] == (2, b"more", None)


def test_what_was_sent_before_the_end_is_read_before_the_end_is_told(bench: Bench) -> None:
    bench.first.link.send(1, b"last words")
    bench.first.link.close()
    bench.second.link.send(1, b"to nobody")
    bench.turn(5)
    assert bench.second.got == [(1, b"last words", None)]
    assert (bench.first.lost, bench.second.lost) == (0, 1)
    assert not bench.second.link.send(1, b"x")
    assert bench.second.link.state is LinkState.CLOSED


def test_the_end_of_a_link_closes_descriptors_on_their_way() -> None:
    before = open_descriptors()
    bench = Bench()
    read, write = os.pipe()
    assert bench.first.link.send(1, b"x", descriptor=read)
    assert bench.first.link.send(1, bytes(900_000))
    bench.first.link.flush()
    assert bench.first.link.send(1, b"y", descriptor=write)  # queued only: the system takes no more
    os.fstat(write)
    bench.second.link.close()
    bench.close()
    assert open_descriptors() == before


def test_a_descriptor_leaves_at_once_behind_what_waits_and_is_closed_here(bench: Bench) -> None:
    read, write = os.pipe()
    bench.first.link.send(1, b"before")
    assert bench.first.link.send(2, b"with it", descriptor=write)
    assert bench.first.link.queued_bytes == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(write)
    bench.second.link.read_all()
    assert [message[:2] for message in bench.second.got] == [(1, b"before"), (2, b"with it")]
    taken = bench.second.got[1][2]
    assert taken is not None
    os.close(taken)
    assert os.read(read, 1) == b""  # no copy is open any more
    os.close(read)


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack("!BBI", 1, 0, FRAME_MAX_BYTES + 1),
        struct.pack("!BBI", 1, 2, 0),
        struct.pack("!BBI", 1, 1, 0),
    ],
    ids=["too long", "unknown flag", "descriptor missing"],
)
def test_a_frame_that_breaks_the_format_ends_the_link_with_a_report(bench: Bench, bad: bytes) -> None:
    bench.first.link._socket.send(encode(9, b"good")[0] + bad)
    bench.turn(5)
    assert bench.second.got == [(9, b"good", None)]
    assert bench.second.lost == 1
    assert len(bench.reported) == 1
    assert bench.reported[0].startswith("link: ")


def test_descriptors_that_no_message_mentions_end_the_link(bench: Bench) -> None:
    read, write = os.pipe()
    before = open_descriptors()
    for _ in range(2):
        socket.send_fds(bench.first.link._socket, [encode(1, b"plain")[0]], [read])
    bench.turn(5)
    assert bench.second.lost == 1
    assert "no message mentions" in bench.reported[0]
    assert open_descriptors() <= before
    os.close(read)
    os.close(write)


def test_an_exception_of_the_receiver_is_reported_and_the_link_lives(bench: Bench) -> None:
    taken: list[bytes] = []

    def fail_once(kind: int, payload: bytes, descriptor: int | None) -> None:
        taken.append(payload)
        if len(taken) == 1:
            raise RuntimeError("mine")

    bench.second.link._received = fail_once
    bench.first.link.send(1, b"a")
    bench.first.link.send(1, b"b")
    bench.turn()
    assert taken == [b"a", b"b"]
    assert bench.reported == ["message of kind 1: mine"]


def test_a_receiver_may_close_the_link_in_the_middle(bench: Bench) -> None:
    taken: list[bytes] = []

    def close(kind: int, payload: bytes, descriptor: int | None) -> None:
        taken.append(payload)
        bench.second.link.close()

    bench.second.link._received = close
    bench.first.link.send(1, b"a")
    bench.first.link.send(1, b"b")
    bench.turn(5)
    assert taken == [b"a"]
    assert (bench.first.lost, bench.second.lost) == (1, 0)


def test_too_long_a_message_is_the_callers_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRAME_MAX_BYTES", 10)
    with pytest.raises(ValueError, match="too long"):
        bench.first.link.send(1, b"x" * 11)


def test_a_used_up_system_is_tried_again(bench: Bench) -> None:
    real = bench.first.link._socket
    failures = [OSError(next(iter(module.TRANSIENT)), "full")]

    class Failing:
        def send(self, data: bytes) -> int:
            if failures:
                raise failures.pop()
            return real.send(data)

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    bench.first.link._socket = Failing()  # type: ignore[assignment]
    bench.first.link.send(1, b"patience")
    bench.until(1)
    assert bench.second.got == [(1, b"patience", None)]


def test_what_cannot_be_changed_in_the_poller_is_watched_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that was full and takes data again: its writer would be called in each turn, for nothing."""
    link = bench.first.link
    bench.loop.remove_reader(bench.second.link._descriptor)
    taken = 0
    while link.send(1, b"x" * 50_000):
        taken += 1
        bench.turn(1)
    assert link._descriptor in bench.loop._writers

    def modify(descriptor: int, events: int) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(bench.loop._poller, "modify", modify)
    bench.loop.add_reader(bench.second.link._descriptor, bench.second.link._on_readable)
    bench.until(taken)
    bench.turn()
    assert link._descriptor not in bench.loop._writers
    bench.second.link.send(3, b"heard")
    bench.turn()
    assert bench.first.got == [(3, b"heard", None)]


def test_a_receiver_out_of_descriptors_gets_the_message_without(bench: Bench) -> None:
    """One connection is lost, the link is not."""
    bench.first.link.send(1, b"first", descriptor=os.dup(0))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        bench.until(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    bench.first.link.send(2, b"second", descriptor=os.dup(0))
    bench.until(2)
    assert bench.second.got[0] == (1, b"first", None)
    kind, payload, descriptor = bench.second.got[1]
    assert (kind, payload) == (2, b"second")
    assert descriptor is not None
    os.close(descriptor)
    assert bench.reported == []
