"""A client as the hub sees it: its session, its place in each namespace, the handlers that serve it.

Must not know: frames, HTTP, rooms; how or where a handler runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from python_server.engineio.packet import Prepared
from python_server.engineio.session import DisconnectReason, Session
from python_server.net.client_backlog import Backlog
from python_server.net.states import StateEnum
from python_server.net.system import TimerLike
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.cluster.requests import Member
from python_server.socketio.packet import PacketDecoder
from python_server.socketio.recovery.record import RecoveryRecord
from python_server.socketio.traffic import Traffic
from python_server.socketio.values import JSONValue, RoomName

# What may wait behind the CONNECT reply of one client while its connect handler runs.
HELD_MAX_BYTES: Final = 16 * 1024 * 1024


class NamespaceReason(StrEnum):
    """Why a client left a namespace while its session went on."""

    CLIENT = "client namespace disconnect"
    SERVER = "server namespace disconnect"
    RATE_LIMITED = "rate limited"
    AUTH_EXPIRED = "auth expired"


class ConnectionRefused(Exception):
    """A connect handler's refusal; `data` goes to the client beside the message."""

    def __init__(self, message: str, data: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class InvalidArguments(ConnectionRefused):
    """What a client sent is not what its handler is annotated with: the ack of an event, a connect's refusal.

    Attributes:
        answer: for the client alone: `error` may repeat what it sent.
        path: of what is wrong, in the arguments or the credentials: "$[0].text".
    """

    def __init__(self, error: str, path: str) -> None:
        self.answer: dict[str, str] = {"error": error, "path": path}
        super().__init__(f"Invalid data at {path}: {error}", self.answer)
        self.path = path


@dataclass(frozen=True, slots=True)
class Handler:
    """A function for an event.

    Attributes:
        function: called with (socket, event name, arguments); its result is the ack.
        inline: it never blocks: run it on the loop's thread when its client has nothing else waiting.
        ordered: a client's next event waits for this one; without, it may overtake.
        rate: at most that many events of one client in so many seconds; above it the client leaves.
        names: of a handler of a whole namespace: the events that it knows.
    """

    function: Callable[[Socket, str, tuple[JSONValue, ...]], object]
    inline: bool = False
    ordered: bool = True
    rate: tuple[int, float] | None = None
    names: frozenset[str] = frozenset()


@dataclass(slots=True)
class Bucket:
    """What one client has left of a rate: a token bucket."""

    tokens: float
    filled_at: float

    def take(self, count: int, seconds: float, now: float) -> bool:
        """Take one token; False when there is none."""
        self.tokens = min(float(count), self.tokens + (now - self.filled_at) * count / seconds)
        self.filled_at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class SocketState(StateEnum):
    """A client's life in one namespace."""

    # The connect handler runs; what is sent is held back behind the CONNECT reply.
    PENDING = "CONNECTED", "CLOSED"
    CONNECTED = "CLOSED"
    CLOSED = ()


CONNECTED: Final = SocketState.CONNECTED  # a global: asked for with every packet


@dataclass(eq=False, repr=False, slots=True, weakref_slot=True)
class Client:
    """What the hub keeps for one session.

    Attributes:
        backlog: its events that wait for a worker, and their strand.
        context: the application face's own, shared by the client's namespaces.
    """

    session: Session
    backlog: Backlog
    decoder: PacketDecoder
    sockets: dict[str, Socket] = field(default_factory=dict)
    connect_timer: TimerLike = field(init=False)
    context: Any = None


@dataclass(eq=False, repr=False, slots=True, weakref_slot=True)
class Socket:
    """A client in one namespace.

    Attributes:
        sid: public name of the client in the namespace. client: the session it belongs to.
        data: the application's own, which survives a recovery. data_count: how often it has stored some.
        recovery: what else a recovery needs, None where there is none.
        last_offset: of the last recoverable event sent to it. It is written for every recipient, which in
            the record takes three times as long, and noted there when the client is lost.
        reason: why it left while its connect handler ran.
        last_rooms: those it was in when it left, for its disconnect handler.
        traffic: of its namespace; None: nobody counts.
        authorized_until: when it is sent away, in seconds since 1970; None: never. expiry_timer: then, or
            earlier.
        members: what it is in rooms where that is known; None: nowhere.
        acks: called with the values, or with None when the client has left.
        buckets: what is left of each rate-limited event.
    """

    namespace: str
    client: Client
    auth: JSONValue
    sid: str
    state: SocketState = SocketState.PENDING
    held: list[Prepared] = field(default_factory=list)
    held_bytes: int = 0
    recovery: RecoveryRecord | None = None
    last_offset: str | None = None
    data: Any = None
    data_count: int = 0
    reason: DisconnectReason | NamespaceReason = DisconnectReason.TRANSPORT_CLOSE
    acks: dict[int, Callable[[list[JSONValue] | None], None]] = field(default_factory=dict)
    buckets: dict[str, Bucket] | None = None
    last_rooms: tuple[RoomName, ...] = ()
    traffic: Traffic | None = None
    authorized_until: float | None = None
    expiry_timer: TimerLike | None = None
    members: dict[Any, Member] | None = None

    @property
    def recovered(self) -> bool:
        """Was it lost, and has come back?"""
        return self.recovery is not None and self.recovery.recovered

    def come_back(self, record: RecoveryRecord, missed: Iterable[Envelope]) -> None:
        """It is a client that was lost, and is sent what it missed; too much of it ends it."""
        record.recovered = True
        self.recovery = record
        self.sid = record.sid
        self.data = record.data
        self.last_offset = record.last_offset
        self.authorized_until = record.authorized_until
        self.members = {**record.members} or None
        for envelope in missed:
            self.last_offset = envelope.offset
            self.send(envelope.prepared)

    def store(self, data: object) -> None:
        """Any thread: the application's data, perhaps the same dictionary with other words."""
        self.data = data
        self.data_count += 1

    def send(self, prepared: Prepared) -> None:
        """Loop's thread: send, or hold back until the CONNECT reply has left."""
        if self.state is CONNECTED:
            self.client.session.send(prepared)
        elif self.state is SocketState.PENDING:
            self.held.append(prepared)
            self.held_bytes += prepared.queued_bytes
            if self.held_bytes > HELD_MAX_BYTES:
                self.client.session.end(DisconnectReason.SLOW_CLIENT)

    def send_volatile(self, prepared: Prepared) -> None:
        """Loop's thread: send if it leaves at once, else drop it."""
        if self.state is CONNECTED and self.client.session.writable:
            self.client.session.send(prepared)

    @staticmethod
    def send_to_all(sockets: Iterable[Socket], prepared: Prepared) -> None:
        """Loop's thread: `send` to each; for a client on an open WebSocket that is one call."""
        frames = prepared.frames
        for socket in sockets:
            try:
                if socket.state is not CONNECTED or not socket.client.session.outbox.write(frames):
                    socket.send(prepared)
            except MemoryError:  # nothing may follow a gap; the others get theirs
                socket.client.session.end(DisconnectReason.TRANSPORT_ERROR)

    def move(self, state: SocketState) -> None:
        self.state = self.state.to(state)
