"""What an engine can be told, and the protocol's refusals with their codes.

Must not know: sessions, requests, who reads an option.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from python_server.engineio.cors import AllowedOrigins
from python_server.http1.parser import Request


class EngineError(Enum):
    """The protocol's refusals: (code, message, HTTP status), as the official server gives them."""

    UNKNOWN_TRANSPORT = (0, "Transport unknown", 400)
    UNKNOWN_SID = (1, "Session ID unknown", 400)
    BAD_HANDSHAKE_METHOD = (2, "Bad handshake method", 400)
    BAD_REQUEST = (3, "Bad request", 400)
    FORBIDDEN = (4, "Forbidden", 403)
    UNSUPPORTED_PROTOCOL_VERSION = (5, "Unsupported protocol version", 400)


class EngineRefusal(Exception):
    """A request that is answered so, in words of its own if there are any."""

    def __init__(self, error: EngineError, message: str | None = None) -> None:
        super().__init__(error, message)
        self.error: EngineError = error
        self.message: str | None = message


class Payload:
    """python-engineio's place for the bound of all servers of a process; an engine's own goes before."""

    max_decode_packets: int | None = None


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of an engine, with the official server's defaults."""

    ping_interval_seconds: float = 25.0
    ping_timeout_seconds: float = 20.0
    # A polling body or a WebSocket message.
    max_payload_bytes: int = 1_000_000
    # Packets of one polling body; python-engineio stops at 16, the official server has no bound.
    max_packets_per_payload_count: int | None = None
    # A probed WebSocket must say "5" within this.
    upgrade_timeout_seconds: float = 10.0
    # How long a close packet waits for a poll to fetch it.
    closing_timeout_seconds: float = 30.0
    # Packets waiting for a polling client; a WebSocket's bound is the transport's hard limit.
    max_queued_bytes: int = 16 * 1024 * 1024
    transports: tuple[str, ...] = ("polling", "websocket")
    allow_upgrades: bool = True
    cors_allowed_origins: AllowedOrigins = None
    # None: yes, but not for "*".
    cors_credentials: bool | None = None
    # Polls whose body is at least this long are compressed for clients that accept it.
    http_compression: bool = True
    compression_threshold_bytes: int = 1024
    # The session id as a cookie of the handshake: a name, or a name and attributes (functions are called).
    cookie: str | Mapping[str, object] | None = None
    # Asked with the handshake request on the loop's thread; False or a sentence refuses it (403, code 4).
    allow_request: Callable[[Request], bool | str | None] | None = None
    # Long polling by <script> and form, for browsers of before 2012; every page could ask by it.
    jsonp: bool = True

    def __post_init__(self) -> None:
        limit_count = self.max_packets_per_payload_count
        if limit_count is not None and (type(limit_count) is not int or limit_count < 1):
            raise ValueError(f"max_decode_packets is a number of packets or None, not {limit_count!r}")
