"""Request heads, one table for what is taken and one for what is refused (http1/head.py).

It must not know how a head is cut out of a stream: test_parser.py does.
"""

from dataclasses import replace

import pytest

from python_server.http1.head import (
    _KNOWN,
    _METHODS,
    _NAMES,
    KNOWN_MAX_BYTES,
    KNOWN_MAX_COUNT,
    NAMES_MAX_COUNT,
    BadRequest,
    Request,
    _body_length,
    parse_head,
)
from python_server.settings import HTTPSettings

LIMITS = HTTPSettings()
HOST = b"Host: example.test\r\n"


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    """What one test has had judged is judged again in the next."""
    for table in (_KNOWN, _METHODS, _NAMES):
        table.clear()


def head(line: bytes = b"GET / HTTP/1.1", *fields: bytes, host: bytes = HOST) -> bytes:
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


TAKEN = {
    "plain": (head(), {"method": "GET", "path": "/", "query": "", "version": (1, 1), "keep_alive": True}),
    "query": (head(b"GET /a?b=%41&c HTTP/1.1"), {"path": "/a", "query": "b=%41&c", "target": "/a?b=%41&c"}),
    "percent path": (head(b"GET /%C3%A9%2F HTTP/1.1"), {"path": "/\xc3\xa9/", "target": "/%C3%A9%2F"}),
    "bad percent stays": (head(b"GET /%zz%4 HTTP/1.1"), {"path": "/%zz%4"}),
    "options star": (
        head(b"OPTIONS * HTTP/1.1"),
        {"path": "*", "query": "", "method": "OPTIONS", "authority": "example.test"},
    ),
    "fragment": (head(b"GET /a?b#c?d HTTP/1.1"), {"path": "/a", "query": "b", "target": "/a?b#c?d"}),
    "absolute form with a fragment": (
        head(b"GET HTTPS://o.test/a#b#c HTTP/1.1"),
        {"path": "/a", "query": "", "target": "HTTPS://o.test/a#b#c"},
    ),
    "absolute form, Host from the target": (
        head(b"GET http://Other.test:81/p?q HTTP/1.1"),
        {"path": "/p", "query": "q", "authority": "Other.test:81"},
    ),
    "absolute form without path": (head(b"GET http://o.test HTTP/1.1"), {"path": "/", "authority": "o.test"}),
    "absolute form, query only": (
        head(b"GET http://o.test?a=/b HTTP/1.1"),
        {"path": "/", "query": "a=/b", "authority": "o.test"},
    ),
    "HTTP/1.0 without Host": (
        head(b"GET / HTTP/1.0", host=b""),
        {"keep_alive": False, "version": (1, 0), "authority": ""},
    ),
    "HTTP/1.0 keep-alive": (head(b"GET / HTTP/1.0", b"Connection: Keep-Alive"), {"keep_alive": True}),
    "HTTP/1.2 is 1.1 (RFC 9110 2.5)": (head(b"GET / HTTP/1.2"), {"version": (1, 2), "keep_alive": True}),
    "close in a list": (head(b"GET / HTTP/1.1", b"Connection: x, Close"), {"keep_alive": False}),
    "close as part of a word": (head(b"GET / HTTP/1.1", b"Connection: closet"), {"keep_alive": True}),
    "two Connection fields": (
        head(b"GET / HTTP/1.1", b"Connection: x", b"Connection: close"),
        {"keep_alive": False},
    ),
    "upgrade": (
        head(b"GET / HTTP/1.1", b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket"),
        {"upgrade": "websocket"},
    ),
    "upgrade not named by Connection": (head(b"GET / HTTP/1.1", b"Upgrade: websocket"), {"upgrade": ""}),
    "upgrade to nothing": (head(b"GET / HTTP/1.1", b"Connection: upgrade"), {"upgrade": ""}),
    "what is no white space of a field (RFC 9110 5.6.3)": (
        head(b"GET / HTTP/1.1", b"X: \xa0a\x85", b"Connection: \xa0close"),
        {
            "headers": (("host", "example.test"), ("x", "\xa0a\x85"), ("connection", "\xa0close")),
            "keep_alive": True,
        },
    ),
    "letters at the ends of a value": (
        head(b"GET / HTTP/1.1", b"X: X a X"),
        {"headers": (("host", "example.test"), ("x", "X a X"))},
    ),
    "length": (head(b"POST / HTTP/1.1", b"Content-Length: 12"), {"body_length": 12, "has_body": True}),
    "zero length": (head(b"POST / HTTP/1.1", b"Content-Length: 0"), {"body_length": 0, "has_body": False}),
    "chunked": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: Chunked"), {"body_length": None}),
    "expect": (
        head(b"POST / HTTP/1.1", b"Content-Length: 3", b"Expect: 100-Continue"),
        {"expect_continue": True},
    ),
    "expect twice": (
        head(b"POST / HTTP/1.1", b"Content-Length: 3", b"Expect: 100-continue", b"Expect: 100-Continue"),
        {"expect_continue": True},
    ),
    "expect without a body": (head(b"GET / HTTP/1.1", b"Expect: 100-continue"), {"expect_continue": False}),
    "expect in HTTP/1.0 is ignored": (
        head(b"POST / HTTP/1.0", b"Content-Length: 3", b"Expect: 100-continue"),
        {"expect_continue": False},
    ),
    "repeated field": (
        head(b"GET / HTTP/1.1", b"X-Dup: 1", b"x-dup: 2"),
        {"fields": {"host": "example.test", "x-dup": "1,2"}},
    ),
    "repeated Cookie": (
        head(b"GET / HTTP/1.1", b"Cookie: a=1", b"Cookie: b=2"),
        {"fields": {"host": "example.test", "cookie": "a=1; b=2"}},
    ),
    "white space around a value": (
        head(b"GET / HTTP/1.1", b"X: \t a b \t"),
        {"headers": (("host", "example.test"), ("x", "a b"))},
    ),
    "empty value": (head(b"GET / HTTP/1.1", b"X:"), {"headers": (("host", "example.test"), ("x", ""))}),
    "latin-1 value": (
        head(b"GET / HTTP/1.1", b"X: \xe9"),
        {"headers": (("host", "example.test"), ("x", "\xe9"))},
    ),
    "Host with port": (head(host=b"Host: [::1]:80\r\n"), {"authority": "[::1]:80"}),
    "empty Host": (head(host=b"Host:\r\n"), {"authority": ""}),
    "a method of WebDAV": (head(b"PROPFIND / HTTP/1.1"), {"method": "PROPFIND"}),
}

REFUSED = {
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "no method": (head(b" / HTTP/1.1"), 400),
    "two spaces": (head(b"GET  / HTTP/1.1"), 400),
    "tab between": (head(b"GET\t/ HTTP/1.1"), 400),
    "space behind the version": (head(b"GET / HTTP/1.1 "), 400),
    "lower-case method": (head(b"get / HTTP/1.1"), 400),
    "method is no token": (head(b"G@T / HTTP/1.1"), 400),
    "unknown method": (head(b"FROBNICATE / HTTP/1.1"), 501),
    "HTTP/3.0": (head(b"GET / HTTP/3.0"), 505),
    "HTTP/2.0": (head(b"GET / HTTP/2.0"), 505),
    "HTTP/0.9 by name": (head(b"GET / HTTP/0.9"), 505),
    "http/1.1": (head(b"GET / http/1.1"), 400),
    "HTTP/1.10": (head(b"GET / HTTP/1.10"), 400),
    "HTTP/11": (head(b"GET / HTTP/11"), 400),
    "no version number": (head(b"GET / HTTP/"), 400),
    "non-ASCII target": (head(b"GET /\xc3\xa9 HTTP/1.1"), 400),
    "relative target": (head(b"GET a HTTP/1.1"), 400),
    "star for GET": (head(b"GET * HTTP/1.1"), 400),
    "CONNECT": (head(b"CONNECT example.test:80 HTTP/1.1"), 400),
    "absolute form without authority": (head(b"GET http:///a HTTP/1.1"), 400),
    "absolute form with user": (head(b"GET http://u:p@example.test/ HTTP/1.1"), 400),
    "absolute form of another scheme": (head(b"GET ftp://example.test/ HTTP/1.1"), 400),
    "no Host": (head(host=b""), 400),
    "two Hosts": (head(b"GET / HTTP/1.1", HOST[:-2]), 400),
    "Host with a path": (head(host=b"Host: a/b\r\n"), 400),
    "Host with a space": (head(host=b"Host: a b\r\n"), 400),
    "Host with user": (head(host=b"Host: u@a\r\n"), 400),
    "Host with two ports": (head(host=b"Host: a:1:2\r\n"), 400),
    "Host with a word as port": (head(host=b"Host: a:http\r\n"), 400),
    "Host with a bare IPv6 address": (head(host=b"Host: ::1\r\n"), 400),
    "CL and TE": (head(b"POST / HTTP/1.1", b"Content-Length: 3", b"Transfer-Encoding: chunked"), 400),
    "TE in HTTP/1.0": (head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"), 400),
    "TE xchunked": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: xchunked"), 501),
    "TE gzip, chunked": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: gzip, chunked"), 501),
    "TE identity": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: identity"), 501),
    "TE twice": (
        head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        400,
    ),
    "TE chunked, chunked": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked, chunked"), 400),
    "TE with vertical tab": (head(b"POST / HTTP/1.1", b"Transfer-Encoding: \x0bchunked"), 400),
    "two different lengths": (head(b"POST / HTTP/1.1", b"Content-Length: 3", b"Content-Length: 4"), 400),
    "two equal lengths": (head(b"POST / HTTP/1.1", b"Content-Length: 3", b"Content-Length: 3"), 400),
    "length list": (head(b"POST / HTTP/1.1", b"Content-Length: 3, 3"), 400),
    "length +3": (head(b"POST / HTTP/1.1", b"Content-Length: +3"), 400),
    "length 1_0": (head(b"POST / HTTP/1.1", b"Content-Length: 1_0"), 400),
    "length -1": (head(b"POST / HTTP/1.1", b"Content-Length: -1"), 400),
    "length 0x5": (head(b"POST / HTTP/1.1", b"Content-Length: 0x5"), 400),
    "length with Arabic digits": (head(b"POST / HTTP/1.1", "Content-Length: ٣".encode()), 400),
    "empty length": (head(b"POST / HTTP/1.1", b"Content-Length:"), 400),
    "length of 20 digits": (head(b"POST / HTTP/1.1", b"Content-Length: 99999999999999999999"), 400),
    "another expectation": (head(b"GET / HTTP/1.1", b"Expect: tea"), 417),
    "an expectation with other white space": (head(b"GET / HTTP/1.1", b"Expect: \xa0100-continue"), 417),
    "space before colon": (head(b"GET / HTTP/1.1", b"X : 1"), 400),
    "obs-fold": (head(b"GET / HTTP/1.1", b"X: 1", b" 2"), 400),
    "obs-fold with tab": (head(b"GET / HTTP/1.1", b"X: 1", b"\t2"), 400),
    "fold in the first line": (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    "no colon": (head(b"GET / HTTP/1.1", b"nonsense"), 400),
    "empty name": (head(b"GET / HTTP/1.1", b": 1"), 400),
    "name is no token": (head(b"GET / HTTP/1.1", b"X(: 1"), 400),
    "bare LF": (head(b"GET / HTTP/1.1", b"X: 1\nY: 2"), 400),
    "bare CR": (head(b"GET / HTTP/1.1", b"X: 1\rY: 2"), 400),
    "NUL": (head(b"GET / HTTP/1.1", b"X: 1\x002"), 400),
    "DEL": (head(b"GET / HTTP/1.1", b"X: 1\x7f2"), 400),
    "escape in a value": (head(b"GET / HTTP/1.1", b"X: \x1b"), 400),
    "101 fields": (head(b"GET / HTTP/1.1", *[b"X: 1"] * 100), 431),
    "long field line": (head(b"GET / HTTP/1.1", b"X: " + b"1" * 8190), 431),
}


BOTH = "Content-Length together with Transfer-Encoding (RFC 9112 6.1)"
CODING_IN_1_0 = "Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1)"
ANOTHER_CODING = "only the transfer coding chunked is known (RFC 9112 6.1)"
NO_LENGTH = "malformed Content-Length (RFC 9110 8.6)"
# The words of each refusal, which a client's author reads.
WORDS = {
    "HTTP/0.9": "malformed request line (RFC 9112 3)",
    "unknown method": "the server does not know this method (RFC 9110 15.6.2)",
    "HTTP/3.0": "only HTTP/1.0 and HTTP/1.1 are spoken here (RFC 9110 15.6.6)",
    "star for GET": "malformed request target (RFC 9112 3.2)",
    "no Host": "no Host field (RFC 9112 3.2)",
    "two Hosts": "host is repeated (RFC 9110 5.3)",
    "Host with a path": "malformed Host field (RFC 9112 3.2)",
    "TE in HTTP/1.0": CODING_IN_1_0,
    "TE gzip, chunked": ANOTHER_CODING,
    "another expectation": "the only expectation known is 100-continue (RFC 9110 10.1.1)",
    "obs-fold": "obsolete line folding (RFC 9112 5.2)",
    "obs-fold with tab": "obsolete line folding (RFC 9112 5.2)",
    "bare LF": "bare CR or bare LF in the request head (RFC 9112 2.2)",
    "NUL": "control character in the request head (RFC 9110 5.5)",
    "space before colon": "malformed request head: Invalid header token",
    "101 fields": "more than 100 header fields",
    "long field line": "a header line is longer than 8190 bytes",
}
SAID = {REFUSED[name][0]: words for name, words in WORDS.items()}


@pytest.mark.parametrize(("data", "expected"), TAKEN.values(), ids=TAKEN)
def test_taken(data: bytes, expected: dict[str, object]) -> None:
    first, request = parse_head(data, LIMITS), parse_head(data, LIMITS)  # judged, then known
    assert first == request
    assert {name: getattr(request, name) for name in expected} == expected


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
def test_refused_r74(data: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_head(data, LIMITS)
    assert caught.value.status == status
    assert caught.value.message == str(caught.value) == SAID.get(data, caught.value.message)


# What llhttp would refuse as well, or does not tell us of: the rule does not rest on it.
LENGTHS = {
    "none": ((1, 1), {}, 0),
    "zero": ((1, 1), {"content-length": "0"}, 0),
    "digits": ((1, 0), {"content-length": "0012"}, 12),
    "19 digits": ((1, 1), {"content-length": "9" * 19}, int("9" * 19)),
    "chunked": ((1, 1), {"transfer-encoding": "CHUNKED"}, None),
    "chunked, later version": ((1, 2), {"transfer-encoding": "chunked"}, None),
}
NO_LENGTHS = {
    "both": ((1, 1), {"content-length": "3", "transfer-encoding": "chunked"}, 400, BOTH),
    "both in HTTP/1.0": ((1, 0), {"content-length": "3", "transfer-encoding": "chunked"}, 400, BOTH),
    "coding in HTTP/1.0": ((1, 0), {"transfer-encoding": "chunked"}, 400, CODING_IN_1_0),
    "another coding": ((1, 1), {"transfer-encoding": "gzip"}, 501, ANOTHER_CODING),
    **{
        f"length {length!r}": ((1, 1), {"content-length": length}, 400, NO_LENGTH)
        for length in ("", "+3", "-1", " 3", "3 ", "3\n", "1_0", "0x5", "٣", "3,3", "9" * 20)
    },
}


@pytest.mark.parametrize(("version", "fields", "length"), LENGTHS.values(), ids=LENGTHS)
def test_length_of_the_body(version: tuple[int, int], fields: dict[str, str], length: int | None) -> None:
    assert _body_length(version, fields) == length


@pytest.mark.parametrize(("version", "fields", "status", "said"), NO_LENGTHS.values(), ids=NO_LENGTHS)
def test_refused_lengths_of_the_body_r74(
    version: tuple[int, int], fields: dict[str, str], status: int, said: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        _body_length(version, fields)
    assert (caught.value.status, caught.value.message) == (status, said)


def test_limits_are_reached_exactly() -> None:
    longest = b"X: " + b"1" * (LIMITS.header_line_max_bytes - 3)
    assert len(parse_head(head(b"GET / HTTP/1.1", longest), LIMITS).get("x")) == 8187
    assert len(parse_head(head(b"GET / HTTP/1.1", *[b"X: 1"] * 99), LIMITS).headers) == 100
    few = replace(LIMITS, header_max_count=1)
    assert parse_head(head(), few).headers == (("host", "example.test"),)
    with pytest.raises(BadRequest, match="more than 1 header"):
        parse_head(head(b"GET / HTTP/1.1", b"X: 1"), few)


def test_known_fields_are_held_to_the_limits_again() -> None:
    data = head(b"GET / HTTP/1.1", b"X-Known: 1", b"Y: 2")
    parse_head(data, LIMITS)
    for limits in (replace(LIMITS, header_max_count=2), replace(LIMITS, header_line_max_bytes=10)):
        with pytest.raises(BadRequest, match=r"more than 2|longer than 10"):
            parse_head(data, limits)


def test_known_fields_go_with_another_method_and_target() -> None:
    parse_head(head(b"GET / HTTP/1.1", b"X-Shared: 1"), LIMITS)
    parse_head(head(b"PUT / HTTP/1.1", b"X-Other: 1"), LIMITS)
    request = parse_head(head(b"PUT /a%20b?c#d HTTP/1.1", b"X-Shared: 1"), LIMITS)
    assert (request.method, request.target, request.path, request.query) == ("PUT", "/a%20b?c#d", "/a b", "c")
    assert request.get("x-shared") == "1"
    assert request.authority == "example.test"
    absolute = parse_head(head(b"GET http://b.test/ HTTP/1.1", b"X-Shared: 1"), LIMITS)
    assert absolute.authority == "b.test"


@pytest.mark.parametrize("line", [b"GETX / HTTP/1.1", b"GET x HTTP/1.1", b"GET / HTTP/2.0"])
def test_known_fields_save_no_bad_request_line_r74(line: bytes) -> None:
    parse_head(head(), LIMITS)
    with pytest.raises(BadRequest):
        parse_head(head(line), LIMITS)


def test_what_was_known_under_one_version_is_judged_again_under_another() -> None:
    chunked = b"Transfer-Encoding: chunked"
    parse_head(head(b"POST / HTTP/1.1", chunked), LIMITS)
    with pytest.raises(BadRequest, match=r"HTTP/1\.0"):
        parse_head(head(b"POST / HTTP/1.0", chunked), LIMITS)
    assert not parse_head(head(b"GET / HTTP/1.0"), LIMITS).keep_alive


def test_an_endless_variety_of_fields_does_not_grow_the_table() -> None:
    for index in range(KNOWN_MAX_COUNT + 100):
        parse_head(head(b"GET / HTTP/1.1", b"X: %d" % index), LIMITS)
        assert len(_KNOWN) <= KNOWN_MAX_COUNT
    parse_head(head(b"GET / HTTP/1.1", b"X: " + b"1" * KNOWN_MAX_BYTES), LIMITS)
    assert max(map(len, _KNOWN)) <= KNOWN_MAX_BYTES
    longest = b"X: " + b"1" * (KNOWN_MAX_BYTES - len(HOST) - len(b"X: \r\n\r\n"))
    parse_head(head(b"GET / HTTP/1.1", longest), LIMITS)
    assert max(map(len, _KNOWN)) == KNOWN_MAX_BYTES


def test_get_names_fields_in_lower_case() -> None:
    request = parse_head(head(b"GET / HTTP/1.1", b"X-A: 1"), LIMITS)
    assert (request.get("x-a"), request.get("x-b"), request.get("x-b", "?")) == ("1", "", "?")


def test_fields_that_are_known_are_not_judged_again() -> None:
    lines = head()[len(b"GET / HTTP/1.1\r\n") :]
    first = parse_head(head(), LIMITS)
    assert _KNOWN[lines] == (first.headers, first.fields, True, 0)
    _KNOWN[lines] = ((("x", "kept"),), {"x": "kept"}, False, 7)
    request = parse_head(head(b"GET /a HTTP/1.1"), LIMITS)
    assert (request.headers, request.keep_alive, request.body_length, request.authority) == (
        (("x", "kept"),),
        False,
        7,
        "",
    )
    judged = parse_head(head(b"GET /a HTTP/1.0"), LIMITS)
    assert judged.authority == "example.test", "under another version they are"


def test_a_name_is_decoded_once() -> None:
    first, second = (parse_head(head(b"GET / HTTP/1.1", b"X-Once: %d" % index), LIMITS) for index in range(2))
    assert first.headers[1][0] is second.headers[1][0]


def test_an_endless_variety_of_names_is_still_read_right() -> None:
    for index in range(NAMES_MAX_COUNT + 100):
        name = f"X-{index}"
        request: Request = parse_head(head(b"GET / HTTP/1.1", f"{name}: {index}".encode()), LIMITS)
        assert request.get(name.lower()) == str(index)
        assert len(_NAMES) <= NAMES_MAX_COUNT
