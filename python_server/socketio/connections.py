"""Clients come into namespaces, are refused, leave: the life of a `Socket`, and the one way out of it.

Must not know: events, acks that are waited for, how a packet comes in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from python_server.engineio.packet import Prepared
from python_server.engineio.session import DisconnectReason
from python_server.socketio.client import (
    Client,
    ConnectionRefused,
    Handler,
    InvalidArguments,
    NamespaceReason,
    Socket,
    SocketState,
)
from python_server.socketio.cluster.port import Command, CommandKind, Room
from python_server.socketio.handler_runner import HandlerRunner, Waiting, named
from python_server.socketio.handlers import Handlers
from python_server.socketio.observer import SocketObserver
from python_server.socketio.packet import Packet, PacketError, PacketType
from python_server.socketio.protocol4 import error_of, is_version4, sid_of
from python_server.socketio.recovery.restore import Restorer
from python_server.socketio.recovery.stream_restore import StreamRestorer
from python_server.socketio.rooms import RoomDirectory
from python_server.socketio.services import Configuration, HubServices
from python_server.socketio.tracer import HandlerSpan

# How late it may be noticed that the machine's clock was set: how often it is looked at for each client whose
# credentials end. A client is pinged twice as often.
LOOK_SECONDS: Final = 60.0
# Namespaces one client may join; it matters where "*" lets it choose their names.
NAMESPACES_MAX_COUNT: Final = 256


@dataclass(eq=False, slots=True)
class Connections:
    """The sockets of one server, from CONNECT to their end. The loop's thread, where no other is named."""

    _services: HubServices
    _configuration: Configuration
    _handlers: Handlers
    _rooms: RoomDirectory
    _runner: HandlerRunner
    _restorer: Restorer | StreamRestorer | None
    _observer: SocketObserver | None
    # Called when the first session ends because this process does.
    _ending: Callable[[], None]

    def connect(self, client: Client, packet: Packet) -> None:
        """A CONNECT packet. Raises PacketError."""
        namespace = packet.namespace
        if not self._handlers.serves(namespace):
            error = {"message": "Invalid namespace"}
            prepared = self._configuration.codec.prepare(PacketType.CONNECT_ERROR, namespace, error)
            self._refuse(client, namespace, prepared, error["message"])
            return
        if len(client.sockets) >= NAMESPACES_MAX_COUNT:
            raise PacketError(f"more than {NAMESPACES_MAX_COUNT} namespaces")
        session = client.session
        version4 = is_version4(session)
        sid = sid_of(session, namespace) if version4 else self._services.names.make()
        socket = client.sockets[namespace] = Socket(namespace, client, packet.data or None, sid)
        if not version4 or session.transport == "websocket":  # else its first poll tells that it is there
            session.join()
        if self._restorer is None or version4:  # which has no recovery
            self._admit(socket, None, {})
        else:
            self._restorer.begin(socket, partial(self._admit, socket))

    def disconnect_anywhere(self, namespace: str, sid: str, detail: str | None) -> None:
        """Send a client of any process out of a namespace."""
        if self._rooms.adapter(namespace).get(sid) is None:
            command = Command(CommandKind.DISCONNECT, namespace, sid, detail=detail)
            self._services.backplane.publish(command)
        else:
            self.disconnect(namespace, sid, detail)

    def disconnect(
        self,
        namespace: str,
        sid: str,
        detail: str | None = None,
        reason: NamespaceReason = NamespaceReason.SERVER,
    ) -> None:
        """Send a client of this process out of a namespace; `detail` reaches it as the event `closing`."""
        socket = self._rooms.adapter(namespace).get(sid)
        if socket is None:
            return
        session = socket.client.session
        if detail is not None:
            said = {"reason": str(reason), "detail": detail}
            session.send(self._configuration.codec.prepare(PacketType.EVENT, namespace, ("closing", said)))
        session.send(self._configuration.codec.prepare(PacketType.DISCONNECT, namespace))
        self.close(socket, reason)

    def expire(self, namespace: str, sid: str, at: float | None) -> None:
        """Send a client of any process out of a namespace at that moment, and say why; None: never."""
        socket = self._rooms.adapter(namespace).get(sid)
        if socket is None:
            self._services.backplane.publish(Command(CommandKind.EXPIRE, namespace, sid, at=at))
            return
        socket.authorized_until = at
        if isinstance(self._restorer, StreamRestorer):
            self._restorer.changed(socket)
        self._watch_expiry(socket)

    def _watch_expiry(self, socket: Socket) -> None:
        if socket.expiry_timer is not None:
            socket.expiry_timer.cancel()
            socket.expiry_timer = None
        if socket.authorized_until is None:
            return
        seconds = socket.authorized_until - self._services.wall()
        if seconds > 0:
            seconds = min(seconds, LOOK_SECONDS)
            socket.expiry_timer = self._services.call_later(seconds, partial(self._watch_expiry, socket))
        elif socket.state is SocketState.CONNECTED:  # else once its CONNECT is answered
            detail = "the credentials of this connection have expired"
            self.disconnect(socket.namespace, socket.sid, detail, NamespaceReason.AUTH_EXPIRED)

    def close(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        """The one way out of a namespace."""
        connected = socket.state is SocketState.CONNECTED
        socket.reason = reason
        if reason is DisconnectReason.SERVER_SHUTTING_DOWN:
            self._ending()
        # One that has come back and not been answered yet may come once more, as what it was.
        known = connected or (socket.recovered and socket.state is SocketState.PENDING)
        if known and socket.recovery is not None and isinstance(reason, DisconnectReason):
            assert self._restorer is not None
            self._restorer.lost(socket, self._rooms.adapter(socket.namespace).positions_of(socket.sid))
        self._forget(socket)
        if connected:
            if socket.traffic is not None:
                socket.traffic.disconnected_counts[reason.value] += 1
            if self._observer is not None:
                self._observer.disconnected(socket, reason)
            self._run_disconnect(socket, reason)

    def _admit(self, socket: Socket, former: Client | None, rooms: dict[Room, int]) -> None:
        """It is known who it is: its rooms are those it had before, if it comes back."""
        adapter = self._rooms.open(socket.namespace)
        adapter.add(socket)
        adapter.restore(socket.sid, rooms)
        if socket.authorized_until is not None:
            self._watch_expiry(socket)
        handler = self._handlers.find(socket.namespace, "connect")
        if handler is None or self._configuration.always_connect:
            self._connected(socket)
        if handler is None:
            return
        job, submit = partial(self._run_connect, socket, handler), socket.client.backlog.strand.submit
        if former is None:
            submit(job)
        else:  # behind the disconnect handler of what it was before
            former.backlog.strand.submit(partial(self._services.post_quietly, submit, job))

    def _run_connect(
        self, socket: Socket, handler: Handler, began: float | None = None, span: HandlerSpan | None = None
    ) -> None:
        """Worker: the connect handler; what it emits waits behind the reply.

        Args:
            began, span: if it has been put off: when it began, and its span.
        """
        observer, traffic, fault = self._observer, socket.traffic, None
        if began is None:
            if traffic is not None:
                began = traffic.now()
            elif observer is not None:
                began = observer.now()
        refusal: dict[str, object] | None = {"message": "Connection rejected by server"}
        try:
            if self._services.tracer is None:
                result = handler.function(socket, "connect", (socket.auth,))
            else:
                span = span or self._services.tracer.handling(socket, "connect")
                result = span.call(handler.function, socket, "connect", (socket.auth,))
            if type(result) is Waiting:
                again = partial(self._run_connect, socket, began=began, span=span)
                self._runner.put_off(socket, handler, result, again)
                return
            if result is not False:
                refusal = None
        except ConnectionRefused as error:
            refusal = {"message": error.message}
            if error.data is not None:
                refusal["data"] = error.data
            if isinstance(error, InvalidArguments):
                self._runner.refused(socket, "connect", error)
        except BaseException as error:
            fault = error
            self._services.report(named("handler of event 'connect'", socket, "connect"), error)
        if traffic is not None and began is not None:
            traffic.handled("connect", began, fault is not None)
        if observer is not None:
            assert began is not None
            observer.handled(socket, "connect", began, fault)
        if span is not None:
            span.end(fault)
        if refusal is None:
            self._services.post_quietly(self._connected, socket)
            return
        said = error_of(refusal) if is_version4(socket.client.session) else refusal
        prepared = self._configuration.codec.prepare(PacketType.CONNECT_ERROR, socket.namespace, said)
        self._services.post_quietly(self._refused, socket, prepared, str(refusal["message"]))

    def _connected(self, socket: Socket) -> None:
        if socket.state is SocketState.CONNECTED:
            return
        if socket.state is SocketState.CLOSED:  # it left while its connect handler ran, which must be told
            self._run_disconnect(socket, socket.reason)
            return
        socket.client.connect_timer.cancel()
        socket.move(SocketState.CONNECTED)
        held, socket.held = socket.held, []
        names = None if is_version4(socket.client.session) else {"sid": socket.sid}
        if names is not None and socket.recovery is not None:
            names["pid"] = socket.recovery.pid
        socket.send(self._configuration.codec.prepare(PacketType.CONNECT, socket.namespace, names))
        if socket.traffic is not None:
            socket.traffic.connected(socket.recovered)
        if self._observer is not None:
            self._observer.connected(socket)
        if socket.authorized_until is not None:
            self._watch_expiry(socket)
        for prepared in held:
            socket.send(prepared)

    def _refused(self, socket: Socket, prepared: Prepared, message: str) -> None:
        if socket.state is SocketState.CONNECTED:
            self.disconnect(socket.namespace, socket.sid)
        elif socket.state is SocketState.PENDING:
            self._forget(socket)
            self._refuse(socket.client, socket.namespace, prepared, message)

    def _refuse(self, client: Client, namespace: str, prepared: Prepared, message: str) -> None:
        if self._rooms.traffic_of is not None:
            self._rooms.traffic_of(namespace).refused_count += 1
        if self._observer is not None:
            self._observer.refused(client.session, namespace, message)
        client.session.send(prepared)

    def _forget(self, socket: Socket) -> None:
        socket.move(SocketState.CLOSED)
        socket.held.clear()
        if self._restorer is not None:
            self._restorer.closed(socket)
        if socket.expiry_timer is not None:
            socket.expiry_timer.cancel()
        acks, socket.acks = socket.acks, {}
        for resolve in acks.values():
            resolve(None)
        namespace = socket.namespace
        socket.client.sockets.pop(namespace, None)
        adapter = self._rooms.adapter(namespace)  # which has no such client while others are asked who it was
        socket.last_rooms = tuple(adapter.rooms_of(socket.sid))
        adapter.remove(socket.sid)
        if adapter.empty and not self._handlers.permanent(namespace):
            self._rooms.adapters.pop(namespace, None)  # names that clients choose must not add up

    def _run_disconnect(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        handler = self._handlers.find(socket.namespace, "disconnect")
        if handler is not None:
            strand = socket.client.backlog.strand
            self._rooms.leaving[socket.namespace, socket.sid] = socket
            strand.submit(partial(self._runner.run, socket, "disconnect", (str(reason),), None, handler))
            strand.submit(partial(self._services.post_quietly, self._left, socket))

    def _left(self, socket: Socket) -> None:
        """Its disconnect handler has returned; another socket of its name may be leaving by now."""
        if self._rooms.leaving.get((socket.namespace, socket.sid)) is socket:
            del self._rooms.leaving[socket.namespace, socket.sid]
