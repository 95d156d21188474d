"""A client as the hub sees it: its session, its place in each namespace, the handlers that serve it.

Must not know: frames, HTTP, rooms; how or where a handler runs.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Any, Final

from python_server.engineio.packet import Prepared
from python_server.engineio.session import Session
from python_server.net.threads import Strand
from python_server.socketio.packet import Assembler

SID_BYTES: Final = 15


class NamespaceReason(StrEnum):
    """Why a client left a namespace while its session went on."""

    CLIENT = "client namespace disconnect"
    SERVER = "server namespace disconnect"
    RATE_LIMITED = "rate limited"


class ConnectionRefused(Exception):
    """A connect handler's refusal; `data` goes to the client beside the message."""

    def __init__(self, message: str, data: Any = None) -> None:
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

    function: Callable[[Socket, str, tuple[Any, ...]], Any]
    inline: bool = False
    ordered: bool = True
    rate: tuple[int, float] | None = None


class SocketState(Enum):
    """A client's life in one namespace."""

    PENDING = auto()  # the connect handler runs; what is sent is held back behind the CONNECT reply
    CONNECTED = auto()
    CLOSED = auto()


MOVES: Final = {
    SocketState.PENDING: {SocketState.CONNECTED, SocketState.CLOSED},
    SocketState.CONNECTED: {SocketState.CLOSED},
    SocketState.CLOSED: set(),
}


class Client:
    """What the hub keeps for one session."""

    __slots__ = (
        "assembler",
        "connect_timer",
        "context",
        "overtaking_count",
        "paused",
        "session",
        "sockets",
        "strand",
    )

    def __init__(self, session: Session, strand: Strand) -> None:
        self.session = session
        self.strand = strand
        self.sockets: dict[str, Socket] = {}
        self.assembler: Assembler | None = None
        self.connect_timer: Any = None
        self.paused = False
        self.overtaking_count = 0  # events under way or waiting beside the strand
        self.context: Any = None  # the application face's own, shared by the client's namespaces


class Socket:
    """A client in one namespace.

    Attributes:
        sid: public name of the client in the namespace. client: the session it belongs to.
    """

    __slots__ = ("acks", "auth", "buckets", "client", "held", "namespace", "sid", "state")

    def __init__(self, namespace: str, client: Client, auth: Any) -> None:
        self.sid = secrets.token_urlsafe(SID_BYTES)
        self.namespace = namespace
        self.client = client
        self.auth = auth
        self.state = SocketState.PENDING
        self.held: list[Prepared] = []
        # Called with the values, or with None when the client has left.
        self.acks: dict[int, Callable[[list[Any] | None], None]] = {}
        self.buckets: dict[str, Any] | None = None  # what is left of each rate-limited event

    def send(self, prepared: Prepared) -> None:
        """Loop's thread: send, or hold back until the CONNECT reply has left."""
        if self.state is SocketState.CONNECTED:
            self.client.session.send(prepared)
        elif self.state is SocketState.PENDING:
            self.held.append(prepared)

    def move(self, state: SocketState) -> None:
        assert state in MOVES[self.state], (self.state, state)
        self.state = state
