"""HTTP/1.1 messages (RFC 9112), sans-I/O: bytes in, requests and body pieces out; responses out as bytes.

Must not know: sockets, clocks, threads, or what a path means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

import httptools

Headers = list[tuple[str, str]]

# RFC 9110 5.6.2 token; RFC 9112 2.3 and 7.1: digits are matched as ASCII before int() sees them.
TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
DIGITS: Final = re.compile(r"[0-9]{1,19}\Z")
CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\Z")
# A line end that is not CR LF, or a NUL: what makes two servers see different messages (RFC 9112 2.2).
BAD_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\x00")
BAD_FIELD_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
REQUEST_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Z]+ [\x21-\x7e]+ HTTP/([0-9])\.([0-9])\Z")
AUTHORITY: Final = re.compile(r"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*\Z")
# Fields whose repetition changes the meaning of the message (RFC 9110 5.3, RFC 9112 6.3).
SINGLE_FIELDS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "sec-websocket-key", "sec-websocket-version"}
)
LEADING_CRLF_MAX_COUNT: Final = 2


class Limits(Protocol):
    """The bounds this room asks for; each is a number of bytes or fields."""

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
    """The peer's fault, with its answer; nothing after it on the connection may be looked at.

    Attributes:
        status: the HTTP status to answer with.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class BodyEnd(Enum):
    """The event that ends a request's body."""

    END = auto()


END: Final = BodyEnd.END


