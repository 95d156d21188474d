"""What runs in threads: one that cannot start, a log that cannot be written, a broker that is cut.

It must not know the loop's own calls. These threads are real, and so is their time.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from injected_faults import Faults, Instead
from python_server.net import line_writer, pool
from python_server.net.line_writer import LineWriter
from python_server.net.system import open_descriptors_count
from python_server.observe import log
from python_server.socketio.cluster.broker.connections import BrokerLinkState, Publisher, Subscriber
from python_server.socketio.cluster.broker.url import connector
from python_server.socketio.cluster.port import BrokerOptions
from wired_worker import Wired, wire

__all__ = ["wire"]
WAIT_SECONDS = 60.0
NO_THREAD = ["RuntimeError", "MemoryError"]


def faulty_thread(faults: Faults) -> type[threading.Thread]:
    class FaultyThread(threading.Thread):
        def start(self) -> None:
            faults.call("thread", super().start)

    return FaultyThread


# Threads of pools


def use_pools(wired: Wired) -> None:
    """A job for each pool, one after the other, and two at once: a second thread comes."""
    post = wired.loop.mailbox.post  # the loop is told: else it may sleep until the next timer
    for each in wired.pools.all:
        done: list[bool] = []
        each.submit(partial(post, done.append, True))
        wired.until(lambda done=done: bool(done))  # type: ignore[misc]
    events = wired.pools.events
    meeting = threading.Barrier(2, timeout=WAIT_SECONDS)
    met: list[int] = []
    for _ in range(2):
        events.submit(lambda: post(met.append, meeting.wait()))
    wired.until(lambda: len(met) == 2)


@pytest.mark.parametrize("fault", NO_THREAD)
@pytest.mark.parametrize("number", range(4))
def test_work_waits_for_a_thread_that_cannot_start(
    wire: Callable[..., Wired], number: int, fault: str
) -> None:
    faults = Faults("thread", number, fault)
    with patch.object(pool, "Thread", faulty_thread(faults)):
        wired = wire()
        faults.armed = True
        use_pools(wired)
        assert faults.reached
        use_pools(wired)
        assert wired.ask("/")[0] == 200
    for each in wired.pools.all:
        living = sum(thread.name.startswith(f"{each.name}-") for thread in threading.enumerate())
        assert each.figures().threads_count <= living  # who could not start is not counted


# Logs

WRITES = {
    "write": ("EAGAIN short", "ENOSPC EIO EFBIG EPIPE EDQUOT"),
    "open": ("EMFILE ENFILE ENOSPC EACCES EROFS EIO ENOMEM", ""),
    "stat": ("EIO ENOMEM EACCES", ""),
    "fstat": ("EIO ENOMEM", ""),
}


def log_lines(folder: Path, faults: Faults) -> tuple[list[str], list[str]]:
    """What stands in a log whose file is moved away in the middle; and what its server said meanwhile."""
    path, said = folder / "log", []
    place = log._File(str(path))
    writer = LineWriter(
        "log",
        place,
        piece_bytes=1_000,
        waiting_max_bytes=1_000,
        dropping=lambda: said.append("dropping"),
        dropped=lambda count: said.append(f"dropped {count}"),
        quiet=lambda: None,
        monotonic=time.monotonic,
    )
    calls = dict.fromkeys(WRITES)
    with patch.object(log, "os", Instead(os, faults, "", **calls)):
        faults.armed = True
        for number in range(6):
            if number == 3:
                path.rename(folder / "moved")
            writer.add(b"line %d\n" % number)
            writer.flush(60.0)
        faults.armed = False
        writer.add(b"last\n")
        writer.close()
        place.close()
    said += [f"untold {writer.untold_count()}"]
    return "".join(each.read_text() for each in sorted(folder.iterdir(), reverse=True)).split("\n"), said


@pytest.mark.parametrize("seam", WRITES)
def test_a_log_that_cannot_be_written_loses_a_line_and_says_so(seam: str, tmp_path: Path) -> None:
    tried = 0
    usual = Faults()
    tmp_path.joinpath("usual").mkdir()
    lines, _ = log_lines(tmp_path / "usual", usual)
    wanted = [f"line {number}" for number in range(6)] + ["last"]
    assert sorted(filter(None, lines)) == sorted(wanted)
    assert usual.counts[seam]
    for (lost, names), number in product(enumerate(WRITES[seam]), range(usual.counts[seam])):
        for fault in names.split():
            tried += 1
            folder = tmp_path / f"{fault}-{number}"
            folder.mkdir()
            faults = Faults(seam, number, fault)
            lines, said = log_lines(folder, faults)
            assert faults.reached
            missing = set(wanted) - set(lines)
            assert len(missing) == lost, f"{faults}: {lines}"
            assert "last" in lines
            assert said == (["dropping", "dropped 1", "untold 0"] if lost else ["untold 0"])
    assert tried


def test_a_log_without_a_thread_is_written_by_who_logs(tmp_path: Path) -> None:
    for number, fault in product(range(2), NO_THREAD):
        folder = tmp_path / f"{fault}-{number}"
        folder.mkdir()
        faults = Faults("thread", number, fault)
        faults.armed = True
        with patch.object(line_writer, "Thread", faulty_thread(faults)):
            lines, said = log_lines(folder, Faults())
        assert faults.reached or number
        assert [line for line in sorted(lines) if line] == ["last", *(f"line {n}" for n in range(6))]
        assert said == ["untold 0"]


# The broker

BROKER_CALLS = {
    "connect": "ECONNREFUSED TimeoutError MemoryError",
    "send_command": "ConnectionError TimeoutError MemoryError",
    "pack_commands": "MemoryError",
    "send_packed_command": "ConnectionError TimeoutError MemoryError",
    "read_response": "ConnectionError TimeoutError MemoryError",
    "recv": "short ECONNRESET MemoryError nothing",
}


class FaultyConnection(Instead):
    """A client library's connection; its socket is received from as well."""

    def __init__(self, real: Any, faults: Faults) -> None:
        calls = dict.fromkeys(BROKER_CALLS.keys() - {"recv"})
        super().__init__(real, faults, "", **calls)
        self._faults = faults

    @property
    def _sock(self) -> Any:
        sock = self._real._sock
        return sock and Instead(sock, self._faults, "", recv=None)


