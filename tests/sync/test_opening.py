"""URIs, and heads of responses at every cut: what is read, and what is refused by a typed error.

It must not open a socket.
"""

from __future__ import annotations

from typing import Any

import pytest

from wsframe.sync import InvalidMessage, InvalidURI, connect
from wsframe.sync.opening import HEAD_MAX_BYTES, ResponseHead, Target, header_pairs, parse_uri, write_request

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n"
HEAD = SWITCHING + b"Upgrade: websocket\r\nX-Test:\t one \t\r\nx-test: two\r\nEmpty:\r\n\r\n"


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("ws://h", Target(False, "h", 80, "/", "h", None)),
        ("WS://H:80/a", Target(False, "h", 80, "/a", "h", None)),
        ("ws://h:8000?a=b", Target(False, "h", 8000, "/?a=b", "h:8000", None)),
        ("wss://h:443/", Target(True, "h", 443, "/", "h", None)),
        ("wss://h:80/a?b?c", Target(True, "h", 80, "/a?b?c", "h:80", None)),
        ("ws://[::1]:9/%20", Target(False, "::1", 9, "/%20", "[::1]:9", None)),
        ("ws://ü.example/ü", Target(False, "xn--tda.example", 80, "/%C3%BC", "xn--tda.example", None)),
        ("ws://me:a%3Ab@h/", Target(False, "h", 80, "/", "h", "Basic bWU6YTpi")),
        ("ws://me@h/", Target(False, "h", 80, "/", "h", "Basic bWU6")),
    ],
)  # fmt: skip
def test_uris(uri: str, target: Target) -> None:
    assert parse_uri(uri) == target


@pytest.mark.parametrize(
    "uri",
    [
        *("", "h", "http://h/", "ws:/h", "ws:///a", "ws://:80/", "ws://h:99999/", "ws://h:x/", "ws://[::1/"),
        *(f"ws://{'a' * 64}.example/", "ws://a..b/", "ws://h/\ud800", "ws://me:\ud800@h/"),
        *("ws://h/#", "ws://h/#a", "ws://h /", "ws://h/\r\nX: y", "ws://h/\x7f", "ws://a..ü/"),
    ],
)
def test_what_is_no_uri(uri: str) -> None:
    with pytest.raises(InvalidURI, match="isn't a valid URI") as told:
        parse_uri(uri)
    assert told.value.uri == uri
    assert told.value.msg in str(told.value)


def test_a_request() -> None:
    pairs = [("A", "1"), ("B", "2")]
    assert header_pairs(dict(pairs)) == header_pairs(iter(pairs)) == pairs
    assert header_pairs(None) == []
    assert write_request("/a", pairs) == b"GET /a HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n"


@pytest.mark.parametrize("cut", range(len(HEAD) + 3))
def test_a_head_in_two_pieces(cut: int) -> None:
    stream = HEAD + b"\x81\x00"
    head = ResponseHead()
    whole = head.feed(stream[:cut]) if cut else None
    if cut < len(HEAD):
        assert whole is None
        whole = head.feed(stream[cut:])
        behind = stream[len(HEAD) :]
    else:
        behind = stream[len(HEAD) : cut]
    assert whole is not None
    response, rest = whole
    assert rest == behind
    assert (response.status_code, response.reason_phrase) == (101, "Switching Protocols")
    headers = response.headers
    assert headers["x-TEST"] == "one, two"
    assert headers.get_all("X-Test") == ["one", "two"]
    assert headers["Empty"] == ""
    assert headers.get("absent") is None
    assert len(headers) == len(list(headers)) == 4


@pytest.mark.parametrize("cut", range(len(HEAD)))
def test_a_head_that_ends_too_early(cut: int) -> None:
    head = ResponseHead()
    if cut:
        assert head.feed(HEAD[:cut]) is None
    with pytest.raises(InvalidMessage, match="ended the connection"):
        head.feed(b"")


@pytest.mark.parametrize(
    "head",
    [
        *(b"\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"HTTP/2 200 OK\r\n\r\n", b"HTTP/1.1 1O1 x\r\n\r\n"),
        *(b"HTTP/1.1 101\x00\r\n\r\n", b"HTTP/1.1 999 x\r\n\r\n", b"http/1.1 200 x\r\n\r\n"),
        SWITCHING + b"no colon\r\n\r\n",
        SWITCHING + b"Space : x\r\n\r\n",
        SWITCHING + b"A: 1\r\n folded\r\n\r\n",
        SWITCHING + b"A: 1\nB: 2\r\n\r\n",
        SWITCHING + b"A: \x00\r\n\r\n",
        SWITCHING + b"A:" + b" " * 16_000 + b"\x00\r\n\r\n",  # took seconds of regular expressions
        SWITCHING + b": x\r\n\r\n",
    ],
)
def test_what_is_no_response(head: bytes) -> None:
    with pytest.raises(InvalidMessage, match="valid HTTP response"):
        ResponseHead().feed(head)


def test_other_statuses_of_1xx_come_before() -> None:
    before = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100\r\n\r\n"
    whole = ResponseHead().feed(before + HEAD + b"more")
    assert whole is not None
    assert (whole[0].status_code, whole[1]) == (101, b"more")


def test_a_refusal_keeps_what_came_with_it() -> None:
    whole = ResponseHead().feed(b"HTTP/1.0 404\r\n\r\nnothing")
    assert whole is not None
    assert (whole[0].status_code, whole[0].reason_phrase, whole[1]) == (404, "", b"nothing")


@pytest.mark.parametrize("piece", [b"x", b"A: b\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", bytes(5000)])
def test_a_head_without_end(piece: bytes) -> None:
    """It is refused once it is too long, however it comes, and no more of it is kept."""
    head = ResponseHead()
    for _ in range(HEAD_MAX_BYTES // len(piece)):
        assert head.feed(piece) is None
    with pytest.raises(InvalidMessage, match="more than"):
        head.feed(piece)


def test_a_head_may_be_as_long_as_that() -> None:
    whole = b"HTTP/1.1 200 OK\r\nA: ".ljust(HEAD_MAX_BYTES, b"x") + b"\r\n\r\n"
    assert ResponseHead().feed(whole) is not None
    with pytest.raises(InvalidMessage, match="more than"):
        ResponseHead().feed(b"HTTP/1.1 200 OK\r\nA: ".ljust(HEAD_MAX_BYTES + 1, b"x") + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"proxy": "http://p/"}, "proxies"),
        ({"max_queue": 0}, "max_queue"),
        ({"compression": "x"}, "unsupported"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        connect("ws://h/", **options)
