"""HTTP/1.1 requests of one connection (RFC 9112), sans-I/O: bytes in; heads, body pieces and ends out.

Must not know: sockets, clocks, threads, or what a path means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from python_server.http1.head import BadRequest, Limits, Request, parse_head

__all__ = ["END", "BadRequest", "Event", "ParserState", "Request", "RequestParser"]

# RFC 9112 7.1. Deviation: the "bad whitespace" its grammar allows around ";" and "=" is refused: llhttp
# refuses it too.
CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,16})"
    rb"(?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
    rb"(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|\"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*\"))?)*\r\n"
)
TRAILER_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n")
FRAMING_FIELDS: Final = (b"content-length:", b"transfer-encoding:", b"host:")
# A line end that is not CR LF, or a NUL: what makes two servers see different messages (RFC 9112 2.2).
BAD_LINE_END: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\x00")
LEADING_CRLF_MAX_COUNT: Final = 2


class BodyEnd(Enum):
    """The event that ends a request's body."""

    END = auto()


END: Final = BodyEnd.END


class ParserState(Enum):
    """Where in a message the parser stands."""

    __hash__ = object.__hash__  # a member is one object; Enum's own hash is a call of Python

    HEAD = auto()
    STOPPED = auto()  # behind a head, its body untouched, until `go_on` or for ever
    BODY = auto()  # declared length
    CHUNK_LINE = auto()
    CHUNK_DATA = auto()
    CHUNK_END = auto()  # the CR LF behind a chunk's data
    TRAILER = auto()
    COMPLETE = auto()  # waits for `next_request`
    FAILED = auto()


_HEAD: Final = ParserState.HEAD
_COMPLETE: Final = ParserState.COMPLETE
_IN_DATA: Final = {ParserState.BODY, ParserState.CHUNK_DATA}
# What may follow each state; any of them may fail, and a parser that failed stays failed.
MOVES: Final[dict[ParserState, set[ParserState]]] = {
    ParserState.HEAD: {ParserState.STOPPED, ParserState.BODY, ParserState.CHUNK_LINE, ParserState.COMPLETE},
    ParserState.STOPPED: {ParserState.BODY, ParserState.CHUNK_LINE, ParserState.COMPLETE},
    ParserState.BODY: {ParserState.COMPLETE},
    ParserState.CHUNK_LINE: {ParserState.CHUNK_DATA, ParserState.TRAILER},
    ParserState.CHUNK_DATA: {ParserState.CHUNK_END},
    ParserState.CHUNK_END: {ParserState.CHUNK_LINE},
    ParserState.TRAILER: {ParserState.COMPLETE},
    ParserState.COMPLETE: {ParserState.HEAD},
    ParserState.FAILED: set(),
}

Event = Request | bytes | BodyEnd | BadRequest


