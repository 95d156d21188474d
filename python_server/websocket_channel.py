"""One open WebSocket on its connection, and the opening handshake that puts it there.

Must not know: sockets and selectors, what a message means, sessions, applications.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from python_server.exchange import DeadlineLike, Exchange, TransportLike
from python_server.http1.response import Headers, status_text
from wsframe import CloseCode, Connection, ConnectionClosed, Outbox, Role, State, handshake
from wsframe.deflate import Agreement, Options


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
        began, ended: called with each channel, once each, for the worker's list of connections.
    """

    max_message_bytes: int
    max_fragments_count: int
    close_timeout_seconds: float
    unfinished_timeout_seconds: float
    ping_interval_seconds: float
    ping_timeout_seconds: float
    deflate: Options | None
    deadline: Callable[[Callable[[], Any]], DeadlineLike]
    began: Callable[[WebSocketChannel], None]
    ended: Callable[[WebSocketChannel], None]


# From here on a payload is gathered behind its header instead of being copied into a frame: the copy of a
# 4 MiB message took a third of the time of its echo.
GATHERED_MIN_BYTES: Final = 16_384

# Never opened, it declines everything.
NO_OUTBOX: Final = Outbox()

# An enum's member costs ten times a global in CPython 3.11.
_OPEN: Final = State.OPEN
_CLOSED: Final = State.CLOSED


def ignore_message(*message: Any) -> None:
    """Where messages go before somebody listens."""


def ignore_close(code: int, reason: str) -> None:
    """Where the end goes before somebody listens."""


def raise_fault(error: BaseException) -> None:
    """Whoever takes messages without expecting to fail lets the connection end with the fault."""
    raise error


