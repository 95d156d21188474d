"""Machines with the real supervisor and real workers, all in this process: started, rolled, stopped, killed.

It must not know clients, or what is promised; it tells a ledger what its application hears and emits.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

from invariants import EVERYBODY, Ledger, Trouble
from python_server import Server
from python_server.observe import log
from python_server.serve.mounts import Site
from python_server.serve.worker import Worker, WorkerState
from python_server.settings import Settings
from python_server.workers import process
from python_server.workers.spawn import WORKER_VARIABLE, take_slot
from python_server.workers.supervisor import Supervisor
from simulated_broker import STREAMS_URL, URL, Broker
from simulated_machine import Machine
from simulated_network import narrow

PATH = "/socket.io/"
RECOVERY_SECONDS = 30.0
PING_SECONDS, PONG_SECONDS = 6.0, 5.0
LOADING_SECONDS = 1.5
# A worker that was killed may have been the one that hears the broker: until another does.
LEADER_SECONDS = 4.0
ON_ITS_WAY_SECONDS = 4.0
SERVER_OPTIONS = {
    "ping_interval": PING_SECONDS,
    "ping_timeout": PONG_SECONDS,
    "connection_state_recovery": {"max_disconnection_duration": RECOVERY_SECONDS},
    "cors_allowed_origins": "*",
}
SETTINGS: dict[str, Any] = {"graceful_timeout_seconds": 20.0, "access_log": False, "health": False}


def no_page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise AssertionError(f"nobody asks for {environ['PATH_INFO']}")


def application(host: Host, origin: str) -> Server:
    """What each worker serves: it says to a room what a client says, under a number of its own."""
    ledger, machine = host.ledger, host.machine
    more = {}
    if host.broker is not None:
        more = {"message_queue": STREAMS_URL if ledger.streams else URL, "channel_per_room": ledger.per_room}
    server = Server(**SERVER_OPTIONS, **more)

    @server.event
    def connect(sid: str, environ: dict[str, Any], auth: dict[str, Any] | None) -> None:
        with suppress(ValueError, KeyError):  # it has left before this began
            server.enter_room(sid, EVERYBODY)
            session = server.get_session(sid)
            server.save_session(sid, {"visits": session.get("visits", 0) + 1})

    @server.event
    def say(sid: str, name: str, connection: int, number: int, room: str, pad: str) -> int:
        ledger.hear(name, connection, number)
        serial = ledger.emit(origin, room, host.name, machine.now, (name, number))
        server.emit("said", (origin, serial, room, pad), room=room)
        return number

    @server.event
    def join(sid: str, name: str, room: str) -> int:
        with suppress(ValueError):
            server.enter_room(sid, room)
        return 1

    @server.event
    def leave(sid: str, name: str, room: str) -> int:
        with suppress(ValueError):
            server.leave_room(sid, room)
        return 0

    @server.event
    def ask(sid: str, name: str, number: int) -> int:
        server.emit("question", number, to=sid, callback=lambda value: ledger.answer(name, number, value))
        with suppress(ValueError, KeyError):
            return int(server.get_session(sid)["visits"])
        return 0

    return server


class Process:
    """A worker's process (of subprocess.Popen what the supervisor uses): a worker of this one.

    Attributes:
        worker: None while it imports its application, and once it has ended.
    """

    def __init__(
        self, host: Host, pid: int, environment: dict[str, str], listening: Sequence[socket.socket]
    ) -> None:
        self.pid = pid
        self.origin = f"{host.name}w{json.loads(environment[WORKER_VARIABLE])['index']}"
        self.worker: Worker | None = None
        self.server: Server | None = None
        self.safe_serial = 0  # what was emitted before it has left the worker
        self._host = host
        self._environment = environment
        self._listening = listening
        self._code: int | None = None
        loading = host.machine.random.random() * LOADING_SECONDS
        host.loop.call_later(loading, self._begin)

    def _begin(self) -> None:
        host = self._host
        if self._code is not None:
            return
        self.server = application(host, self.origin)
        slot = take_slot(self._environment, host.machine.system.monotonic)
        assert slot is not None
        host.note(self.origin, "begins")
        if host.broker is not None:
            host.broker.owner = self.origin
        self.worker = host.machine.worker(
            Site(no_page, [self.server.mount(PATH)]), host.settings, listening=[*self._listening], slot=slot
        )
        if host.narrow:
            for listener in self.worker._acceptor._listeners:
                listener._accepted = partial(self._accepted, listener._accepted)

    @staticmethod
    def _accepted(accepted: Callable[..., None], sock: socket.socket, peer: object) -> None:
        narrow(sock)
        accepted(sock, peer)

    def stays(self) -> bool:
        """It serves, and has not been told to end."""
        return self.worker is not None and self.worker._state is WorkerState.SERVING

    def look(self) -> None:
        """After a step of the machine: has it ended, is all it has said under way?"""
        worker = self.worker
        if worker is None:
            return
        loop = worker.loop
        if loop._stopping:
            self._host.machine.end(worker)
            self._ended(0)
            return
        emissions = len(self._host.ledger.emissions[self.origin])
        if self.safe_serial == emissions or loop._more or loop._dirty or loop.mailbox._calls:
            return
        assert worker.membership is not None
        queued = worker.membership.siblings.queued_bytes()
        if queued:
            self._host.ledger.happened["full link"] += 1
        if not queued and not any(each._publisher.owes for each in worker._cluster.brokers()):
            self.safe_serial = emissions

    def poll(self) -> int | None:
        return self._code

    def wait(self) -> int:
        if self._code is None:
            raise AssertionError(f"the supervisor would wait for {self.origin}")
        return self._code

    def send_signal(self, number: int) -> None:
        if self._code is not None:
            return
        if self.worker is None:
            self._close_all()
            self._ended(-number)
        elif number == signal.SIGTERM:
            self.worker.stop()
        elif number == signal.SIGQUIT:
            self.worker.force()

    def kill(self) -> None:
        if self._code is not None:
            return
        if self.worker is None:
            self._close_all()
        else:
            self._host.ledger.unsafe(self.origin, self.safe_serial)
            self._host.ledger.killed.add(self._host.name)
            self._host.trouble(LEADER_SECONDS)
            if self._host.broker is not None:
                self._host.broker.kill(self.origin)
            with self._host.dying():
                self._host.machine.kill(self.worker)
        self._ended(-signal.SIGKILL)

    def _close_all(self) -> None:
        """What a process that has not begun holds."""
        slot = take_slot(self._environment, self._host.machine.system.monotonic)
        assert slot is not None
        assert slot.control is not None
        for each in (*self._listening, slot.control, *slot.siblings.values(), slot.board):
            each.close()

    def _ended(self, code: int) -> None:
        if self.worker is not None:
            self._host.ledger.happened["hand-over"] += self.worker._counters.counts["hand-overs"]
        self._code = code
        self.worker = self.server = None
        host = self._host
        host.note(self.origin, "ended", code)
        del host.processes[self.pid]
        # SIGCHLD comes some time later.
        pause = host.machine.random.random() * 0.2
        host.loop.call_later(pause, lambda: host.supervisor_loop.mailbox.post(host.supervisor.reap))


class Host:
    """One machine of the cluster: a supervisor, its workers, and the socket at which they listen.

    Args:
        folder: for the socket. broker: what joins it to others. narrow: the pipes between workers are small.
    """

    def __init__(
        self,
        machine: Machine,
        ledger: Ledger,
        name: str,
        folder: Path,
        workers_count: int,
        broker: Broker | None = None,
        narrow: bool = False,
    ) -> None:
        self.machine = machine
        self.ledger = ledger
        self.name = name
        self.broker = broker
        self.path = str(folder / f"{name}.sock")
        self.settings = Settings(workers_count=workers_count, **SETTINGS)
        self.processes: dict[int, Process] = {}
        self._pids = count(1)
        self.narrow = narrow
        self.loop = machine.loop()  # what is nobody's turn: the system, and whoever sends signals
        self.supervisor_loop = machine.loop()
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.setblocking(False)
        self.listening.bind(self.path)
        self.listening.listen(128)
        self.supervisor = Supervisor(
            self.supervisor_loop,
            machine.system,
            self.settings,
            [self.listening],
            {},
            serving=lambda: None,
            rolled=lambda: self.count("rolled"),
        )

    def begin(self) -> None:
        self.supervisor_loop.mailbox.post(self.supervisor.begin)

    def note(self, *words: object) -> None:
        self.ledger.note(self.machine.now, *words)

    def trouble(self, seconds: float) -> None:
        """What is said now, or was just before, may not come from here to other machines, or from there."""
        now = self.machine.now
        self.ledger.troubles.append(Trouble(self.name, now - ON_ITS_WAY_SECONDS, now + seconds))

    def count(self, what: str) -> None:
        self.ledger.happened[what] += 1
        self.note(self.name, what)

    def dying(self) -> Any:
        """What is reported meanwhile is said by a process that is gone."""
        return patch.object(log, "report", lambda what, error: None)

    def start_again(
        self,
        environment: Mapping[str, str],
        listening: Sequence[socket.socket],
        descriptors: Iterable[int] = (),
        process_group: int | None = None,
    ) -> Process:
        """As `spawn.start_again`: the descriptors are the new process's own from here on."""
        own = {number: os.dup(number) for number in descriptors}
        values = json.loads(environment[WORKER_VARIABLE])
        for name in ("board", "control"):
            values[name] = own[values[name]]
        values["siblings"] = {index: own[number] for index, number in values["siblings"].items()}
        if self.narrow:
            for number in (values["control"], *values["siblings"].values()):
                end = socket.socket(fileno=number)
                narrow(end)
                end.detach()
        pid = next(self._pids)
        given = {WORKER_VARIABLE: json.dumps(values)}
        self.processes[pid] = Process(self, pid, given, [sock.dup() for sock in listening])
        return self.processes[pid]

    def serving(self) -> list[Process]:
        return [each for each in self.processes.values() if each.worker is not None]

    def look(self) -> None:
        """After a step of the machine: a loop that was stopped turns no more."""
        for each in [*self.processes.values()]:
            each.look()
        if self.supervisor_loop._stopping and self.supervisor_loop in self.machine.loops:
            self.machine.loops.remove(self.supervisor_loop)

    def order(self, function: Callable[[], object]) -> None:
        """A signal to the supervisor."""
        self.supervisor_loop.mailbox.post(function)

    def close(self) -> None:
        """Whatever still runs is killed."""
        self.supervisor.close()
        self.listening.close()
        for loop in (self.loop, self.supervisor_loop):
            if loop in self.machine.loops:
                self.machine.loops.remove(loop)
            loop.close()


def starting(hosts: Sequence[Host]) -> Any:
    """While this holds, supervisors start workers of this process."""

    def start(environment: Mapping[str, str], *args: Any, **more: Any) -> Process:
        values = json.loads(environment[WORKER_VARIABLE])
        host = next(each for each in hosts if each.supervisor._host_id == values["host_id"])
        return host.start_again(environment, *args, **more)

    return patch.object(process, "start_again", start)
