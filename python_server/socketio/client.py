"""A client as the hub sees it: its session, its place in each namespace, the handlers that serve it.

Must not know: frames, HTTP, rooms; how or where a handler runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Any, Final

from python_server.engineio.packet import Prepared
from python_server.engineio.session import DisconnectReason, Session
from python_server.net.backlog import Backlog
from python_server.socketio.packet import PacketDecoder
from python_server.socketio.recovery.record import RecoveryRecord
from python_server.socketio.values import JSONValue

# What may wait behind the CONNECT reply of one client while its connect handler runs.
HELD_MAX_BYTES: Final = 16 * 1024 * 1024


class NamespaceReason(StrEnum):
    """Why a client left a namespace while its session went on."""

    CLIENT = "client namespace disconnect"
    SERVER = "server namespace disconnect"
    RATE_LIMITED = "rate limited"


class ConnectionRefused(Exception):
    """A connect handler's refusal; `data` goes to the client beside the message."""

    def __init__(self, message: str, data: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


@dataclass(frozen=True, slots=True)
class Handler:
    """A function for an event.

    Attributes:
        function: called with (socket, event name, arguments); its result is the ack.
        inline: it never blocks: run it on the loop's thread when its client has nothing else waiting.
        ordered: a client's next event waits for this one; without, it may overtake.
        rate: at most that many events of one client in so many seconds; above it the client leaves.
    """

    function: Callable[[Socket, str, tuple[JSONValue, ...]], object]
    inline: bool = False
    ordered: bool = True
    rate: tuple[int, float] | None = None


class SocketState(Enum):
    """A client's life in one namespace."""

    PENDING = auto()  # the connect handler runs; what is sent is held back behind the CONNECT reply
    CONNECTED = auto()
    CLOSED = auto()


MOVES: Final[dict[SocketState, set[SocketState]]] = {
    SocketState.PENDING: {SocketState.CONNECTED, SocketState.CLOSED},
    SocketState.CONNECTED: {SocketState.CLOSED},
    SocketState.CLOSED: set(),
}


# An enum's member costs ten times a global in CPython 3.11; this one is asked for with every packet.
CONNECTED: Final = SocketState.CONNECTED


class Client:
    """What the hub keeps for one session."""

    __slots__ = (
        "__weakref__",
        "backlog",
        "connect_timer",
        "context",
        "decoder",
        "session",
        "sockets",
    )

    def __init__(self, session: Session, backlog: Backlog, decoder: PacketDecoder) -> None:
        self.session: Session = session
        self.backlog: Backlog = backlog  # its events that wait for a worker, and their strand
        self.sockets: dict[str, Socket] = {}
        self.decoder: PacketDecoder = decoder
        self.connect_timer: Any = None
        self.context: Any = None  # the application face's own, shared by the client's namespaces


class Socket:
    """A client in one namespace.

    Attributes:
        sid: public name of the client in the namespace. client: the session it belongs to.
        data: the application's own, which survives a recovery.
        recovery: what else a recovery needs, None where there is none.
        last_offset: of the last recoverable event sent to it. It is written for every recipient, which in
            the record takes three times as long, and noted there when the client is lost.
        reason: why it left while its connect handler ran.
    """

    __slots__ = (
        "__weakref__",
        "acks",
        "auth",
        "buckets",
        "client",
        "data",
        "held",
        "held_bytes",
        "last_offset",
        "namespace",
        "reason",
        "recovery",
        "sid",
        "state",
    )

    def __init__(self, namespace: str, client: Client, auth: JSONValue, sid: str) -> None:
        self.sid: str = sid
        self.namespace: str = namespace
        self.client: Client = client
        self.auth: JSONValue = auth
        self.state: SocketState = SocketState.PENDING
        self.held: list[Prepared] = []
        self.held_bytes: int = 0
        self.recovery: RecoveryRecord | None = None
        self.last_offset: str | None = None
        self.data: Any = None
        self.reason: DisconnectReason | NamespaceReason = DisconnectReason.TRANSPORT_CLOSE
        # Called with the values, or with None when the client has left.
        self.acks: dict[int, Callable[[list[JSONValue] | None], None]] = {}
        self.buckets: dict[str, Any] | None = None  # what is left of each rate-limited event

    @property
    def recovered(self) -> bool:
        """Was it lost, and has come back?"""
        return self.recovery is not None and self.recovery.recovered

    def come_back(self, record: RecoveryRecord) -> None:
        """It is a client that was lost."""
        record.recovered = True
        self.recovery = record
        self.sid = record.sid
        self.data = record.data
        self.last_offset = record.last_offset

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
        if self.state is SocketState.CONNECTED and self.client.session.writable:
            self.client.session.send(prepared)

    @staticmethod
    def send_to_all(sockets: Iterable[Socket], prepared: Prepared) -> None:
        """Loop's thread: `send` to each; for a client on an open WebSocket that is one call."""
        frames = prepared.frames
        for socket in sockets:
            if socket.state is not CONNECTED or not socket.client.session.outbox.write(frames):
                socket.send(prepared)

    def move(self, state: SocketState) -> None:
        assert state in MOVES[self.state], (self.state, state)
        self.state = state
