"""permessage-deflate (RFC 7692): its parameters in offers and answers, one connection's compression.

It must not know frames or header fields: parameters come in as pairs, payloads as bytes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ._compressors import NO_MEMORY, Compressor, Decompressor, Libraries, installed
from .types import Role

_libraries = Libraries(installed())
# Which library compresses at levels 1 to 6: "isal" or "zlib_ng" where that package is installed, or "zlib".
DEFLATE_IMPLEMENTATION: Final = _libraries.compressing
# Which one decompresses: "zlib_ng" where that package is installed, or "zlib".
INFLATE_IMPLEMENTATION: Final = _libraries.decompressing
NAME: Final = "permessage-deflate"
# Section 7.2.1: the end of an empty stored block, left out on the wire.
TAIL: Final = b"\x00\x00\xff\xff"
# Section 7.2.3.6: what it leaves of an empty message.
EMPTY: Final = b"\x00"
# The libraries compress raw streams with windows of 2**9 bytes and more only.
SMALLEST_OWN_WINDOW_BITS: Final = 9
# zlib refers to nothing that lies nearer than this to its window's end, so a larger window than this and the
# message changes no byte of the output, but it takes time to prepare.
WINDOW_MARGIN_BYTES: Final = 262
# Blocks with BFINAL set in one message. A sender has one per flush; each costs a new zlib stream, so a
# flood is refused.
MAX_FINAL_BLOCKS: Final = 64
# zlib copies what it did not use of its input each time its output is full: so it gets little at a time.
FEED_BYTES: Final = 16_384

Params = Sequence[tuple[str, str | None]]
_WINDOW_BITS = re.compile(r"[89]|1[0-5]", re.ASCII)


class ParameterError(ValueError):
    """The peer sent parameters that section 7.1 forbids; the message says which."""


@dataclass(frozen=True, slots=True)
class Options:
    """Our options of permessage-deflate: what to negotiate, and how to compress.

        Options(level=1, threshold_bytes=4096)

    By default the server resets its compression window after each message, so that a message for many clients
    is compressed once.

    Attributes:
        server_no_context_takeover, client_no_context_takeover: whether that side resets its window each time.
        server_max_window_bits, client_max_window_bits: 9 to 15, the window's size as a power of two.
        level: zlib's; what another library has for it has about the same size. memory_level: zlib's.
        threshold_bytes: messages with fewer bytes are not compressed.
    """

    server_no_context_takeover: bool = True
    client_no_context_takeover: bool = False
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15
    level: int = 6  # zlib's own default
    memory_level: int = 8  # zlib's own default
    threshold_bytes: int = 1024  # the `ws` package's: a smaller message gains less than its compression costs

    def __post_init__(self) -> None:
        for name in ("server_max_window_bits", "client_max_window_bits"):
            if not SMALLEST_OWN_WINDOW_BITS <= getattr(self, name) <= 15:
                raise ValueError(f"{name} must be 9 to 15")
        if not -1 <= self.level <= 9:
            raise ValueError("level must be -1 to 9")
        if not 1 <= self.memory_level <= 9:
            raise ValueError("memory_level must be 1 to 9")
        if self.threshold_bytes < 0:
            raise ValueError("threshold_bytes must not be negative")


@dataclass(frozen=True, slots=True)
class Agreement:
    """The negotiated parameters (section 7.1); the functions of the handshake create it.

        Connection(Role.SERVER, deflate=Agreement())

    Attributes:
        server_no_context_takeover, client_no_context_takeover: as of Options.
        server_max_window_bits, client_max_window_bits: as of Options. options: how we compress.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = 15
    client_max_window_bits: int = 15
    options: Options = Options()


def _parsed(params: Params) -> dict[str, int | None]:
    """Names and window bits, or ParameterError. client_max_window_bits without a value is None (section
    7.1.2.2).
    """
    found: dict[str, int | None] = {}
    for name, value in params:
        if name in found:
            raise ParameterError(f"{name} is repeated (RFC 7692 section 7.1)")
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if value is not None:
                raise ParameterError(f"{name} takes no value (RFC 7692 section 7.1.1)")
            found[name] = None
        elif name in ("server_max_window_bits", "client_max_window_bits"):
            if value is None and name == "client_max_window_bits":
                found[name] = None
            elif value is None or not _WINDOW_BITS.fullmatch(value):
                raise ParameterError(f"{name} must be 8 to 15 (RFC 7692 section 7.1.2)")
            else:
                found[name] = int(value)
        else:
            raise ParameterError(f"{name} is not a parameter of {NAME} (RFC 7692 section 7)")
    return found


