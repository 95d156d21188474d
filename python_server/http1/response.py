"""HTTP/1.1 responses (RFC 9110, RFC 9112), sans-I/O: status and fields in, a head and a framing out.

Must not know: sockets, clocks, threads, applications; the date is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum, auto
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from python_server.http1.head import DIGITS, Request

Headers = list[tuple[str, str]]

# Fields that speak of one connection (RFC 9110 7.6.1): the server's own affair (PEP 3333).
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
BAD_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
STATUS_LINE: Final = re.compile(r"[1-5][0-9][0-9]( |\Z)")
# Fields that a head is built by, whoever gives them.
FRAMING_NAMES: Final = frozenset({"connection", "content-length", "date", "server"})
# Applications say the same fields with every answer: those found good are kept with their line. A quarter of
# what an answer costs; values of their own (cookies, entity tags) must not grow the table.
LINES_MAX_COUNT: Final = 1024
LINE_MAX_BYTES: Final = 128
_LINES: dict[tuple[str, str], tuple[str, str]] = {}
_STATUSES: dict[str, int] = {}
STATUSES_MAX_COUNT: Final = 128
LAST_CHUNK: Final = b"0\r\n\r\n"
PLAIN_ON_TLS: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 33\r\nConnection: close\r\n\r\n"
    b"This port speaks TLS: use https.\n"
)
# For a connection over a cap, unasked: nothing of a request has been read.
CROWDED: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 55\r\n"
    b"Retry-After: 1\r\nConnection: close\r\n\r\n"
    b"No room for another connection: try again in a moment.\n"
)
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Framing(Enum):
    """How the end of a response's body is told (RFC 9112 6.3)."""

    NONE = auto()  # no body may follow: HEAD, 1xx, 204, 304
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()


_NONE: Final = Framing.NONE
_LENGTH: Final = Framing.LENGTH


def check_status(status: str) -> None:
    """Refuse a status line that would break the head.

    Raises:
        TypeError: not a str. ValueError: not three digits and a reason, or control characters.
    """
    if type(status) is not str:
        raise TypeError(f"status must be str, not {type(status).__name__}")
    if status in _STATUSES:
        return
    if not STATUS_LINE.match(status) or BAD_VALUE.search(status):
        raise ValueError(
            f"status must be three digits, a space and a reason without control characters: {status!r}"
        )
    if len(_STATUSES) < STATUSES_MAX_COUNT:
        _STATUSES[status] = int(status[:3])


def check_headers(headers: Iterable[tuple[str, str]]) -> int | None:
    """Refuse response fields that would break the head or that belong to the connection (PEP 3333).

    Returns:
        The declared Content-Length, None without one.

    Raises:
        TypeError: a name or value is not str. ValueError: CR, LF or another control character,
        a name that is no token, a value outside latin-1, a hop-by-hop field, or a Content-Length that is
        no number or stands there twice.
    """
    length: int | None = None
    for name, value in headers:
        if type(name) is not str or type(value) is not str:
            raise TypeError(f"header names and values must be str: ({name!r}, {value!r})")
        known = _LINES.get((name, value))
        lowered = known[0] if known is not None else _check_header(name, value)
        if lowered == "content-length":
            if length is not None:
                raise ValueError("Content-Length is given more than once (RFC 9110 8.6)")
            length = int(value)
    return length


def _check_header(name: str, value: str) -> str:
    """The name in lower case of a field found good."""
    if not TOKEN.match(name):
        raise ValueError(f"header name is not a token (RFC 9110 5.6.2): {name!r}")
    if BAD_VALUE.search(value):
        raise ValueError(f"control character in the value of header {name}: {value!r}")
    if not value.isascii():
        value.encode("latin-1")
    lowered = name.lower()
    if lowered in HOP_BY_HOP:
        raise ValueError(f"{name} is a hop-by-hop header, which only the server may send (PEP 3333)")
    if lowered == "content-length" and not DIGITS.match(value):
        raise ValueError(f"Content-Length is not a number (RFC 9110 8.6): {value!r}")
    if len(name) + len(value) <= LINE_MAX_BYTES:
        if len(_LINES) >= LINES_MAX_COUNT:
            _LINES.clear()
        _LINES[name, value] = (lowered, f"{name}: {value}\r\n")
    return lowered


