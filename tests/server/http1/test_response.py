"""Response heads: framing, persistence, and what is refused of an application's fields (http1/response.py).

It must not know sockets or applications.
"""

import pytest

from python_server.http1.parser import Request
from python_server.http1.response import (
    _LINES,
    _STATUSES,
    LINE_MAX_BYTES,
    LINES_MAX_COUNT,
    STATUSES_MAX_COUNT,
    DateField,
    Framing,
    StandingFields,
    check_headers,
    check_status,
    chunk,
    read_field,
    response_head,
    status_text,
)

US = StandingFields.of("us")

HEADS = {
    "length known": (("GET", (1, 1), True, []), 3, (Framing.LENGTH, True), ["Content-Length: 3"]),
    "length declared": (
        ("GET", (1, 1), True, [("Content-Length", "3")]),
        None,
        (Framing.LENGTH, True),
        ["Content-Length: 3"],
    ),
    "unknown, 1.1-R14": (
        ("GET", (1, 1), True, []),
        None,
        (Framing.CHUNKED, True),
        ["Transfer-Encoding: chunked"],
    ),
    "unknown, 1.0-R14": (("GET", (1, 0), True, []), None, (Framing.CLOSE, False), ["Connection: close"]),
    "HEAD, unknown-R14": (("HEAD", (1, 1), True, []), None, (Framing.NONE, True), []),
    "HEAD, known-R14": (("HEAD", (1, 1), True, []), 3, (Framing.NONE, True), ["Content-Length: 3"]),
    "close asked for": (
        ("GET", (1, 1), False, []),
        0,
        (Framing.LENGTH, False),
        ["Connection: close", "Content-Length: 0"],
    ),
    "1.0 kept-R12": (
        ("GET", (1, 0), True, []),
        0,
        (Framing.LENGTH, True),
        ["Connection: keep-alive", "Content-Length: 0"],
    ),
    "the answer says close": (
        ("GET", (1, 1), True, [("Connection", "close")]),
        0,
        (Framing.LENGTH, False),
        ["Connection: close", "Content-Length: 0"],
    ),
}


def asked(method: str = "GET", version: tuple[int, int] = (1, 1)) -> Request:
    return Request(method, "/", "/", "", version, ())


@pytest.mark.parametrize(("request_facts", "length", "outcome", "lines"), HEADS.values(), ids=HEADS)
def test_head(
    request_facts: tuple[str, tuple[int, int], bool, list[tuple[str, str]]],
    length: int | None,
    outcome: tuple[Framing, bool],
    lines: list[str],
) -> None:
    method, version, keep_alive, headers = request_facts
    head, framing, kept, told = response_head(
        asked(method, version), keep_alive, "200 OK", headers, length, "today", US
    )
    found = head.decode().split("\r\n")
    assert (framing, kept) == outcome
    assert f"Content-Length: {told}" in found or framing is not Framing.LENGTH
    assert found[0] == "HTTP/1.1 200 OK"
    assert found[-2:] == ["", ""]
    assert sorted(found[1:-2]) == sorted(["Date: today", "Server: us", *lines])


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_bodiless_r12(status: str) -> None:
    head, framing, kept, _ = response_head(asked(), True, status, [], None, "today", US)
    assert (framing, kept) == (Framing.NONE, True)
    assert b"Transfer-Encoding" not in head


def test_the_applications_date_and_server_stand() -> None:
    fields = [("DATE", "then"), ("server", "theirs")]
    head, _, _, _ = response_head(asked(), True, "200 OK", fields, 0, "today", US)
    assert b"today" not in head
    assert b"us\r\n" not in head


