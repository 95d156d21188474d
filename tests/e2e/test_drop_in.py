"""Unmodified programs for Flask-SocketIO, eventlet and gevent: on their own servers, and by --drop-in.

It must not know how a name is replaced: real processes, the official Python client, and what it hears.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import socketio
from websockets.sync.client import connect

from ordered_clients import PatientClient, SimpleClient
from own_ports import port_of_its_own
from running_program import PATIENCE_SECONDS, RunningProgram

PROGRAMS = Path(__file__).with_name("programs")
Transcript = list[object]
DROP_IN = ("-m", "python_server", "--drop-in")


class Program(RunningProgram):
    """A program that listens at a port it is told by PORT."""

    def __init__(self, *arguments: str) -> None:
        self.port = port_of_its_own()
        environment = {"PORT": str(self.port), "GEVENT_SUPPORT": "", "EVENTLET_NO_GREENDNS": "yes"}
        super().__init__([sys.executable, "-W", "ignore", *arguments], PROGRAMS, environment)
        self.url = f"http://127.0.0.1:{self.port}"

    def wait_listening(self) -> None:
        for _ in range(1200):
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.is_alive, self.log
            threading.Event().wait(0.05)
        pytest.fail(f"nobody listens:\n{self.log}")


@pytest.fixture
def run() -> Iterator[Callable[..., Program]]:
    running: list[Program] = []

    def start(*arguments: str) -> Program:
        program = Program(*arguments)
        running.append(program)
        program.wait_listening()
        return program

    yield start
    for program in running:
        program.stop()
        print(program.log)


def page(program: Program) -> str:
    with urllib.request.urlopen(program.url, timeout=PATIENCE_SECONDS) as answer:
        return str(answer.read().decode())


class Client(SimpleClient):
    """One that writes down what it hears."""

    def until(self, event: str, transcript: Transcript) -> None:
        while True:
            heard = self.receive(timeout=PATIENCE_SECONDS)
            transcript.append(heard)
            if heard[0] == event:
                return


def refusal(program: Program, namespace: str, auth: object) -> object:
    """What a client is told that may not come in."""
    heard: list[object] = []
    told = threading.Event()

    def connect_error(reason: object) -> None:
        heard.append(reason)
        told.set()

    client = PatientClient()
    client.on("connect_error", connect_error, namespace=namespace)
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(program.url, namespaces=[namespace], auth=auth, transports=["websocket"])
    assert told.wait(PATIENCE_SECONDS)
    client.disconnect()
    return heard


def talk_to_procfile(program: Program) -> Transcript:
    transcript: Transcript = [page(program)]
    with Client() as client:
        client.connect(program.url)
        client.until("welcome", transcript)
        transcript.append(client.call("watch", timeout=PATIENCE_SECONDS))
        for _ in range(3):
            client.until("clock", transcript)
        client.emit("say", {"text": "hello"})
        client.until("said", transcript)
        transcript.append(client.call("leave", timeout=PATIENCE_SECONDS))
    return transcript


def talk_to_websockets(program: Program) -> Transcript:
    transcript: Transcript = []
    with connect(f"ws://127.0.0.1:{program.port}/echo", compression=None) as websocket:
        for word in ("one", "two"):
            websocket.send(word)
            transcript.append(websocket.recv(PATIENCE_SECONDS))
    return [*transcript, page(program)]


def talk_to_game(program: Program) -> Transcript:
    transcript: Transcript = [page(program)]
    transcript.append(refusal(program, "/game", {"name": "nobody"}))
    with Client() as client:
        client.connect(program.url, namespace="/game", auth={"name": "one"})
        client.emit("join", "table")
        client.until("joined", transcript)
        transcript.append(client.call("move", 21, timeout=PATIENCE_SECONDS))
        client.until("moved", transcript)
    return transcript


def talk_to_server(program: Program) -> Transcript:
    transcript: Transcript = [page(program)]
    with Client() as client:
        client.connect(program.url)
        transcript.append(client.call("say", "hello", timeout=PATIENCE_SECONDS))
        client.until("said", transcript)
    with Client() as chat:
        chat.connect(program.url, namespace="/chat")
        chat.until("welcome", transcript)
        transcript.append(chat.call("add", (1, 2), timeout=PATIENCE_SECONDS))
    return [*transcript, refusal(program, "/chat", {"token": "wrong"})]


PROGRAMS_AND_TALKS = {
    "eventlet_procfile": talk_to_procfile,
    "eventlet_wsgi": talk_to_websockets,
    "gevent_websocket": talk_to_websockets,
    "gevent_flask": talk_to_game,
    "socketio_server": talk_to_server,
}


PACKAGES = ("eventlet", "gevent", "geventwebsocket", "flask_socketio", "socketio")
# What each said on its own server, with eventlet 0.41, gevent 26.9 and the stock packages of today.
OWN = json.loads((PROGRAMS / "transcripts.json").read_text("utf-8"))


def transcript_of(name: str, program: Program) -> object:
    return json.loads(json.dumps(PROGRAMS_AND_TALKS[name](program)))


@pytest.mark.parametrize("name", PROGRAMS_AND_TALKS)
def test_what_a_program_says_on_its_own_server(run: Callable[..., Program], name: str) -> None:
    """The transcripts are what they say they are, where the program's own packages are installed."""
    text = (PROGRAMS / f"{name}.py").read_text("utf-8")
    packages = [name for name in PACKAGES if f"import {name}" in text or f"from {name}" in text]
    if all(find_spec(name) is not None for name in packages):
        assert transcript_of(name, run(f"{name}.py")) == OWN[name]


