"""Workers on a simulated machine whose calls fail, clients that say what they heard, and what is left.

It must not know which call fails, or what a conversation is about.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from injected_faults import PARTS, WAITS, Faults, FaultyMachine, FaultySocket, injected, wrap_wake_up
from python_server.net.link import pair
from python_server.net.scoreboard import Scoreboard
from python_server.net.system import open_descriptors_count
from python_server.observe import log
from python_server.serve.mounts import Site
from python_server.serve.worker import Worker
from python_server.settings import Settings
from python_server.workers.spawn import WorkerSlot
from simulated_machine import Stuck
from wsframe import Close, Connection, Role
from wsframe.deflate import Agreement

Found = TypeVar("Found")
ANSWER_SECONDS = 120.0  # told: longer than every bound of the server
REST_SECONDS = 300.0
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class Client:
    """One connection. Once it has ended nothing is said or heard any more.

    Attributes:
        heard: what a conversation notes here. ended: the server, or a fault, has ended it.
    """

    def __init__(self, world: World, path: str, context: ssl.SSLContext | None = None) -> None:
        self._world = world
        self._end = socket.socket(socket.AF_UNIX)
        self._end.connect(path)
        self._end.setblocking(False)
        self._read: Callable[[int], bytes] = self._end.recv
        self._write: Callable[[bytes], int] = self._end.send
        self.came = bytearray()
        self.heard: list[Any] = []
        self.ended = False
        self.frames: Connection | None = None
        self.messages: list[Any] = []
        if context is not None:
            self._speak_tls(context)

    def _speak_tls(self, context: ssl.SSLContext) -> None:
        self._end = secure = context.wrap_socket(
            self._end, server_hostname="localhost", do_handshake_on_connect=False
        )
        self._read, self._write = secure.recv, secure.send

        def shake() -> bool:
            try:
                secure.do_handshake()
            except ssl.SSLWantReadError:
                return False
            except OSError:
                self.ended = True
            return True

        self._world.machine.run(ANSWER_SECONDS, shake)

    def send(self, data: bytes) -> None:
        left = memoryview(data)

        def sent() -> bool:
            nonlocal left
            try:
                while left and not self.ended:
                    left = left[self._write(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                return False
            except OSError:
                self.ended = True
            return True

        self._world.machine.run(ANSWER_SECONDS, sent)

    def look(self) -> None:
        """Take all that has come: told time must not pass because a client reads slowly."""
        data = bytearray()
        while not self.ended:
            try:
                piece = self._read(65_536)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            except OSError:
                piece = b""
            data += piece
            self.ended = not piece
        if self.frames is None:
            self.came += data
            return
        self._take_frames(data)

    def _take_frames(self, data: bytes | bytearray) -> None:
        assert self.frames is not None
        with self._world.faults.aside():
            events = self.frames.receive_data(data) if data else []
        for event in events:
            if event == "2":
                self.say("3")
            elif isinstance(event, str | bytes):
                self.messages.append(event)
            elif isinstance(event, Close):
                self.ended = True
        self.send(self.frames.data_to_send())

    def until(self, find: Callable[[], Found | None]) -> Found | None:
        """What is found, within the time; None once the connection has ended without it."""
        found: list[Found] = []

        def look() -> bool:
            self.look()
            result = find()
            if result is not None:
                found.append(result)
            return bool(found) or self.ended

        self._world.machine.run(ANSWER_SECONDS, look)
        return found[0] if found else None

    # HTTP

    def ask(self, request: str, body: bytes = b"", fields: str = "") -> bytes:
        """The body of the answer; b"" where there is none. Status and length are noted."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        self.send(f"{request} HTTP/1.1\r\nHost: here\r\n{length}{fields}\r\n".encode() + body)
        answer = self.until(self._answer)
        if answer is None:
            return b""
        status, content = answer
        self.heard.append((request.partition("?")[0], status, len(content)))
        return content

    def _answer(self) -> tuple[int, bytes] | None:
        head, found, rest = bytes(self.came).partition(b"\r\n\r\n")
        if not found:
            return None
        status, lower = int(head.split()[1]), head.lower()
        if b"content-length: " in lower:
            length = int(lower.partition(b"content-length: ")[2].split()[0])
        elif b"chunked" in lower:
            rest, found, _ = rest.partition(b"\r\n0\r\n\r\n")
            length = len(rest) if found else len(rest) + 1
        else:
            length = 0
        if len(rest) < length:
            return None
        self.came.clear()  # no conversation asks ahead
        return status, rest[:length]

    # WebSocket

    def upgrade(self, target: str, fields: str = "") -> bool:
        self.send(f"GET {target} HTTP/1.1\r\nHost: here\r\n{UPGRADE}{fields}\r\n".encode())
        if self.until(lambda: b"\r\n\r\n" in self.came or None) is None:
            return False
        status = int(self.came.split()[1])
        self.heard.append(("upgrade", status))
        if status != 101:
            return False
        rest = bytes(self.came).partition(b"\r\n\r\n")[2]
        agreed = Agreement() if b"permessage-deflate" in self.came else None
        with self._world.faults.aside():
            self.frames = Connection(Role.CLIENT, deflate=agreed)
        self._take_frames(rest)
        return True

    def say(self, *messages: str | bytes) -> None:
        if self.frames is None or self.ended:
            return
        with self._world.faults.aside():
            for message in messages:
                (self.frames.send_text if isinstance(message, str) else self.frames.send_binary)(message)  # type: ignore[arg-type]
        self.send(self.frames.data_to_send())

    def hear(self, begin: str | bytes | None = None) -> str | bytes | None:
        """The next message; those before one that begins like that wait on. Noted."""

        def find() -> str | bytes | None:
            fits = (i for i, each in enumerate(self.messages) if begin is None or each[: len(begin)] == begin)
            at = next(fits, None)
            return None if at is None else self.messages.pop(at)

        message = self.until(find)
        if message is not None:
            self.note(message)
        return message

    def note(self, message: str | bytes) -> None:
        """What was heard, without the names of sessions."""
        if isinstance(message, str):
            message = message.partition('{"sid"')[0]
        self.heard.append(message if len(message) < 200 else len(message))

    def close(self) -> None:
        self._end.close()


