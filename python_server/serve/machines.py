"""This worker's part in a cluster of machines: the parts of `machines/`, made and connected.

Must not know: any rule of any protocol, or when a worker begins and ends.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from python_server.connection.acceptor import Acceptor
from python_server.connection.exchange import RequestHandler, TransportLike
from python_server.connection.http_channel import HTTPServices
from python_server.engineio.server import Engine
from python_server.http1.parser import Request
from python_server.machines.answering import AnsweringServices
from python_server.machines.directory import Directory, MachineEntry
from python_server.machines.entrance import UNPROVEN_MAX_COUNT, Arrived, Entrance
from python_server.machines.links import Links, LinkServices, RemoteWorker
from python_server.machines.requests import PassedRequest, Relaying
from python_server.machines.words import FRAME_MAX_BYTES, HEADER_BYTES
from python_server.net.byte_handler import Address
from python_server.net.listener import Listener
from python_server.net.loop import Deadline, Loop
from python_server.net.sockets import BindError, Socket, TCPAddress, parse_address
from python_server.net.tls import HandshakeQueue, Handshaking, TLSTransport
from python_server.net.transport import Transport
from python_server.observe import log
from python_server.serve.cluster_address import cluster_contexts
from python_server.serve.cluster_wiring import Cluster
from python_server.serve.mounts import below_root
from python_server.serve.routing import engine_of
from python_server.serve.wiring import Given
from python_server.workers.handover import Handover
from python_server.workers.link_messages import encode
from python_server.workers.peers import MessageKind, with_socket

if TYPE_CHECKING:
    from python_server.net.certificates import TLSContext

ENTRY_VERSION: Final = 1
# Taken in a turn of the loop.
ACCEPT_BATCH_COUNT: Final = 16
LINK_STALL_SECONDS: Final = 10.0


class Machines:
    """Every method belongs to the loop's thread.

    Args:
        cluster: this worker's engines, siblings and brokers. listening: where other machines come in, owned
            from here on.

    Raises:
        BindError: no server here has a broker, by which machines find each other.
    """

    def __init__(
        self, given: Given, loop: Loop, acceptor: Acceptor, cluster: Cluster, listening: Socket
    ) -> None:
        settings = given.settings
        entries = next((found for each in cluster.brokers() if (found := each.entries) is not None), None)
        if entries is None:
            raise BindError(
                "--cluster-listen needs a `message_queue` of Redis or Valkey: machines find each other there "
                "[cluster-listen]"
            )
        self._given = given
        self._loop = loop
        self._acceptor = acceptor
        self._cluster = cluster
        self._deadline = partial(Deadline, loop)
        called_context, calling_context = cluster_contexts(settings.cluster)
        # Above the watermark a link sends nothing more: so many bytes, and a frame, are the most there are.
        self._limits = replace(
            settings.transport,
            hard_limit_bytes=settings.transport.high_watermark_bytes + FRAME_MAX_BYTES + HEADER_BYTES,
            stall_timeout_seconds=LINK_STALL_SECONDS,
        )
        self._secret = settings.cluster_secret.encode()
        self._place = listening.getsockname()[:2]
        self._listener = Listener(
            loop,
            listening,
            self._accepted,
            lambda error: given.complain("cluster port", f"no connection is taken: {error.strerror}"),
            ACCEPT_BATCH_COUNT,
        )
        self._directory = Directory(
            entries,
            self._secret,
            self._own_entry,
            loop.call_later,
            lambda: loop.now,
            given.complain,
        )
        self._links = Links(
            self._directory,
            LinkServices(
                loop=loop,
                tag=cluster.tag,
                secret=self._secret,
                limits=self._limits,
                context=calling_context,
                entropy=given.system.entropy,
                complain=given.complain,
                report=log.report,
            ),
        )
        self._greeting: dict[Handshaking, None] = {}  # callers whose TLS handshake runs, the oldest first
        self._handshakes = None if called_context is None else self._make_queue(called_context)
        self._stopping = False
        self._relaying = Relaying(self._links, acceptor.add, acceptor.lost, lambda: self._stopping)
        self._entrance: Entrance
        if cluster.membership is not None:
            cluster.membership.siblings.on(MessageKind.ARRIVED, self._from_sibling)
            cluster.membership.siblings.on_changed(self._directory.changed)

    def elsewhere(self, engine: Engine, request: Request) -> RequestHandler | None:
        """What passes a request on, where its session lives on another machine."""
        home = engine.home_of(request.query)
        return None if home is None else PassedRequest(RemoteWorker(*home), self._relaying, engine)

    def set_services(self, http: HTTPServices) -> None:
        """What requests here are answered with; before `begin`."""
        self._entrance = Entrance(
            tag=self._cluster.tag,
            secret=self._secret,
            index=self._index,
            pass_on=self._pass_on,
            answering=AnsweringServices(
                self._engine_of, http.settings, http.exchange, Engine.hurry, log.report
            ),
            serve=partial(self._serve, http),
            entropy=self._given.system.entropy,
            complain=self._given.complain,
            make_deadline=self._deadline,
        )

    def begin(self) -> None:
        """Let the others in, and tell them where."""
        self._listener.start()
        self._directory.announce()

    def drain(self) -> None:
        """Nobody comes in any more, and what waits at other machines is answered soon."""
        self._stopping = True
        self._listener.close()
        self._links.hurry()

    @property
    def queued_bytes(self) -> int:
        """What other machines have not taken yet."""
        return self._entrance.queued_bytes

    def close(self) -> None:
        self._listener.close()
        self._directory.close()
        self._links.close()
        for greeting in self._greeting:
            greeting.abort("server stopped")
        self._entrance.close()

    # Of this machine

    @property
    def _index(self) -> int:
        membership = self._cluster.membership
        return 0 if membership is None else membership.siblings.index

    def _own_entry(self) -> MachineEntry | None:
        """One worker writes it for all."""
        membership = self._cluster.membership
        workers: tuple[int, ...] = (0,)
        if membership is not None:
            siblings = membership.siblings
            if not (siblings.met and siblings.leader()):
                return None
            workers = tuple(sorted((*siblings.living, siblings.index)))
        address = parse_address(self._given.settings.cluster.listen or "", 0)
        assert isinstance(address, TCPAddress)
        host, port = self._place
        return MachineEntry(ENTRY_VERSION, self._cluster.tag, host, port, address.host, workers)

    def _engine_of(self, request: Request) -> Engine | None:
        path = request.path = below_root(self._given.settings.root_path, request.path)
        return engine_of(self._cluster.engines, path)

    # Who comes in

    def _make_queue(self, context: TLSContext) -> HandshakeQueue:
        return HandshakeQueue(
            loop=self._loop,
            context=context,
            timeout_seconds=self._given.settings.tls.handshake_timeout_seconds,
            plain_answer=b"",
            established=self._greeted,
            lost=self._not_greeted,
        )

    def _accepted(self, sock: Socket, peer: Address) -> None:
        common = (self._loop, sock, log.report, self._limits, peer)
        if self._handshakes is None:
            self._entrance.accept(Transport(*common))
            return
        greeting = TLSTransport(*common).begin(self._handshakes)
        if len(self._greeting) >= UNPROVEN_MAX_COUNT:
            oldest = next(iter(self._greeting))
            del self._greeting[oldest]
            oldest.abort(f"{UNPROVEN_MAX_COUNT} others without proof have come since")
        self._greeting[greeting] = None

    def _greeted(self, transport: TransportLike, greeting: Handshaking) -> None:
        del self._greeting[greeting]
        self._entrance.accept(transport)

    def _not_greeted(self, greeting: Handshaking, reason: str) -> None:
        self._greeting.pop(greeting, None)
        self._given.complain("cluster port", f"a caller at the cluster's port is refused: {reason}")

    def _pass_on(self, index: int, arrived: Arrived, transport: TransportLike) -> bool:
        """To the sibling that is wanted."""
        homes = self._cluster.homes
        if homes is None or index not in homes.siblings.living:
            return False
        send = partial(self._send, homes, index, arrived)
        handler = homes.pass_on(transport, send, send)
        if handler is not None:
            transport.set_handler(handler)
        return True

    def _send(self, homes: Handover, index: int, arrived: Arrived, sock: Socket) -> None:
        descriptor = sock.detach()
        if not homes.siblings.send(index, MessageKind.ARRIVED, encode(arrived), descriptor=descriptor):
            Socket(fileno=descriptor).close()  # the caller asks again

    def _from_sibling(self, index: int, payload: bytes, descriptor: int | None) -> None:
        if descriptor is None:
            self._given.complain("cluster port", f"a caller from worker {index} has come without descriptor")
            return
        arrived, sock = with_socket(payload, Arrived, descriptor)
        sock.setblocking(False)
        self._entrance.arrived(arrived, Transport(self._loop, sock, log.report, self._limits))

    def _serve(self, http: HTTPServices, transport: TransportLike, request: Request, data: bytes) -> None:
        """A client's connection, at its opening handshake."""
        transport.peer, transport.local = request.peer, request.local  # type: ignore[assignment]
        engine = self._engine_of(request)
        if engine is None:
            transport.close("not served")
            return

        def route(came: Request) -> RequestHandler:
            came.scheme, came.authority = request.scheme, request.authority
            return engine

        self._acceptor.serve_one(transport, replace(http, route=route, stop=None), data)