@dataclass(slots=True)
class Request:
    """One request head.

    Attributes:
        target: as sent; path: percent-decoded bytes as latin-1 text (PEP 3333); query: as sent, without "?".
        headers: (lower-case name, value) in the order of arrival.
        keep_alive: whether the client lets the connection go on (RFC 9112 9.3).
        body_length: declared bytes, None when chunked.
        upgrade: the Upgrade field when Connection names it, lower case, else "".
        authority: host and port asked for. peer, local: the connection's addresses, filled in by its owner.
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
    peer: Any = None
    local: Any = None
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def has_body(self) -> bool:
        return self.body_length != 0

    def get(self, name: str, default: str = "") -> str:
        """The first value of a field, by its lower-case name."""
        return self.fields.get(name, default)


class ParserState(Enum):
    """Where in a message the parser stands."""

    HEAD = auto()
    BODY = auto()  # declared length
    CHUNK_LINE = auto()
    CHUNK_DATA = auto()
    CHUNK_END = auto()  # the CR LF behind a chunk's data
    TRAILER = auto()
    COMPLETE = auto()  # waits for `next_request`
    FAILED = auto()


# The states from which each may be entered; a parser that failed stays failed.
MOVES: Final = {
    ParserState.HEAD: {ParserState.BODY, ParserState.CHUNK_LINE, ParserState.COMPLETE},
    ParserState.BODY: {ParserState.COMPLETE},
    ParserState.CHUNK_LINE: {ParserState.CHUNK_DATA, ParserState.TRAILER},
    ParserState.CHUNK_DATA: {ParserState.CHUNK_END},
    ParserState.CHUNK_END: {ParserState.CHUNK_LINE},
    ParserState.TRAILER: {ParserState.COMPLETE},
    ParserState.COMPLETE: {ParserState.HEAD},
    ParserState.FAILED: set(),
}

Event = Request | bytes | BodyEnd | BadRequest


class RequestParser:
    """A connection's requests, one at a time.

    `receive` returns events: a `Request`, its body as `bytes`, `END`, or a `BadRequest` as the last one.
    After `END` it holds what follows (a pipelined request) until `next_request` is called.

    The head is found, bounded and checked here and its syntax judged by llhttp (httptools), fed that head
    alone. Chunked framing is walked here: llhttp runs on into the next pipelined request within one feed,
    has no bound on chunk lines and delivers trailers as headers, so its second look would decide nothing.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._searched_bytes = 0
        self._remaining_bytes = 0
        self._body_bytes = 0
        self._trailer_bytes = 0
        self._skipped_count = 0
        self.served_count = 0
        self.state = ParserState.HEAD

    def receive(self, data: Any) -> list[Event]:
        """Take bytes of the connection; return what they complete."""
        self._buffer += data
        return self._events()

    def next_request(self) -> list[Event]:
        """The answer to the last request is complete: look at what follows it."""
        self._move(ParserState.HEAD)
        self._skipped_count = 0
        return self._events()

    @property
    def head_begun(self) -> bool:
        """Has a part of a head arrived?"""
        return self.state is ParserState.HEAD and bool(self._buffer)

    @property
    def held_bytes(self) -> int:
        """Bytes kept for later: a part of a head, or what was pipelined."""
        return len(self._buffer)

    def take_leftover(self) -> bytes:
        """After an upgrade: the bytes that came behind the head (RFC 6455 frames already on their way)."""
        leftover = bytes(self._buffer)
        self._buffer.clear()
        return leftover

    def _move(self, state: ParserState) -> None:
        assert state is ParserState.FAILED or state in MOVES[self.state], (self.state, state)
        self.state = state

    def _events(self) -> list[Event]:
        events: list[Event] = []
        try:
            while self._step(events):
                pass
        except BadRequest as error:
            self._move(ParserState.FAILED)
            self._buffer.clear()
            events.append(error)
        return events

    def _step(self, events: list[Event]) -> bool:
        """One move of the machine; False when more bytes, or `next_request`, are needed."""
        state = self.state
        if state is ParserState.HEAD:
            return self._read_head(events)
        if state is ParserState.BODY or state is ParserState.CHUNK_DATA:
            return self._read_body(events)
        if state is ParserState.CHUNK_LINE:
            return self._read_chunk_line()
        if state is ParserState.CHUNK_END:
            return self._read_chunk_end()
        if state is ParserState.TRAILER:
            return self._read_trailer(events)
        return False

    # Head

    def _read_head(self, events: list[Event]) -> bool:
        buffer, limits = self._buffer, self._limits
        while buffer[:2] == b"\r\n" and self._skipped_count < LEADING_CRLF_MAX_COUNT:  # RFC 9112 2.2
            del buffer[:2]
            self._skipped_count += 1
        if not buffer:
            self._searched_bytes = 0
            return False
        start = max(0, self._searched_bytes - 3)
        end = buffer.find(b"\r\n\r\n", start)
        if BAD_LINE_END.search(buffer, start, end + 4 if end >= 0 else len(buffer)):
            raise BadRequest(400, "bare CR, bare LF or NUL in the request head (RFC 9112 2.2)")
        self._check_head_size(end)
        if end < 0:
            self._searched_bytes = len(buffer)
            return False
        self._searched_bytes = 0
        head = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        request = parse_head(head, limits)
        events.append(request)
        self.served_count += 1
        self._body_bytes = 0
        if request.body_length is None:
            self._move(ParserState.CHUNK_LINE)
        elif request.body_length:
            if request.body_length > limits.body_max_bytes:
                raise BadRequest(413, f"the request body is larger than {limits.body_max_bytes} bytes")
            self._remaining_bytes = request.body_length
            self._move(ParserState.BODY)
        else:
            events.append(END)
            self._move(ParserState.COMPLETE)
        return True

    def _check_head_size(self, end: int) -> None:
        buffer, limits = self._buffer, self._limits
        line_end = buffer.find(b"\r\n", 0, limits.request_line_max_bytes + 2)
        if line_end < 0 and len(buffer) > limits.request_line_max_bytes:
            raise BadRequest(414, f"the request line is longer than {limits.request_line_max_bytes} bytes")
        size_bytes = (end if end >= 0 else len(buffer)) - max(line_end, 0)
        if size_bytes > limits.header_total_max_bytes:
            raise BadRequest(431, f"the header is larger than {limits.header_total_max_bytes} bytes")
        if end < 0:
            last = buffer.rfind(b"\n") + 1
            if line_end >= 0 and len(buffer) - last > limits.header_line_max_bytes:
                raise BadRequest(431, f"a header line is longer than {limits.header_line_max_bytes} bytes")

    # Body

    def _read_body(self, events: list[Event]) -> bool:
        buffer = self._buffer
        if not buffer:
            return False
        if len(buffer) <= self._remaining_bytes:
            piece = bytes(buffer)
            buffer.clear()
        else:
            piece = bytes(buffer[: self._remaining_bytes])
            del buffer[: self._remaining_bytes]
        self._remaining_bytes -= len(piece)
        events.append(piece)
        if self._remaining_bytes:
            return False
        if self.state is ParserState.BODY:
            events.append(END)
            self._move(ParserState.COMPLETE)
        else:
            self._move(ParserState.CHUNK_END)
        return True

    def _read_line(self, max_bytes: int, what: str) -> bytes | None:
        end = self._buffer.find(b"\n", 0, max_bytes + 2)
        if end < 0:
            if len(self._buffer) > max_bytes + 1:
                raise BadRequest(400, f"{what} longer than {max_bytes} bytes")
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        if not line.endswith(b"\r\n"):
            raise BadRequest(400, f"{what} does not end with CR LF (RFC 9112 7.1)")
        return line[:-2]

    def _read_chunk_line(self) -> bool:
        line = self._read_line(self._limits.chunk_line_max_bytes, "chunk-size line")
        if line is None:
            return False
        match = CHUNK_LINE.match(line)
        if match is None:
            raise BadRequest(400, "malformed chunk-size line (RFC 9112 7.1)")
        size_bytes = int(match[1], 16)
        self._body_bytes += size_bytes
        if self._body_bytes > self._limits.body_max_bytes:
            raise BadRequest(413, f"the request body is larger than {self._limits.body_max_bytes} bytes")
        if size_bytes:
            self._remaining_bytes = size_bytes
            self._move(ParserState.CHUNK_DATA)
        else:
            self._trailer_bytes = 0
            self._move(ParserState.TRAILER)
        return True

    def _read_chunk_end(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise BadRequest(400, "chunk data is not followed by CR LF (RFC 9112 7.1)")
        del self._buffer[:2]
        self._move(ParserState.CHUNK_LINE)
        return True

    def _read_trailer(self, events: list[Event]) -> bool:
        """Trailers are bounded, checked for the form of a field line, and ignored (RFC 9110 6.5.1)."""
        line = self._read_line(self._limits.trailer_max_bytes - self._trailer_bytes, "trailer section")
        if line is None:
            return False
        if not line:
            events.append(END)
            self._move(ParserState.COMPLETE)
            return True
        self._trailer_bytes += len(line) + 2
        name, colon, _ = line.partition(b":")
        if not colon or not TOKEN.match(name.decode("latin-1")):
            raise BadRequest(400, "malformed trailer field (RFC 9110 6.5)")
        return True


class _HeadCollector:
    """What llhttp calls for one head."""

    __slots__ = ("fields", "target")

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def parse_head(head: bytes, limits: Limits) -> Request:
    """Parse one whole request head, the empty line included.

    Raises:
        BadRequest: 400, 413, 417, 431, 501 or 505, per RFC 9110 and RFC 9112.
    """
    line, _, rest = head.partition(b"\r\n")
    match = REQUEST_LINE.match(line)
    if match is None:
        raise BadRequest(400, "malformed request line (RFC 9112 3)")
    version = (int(match[1]), int(match[2]))
    if version[0] != 1:
        raise BadRequest(505, "only HTTP/1.0 and HTTP/1.1 are spoken here (RFC 9110 15.6.6)")
    lines = rest.split(b"\r\n")[:-2]
    if len(lines) > limits.header_max_count:
        raise BadRequest(431, f"more than {limits.header_max_count} header fields")
    for field_line in lines:
        if len(field_line) > limits.header_line_max_bytes:
            raise BadRequest(431, f"a header line is longer than {limits.header_line_max_bytes} bytes")
        if field_line[:1] in b" \t":
            raise BadRequest(400, "obsolete line folding (RFC 9112 5.2)")
    method, target, headers = _llhttp(head, version)
    fields: dict[str, str] = {}
    for name, value in headers:
        if BAD_FIELD_VALUE.search(value):
            raise BadRequest(400, f"control character in the value of {name} (RFC 9110 5.5)")
        if name in fields:
            if name in SINGLE_FIELDS:
                raise BadRequest(400, f"{name} is repeated (RFC 9110 5.3)")
            fields[name] += ("; " if name == "cookie" else ",") + value
        else:
            fields[name] = value
    return _judge(method, target, version, headers, fields)


def _llhttp(head: bytes, version: tuple[int, int]) -> tuple[str, str, Headers]:
    collector = _HeadCollector()
    parser = httptools.HttpRequestParser(collector)
    if version[1] > 1:  # HTTP/1.2 and up are answered as 1.1 (RFC 9110 2.5); llhttp knows neither
        end = head.index(b"\r\n")
        head = head[: end - 1] + b"1" + head[end:]
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise BadRequest(400, f"malformed request head: {error}") from None
    headers = [
        (name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t"))
        for name, value in collector.fields
    ]
    return parser.get_method().decode("ascii"), collector.target.decode("latin-1"), headers


def _judge(
    method: str, target: str, version: tuple[int, int], headers: Headers, fields: dict[str, str]
) -> Request:
    """The meaning of the fields that frame the message (RFC 9112 3.2, 6, 9.3)."""
    path, authority = _split_target(method, target)
    host = fields.get("host")
    if host is None and version >= (1, 1):
        raise BadRequest(400, "no Host field (RFC 9112 3.2)")
    if host is not None and not AUTHORITY.match(host):
        raise BadRequest(400, "malformed Host field (RFC 9112 3.2)")
    raw_path, _, query = path.partition("?")
    request = Request(
        method=method,
        target=target,
        path=unquote_to_bytes(raw_path).decode("latin-1"),
        query=query,
        version=version,
        headers=headers,
        fields=fields,
        authority=authority or host or "",
    )
    connection = [option.strip() for option in fields.get("connection", "").lower().split(",")]
    request.keep_alive = "close" not in connection and (version >= (1, 1) or "keep-alive" in connection)
    if "upgrade" in connection:
        request.upgrade = fields.get("upgrade", "").lower()
    length, coding = fields.get("content-length"), fields.get("transfer-encoding")
    if coding is not None:
        if length is not None:
            raise BadRequest(400, "Content-Length together with Transfer-Encoding (RFC 9112 6.1)")
        if version < (1, 1):
            raise BadRequest(400, "Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1)")
        if coding.lower() != "chunked":
            raise BadRequest(501, "only the transfer coding chunked is known (RFC 9112 6.1)")
        request.body_length = None
    elif length is not None:
        if not DIGITS.match(length):
            raise BadRequest(400, "malformed Content-Length (RFC 9110 8.6)")
        request.body_length = int(length)
    expect = fields.get("expect")
    if expect is not None and version >= (1, 1):
        if expect.lower() != "100-continue":
            raise BadRequest(417, "the only expectation known is 100-continue (RFC 9110 10.1.1)")
        request.expect_continue = request.has_body
    return request


def _split_target(method: str, target: str) -> tuple[str, str]:
    """(path with query, authority of an absolute-form target), RFC 9112 3.2."""
    if target.startswith("/"):
        return target.partition("#")[0], ""
    if target == "*" and method == "OPTIONS":
        return "*", ""
    scheme, separator, rest = target.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        authority, slash, path = rest.partition("/")
        authority, mark, query = authority.partition("?")
        if authority and AUTHORITY.match(authority):
            if mark:
                return "/?" + query + slash + path, authority
            return ("/" + path).partition("#")[0], authority
    raise BadRequest(400, "malformed request target (RFC 9112 3.2)")
