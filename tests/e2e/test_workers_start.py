"""Clients are shared out among workers: at a start, whoever has loaded first, and after a worker's death.

It must not know the supervisor's code: a session's id says which worker has it.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from running_program import RunningProgram
from wsframe import Decoder, Role

WORKERS_COUNT = 4
CLIENTS_COUNT = 200
PATIENCE_SECONDS = 60.0
APPLICATION = """
import itertools
import os
from pathlib import Path

import flask

from python_server import SocketIO

for number in itertools.count(1):
    try:
        open(Path(__file__).with_name(f"import-{number}"), "x").close()
        break
    except FileExistsError:
        pass
assert number != 3 or not Path(__file__).with_name("fail").exists(), "raised on purpose"
app = flask.Flask(__name__)
socketio = SocketIO(app)


@app.route("/pid")
def pid():
    return str(os.getpid())
"""
# As `-m python_server`; the first worker leaves the others new connections for as long as they need to load.
PATIENT = """
import runpy
from python_server.workers import member, supervisor
member.WORD_MAX_SECONDS = supervisor.TOGETHER_MIN_SECONDS = supervisor.TOGETHER_MAX_SECONDS = 600.0
runpy.run_module("python_server", run_name="__main__", alter_sys=True)
"""
KEY = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + KEY


class FirstClient:
    """A connection that asks for a session at once, before anybody has said that there is a server."""

    def __init__(self, address: tuple[str, int], transport: str) -> None:
        self.transport = transport
        self.sid = ""
        self._sock = socket.create_connection(address, timeout=PATIENCE_SECONDS)
        self._received = b""
        self._ask("", UPGRADE if transport == "websocket" else b"")

    def _ask(self, query: str, fields: bytes = b"") -> None:
        target = f"/socket.io/?EIO=4&transport={self.transport}{query}"
        self._sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n".encode() + fields + b"\r\n")

    def _receive(self) -> None:
        data = self._sock.recv(65_536)
        assert data, self._received
        self._received += data

    def open(self) -> str:
        """Wait for the session; go on polling, as such a client does. The worker that has it."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        if self.transport == "websocket":
            assert head.startswith(b"HTTP/1.1 101 "), head
            decoder, messages = Decoder(Role.CLIENT), []
            while not (messages := [*messages, *decoder.receive(self._received)]):
                self._received = b""
                self._receive()
            packet = messages[0]
        else:
            assert head.startswith(b"HTTP/1.1 200 "), head
            length = re.search(rb"(?i)content-length: ([0-9]+)", head)
            assert length is not None
            while len(self._received) < int(length[1]):
                self._receive()
            packet = self._received.decode()
        self.sid = json.loads(packet[1:])["sid"]
        if self.transport == "polling":
            self._ask(f"&sid={self.sid}")
        return self.sid.partition(".")[0]

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        yield sock


@pytest.fixture
def clients(listening: socket.socket) -> Iterator[list[FirstClient]]:
    """All have connected, and asked, before the server is started."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(contextlib.closing(FirstClient(listening.getsockname(), transport)))
            for _ in range(CLIENTS_COUNT // 2)
            for transport in ("websocket", "polling")
        ]


def serve(folder: Path, listening: socket.socket, workers_count: int = WORKERS_COUNT) -> RunningProgram:
    (folder / "first_app.py").write_text(APPLICATION)
    number = listening.fileno()
    arguments = ["--fd", str(number), "--workers", str(workers_count), "--worker-timeout", "600"]
    return RunningProgram(
        [sys.executable, "-c", PATIENT, "first_app:app", "--no-access-log", *arguments],
        folder,
        pass_fds=[number],
    )


@contextlib.contextmanager
def ended(program: RunningProgram) -> Iterator[RunningProgram]:
    try:
        yield program
    finally:
        program.stop(signal.SIGQUIT)
        print(program.log)


def test_clients_of_the_first_moment_are_shared_out(
    listening: socket.socket, clients: list[FirstClient], tmp_path: Path
) -> None:
    with ended(serve(tmp_path, listening)) as program:
        homes = Counter(client.open() for client in clients)
        program.wait_for(" serves", WORKERS_COUNT)
        assert len(homes) == WORKERS_COUNT
        assert max(homes.values()) <= 1.5 * CLIENTS_COUNT / WORKERS_COUNT, homes
        for transport in ("websocket", "polling"):
            shares = Counter(each.sid.partition(".")[0] for each in clients if each.transport == transport)
            assert max(shares.values()) <= 2 * CLIENTS_COUNT / 2 / WORKERS_COUNT, (transport, shares)


def test_a_worker_that_cannot_be_loaded_holds_nobody(
    listening: socket.socket, clients: list[FirstClient], tmp_path: Path
) -> None:
    (tmp_path / "fail").touch()
    with ended(serve(tmp_path, listening)) as program:
        homes = Counter(client.open() for client in clients)
        program.wait_for(" serves", WORKERS_COUNT)
        assert program.log.count("did not come up (exit code 1): another is started") == 1
        assert len(homes) >= WORKERS_COUNT - 1
        assert max(homes.values()) <= 1.5 * CLIENTS_COUNT / (WORKERS_COUNT - 1), homes


class KeptConnection:
    """A client that asks on one connection for as long as the server keeps it, then on another."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=PATIENCE_SECONDS)
        self._connection.connect()

    def ask(self) -> int:
        """The process that answers."""
        self._connection.request("GET", "/pid")
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.will_close:
            self.connect_anew()
        return int(body)

    def connect_anew(self) -> None:
        self._connection.close()
        self._connection.connect()

    def close(self) -> None:
        self._connection.close()


def test_kept_connections_spread_to_a_worker_that_came_later(
    listening: socket.socket, tmp_path: Path
) -> None:
    """No answer is lost meanwhile, and nobody is asked to leave once they are spread."""
    count = 60
    with ended(serve(tmp_path, listening, 2)) as program, contextlib.ExitStack() as stack:
        program.wait_for(" serves", 2)
        clients = [
            stack.enter_context(contextlib.closing(KeptConnection(listening.getsockname())))
            for _ in range(count)
        ]
        homes = {client: client.ask() for client in clients}
        dead = min(homes.values())
        os.kill(dead, signal.SIGKILL)
        program.wait_for("died (signal SIGKILL)")
        for client, home in homes.items():
            if home == dead:
                client.connect_anew()
        program.wait_for(" serves", 3)
        deadline = time.monotonic() + PATIENCE_SECONDS
        shares: Counter[int] = Counter()
        while len(shares) < 2 or max(shares.values()) > 1.5 * count / 2:
            assert time.monotonic() < deadline, shares
            shares = Counter(client.ask() for client in clients)
