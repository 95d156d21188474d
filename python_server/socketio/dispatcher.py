"""What sessions receive becomes CONNECTs, events for their handlers, acks for who waits, and ends.

Must not know: frames, HTTP, Flask, who is in a room; handlers are functions run by the runner.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from python_server.engineio.session import DisconnectReason, Session
from python_server.net.client_backlog import Backlog
from python_server.net.system import TimerLike
from python_server.socketio.client import CONNECTED, Bucket, Client, NamespaceReason, Socket
from python_server.socketio.connections import Connections
from python_server.socketio.handler_runner import HandlerRunner
from python_server.socketio.handlers import Handlers
from python_server.socketio.observer import SocketObserver
from python_server.socketio.packet import ACK, CONNECT, EVENT, Packet, PacketError
from python_server.socketio.protocol4 import QueryDecoder, is_version4
from python_server.socketio.services import Configuration, HubServices

SLOW_CLIENT_TEXT: Final = (
    "a session ended, slow client: it did not take what was sent to it; the bounds are --limit-unsent "
    "for a WebSocket and the option max_queued_bytes for polling"
)
# Rates counted apart per client and namespace.
BUCKETS_MAX_COUNT: Final = 64


class Dispatcher:
    """Answers sessions (the SessionHandler port). Every method belongs to the loop's thread."""

    def __init__(
        self,
        services: HubServices,
        configuration: Configuration,
        handlers: Handlers,
        connections: Connections,
        runner: HandlerRunner,
        observer: SocketObserver | None,
    ) -> None:
        self._services = services
        self._observer = observer
        self._decoder = configuration.codec.decoder
        self._patience = configuration.patience
        self._handlers = handlers
        self._connections = connections
        self._run = runner.run
        # Clients whose attachments are due, with the moment their packet began.
        self._unfinished: dict[Client, float] = {}
        self._unfinished_timer: TimerLike | None = None

    def session_opened(self, session: Session) -> None:
        backlog = Backlog(self._services.door, session.pause_reading)
        decoder, version4 = self._decoder(), is_version4(session)
        client = session.context = Client(session, backlog, QueryDecoder(decoder) if version4 else decoder)
        self._await_connect(client)
        if version4:
            self._connections.connect(client, Packet(CONNECT))

    def on_message(self, session: Session, data: str | bytes) -> None:
        client: Client = session.context
        try:
            packet = client.decoder.receive(data)
            if packet is None:
                self._await_attachments(client)
                return
            if self._unfinished:
                self._unfinished.pop(client, None)
            self._receive(client, packet)
        except PacketError as error:
            self._services.complain("bad packet", f"a session was closed for a bad Socket.IO packet: {error}")
            session.end(DisconnectReason.PARSE_ERROR)

    def session_closed(self, session: Session, reason: DisconnectReason) -> None:
        client: Client | None = session.context
        if client is None:
            return
        session.context = None
        if reason is DisconnectReason.SLOW_CLIENT and not client.backlog.overloaded:
            self._services.complain("slow client", SLOW_CLIENT_TEXT)
        client.connect_timer.cancel()
        self._unfinished.pop(client, None)
        for socket in list(client.sockets.values()):
            self._connections.close(socket, reason)

    def _await_connect(self, client: Client) -> None:
        client.connect_timer = self._services.call_later(
            self._patience.connect_timeout_seconds, partial(self._connect_late, client)
        )

    def _connect_late(self, client: Client) -> None:
        """It has joined nothing yet; a connect handler that takes its time is not its fault."""
        if client.sockets:
            self._await_connect(client)
        else:
            client.session.end(DisconnectReason.FORCED_CLOSE)

    def _await_attachments(self, client: Client) -> None:
        """A binary packet has begun: what is missing of it must come in time."""
        if client not in self._unfinished:
            self._unfinished[client] = self._services.now()
            if self._unfinished_timer is None:
                timeout_seconds = self._patience.attachments_timeout_seconds
                self._unfinished_timer = self._services.call_later(timeout_seconds, self._end_unfinished)

    def _end_unfinished(self) -> None:
        services = self._services
        self._unfinished_timer = None
        for client, began in list(self._unfinished.items()):
            left_seconds = began + self._patience.attachments_timeout_seconds - services.now()
            if left_seconds > 0:
                self._unfinished_timer = services.call_later(left_seconds, self._end_unfinished)
                return
            services.complain("bad packet", "a session was closed: attachments of a packet did not come")
            client.session.end(DisconnectReason.PARSE_ERROR)

    def _receive(self, client: Client, packet: Packet) -> None:
        socket = client.sockets.get(packet.namespace)
        kind = packet.kind
        if kind is CONNECT:
            if socket is not None:
                raise PacketError(f"namespace {packet.namespace} is already joined")
            self._connections.connect(client, packet)
        elif socket is None or socket.state is not CONNECTED:
            raise PacketError(f"namespace {packet.namespace} is not joined")
        elif kind is EVENT:
            if (traffic := socket.traffic) is not None:
                traffic.received_count += 1
                traffic.received_bytes += packet.size_bytes
            if self._observer is not None:
                self._observer.received(socket, packet)
            self._dispatch(socket, packet)
        elif kind is ACK:
            if socket.traffic is not None:
                socket.traffic.acks_count += 1
            if self._observer is not None:
                self._observer.received(socket, packet)
            resolve = socket.acks.pop(packet.id, None)  # type: ignore[arg-type]
            if resolve is not None:
                resolve(packet.data)
        else:
            self._connections.close(socket, NamespaceReason.CLIENT)

    def _dispatch(self, socket: Socket, packet: Packet) -> None:
        name, *rest = packet.data
        handler = self._handlers.find(socket.namespace, name)
        if handler is None:
            if socket.traffic is not None:
                socket.traffic.unhandled_count += 1
            if self._observer is not None:
                self._observer.unhandled(socket, name)
            return
        if handler.rate is not None and not self._within_rate(socket, name, *handler.rate):
            return
        client = socket.client
        backlog = client.backlog
        arguments = tuple(rest)
        if handler.inline and backlog.strand.idle:
            self._run(socket, name, arguments, packet.id, handler)
            return
        job: Callable[[], None] = partial(self._run, socket, name, arguments, packet.id, handler)
        submit = backlog.submit if handler.ordered else backlog.submit_beside
        if submit(job, packet.size_bytes):
            self._press(client)

    def _within_rate(self, socket: Socket, name: str, count: int, seconds: float) -> bool:
        """Count one event against its rate; beyond it the client leaves the namespace, and is told why."""
        now = self._services.now()
        if socket.buckets is None:
            socket.buckets = {}
        # Names under a catch-all are the client's to choose: they share one bucket once there are many.
        name = name if name in socket.buckets or len(socket.buckets) < BUCKETS_MAX_COUNT else "*"
        bucket = socket.buckets.setdefault(name, Bucket(count, now))
        if bucket.take(count, seconds, now):
            return True
        self._services.complain(
            "rate limited",
            f"a client sent more than {count} events {name!r} in {seconds:g} s and was disconnected: "
            "its handler's rate_limit allows no more",
        )
        self._connections.disconnect(
            socket.namespace, socket.sid, f"more than {count} in {seconds:g} s", NamespaceReason.RATE_LIMITED
        )
        return False

    def _press(self, client: Client) -> None:
        """Its events come faster than they are handled: stop reading, then give up."""
        if client.backlog.overloaded:
            self._services.complain(
                "too many events", "a session was closed: its events came faster than they were handled"
            )
            client.session.end(DisconnectReason.SLOW_CLIENT)
        elif not any(socket.acks for socket in client.sockets.values()):
            client.backlog.pause()
