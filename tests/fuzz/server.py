"""Plays a conversation against a whole worker on told time, and looks at everything it leaves behind.

It must not know the rules of a protocol: `answers` judges what came, the worker's tables tell what is held.
"""

from __future__ import annotations

import gc
import logging
import re
import socket
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "common"))

from answers import CLOSE_CODES, read_answers
from client_end import Connection
from conversations import CLOSE, PROXY_FIELDS, TOKEN, UPGRADE, Grammar
from findings import Fault, Record
from mutations import Mutator
from operations import Operation, expand, render, render_frame, render_request
from served_site import make_application, read_what_is_there

from python_server.http1 import head as heads
from python_server.net.system import open_descriptors_count
from python_server.observe import log
from python_server.serve.mounts import find_site
from python_server.settings import Settings, WebSocketSettings
from simulated_machine import Machine, Stuck

SETTINGS = Settings(
    access_log=None,
    proxy_headers=True,
    forwarded_allow_ips="192.0.2.9",
    health=True,
    half_open_sessions_max_count=100,
    sessions_max_count=120,
    websocket=WebSocketSettings(per_message_deflate=True),
)
PEERS = {"client": ("192.0.2.1", 1), "proxy": ("192.0.2.9", 1)}
SID = re.compile(rb'"sid":"([^"]+)"')
SID_WANTED = re.compile(r"\{sid:(\w+)\}")
# Steps until a good client has its answer, whatever others have left behind.
ANSWER_MAX_STEPS = 600
# Steps of a conversation: so many, and one for so many bytes of it.
STEPS_MAX_COUNT, STEP_BYTES = 20_000, 2
# Of processor time; told only if two more runs of the same conversation have such a step too.
STEP_MAX_SECONDS = 0.25
# docs/limits.md: 4 MiB of messages and what one receive brings; and what the kernel holds of a pair.
TAKEN_MAX_BYTES = 6 * 1024 * 1024
# docs/limits.md: above 1 MiB for it a client is not read from, and a thread that broadcasts waits; and what
# was taken before. Far below what would cut it.
HELD_MAX_BYTES = 8 * 1024 * 1024
FORGOTTEN_SECONDS = 50.0  # a session whose client never says a word
AFTERWARDS_SECONDS = 200.0
WAKING_MAX_SECONDS = 10.0  # of the system's clock: a thread that was let go
# Objects of the process are counted after so many conversations; all bounded tables are full by then.
COUNTED_COUNT, OBJECTS_MORE_MAX_COUNT = 400, 20_000


