"""A whole worker on a told clock, a scripted poller and told chance (serve/worker.py, net/system.py).

It must not know the machine's time: nothing sleeps, and a deadline comes once there is nothing else to do.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from python_server import Server
from python_server.connection.memory_cap import LOOK_SECONDS
from python_server.control import worker_socket
from python_server.control.client import ask_workers
from python_server.net.loop import LONGEST_WAIT_SECONDS
from python_server.net.poller import READABLE
from python_server.net.system import System
from python_server.serve.mounts import Site
from python_server.serve.worker import Worker, WorkerState
from python_server.settings import Settings

Script = Iterator[list[int] | None]
BEGAN = 5_000.0
OPENING = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: here\r\n\r\n"


class Simulation:
    """The machine of one worker: its clocks, its chance, and its poller, at which nobody ever waits.

    `script` is asked whenever the worker has nothing to do: it gives the descriptors that become readable, or
    None, and then the time at which the worker wanted to wake is now.
    """

    def __init__(self, script: Callable[["Simulation"], Script]) -> None:
        self.now = BEGAN
        self.registered: set[int] = set()
        self._script = script(self)
        self.system = System(
            monotonic=lambda: self.now,
            wall=lambda: 784_111_777.0,
            cpu=lambda: 0.0,
            poller=lambda: self,
            entropy=lambda count: b"\x07" * count,
        )

    def register(self, descriptor: int, events: int) -> None:
        self.registered.add(descriptor)

    def modify(self, descriptor: int, events: int) -> None:
        assert descriptor in self.registered

    def unregister(self, descriptor: int) -> None:
        self.registered.remove(descriptor)

    def poll(self, timeout_seconds: float) -> list[tuple[int, int]]:
        if not timeout_seconds:
            return []
        ready = next(self._script)
        if ready is not None:
            return [(descriptor, READABLE) for descriptor in ready]
        assert timeout_seconds < LONGEST_WAIT_SECONDS, "nothing will ever happen"
        self.now += timeout_seconds
        return []

    def close(self) -> None: ...


def run(
    site: Site, play: Callable[[Simulation, Worker, int, socket.socket], Script], **values: Any
) -> Simulation:
    """A worker with one connection, until `play` ends; it is given both ends of the connection."""
    ours, client = socket.socketpair()
    ours.setblocking(False)
    client.setblocking(False)

    def script(simulation: Simulation) -> Script:
        worker._acceptor._accepted(ours, ("192.0.2.1", 1))
        yield from play(simulation, worker, ours.fileno(), client)
        worker.stop(0.0)
        yield []
        while True:
            yield None

    simulation = Simulation(script)
    worker = Worker(site, Settings(**values), [], system=simulation.system)
    with client:
        worker.run()
    return simulation


def nothing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise AssertionError("nobody asked")


def test_a_client_that_says_nothing_is_ended_in_told_time() -> None:
    settings = Settings()
    ended_at: list[float] = []

    def play(simulation: Simulation, worker: Worker, descriptor: int, client: socket.socket) -> Script:
        client.send(b"GET / HT")
        yield [descriptor]
        while worker._acceptor.channels:
            yield None
        ended_at.append(simulation.now)
        assert client.recv(1_000).startswith(b"HTTP/1.1 408 ")

    run(Site(nothing), play)
    # The client may still take its answer before it is cut.
    seconds = settings.http.header_timeout_seconds + settings.transport.linger_timeout_seconds
    assert ended_at == [BEGAN + seconds]


def test_who_holds_more_than_all_may_is_ended_at_the_next_look() -> None:
    ended_at: list[float] = []

    def play(simulation: Simulation, worker: Worker, descriptor: int, client: socket.socket) -> Script:
        client.send(b"GET / HT")
        yield [descriptor]
        while worker._acceptor.channels:
            yield None
        ended_at.append(simulation.now)
        assert worker._figures()["connections"] == 0

    run(Site(nothing), play, clients_max_bytes=7)
    assert ended_at == [BEGAN + LOOK_SECONDS]


def test_an_application_may_stop_the_whole_server() -> None:
    server = Server()

    def play(simulation: Simulation, worker: Worker, descriptor: int, client: socket.socket) -> Script:
        worker._stop_server()
        yield []
        assert worker._state is WorkerState.STOPPING

    run(Site(nothing, [server.mount("/socket.io/")]), play)


def test_a_session_that_answers_no_ping_ends_in_told_time_and_its_name_is_told_chance() -> None:
    server = Server(connect_timeout=1_000)
    heads: list[bytes] = []
    names: list[str] = []
    ended_at: list[float] = []

    def play(simulation: Simulation, worker: Worker, descriptor: int, client: socket.socket) -> Script:
        sessions = worker._cluster.engines[0][1].sessions
        client.send(OPENING)
        yield [descriptor]
        names.extend(sessions)
        heads.append(client.recv(10_000))
        while sessions:
            yield None
        ended_at.append(simulation.now)

    run(Site(nothing, [server.mount("/socket.io/")]), play)
    opened = json.loads(heads[0].partition(b"\r\n\r\n")[2][1:])
    assert names == [opened["sid"]] == ["BwcHBwcHBwcHBwcHBwcH"]
    assert b"Date: Sun, 06 Nov 1994 08:49:37 GMT" in heads[0]
    assert ended_at == [BEGAN + (opened["pingInterval"] + opened["pingTimeout"]) / 1000]


def test_a_second_stop_does_not_move_the_end_of_the_first() -> None:
    begun: list[Worker] = []

    def play(simulation: Simulation, worker: Worker, descriptor: int, client: socket.socket) -> Script:
        begun.append(worker)
        client.send(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n")
        yield [descriptor]
        worker.stop(3.0)
        yield []
        worker.stop(20.0)
        yield []
        while begun[0]._state is WorkerState.STOPPING:
            yield None

    simulation = run(Site(nothing), play)
    assert simulation.now == pytest.approx(BEGAN + 3.0, abs=0.03)
    assert begun[0]._state is WorkerState.CLOSED


def test_a_worker_hears_an_operator_on_a_socket_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_socket, "ASKER_SECONDS", 60.0)
    said: list[Any] = []
    control = str(tmp_path / "c.sock")

    def play(simulation: Simulation, worker: Worker, descriptor: int, client: socket.socket) -> Script:
        worker.open_own_control(str(tmp_path / ("x" * 110)))
        worker.open_own_control(control)
        said.append(ask_workers(control, "dump", 60.0, monotonic))
        yield []

    run(Site(nothing), play)
    [answer] = said[0].values()
    assert "the loop's thread, " in answer["dump"]
    assert "commands do not see this worker: " in caplog.text
    assert os.listdir(tmp_path) == []
