"""Many workers: started, watched, rolled, balanced and ended, as somebody who runs them sees it.

It must not know the supervisor's code: it reads the log, sends signals, asks the workers who they are.
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asked_workers import (
    PATIENCE_SECONDS,
    alive,
    ask,
    descriptors,
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
def start(place: Path, launch: Start) -> Start:
    """start("--workers", "2", ...) serves the application of this test."""

    def start(*arguments: str, env: dict[str, str] | None = None, folder: Path = APPS) -> Any:
        environment = {"WORKERS_PLACE": str(place), **(env or {})}
        return launch(folder, "workers_app:app", "--no-access-log", *arguments, env=environment)

    return start


def release(place: Path) -> None:
    """Let one held request go on; returns when it was there to be held."""
    (place / "hold").write_text("go")


def test_each_worker_serves_and_the_supervisor_imports_nothing(start: Start, place: Path) -> None:
    server = start("--workers", "4")
    server.wait_for(") serves", 4)
    pids = workers_of(server, 4)
    assert len(pids) == 4
    assert set(imported(place)) == pids
    assert server.pid not in imported(place)
    assert server.log.count("listening on") == 1
    connection = open_connection(server)
    connection.request("GET", "/")
    assert connection.getresponse().read().endswith(b" True")
    connection.close()
    assert server.stop() == 0
    assert not any(alive(pid) for pid in pids)
    assert "Traceback" not in server.log


def test_the_number_of_workers_may_stand_in_the_environment(start: Start) -> None:
    server = start(env={"WEB_CONCURRENCY": "2"})
    server.wait_for(") serves", 2)
    server = start(env={"WEB_CONCURRENCY": "9", "WSFRAME_WORKERS": "3"})
    server.wait_for(") serves", 3)
    assert server.stop() == 0
    assert server.log.count(") serves") == 3


def run_to_its_end(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A server that cannot start."""
    return subprocess.run(
        [sys.executable, "-m", "python_server", "workers_app:app", *arguments],
        cwd=APPS,
        env={**os.environ, "WORKERS_PLACE": str(place)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def test_a_failure_to_start_is_reported_once_and_ends_with_its_code(place: Path) -> None:
    (place / "broken").touch()
    done = run_to_its_end(place, "--workers", "4", "--port", "0")
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert "RuntimeError: broken on purpose" in done.stderr
    assert "listening on" not in done.stderr
    assert "the first worker did not come up (exit code 1): stopping" in done.stderr
    assert len(imported(place)) == 1


def test_a_taken_port_is_reported_once_before_any_worker_starts(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_to_its_end(place, "-w", "4", "-p", port)
    assert done.returncode == 1
    assert done.stderr.count("the port is in use") == 1
    assert not (place / "imports").exists()


def test_a_killed_worker_is_replaced_and_nobody_else_notices(start: Start) -> None:
    server = start("--workers", "2")
    server.wait_for(") serves", 2)
    first, second = sorted(workers_of(server, 2))
    kept = open_connection(server)
    kept.request("GET", "/")
    survivor = int(kept.getresponse().read().split()[0])
    killed = first if survivor == second else second
    os.kill(killed, signal.SIGKILL)
    server.wait_for("died (signal SIGKILL): another is started in 0.1 s")
    server.wait_for(") serves", 3)
    kept.request("GET", "/")
    assert int(kept.getresponse().read().split()[0]) == survivor
    kept.close()
    pids = workers_of(server, 2)
    assert len(pids) == 2
    assert survivor in pids
    assert killed not in pids
    assert server.stop() == 0


def test_a_worker_that_is_told_to_end_by_somebody_else_is_replaced(start: Start, place: Path) -> None:
    server = start("--workers", "2")
    server.wait_for(") serves", 2)
    held = open_connection(server)
    held.request("GET", "/hold")
    with (place / "hold").open("w"):  # the request has come: the other end is open
        pids = set(imported(place))
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        server.wait_for(") serves", 4)
    assert int(held.getresponse().read().split()[0]) in pids
    held.close()
    server.wait_for("has ended", 2)
    assert not workers_of(server, 2) & pids
    assert server.stop() == 0


def test_a_rolling_restart_serves_new_code(start: Start, tmp_path: Path) -> None:
    text = (APPS / "workers_app.py").read_text()
    module = tmp_path / "workers_app.py"
    module.write_text(text)
    server = start("--workers", "2", folder=tmp_path)
    server.wait_for(") serves", 2)  # nobody is in the middle of reading it
    module.write_text(text.replace("environ['wsgi.multiprocess']", "0").replace('b"%d %r"', 'b"%d new %r"'))
    server.signal(signal.SIGHUP)
    server.wait_for("has ended", 2)
    with contextlib.closing(open_connection(server)) as connection:
        connection.request("GET", "/")
        assert b"new" in connection.getresponse().read()


def test_a_restart_that_fails_leaves_the_old_workers(start: Start, place: Path) -> None:
    server = start("--workers", "2")
    server.wait_for(") serves", 2)
    old = workers_of(server, 2)
    (place / "broken").touch()
    server.signal(signal.SIGHUP)
    server.wait_for("rolling restart given up")
    assert "another is started" not in server.log
    assert workers_of(server, 2) == old
    (place / "broken").unlink()
    server.signal(signal.SIGHUP)
    server.wait_for("rolling restart done")
    server.wait_for("has ended", 2)
    assert not workers_of(server, 2) & old
    assert server.stop() == 0


def test_a_restart_passes_over_a_worker_that_does_not_come_up(start: Start, place: Path) -> None:
    server = start("--workers", "2")
    server.wait_for(") serves", 2)
    old = workers_of(server, 2)
    (place / "stuck").touch()
    server.signal(signal.SIGHUP)
    with (place / "hold").open("w"):  # the new worker stands in the middle of its import
        (place / "stuck").unlink()
        server.signal(signal.SIGHUP)
        server.wait_for("rolling restart done")
    wait_gone(*old)  # the log counts the end of the one that did not come up as well
    assert not workers_of(server, 2) & old
    assert server.stop() == 0


def test_one_worker_more_and_one_less_but_never_none(start: Start) -> None:
    server = start("--workers", "2")
    server.wait_for(") serves", 2)
    server.signal(signal.SIGTTIN)
    server.wait_for(") serves", 3)
    assert len(workers_of(server, 3)) == 3
    for count in (1, 2):
        server.signal(signal.SIGTTOU)
        server.wait_for("has ended", count)
    server.signal(signal.SIGTTOU)
    server.wait_for("1 workers are wanted", 2)
    assert len(workers_of(server, 1)) == 1
    assert server.stop() == 0


def test_a_second_signal_cuts_off_what_runs(start: Start, place: Path) -> None:
    server = start("--workers", "2")
    server.wait_for(") serves", 2)
    held = open_connection(server)
    held.request("GET", "/hold")
    with (place / "hold").open("w"):
        pids = imported(place)
        server.signal(signal.SIGTERM)
        server.wait_for("stopping 2 workers")
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        with pytest.raises((http.client.HTTPException, OSError)):
            held.getresponse()
    held.close()
    assert not any(alive(pid) for pid in pids)


def test_one_worker_alone_is_replaced_after_its_requests(start: Start) -> None:
    server = start("--max-requests", "5")
    first, *_ = [ask(server) for _ in range(6)]  # the sixth perhaps of its successor
    server.wait_for("has ended")
    assert ask(server) != first
    assert server.stop() == 0


def children(pid: int) -> dict[int, str]:
    """The child processes and their states (proc_pid_stat(5))."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found[int(path.parent.name)] = fields[0]
    return found


@pytest.mark.extended
@LINUX
@pytest.mark.long
def test_twenty_rolling_restarts_leave_nothing_behind(start: Start) -> None:
    server = start("--workers", "2")
    server.wait_for(") serves", 2)

    def roll(number: int) -> tuple[int, list[int]]:
        server.signal(signal.SIGHUP)
        for count in (2 * number + 1, 2 * number + 2):
            server.wait_for(") serves", count)
        server.wait_for("rolling restart done", number)
        server.wait_for("has ended", 2 * number)
        pids = children(server.pid)
        assert len(pids) == 2
        assert "Z" not in pids.values()
        workers_of(server, 2)  # each loop has turned: what has ended has been noticed
        return descriptors(server, server.pid), [descriptors(server, pid) for pid in pids]

    first = roll(1)
    for number in range(2, 20):
        roll(number)
    assert roll(20) == first
    assert server.stop() == 0


@LINUX
def test_signals_for_somebody_else_harm_neither_supervisor_nor_worker(start: Start) -> None:
    server = start("--workers", "2")
    server.wait_for(" serves", 2)
    before = workers_of(server, 2)
    server.signal(signal.SIGUSR2)
    server.wait_for("SIGUSR2 is ignored")
    for pid in before:
        os.kill(pid, signal.SIGUSR2)
        os.kill(pid, signal.SIGTTIN)
    server.wait_for("SIGUSR2 is ignored", 3)
    server.wait_for("SIGTTIN is ignored", 2)
    assert workers_of(server, 2) == before
    assert server.stop() == 0


def test_a_moved_log_is_opened_anew_by_every_process(start: Start, tmp_path: Path) -> None:
    log, moved = tmp_path / "error.log", tmp_path / "moved.log"
    server = start("--workers", "2", "--error-log", str(log), "--pid", str(tmp_path / "pid"))
    assert int((tmp_path / "pid").read_text()) == server.pid
    while len(workers_of(server, 2)) < 2:  # the second may still be starting
        pass
    log.rename(moved)
    server.signal(signal.SIGUSR1)
    assert server.stop() == 0
    text = log.read_text()
    assert "stopped" in text
    assert "worker 1: stopping" in text
    assert "worker 2: stopping" in text
    assert not (tmp_path / "pid").exists()


def test_systemd_is_told_what_happens(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_SECONDS)
        server = start("--workers", "2", env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        server.wait_for(") serves", 2)
        server.signal(signal.SIGHUP)
        server.wait_for("rolling restart done")
        assert server.stop() == 0
        told = [manager.recv(200).decode().partition("\n")[0] for _ in range(4)]
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):  # workers have nothing to tell the manager
            manager.recv(200)
    assert told == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


SCRIPT = """
import os
from flask import Flask
from python_server import SocketIO

app = Flask(__name__)
socketio = SocketIO(app)

@app.get("/")
def index():
    return str(os.getpid())

@app.get("/stop")
def stop():
    socketio.stop()
    return str(os.getpid())

print("loaded by", os.getpid(), flush=True)
socketio.run(app, port=0, workers=2)
print("after run", flush=True)
"""


def test_a_program_runs_its_own_workers(launch: Start, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SCRIPT)
    server = launch(tmp_path, "program.py", program=True)
    server.wait_for("loaded by", 3)
    server.wait_for(") serves", 2)
    pids = workers_of(server, 2)
    assert len(pids) == 2
    assert server.pid not in pids
    ask(server, "/stop")  # stop() is the whole server's
    assert server.wait() == 0
    assert server.log.count("after run") == 3
    assert not any(alive(pid) for pid in pids)
