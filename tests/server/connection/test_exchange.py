"""One request and its answer: pieces, lengths, chunks, 100, a body that nobody reads.

It must not know sockets.
"""

from typing import Any

import pytest

from http_bench import GET, POST, Bench
from python_server.connection.exchange import Exchange
from python_server.net.sendfile import FileSlice


def exchange_for(data: bytes) -> tuple[Exchange, Bench]:
    bench = Bench()
    bench.receive(data)
    return bench.handler.exchanges[0], bench


def test_streamed_answer_is_chunked_and_ends_r41() -> None:
    exchange, bench = exchange_for(GET % 1)
    exchange.start(200, [], b"a")
    exchange.write(b"")
    exchange.write(b"bc")
    exchange.finish()
    assert bench.transport.wire.endswith(b"\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n")
    assert exchange.sent_bytes == 3


@pytest.mark.parametrize(
    ("data", "ended"),
    [
        (GET % 1, "orderly"),
        (b"GET / HTTP/1.0\r\n\r\n", "reset: no more"),
    ],
)
def test_an_aborted_answer_never_looks_complete_r6(data: bytes, ended: str) -> None:
    exchange, bench = exchange_for(data)
    exchange.start(200, [], b"a")
    exchange.abort("no more")
    assert bench.transport.ended == ended
    assert not bench.transport.wire.endswith(b"0\r\n\r\n")
    exchange.write(b"late")
    exchange.finish()
    assert b"late" not in bench.transport.wire


def test_content_length_is_kept_to_r6() -> None:
    exchange, bench = exchange_for(GET % 1)
    exchange.start(200, [("Content-Length", "3")], b"ab")
    exchange.write(b"cd")
    exchange.finish()
    assert bench.transport.wire.endswith(b"\r\n\r\nabc")
    assert bench.transport.ended is None
    short, bench = exchange_for(GET % 1)
    short.start(200, [("Content-Length", "3")], b"ab")
    short.finish()
    assert bench.transport.ended == "orderly"


def test_continue_is_sent_once_and_only_before_the_answer() -> None:
    exchange, bench = exchange_for(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n") % 5)
    exchange.send_continue()
    exchange.send_continue()
    assert bench.transport.wire == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    ("length", "kept"), [(5, True), (65_536, True), (65_537, False)], ids=["small", "limit", "above"]
)
def test_an_unread_body_is_dropped_up_to_64_kib_r6(length: int, kept: bool) -> None:
    exchange, bench = exchange_for(POST % length)
    exchange.respond(200, [])
    assert (bench.transport.ended is None) is kept
    if kept:
        bench.receive(b"x" * length + GET % 2)
        assert bench.handler.told[-2:] == ["/2", "end"]


def test_a_slice_of_a_file_goes_to_the_transport_as_it_is(tmp_path: Any) -> None:
    from python_server.net.sendfile import FileSource

    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        piece = FileSlice(FileSource(file.fileno()), 2, 5)
    exchange, bench = exchange_for(GET % 1)
    exchange.start(200, [("Content-Length", "5")])
    exchange.write_file(piece)
    exchange.finish()
    assert bench.transport.sent[-1] is piece
    assert piece.read(100) == b"23456"
    assert exchange.sent_bytes == 5


@pytest.mark.parametrize(
    ("theirs", "ours", "goes_on"),
    [(True, True, True), (False, True, False), (True, False, False)],
    ids=["goes on", "ends there", "ends here"],
)
def test_an_answer_of_another_process_is_written_as_it_is_and_counted_there(
    theirs: bool, ours: bool, goes_on: bool
) -> None:
    exchange, bench = exchange_for(GET % 1 + GET % 2)
    assert exchange.keep_alive
    if not ours:
        exchange.refuse_keep_alive()
        assert not exchange.keep_alive
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    exchange.pass_answer(200, answer, keep_alive=theirs)
    assert bench.transport.wire == answer
    assert (exchange.status, exchange.open) == (200, False)
    assert (bench.done, bench.given) == ([], ["/1"])
    assert (bench.transport.ended, bench.handler.told[2:3]) == (
        (None, ["/2"]) if goes_on else ("orderly", [])
    )


def test_an_answer_of_another_process_comes_too_late_for_one_that_was_answered() -> None:
    exchange, bench = exchange_for(GET % 1)
    exchange.respond(400, [])
    wire = bench.transport.wire
    exchange.pass_answer(200, b"late", keep_alive=True)
    assert (bench.transport.wire, exchange.status, bench.given) == (wire, 400, [])
