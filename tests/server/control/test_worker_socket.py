"""A worker's own control socket and those who ask there (control/worker_socket.py, client.py, stacks.py).

It must not know what a worker answers.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Semaphore, Thread, get_ident
from time import monotonic
from typing import Any

import pytest

from python_server.control import client, worker_socket
from python_server.control.client import ask_workers
from python_server.control.stacks import line_of, stack_of, stacks_of_all
from python_server.control.worker_socket import WorkerSocket
from python_server.net.sockets import BindError, Socket, bind_unix, connect_unix

PATIENCE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def askers_may_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_socket, "ASKER_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "c.sock")
    own = WorkerSocket(
        path, lambda line: json.dumps({"heard": line.decode()}).encode(), print, own_folder=False
    )
    yield path
    own.close()
    assert os.listdir(tmp_path) == []


def ask(control: str, seconds: float = PATIENCE_SECONDS) -> dict[int, Any]:
    return ask_workers(control, "status", seconds, monotonic)


def test_it_answers_and_goes(control: str) -> None:
    assert ask(control) == {
        os.getpid(): {"heard": f'{{"method":"status","timeout_seconds":{PATIENCE_SECONDS}}}\n'}
    }
    assert ask_workers(control, "status", PATIENCE_SECONDS, monotonic, besides=[os.getpid()]) == {}


@pytest.mark.parametrize("said", [b"", b"x", b"x" * 1001, b"x" * 100_000 + b"\n"])
def test_whoever_says_no_line_gets_no_answer_and_keeps_nobody_waiting(
    control: str, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say() -> None:
        connection.connect(f"{control}.{os.getpid()}")
        with suppress(BrokenPipeError):
            connection.sendall(said)

    with socket.socket(socket.AF_UNIX) as connection:
        say()
        assert list(ask(control)) == [os.getpid()]
    monkeypatch.setattr(worker_socket, "ASKER_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as connection:
        say()
        with suppress(ConnectionResetError):
            assert connection.recv(100) == b""


class PatientSocket(Socket):
    """Whatever is asked, its wait may be long."""

    def settimeout(self, value: float | None) -> None:
        super().settimeout(PATIENCE_SECONDS)


def test_one_that_answers_nothing_is_named_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(path: str, timeout_seconds: float) -> Socket:
        """Ours answers, when it comes to it: what is short is the time of the other one."""
        found = connect_unix(path, timeout_seconds)
        return PatientSocket(fileno=found.detach()) if path.endswith(f".{os.getpid()}") else found

    monkeypatch.setattr(client, "connect_unix", connect)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    control = str(tmp_path / "c.sock")
    stopped = bind_unix(f"{control}.{child.pid}", 0, 0o600)  # listens, and nobody accepts
    own = WorkerSocket(control, lambda line: b"{}", print, own_folder=False)
    for _ in range(3):  # until no more are let in
        assert ask(control, 0.05) == {child.pid: None, os.getpid(): {}}
    stopped.close()  # a file of a process that lives, and has closed it
    assert ask(control) == {os.getpid(): {}}
    own.close()
    child.communicate()
    assert ask(control) == {}
    assert os.listdir(tmp_path) == []


def test_who_waits_for_a_loop_that_stands_still_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of more than so many the others wait in the queue."""
    monkeypatch.setattr(worker_socket, "ASKERS_MAX_COUNT", 2)
    go_on, waiting = Event(), Semaphore(0)

    def answer(line: bytes) -> bytes:
        if b"status" in line:
            waiting.release()
            go_on.wait()
        return b"{}"

    control = str(tmp_path / "c.sock")
    own = WorkerSocket(control, answer, print, own_folder=False)
    askers = [in_thread(lambda: ask(control)) for _ in range(2)]
    for _ in askers:
        waiting.acquire()
    assert ask_workers(control, "dump", PATIENCE_SECONDS, monotonic) == {os.getpid(): {}}
    askers += [in_thread(lambda: ask(control)) for _ in range(2)]
    waiting.acquire()  # the thread that accepts; it holds the last one up
    assert not waiting.acquire(blocking=False)
    go_on.set()
    for asker in askers:
        asker.join()
    own.close()


def test_a_thread_that_cannot_be_had_is_done_without(control: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(worker_socket, "BackgroundThread", fail)
    assert ask(control)
    assert ask(control)


def test_a_fault_of_ours_is_told_and_reported(tmp_path: Path) -> None:
    reports: list[str] = []

    def fail(line: bytes) -> bytes:
        raise RuntimeError("on purpose")

    control = str(tmp_path / "c.sock")
    own = WorkerSocket(
        control, fail, lambda what, error: reports.append(f"{what}: {error}"), own_folder=False
    )
    for _ in range(2):
        assert ask(control) == {os.getpid(): {"error": "internal error, see the log"}}
    own.close()
    assert reports == ["control socket: on purpose"] * 2


def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises((BindError, OSError)):
        WorkerSocket(str(tmp_path / ("x" * 100)), lambda line: b"", print, own_folder=False)


def in_thread(function: Callable[[], object]) -> Thread:
    thread = Thread(target=function, name="stands")
    thread.start()
    return thread


def test_where_threads_stand() -> None:
    here, go_on = Event(), Event()

    def stand() -> None:
        here.set()
        go_on.wait()

    threads = [in_thread(stand), in_thread(stand)]
    here.wait()
    while "go_on.wait()" not in stack_of(threads[0].ident or 0) or "wait" not in stack_of(
        threads[1].ident or 0
    ):
        pass
    text = stacks_of_all(threads[0].ident or 0)
    assert text.startswith("the loop's thread, stands:\n")
    assert "    go_on.wait()\n" in text
    assert "test_where_threads_stand" not in text  # who asks knows where it is
    go_on.set()
    for thread in threads:
        thread.join()
    assert (stack_of(threads[0].ident or 0), line_of(threads[0].ident or 0)) == ("", "")
    assert line_of(get_ident()).endswith("in line_of")
