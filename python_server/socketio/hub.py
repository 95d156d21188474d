"""The Socket.IO server: which client is in which namespace, who handles an event, who waits for an ack.

Must not know: frames, HTTP, Flask; handlers are functions it was given, run through the door.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from python_server.engineio.packet import Prepared
from python_server.engineio.session import DisconnectReason, Session
from python_server.net.threads import Door
from python_server.socketio.adapter import Adapter, Backplane, Envelope
from python_server.socketio.backplane import NoBackplane
from python_server.socketio.client import (
    Client,
    ConnectionRefused,
    Handler,
    NamespaceReason,
    Socket,
    SocketState,
)
from python_server.socketio.packet import Assembler, Packet, PacketError, PacketType, decode, encode

# Events of one client that wait for a thread: above the first bound its reading pauses, above the second
# (a polling client cannot be paused) its session ends.
STRAND_SOFT_COUNT: Final = 256
STRAND_RESUME_COUNT: Final = 64
STRAND_HARD_COUNT: Final = 10_000
# Attachments of one binary packet together.
ATTACHMENTS_MAX_BYTES: Final = 16 * 1024 * 1024
# The official server's connectTimeout: a client that joins no namespace is sent away.
CONNECT_TIMEOUT_SECONDS: Final = 45.0

# Called on a client's strand with the client and the values of its ack.
AckCallback = Callable[[Socket, list[Any]], None]


@dataclass(frozen=True, slots=True)
class HubServices:
    """What a hub needs of the worker that runs it."""

    door: Door
    call_later: Callable[[float, Callable[[], Any]], Any]
    report: Callable[[str, BaseException], None]
    complain: Callable[[str, str], None]


def prepare(kind: PacketType, namespace: str, data: Any = None, id: int | None = None) -> Prepared:
    """Any thread: a packet encoded for all its recipients.

    Raises:
        TypeError, ValueError: `data` cannot be written as JSON.
    """
    text, *attachments = encode(kind, namespace, data, id)
    return Prepared(["4" + text, *attachments])  # type: ignore[operator]


class Hub:
    """The namespaces of one Socket.IO server. Answers sessions (the SessionHandler port).

    Before `attach` what is sent is kept, and done once a worker serves.
    """

    def __init__(self, backplane: Backplane | None = None) -> None:
        self._backplane = backplane or NoBackplane()
        self._handlers: dict[str, dict[str, Handler]] = {"/": {}}
        self._adapters: dict[str, Adapter] = {"/": Adapter(self._backplane)}
        self._services: HubServices | None = None
        self._early: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._ack_ids = itertools.count(1)

    def attach(self, services: HubServices) -> None:
        """Loop's thread: a worker serves from here on."""
        self._services = services
        early, self._early = self._early, []
        for function, args in early:
            services.door.post(function, *args)

    # Any thread

    def on(self, namespace: str, event: str, handler: Handler) -> None:
        """Set the handler of an event; `connect` and `disconnect` are the namespace's own."""
        self._handlers.setdefault(namespace, {})[event] = handler
        self._adapters.setdefault(namespace, Adapter(self._backplane))

    def emit(
        self,
        event: str,
        args: Iterable[Any],
        *,
        namespace: str = "/",
        rooms: tuple[Any, ...] | None = None,
        excepted: tuple[Any, ...] = (),
        callback: AckCallback | None = None,
    ) -> None:
        """Send an event to rooms (None: everybody), encoded once, in the caller's thread.

        Args:
            callback: called with the client and the values of its ack, on its strand; `rooms` is one sid.

        Raises:
            TypeError, ValueError: the arguments cannot be written as JSON.
            ServerStopped: the server has stopped.
        """
        arguments = (event, *args)
        if callback is None:
            prepared = prepare(PacketType.EVENT, namespace, arguments)
            self._post(self._broadcast, Envelope(namespace, rooms, excepted, prepared, arguments), prepared)
        else:
            if rooms is None or len(rooms) != 1:
                raise ValueError("an event with a callback needs one addressee")
            ack_id = next(self._ack_ids)
            prepared = prepare(PacketType.EVENT, namespace, arguments, ack_id)
            self._post(self._ask_client, namespace, rooms[0], prepared, ack_id, callback)

    def join(self, namespace: str, sid: str, room: Any) -> None:
        """Put a client into a room; takes effect before anything emitted after it."""
        self._post(self._change_rooms, Adapter.join, namespace, sid, room)

    def leave(self, namespace: str, sid: str, room: Any) -> None:
        self._post(self._change_rooms, Adapter.leave, namespace, sid, room)

    def close_room(self, namespace: str, room: Any) -> None:
        self._post(self._change_rooms, Adapter.close_room, namespace, room)

    def rooms_of(self, namespace: str, sid: str) -> list[Any]:
        """The rooms a client is in, its own included."""
        found: list[Any] = self._ask(lambda: self._adapter(namespace).rooms_of(sid))
        return found

    def members_of(self, namespace: str, room: Any) -> list[str]:
        """The sids in a room."""
        found: list[str] = self._ask(lambda: self._adapter(namespace).members_of(room))
        return found

    def disconnect(self, namespace: str, sid: str) -> None:
        """Send a client out of a namespace."""
        self._post(self._disconnect, namespace, sid)

    def _post(self, function: Callable[..., None], *args: Any) -> None:
        services = self._services
        if services is None:
            self._early.append((function, args))
            return
        nbytes = 0
        for argument in args:
            if type(argument) is Prepared:
                nbytes = len(argument.frames)
                break
        services.door.post(function, *args, nbytes=nbytes)

    def _adapter(self, namespace: str) -> Adapter:
        """An unknown namespace has nobody in it."""
        return self._adapters.get(namespace) or Adapter(self._backplane)

    def _ask(self, question: Callable[[], Any]) -> Any:
        if self._services is None:
            return question()
        return self._services.door.ask(question)

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
        handlers = self._handlers[socket.namespace]
        handler = handlers.get(name) or handlers.get("*")
        if handler is None:
            return
        client = socket.client
        strand = client.strand
        job = partial(self._run_event, socket, handler, name, tuple(arguments), packet.id)
        if handler.inline and strand.idle:
            job()
            return
        strand.submit(job)
        if strand.waiting_count >= STRAND_SOFT_COUNT:
            self._press(client)

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
        if client.strand.waiting_count >= STRAND_HARD_COUNT:
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
        handlers = self._handlers.get(namespace)
        if handlers is None:
            client.session.send(
                prepare(PacketType.CONNECT_ERROR, namespace, {"message": "Invalid namespace"})
            )
            return
        client.connect_timer.cancel()
        socket = client.sockets[namespace] = Socket(namespace, client, packet.data)
        self._adapters[namespace].add(socket)
        handler = handlers.get("connect")
        if handler is None:
            self._connected(socket)
        else:
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
        if socket.state is SocketState.CLOSED:  # it left while its connect handler ran, which must be told
            self._run_disconnect(socket, DisconnectReason.TRANSPORT_CLOSE)
            return
        socket.move(SocketState.CONNECTED)
        held, socket.held = socket.held, []
        socket.send(prepare(PacketType.CONNECT, socket.namespace, {"sid": socket.sid}))
        for prepared in held:
            socket.send(prepared)

    def _refused(self, socket: Socket, prepared: Prepared) -> None:
        if socket.state is not SocketState.CLOSED:
            self._forget_socket(socket)
            socket.client.session.send(prepared)

    def _connect_late(self, client: Client) -> None:
        client.session.end(DisconnectReason.FORCED_CLOSE)

    def _disconnect(self, namespace: str, sid: str) -> None:
        socket = self._adapter(namespace).get(sid)
        if isinstance(socket, Socket):
            socket.client.session.send(prepare(PacketType.DISCONNECT, namespace))
            self._close_socket(socket, NamespaceReason.SERVER)

    def _close_socket(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        """The one way out of a namespace."""
        connected = socket.state is SocketState.CONNECTED
        self._forget_socket(socket)
        if connected:
            self._run_disconnect(socket, reason)

    def _forget_socket(self, socket: Socket) -> None:
        socket.move(SocketState.CLOSED)
        socket.held.clear()
        socket.acks.clear()
        socket.client.sockets.pop(socket.namespace, None)
        self._adapters[socket.namespace].remove(socket.sid)

    def _run_disconnect(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        handler = self._handlers[socket.namespace].get("disconnect")
        if handler is not None:
            socket.client.strand.submit(
                partial(self._run_event, socket, handler, "disconnect", (str(reason),), None)
            )

    # Posted calls

    def _broadcast(self, envelope: Envelope, prepared: Prepared) -> None:
        self._adapter(envelope.namespace).broadcast(envelope)

    def _ask_client(
        self, namespace: str, sid: str, prepared: Prepared, ack_id: int, callback: AckCallback
    ) -> None:
        socket = self._adapter(namespace).get(sid)
        if isinstance(socket, Socket):
            socket.acks[ack_id] = partial(self._resolve, socket, callback)
            socket.send(prepared)

    def _resolve(self, socket: Socket, callback: AckCallback, values: list[Any]) -> None:
        socket.client.strand.submit(partial(self._run_callback, callback, socket, values))

    def _run_callback(self, callback: AckCallback, socket: Socket, values: list[Any]) -> None:
        try:
            callback(socket, values)
        except Exception as error:
            self._running().report("acknowledgement callback", error)

    def _change_rooms(self, change: Callable[..., None], namespace: str, *args: Any) -> None:
        change(self._adapter(namespace), *args)

    def _running(self) -> HubServices:
        assert self._services is not None
        return self._services
