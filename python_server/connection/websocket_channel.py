"""One open WebSocket on its connection.

Must not know: sockets and selectors, what a message means, sessions, applications.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from python_server.connection.exchange import DeadlineLike, TransportLike
from python_server.net.backpressure import Backpressure
from python_server.net.byte_handler import Buffer
from python_server.net.pauses import Pause
from python_server.net.threads import Door
from python_server.settings import WebSocketSettings
from wsframe import CloseCode, Connection, ConnectionClosed, Decoder, JoinCache, Outbox, State
from wsframe.deflate import Agreement, Options
from wsframe.types import Event


class PreparedLike(Protocol):
    """Port: messages encoded once for many recipients."""

    @property
    def frames(self) -> bytes:
        """For who agreed on no compression."""

    def deflated_frames(self, agreement: Agreement) -> bytes:
        """For who agreed on one, without a context of its own (RFC 7692 7.1.1.1)."""


@dataclass(frozen=True, slots=True)
class WebSocketServices:
    """What all WebSocket channels of a worker share.

    Attributes:
        deflate: what permessage-deflate may be agreed on; None refuses every offer.
        closing_max_bytes: for how many bytes a close frame is waited for.
        send_timeout_seconds: how long a worker waits for a client that does not take what it was sent.
        backpressure: where they wait. call_soon: calls a function in the loop's next turn.
        began, ended: called with each channel, once each, for the worker's list of connections.
        joins: broadcasts that leave together are joined once for all of them.
    """

    settings: WebSocketSettings
    closing_max_bytes: int
    send_timeout_seconds: float
    backpressure: Backpressure
    deflate: Options | None
    deadline: Callable[[Callable[[], object]], DeadlineLike]
    began: Callable[[WebSocketChannel], None]
    ended: Callable[[WebSocketChannel], None]
    call_soon: Callable[[Callable[[], None]], object]
    joins: JoinCache = field(default_factory=JoinCache)


# From here on a payload is gathered behind its header instead of being copied into a frame: the copy of a
# 4 MiB message took a third of the time of its echo.
GATHERED_MIN_BYTES: Final = 16_384
# Messages of one chunk that are handed up before others have their turn: it may hold tens of thousands.
MESSAGES_PER_TURN: Final = 256
# What a peer that is given up has for taking our last bytes; then the connection is cut.
FAIL_TIMEOUT_SECONDS: Final = 1.0
# Never opened, it declines everything.
NO_OUTBOX: Final = Outbox()
_OPEN: Final = State.OPEN
_CLOSED: Final = State.CLOSED


def ignore_message(*message: object) -> None:
    """Where messages and the end go before somebody listens."""


def raise_fault(error: BaseException) -> None:
    """Whoever takes messages without expecting to fail lets the connection end with the fault."""
    raise error


@dataclass(slots=True, weakref_slot=True, eq=False, repr=False)
class WebSocketChannel:
    """One open WebSocket on its connection. Every method belongs to the loop's thread.

    Attributes:
        subprotocol: that was agreed on.
        on_message: called with each whole message. on_close: called once with (close code, reason).
        owner: where it is set, `on_message` is called with it before the message.
        on_blocked: called with (this, whether it holds up who sends to it), when that changes.
        on_fault: called with what `on_message` raised; the rest of that piece of the stream is dropped.
        peer: the client's address, as a trusted proxy may have named it.
        outbox: of the connection; the transport takes from it. What it declines goes through `send`.
    """

    _transport: TransportLike
    _connection: Connection
    _services: WebSocketServices
    subprotocol: str | None = None
    # What its compressed messages share with others, when none refers to another (RFC 7692 7.1.1.1).
    sharing: Agreement | None = None
    outbox: Outbox = field(init=False)
    receive_buffer: Callable[[], memoryview | None] = field(init=False)
    peer: object = field(init=False)
    owner: object = field(default=None, init=False)
    on_message: Callable[..., None] = field(default=ignore_message, init=False)
    on_close: Callable[[int, str], None] = field(default=ignore_message, init=False)
    on_blocked: Callable[[WebSocketChannel, bool], None] = field(default=ignore_message, init=False)
    on_fault: Callable[[BaseException], None] = field(default=raise_fault, init=False)
    _decoder: Decoder = field(init=False)
    _rest: deque[Event] | None = field(default=None, init=False)  # have come, for later turns
    _partial_bytes: int = field(default=0, init=False)  # received for the message that is unfinished
    _closing_bytes: int = field(default=0, init=False)  # received since our close frame
    _silent_looks: int = field(default=0, init=False)  # of the keepalive, since something came
    _ping_interval_seconds: float = field(default=0.0, init=False)
    _ping_timeout_seconds: float = field(default=0.0, init=False)
    _keep_alive: DeadlineLike | None = field(default=None, init=False)
    _unfinished: DeadlineLike | None = field(default=None, init=False)
    _closing: DeadlineLike | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        connection, transport = self._connection, self._transport
        self.outbox = transport.outbox = connection.outbox
        self.receive_buffer = connection.receive_buffer
        self.peer = transport.peer
        self._decoder = connection.decoder
        if self.sharing is not None and not self.sharing.server_no_context_takeover:
            self.sharing = None

    # What the transport tells

    def data_received(self, buffer: Buffer, nbytes: int) -> None:
        decoder = self._decoder
        if not nbytes:
            self._connection.receive_eof()
            self._close_transport()
            return
        events: list[Event] = decoder.receive(buffer, nbytes)
        self._silent_looks = 0
        at_rest = decoder.at_rest()
        try:
            if at_rest or not decoder.attention:
                owner = self.owner  # without attention there are messages only
                if len(events) > MESSAGES_PER_TURN:
                    self._hand_up_in_turns(events)
                elif owner is None:
                    for event in events:
                        self.on_message(event)
                else:
                    for event in events:
                        self.on_message(owner, event)
            else:
                self._obey(events)
        except BaseException as error:
            self.on_fault(error)
        if not at_rest or self._unfinished is not None:
            self._watch_unfinished(events, nbytes)
        if self._closing is not None:
            # A peer may still send what was on its way, but not for ever at full speed.
            self._closing_bytes += nbytes
            if self._closing_bytes > self._services.closing_max_bytes:
                self._transport.close("no close frame came back")

    def _obey(self, events: list[Event]) -> None:
        """Hand messages up; pongs leave before what answers them, our close frame after it."""
        connection = self._connection
        connection.obey(events)
        pongs = connection.data_to_send(closing=False)
        if pongs:
            self._transport.write(pongs)
        messages = [event for event in events if type(event) is str or type(event) is bytes]
        if messages:
            self._hand_up_in_turns(messages)
        elif connection.state is _CLOSED:
            self._close_transport()

    def _hand_up_in_turns(self, messages: Iterable[Event]) -> None:
        """The first messages now, more in each turn of the loop; nothing is read until all are handed up."""
        self._rest = deque(messages)
        self._hand_up_more()
        if self._rest is not None:
            self._transport.pause_reading(Pause.TURN, True)

    def _hand_up_more(self) -> None:
        rest = self._rest
        if rest is None:  # the connection has gone, or this is asked twice
            return
        self._hand_up(rest, MESSAGES_PER_TURN)
        if not rest:
            self._rest = None
            self._transport.pause_reading(Pause.TURN, False)
            if self._connection.state is _CLOSED:
                self._close_transport()
        elif not self.paused:
            self._services.call_soon(self._hand_up_more)

    def _hand_up(self, rest: deque[Event], count: int) -> None:
        owner = self.owner
        try:
            while rest and count:
                count -= 1
                message = rest.popleft()
                if owner is None:
                    self.on_message(message)
                else:
                    self.on_message(owner, message)
        except BaseException as error:
            rest.clear()
            self.on_fault(error)

    def _close_transport(self) -> None:
        """The WebSocket is over: our close frame leaves, then the TCP connection ends."""
        owed = self._connection.data_to_send()
        if owed:
            self._transport.write(owed)
        self._transport.close()

    def _watch_unfinished(self, events: list[Event], nbytes: int) -> None:
        """A frame or message that has begun must end in time (a client may send it byte by byte).

        What is unfinished behind a message that came whole is another one, with a time of its own; control
        frames may come within one (RFC 6455 5.4) and earn none.
        """
        if not self._decoder.unfinished:
            self._partial_bytes = 0
            if self._unfinished is not None:
                self._unfinished.cancel()
                self._unfinished = None
            return
        if self._unfinished is None:
            late = partial(self.close, CloseCode.POLICY_VIOLATION, "a message did not end in time")
            self._unfinished = self._services.deadline(late)
        elif not any(type(event) is str or type(event) is bytes for event in events):
            self._partial_bytes += nbytes
            return
        self._partial_bytes = nbytes
        self._unfinished.set(self._services.settings.unfinished_frame_timeout_seconds)

    def write_blocked(self, blocked: bool) -> None:
        """A client that does not read is not read from (its pongs would queue as well)."""
        self._transport.pause_reading(Pause.UNSENT, blocked)
        if blocked:
            self.on_blocked(self, True)
        else:
            self._let_senders_go()

    def _let_senders_go(self) -> None:
        self._services.backpressure.release(self)
        self.on_blocked(self, False)

    def connection_lost(self, reason: str) -> None:
        connection = self._connection
        if connection.state is not _CLOSED:
            connection.receive_eof()
        for deadline in (self._keep_alive, self._unfinished, self._closing):
            if deadline is not None:
                deadline.cancel()
        self._let_senders_go()
        rest, self._rest = self._rest, None
        if rest is not None:  # what has come before the end is handed up before it
            self._hand_up(rest, len(rest))
        self._services.ended(self)
        on_close, self.on_close = self.on_close, ignore_message
        self.on_message = self.on_blocked = ignore_message
        code = connection.close_code
        on_close(CloseCode.ABNORMAL_CLOSURE if code is None else code, connection.close_reason or reason)

    # What the owner of the WebSocket may ask

    @property
    def open(self) -> bool:
        return self._connection.state is _OPEN

    @property
    def blocked(self) -> bool:
        """Does the transport hold back bytes that the client has not taken?"""
        return self._transport.blocked

    def behind(self) -> bool:
        """Any thread: does the client hold up who sends to it?"""
        return self._transport.blocked and self._connection.state is _OPEN

    def post_message(self, door: Door, message: str | bytes, compress: bool | None) -> None:
        """A worker: have `send` called once the client has taken most of what it was sent, or it is late."""
        nbytes = len(message)
        if not door.post_unless(self.behind, self.send, message, compress, nbytes=nbytes):
            services = self._services
            call = (self.send, message, compress)
            services.backpressure.post(door, self, self.behind, services.send_timeout_seconds, call, nbytes)

    def send(self, message: str | bytes, compress: bool | None = None) -> None:
        """Queue one message; nothing happens once the WebSocket is closing.

        Raises:
            MemoryError: there is none for it; the connection has ended, so that nothing follows a gap.
        """
        try:
            if self.outbox.send(message):
                return
            connection = self._connection
            if len(message) >= GATHERED_MIN_BYTES:
                for piece in connection.encode_pieces(message, compress):
                    self._transport.write(piece)
            else:
                self._transport.write(connection.encode(message, compress))
        except ConnectionClosed:
            pass
        except MemoryError:
            self._transport.close("no memory for a message")
            raise

    def send_frames(self, frames: bytes) -> None:
        """Queue frames that were encoded before, to be shared by many recipients."""
        if not self.outbox.write(frames) and self._connection.state is _OPEN:
            self._transport.write(frames)

    def send_prepared(self, prepared: PreparedLike) -> None:
        """Queue messages that many recipients share, compressed for those that agreed on it."""
        sharing = self.sharing
        frames = prepared.frames if sharing is None else prepared.deflated_frames(sharing)
        if not self.outbox.write(frames) and self._connection.state is _OPEN:
            self._transport.write(frames)

    @property
    def prepared_outbox(self) -> Outbox:
        """For whoever writes prepared frames directly; it declines all if they leave compressed."""
        return self.outbox if self.sharing is None else NO_OUTBOX

    def ping(self, payload: bytes = b"") -> None:
        """Queue a ping; nothing happens once the WebSocket is closing."""
        connection = self._connection
        if connection.state is _OPEN:
            connection.ping(payload)
            self._transport.write(connection.data_to_send())

    def keep_alive(self, interval_seconds: float | None, timeout_seconds: float | None) -> None:
        """Ping after a silence of `interval_seconds`; end after another `timeout_seconds` of it.

        None takes the server's setting, 0 switches it off.
        """
        settings = self._services.settings
        if interval_seconds is None:
            interval_seconds = settings.ping_interval_seconds
        if timeout_seconds is None:
            timeout_seconds = settings.ping_timeout_seconds
        self._ping_interval_seconds, self._ping_timeout_seconds = interval_seconds, timeout_seconds
        if self._ping_interval_seconds > 0:
            self._keep_alive = self._services.deadline(self._look_alive)
            self._keep_alive.set(self._ping_interval_seconds)

    def _look_alive(self) -> None:
        assert self._keep_alive is not None
        if self._silent_looks == 0 or self.paused:  # then it may have spoken: it is not listened to
            self._silent_looks = 1
            self._keep_alive.set(self._ping_interval_seconds)
        elif self._silent_looks == 1:
            self._silent_looks = 2
            self.ping()
            self._keep_alive.set(self._ping_timeout_seconds)
        else:
            self.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455 7.1.2); cut if no answer comes in time."""
        self._close(code, reason, self._services.settings.close_timeout_seconds, "no close frame came back")

    def fail(self, code: int, reason: str) -> None:
        """End without an answer (RFC 6455 7.1.7): the peer has been silent for too long to give one.

        Our close frame and the end of TCP leave together, for a peer that lives after all.
        """
        self._close(code, reason, FAIL_TIMEOUT_SECONDS, reason)
        self._transport.close()

    def _close(self, code: int, reason: str, timeout_seconds: float, cut: str) -> None:
        connection = self._connection
        if connection.state is not _OPEN:
            return
        connection.close(code, reason)
        self._let_senders_go()  # nothing of theirs will leave
        self._transport.write(connection.data_to_send())
        self._closing = self._services.deadline(lambda: self._transport.close(cut))
        self._closing.set(timeout_seconds)

    @property
    def paused(self) -> bool:
        """Any thread: does the client wait because its messages do?"""
        return bool(self._transport.pauses & Pause.MESSAGES)

    def pause_reading(self, paused: bool) -> None:
        """Let the client wait because its messages do, or go on."""
        self._transport.pause_reading(Pause.MESSAGES, paused)
        if not paused and self._rest is not None:
            self._services.call_soon(self._hand_up_more)

    # What its acceptor may ask (the Channel port)

    @property
    def peers(self) -> tuple[object, object]:
        return self.peer, self._transport.peer

    @property
    def held_bytes(self) -> int:
        return self._transport.queued_bytes + self._partial_bytes

    def refuse_keep_alive(self) -> None:
        self.close(CloseCode.GOING_AWAY, "server shutting down")

    close_when_idle = refuse_keep_alive

    def abort(self, reason: str) -> None:
        self._transport.close(reason)