@pytest.mark.parametrize("name", PROGRAMS_AND_TALKS)
def test_a_program_says_the_same_as_on_its_own_server(run: Callable[..., Program], name: str) -> None:
    ours = run(*DROP_IN, f"{name}.py")
    assert transcript_of(name, ours) == OWN[name]
    ours.wait_for("INFO drop-in: ")
    ours.wait_for("handlers run one at a time")


@pytest.mark.extended
@pytest.mark.parametrize("name", ["eventlet_procfile", "gevent_flask", "socketio_server"])
def test_the_same_from_the_command_line_with_workers(name: str) -> None:
    """Each worker puts the names in place for itself."""
    port = port_of_its_own()
    served = Program(*DROP_IN, "--workers", "2", f"{name}:app", "--bind", f"127.0.0.1:{port}")
    served.port, served.url = port, f"http://127.0.0.1:{port}"
    try:
        served.wait_listening()
        assert transcript_of(name, served) == OWN[name]
        served.wait_for("worker 1: drop-in: ")
        served.wait_for("worker 2: drop-in: ")
    finally:
        assert served.stop() == 0, served.log


def count_from_many(program: Program) -> int:
    """Eight clients read, compute and write one number; how many writes it has seen."""
    clients = [SimpleClient() for _ in range(8)]
    for client in clients:
        client.connect(program.url)

    def ask(client: Any) -> None:
        for _ in range(25):
            client.call("count", timeout=PATIENCE_SECONDS)

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = int(clients[0].call("count", timeout=PATIENCE_SECONDS))
    for client in clients:
        client.disconnect()
    return last


@pytest.mark.extended
def test_handlers_of_a_program_for_greenlets_run_one_at_a_time(run: Callable[..., Program]) -> None:
    program = run(*DROP_IN, "eventlet_procfile.py")
    assert count_from_many(program) == 8 + 8 * 25 + 1


@pytest.mark.extended
def test_requests_take_turns_with_handlers(run: Callable[..., Program]) -> None:
    """Eight clients and eight pages read, compute and write the same number."""
    program = run(*DROP_IN, "eventlet_procfile.py")
    pages = [threading.Thread(target=count_by_pages, args=(program,)) for _ in range(4)]
    for thread in pages:
        thread.start()
    count_from_many(program)
    for thread in pages:
        thread.join()
    with urllib.request.urlopen(program.url + "/count", timeout=PATIENCE_SECONDS) as answer:
        assert int(answer.read()) == 8 + 8 * 25 + 1 + 4 * 25 + 1


def count_by_pages(program: Program) -> None:
    for _ in range(25):
        urllib.request.urlopen(program.url + "/count", timeout=PATIENCE_SECONDS).read()


def test_drop_in_parallel_lets_them_run_side_by_side(run: Callable[..., Program]) -> None:
    program = run(*DROP_IN, "--drop-in-parallel", "eventlet_procfile.py")
    talk_to_procfile(program)
    assert "one at a time" not in program.log


