"""HTTP/1.1 responses (RFC 9110, RFC 9112), sans-I/O: status and fields in, a head and a framing out.

Must not know: sockets, clocks, threads, applications; the date is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import formatdate
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

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
LENGTH: Final = re.compile(r"[0-9]{1,19}\Z")
STATUS_LINE: Final = re.compile(r"[1-5][0-9][0-9]( |\Z)")
LAST_CHUNK: Final = b"0\r\n\r\n"
PLAIN_ON_TLS: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 33\r\nConnection: close\r\n\r\n"
    b"This port speaks TLS: use https.\n"
)
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Framing(Enum):
    """How the end of a response's body is told (RFC 9112 6.3)."""

    NONE = auto()  # no body may follow: HEAD, 1xx, 204, 304
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()


def check_status(status: str) -> None:
    """Refuse a status line that would break the head.

    Raises:
        TypeError: not a str. ValueError: not three digits and a reason, or control characters.
    """
    if type(status) is not str:
        raise TypeError(f"status must be str, not {type(status).__name__}")
    if not STATUS_LINE.match(status) or BAD_VALUE.search(status):
        raise ValueError(
            f"status must be three digits, a space and a reason without control characters: {status!r}"
        )


def check_headers(headers: Iterable[tuple[str, str]]) -> None:
    """Refuse response fields that would break the head or that belong to the connection (PEP 3333).

    Raises:
        TypeError: a name or value is not str. ValueError: CR, LF or another control character,
        a name that is no token, a value outside latin-1, a hop-by-hop field, or a Content-Length that is
        no number or stands there twice.
    """
    lengths_count = 0
    for name, value in headers:
        if type(name) is not str or type(value) is not str:
            raise TypeError(f"header names and values must be str: ({name!r}, {value!r})")
        if not TOKEN.match(name):
            raise ValueError(f"header name is not a token (RFC 9110 5.6.2): {name!r}")
        if BAD_VALUE.search(value):
            raise ValueError(f"control character in the value of header {name}: {value!r}")
        if not value.isascii():
            value.encode("latin-1")
        lowered = name.lower()
        if lowered in HOP_BY_HOP:
            raise ValueError(f"{name} is a hop-by-hop header, which only the server may send (PEP 3333)")
        if lowered == "content-length":
            if not LENGTH.match(value):
                raise ValueError(f"Content-Length is not a number (RFC 9110 8.6): {value!r}")
            lengths_count += 1
    if lengths_count > 1:
        raise ValueError("Content-Length is given more than once (RFC 9110 8.6)")


def status_text(code: int) -> str:
    """ "404 Not Found" for 404."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return f"{code} Unknown"


def http_date(now_epoch_seconds: float) -> str:
    """An IMF-fixdate (RFC 9110 5.6.7)."""
    return formatdate(now_epoch_seconds, usegmt=True)


def response_head(
    method: str,
    version: tuple[int, int],
    keep_alive: bool,
    status: str,
    headers: Headers,
    body_length: int | None,
    date: str,
    server: str,
) -> tuple[bytes, Framing, bool]:
    """The head of a final response.

    Args:
        method, version, keep_alive: of the request.
        status: "200 OK". headers: end-to-end fields; `Connection: close` is obeyed too.
        body_length: bytes that will follow, None when that is not known yet.
        date, server: default values of the Date and Server fields.

    Returns:
        (head, framing of the body, whether the connection may go on).
    """
    code = int(status[:3])
    names = {name.lower(): value for name, value in headers}
    lines = [f"HTTP/1.1 {status}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers]
    if "date" not in names:
        lines.append(f"Date: {date}\r\n")
    if "server" not in names and server:
        lines.append(f"Server: {server}\r\n")
    if "close" in names.get("connection", "").lower():
        keep_alive = False
    bodiless = code < 200 or code in (204, 304)
    if bodiless:
        framing = Framing.NONE
    elif "content-length" in names:
        framing = Framing.LENGTH
    elif body_length is not None:
        lines.append(f"Content-Length: {body_length}\r\n")
        framing = Framing.LENGTH
    elif method == "HEAD":
        framing = Framing.NONE
    elif version >= (1, 1):
        lines.append("Transfer-Encoding: chunked\r\n")
        framing = Framing.CHUNKED
    else:
        framing = Framing.CLOSE
        keep_alive = False
    if method == "HEAD":
        framing = Framing.NONE
    if "connection" not in names:
        if not keep_alive:
            lines.append("Connection: close\r\n")
        elif version < (1, 1):
            lines.append("Connection: keep-alive\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1"), framing, keep_alive


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body (RFC 9112 7.1); nothing for empty data: a zero chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
