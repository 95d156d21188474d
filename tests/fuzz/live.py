"""The same conversations over TCP with a server in a process of its own, whose log nobody reads meanwhile.

It must not know what time it is there: a client that behaves is answered in the end.
"""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from answers import read_answers
from client_end import Connection
from conversations import PROXY_FIELDS, TEXT, TOKEN, UPGRADE, Grammar
from findings import Fault, Record
from mutations import Mutator
from operations import Operation, render, render_frame, render_request
from server import SID, SID_WANTED

HERE = Path(__file__).parent
PATIENCE_SECONDS = 60.0  # of a machine with far more to do than this
QUIET_SECONDS = 0.02
FLOOD_MAX_BYTES = 2_000_000
# Events whose handler raises, at once: what they log is more than any pipe holds.
FAILURES_COUNT = 3_000
# Descriptors are looked at after so many conversations: a connection may linger for 2 s.
LOOK_COUNT = 10
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")
PLANTED = "PlantedFailure"
OPTIONS = ("--port", "0", "--control-socket", "none", "--proxy-headers", "--ws-per-message-deflate")


class Process:
    """The server."""

    def __init__(self) -> None:
        environment = {**os.environ, "FUZZ_FAILS": "1", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "python_server", "served_site:app", *OPTIONS]
        self._process = subprocess.Popen(
            command, cwd=HERE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self.log = ""
        self._judged = 0
        end = time.monotonic() + PATIENCE_SECONDS
        while not (found := ADDRESS.search(self.log)):
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError(f"the server does not start: {self.log}")
            self.read_log(0.1)
        self.port = int(found[1])

    def read_log(self, quiet_seconds: float) -> None:
        """What it has said, until it says nothing more."""
        while select.select([self._pipe], [], [], quiet_seconds)[0]:
            data = os.read(self._pipe, 1 << 16)
            if not data:
                return
            self.log += data.decode("utf-8", "replace")

    def judge_log(self) -> int:
        """Every traceback is of a failure that was asked for; how many of those. Raises Fault."""
        self.read_log(0.05)
        end = self.log.rfind("\n") + 1
        said, self._judged = self.log[self._judged : end], end
        for block in said.split("Traceback (most recent call last)")[1:]:
            if PLANTED not in block:
                raise Fault("logged as an error", block[:2000])
        return said.count("Traceback (most recent call last)")

    def descriptors_count(self) -> int:
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Talk:
    """One conversation under way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.connections: dict[str, Connection] = {}
        self.all: list[Connection] = []
        self.counts: Counter[str] = Counter()

    def open(self, name: str) -> Connection:
        end = socket.create_connection(("127.0.0.1", self._port), PATIENCE_SECONDS)
        end.setblocking(False)
        connection = self.connections[name] = Connection(end)
        self.all.append(connection)
        return connection

    def settle(self, quiet_seconds: float = QUIET_SECONDS) -> None:
        """Until nothing comes for a moment."""
        while True:
            moved = sum(connection.pump() for connection in self.connections.values())
            ends = [each.end for each in self.connections.values() if not each.ended]
            if not moved and not (ends and select.select(ends, [], [], quiet_seconds)[0]):
                return

    def apply(self, operation: Operation) -> None:
        kind = operation[0]
        connection = self.connections.get(operation[1]) if len(operation) > 1 and kind != "pass" else None
        if kind == "open":
            self.open(operation[1])
        elif kind in ("run", "pass"):
            self.settle()
        elif kind in ("stall", "go on", "deaf", "hear"):
            pass  # whoever wants somebody to stand still needs the told machine
        elif kind == "await":
            self.until(self.connections[operation[1]], operation[2].encode())
        elif kind not in ("http", "frame", "bytes", "flood", "half", "end"):
            raise ValueError(f"no operation of a conversation: {operation!r}")
        elif connection is not None:
            self.speak(connection, operation)

    def speak(self, connection: Connection, operation: Operation) -> None:
        kind, name, *rest = operation
        self.counts["operations"] += 1
        if kind == "end":
            connection.end.close()
            del self.connections[name]
        elif kind == "half":
            connection.half = True
            try:
                connection.end.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the server was sooner
        elif kind == "flood":
            frame = render_frame(rest[0], rest[1], {})
            connection.unsent += frame * (FLOOD_MAX_BYTES // len(frame))
            self.settle()
            connection.unsent.clear()
        else:
            text = SID_WANTED.sub(self.sid_of, render(operation).decode("latin-1"))
            connection.unsent += text.encode("latin-1")
            connection.pump()

    def sid_of(self, match: re.Match[str]) -> str:
        connection = self.connections.get(match[1])
        found = None if connection is None else SID.search(connection.heard)
        return found[1].decode("latin-1") if found else "nobody"

    def until(self, connection: Connection, text: bytes) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while text not in connection.heard:
            if time.monotonic() > end:
                raise Fault("a good client waits", f"for {text!r}, heard {bytes(connection.heard[-200:])!r}")
            self.settle(0.05)

    def ask_politely(self) -> None:
        """Each in turn: a request through the proxy, and an event with an ack."""
        asking, speaking = self.open("good client"), self.open("good speaker")
        asking.unsent += render_request("GET", "/who", [["Host", "here"], TOKEN, *PROXY_FIELDS], "", "none")
        self.until(asking, b"\r\n\r\n198.51.100.7 https")
        target = "/socket.io/?EIO=4&transport=websocket"
        speaking.unsent += render_request("GET", target, [["Host", "here"], *UPGRADE, TOKEN], "", "none")
        self.until(speaking, b'0{"sid"')
        speaking.unsent += render_frame(TEXT, "40", {})
        self.until(speaking, b'40{"sid"')
        speaking.unsent += render_frame(TEXT, '427["echo","good"]', {})
        self.until(speaking, b'437["good"]')
        self.counts["good answers"] += 2

    def end(self) -> None:
        for connection in self.all:
            connection.end.close()

    def check_answers(self) -> None:
        for connection in self.all:
            answers = read_answers(bytes(connection.heard), ended=connection.ended)
            self.counts["answers"] += len(answers.statuses)
            self.counts["messages"] += len(answers.messages)


class LivePlayer:
    """The machine that `findings.campaign` runs."""

    NAME = "live"

    def __init__(self) -> None:
        self._process: Process | None = None
        self._played_count = 0
        self._rest_count = 0  # descriptors of the server when it is at rest

    def make(self, seed: int) -> Record:
        if seed % 10 == 5:
            return self._failures()
        record = Grammar(seed).conversation()
        return Mutator(seed).mutate(record) if seed % 3 else record

    @staticmethod
    def _failures() -> Record:
        frame = render_frame(TEXT, '42["fail"]', {}).decode("latin-1")
        target = "/socket.io/?EIO=4&transport=websocket"
        return [
            ["open", "c0", "client"],
            ["http", "c0", "GET", target, [["Host", "here"], *UPGRADE, TOKEN], "", "none"],
            ["run"],
            ["frame", "c0", TEXT, "40", {}],
            ["await", "c0", '40{"sid"'],
            ["bytes", "c0", ["*", frame, FAILURES_COUNT]],
            ["frame", "c0", TEXT, '429["echo","behind them"]', {}],
            ["await", "c0", '439["behind them"]'],
        ]

    def play(self, seed: int, record: Record) -> Counter[str]:
        process = self._running()
        talk = Talk(process.port)
        try:
            for operation in record:
                talk.apply(operation)
            talk.ask_politely()
            talk.check_answers()
        except OSError as error:
            raise Fault("the server is gone", repr(error)) from None
        except Fault:
            if not process.alive or "good client" in str(sys.exception()):
                self.close()  # the next conversation has a new one
            raise
        finally:
            talk.end()
        talk.counts["failures told"] += process.judge_log()
        self._played_count += 1
        if self._played_count % LOOK_COUNT == 1:
            self._look_at_descriptors(process)
            talk.counts["looks"] += 1
        return talk.counts

    def _running(self) -> Process:
        if self._process is None or not self._process.alive:
            self.close()
            self._process = Process()
            self._rest_count = self._process.descriptors_count()
        return self._process

    def _look_at_descriptors(self, process: Process) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while (count := process.descriptors_count()) > self._rest_count:
            if time.monotonic() > end:
                raise Fault("descriptors", f"{count} of the server where {self._rest_count} were")
            time.sleep(0.1)

    def close(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.end()
