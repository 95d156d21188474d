"""The compiled core's interface; a test holds it against the build with stubtest.

It must not promise what `_pure.py` does not: both cores have these names.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, final

from typing_extensions import Buffer

from .types import Event, Header

_Whom = TypeVar("_Whom")

IMPLEMENTATION: Final[str]
MASK_IMPLEMENTATION: Final[str]

def apply_mask(data: Buffer, mask: bytes) -> bytes:
    """Return `data` XOR `mask`, which is four bytes (RFC 6455 section 5.3).

        payload = wsframe.apply_mask(masked, header.mask)

    Raises ValueError: the mask has another length.
    """

def apply_mask_inplace(buffer: Buffer, mask: bytes, offset: int = 0) -> None:
    """XOR a writable `buffer` with the four bytes `mask`.

        wsframe.apply_mask_inplace(piece, header.mask, offset=already)

    Args:
        offset: the position of the buffer's first byte in the payload.

    Raises ValueError: the mask has another length, or the offset is negative.
    """

def decode_header(data: Buffer, offset: int = 0) -> Header | None:
    """Read one frame's header in `data` at `offset`.

        header = wsframe.decode_header(received)

    Returns: the Header; None if bytes are missing. Raises ProtocolError: the header is invalid.

    It does not check the role, the negotiated extensions and the order of frames; the Decoder does. So it
    only returns `rsv` and `mask`.
    """

def encode_header(
    opcode: int, length: int, mask: bytes | None = None, fin: bool = True, rsv1: bool = False
) -> bytes:
    """Return the header of a frame; mask and send its payload of `length` bytes separately.

        sock.sendmsg([wsframe.encode_header(Opcode.BINARY, len(image)), image])

    Args:
        opcode, mask, fin, rsv1: as of `encode_frame`.

    Raises the same errors as `encode_frame`.
    """

def encode_frame(
    opcode: int, payload: str | Buffer, mask: bytes | None = None, fin: bool = True, rsv1: bool = False
) -> bytes:
    """Return one whole frame.

        frame = wsframe.encode_frame(Opcode.TEXT, "hello", mask=os.urandom(4))

    Args:
        opcode: one of section 5.2. payload: a str is encoded as UTF-8.
        mask: four new random bytes for a client; None for a server.
        fin: False if more fragments follow. rsv1: True if the payload is compressed.

    Raises ValueError: unknown opcode, wrong length of the mask, or a control frame that section 5.5 forbids.
    """

def encode_message(message: str | Buffer) -> bytes:
    """Return one whole unmasked frame.

        sock.sendall(wsframe.encode_message("hello"))

    Args:
        message: a str is sent as text, any buffer as binary.
    """

@final
class Encoder:
    """Encodes messages to send (RFC 6455 sections 5.2 to 5.4). No lock: use one thread at a time.

        encoder = wsframe.Encoder(Role.CLIENT)
        sock.sendall(encoder.encode("hello"))

    `role` is your own role: a CLIENT masks each frame with four new random bytes of the operating system's,
    which are fetched for 1,024 frames at a time, and anew in a child process.
    Pass `deflate`, a `deflate.MessageDeflate`, if permessage-deflate was negotiated.
    """

    open: bool
    """Whether messages may be encoded; if not, ConnectionClosed is raised. Control frames always may."""

    def __init__(self, role: int, *, deflate: Any = None) -> None: ...
    @property
    def unfinished(self) -> bool:
        """Whether a message in fragments has begun and not ended."""

    def encode(self, message: str | Buffer, compress: bool | None = None) -> bytes:
        """Return the frame of one whole `message`: text for a str, binary for any buffer.

            sock.sendall(connection.encode("hello"))

        `compress` says whether to compress; None uses the threshold. Without permessage-deflate it is
        ignored. Frames must be sent in the order of encoding.

        Raises ConnectionClosed: nothing can be sent any more. RuntimeError: a message in fragments is not
        ended.
        """

    def encode_fragment(self, data: str | Buffer, final: bool, compress: bool | None = None) -> bytes:
        """Return the frame of one piece of a message (section 5.4).

            frames = [encoder.encode_fragment(b"a", False), encoder.encode_fragment(b"b", True)]

        Args:
            data: str of a text message, any buffer of a binary one. final: whether the message ends with it.
            compress: of the first piece, for all: False to send the message uncompressed.

        Raises ConnectionClosed: nothing can be sent any more. TypeError: str and bytes in one message.
        """

    def encode_control(self, opcode: int, payload: Buffer) -> bytes:
        """Return a control frame (section 5.5).

            frame = encoder.encode_control(Opcode.PING, b"")

        Args:
            opcode: CLOSE, PING or PONG. payload: at most 125 bytes.

        Raises ValueError: the opcode is not one of a control frame, or the payload has more than 125 bytes.
        """

@final
class JoinCache:
    """Lets outboxes that are given the same two objects of bytes share one joined copy, up to 4 KiB.

        joins = wsframe.JoinCache()
        outboxes = [wsframe.Outbox(joins=joins) for _ in range(1_000)]

    It remembers the last two pieces that were joined, and belongs to one thread as its outboxes do.
    """

@final
class Outbox:
    """Collects the frames of one connection until they are sent together. No lock: use one thread at a time.

        outbox = wsframe.Outbox()
        outbox.open(65_536, loop.wake, connection)

    It accepts frames only after `open` and before `close`. `send` and `write` return False for data above
    `max_bytes`, and for one piece of 16 KiB (or as many characters) or more, which need not be copied. An
    empty outbox has no buffer.

    Args:
        encodes: whether `send` may be used; it encodes frames without mask and compression.
        joins: what it shares with others that are written the same frames.
    """

    def __init__(self, encodes: bool = True, joins: JoinCache | None = None) -> None: ...
    @property
    def max_bytes(self) -> int:
        """Maximum bytes in the outbox; 0 if it is not open."""

    @max_bytes.setter
    def max_bytes(self, value: int) -> None: ...
    def open(self, max_bytes: int, wake: Callable[[_Whom], object], whom: _Whom) -> None:
        """Accept up to `max_bytes`. Call `wake(whom)` when a frame is added, unless a `take` is expected.

            outbox.open(65_536, loop.wake, connection)

        `close` releases `wake` and `whom`. A frame that does not fit is not accepted.
        """

    def close(self) -> None:
        """Accept nothing from now on. `take` still returns the contents.

            outbox.close()

        The outbox cannot be opened again.
        """

    def __len__(self) -> int:
        """The number of bytes in the outbox."""

    def send(self, message: object) -> bool:
        """Add one whole frame of `message`: text for a str, binary for bytes. Other types are not accepted.

            if not outbox.send("hello"):
                sock.sendall(wsframe.encode_message("hello"))

        Returns: whether it was added. Raises UnicodeEncodeError: the str cannot be encoded as UTF-8.
        """

    def write(self, frames: bytes) -> bool:
        """Add `frames` that are already encoded; they are not checked.

            held = outbox.write(wsframe.encode_message("news"))

        Returns: whether they were added.
        """

    def expect(self) -> bool:
        """Announce that the caller will call `take`, so that no frame calls `wake`.

            if outbox.expect():
                sock.sendall(outbox.take())

        Returns: False if a `take` is already expected.
        """

    def take(self) -> bytes:
        """Return and remove all bytes. The next frame calls `wake` again.

            sock.sendall(outbox.take())

        Returns: the bytes, b"" if there are none.
        """

@final
class Decoder:
    """Parses received bytes into messages (RFC 6455 section 5). No lock: use one thread at a time.

        decoder = wsframe.Decoder(Role.SERVER, max_message_bytes=65_536)
        events = decoder.receive(received)

    `role` is your own role: a SERVER requires masked frames, a CLIENT refuses them (section 5.1).
    `max_message_bytes` limits the bytes of a message, `max_fragments` its frames; more is close code 1009.
    Pass `inflate` if permessage-deflate was negotiated: `inflate(chunk, last, max_bytes)` returns at
    most `max_bytes` of output, or None if the data is corrupt. After exactly `max_bytes` it is called again,
    with None for the chunk.

    With `fragment_bytes`, a message that is not whole when so many of its bytes came is handed out in
    Fragments, each with at least so many bytes but the last; text is cut between characters.
    `max_message_bytes` limits it all the same, and may then be larger than memory.
    """

    def __init__(
        self,
        role: int,
        *,
        max_message_bytes: int = 1_048_576,
        max_fragments: int = 16_384,
        inflate: Callable[[bytes | None, bool, int], bytes | None] | None = None,
        fragment_bytes: int | None = None,
    ) -> None: ...
    @property
    def attention(self) -> bool:
        """Whether the last list has anything besides str and bytes."""

    @property
    def unfinished(self) -> bool:
        """Whether a frame or a message is incomplete."""

    @property
    def failed(self) -> bool:
        """Whether the peer broke the protocol; nothing is parsed after it."""

    def at_rest(self) -> bool:
        """Tell in one call that `attention` and `unfinished` are False and that nothing has ended.

            idle = decoder.at_rest()

        Returns: True for all of these.
        """

    def close(self) -> None:
        """Parse nothing from now on, and release all memory, also that of `receive_buffer`.

            decoder.close()

        Call it when the TCP connection has ended.
        """

    def receive(self, data: Buffer, length: int = -1) -> list[Event]:
        """Parse the first `length` bytes of `data` (all if negative); return what they completed, in order.

            events = decoder.receive(sock.recv(65_536))

        `data` is not kept. If it is the view of `receive_buffer`, this does the same as `buffer_received`. A
        ProtocolError is the last item of the list. Nothing is parsed after a Close frame.

        An internal exception (no memory, an exception of `inflate`) ends the decoder: `failed` is set. What
        came before it in the same bytes is returned first, with `attention`; then the next call raises it.
        """

    def receive_buffer(self) -> memoryview | None:
        """Return a buffer in which to receive the rest of a large payload.

            view = decoder.receive_buffer()
            if view is not None:
                events = decoder.buffer_received(sock.recv_into(view))

        Returns: a view; if it is None, use your own buffer and `receive`.

        The view is writable until the next call. Bytes written later to a kept slice of it are ignored.
        """

    def buffer_received(self, nbytes: int) -> list[Event]:
        """Parse the `nbytes` that you received into the last `receive_buffer`, which is not valid afterwards.

            events = decoder.buffer_received(sock.recv_into(view))

        Returns: as `receive`.
        """
