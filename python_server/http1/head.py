"""One HTTP/1.1 request head (RFC 9112 2-3, RFC 9110 5): bytes to a `Request`, or the refusal.

Must not know: how a head is cut out of a stream, bodies' bytes, sockets, clocks, or what a path means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

import httptools

# Neither is ever changed: one object may belong to the requests of many connections.
Headers = tuple[tuple[str, str], ...]
Fields = Mapping[str, str]

NO_FIELDS: Final[Fields] = MappingProxyType({})

# RFC 9110 8.6: digits are matched as ASCII before int() sees them.
DIGITS: Final = re.compile(r"[0-9]{1,19}\Z")
REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Z]+) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])\r\n")
# RFC 3986 3.2.2 and 3.2.3: an IP literal or a registered name, and a port.
AUTHORITY: Final = re.compile(
    r"(?:\[[0-9A-Fa-fvV:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?\Z"
)
ABSOLUTE_FORM: Final = re.compile(r"https?://([^/?]+)(.*)", re.IGNORECASE)
# Every control character but TAB, CR and LF: none may stand in a field (RFC 9110 5.5).
CONTROLS: Final = bytes(c for c in (*range(32), 127) if c not in b"\t\r\n")
# Fields whose repetition changes the meaning of the message (RFC 9110 5.3, RFC 9112 6.3).
SINGLE_FIELDS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "sec-websocket-key", "sec-websocket-version"}
)
# Distinct spellings of field names kept decoded; an endless variety must not grow the table.
NAMES_MAX_COUNT: Final = 1024
_NAMES: dict[bytes, str] = {}
# A client says the same fields with every request. What was accepted once under HTTP/1.1 is not judged
# again, byte for byte the same: half the cost of a short head, four fifths of a browser's.
KNOWN_MAX_COUNT: Final = 256
KNOWN_MAX_BYTES: Final = 2048
# Their fields in order, the same by name, whether the connection may go on, and the body's declared bytes.
_KNOWN: dict[bytes, tuple[Headers, Fields, bool, int | None]] = {}
# The methods of these requests, which llhttp therefore knows.
_METHODS: dict[bytes, str] = {}


class Limits(Protocol):
    """The bounds that messages are held to; each is a number of bytes or fields."""

    @property
    def request_line_max_bytes(self) -> int: ...
    @property
    def header_line_max_bytes(self) -> int: ...
    @property
    def header_total_max_bytes(self) -> int: ...
    @property
    def header_max_count(self) -> int: ...
    @property
    def body_max_bytes(self) -> int: ...
    @property
    def chunk_line_max_bytes(self) -> int: ...
    @property
    def trailer_max_bytes(self) -> int: ...


class BadRequest(Exception):
    """The peer's fault, with its HTTP answer; nothing after it on the connection may be looked at."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class Request:
    """One request head.

    Attributes:
        target: as sent; path: percent-decoded bytes as latin-1 text (PEP 3333); query: as sent, without "?".
        headers: (lower-case name, value) in the order of arrival; fields: the same, repeated ones joined;
            both belong to every request that said the same, and cannot be written to.
        keep_alive: whether the client lets the connection go on (RFC 9112 9.3).
        body_length: declared bytes, None when chunked.
        upgrade: the Upgrade field when Connection names it, lower case, else "".
        authority: host and port asked for. peer, local: the connection's addresses, filled in by its owner.
        scheme: "http" or "https", what the client spoke; the owner knows.
        raw_head: the head as it was sent, where the parser was asked to stop behind it, else empty.
        context: its WSGI environ as middleware has passed it on, where it came through some.
        handed: has another process passed it on to us? Once is enough.
    """

    method: str
    target: str
    path: str
    query: str
    version: tuple[int, int]
    headers: Headers
    keep_alive: bool = True
    body_length: int | None = 0
    expect_continue: bool = False
    upgrade: str = ""
    authority: str = ""
    peer: object = None
    local: object = None
    scheme: str = "http"
    raw_head: bytes = b""
    handed: bool = False
    context: dict[str, Any] | None = None
    fields: Fields = field(default_factory=lambda: NO_FIELDS)

    @property
    def has_body(self) -> bool:
        return self.body_length != 0

    def get(self, name: str, default: str = "") -> str:
        """The first value of a field, by its lower-case name."""
        return self.fields.get(name, default)