class Errors(logging.Handler):
    """What the server logs as an error: here nothing may be one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = logging.Formatter().format(record)
        self.lines.append(text)


ERRORS = Errors()


class Played:
    """One conversation under way."""

    def __init__(self, seed: int, application: Any) -> None:
        heads._KNOWN.clear()  # what a conversation says is all that counts when it is replayed
        log.FAULTS.say_all()
        ERRORS.lines.clear()
        self._propagates, log.LOGGER.propagate = log.LOGGER.propagate, False
        log.LOGGER.addHandler(ERRORS)
        self.machine = Machine(seed)
        self.worker = self.machine.worker(find_site(application), SETTINGS)
        self.connections: dict[str, Connection] = {}
        self.all: list[Connection] = []
        self.counts: Counter[str] = Counter()
        self.longest_seconds = 0.0
        self._stalled: list[Any] | None = None

    # Steps

    def step(self) -> bool:
        began = time.process_time()
        did = self.machine.step()
        self.longest_seconds = max(self.longest_seconds, time.process_time() - began)
        self.counts["steps"] += did
        if self.counts["steps"] > STEPS_MAX_COUNT + self.sent_bytes // STEP_BYTES:
            raise Fault("too many steps", f"{self.counts['steps']} for {self.sent_bytes} bytes")
        return did

    @property
    def sent_bytes(self) -> int:
        return sum(connection.sent_bytes for connection in self.all)

    def pump(self) -> bool:
        return sum(connection.pump() for connection in self.connections.values()) > 0

    def settle(self) -> None:
        """Until nobody has anything to do at this moment."""
        while True:
            for _ in range(50):
                if not self.step():
                    break
            else:
                self.pump()
                continue
            if not self.pump():
                return

    def pass_time(self, seconds: float) -> None:
        end = self.machine.now + seconds
        while True:
            self.settle()
            if self.machine.now >= end or not self.machine.pass_time(end - self.machine.now):
                self.settle()
                return

    # Operations

    def apply(self, operation: Operation) -> None:
        kind = operation[0]
        if kind in ("http", "frame", "bytes"):
            self.send(operation)
        elif kind == "open":
            self.open(operation[1], operation[2])
        elif kind == "run":
            self.settle()
        elif kind == "pass":
            self.pass_time(min(float(operation[1]), 100.0))
        elif kind in ("end", "half"):
            self.leave(operation[1], kind)
        elif kind == "stall":
            self.settle()
            if self._stalled is None:
                for connection in self.all:
                    connection.stalled_bytes = connection.sent_bytes
                self._stalled, self.machine.pools = self.machine.pools, []
        elif kind == "go on":
            self.go_on()
        elif kind in ("deaf", "hear"):
            if operation[1] in self.connections:
                self.connections[operation[1]].deaf = kind == "deaf"
        elif kind == "flood":
            self.flood(*operation[1:])
        else:
            raise ValueError(f"no operation of a conversation: {operation!r}")
        self.check_bounds()

    def open(self, name: str, peer: str) -> Connection:
        former = self.connections.pop(name, None)
        if former is not None:
            former.end.close()
        connection = self.connections[name] = Connection(self.machine.connect(self.worker, PEERS[peer]))
        self.all.append(connection)
        return connection

    def leave(self, name: str, how: str) -> None:
        connection = self.connections.get(name)
        if connection is None:
            return
        connection.pump()
        if how == "end":
            del self.connections[name]
            connection.end.close()
        elif not connection.half:
            connection.half = True
            connection.end.shutdown(socket.SHUT_WR)

    def sid_of(self, match: re.Match[str]) -> str:
        connection = self.connections.get(match[1])
        found = None if connection is None else SID.search(connection.heard)
        return found[1].decode("latin-1") if found else "nobody"

    def send(self, operation: Operation) -> None:
        """Whole, or in pieces with a few steps in between."""
        connection = self.connections.get(operation[1])
        data = render(operation)
        if connection is None:
            return
        if b"{sid:" in data:
            data = SID_WANTED.sub(self.sid_of, data.decode("latin-1")).encode("latin-1")
        self.counts["operations"] += 1
        chance = self.machine.random
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 0, 1, 3))))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            connection.unsent += data[start:end]
            connection.pump()
            for _ in range(chance.randrange(4)):
                self.step()

    def flood(self, name: str, opcode: int, text: Any, at_most_bytes: int) -> None:
        """The same message as often as it is taken."""
        connection = self.connections.get(name)
        if connection is None:
            return
        frame = render_frame(opcode, text, {})
        before_bytes = connection.sent_bytes
        while connection.sent_bytes - before_bytes < at_most_bytes and not connection.ended:
            connection.unsent += frame * max(1, 200_000 // len(frame))
            if not connection.pump():
                break
            self.settle()
        del connection.unsent[len(connection.unsent) % len(frame) :]  # the rest of one
        self.counts["flooded bytes"] += connection.sent_bytes - before_bytes
        taken_bytes = connection.sent_bytes - connection.stalled_bytes
        if self._stalled is not None and taken_bytes > TAKEN_MAX_BYTES:
            raise Fault("taken without bound", f"{taken_bytes} bytes on {name} while no handler ran")

    def go_on(self) -> None:
        """Whatever stood still does no more."""
        if self._stalled is not None:
            self.machine.pools, self._stalled = self._stalled, None
        for connection in self.all:
            connection.deaf = False

    # Oracles

    def check_bounds(self) -> None:
        """What is held for clients, at any moment."""
        engines = [engine for _, engine in self.worker._cluster.engines]
        sessions_count = sum(len(engine.sessions) for engine in engines)
        half_open_count = max(engine._session_limits.half_open_count for engine in engines)
        if (
            sessions_count > SETTINGS.sessions_max_count
            or half_open_count > SETTINGS.half_open_sessions_max_count
        ):
            raise Fault("sessions without bound", f"{sessions_count}, of which {half_open_count} half open")
        held_bytes = max((channel.held_bytes for channel in self.worker._acceptor.channels), default=0)
        if held_bytes > HELD_MAX_BYTES:
            raise Fault("held without bound", f"{held_bytes} bytes for a client that does not read")

    def ask_politely(self) -> None:
        """A client of the trusted proxy and one of a WebSocket: each is answered within a bound of steps."""
        self.settle_a_little()
        asking = self.open("good client", "proxy")
        lines = "".join(f"{name}: {value}\r\n" for name, value in PROXY_FIELDS)
        asking.unsent += f"GET /who HTTP/1.1\r\nHost: here\r\nX-Token: good\r\n{lines}\r\n".encode()
        speaking = self._speaker()
        self._until(lambda: b"\r\n\r\n" in asking.heard, "a request")
        if not asking.heard.endswith(b"\r\n\r\n198.51.100.7 https"):
            raise Fault("the proxy's word is lost", repr(bytes(asking.heard[-200:])))
        self._until(lambda: b'0{"sid"' in speaking.heard or b" 503 " in speaking.heard, "a handshake")
        if b" 503 " in speaking.heard:  # too many sessions are half open: they are forgotten
            self.counts["told to come again"] += 1
            self.pass_time(FORGOTTEN_SECONDS)
            speaking = self._speaker()
            self._until(lambda: b'0{"sid"' in speaking.heard, "a handshake")
        speaking.unsent += render(["frame", "", 1, "40", {}])
        self._until(lambda: b'40{"sid"' in speaking.heard, "a namespace")
        speaking.unsent += render(["frame", "", 1, '427["echo","good"]', {}])
        self._until(lambda: b'437["good"]' in speaking.heard, "an acknowledgement")
        self.counts["good answers"] += 2

    def _speaker(self) -> Connection:
        speaking = self.open("good speaker", "client")
        target = "/socket.io/?EIO=4&transport=websocket"
        speaking.unsent += render_request("GET", target, [["Host", "here"], *UPGRADE, TOKEN], "", "none")
        return speaking

    def settle_a_little(self) -> None:
        """What clients have sent may be worked off before others come."""
        for _ in range(ANSWER_MAX_STEPS):
            if not self.step():
                break

    def _until(self, done: Any, what: str) -> None:
        for _ in range(ANSWER_MAX_STEPS):
            self.pump()
            if done():
                return
            if not self.step():
                self.pump()
                if not done() and not self.step():
                    break
        if not done():
            raise Fault("a good client waits", f"{what} has no answer after {ANSWER_MAX_STEPS} steps")

    def end_all(self) -> None:
        """Everybody leaves; then time passes, and nothing is left."""
        self.pump()
        for connection in self.connections.values():
            connection.end.close()
        self.connections.clear()
        self.pass_time(AFTERWARDS_SECONDS)
        end = time.monotonic() + WAKING_MAX_SECONDS
        while self.held()["threads that wait"] and time.monotonic() < end:
            time.sleep(0.001)
            self.pass_time(AFTERWARDS_SECONDS)
        left = {name: count for name, count in self.held().items() if count}
        if left:
            raise Fault("left behind", str(left))

    def held(self) -> dict[str, int]:
        worker = self.worker
        cluster = worker._cluster
        engines = [engine for _, engine in cluster.engines]
        hubs = [hub._running for hub in worker._hubs.values()]
        adapters = [adapter for hub in hubs for adapter in hub.rooms.adapters.values()]
        pools = self.machine.pools
        return {
            "channels": len(worker._acceptor.channels),
            "sockets of the loop": len(worker.loop.sockets),
            "sessions": sum(len(engine.sessions) for engine in engines),
            "half-open sessions": sum(engine._session_limits.half_open_count for engine in engines),
            "counted sessions": sum(engine._session_limits.sessions_count for engine in engines),
            "heartbeats": sum(len(engine._heartbeats._silences) for engine in engines),
            "clients in namespaces": sum(adapter.clients_count for adapter in adapters),
            "rooms": sum(len(adapter._rooms) for adapter in adapters),
            "namespaces": sum(
                name not in ("/", "/chat", "/open/7") for hub in hubs for name in hub.rooms.adapters
            ),
            "leaving": sum(len(hub.rooms.leaving) for hub in hubs),
            "jobs": sum(len(pool.jobs) for pool in pools),
            "threads that wait": sum(len(pool.away) for pool in pools),
            "writers": len(worker.loop._writers),
            "readers": len(worker.loop._readers) - 1,  # its own, of the wake-up
        }

    def check_answers(self, record: Record) -> None:
        """A close code that no page has, or none, may only be a client's own."""
        closes = [each for each in record if each[0] == "frame" and each[2] == CLOSE]
        said = {expand(payload)[: told.get("size")][:2] for _, _, _, payload, told in closes}
        known = {struct.pack("!H", code).decode("latin-1") for code in CLOSE_CODES} | said
        for connection in self.all:
            answers = read_answers(bytes(connection.heard), ended=connection.ended)
            self.counts["answers"] += len(answers.statuses)
            self.counts["messages"] += len(answers.messages)
            for status in answers.statuses:
                self.counts[f"status {status}"] += 1
            if answers.close_code is not None:
                self.counts[f"close {answers.close_code}"] += 1
                code = struct.pack("!H", answers.close_code).decode("latin-1")
                if (code if answers.close_code != 1005 else "") not in known and all(
                    each[0] != "bytes" for each in record
                ):
                    raise Fault("undocumented close code", str(answers.close_code))

    def close(self) -> None:
        self.go_on()
        for connection in self.all:
            connection.end.close()
        self.machine.end(self.worker)
        log.LOGGER.removeHandler(ERRORS)
        log.LOGGER.propagate = self._propagates