@dataclass(slots=True, eq=False)
class RequestParser:
    """A connection's requests, one at a time.

    `receive` returns events: a `Request`, its body as `bytes`, `END`, or a `BadRequest` as the last one.
    After `END` it holds what follows (a pipelined request) until `next_request` is called.

    The head is found, bounded and checked here and its syntax judged by llhttp (httptools), fed that head
    alone. Chunked framing is walked here: llhttp runs on into the next pipelined request within one feed,
    has no bound on chunk lines and delivers trailers as headers, so its second look would decide nothing.

    Args:
        limits: see settings. stop: says of a head whether the connection may be given away with it: nothing
            behind it is looked at before `go_on`, and `take_leftover` gives all of it.
    """

    _limits: Limits
    _stop: Callable[[Request], bool] | None = None
    state: ParserState = field(default=_HEAD, init=False)
    served_count: int = field(default=0, init=False)
    _buffer: bytearray = field(default_factory=bytearray, init=False)
    _small_head_bytes: int = field(init=False)  # such a head passes no limit that is not looked at again
    _searched_bytes: int = field(default=0, init=False)  # of the buffer: no end of a head begins there
    _skipped_count: int = field(default=0, init=False)  # empty lines before a request line
    _remaining_bytes: int = field(default=0, init=False)  # of the body, or of one chunk's data
    _body_bytes: int = field(default=0, init=False)  # of all chunks so far
    _trailer_bytes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        limits = self._limits
        self._small_head_bytes = min(limits.request_line_max_bytes, limits.header_total_max_bytes)

    def receive(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Take bytes of the connection (any buffer, not kept); return what they complete."""
        state = self.state
        if state is ParserState.FAILED:
            return []
        if state in _IN_DATA and len(data) < self._remaining_bytes:
            # Our buffer is empty here: the piece need not pass through it.
            self._remaining_bytes -= len(data)
            return [bytes(data)] if len(data) else []
        if state is _HEAD and not self._buffer and len(data) <= self._small_head_bytes:
            # The usual chunk is one small head and nothing else: it passes no buffer, no single limit.
            head = bytes(data)
            if 0 < head.find(b"\r\n\r\n") == len(head) - 4 and not head.startswith(b"\r\n"):
                return self._events(head)
        self._buffer += data
        return self._events()

    def next_request(self) -> list[Event]:
        """The answer to the last request is complete: look at what follows it."""
        self._move(_HEAD)
        self._skipped_count = 0
        return self._events() if self._buffer else []

    def go_on(self, request: Request) -> list[Event]:
        """The connection stays here: read on behind the head at which the parser has stopped."""
        events: list[Event] = []
        self._begin_body(request.body_length, events)
        return events + self._events()

    @property
    def head_begun(self) -> bool:
        """Has a part of a head arrived?"""
        return self.state is ParserState.HEAD and bool(self._buffer)

    @property
    def held_bytes(self) -> int:
        """Bytes kept for later: a part of a head, or what was pipelined."""
        return len(self._buffer)

    def take_leftover(self) -> bytes:
        """The connection goes elsewhere: the bytes that came behind the head.

        After an upgrade these are RFC 6455 frames; after a stop the request's body and what follows it.
        """
        leftover = bytes(self._buffer)
        self._buffer = bytearray()
        return leftover

    def _move(self, state: ParserState) -> None:
        if state not in MOVES[self.state] and state is not ParserState.FAILED:
            raise RuntimeError(f"a request parser cannot go from {self.state.name} to {state.name}")
        self.state = state

    def _events(self, head: bytes = b"") -> list[Event]:
        events: list[Event] = []
        try:
            if head:
                self._take_head(head, events)
                return events
            while self._step(events):
                pass
        except BadRequest as error:
            self._move(ParserState.FAILED)
            self._buffer = bytearray()
            events.append(error)
        return events

    def _step(self, events: list[Event]) -> bool:
        """One move of the machine; False when more bytes, or `next_request`, are needed."""
        state = self.state
        if state is ParserState.HEAD:
            return self._read_head(events)
        if state in _IN_DATA:
            return self._read_body(events)
        if state is ParserState.CHUNK_LINE:
            return self._read_whole_chunks(events) or self._read_chunk_line()
        if state is ParserState.CHUNK_END:
            return self._read_chunk_end()
        if state is ParserState.TRAILER:
            return self._read_trailer(events)
        return False

    # Head

    def _read_head(self, events: list[Event]) -> bool:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # RFC 9112 2.2
            if self._skipped_count == LEADING_CRLF_MAX_COUNT:
                raise BadRequest(400, f"more than {LEADING_CRLF_MAX_COUNT} empty lines before a request line")
            del buffer[:2]
            self._skipped_count += 1
            self._searched_bytes = 0
        if not buffer:
            return False
        start = self._searched_bytes
        end = buffer.find(b"\r\n\r\n", start)
        if end < 0 and BAD_LINE_END.search(buffer, start):
            raise BadRequest(400, "bare CR, bare LF or NUL in the request head (RFC 9112 2.2)")
        self._check_head_size(end)
        if end < 0:
            self._searched_bytes = max(0, len(buffer) - 3)
            return False
        self._searched_bytes = 0
        head = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        return self._take_head(head, events)

    def _take_head(self, head: bytes, events: list[Event]) -> bool:
        request = parse_head(head, self._limits)
        events.append(request)
        self.served_count += 1
        self._body_bytes = 0
        length = request.body_length
        if length is not None and length > self._limits.body_max_bytes:
            raise BadRequest(413, f"the request body is larger than {self._limits.body_max_bytes} bytes")
        if self._stop is not None and self._stop(request):
            request.raw_head = head
            self._move(ParserState.STOPPED)
            return False
        self._begin_body(length, events)
        return True

    def _begin_body(self, length: int | None, events: list[Event]) -> None:
        if length == 0:
            events.append(END)
            self._move(_COMPLETE)
        elif length is None:
            self._move(ParserState.CHUNK_LINE)
        else:
            self._remaining_bytes = length
            self._move(ParserState.BODY)

    def _check_head_size(self, end: int) -> None:
        """Hold what has come of a head to its limits; `end` is where it ends, -1 when it has not."""
        buffer, limits = self._buffer, self._limits
        line_end = buffer.find(b"\r\n", 0, limits.request_line_max_bytes + 2)
        if line_end < 0:
            # The CR of an unfinished line end does not count as a byte of the line.
            if len(buffer) - buffer.endswith(b"\r") > limits.request_line_max_bytes:
                raise BadRequest(
                    414, f"the request line is longer than {limits.request_line_max_bytes} bytes"
                )
            return
        if end < 0:  # nor does what may be a part of the head's end
            tail = buffer[-3:]
            end_bytes = len(buffer) - len(tail) + len(tail.rstrip(b"\r\n"))
        else:
            end_bytes = end
        size_bytes = end_bytes - line_end
        if size_bytes > limits.header_total_max_bytes:
            raise BadRequest(431, f"the header is larger than {limits.header_total_max_bytes} bytes")
        if end < 0:
            last_bytes = len(buffer) - buffer.rfind(b"\n") - 1 - buffer.endswith(b"\r")
            if last_bytes > limits.header_line_max_bytes:
                raise BadRequest(431, f"a header line is longer than {limits.header_line_max_bytes} bytes")

    # Body

    def _read_body(self, events: list[Event]) -> bool:
        buffer = self._buffer
        if not buffer:
            return False
        if len(buffer) <= self._remaining_bytes:
            piece = bytes(buffer)
            self._buffer = bytearray()
        else:
            piece = bytes(memoryview(buffer)[: self._remaining_bytes])
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

    def _count_chunk(self, size_bytes: int) -> None:
        self._body_bytes += size_bytes
        if self._body_bytes > self._limits.body_max_bytes:
            raise BadRequest(413, f"the request body is larger than {self._limits.body_max_bytes} bytes")

    def _read_whole_chunks(self, events: list[Event]) -> bool:
        """Take all chunks that are here from end to end as one piece: a flood of tiny ones stays cheap.

        What is unfinished or malformed is left to `_read_chunk_line`, which says why.
        """
        data = bytes(self._buffer)
        longest_bytes = self._limits.chunk_line_max_bytes + 2
        position = 0
        pieces: list[bytes] = []
        while match := CHUNK_LINE.match(data, position):
            begin = match.end()
            size_bytes = int(match[1], 16)
            end = begin + size_bytes
            if not size_bytes or begin - position > longest_bytes or data[end : end + 2] != b"\r\n":
                break
            self._count_chunk(size_bytes)
            pieces.append(data[begin:end])
            position = end + 2
        if pieces:
            events.append(b"".join(pieces))
            del self._buffer[:position]
        return bool(pieces)

    def _read_line(self, max_bytes: int, what: str) -> bytes | None:
        """A line with its CR LF, None while it is unfinished."""
        end = self._buffer.find(b"\n", 0, max_bytes + 2)
        if end < 0:
            if len(self._buffer) >= max_bytes + 2:
                raise BadRequest(400, f"{what} longer than {max_bytes} bytes")
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return line

    def _read_chunk_line(self) -> bool:
        line = self._read_line(self._limits.chunk_line_max_bytes, "chunk-size line")
        if line is None:
            return False
        match = CHUNK_LINE.fullmatch(line)
        if match is None:
            raise BadRequest(400, "malformed chunk-size line (RFC 9112 7.1)")
        size_bytes = int(match[1], 16)
        self._count_chunk(size_bytes)
        if size_bytes:
            self._remaining_bytes = size_bytes
            self._move(ParserState.CHUNK_DATA)
        else:
            self._trailer_bytes = 0
            self._move(ParserState.TRAILER)
        return True

    def _read_chunk_end(self) -> bool:
        buffer = self._buffer
        if not b"\r\n".startswith(buffer[:2]):
            raise BadRequest(400, "chunk data is not followed by CR LF (RFC 9112 7.1)")
        if len(buffer) < 2:
            return False
        del buffer[:2]
        self._move(ParserState.CHUNK_LINE)
        return True

    def _read_trailer(self, events: list[Event]) -> bool:
        """Trailers are bounded, checked for the form of a field line, and ignored (RFC 9110 6.5.1)."""
        line = self._read_line(self._limits.trailer_max_bytes - self._trailer_bytes, "trailer section")
        if line is None:
            return False
        if line == b"\r\n":
            events.append(END)
            self._move(ParserState.COMPLETE)
            return True
        self._trailer_bytes += len(line)
        if not TRAILER_LINE.fullmatch(line) or self._trailer_bytes > self._limits.trailer_max_bytes:
            raise BadRequest(400, "malformed or overlong trailer section (RFC 9110 6.5)")
        if line.lower().startswith(FRAMING_FIELDS):
            raise BadRequest(
                400, "the trailers contain a framing field such as Content-Length (RFC 9110 6.5.1)"
            )
        return True
