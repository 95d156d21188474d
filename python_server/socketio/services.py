"""What a Socket.IO server is given: by its application a configuration, by its worker services.

Must not know: events, handlers, acks, what other processes say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from python_server.engineio.session_ids import SessionIds
from python_server.net.system import CallLater
from python_server.net.threads import Door, ServerStopped
from python_server.socketio.cluster.port import Backplane, NoBackplane, RecordStore
from python_server.socketio.observer import SocketObserver
from python_server.socketio.packet import Codec, TextCodec
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.stream_log import StreamLog
from python_server.socketio.tracer import Tracer
from python_server.socketio.traffic import TrafficOf
from python_server.socketio.values import RoomName


@dataclass(frozen=True, slots=True)
class ClientTimeouts:
    """How long a client may keep the server waiting."""

    # The official server's connectTimeout: a client that joins no namespace is sent away.
    connect_timeout_seconds: float = 45.0
    # From a binary packet's text to its last attachment.
    attachments_timeout_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Configuration:
    """What an application chooses before a worker serves.

    Attributes:
        codec: how packets are written; both sides must use the same.
        recovery: with it, clients that were lost come back to their rooms and miss nothing.
        always_connect: CONNECT is answered before the connect handler runs; its refusal is then a DISCONNECT.
    """

    codec: Codec = field(default_factory=TextCodec)
    recovery: RecoveryLog | StreamLog | None = None
    always_connect: bool = False
    patience: ClientTimeouts = ClientTimeouts()


@dataclass(frozen=True, slots=True)
class HubServices:
    """What a Socket.IO or Engine.IO server needs of the worker that runs it.

    Attributes:
        now: the machine's monotonic clock at this moment, not as the loop's turn began: workers compare when
            each has heard an event. wall: its clock in seconds since 1970, which may jump.
        records: where lost clients are kept for every machine; None: they come back to this one alone.
        observer: watches the clients of all servers of the worker; None: nobody does.
        traffic_of: where what goes through a namespace is counted; None: nowhere.
        tracer: makes spans of what they do; None: nobody does.
    """

    door: Door
    call_later: CallLater
    report: Callable[[str, BaseException], None]
    complain: Callable[[str, str], None]
    now: Callable[[], float]
    stop: Callable[[], None]
    entropy: Callable[[int], bytes]
    wall: Callable[[], float]
    backplane: Backplane = field(default_factory=NoBackplane)
    names: SessionIds = field(default_factory=SessionIds)
    # Called with (namespace, room, True) when the first client of this process has entered a room, with False
    # when the last one has left it.
    room_held: Callable[[str, RoomName, bool], None] | None = None
    rooms_max_count: int = 0  # of one client in one namespace; 0: no bound
    meta_max_bytes: int = 4096  # of what is known of a client in one room
    observer: SocketObserver | None = None
    traffic_of: TrafficOf | None = None
    tracer: Tracer | None = None
    records: RecordStore | None = None

    def has_passed(self, until: float | None) -> bool:
        """Of a moment in seconds since 1970; None never comes."""
        return until is not None and until <= self.wall()

    def run_reported(self, what: str, function: Callable[..., object], *args: object) -> None:
        """A worker: call a function of the application; what it raises is reported under that name."""
        try:
            function(*args)
        except BaseException as error:
            self.report(what, error)

    def post_quietly(self, function: Callable[..., object], *args: object) -> None:
        """Any thread: post what nobody waits for once the server has stopped."""
        try:
            self.door.post(function, *args)
        except ServerStopped:
            pass