class ServerPlayer:
    """The machine that `findings.campaign` runs."""

    NAME = "server"

    def __init__(self) -> None:
        self._played_count = 0
        self._objects_count = 0  # when they were counted first

    def close(self) -> None:
        """It has started nothing."""

    def make(self, seed: int) -> Record:
        record = Grammar(seed).conversation()
        if seed % 3:
            record = Mutator(seed).mutate(record)
        return record

    def play(self, seed: int, record: Record) -> Counter[str]:
        self._played_count += 1
        if self._played_count % COUNTED_COUNT == 0:
            gc.collect()
            count = len(gc.get_objects())
            self._objects_count = self._objects_count or count
            if count > self._objects_count + OBJECTS_MORE_MAX_COUNT:
                raise Fault(
                    "objects are left", f"{count}, {self._objects_count} when they were counted first"
                )
        counts, longest = self._play(seed, record)
        if longest > STEP_MAX_SECONDS:
            longest = min(longest, *(self._play(seed, record)[1] for _ in range(2)))
            if longest > STEP_MAX_SECONDS:
                raise Fault("a long step", f"{longest:.2f} s of the processor at least in each of three runs")
        return counts

    def _play(self, seed: int, record: Record) -> tuple[Counter[str], float]:
        before = open_descriptors_count()
        played = Played(seed, make_application(read_what_is_there))
        try:
            for operation in record:
                played.apply(operation)
            played.go_on()
            played.pump()
            played.ask_politely()
            played.end_all()
            played.check_answers(record)
        except Stuck as error:
            raise Fault("stuck", str(error)) from None
        finally:
            played.close()
            gc.collect(0)
        if ERRORS.lines:
            raise Fault("logged as an error", ERRORS.lines[0])
        if open_descriptors_count() != before:
            raise Fault("descriptors", f"{open_descriptors_count()} where {before} were")
        if not played.counts["operations"]:
            played.counts["empty"] += 1
        return played.counts, played.longest_seconds