def answer(offers: Iterable[Params], options: Options) -> tuple[str, Agreement] | None:
    """Answer the first of the client's `offers` that is possible with `options`.

        word, agreement = answer([[("client_max_window_bits", None)]], Options())

    Returns: the element of Sec-WebSocket-Extensions and the agreement; None for no compression.
    """
    for params in offers:
        try:
            offer = _parsed(params)
        except ParameterError:
            continue  # section 7.1: the server declines such an offer
        server_bits = min(offer.get("server_max_window_bits") or 15, options.server_max_window_bits)
        if server_bits < SMALLEST_OWN_WINDOW_BITS:
            continue
        client_bits = 15
        if "client_max_window_bits" in offer:
            client_bits = min(offer["client_max_window_bits"] or 15, options.client_max_window_bits)
        agreed = Agreement(
            options.server_no_context_takeover or "server_no_context_takeover" in offer,
            options.client_no_context_takeover or "client_no_context_takeover" in offer,
            server_bits,
            client_bits,
            options,
        )
        words = [NAME]
        if agreed.server_no_context_takeover:
            words.append("server_no_context_takeover")
        if agreed.client_no_context_takeover:
            words.append("client_no_context_takeover")
        if server_bits < 15 or "server_max_window_bits" in offer:
            words.append(f"server_max_window_bits={server_bits}")
        if client_bits < 15:
            words.append(f"client_max_window_bits={client_bits}")
        return "; ".join(words), agreed
    return None


def offer(options: Options) -> str:
    """Write the client's offer.

        word = offer(Options())

    Returns: `options` as an element of Sec-WebSocket-Extensions.
    """
    words = [NAME]
    if options.server_no_context_takeover:
        words.append("server_no_context_takeover")
    if options.client_no_context_takeover:
        words.append("client_no_context_takeover")
    if options.server_max_window_bits < 15:
        words.append(f"server_max_window_bits={options.server_max_window_bits}")
    bits = options.client_max_window_bits
    words.append("client_max_window_bits" if bits == 15 else f"client_max_window_bits={bits}")
    return "; ".join(words)


def agree(params: Params, options: Options) -> Agreement:
    """Read the server's answer, `params`, to the client's offer of `options`.

        agreement = agree([("server_no_context_takeover", None)], Options())

    Returns: the agreement. Raises ParameterError: the client must close the connection.
    """
    response = _parsed(params)
    if options.server_no_context_takeover and "server_no_context_takeover" not in response:
        raise ParameterError("server_no_context_takeover was not granted (RFC 7692 section 7.1.1.1)")
    server_bits = response.get("server_max_window_bits") or 15
    if server_bits > options.server_max_window_bits:
        raise ParameterError("server_max_window_bits is larger than was asked for (RFC 7692 section 7.1.2.1)")
    client_bits = 15
    if "client_max_window_bits" in response:
        granted = response["client_max_window_bits"]
        if granted is None:
            raise ParameterError("client_max_window_bits lacks its value (RFC 7692 section 7.1.2.2)")
        client_bits = granted
    return Agreement(
        "server_no_context_takeover" in response,
        options.client_no_context_takeover or "client_no_context_takeover" in response,
        server_bits,
        min(client_bits, options.client_max_window_bits),
        options,
    )


def compress(data: bytes, window_bits: int = 15, level: int = 6, memory_level: int = 8) -> bytes:
    """Compress one message without context (section 7.2.1): the same bytes for every peer with this window.

        payload = compress(b"hello")

    Args:
        data: the message. window_bits, level, memory_level: as of Options.

    Returns: the payload of a frame with RSV1.
    """
    window_bits = min(
        window_bits, max(SMALLEST_OWN_WINDOW_BITS, (len(data) + WINDOW_MARGIN_BYTES).bit_length())
    )
    return _flushed(_libraries.compressor(level, window_bits, memory_level), data)


def _flushed(compressor: Compressor, data: bytes) -> bytes:
    if not data:
        return EMPTY  # of each library in its own form, if at all
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _pieces(chunk: bytes, last: bool) -> list[bytes | memoryview]:
    """A chunk as inflate takes it; the tail that the wire left out (section 7.2.2) follows the last one."""
    pieces: list[bytes | memoryview] = [memoryview(chunk)] if chunk else []
    return [*pieces, TAIL] if last else pieces


