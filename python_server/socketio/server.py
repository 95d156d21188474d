"""The Socket.IO server: which client is in which namespace, who handles an event, who waits for an ack.

Must not know: frames, HTTP, Flask; handlers are functions it was given, run through the door.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from python_server.engineio.packet import Prepared
from python_server.engineio.session import DisconnectReason, Session
from python_server.net.backlog import Backlog
from python_server.net.threads import ServerStopped
from python_server.socketio.adapter import Adapter
from python_server.socketio.client import (
    CONNECTED,
    Client,
    ConnectionRefused,
    Handler,
    NamespaceReason,
    Patience,
    Socket,
    SocketState,
)
from python_server.socketio.cluster.port import Command, CommandKind
from python_server.socketio.cluster.receiver import Answering
from python_server.socketio.ground import HubServices
from python_server.socketio.handlers import Bucket, Handlers
from python_server.socketio.packet import ACK, CONNECT, EVENT, Codec, Packet, PacketError, PacketType
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.restore import Comebacks
from python_server.socketio.speaker import Speaker
from python_server.socketio.waiting import Waiting

SLOW_CLIENT_TEXT: Final = (
    "a session ended, slow client: it did not take what was sent to it; the bounds are --limit-unsent "
    "for a WebSocket and the option max_queued_bytes for polling"
)
# Namespaces one client may join; it matters where "*" lets it choose their names.
NAMESPACES_MAX_COUNT: Final = 256
# Rates counted apart per client and namespace.
BUCKETS_MAX_COUNT: Final = 64


class Hub(Speaker):
    """The namespaces of one Socket.IO server. Answers sessions (the SessionHandler port)."""

    def __init__(self, codec: Codec | None = None, recovery: RecoveryLog | None = None) -> None:
        super().__init__(codec, recovery)
        # Clients whose attachments are due, with the moment their packet began.
        self._unfinished: dict[Client, float] = {}
        self._unfinished_timer: Any = None
        # Of a serving hub with recovery.
        self.comebacks: Comebacks | None = None
        self.handlers = Handlers()
        # CONNECT is answered before the connect handler runs; its refusal is then a DISCONNECT.
        self.always_connect = False
        self.patience = Patience()

    def attach(self, services: HubServices) -> None:
        """Loop's thread: a worker serves from here on."""
        super().attach(services)
        if self.recovery is not None:
            self.comebacks = Comebacks(self.recovery, services)
        services.backplane.start(
            Answering(
                self._adapters,
                self._hear,
                self._disconnect,
                self._ask_sockets,
                services.report,
                None if self.comebacks is None else self.comebacks.answer,
            )
        )

    def disconnect(self, namespace: str, sid: str, reason: str | None = None) -> None:
        """Send a client out of a namespace; a reason reaches it as the event `closing` just before."""
        self._post(self._disconnect_anywhere, namespace, sid, reason)

    # Loop's thread: the SessionHandler port

    def session_opened(self, session: Session) -> None:
        services = self._running()
        client = session.context = Client(
            session, Backlog(services.door, session.pause_reading), self.codec.decoder()
        )
        client.connect_timer = services.call_later(
            self.patience.connect_timeout_seconds, partial(self._connect_late, client)
        )

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
            self._running().complain(
                "bad packet", f"a session was closed for a bad Socket.IO packet: {error}"
            )
            session.end(DisconnectReason.PARSE_ERROR)

    def session_closed(self, session: Session, reason: DisconnectReason) -> None:
        client: Client | None = session.context
        if client is None:
            return
        session.context = None
        if reason is DisconnectReason.SLOW_CLIENT and not client.backlog.overloaded:
            self._running().complain("slow client", SLOW_CLIENT_TEXT)
        client.connect_timer.cancel()
        self._unfinished.pop(client, None)
        for socket in list(client.sockets.values()):
            self._close_socket(socket, reason)

    def _await_attachments(self, client: Client) -> None:
        """A binary packet has begun: what is missing of it must come in time."""
        if client not in self._unfinished:
            services = self._running()
            self._unfinished[client] = services.now()
            if self._unfinished_timer is None:
                self._unfinished_timer = services.call_later(
                    self.patience.attachments_timeout_seconds, self._end_unfinished
                )

    def _end_unfinished(self) -> None:
        services = self._running()
        self._unfinished_timer = None
        for client, began in list(self._unfinished.items()):
            left_seconds = began + self.patience.attachments_timeout_seconds - services.now()
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
            self._connect(client, packet)
        elif socket is None or socket.state is not CONNECTED:
            raise PacketError(f"namespace {packet.namespace} is not joined")
        elif kind is EVENT:
            self._dispatch(socket, packet)
        elif kind is ACK:
            resolve = socket.acks.pop(packet.id, None)  # type: ignore[arg-type]
            if resolve is not None:
                resolve(packet.data)
        else:
            self._close_socket(socket, NamespaceReason.CLIENT)

    # Events

    def _dispatch(self, socket: Socket, packet: Packet) -> None:
        name, *rest = packet.data
        handler = self.handlers.find(socket.namespace, name)
        if handler is None:
            return
        if handler.rate is not None and not self._within_rate(socket, name, *handler.rate):
            return
        client = socket.client
        backlog = client.backlog
        arguments = tuple(rest)
        if handler.inline and backlog.strand.idle:
            self._run_event(socket, name, arguments, packet.id, handler)
            return
        job: Callable[[], None] = partial(self._run_event, socket, name, arguments, packet.id, handler)
        submit = backlog.submit if handler.ordered else backlog.submit_beside
        if submit(job, packet.size_bytes):
            self._press(client)

    def _post_quietly(self, function: Callable[..., Any], *args: Any) -> None:
        """Worker: `_post` of what nobody waits for once the server has stopped."""
        try:
            self._post(function, *args)
        except ServerStopped:
            pass

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
        self, socket: Socket, name: str, arguments: tuple[Any, ...], ack_id: int | None, handler: Handler
    ) -> None:
        """Worker (or loop, for an inline handler): one event, one fault logged once, one ack."""
        try:
            result = handler.function(socket, name, arguments)
            if type(result) is Waiting:
                self._put_off(
                    socket, handler, result, partial(self._run_event, socket, name, arguments, ack_id)
                )
                return
            if ack_id is not None:
                values = () if result is None else result if isinstance(result, tuple) else (result,)
                prepared = self.codec.prepare(ACK, socket.namespace, values, ack_id)
                if self._at_once():
                    socket.send(prepared)
                else:
                    self._post(socket.send, prepared)
        except ServerStopped:
            pass
        except BaseException as error:  # SystemExit too: it ends the handler, not the server
            self._running().report(f"handler of event {name!r}", error)

    def _put_off(
        self, socket: Socket, handler: Handler, waiting: Waiting, again: Callable[[Handler], None]
    ) -> None:
        waiting.put_off(socket.client.backlog, self._running().door, handler.ordered, again)

    def _press(self, client: Client) -> None:
        """Its events come faster than they are handled: stop reading, then give up."""
        if client.backlog.overloaded:
            self._running().complain(
                "too many events", "a session was closed: its events came faster than they were handled"
            )
            client.session.end(DisconnectReason.SLOW_CLIENT)
        elif not any(socket.acks for socket in client.sockets.values()):
            client.backlog.pause()

    # Connect and disconnect

    def _connect(self, client: Client, packet: Packet) -> None:
        namespace = packet.namespace
        if not self.handlers.serves(namespace):
            error = {"message": "Invalid namespace"}
            client.session.send(self.codec.prepare(PacketType.CONNECT_ERROR, namespace, error))
            return
        if len(client.sockets) >= NAMESPACES_MAX_COUNT:
            raise PacketError(f"more than {NAMESPACES_MAX_COUNT} namespaces")
        socket = Socket(namespace, client, packet.data, self._running().names.make())
        client.sockets[namespace] = socket
        client.session.join()
        if self.comebacks is None:
            self._admit(socket, None, {})
        else:
            self.comebacks.begin(socket, partial(self._admit, socket))

    def _admit(self, socket: Socket, former: Client | None, rooms: dict[Any, int]) -> None:
        """It is known who it is: its rooms are those of its former self, if it had one."""
        client, namespace = socket.client, socket.namespace
        adapter = self._adapters.get(namespace)
        if adapter is None:
            adapter = self._adapters[namespace] = Adapter(
                partial(self._moved, namespace), self._log_position, self._reserved, Socket.send_to_all
            )
        adapter.add(socket)
        adapter.restore(socket.sid, rooms)
        handler = self.handlers.find(namespace, "connect")
        if handler is None or self.always_connect:
            self._connected(socket)
        if handler is None:
            return
        job = partial(self._run_connect, socket, handler)
        if former is None:
            client.backlog.strand.submit(job)
        else:  # behind the disconnect handler of what it was before
            former.backlog.strand.submit(partial(self._post_quietly, client.backlog.strand.submit, job))

    def _log_position(self) -> int:
        return 0 if self.recovery is None else self.recovery.position

    def _run_connect(self, socket: Socket, handler: Handler) -> None:
        """Worker: the connect handler; what it emits waits behind the reply."""
        refusal: dict[str, Any] | None = None
        try:
            result = handler.function(socket, "connect", (socket.auth,))
            if type(result) is Waiting:
                self._put_off(socket, handler, result, partial(self._run_connect, socket))
                return
            if result is False:
                refusal = {"message": "Connection rejected by server"}
        except ConnectionRefused as error:
            refusal = (
                {"message": error.message}
                if error.data is None
                else {"message": error.message, "data": error.data}
            )
        except BaseException as error:
            self._running().report("handler of event 'connect'", error)
            refusal = {"message": "Connection rejected by server"}
        if refusal is None:
            self._post_quietly(self._connected, socket)
        else:
            self._post_quietly(
                self._refused,
                socket,
                self.codec.prepare(PacketType.CONNECT_ERROR, socket.namespace, refusal),
            )

    def _connected(self, socket: Socket) -> None:
        if socket.state is SocketState.CONNECTED:
            return
        if socket.state is SocketState.CLOSED:  # it left while its connect handler ran, which must be told
            self._run_disconnect(socket, socket.reason)
            return
        socket.client.connect_timer.cancel()
        socket.move(SocketState.CONNECTED)
        held, socket.held = socket.held, []
        names = {"sid": socket.sid, "pid": socket.pid} if socket.pid else {"sid": socket.sid}
        socket.send(self.codec.prepare(PacketType.CONNECT, socket.namespace, names))
        for prepared in held:
            socket.send(prepared)

    def _refused(self, socket: Socket, prepared: Prepared) -> None:
        if socket.state is SocketState.CONNECTED:
            self._disconnect(socket.namespace, socket.sid)
        elif socket.state is SocketState.PENDING:
            self._forget_socket(socket)
            socket.client.session.send(prepared)

    def _connect_late(self, client: Client) -> None:
        """It has joined nothing yet; a connect handler that takes its time is not its fault."""
        if client.sockets:
            client.connect_timer = self._running().call_later(
                self.patience.connect_timeout_seconds, partial(self._connect_late, client)
            )
        else:
            client.session.end(DisconnectReason.FORCED_CLOSE)

    def _disconnect_anywhere(self, namespace: str, sid: str, detail: str | None) -> None:
        if self._adapter(namespace).get(sid) is None:
            self._backplane.publish(Command(CommandKind.DISCONNECT, namespace, sid, detail=detail))
        else:
            self._disconnect(namespace, sid, detail)

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
                session.send(self.codec.prepare(PacketType.EVENT, namespace, ("closing", said)))
            session.send(self.codec.prepare(PacketType.DISCONNECT, namespace))
            self._close_socket(socket, reason)

    def _close_socket(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        """The one way out of a namespace."""
        connected = socket.state is SocketState.CONNECTED
        socket.reason = reason
        # One that has come back and not been answered yet may come once more, as what it was.
        known = connected or (socket.recovered and socket.state is SocketState.PENDING)
        if known and self.recovery is not None and isinstance(reason, DisconnectReason):
            rooms = self._adapters[socket.namespace].positions_of(socket.sid)
            self.recovery.save(socket.saved(rooms, self.recovery.position), self._running().now())
        self._forget_socket(socket)
        if connected:
            self._run_disconnect(socket, reason)

    def _forget_socket(self, socket: Socket) -> None:
        socket.move(SocketState.CLOSED)
        socket.held.clear()
        if self.comebacks is not None:
            self.comebacks.gone(socket)
        acks, socket.acks = socket.acks, {}
        for resolve in acks.values():
            resolve(None)
        namespace = socket.namespace
        socket.client.sockets.pop(namespace, None)
        adapter = self._adapters.get(namespace)
        if adapter is None:
            return  # others were asked who it was
        adapter.remove(socket.sid)
        if adapter.empty and not self.handlers.permanent(namespace):
            del self._adapters[namespace]  # names that clients choose must not add up

    def _run_disconnect(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        handler = self.handlers.find(socket.namespace, "disconnect")
        if handler is not None:
            socket.client.backlog.strand.submit(
                partial(self._run_event, socket, "disconnect", (str(reason),), None, handler)
            )