class Ears:
    """What both ends of a broker tell."""

    def __init__(self, url: str, faults: Faults) -> None:
        self.changed = threading.Condition()
        self.states: dict[str, BrokerLinkState] = {}
        self.heard: list[int] = []
        self.dropped_count = 0
        real = connector(BrokerOptions(url, "c"))
        connect = lambda: FaultyConnection(real(), faults)  # noqa: E731
        self.publisher = Publisher(connect, partial(self.state, "publisher"), self.dropped)
        self.subscriber = Subscriber(connect, partial(self.state, "subscriber"), self.take, 1_000)

    def state(self, name: str, state: BrokerLinkState, reason: str) -> None:
        with self.changed:
            self.states[name] = state
            self.changed.notify_all()

    def take(self, messages: list[Any], oversized_count: int) -> None:
        with self.changed:
            self.heard += [int(payload) for _, payload in messages if payload]
            self.changed.notify_all()

    def dropped(self, count: int) -> None:
        with self.changed:
            self.dropped_count += count
            self.changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_SECONDS), vars(self)


def speak(url: str, faults: Faults) -> Ears:
    """Numbers through the broker, each heard or dropped; then, without faults, until one is heard."""
    ears = Ears(url, faults)
    faults.armed = True
    ears.subscriber.want(b"c")
    ears.subscriber.start()
    ears.wait(lambda: ears.states.get("subscriber") is BrokerLinkState.UP)
    ears.publisher.start()
    try:
        for number in range(3):
            ears.publisher.publish(b"c", b"%d" % number)
            assert ears.publisher.flush(WAIT_SECONDS)
        faults.armed = False
        number = 3
        while not (ears.heard and ears.heard[-1] >= 3):
            ears.publisher.publish(b"c", b"%d" % number)
            assert ears.publisher.flush(WAIT_SECONDS)
            number += 1
            with ears.changed:
                ears.changed.wait_for(lambda: bool(ears.heard and ears.heard[-1] >= 3), 0.2)
    finally:
        for each in (ears.publisher, ears.subscriber):
            each.close()
            each.join(WAIT_SECONDS)
    return ears


@pytest.mark.needs_redis
@pytest.mark.parametrize("seam", BROKER_CALLS)
def test_a_broker_that_is_cut_is_found_again(seam: str, redis_server: Any, monkeypatch: Any) -> None:
    from python_server.socketio.cluster.broker import connections

    monkeypatch.setattr(connections, "BACK_OFF_MIN_SECONDS", 0.01)
    usual = Faults()
    assert speak(redis_server.url, usual).heard[:3] == [0, 1, 2]
    assert usual.counts[seam], f"nothing comes to {seam}"
    gc.collect()  # what was left to the collector before must not end meanwhile
    before = open_descriptors_count()
    # How many pieces an answer comes in is the network's: more than the first need not come again.
    most = 1 if seam == "recv" else 3
    for fault, number in product(BROKER_CALLS[seam].split(), range(min(usual.counts[seam], most))):
        faults = Faults(seam, number, fault)
        ears = speak(redis_server.url, faults)
        assert faults.reached, str(faults)
        assert ears.heard == sorted(set(ears.heard)), f"{faults}: out of order or doubled: {ears.heard}"
        missing = {0, 1, 2} - set(ears.heard)
        # What the publisher could not say is counted. What is said while the subscriber is away is not heard.
        assert not missing or ears.dropped_count or seam in ("recv", "send_command", "connect"), str(faults)
    assert open_descriptors_count() == before