class MessageDeflate:
    """The two directions of one connection: `deflate` for whole messages sent, `inflate` for the Decoder.

        packed = MessageDeflate(agreement, Role.CLIENT)

    Args:
        agreement: the one of the handshake. role: your own role.

    Attributes:
        possible: whether messages can be compressed: False if zlib does not support the agreed window.
    """

    __slots__ = (
        "_compressor", "_feed", "_final_blocks", "_inflater", "_keep_own", "_keep_peer",
        "_options", "_own_bits", "_peer_bits", "possible",
    )  # fmt: skip

    def __init__(self, agreement: Agreement, role: Role) -> None:
        self._options = agreement.options
        server = (agreement.server_no_context_takeover, agreement.server_max_window_bits)
        client = (agreement.client_no_context_takeover, agreement.client_max_window_bits)
        (forget_own, self._own_bits), (forget_peer, bits) = (
            (server, client) if role is Role.SERVER else (client, server)
        )
        # Asked for with every message, where a property takes three times as long.
        self.possible: bool = self._own_bits >= SMALLEST_OWN_WINDOW_BITS
        self._keep_own = not forget_own
        self._keep_peer = not forget_peer
        # A larger window than the peer's reads the same stream; zlib variants differ over raw windows of
        # 2**8.
        self._peer_bits = max(bits, SMALLEST_OWN_WINDOW_BITS)
        self._compressor: Compressor | None = None
        self._inflater: Decompressor | None = None
        self._feed: list[bytes | memoryview] = []  # input that waits for the caller to make room
        self._final_blocks = 0  # of the message under way

    def wanted(self, payload_bytes: int) -> bool:
        """Tell whether to compress a message of `payload_bytes`.

            rsv1 = packed.wanted(len(data))

        Returns: False for fewer bytes than the threshold, and if zlib does not support the agreed window.
        """
        return payload_bytes >= self._options.threshold_bytes and self.possible

    def deflate(self, data: bytes) -> bytes:
        """Compress one whole message, `data` (section 7.2.1).

            frame = encode_frame(Opcode.TEXT, packed.deflate(data), rsv1=True)

        Returns: the payload.
        """
        if not self._keep_own:
            options = self._options
            return compress(data, self._own_bits, options.level, options.memory_level)
        return _flushed(self._kept_compressor(), data)

    def deflate_fragment(self, data: bytes, last: bool) -> bytes:
        """Compress one fragment, `data`, of a message that is sent in several (section 7.2.1).

            frame = encode_frame(Opcode.TEXT, packed.deflate_fragment(data, False), fin=False, rsv1=True)

        Args:
            last: whether the message ends with it.

        Returns: the payload, which the peer can inflate as soon as it has it.
        """
        compressor = self._kept_compressor()
        if not last:
            return compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        if not self._keep_own:
            self._compressor = None
        return _flushed(compressor, data)

    def _kept_compressor(self) -> Compressor:
        if self._compressor is None:
            options = self._options
            self._compressor = _libraries.compressor(options.level, self._own_bits, options.memory_level)
        return self._compressor

    def begin_anew(self) -> None:
        """Reset the window after a message that was compressed but could not be sent (section 7.1.1).

            packed.begin_anew()

        The next message then does not refer to it.
        """
        self._compressor = None

    def close(self) -> None:
        """Release both windows, up to 300 KiB, and what was not decompressed yet: nothing more is received.

            packed.close()

        A message sent after it does not refer to one before.
        """
        self._compressor = self._inflater = None
        self._feed = []

    def inflate(self, chunk: bytes | None, last: bool, max_bytes: int) -> bytes | None:
        """Decompress at most `max_bytes` more of the current message (section 7.2.2).

            decoder = Decoder(Role.SERVER, inflate=packed.inflate)

        Returns: the bytes; None if `chunk` is corrupt. Raises MemoryError: zlib has no memory.

        If the result has exactly max_bytes, call it again with None for the chunk. `last` says that this is
        the last chunk of the message.
        """
        inflater = self._inflater
        if inflater is None:
            inflater = self._inflater = _libraries.decompressor(self._peer_bits)
        try:
            if chunk is not None and last and len(chunk) <= FEED_BYTES:  # nearly every message is one such
                piece: bytes | memoryview = chunk + TAIL
                out: bytes | None = (first := inflater.decompress(piece, max_bytes))
                if len(first) == max_bytes or inflater.eof:
                    self._feed = [piece]
                    out = self._continued(inflater, first, piece, max_bytes)
            else:
                if chunk is not None:
                    self._feed = _pieces(chunk, last)
                piece = self._feed[0][:FEED_BYTES] if self._feed else b""
                out = self._continued(inflater, inflater.decompress(piece, max_bytes), piece, max_bytes)
        except _libraries.error as error:
            if str(error).startswith(NO_MEMORY):
                raise MemoryError(str(error)) from error
            return None
        if last and out is not None and len(out) < max_bytes:
            self._final_blocks = 0
            if not self._keep_peer:
                self._inflater = None
        return out

    def _continued(
        self, inflater: Decompressor, out: bytes, piece: bytes | memoryview, max_bytes: int
    ) -> bytes | None:
        """`out` came of `piece`, the first of the feed or a part of it: add what comes of the rest.

        Section 7.2.3.4: BFINAL ends zlib's stream, not the message. The next stream begins with an empty
        window, as its sender's does.
        """
        while True:
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if inflater.eof:
                if self._final_blocks == MAX_FINAL_BLOCKS:
                    return None
                self._final_blocks += 1
                inflater = self._inflater = _libraries.decompressor(self._peer_bits)
            self._used(len(piece) - len(rest))
            if not self._feed or len(out) == max_bytes:
                return out
            piece = self._feed[0][:FEED_BYTES]
            out += inflater.decompress(piece, max_bytes - len(out))

    def _used(self, nbytes: int) -> None:
        if self._feed:
            self._feed[0] = self._feed[0][nbytes:]
            if not self._feed[0]:
                del self._feed[0]
