"""What a worker tells the operator who asks (serve/inspection.py).

It must not know how a question comes.
"""

import json
import logging
from collections.abc import Iterator
from threading import Event, Thread, get_ident
from types import SimpleNamespace
from typing import Any

import pytest

from python_server.monitoring.event_metrics import EventMetrics
from python_server.net.loop import Loop
from python_server.net.pool import PoolFigures
from python_server.net.threads import Door, InlineExecutor
from python_server.serve import inspection
from python_server.serve.inspection import Inspection
from socketio_world import World

HASTY = b'{"method":"status","timeout_seconds":0.01}\n'
STATUS, DUMP = b'{"method":"status"}\n', b'{"method":"dump"}\n'
POOL = SimpleNamespace(name="event-threads", figures=lambda: PoolFigures(3, 2, 5, 0.25))


class Inspected:
    """A worker's loop, beside a world of clients that it is said to have."""

    def __init__(self) -> None:
        self.reports: list[str] = []
        self.loop = Loop(lambda what, error: self.reports.append(f"{what}: {error!r}"))
        self.loop.mailbox.adopt()
        self.world = World()
        self.channels: list[Any] = []
        self.now = 100.0

    def make(self, watching: EventMetrics | None = None) -> Inspection:
        hub = self.world.hub
        return Inspection(
            self.loop,
            Door(self.loop.mailbox, InlineExecutor()),
            4,
            SimpleNamespace(channels=self.channels),  # type: ignore[arg-type]
            [SimpleNamespace(sessions={"a": 1, "b": 2})],  # type: ignore[list-item]
            {"/socket.io/": hub},
            [POOL],  # type: ignore[list-item]
            lambda: self.now,
            lambda: {"requests": 3, "broker_connected": 1},
            watching,
        )


@pytest.fixture
def inspected() -> Iterator[Inspected]:
    inspected = Inspected()
    yield inspected
    inspected.loop.close()
    assert inspected.reports == []


def test_status(inspected: Inspected) -> None:
    world = inspected.world
    world.on("say", lambda socket, word: None)
    peers = [world.peer() for _ in range(3)]
    for peer in peers[:2]:
        world.hub.join("/", peer.socket.sid, "readers")
    for size, address in ((70_000, ("192.0.2.7", 5)), (90_000, ""), (10, ("192.0.2.8", 6))):
        inspected.channels.append(SimpleNamespace(held_bytes=size, peers=(address, address)))
    worker = inspected.make()
    inspected.now += 5
    assert json.loads(worker.answer(STATUS))["events_received"] == 0
    peers[0].say('2["say","x"]', '2["nobody"]')
    world.run()
    told = json.loads(worker.answer(STATUS))
    assert (told["worker"], told["age_seconds"], told["connections"], told["sessions"]) == (4, 5.0, 3, 2)
    assert told["events_received"] == 2
    assert [each[:2] for each in told["handlers"]] == [["/", "say"]]
    assert sum(told["handlers"][0][2][:-1]) == 1
    assert told["pools"]["event-threads"]["waiting_count"] == 5
    assert told["rooms"] == [{"namespace": "/", "room": "readers", "clients": 2}]
    assert told["slow_clients"] == [
        {"address": "unix", "unsent_bytes": 90_000},
        {"address": "192.0.2.7:5", "unsent_bytes": 70_000},
    ]
    assert told["memory_bytes"] > 0
    assert told["counters"] == {"requests": 3, "broker_connected": 1}


def test_a_room_that_a_client_has_named_moves_no_cursor(inspected: Inspected) -> None:
    peer = inspected.world.peer()
    for room in ("\x1b[2J", "a\nb", "\ud800", "x" * 1000):
        inspected.world.hub.join("/", peer.socket.sid, room)
    rooms = json.loads(inspected.make().answer(STATUS))["rooms"]
    assert {each["room"] for each in rooms} == {"?[2J", "a?b", "?", "x" * 100}


def test_events_are_counted_only_while_somebody_looks(
    inspected: Inspected, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = inspected.world
    peer = world.peer()
    assert peer.socket.traffic is None
    worker = inspected.make()
    monkeypatch.setattr(inspection, "WATCH_SECONDS", 0.0)
    worker.answer(STATUS)
    peer.say('2["x"]')
    assert json.loads(worker.answer(STATUS))["events_received"] == 1
    inspected.loop.run_once(0)
    assert peer.socket.traffic is None


def test_who_counts_already_goes_on(inspected: Inspected, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = EventMetrics(lambda: 0.0, [])
    monkeypatch.setattr(inspection, "WATCH_SECONDS", 0.0)
    worker = inspected.make(metrics)
    metrics._traffic["other"].received_count = 3
    for _ in range(2):
        assert json.loads(worker.answer(STATUS))["events_received"] == 3
        inspected.loop.run_once(0)


def test_a_loop_that_stands_still_is_told_with_its_line(inspected: Inspected) -> None:
    worker = inspected.make()
    answers: list[bytes] = []
    asked = Thread(target=lambda: answers.append(worker.answer(HASTY)))
    asked.start()
    asked.join()  # here the loop's thread stands
    told = json.loads(answers[0])
    assert "threading.py:" in told["stands_still"]
    inspected.loop.mailbox.close()
    asked = Thread(target=lambda: answers.append(worker.answer(HASTY)))
    asked.start()
    asked.join()
    assert json.loads(answers[1])["stands_still"] == "it has ended"


def test_dump_is_told_and_logged_whatever_the_loop_does(
    inspected: Inspected, caplog: pytest.LogCaptureFixture
) -> None:
    worker = inspected.make()
    inspected.loop.mailbox.owner = -1  # nobody's
    here, go_on = Event(), Event()

    def stand() -> None:
        inspected.loop.mailbox.owner = get_ident()
        here.set()
        go_on.wait()

    standing = Thread(target=stand, name="the one that stands")
    standing.start()
    here.wait()
    with caplog.at_level(logging.WARNING, "python_server"):
        told = json.loads(worker.answer(DUMP))["dump"]
    go_on.set()
    standing.join()
    assert "pool of --event-threads: 3 threads, 2 of them run, 5 jobs wait, the oldest for 0.2 s" in told
    assert "the loop's thread, the one that stands:" in told
    assert "stand\n    go_on.wait()" in told
    assert told in caplog.text


@pytest.mark.parametrize(
    "line",
    [b"\n", b"{}\n", b"[]\n", b"\xff\n", b'{"method":"emit"}\n', b"x" * 1000, HASTY.replace(b"0.01", b"1e9")],
)
def test_anything_else_is_refused(inspected: Inspected, line: bytes) -> None:
    assert list(json.loads(inspected.make().answer(line))) == ["error"]
