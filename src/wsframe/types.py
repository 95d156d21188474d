"""The words of RFC 6455 that both cores share: opcodes, close codes, roles, events and refusals.

It must not know how a frame is parsed, nor who sends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple

# Section 5.5: all control frames have a payload of 125 bytes or less.
MAX_CONTROL_PAYLOAD_BYTES = 125
# Section 5.5.1: the first two bytes of that payload are the close code.
MAX_CLOSE_REASON_BYTES = MAX_CONTROL_PAYLOAD_BYTES - 2
# The `websockets` package's default, the smallest of the well-known servers that still carries common use.
DEFAULT_MAX_MESSAGE_BYTES = 1_048_576
# The bound that `ws` arrived at after two advisories on floods of tiny fragments; empty ones count.
DEFAULT_MAX_FRAGMENTS = 16_384


class Opcode(IntEnum):
    """Frame types (sections 5.2 and 11.8). All other values are reserved and refused."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """Close codes of section 7.4.1 and of the IANA registry."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


def may_be_on_the_wire(code: int) -> bool:
    """Section 7.4: whether a close frame may carry this code (1005, 1006 and 1015 are for local use only)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class Role(IntEnum):
    """Your own role. A client masks every frame, a server masks none (section 5.1)."""

    CLIENT = 1
    SERVER = 2


class State(Enum):
    """State of one WebSocket after its opening handshake. `MOVES` has the legal changes."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


# Section 7: what may happen to a connection, and what it is then. "fail" is _Fail the WebSocket Connection_
# (7.1.7); "end" is the TCP connection's end, which answers nothing.
MOVES: dict[tuple[State, str], State] = {
    (State.OPEN, "send close"): State.CLOSING,
    (State.OPEN, "receive close"): State.CLOSED,
    (State.OPEN, "fail"): State.CLOSED,
    (State.OPEN, "end"): State.CLOSED,
    (State.CLOSING, "receive close"): State.CLOSED,
    (State.CLOSING, "fail"): State.CLOSED,
    (State.CLOSING, "end"): State.CLOSED,
    # What was received before the end of TCP and is looked at after it.
    (State.CLOSED, "receive close"): State.CLOSED,
    (State.CLOSED, "fail"): State.CLOSED,
    (State.CLOSED, "end"): State.CLOSED,
}


@dataclass(frozen=True, slots=True)
class Ping:
    """A received ping (section 5.5.2). The pong must repeat `payload`."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A received pong (section 5.5.3). `payload` is that of the ping it answers, if it answers one."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """A received close frame (section 5.5.1). Without a code, `code` is 1005 and `reason` is ""."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a message above `fragment_bytes`, handed out as it came (section 5.4).

    Attributes:
        data: str of a text message, cut between characters; bytes of a binary one. It may be empty.
        final: whether the message ends with it.
    """

    data: str | bytes
    final: bool


class Header(NamedTuple):
    """The header of one frame (section 5.2), as `decode_header` returns it.

    Attributes:
        fin: no fragment follows. rsv: RSV1-3 as a number of three bits. opcode, mask: as received.
        payload_bytes, header_bytes: the number of bytes of payload and header.
    """

    fin: bool
    rsv: int
    opcode: Opcode
    mask: bytes | None
    payload_bytes: int
    header_bytes: int


class ProtocolError(Exception):
    """The peer broke the rule that `message` names. Answer with the close code `code` (section 7.1.7)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code: int = int(code)
        self.message = message

    def __str__(self) -> str:
        return self.message


class MessageTooBig(ProtocolError):
    """A frame or message is above one of our limits (section 10.4). The close code is 1009."""


# What a list of received things holds: messages (str, bytes), control frames, and at its end perhaps a fault.
Event = str | bytes | Fragment | Ping | Pong | Close | ProtocolError


class ConnectionClosed(Exception):
    """Nothing can be sent, because the connection is not open."""


class Fault(Enum):
    """Every refusal of received bytes: close code, section, words. The only map from rule to answer."""

    RESERVED_BITS = (1002, "RFC 6455 section 5.2", "a reserved bit is set and has no agreed meaning")
    RESERVED_OPCODE = (1002, "RFC 6455 section 5.2", "the opcode is reserved")
    LENGTH_NOT_MINIMAL = (1002, "RFC 6455 section 5.2", "the payload length is not in its shortest form")
    LENGTH_TOP_BIT = (1002, "RFC 6455 section 5.2", "the top bit of the 64-bit payload length is set")
    MASK_MISSING = (1002, "RFC 6455 section 5.1", "a frame from a client is not masked")
    MASK_FORBIDDEN = (1002, "RFC 6455 section 5.1", "a frame from a server is masked")
    CONTROL_FRAGMENTED = (1002, "RFC 6455 section 5.5", "a control frame is fragmented")
    CONTROL_TOO_LONG = (1002, "RFC 6455 section 5.5", "a control frame has more than 125 bytes of payload")
    NOTHING_TO_CONTINUE = (1002, "RFC 6455 section 5.4", "a continuation frame without a message to continue")
    MESSAGE_INTERLEAVED = (1002, "RFC 6455 section 5.4", "a new message begins before the last one ended")
    COMPRESSED_CONTROL = (1002, "RFC 7692 section 6.1", "RSV1 is set on a control frame")
    COMPRESSED_CONTINUATION = (1002, "RFC 7692 section 6.1", "RSV1 is set on a continuation frame")
    CLOSE_ONE_BYTE = (1002, "RFC 6455 section 5.5.1", "a close frame has a payload of one byte")
    CLOSE_CODE = (1002, "RFC 6455 section 7.4", "a close frame carries a code that may not be sent")
    CLOSE_REASON_NOT_UTF8 = (1007, "RFC 6455 section 5.5.1", "the reason of a close frame is not UTF-8")
    TEXT_NOT_UTF8 = (1007, "RFC 6455 section 8.1", "a text message is not UTF-8")
    COMPRESSED_DATA = (1007, "RFC 7692 section 7.2.2", "a compressed message cannot be inflated")
    MESSAGE_TOO_BIG = (1009, "RFC 6455 section 10.4", "the message is larger than the limit")
    TOO_MANY_FRAGMENTS = (1009, "RFC 6455 section 10.4", "the message has more fragments than the limit")

    def error(self) -> ProtocolError:
        """A fresh exception for this refusal."""
        code, section, words = self.value
        kind = MessageTooBig if code == CloseCode.MESSAGE_TOO_BIG else ProtocolError
        return kind(code, f"{words} ({section})")