def read_field(text: str) -> tuple[str, str]:
    """("Name", "value") of "Name: value", a field that goes with every answer.

    Raises:
        ValueError: it is none, would break the head, or is one that the server reckons itself.
    """
    name, colon, value = text.partition(":")
    field = name, value.strip(" \t")
    if not colon:
        raise ValueError(f"{text!r} is not a header field: write 'Name: value'")
    if not text.isascii():
        raise ValueError(f"{text!r}: a field is ASCII (RFC 9110 5.5)")
    if _check_header(*field) in ("content-length", "date"):
        raise ValueError(f"{name} is another one with each answer, and the server's own affair")
    return field


@dataclass(frozen=True, slots=True)
class StandingFields:
    """Lines that go with every answer, made once: what the server is, and what its operator wants said.

    Attributes:
        lines: all of them. without_server: for an answer that says itself what the server is.
    """

    lines: str
    without_server: str

    @classmethod
    def of(cls, server: str, texts: Iterable[str] = ()) -> StandingFields:
        """`server`: the value of the Server field unless one of `texts` has it; "" for none."""
        fields = [read_field(text) for text in texts]
        others = "".join(f"{name}: {value}\r\n" for name, value in fields if name.lower() != "server")
        own = "".join(f"{name}: {value}\r\n" for name, value in fields if name.lower() == "server")
        return cls((own or (server and f"Server: {server}\r\n")) + others, others)


def status_text(code: int) -> str:
    """ "404 Not Found" for 404."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return f"{code} Unknown"


@lru_cache(maxsize=1)  # written once a second
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


class DateField:
    """The Date field's value (RFC 9110 5.6.7); `clock` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def now(self) -> str:
        return _date(int(self._clock()))


def response_head(
    request: Request,
    keep_alive: bool,
    status: str,
    headers: Headers,
    body_length: int | None,
    date: str,
    standing: StandingFields,
) -> tuple[bytes, Framing, bool, int]:
    """The head of a final response to a request.

    Args:
        keep_alive: whether the connection may go on. status: "200 OK".
        headers: end-to-end fields; `Connection: close` is obeyed too.
        body_length: bytes that will follow, None when that is not known yet.
        date: value of the Date field, unless `headers` have one. standing: further lines.

    Returns:
        (head, framing of the body, whether the connection may go on, bytes of the body if they are told).
    """
    method, version = request.method, request.version
    code = _STATUSES.get(status) or int(status[:3])
    lines = [f"HTTP/1.1 {status}\r\n"]
    names: dict[str, str] = {}
    for name, value in headers:
        known = _LINES.get((name, value))
        lowered, line = known if known is not None else (name.lower(), f"{name}: {value}\r\n")
        lines.append(line)
        if lowered in FRAMING_NAMES:
            names[lowered] = value
    if "date" not in names:
        lines.append(f"Date: {date}\r\n")
    lines.append(standing.without_server if "server" in names else standing.lines)
    if "close" in names.get("connection", "").lower():
        keep_alive = False
    length = body_length or 0
    if code < 200 or code in (204, 304):
        framing = _NONE
    elif "content-length" in names:
        framing, length = _LENGTH, int(names["content-length"])
    elif body_length is not None:
        lines.append(f"Content-Length: {body_length}\r\n")
        framing = _LENGTH
    elif method == "HEAD":
        framing = _NONE
    elif version >= (1, 1):
        lines.append("Transfer-Encoding: chunked\r\n")
        framing = Framing.CHUNKED
    else:
        framing, keep_alive = Framing.CLOSE, False
    if method == "HEAD":
        framing = _NONE
    if "connection" not in names:
        if not keep_alive:
            lines.append("Connection: close\r\n")
        elif version < (1, 1):
            lines.append("Connection: keep-alive\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1"), framing, keep_alive, length


def chunk(data: bytes | bytearray | memoryview) -> bytes:
    """One chunk of a chunked body (RFC 9112 7.1); nothing for empty data: a zero chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""  # type: ignore[str-format]
