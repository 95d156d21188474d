"""Machines that pass requests on to each other, on one loop and over real connections, in told time.

It must not know what a test says to them.
"""

import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from python_server.connection.acceptor import Acceptor
from python_server.connection.address_caps import AddressCaps
from python_server.connection.exchange import ExchangeServices, RequestHandler
from python_server.connection.http_channel import HTTPServices
from python_server.connection.websocket_channel import WebSocketServices
from python_server.engineio.server import Engine, EngineOptions
from python_server.engineio.session_ids import SessionIds
from python_server.http1.parser import Request
from python_server.http1.response import StandingFields
from python_server.machines.answering import AnsweringServices
from python_server.machines.directory import ENTRY_PURPOSE, Directory, MachineEntry
from python_server.machines.entrance import Entrance
from python_server.machines.links import Links, LinkServices, RemoteWorker
from python_server.machines.proof import sign
from python_server.machines.requests import PassedRequest, Relaying
from python_server.net.backpressure import Backpressure
from python_server.net.listener import Listener
from python_server.net.loop import Deadline, Loop
from python_server.net.system import REAL
from python_server.net.tls import HandshakeQueue, TLSTransport
from python_server.net.transport import Transport
from python_server.settings import HTTPSettings, Settings, TransportSettings, WebSocketSettings
from worker_town import ENGINE_PATH, Client, Elsewhere, Heard, turn_until

SECRET = b"of all machines"
LIMITS = replace(
    TransportSettings(),
    high_watermark_bytes=100_000,
    low_watermark_bytes=10_000,
    hard_limit_bytes=50_000_000,
    stall_timeout_seconds=30.0,
)