@dataclass(frozen=True)
class Rest:
    """What a server holds that has nothing to do."""

    descriptors: int
    sockets: int
    watched: int
    channels: int
    sessions: int
    timers: int
    clients: int


class World:
    """Workers of one server, their clients, and the faults that come to them.

    Args:
        sites: of each worker; two and more know each other.
    """

    def __init__(
        self, machine: FaultyMachine, faults: Faults, sites: list[Site], settings: Settings, folder: str
    ) -> None:
        self.faults = faults
        self.machine = machine
        self.clients: list[Client] = []
        self.paths: list[str] = []
        self.workers: list[Worker] = []
        slots = self._slots(len(sites)) if len(sites) > 1 else [None]
        for number, (site, slot) in enumerate(zip(sites, slots, strict=True)):
            self.paths.append(f"{folder}/{number}")
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(self.paths[-1])
            listening.listen(100)
            self.workers.append(self._worker(site, slot, settings, FaultySocket.of(faults, listening)))
        self.machine.run(5.0)

    def _slots(self, count: int) -> list[WorkerSlot]:
        board = Scoreboard(self.machine.system.monotonic)
        boards = [board] + [Scoreboard(board.monotonic, os.dup(board.descriptor)) for _ in range(count - 1)]
        slots = [
            WorkerSlot(number, board.claim(), "host", own, own_sockets=True)
            for number, own in enumerate(boards, 1)
        ]
        for at, first in enumerate(slots):
            for second in slots[at + 1 :]:
                ours, theirs = (FaultySocket.of(self.faults, end, "link.") for end in pair())
                first.siblings[second.index], second.siblings[first.index] = ours, theirs
            first.serving = frozenset(slot.index for slot in slots)
        return slots

    def _worker(
        self, site: Site, slot: WorkerSlot | None, settings: Settings, listening: FaultySocket
    ) -> Worker:
        machine = self.machine
        worker = Worker(
            site, settings, [listening], slot, system=machine.system, make_pools=machine.make_pools
        )
        wrap_wake_up(self.faults, worker.loop)
        worker.begin()
        machine.loops.append(worker.loop)
        return worker

    def client(self, worker: int = 0, context: ssl.SSLContext | None = None) -> Client:
        self.clients.append(Client(self, self.paths[worker], context))
        return self.clients[-1]

    def at_rest(self) -> Rest:
        loops = [worker.loop for worker in self.workers]
        return Rest(
            descriptors=open_descriptors_count(),
            sockets=sum(len(loop.sockets) for loop in loops),
            watched=sum(len(loop._poller.watched) for loop in loops),  # type: ignore[attr-defined]
            channels=sum(len(worker._acceptor.channels) for worker in self.workers),
            sessions=sum(
                len(engine.sessions) for worker in self.workers for _, engine in worker._cluster.engines
            ),
            timers=sum(timer.function is not None for loop in loops for timer in loop._timers),
            clients=sum(len(hub.sockets()) for worker in self.workers for hub in worker._hubs.values()),
        )

    def check_watched(self) -> None:
        """What the pollers watch is what somebody is called for: else a loop would turn without end."""
        for worker in self.workers:
            loop = worker.loop
            assert loop._poller.watched.keys() == loop._readers.keys() | loop._writers.keys()  # type: ignore[attr-defined]

    def end(self) -> None:
        for client in self.clients:
            client.close()
        for worker in self.workers:
            self.machine.end(worker)


