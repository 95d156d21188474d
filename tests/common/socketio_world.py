"""A hub on a clock of its own: real sessions over a fake link, jobs run when the test says so.

It must not know sockets, threads or the time of day.
"""

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from python_server.engineio.packet import PROTOCOL4, Dialect
from python_server.engineio.session import DisconnectReason, Session
from python_server.engineio.session_ids import SessionIds
from python_server.net.system import REAL
from python_server.net.threads import Door, Mailbox
from python_server.socketio.client import Handler, Socket
from python_server.socketio.cluster.port import Backplane, NoBackplane
from python_server.socketio.server import Hub
from python_server.socketio.services import Configuration, HubServices
from told_time import Clock
from wsframe import Decoder, Outbox, Role

WALL = 1_700_000_000.0
VECTORS = Path(__file__).parents[1] / "vectors"


class Jobs:
    """An executor that runs what it was given when it is told to."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], None]] = deque()

    def submit(self, job: Callable[[], None]) -> None:
        self.waiting.append(job)

    resubmit = submit


class Link:
    """A WebSocket without a wire."""

    def __init__(self) -> None:
        self.decoder = Decoder(Role.CLIENT)
        self.messages: list[Any] = []
        self.closed = self.paused = self.blocked = False
        self.prepared_outbox = Outbox()  # never opened, it declines everything

    def send_prepared(self, prepared: Any) -> None:
        self.messages += self.decoder.receive(prepared.frames)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = True

    def fail(self, code: int, reason: str) -> None:
        self.closed = True

    def pause_reading(self, paused: bool) -> None:
        self.paused = paused


class Peer:
    """One client: says Socket.IO packets, keeps what it is told."""

    def __init__(self, world: "World", dialect: Dialect = PROTOCOL4) -> None:
        self.world = world
        self.link = Link()
        self.session = Session(
            "eio",
            world.sessions,
            None,
            lambda session, on: None,
            lambda session, reason: None,
            1000,
            dialect=dialect,
        )
        self.session.open_websocket(self.link)
        world.sessions.session_opened(self.session)

    def say(self, *messages: str | bytes, run: bool = True) -> None:
        """Packets; then, unless told otherwise, whatever they set going."""
        for message in messages:
            self.session.receive("4" + message if isinstance(message, str) else message)
        if run:
            self.world.run()

    def heard(self) -> list[Any]:
        """Socket.IO packets since the last call."""
        messages, self.link.messages = self.link.messages, []
        return [item[1:] if isinstance(item, str) else item for item in messages]

    def join(self, namespace: str = "/", auth: Any = None) -> str:
        """CONNECT; the sid in the reply."""
        prefix = "" if namespace == "/" else namespace + ","
        self.say("0" + prefix + ("" if auth is None else json.dumps(auth)))
        reply = self.heard()[0]
        assert reply.startswith("0" + prefix + "{"), reply
        self.names = json.loads(reply[1 + len(prefix) :])
        return str(self.names["sid"])

    def lose(self, reason: DisconnectReason = DisconnectReason.TRANSPORT_CLOSE) -> None:
        self.session.end(reason)
        self.world.run()

    @property
    def socket(self) -> Any:
        return next(iter(self.session.context.sockets.values()))


class World(Clock):
    """A hub, its jobs and its clock.

    Attributes:
        wall_ahead: of the clock; a machine's may be set.
    """

    def __init__(
        self,
        make_backplane: Callable[[Any], Backplane] | None = None,
        names: SessionIds | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.wall_ahead = WALL
        self.jobs = Jobs()
        self.reports: list[tuple[str, BaseException]] = []
        self.complaints: list[str] = []
        self.mailbox = Mailbox(lambda: None, 1_000_000)
        self.services = HubServices(
            Door(self.mailbox, self.jobs),
            self.call_later,
            lambda what, error: self.reports.append((what, error)),
            lambda kind, sentence: self.complaints.append(sentence),
            lambda: self.now,
            lambda: None,
            REAL.entropy,
            lambda: self.wall_ahead + self.now,
            NoBackplane() if make_backplane is None else make_backplane(self),
            names or SessionIds(),
        )
        self.serve(Hub(Configuration(**options)))
        self.called: list[tuple[str, tuple[Any, ...]]] = []

    make_link = staticmethod(Link)

    def serve(self, hub: Hub) -> None:
        self.hub = hub
        self.sessions: Any = hub.attach(self.services)

    def advance(self, seconds: float) -> None:
        """In one step: what a timer starts anew is for the next, when other worlds have spoken as well."""
        self.now += seconds
        due = [timer for timer in self.timers if timer.function and timer.when <= self.now]
        for timer in due:
            if timer.function is not None:
                function, timer.function = timer.function, None
                function()
        self.run()

    def drain(self) -> None:
        while self.mailbox.drain(self._raise):
            pass

    def run(self) -> None:
        """Posted calls and jobs until there are none."""
        self.drain()
        while self.jobs.waiting:
            self.jobs.waiting.popleft()()
            self.drain()

    @staticmethod
    def _raise(what: str, error: BaseException) -> None:
        raise error

    def on(self, event: str, function: Any = None, namespace: str = "/", **options: Any) -> None:
        """A handler; without a function it only keeps what it was called with."""

        def keep(socket: Socket, name: str, arguments: tuple[Any, ...]) -> Any:
            self.called.append((name, arguments))
            return None if function is None else function(socket, *arguments)

        self.hub.handlers.on(namespace, event, Handler(keep, **options))

    def peer(self, namespace: str | None = "/") -> Peer:
        peer = Peer(self)
        if namespace is not None:
            peer.join(namespace)
        return peer


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def make_world() -> type[World]:
    return World


@pytest.fixture(scope="session")
def vectors() -> Any:
    return json.loads((VECTORS / "socketio.json").read_text("utf-8"))