@dataclass(slots=True)
class _HeadCollector:
    """What llhttp calls for one head."""

    target: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def parse_head(head: bytes, limits: Limits) -> Request:
    """Parse one whole request head, the empty line included.

    Raises:
        BadRequest: 400, 417, 431, 501 or 505, per RFC 9110 and RFC 9112.
    """
    match = REQUEST_LINE.match(head)
    if match is None:
        _check_bytes(head)
        raise BadRequest(400, "malformed request line (RFC 9112 3)")
    method, target, major, minor = match.groups()
    lines = head[match.end() :]
    if lines.count(b"\n") - 1 > limits.header_max_count:
        _check_bytes(head)
        raise BadRequest(431, f"more than {limits.header_max_count} header fields")
    known = _KNOWN.get(lines)
    if (
        known is not None
        and minor == major == b"1"
        and method in _METHODS
        and target.startswith(b"/")
        and len(lines) <= limits.header_line_max_bytes
    ):
        headers, fields, keep_alive, body_length = known
        text = target.decode("ascii")
        path, query = _path_and_query(text.partition("#")[0])
        return Request(
            *(_METHODS[method], text, path, query, (1, 1), headers, keep_alive, body_length, False, ""),
            authority=fields.get("host", ""),
            fields=fields,
        )
    _check_bytes(head)
    version = (int(major), int(minor))
    if version[0] != 1:
        raise BadRequest(505, "only HTTP/1.0 and HTTP/1.1 are spoken here (RFC 9110 15.6.6)")
    if b"\r\n " in head or b"\r\n\t" in head:
        raise BadRequest(400, "obsolete line folding (RFC 9112 5.2)")
    if len(lines) > limits.header_line_max_bytes:
        for line in lines.split(b"\r\n"):
            if len(line) > limits.header_line_max_bytes:
                raise BadRequest(431, f"a header line is longer than {limits.header_line_max_bytes} bytes")
    text, headers = _llhttp(head, match.end() - 2, version)
    fields = _by_name(headers)
    request = _judge(method.decode("ascii"), text, version, headers, fields)
    plain = not request.upgrade and not request.expect_continue
    if plain and version == (1, 1) and len(lines) <= KNOWN_MAX_BYTES:
        if len(_KNOWN) >= KNOWN_MAX_COUNT:
            _KNOWN.clear()
        _KNOWN[lines] = (headers, fields, request.keep_alive, request.body_length)
        _METHODS[method] = request.method
    return request


def _by_name(headers: Headers) -> Fields:
    """The fields with repeated ones joined (RFC 9110 5.3, RFC 9113 8.2.3 for cookies)."""
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        if name not in fields:
            fields[name] = [value]
        elif name in SINGLE_FIELDS:
            raise BadRequest(400, f"{name} is repeated (RFC 9110 5.3)")
        else:
            fields[name].append(value)
    return MappingProxyType(
        {
            name: values[0] if len(values) == 1 else ("; " if name == "cookie" else ",").join(values)
            for name, values in fields.items()
        }
    )


def _check_bytes(head: bytes) -> None:
    """No byte may stand in a head that two servers would read in two ways."""
    if not head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r"):
        raise BadRequest(400, "bare CR or bare LF in the request head (RFC 9112 2.2)")
    if len(head.translate(None, CONTROLS)) != len(head):
        raise BadRequest(400, "control character in the request head (RFC 9110 5.5)")


