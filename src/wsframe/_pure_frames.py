"""The plain core's frames: masking, headers in and out, whole frames out, UTF-8 as it arrives.

It must not know a role, a message, or anything that lasts longer than one call, but for the UTF-8 validator.
"""

from __future__ import annotations

from operator import index

from .types import MAX_CONTROL_PAYLOAD_BYTES, Fault, Header, Opcode

Buffer = bytes | bytearray | memoryview

OPCODES = frozenset(Opcode)

FIN = 0x80
RSV1 = 0x40
RSV2_AND_RSV3 = 0x30
OPCODE = 0x0F
MASKED = 0x80
SHORT_LENGTH = 0x7F


# --- masking (section 5.3) ------------------------------------------------------------------------


def apply_mask(data: Buffer, mask: bytes) -> bytes:
    """Return data XOR mask (section 5.3)."""
    return xor(memoryview(data).cast("B"), _checked_mask(mask), 0)


def apply_mask_inplace(buffer: bytearray | memoryview, mask: bytes, offset: int = 0) -> None:
    """XOR a writable buffer with mask; `offset` is the place of its first byte in the payload."""
    if offset < 0:
        raise ValueError("offset must not be negative")
    _checked_mask(mask)
    with memoryview(buffer) as whole, whole.cast("B") as view:
        if view.readonly:
            raise BufferError("buffer must be writable")
        view[:] = xor(view, mask, offset)


def _checked_mask(mask: bytes) -> bytes:
    if type(mask) is not bytes:
        raise TypeError(f"mask must be bytes, not {type(mask).__name__}")
    if len(mask) != 4:
        raise ValueError(f"mask must be 4 bytes, not {len(mask)}")
    return mask


