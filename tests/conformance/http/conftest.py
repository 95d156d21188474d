"""Fixtures of the HTTP conformance tests: a server process from the command line, raw sockets to it.

It must not use an HTTP client: what is on the wire is what the tests are about.
"""

import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from running_program import RunningProgram

HERE = Path(__file__).resolve().parent
GUARD_SECONDS = 60.0  # a test that waits this long has failed; none passes by waiting
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


@dataclass
class Answer:
    """One response as it stood on the wire; `complete` says whether its body ended as announced."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    complete: bool = True
    raw_body: bytes = b""
    interim: list[int] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} stands there twice"
        return values[0] if values else None


class Client:
    """One TCP connection to the server."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=GUARD_SECONDS)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _head(self) -> tuple[int, list[tuple[str, str]]] | None:
        line = self._file.readline()
        if not line:
            return None
        assert line.startswith(b"HTTP/1.1 "), line
        headers = []
        while (field_line := self._file.readline()) not in (b"\r\n", b""):
            assert field_line.endswith(b"\r\n")
            name, _, value = field_line.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
        return int(line[9:12]), headers

    def answer(self, method: str = "GET") -> Answer | None:
        """The next final response, None when the connection ended instead."""
        interim = []
        while True:
            head = self._head()
            if head is None:
                return None
            if head[0] >= 200:
                break
            interim.append(head[0])
        answer = Answer(*head, interim=interim)
        if method == "HEAD" or answer.status in (204, 304):
            return answer
        length, coding = answer.get("Content-Length"), answer.get("Transfer-Encoding")
        assert length is None or coding is None
        if length is not None:
            answer.body = self._file.read(int(length))
            answer.complete = len(answer.body) == int(length)
        elif coding is not None:
            assert coding == "chunked"
            self._read_chunks(answer)
        else:
            answer.body = self._file.read()
        return answer

    def _read_chunks(self, answer: Answer) -> None:
        answer.complete = False
        body, raw_body = bytearray(), bytearray()
        while not answer.complete and (line := self._file.readline()):
            size = int(line, 16)
            data = self._file.read(size + 2)
            raw_body += line + data
            body += data[:size]
            answer.complete = not size
        answer.body, answer.raw_body = bytes(body), bytes(raw_body)

    def interim(self) -> int:
        """The status of an interim response."""
        head = self._head()
        assert head is not None
        assert head[0] < 200
        return head[0]

    def ends_by_reset(self) -> bool:
        try:
            while self.socket.recv(65_536):
                pass
        except ConnectionResetError:
            return True
        return False

    def rest(self) -> bytes:
        """Everything up to the end of the stream; a reset counts as the end."""
        try:
            return self._file.read()
        except ConnectionResetError:
            return b""


@dataclass
class Server:
    """The running process."""

    program: RunningProgram
    port: int

    def connect(self) -> Client:
        return Client(self.port)

    def ask(self, path: str, head: bytes = b"", method: str = "GET", body: bytes = b"") -> Answer:
        """One request on a connection of its own."""
        with self.connect() as client:
            line = f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            client.send(line.encode() + head + b"\r\n" + body)
            answer = client.answer(method)
            assert answer is not None
            return answer

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.ask("/state").body)
        return state

    def memory_kib(self, entry: str = "VmHWM") -> int:
        for line in Path(f"/proc/{self.program.pid}/status").read_text().splitlines():
            if line.startswith(f"{entry}:"):
                return int(line.split()[1])
        raise LookupError(entry)


Start = Callable[..., Server]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """start("module:app", option, ...) -> Server; each must still be alive at the end, and end with 0."""
    servers: list[Server] = []

    def run(target: str = "probe_app:app", *options: str, folder: Path = HERE) -> Server:
        command = [
            sys.executable,
            "-m",
            "python_server",
            target,
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            *options,
        ]
        program = RunningProgram(command, folder)
        servers.append(Server(program, int(program.find(ADDRESS)[1])))
        return servers[-1]

    yield run
    statuses = [(server.program.is_alive, server.program.stop()) for server in servers]
    assert all(status == (True, 0) for status in statuses), statuses


@pytest.fixture(scope="module")
def server(start: Start) -> Server:
    return start()
