"""Small programs as people write them, unchanged on their own stack, on our server, and by --drop-in.

It must not know what they say: programs/NAME.talk holds a conversation, NAME.txt what the stock stack said.
RECORD=1 with `-k stock` writes the latter anew.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import unified_diff
from importlib.util import find_spec
from pathlib import Path
from signal import SIGTERM

import pytest

from outside_tools import outside_tool
from own_ports import port_of_its_own
from running_program import RunningProgram

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
DRIVERS = HERE / "drivers"
COMMON = str(HERE.parent / "common")
MIGRATION = HERE.parents[1] / "docs" / "migration.md"
STARTING_COUNT = 6  # at once: each needs a processor for a second
TALKING_SECONDS = 600.0  # of a machine with far more to do than this

pytestmark = [pytest.mark.needs_node, pytest.mark.needs_redis]


@dataclass(frozen=True)
class Program:
    """How a program is started: on its own stack, and by name."""

    stack: str = "threading"
    target: str = "app"
    is_script: bool = True  # it starts a server that --drop-in replaces
    procfile: str = ""
    needs_redis: bool = False
    below: tuple[int, int] = (4, 0)  # its packages are for Pythons before this one


WORKER = "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"
PROCFILE = f"gunicorn -k {WORKER} -w 1 gevent_site:app --no-control-socket -b"
ROWS = {
    "acks": Program(),
    "canvas": Program(),
    "celery_factory": Program(target="create_app --factory", needs_redis=True),
    "chat_rooms": Program(),
    "class_namespaces": Program(),
    "copied_context": Program(),
    "disconnects": Program(),
    "django_site": Program(target="application", is_script=False),
    "env_config": Program(),
    "error_handlers": Program(),
    "gevent_server": Program("gevent"),
    "gevent_site": Program("gevent", is_script=False, procfile=PROCFILE),
    "gevent_sockets": Program("gevent"),
    "gevent_waits": Program("gevent"),
    "green_chat": Program("eventlet"),
    "green_server": Program("eventlet"),
    "live_poll": Program(),
    "login": Program(),
    "mqtt_bridge": Program(),
    "own_extension": Program(),
    "private_messages": Program(),
    "queue_server": Program(needs_redis=True),
    "shared_session": Program(),
    "sock_echo": Program(is_script=False),
    "asyncapi_events": Program(below=(3, 13)),
    "pydantic_events": Program(is_script=False),
    "small_print": Program(),
    "socketio_threads": Program(is_script=False),
    "tic_tac_toe": Program(),
    "ticker": Program(),
    "upload": Program(),
    "web_terminal": Program(),
    "wildcards": Program(),
    "with_suite": Program(),
}

# Packages around Flask-SocketIO, and what is written like them: they import it themselves.
EXTENSIONS = ("asyncapi_events", "own_extension")
# A line of the stock stack's that is another on ours, and the row of docs/migration.md that says why.
DIFFERENCES = {
    ("drop-in", "socketio_threads"): ('refused ""', 'refused "Invalid namespace"', "an unknown namespace"),
    ("drop-in", "own_extension"): ('{"wrapped": "a word"}', '"a word"', "a subclass overrides `send`"),
    ("renamed", "own_extension"): ('{"wrapped": "a word"}', '"a word"', "a subclass overrides `send`"),
}


@dataclass
class Running:
    """A program that serves, and what its conversation needs to know of it."""

    name: str
    port: int
    server: RunningProgram
    command: list[str]  # which runs another script of the program's in the same way
    environment: dict[str, str]

    @property
    def job(self) -> dict[str, object]:
        return {
            "name": self.name,
            "url": f"http://127.0.0.1:{self.port}",
            "talk": str(PROGRAMS / f"{self.name}.talk"),
            "command": self.command,
            "environment": self.environment,
            "folder": str(PROGRAMS),
        }


def wait_listening(program: RunningProgram, port: int) -> None:
    """Until somebody accepts connections there, or the program has ended."""
    for _ in range(600):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0 or not program.is_alive:
                return
        threading.Event().wait(0.1)


def commands(mode: str, name: str, port: int) -> tuple[list[str], list[str]]:
    """What starts a program, and what runs another script as the same program's."""
    row = ROWS[name]
    bind = f"127.0.0.1:{port}"
    if mode == "stock":
        alone = [sys.executable, str(DRIVERS / "stock.py"), row.stack]
        if row.procfile:
            return [sys.executable, "-m", *row.procfile.split(), bind], alone
        return [*alone, f"{name}.py"], alone
    if mode == "renamed":
        renamed = [sys.executable, str(DRIVERS / "renamed.py")]
        return [*renamed, f"{name}.py"], renamed
    server = [sys.executable, "-m", "python_server"]
    drop_in = [*server, "--drop-in"]
    if mode == "drop-in" and row.is_script:
        return [*drop_in, f"{name}.py"], drop_in
    if mode == "drop-in":
        return [*drop_in, *f"{name}:{row.target}".split(), "--bind", bind], drop_in
    return [*server, *f"{name}:{row.target}".split(), "--bind", bind], [sys.executable]