def xor(data: Buffer, mask: bytes, offset: int) -> bytes:
    """Two large integers XOR-ed: j = i MOD 4 (section 5.3).

    A last byte of 1 keeps the result large. CPython 3.14 would keep the memory of a large one that came out
    small (zeros were masked) and give it to the next small integer, for as long as that one is held.
    """
    length = len(data)
    turned = mask[offset % 4 :] + mask[: offset % 4]
    repeated = turned * (length // 4) + turned[: length % 4] + b"\1"
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")
    return mixed.to_bytes(length + 1, "little")[:length]


# --- encoding (section 5.2) -----------------------------------------------------------------------


def encode_header(
    opcode: int, length: int, mask: bytes | None = None, fin: bool = True, rsv1: bool = False
) -> bytes:
    """Return the header of a frame whose payload of `length` bytes the caller sends (and masks) apart."""
    if not 0 <= index(length) < 1 << 63:
        raise ValueError("length must not be negative, and below 2**63 (RFC 6455 section 5.2)")
    if index(opcode) not in OPCODES:
        raise ValueError(f"opcode {opcode} is not defined by RFC 6455 section 5.2")
    if opcode >= Opcode.CLOSE:
        if length > MAX_CONTROL_PAYLOAD_BYTES:
            raise ValueError("payload of a control frame must be 125 bytes or less (RFC 6455 section 5.5)")
        if not fin:
            raise ValueError("fin must be set on a control frame (RFC 6455 section 5.5)")
        if rsv1:
            raise ValueError("rsv1 must not be set on a control frame (RFC 7692 section 6.1)")
    elif opcode == Opcode.CONTINUATION and rsv1:
        raise ValueError("rsv1 must not be set on a continuation frame (RFC 7692 section 6.1)")
    first = (FIN if fin else 0) | (RSV1 if rsv1 else 0) | opcode
    masked = 0 if mask is None else MASKED
    if length < 126:
        header = bytes((first, masked | length))
    elif length < 65536:
        header = bytes((first, masked | 126)) + length.to_bytes(2, "big")
    else:
        header = bytes((first, masked | 127)) + length.to_bytes(8, "big")
    return header if mask is None else header + _checked_mask(mask)


def encode_frame(
    opcode: int, payload: str | Buffer, mask: bytes | None = None, fin: bool = True, rsv1: bool = False
) -> bytes:
    """Return one whole frame; a str payload is sent as UTF-8."""
    data = payload.encode() if isinstance(payload, str) else bytes(memoryview(payload))
    header = encode_header(opcode, len(data), mask, fin, rsv1)
    return header + (data if mask is None else xor(data, mask, 0))


def encode_message(message: str | Buffer) -> bytes:
    """Return one whole unmasked frame: text for str, binary for any buffer."""
    return encode_frame(Opcode.TEXT if isinstance(message, str) else Opcode.BINARY, message)


# --- headers received (section 5.2) ---------------------------------------------------------------


def header_bytes(second: int) -> int:
    extended = {126: 2, 127: 8}.get(second & SHORT_LENGTH, 0)
    return 2 + extended + (4 if second & MASKED else 0)


def payload_bytes(header: Buffer) -> int:
    short_length = header[1] & SHORT_LENGTH
    if short_length < 126:
        return short_length
    return int.from_bytes(header[2 : 4 if short_length == 126 else 10], "big")


def check_form(first: int, second: int) -> Fault | None:
    """The refusals of the first two bytes that need neither role nor state."""
    if first & OPCODE not in OPCODES:
        return Fault.RESERVED_OPCODE
    if first & OPCODE >= Opcode.CLOSE:
        if not first & FIN:
            return Fault.CONTROL_FRAGMENTED
        if second & SHORT_LENGTH > MAX_CONTROL_PAYLOAD_BYTES:
            return Fault.CONTROL_TOO_LONG
    return None


def check_length(second: int, length: int) -> Fault | None:
    short_length = second & SHORT_LENGTH
    if length >> 63:
        return Fault.LENGTH_TOP_BIT
    if (short_length == 126 and length < 126) or (short_length == 127 and length < 65536):
        return Fault.LENGTH_NOT_MINIMAL
    return None


def decode_header(data: Buffer, offset: int = 0) -> Header | None:
    """Read one frame's header at `offset`; None when bytes are missing, ProtocolError when its form is
    refused.
    """
    view = memoryview(data).cast("B")
    if offset < 0 or offset > len(view):
        raise ValueError(f"offset {offset} is outside the data of {len(view)} bytes")
    header = bytes(view[offset : offset + 14])
    if len(header) < 2:
        return None
    fault = check_form(header[0], header[1])
    if fault is not None:
        raise fault.error()
    size = header_bytes(header[1])
    if len(header) < size:
        return None
    length = payload_bytes(header)
    fault = check_length(header[1], length)
    if fault is not None:
        raise fault.error()
    mask = header[size - 4 : size] if header[1] & MASKED else None
    return Header(bool(header[0] & FIN), header[0] >> 4 & 7, Opcode(header[0] & OPCODE), mask, length, size)


# --- UTF-8 as it arrives (section 8.1) --------------------------------------------------------------

# RFC 3629 section 4: first byte -> (continuation bytes to follow, lowest and highest value of the next).
_FIRST_BYTES = {
    **dict.fromkeys(range(0xC2, 0xE0), (1, 0x80, 0xBF)),
    **dict.fromkeys(range(0xE0, 0xF0), (2, 0x80, 0xBF)),
    **dict.fromkeys(range(0xF0, 0xF5), (3, 0x80, 0xBF)),
    0xE0: (2, 0xA0, 0xBF),
    0xED: (2, 0x80, 0x9F),
    0xF0: (3, 0x90, 0xBF),
    0xF4: (3, 0x80, 0x8F),
}


class Utf8:
    """Refuses at the first byte that no valid text can hold; the standard library's decoder waits longer."""

    def __init__(self) -> None:
        self.missing = 0
        self.came = 0  # bytes of a character whose others are missing
        self._lowest = self._highest = 0

    def accepts(self, data: bytes) -> bool:
        if not self.missing and data.isascii():
            return True
        for byte in data:
            if self.missing:
                if not self._lowest <= byte <= self._highest:
                    return False
                self.missing, self._lowest, self._highest = self.missing - 1, 0x80, 0xBF
                self.came = self.came + 1 if self.missing else 0
            elif byte >= 0x80:
                if byte not in _FIRST_BYTES:
                    return False
                self.missing, self._lowest, self._highest = _FIRST_BYTES[byte]
                self.came = 1
        return True
