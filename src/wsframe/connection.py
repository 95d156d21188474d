"""The life of one WebSocket after its opening handshake: pings answered, the close handshake, faults.

It must not know where bytes come from or go to, what a message means, or what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

from ._core import Decoder, Encoder, JoinCache, Outbox, encode_header
from .deflate import Agreement, MessageDeflate
from .types import (
    DEFAULT_MAX_FRAGMENTS,
    DEFAULT_MAX_MESSAGE_BYTES,
    MAX_CLOSE_REASON_BYTES,
    MAX_CONTROL_PAYLOAD_BYTES,
    MOVES,
    Close,
    CloseCode,
    ConnectionClosed,
    Event,
    Opcode,
    Ping,
    ProtocolError,
    Role,
    State,
    may_be_on_the_wire,
)

Buffer = bytes | bytearray | memoryview

# Section 5.5.3 lets the latest ping alone be answered. Up to this many answers wait in the queue (the `ws`
# package ends the connection above 60); above it the newest takes the place of the one before.
MAX_WAITING_PONGS = 64
# Told to the peer, who need not know more.
INTERNAL_ERROR_REASON = "an internal error (RFC 6455 section 7.4.1)"
# In CPython 3.11 an enum's member costs ten times a global, and memory, which may be what there is none of.
_OPEN, _CLOSED = State.OPEN, State.CLOSED
_INTERNAL_ERROR = int(CloseCode.INTERNAL_ERROR)


class Connection:
    """One WebSocket without I/O. It has no lock: use it from one thread at a time.

        connection = Connection(Role.SERVER)
        for event in connection.receive_data(sock.recv(65_536)):
            if isinstance(event, str):
                connection.send_text(event)
        sock.sendall(connection.data_to_send())

    `data_to_send()` returns the bytes for the peer; call it after every call that receives, sends, pings or
    closes.

    Args:
        role: your own role. deflate: the agreement of the opening handshake.
        max_message_bytes: maximum bytes of one message, after decompression; more closes with code 1009.
        max_fragments: maximum frames of one message, including empty ones; more closes with code 1009.
        fragment_bytes: a message that does not come at once, and of which so many bytes came, is returned in
            pieces, as Fragments; None for whole messages only. Then a message's size costs no memory.
        joins: what this connection's outbox shares with others.
    """

    # The tests put the plain core here, to run both in one process.
    decoder_type: ClassVar[type[Decoder]] = Decoder
    outbox_type: ClassVar[type[Outbox]] = Outbox
    encoder_type: ClassVar[type[Encoder]] = Encoder

    __slots__ = (
        "_deflate", "_error", "_last_frame", "_outbox_bytes", "_pongs", "_queue", "close_code",
        "close_reason", "decoder", "encode", "encoder", "outbox", "plain", "receive_buffer", "state",
    )  # fmt: skip

    def __init__(
        self,
        role: Role,
        *,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        max_fragments: int = DEFAULT_MAX_FRAGMENTS,
        deflate: Agreement | None = None,
        fragment_bytes: int | None = None,
        joins: JoinCache | None = None,
    ) -> None:
        self._deflate = None if deflate is None else MessageDeflate(deflate, role)
        self.decoder: Decoder = self.decoder_type(
            role,
            max_message_bytes=max_message_bytes,
            max_fragments=max_fragments,
            inflate=None if self._deflate is None else self._deflate.inflate,
            fragment_bytes=fragment_bytes,
        )
        self.encoder: Encoder = self.encoder_type(role, deflate=self._deflate)
        # One message's bytes, not queued: send them in this order. A call around it would double its cost.
        self.encode = self.encoder.encode
        # Where to receive the rest of a large payload, or None: use a buffer of your own and `receive_data`.
        # The decoder's own method: asked before every receive, where one call more cost 1 % of an echo.
        self.receive_buffer: Callable[[], memoryview | None] = self.decoder.receive_buffer
        self._queue: list[bytes] = []
        self._pongs = 0  # at the end of the queue, counted since data_to_send
        self.plain: bool = role is Role.SERVER and deflate is None
        # A sender may open it: frames of messages then pass by the queue. It closes with the connection.
        self.outbox: Outbox = self.outbox_type(self.plain, joins)
        self._outbox_bytes = 0  # what it may hold again after a message in fragments
        self._last_frame = b""  # a close frame of ours that answers the peer: nothing may follow it
        self._error: Exception | None = None  # of our own, raised by the next call that receives
        self.state: State = State.OPEN
        self.close_code: int | None = None
        self.close_reason: str = ""

    # --- receiving ---

    def receive_data(self, data: Buffer, length: int = -1) -> list[Event]:
        """Parse received bytes and return what they completed.

            events = connection.receive_data(sock.recv(65_536))

        Args:
            data: the bytes, which are not kept. length: use only the first bytes; a negative value means all.

        Messages are str and bytes. The list also has Ping (already answered), Pong, Close and ProtocolError,
        in the order of arrival. `attention` tells whether the list has any of these.

        An internal exception (for example MemoryError) fails the connection with 1011. What came before it in
        the same bytes is returned first; then the next call raises the exception.
        """
        try:
            # Sections 1.4 and 7.1.7: of a closed connection it is closed, and looks at nothing.
            events = self.decoder.receive(data, length)
        except BaseException:
            self._end_failed()
            raise
        if self.decoder.attention:
            self.obey(events)
        elif not events and self._error is not None:
            error, self._error = self._error, None
            raise error
        return events

    def buffer_received(self, nbytes: int) -> list[Event]:
        """Parse the `nbytes` that you received into the last `receive_buffer`, which is not valid afterwards.

            events = connection.buffer_received(sock.recv_into(view))

        Returns: as `receive_data`.
        """
        if self.state is _CLOSED:
            return self.receive_data(b"")
        try:
            events = self.decoder.buffer_received(nbytes)
        except BaseException:
            self._end_failed()
            raise
        if self.decoder.attention:
            self.obey(events)
        return events

    def receive_eof(self) -> list[Event]:
        """Tell that the TCP connection has ended. Without a close frame the code is 1006 (section 7.1.5).

            connection.receive_eof()

        An incomplete message and its buffer are discarded. Returns: an empty list.
        """
        if self.close_code is None:
            self.close_code = CloseCode.ABNORMAL_CLOSURE
        self._move("end")
        self.decoder.close()
        if self._deflate is not None:
            self._deflate.close()
        return []

    @property
    def attention(self) -> bool:
        """Whether the last list has anything besides str and bytes."""
        return self.decoder.attention

    @property
    def unfinished(self) -> bool:
        """Whether a frame or a message is incomplete."""
        return self.decoder.unfinished

    def obey(self, events: list[Event]) -> None:
        """React to the `events` of `decoder`: answer pings and close frames, close after an error.

            events = connection.decoder.receive(data)
            if connection.decoder.attention:
                connection.obey(events)

        `receive_data` calls this itself. If you feed `decoder` directly, which saves a call per chunk, call
        this whenever `decoder.attention` is set.
        """
        try:
            for event in events:
                if isinstance(event, Ping):
                    self._answer_ping(event.payload)
                elif isinstance(event, Close):
                    self._answer_close(event)
                elif isinstance(event, ProtocolError):
                    self._fail(event.code, event.message)
        except Exception as error:
            self._error = error  # not now: the caller gets the events first
            self._end_broken()
        except BaseException:
            self._end_broken()
            raise
        self._end_failed()

    def _answer_ping(self, payload: bytes) -> None:
        """Section 5.5.2: a pong for each ping, unless a close frame was sent."""
        if self.state is not State.OPEN:
            return
        pong = self.encoder.encode_control(Opcode.PONG, payload)
        if self._pongs == MAX_WAITING_PONGS:
            self._queue[-1] = pong
        else:
            self._queue.append(pong)
            self._pongs += 1

    def _answer_close(self, close: Close) -> None:
        """Section 5.5.1: the status code is echoed, once."""
        self._learn_why(close.code, close.reason)
        if self.state is State.OPEN:
            self._last_frame = self.encoder.encode_control(Opcode.CLOSE, _close_payload(close.code, ""))
        self._move("receive close")

    def _fail(self, code: int, reason: str) -> None:
        """Section 7.1.7: say why, and hear no more."""
        self._learn_why(code, reason)
        if self.state is State.OPEN:
            self._last_frame = self.encoder.encode_control(Opcode.CLOSE, _close_payload(code, reason))
        self._move("fail")

    def _learn_why(self, code: int, reason: str) -> None:
        """Section 7.1.5: the first close frame or fault decides; 1006 means that there was none."""
        if self.close_code is None or self.close_code == CloseCode.ABNORMAL_CLOSURE:
            self.close_code, self.close_reason = code, reason

    def _end_failed(self) -> None:
        """An exception ended the decoder: a connection that hears nothing is not open."""
        if self.state is not _CLOSED and self.decoder.failed:
            self._end_broken()

    def _end_broken(self) -> None:
        """Section 7.4.1, code 1011: not the peer's fault. Without memory for a close frame there is none."""
        if self.close_code is None:
            self.close_code, self.close_reason = _INTERNAL_ERROR, INTERNAL_ERROR_REASON
        tells = self.state is _OPEN
        self._become(_CLOSED)  # as "fail" has it from every state; the table's keys would ask for memory
        try:
            self.decoder.close()
            if tells:
                payload = _close_payload(_INTERNAL_ERROR, INTERNAL_ERROR_REASON)
                self._last_frame = self.encoder.encode_control(Opcode.CLOSE, payload)
                self.encoder.open = True
        except Exception:  # nosec B110  # without memory there is no frame
            pass

    def _move(self, happening: str) -> None:
        self._become(MOVES[self.state, happening])

    def _become(self, state: State) -> None:
        self.state = state
        self.outbox.close()  # there is no way back to OPEN
        # Section 5.5.1: what came before a close frame or an error may be answered, until ours is taken.
        self.encoder.open = bool(self._last_frame)
        if state is _CLOSED:
            self.receive_buffer = _no_buffer

    # --- sending ---

    def encode_pieces(self, message: str | Buffer, compress: bool | None = None) -> tuple[Buffer, ...]:
        """Encode a large `message` like `encode`, but without copying a payload that is sent unchanged.

            sock.sendmsg(connection.encode_pieces(image))

        Returns: the header and the payload, or one whole frame. `compress` is as of `encode`.
        """
        if not self.plain or not self.encoder.open or self.encoder.unfinished:
            return (self.encode(message, compress),)
        opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
        payload = message.encode() if isinstance(message, str) else message
        return encode_header(opcode, len(memoryview(payload).cast("B"))), payload

    def encode_fragment(self, data: str | Buffer, final: bool, compress: bool | None = None) -> bytes:
        """Return the frame of one piece of a message (section 5.4) without queueing it.

            sock.sendall(connection.encode_fragment("the first half, ", final=False))
            sock.sendall(connection.encode_fragment("and the second", final=True))

        Until the final one no other message can be sent, while pings and `close` can. Before the first, send
        what is queued and what `outbox` holds; open the outbox between messages only.

        Args:
            data: str of a text message, anything bytes-like of a binary one. final: whether the message ends.
            compress: of the first piece, for all: False to send the message uncompressed.

        Raises ConnectionClosed: nothing can be sent any more. TypeError: str and bytes in one message.
        """
        frame = self.encoder.encode_fragment(data, final, compress)
        # Whoever fills the outbox would put a message among the fragments.
        if not final and self.outbox.max_bytes:
            self._outbox_bytes, self.outbox.max_bytes = self.outbox.max_bytes, 0
        elif final and self._outbox_bytes:
            self.outbox.max_bytes, self._outbox_bytes = self._outbox_bytes, 0
        return frame

    def encode_fragments(
        self, pieces: Iterable[str | Buffer], compress: bool | None = None
    ) -> Iterator[bytes]:
        """Yield the frames of one message whose `pieces` are not all known yet; one piece is kept at a time.

            for frame in connection.encode_fragments(iter(lambda: file.read(65_536), b"")):
                sock.sendall(frame)

        Returns: the frames, each with one piece, which was copied: a buffer may be used again. Without pieces
        there is no message. An iterable that raises leaves the message unfinished: close then. `compress` and
        errors are as of `encode_fragment`.
        """
        waiting: str | bytes | None = None
        for piece in pieces:
            if waiting is not None:
                yield self.encode_fragment(waiting, False, compress)
            waiting = piece if isinstance(piece, str | bytes) else bytes(memoryview(piece))
        if waiting is not None:
            yield self.encode_fragment(waiting, True, compress)

    def send_fragment(self, data: str | Buffer, final: bool, compress: bool | None = None) -> None:
        """Queue one piece of a message.

            connection.send_fragment(b"more follows", final=False)

        `data`, `final`, `compress` and errors are as of `encode_fragment`.
        """
        self._queue.append(b"")  # first: a frame without a place would be missing in its message
        self._queue[-1] = self.encode_fragment(data, final, compress)
        self._pongs = 0

    def send_text(self, message: str, compress: bool | None = None) -> None:
        """Queue a text message; `compress` is as of `encode`.

            connection.send_text("hello")

        Raises TypeError: `message` is not a str. ConnectionClosed: nothing can be sent any more.
        """
        if not isinstance(message, str):
            raise TypeError(f"message must be str, not {type(message).__name__}")
        self._queue_message(self.encode(message, compress))

    def send_binary(self, message: Buffer, compress: bool | None = None) -> None:
        """Queue a binary message; `compress` is as of `encode`.

            connection.send_binary(image)

        Raises TypeError: `message` is a str. ConnectionClosed: nothing can be sent any more.
        """
        if isinstance(message, str):
            raise TypeError("message must be bytes-like, not str")
        self._queue_message(self.encode(message, compress))

    def ping(self, payload: Buffer = b"") -> None:
        """Queue a ping; its `payload` has at most 125 bytes (section 5.5.2).

            connection.ping(b"are you there")

        Raises TypeError, ValueError: the payload is invalid. ConnectionClosed: nothing can be sent any more.
        """
        self._queue_control(Opcode.PING, payload)

    def pong(self, payload: Buffer = b"") -> None:
        """Queue an unsolicited pong; its `payload` has at most 125 bytes (section 5.5.3).

            connection.pong()

        Pings are answered automatically. Raises the same errors as `ping`.
        """
        self._queue_control(Opcode.PONG, payload)

    def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Queue a close frame (section 7.1.2); on a connection that is closing or closed nothing happens.

            connection.close(1001, "the server stops")

        Args:
            code: a code that section 7.4 allows; with 1005 the frame has no code.
            reason: at most 123 bytes of UTF-8.

        Raises ValueError: the code or the reason may not be sent.
        """
        if code != CloseCode.NO_STATUS_RCVD and not may_be_on_the_wire(code):
            raise ValueError(f"code {code} may not be sent in a close frame (RFC 6455 section 7.4)")
        if code == CloseCode.NO_STATUS_RCVD and reason:
            raise ValueError("reason needs a code (RFC 6455 section 5.5.1)")
        if len(reason.encode()) > MAX_CLOSE_REASON_BYTES:
            raise ValueError("reason must be 123 bytes or less in UTF-8 (RFC 6455 section 5.5.1)")
        if self.state is State.OPEN:
            closing = MOVES[self.state, "send close"]  # before the frame: what fails has changed nothing
            self._queue.append(self.encoder.encode_control(Opcode.CLOSE, _close_payload(code, reason)))
            self._become(closing)

    def data_to_send(self, closing: bool = True) -> bytes:
        """Return the queued bytes and empty the queue; b"" if it is empty.

            sock.sendall(connection.data_to_send())

        Without `closing` the close frame that answers the peer stays in the queue, so that pongs may leave
        before the answers to messages that came with the peer's close frame.
        """
        queue = self._queue
        if closing and self._last_frame:
            queue.append(self._last_frame)
            self._last_frame = b""
            self.encoder.open = False
        if not queue:
            return b""
        out = queue[0] if len(queue) == 1 else b"".join(queue)
        queue.clear()
        self._pongs = 0
        return out

    def _queue_message(self, frame: bytes) -> None:
        try:
            self._queue.append(frame)
        except MemoryError:
            if self._deflate is not None:
                self._deflate.begin_anew()
            raise
        self._pongs = 0

    def _queue_control(self, opcode: Opcode, payload: Buffer) -> None:
        if self.state is not State.OPEN:
            raise ConnectionClosed(f"the WebSocket is {self.state.value}: nothing can be sent")
        if isinstance(payload, str):
            raise TypeError("payload must be bytes-like, not str")
        if len(payload) > MAX_CONTROL_PAYLOAD_BYTES:
            raise ValueError("payload must be 125 bytes or less (RFC 6455 section 5.5)")
        self._queue.append(self.encoder.encode_control(opcode, payload))
        self._pongs = 0


def _no_buffer() -> memoryview | None:
    return None


def _close_payload(code: int, reason: str) -> bytes:
    """Section 5.5.1. A reason of ours that is too long is cut on a character's border."""
    if code == CloseCode.NO_STATUS_RCVD:
        return b""
    words = reason.encode()[:MAX_CLOSE_REASON_BYTES].decode(errors="ignore").encode()
    return code.to_bytes(2, "big") + words
