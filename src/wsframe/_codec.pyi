"""The compiled core's interface; a test holds it against the build with stubtest.

It must not promise what `_pure.py` does not: both cores have these names.
"""

from collections.abc import Callable
from typing import Final, TypeVar, final

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
        offset: the place of the buffer's first byte in the payload.

    Raises ValueError: the mask has another length, or the offset is negative.
    """

def decode_header(data: Buffer, offset: int = 0) -> Header | None:
    """Read one frame's header in `data` at `offset`.

        header = wsframe.decode_header(received)

    Returns: the Header; None when bytes are missing. Raises ProtocolError: its form is refused.

    Role, negotiated extensions and the order of frames are the Decoder's to judge, so `rsv` and `mask` are
    only told.
    """

def encode_header(
    opcode: int, length: int, mask: bytes | None = None, fin: bool = True, rsv1: bool = False
) -> bytes:
    """Return the header of a frame whose payload of `length` bytes the caller sends (and masks) apart.

        sock.sendmsg([wsframe.encode_header(Opcode.BINARY, len(image)), image])

    Args:
        opcode, mask, fin, rsv1: as of `encode_frame`.

    Raises what `encode_frame` does.
    """

def encode_frame(
    opcode: int, payload: str | Buffer, mask: bytes | None = None, fin: bool = True, rsv1: bool = False
) -> bytes:
    """Return one whole frame.

        frame = wsframe.encode_frame(Opcode.TEXT, "hello", mask=os.urandom(4))

    Args:
        opcode: of section 5.2. payload: a str is sent as UTF-8.
        mask: four fresh random bytes of a client; None of a server.
        fin: False: further fragments follow. rsv1: True: the payload is compressed.

    Raises ValueError: no such opcode, a mask of another length, or what section 5.5 forbids a control frame.
    """

def encode_message(message: str | Buffer) -> bytes:
    """Return one whole unmasked frame.

        sock.sendall(wsframe.encode_message("hello"))

    Args:
        message: text for str, binary for any buffer.
    """

@final
class Outbox:
    """Frames out of one connection, kept together until they are taken. One owner, no lock.

        outbox = wsframe.Outbox()
        outbox.open(65_536, loop.wake, connection)

    It takes nothing until it is opened and nothing after it was closed. It declines, by returning False, what
    would pass `max_bytes`, and 16 KiB (so many characters) or more in one piece, which its caller need not
    copy. An empty one owns no buffer.

    Args:
        encodes: whether `send` may be used: frames go unmasked and uncompressed.
    """

    def __init__(self, encodes: bool = True) -> None: ...
    @property
    def max_bytes(self) -> int:
        """How much it may hold; 0 when it is not open."""

    @max_bytes.setter
    def max_bytes(self, value: int) -> None: ...
    def open(self, max_bytes: int, wake: Callable[[_Whom], object], whom: _Whom) -> None:
        """Hold up to `max_bytes`; call `wake(whom)` when something comes and nobody is going to take it.

            outbox.open(65_536, loop.wake, connection)

        `wake` and `whom` are let go of by `close`. A frame that does not fit is declined.
        """

    def close(self) -> None:
        """Decline everything from now on; what is held can still be taken.

            outbox.close()

        It cannot be opened again.
        """

    def __len__(self) -> int:
        """The bytes held."""

    def send(self, message: object) -> bool:
        """Hold one whole frame of `message`: text for a str, binary for bytes; decline any other type.

            if not outbox.send("hello"):
                sock.sendall(wsframe.encode_message("hello"))

        Returns: whether it is held. Raises UnicodeEncodeError for a str that has no UTF-8.
        """

    def write(self, frames: bytes) -> bool:
        """Hold `frames` that were encoded before; they are not looked at.

            held = outbox.write(wsframe.encode_message("news"))

        Returns: whether they are held.
        Outboxes that hold the same objects, up to 4 KiB, hold them joined once for all.
        """

    def expect(self) -> bool:
        """Say that the caller is going to take by himself.

            if outbox.expect():
                sock.sendall(outbox.take())

        Returns: False when somebody else is going to already.
        """

    def take(self) -> bytes:
        """Take all of it; the outbox is empty then, and the next frame wakes again.

            sock.sendall(outbox.take())

        Returns: the bytes, b"" when there are none.
        """

@final
class Decoder:
    """Bytes received in, messages out (RFC 6455 section 5). One owner, no lock.

        decoder = wsframe.Decoder(Role.SERVER, max_message_bytes=65_536)
        events = decoder.receive(received)

    `role` is the role we play: a SERVER demands masked frames, a CLIENT refuses them (section 5.1).
    `max_message_bytes` bounds the bytes of a message, `max_fragments` its frames: close code 1009 above.
    `inflate` is given when permessage-deflate was negotiated: `inflate(chunk, last, max_bytes)` returns at
    most `max_bytes` of output, or None when the data is corrupt; after exactly `max_bytes` it is asked for
    more with None for the chunk.
    """

    def __init__(
        self,
        role: int,
        *,
        max_message_bytes: int = 1_048_576,
        max_fragments: int = 16_384,
        inflate: Callable[[bytes | None, bool, int], bytes | None] | None = None,
    ) -> None: ...
    @property
    def attention(self) -> bool:
        """Whether the last list holds anything but str and bytes."""

    @property
    def unfinished(self) -> bool:
        """Whether a frame or a message is under way."""

    @property
    def failed(self) -> bool:
        """Whether a fault was found; nothing is parsed after it."""

    def at_rest(self) -> bool:
        """Whether no `attention` is needed, nothing is `unfinished` and nothing has ended, in one call.

            idle = decoder.at_rest()

        Returns: True for all of these.
        """

    def close(self) -> None:
        """Parse nothing from now on and let go of what is held, a loan as well.

            decoder.close()

        For the end of the TCP connection.
        """

    def receive(self, data: Buffer, length: int = -1) -> list[Event]:
        """Take the first `length` bytes of `data` (all when negative); return what they completed, in order.

            events = decoder.receive(sock.recv(65_536))

        `data` is not kept; where it is what `receive_buffer` lent, this is `buffer_received`. A ProtocolError
        is the list's last element, and a Close frame's follower is not parsed.

        An exception of ours (no memory, a fault of `inflate`) ends the decoder: `failed`. What came before it
        in the same bytes is returned first, with `attention`; then the next call raises it.
        """

    def receive_buffer(self) -> memoryview | None:
        """Where to receive the rest of a large payload.

            view = decoder.receive_buffer()
            if view is not None:
                events = decoder.buffer_received(sock.recv_into(view))

        Returns: a view; None: use a buffer of your own and `receive`.

        It is writable until the next call. What is kept of it, a slice, is not part of the message then.
        """

    def buffer_received(self, nbytes: int) -> list[Event]:
        """Tell that `nbytes` were put into the last `receive_buffer`, which is not valid any more.

            events = decoder.buffer_received(sock.recv_into(view))

        Returns: as `receive`.
        """
