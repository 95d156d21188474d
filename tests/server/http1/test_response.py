"""Response heads: framing, persistence, and what is refused of an application's fields (http1/response.py).

It must not know sockets or applications.
"""

from typing import Any

import pytest

from python_server.http1 import response
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


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    """What one test has had judged is judged again in the next."""
    _LINES.clear()
    _STATUSES.clear()


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
        ("us", ["Server: a", "server: b"], [], ["Server: a", "server: b"]),
        ("us", ["X-A: XbX"], [], ["Server: us", "X-A: XbX"]),
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
        ("X-A", "^'X-A' is not a header field: write 'Name: value'$"),
        ("X-A: \xe9", r"^'X-A: é': a field is ASCII \(RFC 9110 5\.5\)$"),
        ("X-A: b\x0b", "control character"),
        (": b", "not a token"),
        ("X-A: b\r\nX-B: c", "control character"),
        ("Connection: close", "hop-by-hop"),
        ("Content-Length: 3", "the server's own affair"),
        ("date: today", "^date is another one with each answer, and the server's own affair$"),
    ],
)
def test_what_cannot_go_with_every_answer(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_field(text)


CONTROL = "control character in the value of header X: {!r}"
NO_TOKEN = "header name is not a token (RFC 9110 5.6.2): {!r}"
NO_NUMBER = "Content-Length is not a number (RFC 9110 8.6): {!r}"
HOP_BY_HOP = "{} is a hop-by-hop header, which only the server may send (PEP 3333)"
REFUSED_FIELDS = {
    "CR LF in a value": (("X", "a\r\nb"), CONTROL.format("a\r\nb")),
    "LF in a value": (("X", "a\nb"), CONTROL.format("a\nb")),
    "NUL in a value": (("X", "\0"), CONTROL.format("\0")),
    "wide value": (("X", "\u20ac"), None),  # the codec's words
    "CR LF in a name": (("X\r\nY", "1"), NO_TOKEN.format("X\r\nY")),
    "space in a name": (("X Y", "1"), NO_TOKEN.format("X Y")),
    "colon in a name": (("X:", "1"), NO_TOKEN.format("X:")),
    "empty name": (("", "1"), NO_TOKEN.format("")),
    "hop-by-hop": (("Transfer-encoding", "chunked"), HOP_BY_HOP.format("Transfer-encoding")),
    "Connection": (("Connection", "keep-alive"), HOP_BY_HOP.format("Connection")),
    "length with a sign": (("Content-Length", "+1"), NO_NUMBER.format("+1")),
    "length with space": (("Content-Length", " 1"), NO_NUMBER.format(" 1")),
}


@pytest.mark.parametrize(("fields", "words"), REFUSED_FIELDS.values(), ids=REFUSED_FIELDS)
def test_refused_fields_r12(fields: tuple[str, str], words: str | None) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # UnicodeEncodeError is one as well
        check_headers([("A", "b"), fields])
    assert words in (None, str(caught.value))


@pytest.mark.parametrize("fields", [("X", b"1"), (b"X", "1"), ("X", 1), ("X", None)])
def test_fields_must_be_text_r12(fields: tuple[str, str]) -> None:
    with pytest.raises(TypeError) as caught:
        check_headers([fields])
    assert str(caught.value) == f"header names and values must be str: {fields!r}"


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
    with pytest.raises(ValueError, match=r"^Content-Length is given more than once \(RFC 9110 8\.6\)$"):
        check_headers([("Content-Length", "1"), ("content-length", "1")])


def test_an_endless_variety_of_fields_does_not_grow_the_table() -> None:
    for number in range(LINES_MAX_COUNT + 100):
        check_headers([("ETag", f'"{number}"'), ("X-Long", f"{number}" + "x" * LINE_MAX_BYTES)])
        assert len(_LINES) <= LINES_MAX_COUNT
    assert not any(name == "X-Long" for name, _ in _LINES)
    for number in range(STATUSES_MAX_COUNT + 100):
        check_status(f"200 {number}")
    assert len(_STATUSES) <= STATUSES_MAX_COUNT


def test_what_was_found_good_is_not_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = [("X-Good", "1"), ("X-" + "n" * (LINE_MAX_BYTES - 3), "2"), ("Content-Length", "3")]
    check_headers(fields)
    check_status("204 Good")

    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(response, "_check_header", never)
    monkeypatch.setattr(response, "STATUS_LINE", None)
    assert check_headers(fields) == 3
    check_status("204 Good")
    assert _STATUSES == {"204 Good": 204}


def test_a_head_is_made_of_the_lines_that_are_kept() -> None:
    _LINES["X-Kept", "1"] = ("server", "X-Kept: as it was kept\r\n")
    _STATUSES["200 Kept"] = 204
    head, framing, _, _ = response_head(asked(), True, "200 Kept", [("X-Kept", "1")], None, "today", US)
    assert head == b"HTTP/1.1 200 Kept\r\nX-Kept: as it was kept\r\nDate: today\r\n\r\n"
    assert framing is Framing.NONE


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


@pytest.mark.parametrize("status", [b"200 OK", 200, None])
def test_a_status_must_be_text_r12(status: Any) -> None:
    with pytest.raises(TypeError) as caught:
        check_status(status)
    assert str(caught.value) == f"status must be str, not {type(status).__name__}"


def test_an_empty_chunk_is_no_chunk_r41() -> None:
    assert chunk(b"") == b""
    assert chunk(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"


def test_texts() -> None:
    assert status_text(404) == "404 Not Found"
    assert status_text(299) == "299 Unknown"


def test_the_date_is_that_of_each_second() -> None:
    times = [0.0, 0.9, 1.0, 784111777.9, 0.0]
    dates = DateField(lambda: times.pop(0))
    assert [dates.now() for _ in range(5)] == [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:01 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
    ]
