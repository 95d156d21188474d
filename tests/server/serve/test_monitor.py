"""What a worker tells of itself each second, on told time (serve/monitor.py, monitoring/gauges.py).

It must not know how it is read. The worker is a whole one, on a scripted poller.
"""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from python_server import Server
from python_server.monitoring.catalogue import CATALOGUE, OF_WORKERS
from python_server.monitoring.figures import Snapshot
from python_server.monitoring.gauges import BROKER_COUNTERS, BROKER_GAUGES, EVENTFUL
from python_server.net.system import System
from python_server.serve.mounts import Site
from python_server.serve.worker import Worker, WorkerState
from python_server.settings import Settings
from wired_worker import page

BEGAN = 5_000.0
OPENING = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: here\r\n\r\n"


class Machine:
    """Time passes when the worker has nothing to do; `steps` say what else happens then."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.late_seconds = 0.0
        self.steps: Iterator[list[int]] = iter(())

    @property
    def system(self) -> System:
        return System(lambda: self.now, lambda: 0.0, lambda: 1.5, lambda: self, lambda count: b"\x07" * count)

    def register(self, descriptor: int, events: int) -> None: ...
    def modify(self, descriptor: int, events: int) -> None: ...
    def unregister(self, descriptor: int) -> None: ...
    def close(self) -> None: ...

    def poll(self, timeout_seconds: float) -> list[tuple[int, int]]:
        if not timeout_seconds:
            return []
        ready = next(self.steps)
        if not ready:
            self.now += timeout_seconds + self.late_seconds
        return [(descriptor, 1) for descriptor in ready]


def written(machine: Machine, worker: Worker) -> Snapshot:
    (snapshot,) = worker.figures_of_all().living
    assert snapshot.moment == machine.now
    return snapshot


def play(machine: Machine, worker: Worker, seen: list[Snapshot]) -> Iterator[list[int]]:
    ours, client = socket.socketpair()
    for end in (ours, client):
        end.setblocking(False)
    worker._acceptor._accepted(ours, ("192.0.2.1", 1))
    seen.append(written(machine, worker))
    client.send(OPENING)
    yield [ours.fileno()]
    machine.late_seconds = 2.5
    yield []
    machine.late_seconds = 0.0
    while written(machine, worker).figures.gauges["wsframe_sessions"]["polling",] == 0:
        yield []
    seen.append(written(machine, worker))
    worker._state = WorkerState.STOPPING
    worker._monitor.write()  # type: ignore[union-attr]
    seen.append(written(machine, worker))
    worker._state = WorkerState.SERVING
    client.close()
    worker.stop(0.0)
    while True:
        yield [worker.loop._wake_up.receiver]
        yield []


@pytest.fixture
def seen() -> list[Snapshot]:
    machine, seen = Machine(), list[Snapshot]()
    server = Server()
    server.on("say", lambda sid: None, namespace="/chat")
    worker = Worker(
        Site(page, [server.mount("/socket.io/")]), Settings(metrics="here"), [], system=machine.system
    )
    machine.steps = play(machine, worker, seen)
    worker.run()
    seen += worker.figures_of_all().living
    return seen


def total(snapshot: Snapshot, name: str, *labels: str) -> float:
    return snapshot.figures.totals.get(name, {}).get(labels, [0])[0]


def test_a_worker_writes_itself_down_each_second(seen: list[Snapshot]) -> None:
    first, busy, stopping, last = seen
    assert (first.worker, first.unready, first.figures.gauges["wsframe_connections"]) == (1, "", {(): 0})
    assert first.figures.gauges["wsframe_clients"]["/chat",] == 0
    assert busy.figures.gauges["wsframe_connections"] == {(): 1}
    assert total(busy, "wsframe_requests_total") == 1
    assert total(busy, "wsframe_sessions_opened_total", "polling") == 1
    assert total(busy, "wsframe_cpu_seconds_total") == 1.5
    assert busy.figures.gauges["wsframe_loop_lag_seconds"][()] == pytest.approx(2.5)
    assert busy.figures.gauges["wsframe_pool_threads"]["event-threads",] == 0
    assert stopping.unready == "the server stops"
    assert last.unready
    assert total(last, "wsframe_sessions_closed_total", "server shutting down") == 1
    assert last.figures.gauges["wsframe_connections"] == {(): 0}


def test_what_is_written_stands_in_the_catalogue(seen: list[Snapshot]) -> None:
    for each in seen:
        assert set(each.figures.totals) <= set(CATALOGUE) - set(OF_WORKERS)
        assert set(each.figures.gauges) <= set(OF_WORKERS)
        for name, values in each.figures.gauges.items():
            assert {len(labels) + 1 for labels in values} == {len(CATALOGUE[name].labels)}
        for name, rows in each.figures.totals.items():
            assert {len(labels) for labels in rows} == {len(CATALOGUE[name].labels)}
    named = [f"wsframe_broker_{name}" for name in BROKER_GAUGES]
    named += [f"wsframe_broker_{name}_total" for name in BROKER_COUNTERS]
    assert {*named, *EVENTFUL.values()} <= set(CATALOGUE)


class Full:
    """A place that has no room."""

    def write(self, snapshot: Snapshot) -> None:
        raise OSError("no space left")

    def close(self) -> None: ...


def test_a_place_without_room_is_complained_of_and_ends_nothing() -> None:
    machine = Machine()
    worker = Worker(Site(page), Settings(metrics="here"), [], system=machine.system)
    monitor: Any = worker._monitor
    monitor._place = Full()

    def steps() -> Iterator[list[int]]:
        yield []
        worker.stop(0.0)
        while True:
            yield [worker.loop._wake_up.receiver]
            yield []

    machine.steps = steps()
    worker.run()
    assert worker._counters.counts["metrics"] >= 2


def test_without_metrics_nobody_watches() -> None:
    worker = Worker(Site(page, [Server().mount("/socket.io/")]), Settings(), [])
    assert worker._monitor is None
    assert all(engine._observer is None for _, engine in worker._cluster.engines)
    assert all(hub.services.observer is None for hub in worker._hubs.values() if hub.services)
    worker.loop.call_soon(worker.loop.stop)
    worker.run()
