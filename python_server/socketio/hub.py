"""The Socket.IO server: which client is in which namespace, who handles an event, who waits for an ack.

Must not know: frames, HTTP, Flask; handlers are functions it was given, run through the door.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from python_server.engineio.packet import Prepared
from python_server.engineio.session import DisconnectReason, Session
from python_server.socketio.adapter import Adapter, Backplane
from python_server.socketio.client import (
    Client,
    ConnectionRefused,
    Handler,
    NamespaceReason,
    Socket,
    SocketState,
)
from python_server.socketio.handlers import Bucket, Handlers
from python_server.socketio.packet import Assembler, Packet, PacketError, PacketType, decode
from python_server.socketio.speaker import Speaker, prepare

# Events of one client that wait for a thread: above the first bound its reading pauses, above the second
# (a polling client cannot be paused) its session ends.
STRAND_SOFT_COUNT: Final = 256
STRAND_RESUME_COUNT: Final = 64
STRAND_HARD_COUNT: Final = 10_000
# Attachments of one binary packet together.
ATTACHMENTS_MAX_BYTES: Final = 16 * 1024 * 1024
# The official server's connectTimeout: a client that joins no namespace is sent away.
CONNECT_TIMEOUT_SECONDS: Final = 45.0
# Rates counted apart per client and namespace.
BUCKETS_MAX_COUNT: Final = 64


class Hub(Speaker):
    """The namespaces of one Socket.IO server. Answers sessions (the SessionHandler port)."""

    def __init__(self, backplane: Backplane | None = None) -> None:
        super().__init__(backplane)
        self.handlers = Handlers()
        # CONNECT is answered before the connect handler runs; its refusal is then a DISCONNECT.
        self.always_connect = False

    def disconnect(self, namespace: str, sid: str, reason: str | None = None) -> None:
        """Send a client out of a namespace; a reason reaches it as the event `closing` just before."""
        self._post(self._disconnect, namespace, sid, reason)

    # Loop's thread: the SessionHandler port

    def session_opened(self, session: Session) -> None:
        services = self._running()
        client = session.context = Client(session, services.door.strand())
        client.connect_timer = services.call_later(
            CONNECT_TIMEOUT_SECONDS, partial(self._connect_late, client)
        )

    def on_message(self, session: Session, data: str | bytes) -> None:
        client: Client = session.context
        try:
            packet = self._decode(client, data)
            if packet is not None:
                self._receive(client, packet)
        except PacketError as error:
            self._running().complain(
                "bad packet", f"a session was closed for a bad Socket.IO packet: {error}"
            )
            session.end(DisconnectReason.PARSE_ERROR)

    def session_closed(self, session: Session, reason: DisconnectReason) -> None:
        client: Client | None = session.context
        if client is None:
            return
        session.context = None
        client.connect_timer.cancel()
        client.assembler = None
        for socket in list(client.sockets.values()):
            self._close_socket(socket, reason)

    def _decode(self, client: Client, data: str | bytes) -> Packet | None:
        if client.assembler is not None:
            if not isinstance(data, bytes):
                raise PacketError("text where an attachment is due")
            packet = client.assembler.add(data)
            if packet is not None:
                client.assembler = None
            return packet
        if not isinstance(data, str):
            raise PacketError("an attachment without its packet")
        packet = decode(data)
        if packet.attachments_count:
            client.assembler = Assembler(packet, ATTACHMENTS_MAX_BYTES)
            return None
        return packet

    def _receive(self, client: Client, packet: Packet) -> None:
        socket = client.sockets.get(packet.namespace)
        if packet.kind is PacketType.CONNECT:
            if socket is not None:
                raise PacketError(f"namespace {packet.namespace} is already joined")
            self._connect(client, packet)
        elif socket is None or socket.state is not SocketState.CONNECTED:
            raise PacketError(f"namespace {packet.namespace} is not joined")
        elif packet.kind is PacketType.EVENT:
            self._dispatch(socket, packet)
        elif packet.kind is PacketType.ACK:
            resolve = socket.acks.pop(packet.id, None)  # type: ignore[arg-type]
            if resolve is not None:
                resolve(packet.data)
        else:
            self._close_socket(socket, NamespaceReason.CLIENT)

    # Events

    def _dispatch(self, socket: Socket, packet: Packet) -> None:
        name, *arguments = packet.data
        handler = self.handlers.find(socket.namespace, name)
        if handler is None:
            return
        if handler.rate is not None and not self._within_rate(socket, name, *handler.rate):
            return
        client = socket.client
        strand = client.strand
        job = partial(self._run_event, socket, handler, name, tuple(arguments), packet.id)
        if handler.inline and strand.idle:
            job()
            return
        if handler.ordered:
            strand.submit(job)
        else:
            client.overtaking_count += 1
            self._running().door.submit(partial(self._run_overtaking, client, job))
        if strand.waiting_count + client.overtaking_count >= STRAND_SOFT_COUNT:
            self._press(client)

    def _run_overtaking(self, client: Client, job: Callable[[], None]) -> None:
        """Worker: an event beside its client's strand."""
        job()
        self._post(self._overtaken, client)

    def _overtaken(self, client: Client) -> None:
        client.overtaking_count -= 1
        if client.paused and client.overtaking_count + client.strand.waiting_count < STRAND_RESUME_COUNT:
            self._resume(client)

    def _within_rate(self, socket: Socket, name: str, count: int, seconds: float) -> bool:
        """Count one event against its rate; beyond it the client leaves the namespace, and is told why."""
        now = self._running().now()
        if socket.buckets is None:
            socket.buckets = {}
        # Names under a catch-all are the client's to choose: they share one bucket once there are many.
        name = name if name in socket.buckets or len(socket.buckets) < BUCKETS_MAX_COUNT else "*"
        bucket = socket.buckets.setdefault(name, Bucket(count, now))
        if bucket.take(count, seconds, now):
            return True
        self._running().complain(
            "rate limited",
            f"a client sent more than {count} events {name!r} in {seconds:g} s and was sent away: "
            f"the rate_limit of that handler",
        )
        self._disconnect(
            socket.namespace, socket.sid, f"more than {count} in {seconds:g} s", NamespaceReason.RATE_LIMITED
        )
        return False

    def _run_event(
        self, socket: Socket, handler: Handler, name: str, arguments: tuple[Any, ...], ack_id: int | None
    ) -> None:
        """Worker (or loop, for an inline handler): one event, one fault logged once, one ack."""
        try:
            result = handler.function(socket, name, arguments)
            if ack_id is not None:
                values = [] if result is None else list(result) if isinstance(result, tuple) else [result]
                prepared = prepare(PacketType.ACK, socket.namespace, values, ack_id)
                self._post(socket.send, prepared)
        except Exception as error:
            self._running().report(f"handler of event {name!r}", error)

    def _press(self, client: Client) -> None:
        """Its events come faster than they are handled: stop reading, then give up."""
        if client.strand.waiting_count + client.overtaking_count >= STRAND_HARD_COUNT:
            self._running().complain(
                "too many events", "a session was closed: its events came faster than they were handled"
            )
            client.session.end(DisconnectReason.FORCED_CLOSE)
        elif not client.paused and not any(socket.acks for socket in client.sockets.values()):
            client.paused = True
            client.session.pause_reading(True)
            client.strand.when_below(STRAND_RESUME_COUNT, partial(self._post, self._resume, client))

    def _resume(self, client: Client) -> None:
        client.paused = False
        client.session.pause_reading(False)

    # Connect and disconnect

    def _connect(self, client: Client, packet: Packet) -> None:
        namespace = packet.namespace
        if not self.handlers.serves(namespace):
            client.session.send(
                prepare(PacketType.CONNECT_ERROR, namespace, {"message": "Invalid namespace"})
            )
            return
        client.connect_timer.cancel()
        socket = client.sockets[namespace] = Socket(namespace, client, packet.data)
        if namespace not in self._adapters:
            self._adapters[namespace] = Adapter(self._backplane, partial(self._moved, namespace))
        self._adapters[namespace].add(socket)
        handler = self.handlers.find(namespace, "connect")
        if handler is None or self.always_connect:
            self._connected(socket)
        if handler is not None:
            client.strand.submit(partial(self._run_connect, socket, handler))

    def _run_connect(self, socket: Socket, handler: Handler) -> None:
        """Worker: the connect handler; what it emits waits behind the reply."""
        refusal: dict[str, Any] | None = None
        try:
            if handler.function(socket, "connect", (socket.auth,)) is False:
                refusal = {"message": "Connection rejected by server"}
        except ConnectionRefused as error:
            refusal = (
                {"message": error.message}
                if error.data is None
                else {"message": error.message, "data": error.data}
            )
        except Exception as error:
            self._running().report("handler of event 'connect'", error)
            refusal = {"message": "Connection rejected by server"}
        if refusal is None:
            self._post(self._connected, socket)
        else:
            self._post(self._refused, socket, prepare(PacketType.CONNECT_ERROR, socket.namespace, refusal))

    def _connected(self, socket: Socket) -> None:
        if socket.state is SocketState.CONNECTED:
            return
        if socket.state is SocketState.CLOSED:  # it left while its connect handler ran, which must be told
            self._run_disconnect(socket, DisconnectReason.TRANSPORT_CLOSE)
            return
        socket.move(SocketState.CONNECTED)
        held, socket.held = socket.held, []
        socket.send(prepare(PacketType.CONNECT, socket.namespace, {"sid": socket.sid}))
        for prepared in held:
            socket.send(prepared)

    def _refused(self, socket: Socket, prepared: Prepared) -> None:
        if socket.state is SocketState.CONNECTED:
            self._disconnect(socket.namespace, socket.sid)
        elif socket.state is SocketState.PENDING:
            self._forget_socket(socket)
            socket.client.session.send(prepared)

    def _connect_late(self, client: Client) -> None:
        client.session.end(DisconnectReason.FORCED_CLOSE)

    def _disconnect(
        self,
        namespace: str,
        sid: str,
        detail: str | None = None,
        reason: NamespaceReason = NamespaceReason.SERVER,
    ) -> None:
        socket = self._adapter(namespace).get(sid)
        if isinstance(socket, Socket):
            session = socket.client.session
            if detail is not None:
                said = {"reason": str(reason), "detail": detail}
                session.send(prepare(PacketType.EVENT, namespace, ("closing", said)))
            session.send(prepare(PacketType.DISCONNECT, namespace))
            self._close_socket(socket, reason)

    def _close_socket(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        """The one way out of a namespace."""
        connected = socket.state is SocketState.CONNECTED
        self._forget_socket(socket)
        if connected:
            self._run_disconnect(socket, reason)

    def _forget_socket(self, socket: Socket) -> None:
        socket.move(SocketState.CLOSED)
        socket.held.clear()
        acks, socket.acks = socket.acks, {}
        for resolve in acks.values():
            resolve(None)
        namespace = socket.namespace
        socket.client.sockets.pop(namespace, None)
        adapter = self._adapters[namespace]
        adapter.remove(socket.sid)
        if adapter.empty and not self.handlers.permanent(namespace):
            del self._adapters[namespace]  # names that clients choose must not add up

    def _run_disconnect(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        handler = self.handlers.find(socket.namespace, "disconnect")
        if handler is not None:
            socket.client.strand.submit(
                partial(self._run_event, socket, handler, "disconnect", (str(reason),), None)
            )