@pytest.mark.parametrize(
    ("server", "texts", "given", "found"),
    [
        ("us", ["X-A: b", "x-c:d "], [], ["Server: us", "X-A: b", "x-c: d"]),
        ("", ["X-A: b"], [], ["X-A: b"]),
        ("", [], [], []),
        ("us", ["server: theirs", "X-A: b"], [], ["server: theirs", "X-A: b"]),
        ("us", ["X-A: b"], [("Server", "its own")], ["Server: its own", "X-A: b"]),
        ("us", ["Server: theirs"], [("Server", "its own")], ["Server: its own"]),
    ],
)
def test_fields_of_every_answer(
    server: str, texts: list[str], given: list[tuple[str, str]], found: list[str]
) -> None:
    standing = StandingFields.of(server, texts)
    head, _, _, _ = response_head(asked(), True, "204 No Content", given, None, "today", standing)
    lines = head.decode().split("\r\n")[1:-2]
    assert sorted(lines) == sorted(["Date: today", *found])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("X-A", "write 'Name: value'"),
        (": b", "not a token"),
        ("X-A: b\r\nX-B: c", "control character"),
        ("Connection: close", "hop-by-hop"),
        ("Content-Length: 3", "the server's own affair"),
        ("date: today", "the server's own affair"),
    ],
)
def test_what_cannot_go_with_every_answer(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_field(text)


REFUSED_FIELDS = {
    "CR LF in a value": ("X", "a\r\nb"),
    "LF in a value": ("X", "a\nb"),
    "NUL in a value": ("X", "\0"),
    "wide value": ("X", "\u20ac"),
    "CR LF in a name": ("X\r\nY", "1"),
    "space in a name": ("X Y", "1"),
    "colon in a name": ("X:", "1"),
    "empty name": ("", "1"),
    "hop-by-hop": ("Transfer-encoding", "chunked"),
    "Connection": ("Connection", "keep-alive"),
    "length with a sign": ("Content-Length", "+1"),
    "length with space": ("Content-Length", " 1"),
}


@pytest.mark.parametrize("fields", REFUSED_FIELDS.values(), ids=REFUSED_FIELDS)
def test_refused_fields_r12(fields: tuple[str, str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # UnicodeEncodeError is one as well
        check_headers([("A", "b"), fields])


@pytest.mark.parametrize("fields", [("X", b"1"), (b"X", "1"), ("X", 1), ("X", None)])
def test_fields_must_be_text_r12(fields: tuple[str, str]) -> None:
    with pytest.raises(TypeError):
        check_headers([fields])


def test_taken_fields() -> None:
    fields = [("X-A", "b\tc \xe9"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d"), ("Content-Length", "7")]
    for _ in range(2):  # judged, then known
        assert check_headers(fields) == 7
        head, _, _, _ = response_head(asked(), True, "200 OK", fields, None, "today", StandingFields.of(""))
        assert head.split(b"\r\n")[1:5] == [
            b"X-A: b\tc \xe9",
            b"Set-Cookie: a=b",
            b"Set-Cookie: c=d",
            b"Content-Length: 7",
        ]
    assert check_headers(fields[:3]) is None
    with pytest.raises(ValueError, match="more than once"):
        check_headers([("Content-Length", "1"), ("content-length", "1")])


def test_an_endless_variety_of_fields_does_not_grow_the_table() -> None:
    for number in range(LINES_MAX_COUNT + 100):
        check_headers([("ETag", f'"{number}"'), ("X-Long", f"{number}" + "x" * LINE_MAX_BYTES)])
        assert len(_LINES) <= LINES_MAX_COUNT
    assert not any(name == "X-Long" for name, _ in _LINES)
    for number in range(STATUSES_MAX_COUNT + 100):
        check_status(f"200 {number}")
    assert len(_STATUSES) <= STATUSES_MAX_COUNT


def test_a_kind_of_str_is_refused_though_the_same_text_is_known_r12() -> None:
    class Text(str):
        __slots__ = ()

    check_headers([("X-Kind", "1")])
    with pytest.raises(TypeError):
        check_headers([("X-Kind", Text("1"))])


@pytest.mark.parametrize("status", ["200", "404 Not Found", "299 "])
def test_taken_statuses(status: str) -> None:
    check_status(status)


@pytest.mark.parametrize("status", ["", "20", "2000 x", "600 x", "200OK", "200 a\r\nb", "abc d", " 200 OK"])
def test_refused_statuses_r12(status: str) -> None:
    with pytest.raises(ValueError, match="three digits"):
        check_status(status)


def test_an_empty_chunk_is_no_chunk_r41() -> None:
    assert chunk(b"") == b""
    assert chunk(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"


def test_texts() -> None:
    assert status_text(404) == "404 Not Found"
    assert status_text(299) == "299 Unknown"
    assert DateField(lambda: 784111777.9).now() == "Sun, 06 Nov 1994 08:49:37 GMT"