@dataclass
class Story:
    """What one run of a conversation was."""

    heard: list[list[Any]]
    ended: list[bool]
    counts: dict[str, int]
    rest: Rest
    lines: list[str]


@contextmanager
def kept_lines() -> Iterator[list[str]]:
    """As text: a traceback would keep what it went through."""
    lines: list[str] = []
    keeper = logging.Handler(logging.WARNING)
    keeper.emit = lambda record: lines.append(keeper.format(record))  # type: ignore[method-assign]
    log.FAULTS._kinds.clear()
    before = log.LOGGER.handlers[:], log.LOGGER.propagate
    log.LOGGER.handlers[:], log.LOGGER.propagate = [keeper], False
    try:
        yield lines
    finally:
        log.LOGGER.handlers[:], log.LOGGER.propagate = before


Conversation = Callable[[World], None]


def tell(
    sites: list[Site],
    settings: Settings,
    talk: Conversation,
    again: Conversation,
    faults: Faults,
    outcome: str,
) -> Story:
    """Run a conversation, then a good client's without faults, then the end of all clients.

    Raises:
        AssertionError: the server does not serve, or keeps something.
    """
    machine = FaultyMachine(1, faults)
    with tempfile.TemporaryDirectory() as folder, injected(faults, machine), kept_lines() as lines:
        world = World(machine, faults, sites, settings, folder)
        try:
            before = world.at_rest()
            faults.armed = True
            with suppress(Stuck) if outcome == PARTS else nullcontext():
                talk(world)
            told = world.clients[:]
            heard, ended = [each.heard for each in told], [each.ended for each in told]
            for client in told:
                client.close()
            world.machine.run(1.0)
            faults.armed = False
            again(world)
            for client in world.clients:
                assert client in told or not client.ended, f"a good client was cut off: {client.heard}"
                client.close()
            world.machine.run(REST_SECONDS)
            gc.collect(0)
            world.check_watched()
            after = world.at_rest()
            for held in fields(Rest):  # fewer: a look at a start has passed, a link has ended
                left, first = getattr(after, held.name), getattr(before, held.name)
                fewer = held.name == "timers" or outcome == PARTS
                assert left == first or (fewer and left < first), f"{held.name}: {left} instead of {first}"
        finally:
            faults.armed = False
            world.end()
    return Story(heard, ended, dict(faults.counts), after, lines)


def check(told: Story, usual: Story, outcome: str, may_report: bool) -> None:
    """A story with a fault beside the usual one.

    Raises:
        AssertionError: a client noticed more than it may, or a fault came to the log as one of ours.
    """
    broken_off = any(told.ended) or any(map(_is_refused, told.heard))
    for heard, expected in zip(told.heard, usual.heard, strict=False):  # the rest has not come any more
        if heard == expected:
            continue
        assert outcome != WAITS, f"a client heard {heard} instead of {expected}"
        # A refusal may stand for the answer, then nothing more.
        same = heard[:-1] if _is_refused(heard) else heard
        assert same == expected[: len(same)], f"a client heard {heard} instead of the begin of {expected}"
        assert broken_off or outcome == PARTS, (
            f"nobody ended a connection, and a client heard {heard} instead of {expected}"
        )
    for line in told.lines:
        assert may_report or "Traceback" not in line, line


def _is_refused(heard: list[Any]) -> bool:
    return bool(heard) and isinstance(heard[-1], tuple) and heard[-1][1] >= 400