@contextmanager
def started(mode: str, names: list[str]) -> Iterator[list[Running]]:
    """All of these programs at once, each with a broker of its own if it needs one."""
    processes: list[RunningProgram] = []

    def launch(command: list[str], port: int, environment: dict[str, str]) -> RunningProgram:
        process = RunningProgram(command, PROGRAMS, environment)
        processes.append(process)
        wait_listening(process, port)
        return process

    def start(name: str) -> Running:
        port = port_of_its_own()
        environment = {"PORT": str(port), "EVENTLET_NO_GREENDNS": "yes"}
        if ROWS[name].needs_redis:
            broker_port = port_of_its_own()
            launch([outside_tool("redis-server"), "--port", str(broker_port), "--save", ""], broker_port, {})
            environment["REDIS_URL"] = f"redis://127.0.0.1:{broker_port}/0"
        command, scripts = commands(mode, name, port)
        return Running(name, port, launch(command, port, environment), scripts, environment)

    try:
        with ThreadPoolExecutor(STARTING_COUNT) as pool:
            yield list(pool.map(start, names))
    finally:
        for process in reversed(processes):
            process.signal(SIGTERM)
        for process in processes:
            process.stop()


def transcripts(driver: list[str], running: list[Running]) -> dict[str, str]:
    """What one client has heard of each program; all conversations are held at once."""
    done = subprocess.run(
        driver,
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([COMMON, os.environ.get("PYTHONPATH", "")])},
        input=json.dumps([program.job for program in running]),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TALKING_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def differences(mode: str, client: str, said: dict[str, str]) -> list[str]:
    """What a client has heard that the stock stack does not say, or not so."""
    lines: list[str] = []
    for name, text in said.items():
        own = (PROGRAMS / f"{name}.txt").read_text("utf-8")
        if (mode, name) in DIFFERENCES:
            theirs, ours, row = DIFFERENCES[mode, name]
            assert own.count(theirs) == 1
            assert f"| {row}" in MIGRATION.read_text("utf-8")
            own = own.replace(theirs, ours)
        lines += unified_diff(own.splitlines(), text.splitlines(), name, f"{mode} {client}", lineterm="")
    return lines


def is_installed(stack: str) -> bool:
    """eventlet is not among the tests' packages: Flask-SocketIO would choose it wherever nothing is said."""
    return stack != "eventlet" or find_spec("eventlet") is not None


def names_of(mode: str) -> list[str]:
    names = os.environ.get("PROGRAMS", "").split() or [
        name for name, row in ROWS.items() if sys.version_info < row.below
    ]
    if mode == "stock":
        return [name for name in names if is_installed(ROWS[name].stack)]
    if mode == "renamed":
        return [name for name in names if name in EXTENSIONS]
    return names if mode == "drop-in" else [name for name in names if ROWS[name].stack == "threading"]


@pytest.mark.long
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("stock", marks=pytest.mark.extended),
        "ours",
        pytest.param("drop-in", marks=pytest.mark.extended),
        "renamed",
    ],
)
def test_a_program_says_the_same(node: str, mode: str) -> None:
    """Both official clients hear it line by line; PROGRAMS="chat_rooms acks" are these alone."""
    drivers = {"js": [node, "drivers/talk.mjs"], "python": [sys.executable, "drivers/talk.py"]}
    found: list[str] = []
    with started(mode, names_of(mode)) as programs:
        running = [program for program in programs if program.server.is_alive]
        for client, driver in drivers.items():
            said = transcripts(driver, running)
            if mode == "stock" and client == "js" and "RECORD" in os.environ:
                for name, text in said.items():
                    (PROGRAMS / f"{name}.txt").write_text(text, "utf-8")
            found += differences(mode, client, said)
        found += [f"--- {program.name} ended" for program in programs if not program.server.is_alive]
    for program in programs:
        if any(line.split()[:2] == ["---", program.name] for line in found):
            print(f"---- {program.name}\n{program.server.log}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", ["gevent_server", "gevent_site"])
def test_a_program_for_greenlets_is_told_of_drop_in(name: str) -> None:
    """Without it our server does not start: it cannot host what switches greenlets."""
    command = [sys.executable, "-m", "python_server", f"{name}:app", "--port", "0"]
    server = RunningProgram(command, PROGRAMS)
    try:
        server.wait_for("--drop-in")
        assert server.wait() == 1
    finally:
        server.stop()


def test_every_conversation_has_its_row() -> None:
    """And each of them its program and its transcript."""
    assert {path.stem for path in PROGRAMS.glob("*.talk")} == set(ROWS)
    assert {path.stem for path in PROGRAMS.glob("*.txt")} == set(ROWS)
    assert set(ROWS) <= {path.stem for path in PROGRAMS.glob("*.py")}
    assert len(ROWS) >= 20
