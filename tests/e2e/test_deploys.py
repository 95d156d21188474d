"""Workers come and go: the same tests under our own supervisor and under gunicorn.

It must not know how either starts, watches or ends a worker: signals, logs, clients and processes say it.
"""

import contextlib
import http.client
import os
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from asked_workers import (
    PATIENCE_SECONDS,
    Load,
    address,
    alive,
    ask,
    imported,
    open_connection,
    wait_gone,
    workers_of,
)

APPS = Path(__file__).parent / "apps"
LINUX = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads /proc")
Start = Callable[..., Any]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the application leaves notes and finds orders."""
    os.mkfifo(tmp_path / "hold")
    return tmp_path


@pytest.fixture
def start(place: Path, launch: Start, supervisor: str) -> Start:
    """start("--workers", "2", ...) serves the application of this test."""

    def start(*arguments: str, folder: Path = APPS) -> Any:
        given = ("workers_app:app", "--no-access-log", *arguments)
        return launch(folder, *given, env={"WORKERS_PLACE": str(place)}, supervisor=supervisor)

    return start


def wait_refused(server: Any) -> None:
    """Until nobody listens: each worker hears of a stop at its own time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with contextlib.suppress(ConnectionRefusedError):
        while time.monotonic() < deadline:
            socket.create_connection(address(server)).close()
        pytest.fail("connections are still taken")


@LINUX
@pytest.mark.needs_node
@pytest.mark.long
def test_nothing_acknowledged_is_lost_while_workers_come_and_go(
    launch: Start, supervisor: str, drive: Callable[..., None], pytestconfig: pytest.Config
) -> None:
    """With --extended the same story is twice as long."""
    size = 2 if pytestconfig.getoption("--extended") else 1
    requests = ("--max-requests", str(300 * size), "--max-requests-jitter", str(100 * size))
    options = ("--workers", "4", *requests, "--no-access-log")
    server = launch(APPS, "homes_app:app", *options, supervisor=supervisor)
    server.wait_serving(4)
    drive("deploys.mjs", server.url, str(server.pid), str(2000 * size))
    server.wait_for(server.REPLACED)
    assert "Traceback" not in server.log


@pytest.mark.needs_node
def test_clients_recover_though_all_workers_have_answered_their_requests_at_once(
    launch: Start, supervisor: str, drive: Callable[..., None]
) -> None:
    options = ("--workers", "2", "--max-requests", "200", "--no-access-log")
    server = launch(APPS, "homes_app:app", *options, supervisor=supervisor)
    server.wait_serving(2)
    drive("crowd.mjs", server.url, "8", "2", "recovered")
    server.wait_for(server.REPLACED, 2)
    assert server.stop() == 0


def test_a_rolling_restart_under_load_refuses_no_connection(start: Start) -> None:
    server = start("--workers", "3")
    server.wait_serving(3)
    old = workers_of(server, 3)
    with Load(server) as load:
        for count in (1, 2):
            server.signal(signal.SIGHUP)
            server.wait_serving(3 * count + 3)
            server.wait_ended(3 * count)
    assert load.faults == []
    assert len(load.answers) > 6
    new = workers_of(server, 3)
    assert len(new) == 3
    assert not new & old
    assert server.stop() == 0


def test_a_stop_waits_for_a_running_request(start: Start, place: Path) -> None:
    server = start("--workers", "2")
    server.wait_serving(2)
    held = open_connection(server)
    held.request("GET", "/hold")
    with (place / "hold").open("w"):
        server.signal(signal.SIGTERM)
        server.wait_ended(1)  # the other worker, which had nothing to do
        wait_refused(server)
    assert held.getresponse().status == 200
    held.close()
    assert server.wait() == 0


def test_quit_cuts_off_what_runs(start: Start, place: Path) -> None:
    server = start("--workers", "2")
    server.wait_serving(2)
    held = open_connection(server)
    held.request("GET", "/hold")
    with (place / "hold").open("w"):
        pids = imported(place)
        assert server.stop(signal.SIGQUIT) == 0
        with pytest.raises((http.client.HTTPException, OSError)):
            held.getresponse()
    held.close()
    assert not any(alive(pid) for pid in pids)


def test_workers_are_replaced_after_their_requests_and_none_fails(start: Start) -> None:
    server = start("--workers", "2", "--max-requests", "30", "--max-requests-jitter", "10")
    server.wait_serving(2)
    with Load(server) as load:
        server.wait_ended(4)
    assert load.faults == []
    assert len(load.answers) >= 4
    assert server.stop() == 0
    assert "died" not in server.log


@pytest.mark.long
def test_a_worker_whose_loop_stands_still_is_killed_and_replaced(start: Start, place: Path) -> None:
    """By a handler that blocks it; then another one, by whatever has stopped its process."""
    server = start("--workers", "2", "--worker-timeout", "5")  # longer than a busy machine stops a good one
    server.wait_serving(2)
    with connect(f"{server.url.replace('http', 'ws')}/still") as still:
        still.send("now")
        # It blocks; a busy machine may let another one stand still as well.
        with (place / "hold").open("w"), pytest.raises(ConnectionClosed):
            still.recv(PATIENCE_SECONDS)
    server.wait_serving(3)
    stopped = ask(server)
    os.kill(stopped, signal.SIGSTOP)
    server.wait_serving(4)
    wait_gone(stopped)
    assert len(workers_of(server, 2)) == 2
    assert server.stop() == 0


def test_a_thousand_connections_are_shared_out(start: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2_000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4_000), hard))
    server = start("--workers", "4")
    server.wait_serving(4)
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(address(server), PATIENCE_SECONDS))
            for _ in range(1_000)
        ]
        for connection in connections:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        holders: Counter[bytes] = Counter()
        for connection in connections:
            head, _, body = connection.recv(4_096).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            holders[body.split()[0]] += 1
    assert len(holders) == 4
    assert max(holders.values()) <= 1.5 * 1_000 / 4, holders
    assert server.stop() == 0


def test_workers_end_when_the_supervisor_is_killed(start: Start, place: Path) -> None:
    server = start("--workers", "3")
    server.wait_serving(3)
    server.kill()
    wait_gone(*imported(place))


def test_reload_works_with_workers(start: Start, tmp_path: Path) -> None:
    module = tmp_path / "workers_app.py"
    module.write_text((APPS / "workers_app.py").read_text())
    server = start("--workers", "2", "--reload", folder=tmp_path)
    server.wait_serving(2)
    old = workers_of(server, 2)
    module.write_text(module.read_text() + "\n# changed\n")
    server.wait_serving(4)
    new = workers_of(server, 2)
    assert len(new) == 2
    assert not new & old
    assert server.stop() == 0


@LINUX
def test_connections_wait_for_workers_that_all_start_anew(start: Start) -> None:
    server = start("--workers", "2")
    server.wait_serving(2)
    killed = workers_of(server, 2)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_gone(*killed)
    assert ask(server) not in killed  # it waits in the system's queue until a new one accepts
    assert server.stop() == 0