def done(*arguments: str, environment: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=PROGRAMS,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_a_program_tests_itself_with_the_packages_test_client() -> None:
    own = done("tested_by_itself.py", "a", "--port", "7")
    ours = done(*DROP_IN, "tested_by_itself.py", "a", "--port", "7")
    assert ours.stdout == own.stdout
    assert "doubled [42]" in ours.stdout
    by_variable = done(
        "-m", "python_server", "tested_by_itself.py", "a", "--port", "7", environment={"WSFRAME_DROP_IN": "1"}
    )
    assert by_variable.stdout == own.stdout


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("import eventlet\neventlet.no_such_word\n", "eventlet.no_such_word (program.py:2) is not among"),
        ("from gevent import no_such_word\n", "gevent.no_such_word (program.py:1) is not among"),
        ("import eventlet.backdoor\n", "eventlet.backdoor (program.py:1) is not among"),
        ("from flask_socketio import nobody\n", "flask_socketio.nobody (program.py:1) has no counterpart"),
        ("import socketio.nobody\n", "socketio.nobody (program.py:1) is the real package's"),
        (
            "from gevent.pywsgi import WSGIServer, WSGIHandler\n"
            "class Own(WSGIHandler):\n  def get_environ(self): ...\n"
            "WSGIServer(('', 0), print, handler_class=Own)\n",
            "handler_class=Own (program.py:4)",
        ),
    ],
)
def test_what_a_stand_in_lacks_fails_at_start_and_names_the_place(
    tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "program.py").write_text(text)
    served = subprocess.run(
        [sys.executable, *DROP_IN, "program:app"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert served.returncode == 1
    assert served.stderr.splitlines()[-1].startswith("Error: importing 'program' raised")
    assert sentence in served.stderr.splitlines()[-1]


def test_real_modules_that_are_there_already_are_refused_with_all_reasons() -> None:
    program = (
        "from gevent import monkey; monkey.patch_all(); import flask_socketio, sys\n"
        "from python_server.command.cli import main\n"
        "sys.argv = ['wsframe', 'serve', '--drop-in', 'gevent_flask:app', '--port', '0']\n"
        "main()\n"
    )
    ended = done("-c", program)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    for reason in ("gevent has patched the process", "flask_socketio is imported", "socketio is imported"):
        assert reason in ended.stderr


def test_a_script_decides_its_options_itself() -> None:
    port = done("-m", "python_server", "--drop-in", "--port", "7", "tested_by_itself.py")
    assert (port.returncode, port.stdout) == (2, "")
    assert "--port with a script: tested_by_itself.py starts the server itself" in port.stderr
    without = done("-m", "python_server", "tested_by_itself.py")
    assert "tested_by_itself.py is a script: write tested_by_itself:app, or add --drop-in" in without.stderr
    missing = done(*DROP_IN, "no_such_program.py")
    assert missing.stderr == "Error: there is no file no_such_program.py\n"


def test_a_stock_program_is_told_once_what_drop_in_would_gain() -> None:
    apps = PROGRAMS.with_name("apps")
    program = RunningProgram([sys.executable, "-m", "python_server", "stock_app:app", "--port", "0"], apps)
    program.wait_for("--drop-in puts python_server's own in its place")
    program.wait_for("listening on")
    assert program.stop() == 0
    assert program.log.count("--drop-in") == 1


def test_a_stock_program_for_greenlets_is_refused_and_told_of_drop_in() -> None:
    refused = done("-m", "python_server", "gevent_flask:app", "--port", "0")
    assert refused.returncode == 1
    assert "or start it unchanged with --drop-in [async-mode]" in refused.stderr.splitlines()[-1]


def test_the_reloader_puts_the_names_in_place_anew(tmp_path: Path) -> None:
    text = (PROGRAMS / "eventlet_procfile.py").read_text("utf-8")
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(
            text.replace("socketio.run(app,", "socketio.run(app, debug=True,")
        )
    (tmp_path / "drop.toml").write_text("drop-in = true\nreload = true\n")
    by_option = ["-m", "python_server", "--config", "drop.toml", "one:app", "--port", "0"]
    for arguments, path in ((by_option, "one.py"), ([*DROP_IN, "two.py"], "two.py")):
        program = RunningProgram([sys.executable, *arguments], tmp_path, {"PORT": "0"})
        try:
            program.wait_for("listening on")
            (tmp_path / path).write_text((tmp_path / path).read_text() + "\n# changed\n")
            program.wait_for("listening on", 2)
            program.wait_for("INFO drop-in: eventlet", 2)
        finally:
            assert program.stop() == 0
