"""Logs that nobody reads, that are full or closed: the server goes on, and says what was lost.

It must not know the server's code: its outputs are pipes of the test's own.
"""

import http.client
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import websockets.sync.client

from running_program import RunningProgram

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60.0
ADDRESS = re.compile(r"http://(127\.0\.0\.1:\d+)")
LONG = "a" * 8_000
COMMAND = [
    sys.executable,
    "-m",
    "python_server",
    "threads_app:app",
    "--port",
    "0",
    "--control-socket",
    "none",
]


class Server(RunningProgram):
    """A server whose log is read, and whose standard output is what the test gives it."""

    def __init__(self, command: list[str], output: Any = None) -> None:
        # A line that is out because Python keeps none back would show nothing.
        super().__init__(command, APPS, {"PYTHONUNBUFFERED": ""}, output)
        self.address = self.find(ADDRESS)[1]

    def ask(self, *paths: str) -> None:
        """One request for each, in order, on one connection; each is answered."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE_SECONDS)
        for path in paths:
            connection.request("GET", path)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"served")
        connection.close()


@contextmanager
def served(output: Any, *arguments: str) -> Iterator[Server]:
    server = Server([*COMMAND, *arguments], output)
    try:
        yield server
    finally:
        server.kill()


Pipe = tuple[BinaryIO, BinaryIO]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Its ends for reading and writing, which a test may close itself."""
    receive, send = os.pipe()
    with open(receive, "rb") as reader, open(send, "wb") as writer:
        yield reader, writer


def test_a_pipe_that_nobody_reads_stops_no_request_and_no_websocket(pipe: Pipe) -> None:
    reader, writer = pipe
    with served(writer) as server:
        writer.close()
        server.ask(*[f"/?{number}&{LONG}" for number in range(1_200)])  # twice what may wait, and the pipe
        with websockets.sync.client.connect(
            f"ws://{server.address}/socket.io/?EIO=4&transport=websocket", open_timeout=PATIENCE_SECONDS
        ) as websocket:
            assert str(websocket.recv(PATIENCE_SECONDS))[0] == "0"
        server.find(re.compile("the access log is not written as fast as it grows: lines are dropped"))
        text = b""
        while b"/?400&" not in text:  # what waited comes, in order
            text += reader.readline()
        numbers = [int(number) for number in re.findall(rb"GET /\?(\d+)&", text)]
        assert numbers == list(range(401))
        server.signal(signal.SIGTERM)
        text += reader.read()
        assert server.wait() == 0
        dropped = int(server.find(re.compile(r"(\d+) lines of the access log were dropped"))[1])
        assert len(re.findall(rb"GET /\?\d+&", text)) + dropped in (1_200, 1_201)  # the WebSocket's line


def test_the_end_waits_for_lines_but_not_for_a_reader_that_reads_nothing(pipe: Pipe) -> None:
    with served(pipe[1]) as server:
        server.ask(*[f"/?{LONG}"] * 50)
        assert server.stop() == 0


def test_all_lines_are_out_at_the_end_in_their_order(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file, served(file) as server:
        server.ask(*[f"/?{number}" for number in range(500)])
        assert server.stop() == 0
    numbers = [int(number) for number in re.findall(r"GET /\?(\d+) ", output.read_text())]
    assert numbers == list(range(500))
    assert server.log.endswith("INFO stopped\n")


def test_a_line_is_out_soon_after_its_request(pipe: Pipe) -> None:
    reader, writer = pipe
    with served(writer) as server:
        for number in range(3):  # nothing follows that could push it out
            server.ask(f"/?{number}")
            assert b"GET /?%d HTTP" % number in reader.readline()


def test_a_reader_that_has_gone_costs_the_lines_alone(pipe: Pipe) -> None:
    reader, writer = pipe
    with served(writer) as server:
        reader.close()
        writer.close()
        server.ask("/", "/", "/")
        server.find(re.compile("the access log is not written"))
        server.ask("/")
        assert server.stop() == 0
    assert "4 lines of the access log were dropped" in server.log


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_a_full_disk_costs_the_lines_alone() -> None:
    with served(subprocess.DEVNULL, "--access-log", "/dev/full") as server:
        server.ask("/", "/")
        server.find(re.compile("the access log is not written"))
        server.ask("/")
        assert server.stop() == 0


def test_without_standard_output_there_is_no_access_log() -> None:
    server = Server(["/bin/sh", "-c", f"exec {shlex.join(COMMAND)} >&-"])
    try:
        server.ask("/")
        assert server.stop() == 0
    finally:
        server.kill()
    assert "GET /" not in server.log