class Broker:
    """What machines leave for each other; it answers in the loop's next turn, or not at all while `away`."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.values: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.away = False

    def put(self, key: str, value: bytes, seconds: int) -> None:
        self.values[key] = value

    def get(self, key: str, told: Callable[[bool, bytes | None], None]) -> None:
        self.asked[key] += 1
        if not self.away:
            self.world.loop.call_soon(lambda: told(True, self.values.get(key)))


class Machine:
    """Its only worker: an engine under ENGINE_PATH, everything else answered by `Elsewhere`."""

    def __init__(self, world: "World", tag: str, secret: bytes, contexts: Any, **options: Any) -> None:
        self.world, self.tag = world, tag
        loop = self.loop = world.loop
        self.complaints: list[tuple[str, str]] = []
        self.answered: list[tuple[str, int, Any]] = []  # what an access log would have
        self.given: list[str] = []
        self.heard = Heard()
        self.stopping = False
        deadline = partial(Deadline, loop)
        self.acceptor = Acceptor(loop, Settings(), [], None, self.complain, AddressCaps())
        websockets = WebSocketServices(
            WebSocketSettings(),
            4_000_000,
            60.0,
            Backpressure({}, world.now),
            None,
            deadline,
            self.acceptor.add,
            self.acceptor.lost,
            loop.call_soon,
        )
        self.engine = Engine(
            self.heard,
            EngineOptions(**options),
            loop.call_later,
            loop.call_soon,
            lambda: loop.now,
            websockets,
            self.complain,
            SessionIds(None, tag),
        )
        self.elsewhere = Elsewhere(0)
        self.called_context, calling_context = contexts
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.setblocking(False)
        self.port = self.listening.getsockname()[1]
        self.directory = Directory(
            world.broker, secret, self.entry, loop.call_later, lambda: loop.now, self.complain
        )
        self.links = Links(
            self.directory,
            LinkServices(
                loop, tag, secret, LIMITS, calling_context, REAL.entropy, self.complain, world.report
            ),
        )
        self.relaying = Relaying(self.links, self.acceptor.add, self.acceptor.lost, lambda: self.stopping)
        self.services = HTTPServices(
            route=self.route,
            settings=HTTPSettings(),
            deadline=deadline,
            exchange=ExchangeServices(
                lambda: loop.now,
                lambda: "today",
                StandingFields.of("town"),
                lambda exchange, seconds: self.answered.append(
                    (exchange.request.path, exchange.status, exchange.request.peer)
                ),
                lambda exchange: self.given.append(exchange.request.path),
            ),
            lost=self.acceptor.lost,
            stop=lambda request: request.path == ENGINE_PATH and self.engine.is_foreign(request.query),
        )
        self.acceptor.set_services(self.services)
        self.entrance = Entrance(
            tag=tag,
            secret=secret,
            index=0,
            pass_on=lambda index, arrived, transport: False,
            answering=AnsweringServices(
                lambda request: self.engine if request.path == ENGINE_PATH else None,
                HTTPSettings(),
                self.services.exchange,
                Engine.hurry,
                world.report,
            ),
            serve=self.serve,
            entropy=REAL.entropy,
            complain=self.complain,
            make_deadline=deadline,
        )
        self.listener = Listener(loop, self.listening, self.accepted, lambda error: None, 16)
        self.listener.start()
        self.directory.announce()

    def entry(self) -> MachineEntry:
        return MachineEntry(1, self.tag, "127.0.0.1", self.port, "localhost", (0,))

    def complain(self, kind: str, sentence: str) -> None:
        self.complaints.append((kind, sentence))

    def route(self, request: Request) -> RequestHandler:
        if request.path != ENGINE_PATH:
            return self.elsewhere
        home = self.engine.home_of(request.query)
        return self.engine if home is None else PassedRequest(RemoteWorker(*home), self.relaying, self.engine)

    def accepted(self, sock: socket.socket, peer: Any) -> None:
        if self.called_context is None:
            self.entrance.accept(Transport(self.loop, sock, self.world.report, LIMITS, peer))
            return
        TLSTransport(self.loop, sock, self.world.report, LIMITS, peer).begin(
            HandshakeQueue(
                self.loop,
                self.called_context,
                30.0,
                b"",
                lambda transport, greeting: self.entrance.accept(transport),
                lambda greeting, reason: self.complain("cluster port", reason),
            )
        )

    def serve(self, transport: Any, request: Request, data: bytes) -> None:
        transport.peer, transport.local = request.peer, request.local
        self.acceptor.serve_one(
            transport, replace(self.services, route=lambda came: self.engine, stop=None), data
        )

    def drain(self) -> None:
        """As a worker that is told to stop."""
        self.stopping = True
        self.acceptor.stop(take_waiting=True)
        self.engine.close()
        self.listener.close()
        self.links.hurry()

    def close(self) -> None:
        self.acceptor.abort("server stopped")
        self.loop.run_once(0)
        self.listener.close()
        self.directory.close()
        self.links.close()
        self.entrance.close()
        self.loop.run_once(0)


class World:
    """Machines m1, m2, ...

    Args:
        contexts: of TLS, for who is called and who calls; None: their connections are plain.
    """

    def __init__(
        self, count: int = 2, *, contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None = None, **options: Any
    ) -> None:
        self.clock = 1000.0
        self.faults: list[tuple[str, BaseException]] = []
        self.loop = Loop(self.report, system=replace(REAL, monotonic=self.now))
        self.loop.mailbox.adopt()
        self.broker = Broker(self)
        self.clients: list[Client] = []
        self.options = {"ping_interval_seconds": 3600.0} | options
        self.contexts = contexts or (None, None)
        self.clients_listening = socket.create_server(("127.0.0.1", 0))
        self.machines = {tag: self.machine(tag) for tag in (f"m{n + 1}" for n in range(count))}

    def __getitem__(self, tag: str) -> Machine:
        return self.machines[tag]

    def machine(self, tag: str, secret: bytes = SECRET, **options: Any) -> Machine:
        return Machine(self, tag, secret, self.contexts, **(self.options | options))

    def now(self) -> float:
        return self.clock

    def report(self, what: str, error: BaseException) -> None:
        self.faults.append((what, error))

    def lists(self, tag: str, port: int, workers: tuple[int, ...] = (0,), name: str = "localhost") -> None:
        """The broker has an entry of such a machine."""
        entry = MachineEntry(1, tag, "127.0.0.1", port, name, workers)
        self.broker.values[tag] = sign(SECRET, ENTRY_PURPOSE, msgspec.msgpack.encode(entry))

    def until(self, done: Callable[[], bool]) -> None:
        """Turn the loop and the clients until `done()`; no time passes."""
        turn_until(self.loop, self.clients, done)

    def turn(self, count: int = 10) -> None:
        for _ in range(count):
            self.loop.run_once(0)

    def advance(self, seconds: float) -> None:
        self.clock += seconds
        self.turn()

    def connect(self, tag: str) -> Client:
        """A client's connection to that machine."""
        ours = socket.create_connection(self.clients_listening.getsockname())
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        theirs, peer = self.clients_listening.accept()
        theirs.setblocking(False)
        client = Client(self, ours)  # type: ignore[arg-type]
        self.clients.append(client)
        self[tag].acceptor.serve(
            Transport(self.loop, theirs, self.report, LIMITS, peer, theirs.getsockname())
        )
        return client

    def session(self, tag: str) -> str:
        """A session that lives there; its sid."""
        before = set(self[tag].acceptor.channels)
        client = self.connect(tag)
        sid = client.open()
        client.leave()
        self.until(lambda: before >= self[tag].acceptor.channels.keys())
        return sid

    def close(self) -> None:
        """Everything ends, and nothing is held."""
        for machine in self.machines.values():
            machine.close()
        assert not self.loop.sockets
        for client in self.clients:
            client.leave()
        self.loop.close()
        self.clients_listening.close()
