"""A real server that is short of descriptors, memory, disk or a reader, and one in a storm of signals.

It must not know how the server is made; faults of single calls stand in the other files.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from running_program import PATIENCE_SECONDS, RunningProgram

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")
TRACEBACK = "Traceback"
APPLICATION = """
import os, resource, time

def application(environ, start_response):
    path, body = environ["PATH_INFO"], b"ok"
    if path == "/squeeze":  # until the file named there exists no thread can start
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + 2_000_000, before[1]))
        print("squeezed", flush=True)
        try:
            while not os.path.exists("release"):
                time.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
    elif path == "/meet":  # two at a time
        open(environ["QUERY_STRING"], "w").close()
        while not (os.path.exists("one") and os.path.exists("two")):
            time.sleep(0.01)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

Start = Callable[..., RunningProgram]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    programs: list[RunningProgram] = []

    def begin(*arguments: str, **options: Any) -> RunningProgram:
        command = [sys.executable, "-m", "python_server", "app:application", "--port", "0", *arguments]
        programs.append(RunningProgram(command, folder, **options))
        programs[-1].find(ADDRESS)
        return programs[-1]

    yield begin
    for program in programs:
        if program.is_alive:
            program.kill()


def port_of(program: RunningProgram) -> int:
    return int(program.find(ADDRESS)[1])


def ask(port: int, path: str = "/") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.read() == b"ok"
        return response.status
    finally:
        connection.close()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> dict[int, str]:
    """Those of a process, by number, with their states."""
    found = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = place.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid:
                found[int(place.parent.name)] = state
    return found


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_without_descriptors_it_waits_and_goes_on(start: Start) -> None:
    limit = 64
    server = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
    port = port_of(server)
    clients = []
    try:
        for _ in range(2 * limit):
            clients.append(socket.create_connection(("127.0.0.1", port)))
        server.wait_for("no new connections for a moment: Too many open files")
        before, began = cpu_seconds(server.pid), time.monotonic()
        time.sleep(1.0)  # what is measured: does it turn without end?
        share = (cpu_seconds(server.pid) - before) / (time.monotonic() - began)
        assert share < 0.1
        clients[0].sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")  # one that it has
        assert clients[0].recv(15) == b"HTTP/1.1 200 OK"
    finally:
        for client in clients:
            client.close()
    assert ask(port) == 200
    assert TRACEBACK not in server.log
    assert server.stop() == 0


def test_without_memory_for_threads_work_waits_and_goes_on(start: Start, folder: Path) -> None:
    server = start("--threads", "4")
    port = port_of(server)
    with socket.create_connection(("127.0.0.1", port)) as squeezing:
        squeezing.sendall(b"GET /squeeze HTTP/1.1\r\nHost: here\r\n\r\n")
        server.wait_for("squeezed")
        with socket.create_connection(("127.0.0.1", port)) as waiting:
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            server.wait_for("the system has no thread for the pool of --threads, work waits")
            (folder / "release").touch()
            assert squeezing.recv(15) == b"HTTP/1.1 200 OK"
            assert waiting.recv(15) == b"HTTP/1.1 200 OK"
    # Who could not start is not counted: there is room for all of them.
    meeting = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
    for client, name in zip(meeting, ("one", "two"), strict=True):
        client.sendall(f"GET /meet?{name} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    for client in meeting:
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        client.close()
    assert server.stop() == 0


def test_a_full_disk_stops_no_answer_and_the_log_goes_on_when_there_is_room(
    start: Start, folder: Path
) -> None:
    path = folder / "access.log"
    path.symlink_to("/dev/full")  # each write: ENOSPC
    server = start("--access-log", str(path))
    port = port_of(server)
    for _ in range(20):
        assert ask(port) == 200
    server.wait_for("the access log is not written as fast as it grows: lines are dropped")
    path.unlink()
    path.touch()
    assert ask(port, "/room") == 200
    until(lambda: "GET /room" in path.read_text())
    assert server.stop() == 0
    assert "lines of the access log were dropped" in server.log
    assert TRACEBACK not in server.log


@pytest.mark.parametrize("leaves", [True, False], ids=["leaves", "reads nothing"])
def test_a_bad_reader_of_its_output_stops_no_answer(folder: Path, leaves: bool) -> None:
    command = [sys.executable, "-m", "python_server", "app:application", "--port", "0", "--access-log", "-"]
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=errors)
    assert process.stdout is not None
    try:
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4_096)
        until(lambda: ADDRESS.search((folder / "errors").read_text()))
        found = ADDRESS.search((folder / "errors").read_text())
        assert found is not None
        if leaves:
            process.stdout.close()
        for _ in range(100):  # more lines than the pipe holds
            assert ask(int(found[1])) == 200
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert TRACEBACK not in (folder / "errors").read_text()


@pytest.mark.long
def test_a_storm_of_signals_leaves_two_workers_and_no_zombie(start: Start) -> None:
    server = start("--workers", "2")
    port = port_of(server)
    until(lambda: len(children_of(server.pid)) == 2)
    numbers = [signal.SIGUSR1, signal.SIGCHLD, signal.SIGWINCH, signal.SIGHUP]
    sent = 0
    for _ in range(20):
        for number in numbers:
            for _ in range(50):
                server.signal(number)
                sent += 1
                for pid in children_of(server.pid) if sent % 25 == 0 else ():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCHLD)
                        os.kill(pid, signal.SIGUSR1)
        assert ask(port) == 200
    assert sent == 4_000
    until(
        lambda: list(children_of(server.pid).values()).count("Z") == 0 and len(children_of(server.pid)) == 2
    )
    for _ in range(10):
        assert ask(port) == 200
    assert TRACEBACK not in server.log
    assert server.stop() == 0
