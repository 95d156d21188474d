"""Requests of one connection: every table entry whole, bytewise and at every cut (http1/parser.py).

It must not know sockets; heads alone have their own table in test_head.py.
"""

import itertools
import random
from dataclasses import replace

import pytest

from python_server.http1.parser import END, BadRequest, ParserState, Request, RequestParser
from python_server.settings import HTTPSettings

LIMITS = replace(
    HTTPSettings(),
    request_line_max_bytes=40,
    header_line_max_bytes=50,
    header_total_max_bytes=120,
    header_max_count=5,
    body_max_bytes=20,
    chunk_line_max_bytes=12,
    trailer_max_bytes=16,
)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

Summary = list[object]


def summarise(pieces: list[bytes], limits: HTTPSettings = LIMITS) -> Summary:
    """[(method, path, body) ..., status of the refusal]; every answer is given at once."""
    parser = RequestParser(limits)
    out: Summary = []
    body: bytes | None = None
    request: Request | None = None
    for piece in pieces:
        events = parser.receive(piece)
        while events:
            for event in events:
                if isinstance(event, Request):
                    assert body is None
                    request, body = event, b""
                elif isinstance(event, bytes):
                    assert body is not None
                    assert event
                    body += event
                elif event is END:
                    assert request is not None
                    out.append((request.method, request.path, body))
                    body = None
                else:
                    assert isinstance(event, BadRequest)
                    assert event is events[-1]
                    assert parser.state is ParserState.FAILED
                    assert parser.receive(GET) == []
                    assert parser.held_bytes == 0
                    out.append(event.status)
            events = parser.next_request() if parser.state is ParserState.COMPLETE else []
    if body is not None:
        out.append(("unfinished", body))
    return out