class WebSocketChannel:
    """One open WebSocket on its connection. Every method belongs to the loop's thread.

    Attributes:
        on_message: called with each whole message. on_close: called once with (close code, reason).
        owner: where it is set, `on_message` is called with it before the message.
        on_fault: called with what `on_message` raised; the rest of that piece of the stream is dropped.
        outbox: of the connection; the transport takes from it. What it declines goes through `send`.
    """

    __slots__ = (
        "__weakref__",
        "_closing",
        "_connection",
        "_decoder",
        "_heard",
        "_keep_alive",
        "_ping_interval_seconds",
        "_ping_timeout_seconds",
        "_pinged",
        "_services",
        "_sharing",
        "_transport",
        "_unfinished",
        "on_close",
        "on_fault",
        "on_message",
        "outbox",
        "owner",
        "receive_buffer",
        "subprotocol",
    )

    def __init__(
        self,
        transport: TransportLike,
        connection: Connection,
        services: WebSocketServices,
        subprotocol: str | None = None,
        deflate: Agreement | None = None,
    ) -> None:
        self._transport = transport
        self.outbox = transport.outbox = connection.outbox
        # Compressed messages can be shared when none refers to another (RFC 7692 7.1.1.1).
        self._sharing = deflate if deflate is not None and deflate.server_no_context_takeover else None
        self._connection = connection
        self._decoder = connection.decoder
        self._services = services
        self._heard = True
        self._pinged = False
        self._ping_interval_seconds = self._ping_timeout_seconds = 0.0
        self._keep_alive: DeadlineLike | None = None
        self._unfinished: DeadlineLike | None = None
        self._closing: DeadlineLike | None = None
        self.receive_buffer = connection.receive_buffer
        self.subprotocol = subprotocol
        self.owner: Any = None
        self.on_message: Callable[..., None] = ignore_message
        self.on_close: Callable[[int, str], None] = ignore_close
        self.on_fault: Callable[[BaseException], None] = raise_fault

    # What the transport tells

    def data_received(self, buffer: Any, nbytes: int) -> None:
        decoder = self._decoder
        if not nbytes:
            self._connection.receive_eof()
            self._close_transport()
            return
        events: list[Any] = decoder.receive(buffer, nbytes)
        self._heard = True
        at_rest = decoder.at_rest()
        try:
            if at_rest or not decoder.attention:
                owner = self.owner  # without attention there are messages only
                if owner is None:
                    for event in events:
                        self.on_message(event)
                else:
                    for event in events:
                        self.on_message(owner, event)
            else:
                self._obey(events)
        except BaseException as error:
            self.on_fault(error)
        if (not at_rest or self._unfinished is not None) and decoder.unfinished is (self._unfinished is None):
            self._watch_unfinished()

    def _obey(self, events: list[Any]) -> None:
        """Hand messages up; pongs leave before what answers them, our close frame after it."""
        connection = self._connection
        connection.obey(events)
        pongs = connection.data_to_send(closing=False)
        if pongs:
            self._transport.write(pongs)
        try:
            for event in events:
                if type(event) is str or type(event) is bytes:
                    self.on_message(*((event,) if self.owner is None else (self.owner, event)))
        finally:
            if connection.state is _CLOSED:
                self._close_transport()

    def _close_transport(self) -> None:
        """The WebSocket is over: our close frame leaves, then the TCP connection ends."""
        owed = self._connection.data_to_send()
        if owed:
            self._transport.write(owed)
        self._transport.close()

    def _watch_unfinished(self) -> None:
        """A frame or message has begun: it must end in time (a client may dribble one for ever)."""
        if self._unfinished is None:
            services = self._services
            self._unfinished = services.deadline(self._end_unfinished)
            self._unfinished.set(services.unfinished_timeout_seconds)
        else:
            self._unfinished.cancel()
            self._unfinished = None

    def _end_unfinished(self) -> None:
        self.close(CloseCode.POLICY_VIOLATION, "a message did not end in time")

    def write_blocked(self, blocked: bool) -> None:
        """A client that does not read is not read from (its pongs would queue as well)."""
        self._transport.pause_reading(blocked)

    def connection_lost(self, reason: str) -> None:
        connection = self._connection
        if connection.state is not State.CLOSED:
            connection.receive_eof()
        for deadline in (self._keep_alive, self._unfinished, self._closing):
            if deadline is not None:
                deadline.cancel()
        self._services.ended(self)
        on_close, self.on_close, self.on_message = self.on_close, ignore_close, ignore_message
        code = connection.close_code
        on_close(CloseCode.ABNORMAL_CLOSURE if code is None else code, connection.close_reason or reason)

    # What the owner of the WebSocket may ask

    @property
    def open(self) -> bool:
        return self._connection.state is State.OPEN

    @property
    def blocked(self) -> bool:
        """Does the transport hold back bytes that the client has not taken?"""
        return self._transport.blocked

    def send(self, message: str | bytes, compress: bool | None = None) -> None:
        """Queue one message; nothing happens once the WebSocket is closing."""
        if self.outbox.send(message):
            return
        connection = self._connection
        try:
            if len(message) >= GATHERED_MIN_BYTES:
                for piece in connection.encode_pieces(message, compress):
                    self._transport.write(piece)
            else:
                self._transport.write(connection.encode(message, compress))
        except ConnectionClosed:
            pass

    def send_frames(self, frames: bytes) -> None:
        """Queue frames that were encoded before, to be shared by many recipients."""
        if not self.outbox.write(frames) and self._connection.state is _OPEN:
            self._transport.write(frames)

    def send_prepared(self, prepared: PreparedLike) -> None:
        """Queue messages that many recipients share, compressed for those that agreed on it."""
        sharing = self._sharing
        frames = prepared.frames if sharing is None else prepared.deflated_frames(sharing)
        if not self.outbox.write(frames) and self._connection.state is _OPEN:
            self._transport.write(frames)

    @property
    def prepared_outbox(self) -> Outbox:
        """For who writes prepared frames by himself; it declines all if they leave compressed."""
        return self.outbox if self._sharing is None else NO_OUTBOX

    def ping(self, payload: bytes = b"") -> None:
        """Queue a ping; nothing happens once the WebSocket is closing."""
        connection = self._connection
        if connection.state is State.OPEN:
            connection.ping(payload)
            self._transport.write(connection.data_to_send())

    def keep_alive(self, interval_seconds: float | None, timeout_seconds: float | None) -> None:
        """Ping after a silence of `interval_seconds`; end after another `timeout_seconds` of it.

        None takes the server's setting, 0 switches it off.
        """
        services = self._services
        self._ping_interval_seconds = (
            services.ping_interval_seconds if interval_seconds is None else interval_seconds
        )
        self._ping_timeout_seconds = (
            services.ping_timeout_seconds if timeout_seconds is None else timeout_seconds
        )
        if self._ping_interval_seconds > 0:
            self._keep_alive = services.deadline(self._look_alive)
            self._keep_alive.set(self._ping_interval_seconds)

    def _look_alive(self) -> None:
        assert self._keep_alive is not None
        if self._heard:
            self._heard = self._pinged = False
            self._keep_alive.set(self._ping_interval_seconds)
        elif not self._pinged:
            self._pinged = True
            self.ping()
            self._keep_alive.set(self._ping_timeout_seconds)
        else:
            self.close(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
            self._transport.close()

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Begin the closing handshake (RFC 6455 7.1.2); cut if no answer comes in time."""
        connection = self._connection
        if connection.state is not State.OPEN:
            return
        connection.close(code, reason)
        self._transport.write(connection.data_to_send())
        services = self._services
        self._closing = services.deadline(lambda: self._transport.close("no close frame came back"))
        self._closing.set(services.close_timeout_seconds)

    def pause_reading(self, paused: bool) -> None:
        self._transport.pause_reading(paused)

    def refuse_keep_alive(self) -> None:
        """Graceful stop."""
        self.close(CloseCode.GOING_AWAY, "server shutting down")

    close_when_idle = refuse_keep_alive

    def abort(self, reason: str) -> None:
        """End the TCP connection at once."""
        self._transport.close(reason)


def accept_websocket(
    exchange: Exchange,
    services: WebSocketServices,
    opened: Callable[[WebSocketChannel], None],
    *,
    subprotocols: tuple[str, ...] = (),
    max_message_bytes: int | None = None,
    headers: Headers | None = None,
) -> bool:
    """Answer an opening handshake (RFC 6455 4.2): 101 and a channel, or the refusal.

    Args:
        opened: sets the channel's callbacks; called before the first message.
        headers: further fields of the 101.

    Returns:
        whether the WebSocket is open.
    """
    request = exchange.request
    try:
        if request.has_body:
            raise handshake.HandshakeError(400, "an opening handshake has no body (RFC 6455 4.1)")
        accepted = handshake.accept(
            request.method,
            request.version,
            request.headers,
            subprotocols=subprotocols,
            deflate=services.deflate,
        )
    except handshake.HandshakeError as error:
        exchange.refuse_keep_alive()
        exchange.respond(
            status_text(error.status),
            [("Content-Type", "text/plain; charset=utf-8"), *error.headers],
            f"{error}\n".encode(),
        )
        return False

    def make(transport: TransportLike, leftover: bytes) -> WebSocketChannel:
        connection = Connection(
            Role.SERVER,
            max_message_bytes=max_message_bytes or services.max_message_bytes,
            max_fragments=services.max_fragments_count,
            deflate=accepted.deflate,
        )
        channel = WebSocketChannel(transport, connection, services, accepted.subprotocol, accepted.deflate)
        services.began(channel)
        opened(channel)
        return channel

    exchange.upgrade([*accepted.headers, *(headers or ())], make)
    return True
