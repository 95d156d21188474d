"""What the client raises, in the words of `websockets.exceptions` where they mean the same.

It must not know how anything is received or sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..types import Close, CloseCode
from ..types import ConnectionClosed as NothingCanBeSent

# websockets': the peer went away as it should.
OK_CODES = frozenset({CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD})


class WebSocketException(Exception):
    """Everything that the client raises by itself, but TimeoutError, OSError and wrong arguments."""


class ConnectionClosed(WebSocketException, NothingCanBeSent):
    """The connection is closed; `rcvd` and `sent` are the close frames, or None without one.

    Attributes:
        rcvd, sent: their `code` and `reason`. rcvd_then_sent: their order; None unless both are there.
    """

    def __init__(self, rcvd: Close | None, sent: Close | None, rcvd_then_sent: bool | None = None) -> None:
        super().__init__(rcvd, sent, rcvd_then_sent)
        self.rcvd = rcvd
        self.sent = sent
        self.rcvd_then_sent = rcvd_then_sent

    def __str__(self) -> str:
        words = [
            f"{verb} {_words(close)}"
            for verb, close in (("received", self.rcvd), ("sent", self.sent))
            if close
        ]
        if not self.rcvd_then_sent:
            words.reverse()
        if self.rcvd is None:
            words.append("no close frame received")
        return "; then ".join(words) if self.rcvd and self.sent else "; ".join(words)

    @property
    def code(self) -> int:
        """What was received; 1006 without a close frame (RFC 6455 section 7.1.5)."""
        return CloseCode.ABNORMAL_CLOSURE if self.rcvd is None else self.rcvd.code

    @property
    def reason(self) -> str:
        """What was received."""
        return "" if self.rcvd is None else self.rcvd.reason


class ConnectionClosedOK(ConnectionClosed):
    """Close frames went both ways, with code 1000, 1001 or none."""


class ConnectionClosedError(ConnectionClosed):
    """Another code was received or sent, or the closing handshake is not whole."""


class ConcurrencyError(WebSocketException, RuntimeError):
    """Another thread is in the middle of a message of several fragments."""


class InvalidURI(WebSocketException):
    """The `uri` is not that of a WebSocket; `msg` says why."""

    def __init__(self, uri: str, msg: str) -> None:
        super().__init__(uri, msg)
        self.uri = uri
        self.msg = msg

    def __str__(self) -> str:
        return f"{self.uri} isn't a valid URI: {self.msg}"


class InvalidHandshake(WebSocketException):
    """The server's answer to the opening handshake does not fit what was asked."""


class InvalidMessage(InvalidHandshake):
    """The server's answer is not HTTP, too long, or ends too early."""


class InvalidStatus(InvalidHandshake):
    """The server answered with the `response`, and not with 101; redirects are not followed."""

    def __init__(self, response: HandshakeResponse) -> None:
        super().__init__(response)
        self.response = response

    def __str__(self) -> str:
        words = f"HTTP {self.response.status_code} {self.response.reason_phrase}".rstrip()
        location = self.response.headers.get("Location")
        more = "" if location is None else f", Location: {location}"
        return f"server rejected WebSocket connection: {words}{more}"


class HandshakeHeaders(Mapping[str, str]):
    """Header fields by their name in any case; what stands there twice is joined with commas."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def get_all(self, name: str) -> list[str]:
        """Each value of a field."""
        return [value for other, value in self.pairs if other.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.pairs))

    def __len__(self) -> int:
        return len(dict(self.pairs))


class HandshakeResponse(NamedTuple):
    """The server's answer; `body` is what came together with the head of a refusal."""

    status_code: int
    reason_phrase: str
    headers: HandshakeHeaders
    body: bytes = b""


def _words(close: Close) -> str:
    return f"{close.code} {close.reason}".rstrip()