ONE = ("GET", "/", b"")
VECTORS: dict[str, tuple[bytes, Summary]] = {
    "one": (GET, [ONE]),
    "two pipelined": (GET + GET, [ONE, ONE]),
    "unfinished head": (GET[:-1], []),
    "length": (POST + b"Content-Length: 5\r\n\r\nhello", [("POST", "/", b"hello")]),
    "length, then another": (POST + b"Content-Length: 2\r\n\r\nhi" + GET, [("POST", "/", b"hi"), ONE]),
    "length zero": (POST + b"Content-Length: 0\r\n\r\n" + GET, [("POST", "/", b""), ONE]),
    "unfinished body": (POST + b"Content-Length: 5\r\n\r\nhel", [("unfinished", b"hel")]),
    "length above the limit": (POST + b"Content-Length: 21\r\n\r\n", [413, ("unfinished", b"")]),
    "chunks": (CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", [("POST", "/", b"hello world")]),
    "chunks, then another": (CHUNKED + b"1\r\na\r\n0\r\n\r\n" + GET, [("POST", "/", b"a"), ONE]),
    "no chunk but the last": (CHUNKED + b"0\r\n\r\n", [("POST", "/", b"")]),
    "several zeros": (CHUNKED + b"000\r\n\r\n", [("POST", "/", b"")]),
    "hexadecimal": (CHUNKED + b"0A\r\n0123456789\r\n0\r\n\r\n", [("POST", "/", b"0123456789")]),
    "extensions": (
        CHUNKED + b'1;a\r\nx\r\n1;a=b;c\r\ny\r\n1;q="; "\r\nz\r\n0;e\r\n\r\n',
        [("POST", "/", b"xyz")],
    ),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n" + GET, [("POST", "/", b"x"), ONE]),
    "leading CRLF": (b"\r\n" + GET, [ONE]),
    "two leading CRLFs, between requests as well": (b"\r\n\r\n" + GET + b"\r\n\r\n" + GET, [ONE, ONE]),
    "three leading CRLFs": (b"\r\n\r\n\r\n" + GET, [400]),
    "three CRLFs between requests": (GET + b"\r\n\r\n\r\n", [ONE, 400]),
    "nothing after a refusal": (POST + b"Content-Length: x\r\n\r\n" + GET, [400]),
    "bare LF ends the head": (b"GET / HTTP/1.1\nHost: a\n\n", [400]),
    "bare LF in a head": (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", [400]),
    "leading LF": (b"\n" + GET, [400]),
    "bare CR in a head": (b"GET / HTTP/1.1\r\nX: a\rb\r\nHost: a\r\n\r\n", [400]),
    "NUL": (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", [400]),
    "TLS hello": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x51" * 20, [400]),
    "request line too long": (b"GET /" + b"a" * 30 + b" HTTP/1.1\r\nHost: a\r\n\r\n", [414]),
    "request line too long, without an end": (b"G" * 42, [414]),
    "field line too long": (b"GET / HTTP/1.1\r\nX: " + b"a" * 48 + b"\r\n\r\n", [431]),
    "field line too long, without an end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 49, [431]),
    "fields too large together": (b"GET / HTTP/1.1\r\n" + b"X: 3456789012345678901234\r\n" * 5, [431]),
    "fields too large together by one byte": (
        b"GET / HTTP/1.1\r\nHost: a\r\nX: "
        + b"1" * 33
        + b"\r\nY: "
        + b"2" * 33
        + b"\r\nZ: "
        + b"3" * 31
        + b"\r\n\r\n",
        [431],
    ),
    "request line too long by one byte": (b"GET /" + b"a" * 27 + b" HTTP/1.1\r\nHost: a\r\n\r\n", [414]),
    "request line too long by one byte in a small head": (b"GET /" + b"a" * 27 + b" HTTP/1.0\r\n\r\n", [414]),
    "field line too long by one byte, without an end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 48, [431]),
    "too many fields": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 5 + b"\r\n", [431]),
    "chunk size 0x5": (CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", [400]),
    "chunk size +5": (CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", [400]),
    "chunk size -5": (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", [400]),
    "chunk size 1_0": (CHUNKED + b"1_0\r\nhello\r\n0\r\n\r\n", [400]),
    "no chunk size": (CHUNKED + b"\r\nhello\r\n0\r\n\r\n", [400]),
    "extension alone": (CHUNKED + b";a\r\n\r\n", [400]),
    "space behind the size": (CHUNKED + b"1 \r\nx\r\n0\r\n\r\n", [400]),
    "space before the size": (CHUNKED + b" 1\r\nx\r\n0\r\n\r\n", [400]),
    "chunk size of 17 digits": (CHUNKED + b"0" * 17 + b"\r\n\r\n", [400]),
    "chunk line with bare LF": (CHUNKED + b"5\nhello\n0\n\n", [400]),
    "a bare LF for a chunk line": (CHUNKED + b"\n", [400]),
    "chunk line too long by one byte, without an end": (CHUNKED + b"1;" + b"a" * 12, [400]),
    "chunk line with bare CR": (CHUNKED + b"1\r\r\nx\r\n", [400]),
    "extension with bare CR": (CHUNKED + b"1;a\rb\r\nx\r\n", [400]),
    "control character in an extension": (CHUNKED + b"1;a\x00\r\nx\r\n", [400]),
    "chunk longer than its size": (CHUNKED + b"1\r\nxy\r\n0\r\n\r\n", [400]),
    "chunk shorter than its size": (CHUNKED + b"4\r\nxy\r\n0\r\n\r\n", [400]),
    "two other bytes end a chunk (CVE-2025-43859)": (CHUNKED + b"1\r\nxAB0\r\n\r\n", [400]),
    "chunk data ends with LF CR": (CHUNKED + b"1\r\nx\n\r0\r\n\r\n", [400]),
    "chunk line too long": (CHUNKED + b"1;" + b"a" * 11 + b"\r\nx\r\n0\r\n\r\n", [400]),
    "chunk line too long, without an end": (CHUNKED + b"1;" + b"a" * 30, [400]),
    "chunks above the limit": (CHUNKED + b"14\r\n" + b"x" * 20 + b"\r\n1\r\nx\r\n0\r\n\r\n", [413]),
    "huge chunk": (CHUNKED + b"fffffffffff\r\n", [413]),
    "trailer without colon": (CHUNKED + b"0\r\nGET / HTTP/1.1\r\n\r\n", [400]),
    "trailer with bare LF": (CHUNKED + b"0\r\nA: b\n\r\n", [400]),
    "trailer with NUL": (CHUNKED + b"0\r\nA: \x00\r\n\r\n", [400]),
    "trailer with a bare CR": (CHUNKED + b"0\r\nA: \rB\r\n\r\n", [400]),
    "length as a trailer": (CHUNKED + b"0\r\nHost: a\r\n\r\n", [400]),
    "folded trailer": (CHUNKED + b"0\r\nA: b\r\n c\r\n\r\n", [400]),
    "trailer section too long": (CHUNKED + b"0\r\nA: b\r\nA: b\r\nA: b\r\n\r\n", [400]),
    "trailer section too long in its second line, without an end": (
        CHUNKED + b"0\r\nA: b\r\nA: " + b"b" * 10,
        [400],
    ),
    "trailer section too long, without an end": (CHUNKED + b"0\r\nA: " + b"b" * 30, [400]),
}


def refusals(summary: Summary) -> Summary:
    """A refused body's pieces depend on the cutting; what came before it and the status do not."""
    return [entry for entry in summary if not (isinstance(entry, tuple) and entry[0] == "unfinished")]


def same(cut: Summary, data: bytes, expected: Summary) -> None:
    if any(isinstance(entry, int) for entry in expected):
        assert refusals(cut) == refusals(expected), data
    else:
        assert cut == expected, data


@pytest.mark.parametrize(("data", "expected"), VECTORS.values(), ids=VECTORS)
def test_whole(data: bytes, expected: Summary) -> None:
    same(summarise([data]), data, expected)


@pytest.mark.parametrize(("data", "expected"), VECTORS.values(), ids=VECTORS)
def test_bytewise(data: bytes, expected: Summary) -> None:
    same(summarise([data[i : i + 1] for i in range(len(data))]), data, expected)


@pytest.mark.parametrize(("data", "expected"), VECTORS.values(), ids=VECTORS)
def test_every_cut(data: bytes, expected: Summary) -> None:
    for cut in range(1, len(data)):
        same(summarise([data[:cut], data[cut:]]), data, expected)


@pytest.mark.parametrize(("data", "expected"), VECTORS.values(), ids=VECTORS)
def test_random_cuts(data: bytes, expected: Summary) -> None:
    source = random.Random(data)
    for _ in range(50):
        cuts = sorted({0, len(data), *(source.randrange(len(data)) for _ in range(4))})
        same(summarise([data[a:b] for a, b in itertools.pairwise(cuts)]), data, expected)


OVERLONG_TRAILERS = "malformed or overlong trailer section (RFC 9110 6.5)"
IN_A_HEAD = "bare CR or bare LF in the request head (RFC 9112 2.2)"
IN_A_PART = "bare CR, bare LF or NUL in the request head (RFC 9112 2.2)"
# The words of each refusal, which a client's author reads; two where a whole message is refused by another
# rule than its beginning.
WORDS: dict[str, str | tuple[str, str]] = {
    "three leading CRLFs": "more than 2 empty lines before a request line",
    "bare LF in a head": (IN_A_HEAD, IN_A_PART),
    "huge chunk": "the request body is larger than 20 bytes",
    "chunks above the limit": "the request body is larger than 20 bytes",
    "request line too long": "the request line is longer than 40 bytes",
    "request line too long, without an end": "the request line is longer than 40 bytes",
    "field line too long": "a header line is longer than 50 bytes",
    "field line too long, without an end": "a header line is longer than 50 bytes",
    "fields too large together": "the header is larger than 120 bytes",
    "too many fields": "more than 5 header fields",
    "chunk size 0x5": "malformed chunk-size line (RFC 9112 7.1)",
    "chunk line too long": "chunk-size line longer than 12 bytes",
    "chunk longer than its size": "chunk data is not followed by CR LF (RFC 9112 7.1)",
    "trailer without colon": OVERLONG_TRAILERS,
    "trailer section too long": OVERLONG_TRAILERS,
    "trailer section too long in its second line, without an end": "trailer section longer than 10 bytes",
    "trailer section too long, without an end": "trailer section longer than 16 bytes",
    "length as a trailer": "the trailers contain a framing field such as Content-Length (RFC 9110 6.5.1)",
}


@pytest.mark.parametrize(("name", "words"), WORDS.items(), ids=WORDS)
def test_the_words_of_a_refusal(name: str, words: str | tuple[str, str]) -> None:
    data, expected = VECTORS[name]
    for size, said in zip((len(data), 1), words if isinstance(words, tuple) else (words, words), strict=True):
        parser = RequestParser(LIMITS)
        events = [event for at in range(0, len(data), size) for event in parser.receive(data[at : at + size])]
        while parser.state is ParserState.COMPLETE:
            events += parser.next_request()
        refusal = events[-1]
        assert isinstance(refusal, BadRequest)
        assert (refusal.status, refusal.message) == (expected[-1], said)


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (b"GET /" + b"a" * 26 + b" HTTP/1.1\r\nHost: a\r\n\r\n", "request line"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 47 + b"\r\n\r\n", "field line"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 4 + b"\r\n", "fields"),
        (POST + b"Content-Length: 20\r\n\r\n" + b"x" * 20, "body"),
        (
            POST + b"X: " + b"1" * 43 + b"\r\nY: " + b"2" * 39 + b"\r\nContent-Length: 9\r\n\r\n" + b"x" * 9,
            "fields together",
        ),
        (CHUNKED + b"1;" + b"a" * 10 + b"\r\nx\r\n0\r\n\r\n", "chunk line"),
        (CHUNKED + b"13\r\n" + b"x" * 19 + b"\r\n1\r\nx\r\n0\r\n\r\n", "body in chunks"),
        (CHUNKED + b"0\r\nA: 34567890123\r\n\r\n", "trailers"),
    ],
)
def test_limits_are_reached_exactly_whole_and_bytewise(data: bytes, limit: str) -> None:
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        (only,) = summarise(pieces)
        assert isinstance(only, tuple), limit
        assert only[0] != "unfinished"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (replace(LIMITS, request_line_max_bytes=13), "the request line is longer than 13 bytes"),
        (replace(LIMITS, header_line_max_bytes=7), "a header line is longer than 7 bytes"),
        (replace(LIMITS, header_total_max_bytes=9), "the header is larger than 9 bytes"),
    ],
)
def test_a_small_head_is_held_to_the_smallest_limit(limits: HTTPSettings, words: str) -> None:
    events = RequestParser(limits).receive(b"GET / HTTP/1.0\r\nX: 45678\r\n\r\n")
    assert str(events[-1]) == words


AT_ONCE = {
    "LF": (b"\n", 400),
    "LF behind an empty line": (b"\r\n\n", 400),
    "bare CR": (b"\rX", 400),
    "one byte too many of all fields": (
        b"GET / HTTP/1.1\r\n" + (b"X: " + b"1" * 47 + b"\r\n") * 2 + b"X: " + b"1" * 12,
        431,
    ),
}


@pytest.mark.parametrize("before", [b"", GET])
@pytest.mark.parametrize(("data", "status"), AT_ONCE.values(), ids=AT_ONCE)
def test_what_cannot_become_a_head_is_refused_at_once(data: bytes, status: int, before: bytes) -> None:
    parser = RequestParser(LIMITS)
    if before:
        parser.receive(before[:5])
        parser.receive(before[5:])
        parser.next_request()
    assert parser.receive(data[:-1]) == []
    (refusal,) = parser.receive(data[-1:])
    assert isinstance(refusal, BadRequest)
    assert refusal.status == status


def test_what_is_usual_is_not_copied() -> None:
    """A head that comes alone, up to the smallest limit, and a piece of a body."""
    for head in (GET, b"GET / HTTP/1.1\r\nHost: 23456789012345\r\n\r\n"):
        (request,) = RequestParser(LIMITS, lambda request: True).receive(head)
        assert isinstance(request, Request)
        assert request.raw_head is head
    assert len(head) == LIMITS.request_line_max_bytes
    parser = RequestParser(LIMITS)
    parser.receive(POST + b"Content-Length: 9\r\n\r\n")
    piece = b"a piece"
    (event,) = parser.receive(piece)
    assert event is piece
    assert parser.receive(b"") == []


def test_a_pipelined_request_waits_for_the_answer_before_it() -> None:
    parser = RequestParser(LIMITS)
    events = parser.receive(GET + GET[:5])
    assert [type(event) for event in events] == [Request, type(END)]
    assert parser.state is ParserState.COMPLETE
    assert parser.receive(GET[5:]) == []
    assert parser.held_bytes == len(GET)
    assert not parser.head_begun
    assert len(parser.next_request()) == 2
    assert parser.held_bytes == 0
    assert parser.served_count == 2


def test_head_begun_is_true_only_inside_a_head() -> None:
    parser = RequestParser(LIMITS)
    assert not parser.head_begun
    parser.receive(b"G")
    assert parser.head_begun
    parser.receive(GET[1:])
    assert not parser.head_begun


def test_nothing_is_kept_of_what_is_understood() -> None:
    """Where a chunk comes in pieces as well: only what is unfinished waits."""
    parser = RequestParser(LIMITS)
    rows = [
        (CHUNKED, ParserState.CHUNK_LINE, 0),
        (b"3", ParserState.CHUNK_LINE, 1),
        (b"\r\n", ParserState.CHUNK_DATA, 0),
        (b"ab", ParserState.CHUNK_DATA, 0),
        (b"c", ParserState.CHUNK_END, 0),
        (b"\r", ParserState.CHUNK_END, 1),
        (b"\n", ParserState.CHUNK_LINE, 0),
        (b"1\r\nd\r\n", ParserState.CHUNK_LINE, 0),
        (b"1\r\ne\r\n0\r\n", ParserState.TRAILER, 0),
        (b"A: b\r\n\r", ParserState.TRAILER, 1),
        (b"\n" + GET, ParserState.COMPLETE, len(GET)),
    ]
    for data, state, held_bytes in rows:
        parser.receive(data)
        assert (parser.state, parser.held_bytes) == (state, held_bytes), data


def test_leftover_behind_an_upgrade_is_handed_over_r76() -> None:
    parser = RequestParser(LIMITS)
    parser.receive(GET + b"\x81\x05hello")
    assert parser.take_leftover() == b"\x81\x05hello"
    assert parser.take_leftover() == b""
    assert parser.held_bytes == 0


def test_next_request_before_the_end_is_the_callers_fault() -> None:
    parser = RequestParser(LIMITS)
    with pytest.raises(RuntimeError, match="HEAD"):
        parser.next_request()


def test_what_was_received_is_not_kept() -> None:
    parser = RequestParser(LIMITS)
    buffer = bytearray(POST + b"Content-Length: 6\r\n\r\nab")
    events = parser.receive(memoryview(buffer))
    buffer[:] = b"?" * len(buffer)
    later = bytearray(b"cd")
    events += parser.receive(memoryview(later))
    later[:] = b"??"
    assert [event for event in events if isinstance(event, bytes)] == [b"ab", b"cd"]


@pytest.mark.parametrize("size_bytes", [1, 16, 48])
def test_a_flood_of_tiny_chunks_becomes_one_piece(size_bytes: int) -> None:
    parser = RequestParser(HTTPSettings())
    count = 10_000
    data = b"x" * size_bytes
    events = parser.receive(CHUNKED + b"%x\r\n%b\r\n" % (size_bytes, data) * count + b"0\r\n\r\n")
    assert [event for event in events if isinstance(event, bytes)] == [data * count]
    assert events[-1] is END


STOPS = {
    "get": (GET, b""),
    "length": (POST + b"Content-Length: 5\r\n\r\n", b"hello"),
    "chunked": (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("kind", STOPS)
def test_a_parser_asked_to_stop_touches_nothing_behind_the_head(kind: str) -> None:
    head, body = STOPS[kind]
    rest = body + GET
    for cut in range(len(head), len(head + rest) + 1):
        parser = RequestParser(LIMITS, lambda request: True)
        (request,) = parser.receive(b"\r\n" + (head + rest)[:cut])
        assert isinstance(request, Request)
        assert request.raw_head == head
        assert parser.receive((head + rest)[cut:]) == []
        assert parser.state is ParserState.STOPPED
        assert parser.take_leftover() == rest


@pytest.mark.parametrize("kind", STOPS)
def test_a_stopped_parser_goes_on_as_if_it_had_not_stopped(kind: str) -> None:
    head, body = STOPS[kind]
    for cut in range(len(head), len(head + body) + 1):
        parser = RequestParser(LIMITS, lambda request: True)
        (request,) = parser.receive((head + body)[:cut])
        assert isinstance(request, Request)
        events = parser.go_on(request) + parser.receive((head + body)[cut:] + GET)
        assert b"".join(event for event in events if isinstance(event, bytes)) == (body and b"hello")
        assert events[-1] is END
        assert parser.state is ParserState.COMPLETE
        (following,) = parser.next_request()
        assert isinstance(following, Request)


def test_only_heads_that_are_asked_for_stop_and_are_kept() -> None:
    parser = RequestParser(LIMITS, lambda request: request.query == "b")
    first, end = parser.receive(GET + b"GET /?b HTTP/1.1\r\nHost: a\r\n\r\n")
    assert isinstance(first, Request)
    assert (first.raw_head, end) == (b"", END)
    (second,) = parser.next_request()
    assert isinstance(second, Request)
    assert second.raw_head == b"GET /?b HTTP/1.1\r\nHost: a\r\n\r\n"


def test_a_body_above_the_limit_is_refused_before_a_stop() -> None:
    parser = RequestParser(LIMITS, lambda request: True)
    _, refusal = parser.receive(POST + b"Content-Length: 21\r\n\r\n")
    assert isinstance(refusal, BadRequest)
    assert (refusal.status, refusal.message) == (413, "the request body is larger than 20 bytes")
