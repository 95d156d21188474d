"""What an application installs for itself stays: handlers of signals, atexit, the children that it forks.

It must not know the server's insides: programs are written to a folder, started, signalled, and asked.
"""

import contextlib
import os
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asked_workers import wait_gone
from own_ports import port_of_its_own

PATIENCE_SECONDS = 60
PROGRAM = """
import atexit, multiprocessing, os, pty, signal, sys, time
from flask import Flask
from python_server import SocketIO

app = Flask(__name__)
socketio = SocketIO(app)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def handler(number, frame):
    say("handler of", signal.Signals(number).name)
    ENDING

for number in (NUMBERS):
    signal.signal(number, handler)
atexit.register(say, "atexit ran")

def live():
    time.sleep(600)

@app.route("/fork/<way>")
def fork(way):
    if way == "multiprocessing":
        child = multiprocessing.get_context("fork").Process(target=live, daemon=True)
        child.start()
        return str(child.pid)
    number = pty.fork()[0] if way == "pty" else os.fork()
    if number == 0:
        try:
            socketio.emit("news", "from a child")
        except RuntimeError as error:
            os.write(2, f"the child: {error}\\n".encode())
        live()
    return str(number)

@app.route("/returns")
def returns():
    number = os.fork()
    return str(number or os.getpid())

@app.route("/")
def index():
    return str(os.getpid())

if __name__ == "__main__":
    try:
        socketio.run(app, port=PORT, workers=WORKERS)
    finally:
        say("after run")
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def program(numbers: str = "", ending: str = "pass", workers: int = 1, port: int = 0) -> Path:
        text = PROGRAM.replace("NUMBERS", numbers).replace("ENDING", ending)
        (tmp_path / "program.py").write_text(text.replace("WORKERS", str(workers)).replace("PORT", str(port)))
        return tmp_path

    return program


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
        return str(answer.read().decode())


def sockets_of(pid: int) -> list[str]:
    held = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has been closed meanwhile
            held.append(os.readlink(link))
    return [name for name in held if name.startswith(("socket:", "anon_inode:"))]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_its_own_end_is_graceful_and_its_exit_code_its_own(launch: Any, write: Write, number: int) -> None:
    server = launch(write("signal.SIGTERM, signal.SIGINT", "sys.exit(7)"), "program.py", program=True)
    assert get(server.url)
    assert server.stop(number) == 7
    words = ["handler of", "after run", "atexit ran"]
    assert re.findall("|".join(words), server.log) == words
    assert "stopping: what runs may end" in server.log


def test_a_handler_that_only_notes_does_not_keep_the_server(launch: Any, write: Write) -> None:
    server = launch(write("signal.SIGTERM,"), "program.py", program=True)
    assert server.stop() == 0
    assert server.log.count("handler of SIGTERM") == 1


def test_the_other_signals_are_its_own_too(launch: Any, write: Write) -> None:
    server = launch(write("signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2"), "program.py", program=True)
    for name in ("SIGUSR1", "SIGUSR2", "SIGHUP"):
        server.signal(getattr(signal, name))
        server.wait_for(f"handler of {name}")
    server.wait_for("SIGHUP: log files are opened again")
    assert "SIGUSR2 is ignored" not in server.log
    assert get(server.url)
    assert server.stop() == 0


def test_a_handler_that_leaves_on_another_signal_ends_the_server(launch: Any, write: Write) -> None:
    server = launch(write("signal.SIGUSR2,", "sys.exit(3)"), "program.py", program=True)
    assert server.stop(signal.SIGUSR2) == 3
    assert "stopping: what runs may end" in server.log


def test_the_second_signal_interrupts_a_handler_that_hangs(launch: Any, write: Write) -> None:
    server = launch(write("signal.SIGTERM,", "time.sleep(600)"), "program.py", program=True)
    server.signal(signal.SIGTERM)
    server.wait_for("handler of SIGTERM")
    assert server.stop() == 0


def test_a_handler_that_fails_is_reported(serve: Any, write: Write) -> None:
    server = serve(write("signal.SIGUSR1,", "raise LookupError('no such word')"), "program.py", program=True)
    server.intended_exceptions_count = 1
    server.signal(signal.SIGUSR1)
    server.wait_for("the application's handler of SIGUSR1 failed")
    assert get(server.url)


def test_workers_run_theirs(launch: Any, write: Write) -> None:
    numbers = "signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2"
    server = launch(write(numbers, workers=2), "program.py", program=True)
    server.wait_for("serves", count=2)
    for name in ("SIGUSR1", "SIGUSR2"):
        server.signal(getattr(signal, name))
        server.wait_for(f"handler of {name}", count=3)  # the program in its supervisor has one as well
    assert server.stop() == 0
    assert server.log.count("handler of SIGTERM") == 3
    assert "SIGUSR2 is ignored" not in server.log


@pytest.mark.parametrize("way", ["os", "pty", "multiprocessing"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_forked_child_is_no_second_server(launch: Any, write: Write, way: str, workers: int) -> None:
    port = port_of_its_own()
    server = launch(write(workers=workers, port=port), "program.py", program=True)
    child = int(get(f"{server.url}/fork/{way}"))
    if way == "os":
        server.wait_for("the child: the server has stopped")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sockets := sockets_of(child):  # it may still be on its way out of the fork
        assert time.monotonic() < deadline, sockets
    server.signal(signal.SIGTERM)
    wait_gone(server.pid)
    with socket.create_server(("127.0.0.1", port)), contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)
    wait_gone(child)
    assert server.wait() == 0


def test_a_child_that_comes_back_to_the_server_ends(launch: Any, write: Write) -> None:
    server = launch(write(), "program.py", program=True)
    child = int(get(f"{server.url}/returns"))
    wait_gone(child)
    assert get(server.url) == str(server.pid)
    assert server.stop() == 0
