"""Table B2 of edge and malformed requests, by raw sockets against the running server; one line, one test.

The ids name the rows of the specification (R5, R6, R12, R14, R74, ...).
"""

import socket
import time
from typing import Any

import pytest

GUARD_SECONDS = 60.0
HELLO = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

# Each request that is understood: bytes, statuses in order, and k (stays open) or c (is closed).
SERVED = {
    "HTTP/1.0 without keep-alive-R4": (b"GET / HTTP/1.0\r\n\r\n", [200], "c"),
    "HTTP/1.0 with keep-alive-R4": (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", [200], "k"),
    "HTTP/1.1 keep-alive-R4": (HELLO, [200], "k"),
    "HTTP/1.1 Connection close-R4": (GET + b"Connection: close\r\n\r\n", [200], "c"),
    "HTTP/1.2 is served as 1.1-R5": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", [200], "k"),
    "two pipelined GETs-R4": (HELLO + HELLO, [200, 200], "k"),
    "pipelined behind a body-R4": (POST + b"Content-Length: 2\r\n\r\nhi" + HELLO, [200, 200], "k"),
    "chunked body-R41": (CHUNKED + b"2\r\nhi\r\n0\r\n\r\n", [200], "k"),
    "chunk extension and trailer": (CHUNKED + b"2;x=y\r\nhi\r\n0\r\nT: v\r\n\r\n" + HELLO, [200, 200], "k"),
    "two leading CRLFs-R5": (b"\r\n\r\n" + HELLO, [200], "k"),
    "absolute-form-R5": (b"GET http://b.test/hello HTTP/1.1\r\nHost: a\r\n\r\n", [200], "k"),
    "unread body is dropped-R6": (
        b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nstuff" + HELLO,
        [200, 200],
        "k",
    ),
    "generator, 1.1-R14": (b"GET /generator HTTP/1.1\r\nHost: a\r\n\r\n", [200], "k"),
    "generator, 1.0-R14": (
        b"GET /generator HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        [200],
        "c",
    ),
    "app error before headers-R6": (b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n", [500], "c"),
    "app error after start_response-R6": (b"GET /started HTTP/1.1\r\nHost: a\r\n\r\n", [500], "c"),
    "app never calls start_response-R12": (b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", [500], "c"),
    "start_response twice-R12": (b"GET /twice HTTP/1.1\r\nHost: a\r\n\r\n", [500], "c"),
    "text where bytes are due-R12": (b"GET /text HTTP/1.1\r\nHost: a\r\n\r\n", [500], "c"),
}


def lengths(value: bytes) -> bytes:
    return POST + b"Content-Length: " + value + b"\r\n\r\nhello"


# Each refusal: bytes, status. All are closed, and what stands behind them is never looked at.
REFUSED = {
    "HTTP/0.9-R5": (b"GET /\r\n\r\n", 400),
    "HTTP/3.0-R5": (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    "no Host-R74": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts-R74": (GET + b"Host: b\r\n\r\n", 400),
    "CL and TE-R74": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "TE xchunked-R74": (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
    "TE gzip, chunked-R74": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "two different lengths-R74": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    "length +3-R74": (lengths(b"+3"), 400),
    "length 1_0-R74": (lengths(b"1_0"), 400),
    "length -1-R74": (lengths(b"-1"), 400),
    "chunk size 0x5-R74": (CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", 400),
    "chunk lines with bare LF-R74": (CHUNKED + b"5\nhello\n0\n\n", 400),
    "chunk without CRLF behind it-R74": (CHUNKED + b"5\r\nhelloXX0\r\n\r\n", 400),
    "trailer that is a request-R74": (CHUNKED + b"0\r\nGET /smuggled HTTP/1.1\r\n\r\n", 400),
    "space before colon-R74": (GET + b"X : 1\r\n\r\n", 400),
    "obs-fold-R74": (GET + b"X: 1\r\n 2\r\n\r\n", 400),
    "bare LF head-R74": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare CR in a value-R74": (GET + b"X: 1\r2\r\n\r\n", 400),
    "NUL in a value-R74": (GET + b"X: 1\x002\r\n\r\n", 400),
    "line without colon-R74": (GET + b"nonsense\r\n\r\n", 400),
    "lower-case method-R5": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "G@T-R5": (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "three leading CRLFs-R5": (b"\r\n\r\n\r\n" + HELLO, 400),
    "request line of 9 KB-R5": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "request line of 70 KB-R5": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "header of 9 KB-R75": (GET + b"X: " + b"a" * 9_000 + b"\r\n\r\n", 431),
    "header of 70 KB-R75": (GET + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    "headers of 70 KB together-R75": (GET + (b"X: " + b"a" * 7_000 + b"\r\n") * 10 + b"\r\n", 431),
    "150 headers-R75": (GET + b"X: 1\r\n" * 150 + b"\r\n", 431),
    "Expect: other": (GET + b"Expect: tea\r\n\r\n", 417),
    "body above the limit-R74": (POST + b"Content-Length: 99999999999\r\n\r\n", 413),
    "chunk above the limit-R74": (CHUNKED + b"ffffffffff\r\n", 413),
    "chunk line of 5 KB": (CHUNKED + b"1;" + b"a" * 5_000 + b"\r\n", 400),
    "trailers of 9 KB": (CHUNKED + b"0\r\nX: " + b"a" * 9_000, 400),
    "TLS hello on the plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x9a" * 200, 400),
}


@pytest.mark.parametrize(("data", "statuses", "end"), SERVED.values(), ids=SERVED)
def test_served(server: Any, data: bytes, statuses: list[int], end: str) -> None:
    with server.connect() as client:
        client.send(data)
        answers = [client.answer() for _ in statuses]
        assert [answer and answer.status for answer in answers] == statuses
        assert all(answer.complete for answer in answers)
        assert all(answer.get("Connection") != "close" for answer in answers[:-1])
        if end == "k":
            client.send(HELLO)
            after = client.answer()
            assert after is not None
            assert after.body == b"hello"
        else:
            assert answers[-1].get("Connection") == "close"
            assert client.rest() == b""


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
def test_refused_and_closed_with_nothing_after_it_looked_at(server: Any, data: bytes, status: int) -> None:
    with server.connect() as client:
        client.send(data + SMUGGLED)
        answer = client.answer()
        assert answer is not None
        assert answer.status == status
        assert answer.get("Connection") == "close"
        assert answer.complete
        assert client.rest() == b""
    assert "/smuggled" not in server.state()["ran"]


def test_generator_framing_r14_r41(server: Any) -> None:
    chunked = server.ask("/generator")
    assert chunked.get("Transfer-Encoding") == "chunked"
    assert chunked.body == b"onetwo"
    assert chunked.complete
    assert chunked.get("Date")
    with server.connect() as client:
        client.send(b"GET /generator HTTP/1.0\r\n\r\n")
        closed = client.answer()
        assert closed.get("Transfer-Encoding") is None
        assert closed.body == b"onetwo"


@pytest.mark.parametrize("path", ["/hello", "/generator", "/file?plain", "/whole?2000000"])
def test_head_has_no_body_r14(server: Any, path: str) -> None:
    with server.connect() as client:
        client.send(f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() + HELLO)
        assert client.answer("HEAD").status == 200
        assert client.answer().body == b"hello"


@pytest.mark.parametrize("status", [204, 304])
def test_bodiless_statuses_r12(server: Any, status: int) -> None:
    with server.connect() as client:
        client.send(f"GET /empty?{status} HTTP/1.1\r\nHost: a\r\n\r\n".encode() + HELLO)
        answer = client.answer()
        assert answer.status == status
        assert answer.get("Content-Length") is None
        assert answer.get("Transfer-Encoding") is None
        assert client.answer().body == b"hello"


def test_error_after_the_first_chunk_truncates_r6(server: Any) -> None:
    answer = server.ask("/late")
    assert answer.status == 200
    assert not answer.complete
    assert answer.body == b"first"
    assert b"Traceback" not in answer.raw_body
    assert "late" in server.state()["closed"]


def test_error_after_the_first_piece_resets_a_close_delimited_answer_r6(server: Any) -> None:
    with server.connect() as client:
        client.send(b"GET /late HTTP/1.0\r\n\r\n")
        assert client.ends_by_reset()


def test_answer_below_its_content_length_truncates_r6(server: Any) -> None:
    answer = server.ask("/short")
    assert not answer.complete


def test_bytes_beyond_content_length_are_dropped_r6(server: Any) -> None:
    with server.connect() as client:
        client.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n" + HELLO)
        assert client.answer().body == b"lon"
        assert client.answer().body == b"hello"


def test_no_traceback_reaches_the_client_but_one_reaches_the_log_r6(server: Any) -> None:
    answer = server.ask("/early")
    assert answer.body == b"Internal Server Error\n"
    server.program.wait_for("RuntimeError: raised on purpose")


@pytest.mark.parametrize(
    "kind",
    [
        *("crlf-value", "lf-value", "crlf-name", "space-name", "crlf-status", "bytes-value", "wide-value"),
        *("bytes-status", "short-status", "interim-status", "hop-by-hop", "two-lengths", "no-number"),
        "204-length",
    ],
)
def test_a_bad_response_header_is_refused_r12(server: Any, kind: str) -> None:
    answer = server.ask(f"/header?{kind}")
    assert answer.status == 500
    assert answer.get("Injected") is None
    assert answer.body == b"Internal Server Error\n"


def test_write_callable_r13(server: Any) -> None:
    assert server.ask("/writes").body == b"written twice returned"


def test_start_response_with_exc_info_replaces_the_head_r12(server: Any) -> None:
    answer = server.ask("/replaced")
    assert (answer.status, answer.body) == (503, b"replaced")


def test_close_is_called_r6(server: Any) -> None:
    before = server.state()["closed"].count("generator")
    server.ask("/generator")
    deadline = time.monotonic() + GUARD_SECONDS
    while (count := server.state()["closed"].count("generator")) == before:  # behind the end of the answer
        assert time.monotonic() < deadline
    assert count == before + 1


def test_100_on_the_first_read_only(server: Any) -> None:
    with server.connect() as client:
        client.send(POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert client.interim() == 100
        client.send(b"he")
        client.send(b"llo")
        answer = client.answer()
        assert (answer.status, answer.body, answer.interim) == (200, b"hello", [])
        client.send(HELLO)
        assert client.answer().body == b"hello"


def test_no_100_and_close_when_the_application_does_not_read(server: Any) -> None:
    with server.connect() as client:
        client.send(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.interim, answer.get("Connection")) == (200, [], "close")
        assert client.rest() == b""


def test_an_early_answer_survives_a_body_that_still_comes_r4(server: Any) -> None:
    """Lingering close: unread input must not turn the answer into a reset."""
    with server.connect() as client:
        client.send(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 500_000)
        answer = client.answer()
        assert (answer.status, answer.body, answer.get("Connection")) == (200, b"hello", "close")
        client.send(b"x" * 500_000)
        assert client.rest() == b""


def test_a_half_closed_client_gets_all_its_answers_r4(server: Any) -> None:
    with server.connect() as client:
        client.send(HELLO + HELLO + b"GET /generator HTTP/1.1\r\nHost: a\r\n\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert [client.answer().body for _ in range(3)] == [b"hello", b"hello", b"onetwo"]
        assert client.rest() == b""


def test_head_and_small_body_are_one_segment_r13(server: Any) -> None:
    with server.connect() as client:
        client.send(HELLO)
        assert client.socket.recv(65_536).endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_every_way_to_read_a_body_r80(server: Any, framing: str) -> None:
    body = b"one\ntwo\nthree"
    head = b"Content-Length: %d\r\n" % len(body)
    if framing == "chunked":
        head = b"Transfer-Encoding: chunked\r\n"
        wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:5], body[5:])) + b"0\r\n\r\n"
    else:
        wire = body
    assert server.ask("/echo", head, "POST", wire).body == body
    assert server.ask("/lines", head, "POST", wire).body == repr([b"one\n", b"two\n", b"three"]).encode()


@pytest.mark.parametrize(
    ("kind", "size"), [("plain", 2_999_811), ("offset", 0), ("short", 1_000), ("memory", 9)]
)
def test_file_wrapper(server: Any, kind: str, size: int) -> None:
    answer = server.ask(f"/file?{kind}")
    assert answer.complete
    expected = b"in memory" if kind == "memory" else (bytes(range(256)) * 11_718 + b"end")
    assert answer.body == (b"" if kind == "offset" else expected[:size])


def test_a_whole_body_above_every_limit_of_the_queue(server: Any) -> None:
    answer = server.ask("/whole?50000000")
    assert answer.get("Content-Length") == "50000000"
    assert answer.complete
