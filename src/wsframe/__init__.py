"""A WebSocket codec (RFC 6455 and RFC 7692), sans-I/O, for both roles.

It must not import anything outside the standard library, nor open a socket, start a thread or read a clock.

PYTEST_DONT_REWRITE: else pytest warns whoever calls it from a program that has imported this.
"""

from . import deflate, handshake
from ._core import (
    IMPLEMENTATION,
    MASK_IMPLEMENTATION,
    Decoder,
    Encoder,
    JoinCache,
    Outbox,
    apply_mask,
    apply_mask_inplace,
    decode_header,
    encode_frame,
    encode_header,
    encode_message,
)
from .connection import Connection
from .types import (
    Close,
    CloseCode,
    ConnectionClosed,
    Fragment,
    Header,
    MessageTooBig,
    Opcode,
    Ping,
    Pong,
    ProtocolError,
    Role,
    State,
)

__all__ = [
    "IMPLEMENTATION",
    "MASK_IMPLEMENTATION",
    "Close",
    "CloseCode",
    "Connection",
    "ConnectionClosed",
    "Decoder",
    "Encoder",
    "Fragment",
    "Header",
    "JoinCache",
    "MessageTooBig",
    "Opcode",
    "Outbox",
    "Ping",
    "Pong",
    "ProtocolError",
    "Role",
    "State",
    "apply_mask",
    "apply_mask_inplace",
    "decode_header",
    "deflate",
    "encode_frame",
    "encode_header",
    "encode_message",
    "handshake",
]