def _llhttp(head: bytes, line_end: int, version: tuple[int, int]) -> tuple[str, Headers]:
    """(target, fields) as llhttp reads them."""
    collector = _HeadCollector()
    parser = httptools.HttpRequestParser(collector)
    if version[1] > 1:  # HTTP/1.2 and up are answered as 1.1 (RFC 9110 2.5); llhttp knows neither
        head = head[: line_end - 1] + b"1" + head[line_end:]
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserInvalidMethodError:
        raise BadRequest(501, "the server does not know this method (RFC 9110 15.6.2)") from None
    except httptools.HttpParserError as error:
        collected = {
            name.lower().decode("latin-1"): value.decode("latin-1") for name, value in collector.fields
        }
        _body_length(version, collected)  # llhttp stops at an unknown transfer coding; 501 says so
        raise BadRequest(400, f"malformed request head: {error}") from None
    return collector.target.decode("latin-1"), tuple(
        (_NAMES.get(name) or _lower(name), value.decode("latin-1").strip(" \t"))
        for name, value in collector.fields
    )


def _lower(name: bytes) -> str:
    lowered = name.decode("latin-1").lower()
    if len(_NAMES) < NAMES_MAX_COUNT:
        _NAMES[name] = lowered
    return lowered


def _judge(method: str, target: str, version: tuple[int, int], headers: Headers, fields: Fields) -> Request:
    """The meaning of the fields that frame the message (RFC 9112 3.2, 6, 9.3)."""
    path, authority = _split_target(method, target)
    host = fields.get("host")
    if host is None:
        if version >= (1, 1):
            raise BadRequest(400, "no Host field (RFC 9112 3.2)")
    elif not AUTHORITY.match(host):
        raise BadRequest(400, "malformed Host field (RFC 9112 3.2)")
    path, query = _path_and_query(path)
    request = Request(
        method, target, path, query, version, headers, fields=fields, authority=authority or host or ""
    )
    connection = fields.get("connection")
    if connection is None:
        request.keep_alive = version >= (1, 1)
    else:
        options = [option.strip(" \t") for option in connection.lower().split(",")]
        request.keep_alive = "close" not in options and (version >= (1, 1) or "keep-alive" in options)
        if "upgrade" in options:
            request.upgrade = fields.get("upgrade", "").lower()
    request.body_length = _body_length(version, fields)
    expect = fields.get("expect")
    if expect is not None and version >= (1, 1):
        if any(option.strip(" \t") != "100-continue" for option in expect.lower().split(",")):
            raise BadRequest(417, "the only expectation known is 100-continue (RFC 9110 10.1.1)")
        request.expect_continue = request.has_body
    return request


def _path_and_query(path: str) -> tuple[str, str]:
    path, _, query = path.partition("?")
    if "%" in path:
        path = unquote_to_bytes(path).decode("latin-1")
    return path, query


def _body_length(version: tuple[int, int], fields: Fields) -> int | None:
    """Declared bytes of the body, None when it is chunked (RFC 9112 6.3)."""
    length, coding = fields.get("content-length"), fields.get("transfer-encoding")
    if coding is not None:
        if length is not None:
            raise BadRequest(400, "Content-Length together with Transfer-Encoding (RFC 9112 6.1)")
        if version < (1, 1):
            raise BadRequest(400, "Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1)")
        if coding.lower() != "chunked":
            raise BadRequest(501, "only the transfer coding chunked is known (RFC 9112 6.1)")
        return None
    if length is None:
        return 0
    if not DIGITS.match(length):
        raise BadRequest(400, "malformed Content-Length (RFC 9110 8.6)")
    return int(length)


def _split_target(method: str, target: str) -> tuple[str, str]:
    """(path with query, authority of an absolute-form target), RFC 9112 3.2."""
    if target.startswith("/"):
        return target.partition("#")[0], ""
    if target == "*" and method == "OPTIONS":
        return "*", ""
    match = ABSOLUTE_FORM.match(target)
    if match is not None and AUTHORITY.match(match[1]):
        path = match[2].partition("#")[0]
        return path if path.startswith("/") else f"/{path}", match[1]
    raise BadRequest(400, "malformed request target (RFC 9112 3.2)")
