"""One Engine.IO session: its life, its transports, its queue. Sans-I/O; time is an argument.

Must not know: HTTP, sockets, event names; it calls the functions it was handed, and its handler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from python_server.engineio.packet import (
    CLOSE,
    NOOP,
    PING,
    PONG,
    PROBE_PING,
    PROTOCOL4,
    Dialect,
    EnginePacketError,
    EnginePacketType,
    Packet,
    Prepared,
)
from python_server.http1.parser import Request
from python_server.net.states import StateEnum
from wsframe import Outbox

# python-engineio's client drops a whole polling payload of more packets than this; the JavaScript client has
# no bound, and polls again at once.
POLL_PACKETS_MAX_COUNT: Final = 16


class DisconnectReason(StrEnum):
    """Why a session ended, in the words of the official server; those it lacks are ours."""

    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"
    FORCED_CLOSE = "forced close"
    PING_TIMEOUT = "ping timeout"
    PARSE_ERROR = "parse error"
    SERVER_SHUTTING_DOWN = "server shutting down"
    SLOW_CLIENT = "slow client"
    MESSAGE_TOO_LARGE = "message too large"


# The end of a poll without a close packet: the client closed by itself, or is to come back. python-engineio's
# client does not after a close packet; one that asks on is refused, and connects anew.
WITHOUT_CLOSE: Final = (DisconnectReason.TRANSPORT_CLOSE, DisconnectReason.SERVER_SHUTTING_DOWN)
# The close frame of a WebSocket whose session we end (RFC 6455 7.4.1); its reason is the session's own. Not
# among them: what the client said itself, and a close that the application asked for.
CLOSE_CODES: Final = {
    DisconnectReason.TRANSPORT_ERROR: 1002,
    DisconnectReason.PING_TIMEOUT: 1011,
    DisconnectReason.PARSE_ERROR: 1008,
    DisconnectReason.SERVER_SHUTTING_DOWN: 1001,
    DisconnectReason.SLOW_CLIENT: 1008,
    DisconnectReason.MESSAGE_TOO_LARGE: 1009,
}


class SessionState(StateEnum):
    """Which transport carries the session."""

    POLLING = "UPGRADING", "CLOSING", "CLOSED"
    # A WebSocket has been probed; the queue waits for the client's "5".
    UPGRADING = "POLLING", "WEBSOCKET", "CLOSING", "CLOSED"
    WEBSOCKET = "CLOSED"
    CLOSING = "CLOSED"  # ended by us while no poll was open: the close packet waits for the next one
    CLOSED = ()


# A global: it is asked for with every packet.
_WEBSOCKET: Final = SessionState.WEBSOCKET
# Of who has none: never opened, it declines everything.
NO_OUTBOX: Final = Outbox()


class SessionHandler(Protocol):
    """Port: who hears what a session says (the Socket.IO hub)."""

    def session_opened(self, session: Session) -> None:
        """The handshake is done."""

    def on_message(self, session: Session, data: str | bytes) -> None:
        """A message has come."""

    def session_closed(self, session: Session, reason: DisconnectReason) -> None:
        """The session is over; called once, last."""


class WebSocketLink(Protocol):
    """Port: the WebSocket that carries a session, or asks to; a `WebSocketChannel`."""

    @property
    def blocked(self) -> bool: ...
    @property
    def prepared_outbox(self) -> Outbox: ...
    def send_prepared(self, prepared: Prepared) -> None: ...
    def close(self, code: int = 1000, reason: str = "") -> None: ...
    def fail(self, code: int, reason: str) -> None: ...
    def pause_reading(self, paused: bool) -> None: ...


@dataclass(slots=True, eq=False)
class HeartbeatEntry:
    """When a session is due: to be pinged, or `pinged` and without a pong, to be ended.

    The session is taken out when something newer is due for it.
    """

    moment: float
    session: Session | None
    pinged: bool


@dataclass(slots=True, weakref_slot=True, eq=False, repr=False)
class Session:
    """A client's session. Every method belongs to the loop's thread.

    Args:
        sid: unguessable; a secret between this client and the server.
        handler: the port above.
        request: the handshake request, for whoever wants its fields.
        beat: called with (session, running): True when its next ping is one interval away (a pong came, or
            a ping in version 3; reading went on), False when its heartbeat rests.
        forget: called once, with the session and why, when it is over.
        max_queued_bytes: packets waiting for a poll; above it the client is too slow.
        joined: called with the session when its client has joined.
        dialect: which version of the protocol its client speaks.

    Attributes:
        outbox: takes prepared frames, behind all that was sent before; what it declines is for `send`.
        context: the handler's own. heartbeat: its entry in the engine's queues; None while it rests.
        posting: is the body of a POST under way? intake: of packets of POSTs, while there are any.
        reading: is what the client sends taken? held_bytes: what waits for the next poll.
    """

    sid: str
    _handler: SessionHandler
    request: Request
    _beat: Callable[[Session, bool], None]
    _forget: Callable[[Session, DisconnectReason], None]
    _max_queued_bytes: int
    _joined: Callable[[Session], None] = lambda session: None
    dialect: Dialect = PROTOCOL4
    context: Any = None
    state: SessionState = SessionState.POLLING
    outbox: Outbox = NO_OUTBOX
    heartbeat: HeartbeatEntry | None = None
    posting: bool = False
    intake: Any = None
    reading: bool = True
    held_bytes: int = 0
    _queue: list[Prepared] = field(default_factory=list)
    _answer: Callable[[str | bytes], None] | None = None
    _link: WebSocketLink | None = None
    _when_reading: Callable[[], None] | None = None

    @property
    def transport(self) -> str:
        """ "polling" or "websocket"."""
        return "websocket" if self.state is SessionState.WEBSOCKET else "polling"

    @property
    def alive(self) -> bool:
        return self.state not in (SessionState.CLOSING, SessionState.CLOSED)

    @property
    def pinged_by_client(self) -> bool:
        """Does its client ping, and expect our pongs, as in version 3?"""
        return self.dialect.revision == 3

    @property
    def writable(self) -> bool:
        """Would something sent now leave at once? What is volatile is dropped if not."""
        if self.state is SessionState.WEBSOCKET:
            return self._link is not None and not self._link.blocked
        return self._answer is not None and self.state is not SessionState.UPGRADING

    def join(self) -> None:
        """Its handler knows the client now: the session is not half open any more."""
        self._joined(self)

    # Out

    def send(self, prepared: Prepared) -> None:
        """Send packets, in order with all others; nothing after the session's end."""
        try:
            if self.outbox.write(prepared.frames):
                return
            if self.state is _WEBSOCKET:
                self._link.send_prepared(self.dialect.for_websocket(prepared))  # type: ignore[union-attr]
                return
        except MemoryError:  # nothing may follow a gap
            self.end(DisconnectReason.TRANSPORT_ERROR)
            return
        if self.alive:
            self._queue.append(prepared)
            self.held_bytes += prepared.queued_bytes
            if self._answer is not None and self.state is not SessionState.UPGRADING:
                self._answer_poll(self._answer)
            elif self.held_bytes > self._max_queued_bytes:
                self.end(DisconnectReason.SLOW_CLIENT)

    def ping(self) -> None:
        """The heartbeat is due."""
        self.send(PING)

    # Long polling

    def poll(self, answer: Callable[[str | bytes], None]) -> bool:
        """A GET: answer with what is queued, now or when there is something.

        Returns:
            False when another GET was open, which the protocol forbids: that one was answered with a close
            packet, and the session is over.
        """
        if self._answer is not None:
            first, self._answer = self._answer, None
            first(self._payload(CLOSE))
            self.end(DisconnectReason.TRANSPORT_ERROR)
            return False
        self._answer = answer
        if self._queue and self.state is not SessionState.UPGRADING:
            self._answer_poll(answer)
        return True

    def release_poll(self) -> None:
        """End the open GET without a packet of ours: a client says `5` once it waits for none."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer(self._payload(NOOP))

    def poll_lost(self) -> None:
        """The open GET's connection has gone."""
        if self._answer is not None:
            self._answer = None
            self.end(DisconnectReason.TRANSPORT_ERROR)

    def receive_packets(self, packets: Iterable[Packet], max_count: int) -> bool:
        """Packets of a POST, taken one by one: those before a malformed one count.

        Returns:
            whether there is nothing more to take; False after `max_count`, or when reading pauses.

        Raises:
            EnginePacketError: a malformed one; the session is over.
        """
        if not self.alive or not self.reading:
            return not self.alive
        try:
            for packet in packets:
                if not self.alive:
                    return True
                self._receive(*packet)
                max_count -= 1
                if (not self.reading or max_count <= 0) and self.alive:
                    return False
        except EnginePacketError:
            self.end(DisconnectReason.PARSE_ERROR)
            raise
        return True

    def when_reading(self, function: Callable[[], None]) -> None:
        """Call `function` now, or when reading goes on, or the session is over."""
        if not self.reading and self.alive:
            self._when_reading = function
        else:
            function()

    def _answer_poll(self, answer: Callable[[str | bytes], None]) -> None:
        self._answer = None
        count = packets_count = 0
        for prepared in self._queue:
            packets_count += len(prepared.packets)
            if count and packets_count > POLL_PACKETS_MAX_COUNT:
                break
            count += 1
            self.held_bytes -= prepared.queued_bytes
        leaving, self._queue = self._queue[:count], self._queue[count:]
        answer(self.dialect.join_payload(leaving))
        if self.state is SessionState.CLOSING and not self._queue:
            self.state = self.state.to(SessionState.CLOSED)

    def _payload(self, prepared: Prepared) -> str | bytes:
        return self.dialect.join_payload([prepared])

    # WebSocket

    def open_websocket(self, link: WebSocketLink) -> None:
        """The session began on a WebSocket."""
        self.state = self.state.to(SessionState.UPGRADING)
        self._switch(link)

    def probe(self, link: WebSocketLink) -> bool:
        """A WebSocket said `2probe`: release the poll; False when the session cannot be upgraded."""
        if self.state is not SessionState.POLLING:
            return False
        self.state = self.state.to(SessionState.UPGRADING)
        self._link = link
        self.release_poll()
        return True

    def upgrade(self, link: WebSocketLink) -> bool:
        """The probed WebSocket said `5`: it carries the session from here on."""
        if self.state is not SessionState.UPGRADING:
            return False
        self._switch(link)
        return True

    def upgrade_failed(self) -> None:
        """The probed WebSocket went away or took too long: polling goes on."""
        if self.state is SessionState.UPGRADING:
            self.state = self.state.to(SessionState.POLLING)
            self._link = None
            if self._answer is not None and self._queue:
                self._answer_poll(self._answer)

    def receive(self, data: str | bytes) -> None:
        """A message of the WebSocket that carries the session."""
        if self.state is not _WEBSOCKET:
            return
        if data and data[0] == "4":  # nearly every packet; what is binary has numbers here
            self._handler.on_message(self, data[1:])
            return
        try:
            self._receive(*self.dialect.decode_packet(data))
        except EnginePacketError:
            self.end(DisconnectReason.PARSE_ERROR)

    def pause_reading(self, paused: bool) -> None:
        """Let the client wait, without counting its silence against it.

        A WebSocket is not read from; a polling client's POST is not answered, and it sends no second one.
        """
        if not self.alive or paused is not self.reading:
            return
        self.reading = not paused
        if self.state is SessionState.WEBSOCKET and self._link is not None:
            self._link.pause_reading(paused)
        self._beat(self, not paused)
        if not paused:
            self._release_reader()

    def _release_reader(self) -> None:
        answer, self._when_reading = self._when_reading, None
        if answer is not None:
            answer()

    def _switch(self, link: WebSocketLink) -> None:
        self.state = self.state.to(SessionState.WEBSOCKET)
        self._link = link
        self.release_poll()
        if not self.reading:
            link.pause_reading(True)
        queue, self._queue = self._queue, []
        self.held_bytes = 0
        for prepared in queue:
            link.send_prepared(self.dialect.for_websocket(prepared))
        if self.dialect is PROTOCOL4:  # the outbox takes frames of this version
            self.outbox = link.prepared_outbox

    # In

    def _receive(self, kind: EnginePacketType, data: str | bytes) -> None:
        if kind is EnginePacketType.MESSAGE:
            self._handler.on_message(self, data)
        elif kind is EnginePacketType.CLOSE:
            self.end(DisconnectReason.TRANSPORT_CLOSE)
        elif kind is EnginePacketType.PING or kind is EnginePacketType.PONG:
            self._receive_heartbeat(kind, data)

    def _receive_heartbeat(self, kind: EnginePacketType, data: str | bytes) -> None:
        """One side alone pings: the server, or the client in version 3."""
        if kind is not (EnginePacketType.PING if self.pinged_by_client else EnginePacketType.PONG):
            # `2probe` belongs to a WebSocket that is not ours yet.
            self.end(DisconnectReason.TRANSPORT_ERROR if data != PROBE_PING else DisconnectReason.PARSE_ERROR)
        elif not self.pinged_by_client:
            if self.heartbeat is not None and self.heartbeat.pinged:
                self._beat(self, True)
        else:
            if self.reading:
                self._beat(self, True)
            # One pong answers all pings until it is fetched: each more would be an object for a character.
            if not self._queue or self._queue[-1].packets[0][:1] != EnginePacketType.PONG:
                self.send(Prepared([f"{EnginePacketType.PONG}{data!s}"]) if data else PONG)

    # The way out

    def end(self, reason: DisconnectReason) -> None:
        """The one way out of every session."""
        if not self.alive:
            return
        if self._answer is not None:
            answer, self._answer = self._answer, None
            # A client that we close gets a close packet for its open poll, others a noop.
            answer(self._payload(NOOP if reason in WITHOUT_CLOSE else CLOSE))
            self.state = self.state.to(SessionState.CLOSED)
        elif self.state is not SessionState.WEBSOCKET and reason is DisconnectReason.FORCED_CLOSE:
            self._queue.append(CLOSE)
            self.state = self.state.to(SessionState.CLOSING)
        else:
            self.state = self.state.to(SessionState.CLOSED)
        if self.state is SessionState.CLOSED:
            self._queue.clear()
        link, self._link = self._link, None
        self.outbox = NO_OUTBOX
        if link is not None:
            if not self.reading:
                link.pause_reading(False)  # else the client's close frame would never be seen
            code = CLOSE_CODES.get(reason)
            if code is None:
                link.close()
            elif reason is DisconnectReason.PING_TIMEOUT:
                link.fail(code, str(reason))  # nobody is there to answer a close frame
            else:
                link.close(code, str(reason))
        self._release_reader()
        self._forget(self, reason)
        self._handler.session_closed(self, reason)
