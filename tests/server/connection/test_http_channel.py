"""One connection's requests over a fake transport: order, deadlines, refusals (http_channel.py, exchange.py).

It must not know sockets or clocks: deadlines are fired by hand.
"""

from collections.abc import Callable
from typing import Any

import pytest

from python_server.connection.exchange import Exchange, ExchangeServices
from python_server.connection.http_channel import HTTPChannel, HTTPServices
from python_server.net.sendfile import FileSlice
from python_server.settings import HTTPSettings
from told_time import HandDeadline

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


class FakeTransport:
    """Keeps what is written; `ended` is how it was closed."""

    peer = ("127.0.0.1", 1)
    local = ("127.0.0.1", 2)

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.pauses = 0
        self.blocked = False
        self.ended: str | None = None
        self.handler: Any = None

    @property
    def wire(self) -> bytes:
        return b"".join(bytes(piece) for piece in self.sent)

    def write(self, data: Any) -> None:
        self.sent.append(data)

    @property
    def paused(self) -> bool:
        return bool(self.pauses)

    def pause_reading(self, reasons: int, paused: bool) -> None:
        self.pauses = self.pauses | reasons if paused else self.pauses & ~reasons

    def set_handler(self, handler: Any) -> None:
        self.handler = handler

    def close(self, abort: str | None = None, *, reset: bool = False) -> None:
        if self.ended is None:
            self.ended = "orderly" if abort is None else f"{'reset' if reset else 'cut'}: {abort}"


class Handler:
    """Notes what it is told; answers only when a test says so, or `at_once`."""

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once
        self.exchanges: list[Exchange] = []
        self.told: list[object] = []

    def request_received(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.told.append(exchange.request.path)
        if self.at_once:
            exchange.respond(200, [], exchange.request.path.encode())

    def body_received(self, exchange: Exchange, piece: bytes) -> None:
        self.told.append(piece)

    def body_ended(self, exchange: Exchange) -> None:
        self.told.append("end")

    def exchange_lost(self, exchange: Exchange, reason: str) -> None:
        self.told.append(("lost", reason))


class Bench:
    """A channel with everything around it."""

    def __init__(self, at_once: bool = False, *, handed: bool = False) -> None:
        self.handler = Handler(at_once)
        self.transport = FakeTransport()
        self.deadlines: list[HandDeadline] = []
        self.now = 1000.0
        self.lost: list[object] = []
        self.done: list[int] = []
        self.given: list[str] = []
        self.channel = HTTPChannel(
            self.transport,
            HTTPServices(
                route=lambda request: self.handler,
                limits=HTTPSettings(),
                timeouts=HTTPSettings(),
                deadline=self._deadline,
                exchange=ExchangeServices(
                    lambda: self.now,
                    lambda: "today",
                    "s",
                    lambda exchange, seconds: self.done.append(exchange.status),
                    lambda exchange: self.given.append(exchange.request.path),
                ),
                lost=self.lost.append,
            ),
            handed=handed,
        )

    def _deadline(self, fire: Callable[[], Any]) -> HandDeadline:
        def reached() -> None:
            self.now += deadline.seconds or 0.0
            fire()

        deadline = HandDeadline(reached)
        self.deadlines.append(deadline)
        return deadline

    @property
    def deadline(self) -> HandDeadline:
        return self.deadlines[0]

    def receive(self, data: bytes) -> None:
        self.channel.data_received(bytearray(data), len(data))

    def statuses(self) -> list[int]:
        return [int(part[:3]) for part in self.transport.wire.split(b"HTTP/1.1 ")[1:]]


def test_pipelined_requests_are_answered_in_order_one_at_a_time_r4() -> None:
    bench = Bench()
    bench.receive(GET % 1 + GET % 2 + GET % 3)
    for number in (1, 2, 3):
        assert bench.handler.told[-2:] == [f"/{number}", "end"]
        assert len(bench.handler.exchanges) == number
        bench.handler.exchanges[-1].respond(200, [], b"%d" % number)
    assert [part[-1:] for part in bench.transport.wire.split(b"HTTP/1.1 200 OK")[1:]] == [b"1", b"2", b"3"]
    assert bench.done == [200, 200, 200]


def test_a_thousand_pipelined_requests_answered_at_once_do_not_recurse_r4() -> None:
    bench = Bench(at_once=True)
    bench.receive(b"".join(GET % number for number in range(1000)))
    assert bench.statuses() == [200] * 1000


def test_the_next_request_waits_while_the_client_does_not_read() -> None:
    bench = Bench(at_once=True)
    bench.transport.blocked = True
    bench.receive(GET % 1 + GET % 2)
    assert bench.handler.told == ["/1"]
    bench.transport.blocked = False
    bench.channel.write_blocked(False)
    assert bench.handler.told == ["/1", "/2"]


def test_reading_pauses_when_too_much_is_pipelined() -> None:
    bench = Bench()
    bench.receive(GET % 1 + (GET % 2) * 3_000)
    assert bench.transport.paused
    bench.handler.at_once = True
    bench.handler.exchanges[0].respond(200, [])
    assert not bench.transport.paused
    assert len(bench.statuses()) == 3_001


DEADLINES = {
    "nothing came: closed without a word": (b"", 10.0, [], "orderly"),
    "a head that dribbles: 408": (GET[:9], 10.0, [408], "orderly"),
    "a body that stops: 408": (POST % 5 + b"he", 30.0, [408], "orderly"),
    "an answer is awaited: no deadline": (GET % 1, None, None, None),
}


@pytest.mark.parametrize(("data", "seconds", "statuses", "ended"), DEADLINES.values(), ids=DEADLINES)
def test_deadlines(data: bytes, seconds: float | None, statuses: list[int] | None, ended: str | None) -> None:
    bench = Bench()
    if data:
        bench.receive(data)
    assert bench.deadline.seconds == seconds
    if statuses is not None:
        bench.deadline.fire()
        assert bench.statuses() == statuses
        assert bench.transport.ended == ended


def test_more_of_a_head_does_not_move_its_deadline() -> None:
    bench = Bench()
    bench.receive(GET[:5])
    bench.deadline.seconds = 3.0
    bench.receive(GET[5:9])
    assert bench.deadline.seconds == 3.0


def test_more_of_a_body_moves_its_deadline() -> None:
    bench = Bench()
    bench.receive(POST % 5)
    bench.deadline.seconds = 3.0
    bench.receive(b"h")
    assert bench.deadline.seconds == 30.0


def test_a_body_that_we_keep_waiting_has_no_fault() -> None:
    bench = Bench()
    bench.receive(POST % 5)
    bench.handler.exchanges[0].pause_body(True)
    bench.deadline.fire()
    assert bench.transport.ended is None
    assert bench.deadline.seconds == 30.0


def test_a_pause_of_ours_is_not_the_clients_silence() -> None:
    """Let go on a moment before the deadline, it has its whole time again."""
    bench = Bench()
    bench.receive(POST % 5)
    exchange = bench.handler.exchanges[0]
    exchange.pause_body(True)
    bench.now += 29.9
    exchange.pause_body(False)
    bench.deadline.seconds = 0.1
    bench.deadline.fire()
    assert bench.transport.ended is None
    assert bench.deadline.seconds == pytest.approx(29.9)
    bench.deadline.fire()
    assert bench.statuses() == [408]


def test_a_body_that_drips_for_ever_is_ended() -> None:
    bench = Bench()
    bench.receive(POST % 100_000)
    began = bench.now
    while bench.transport.ended is None:
        assert bench.now - began < 60, "a byte a second has kept it open"
        if bench.deadline.seconds is not None and bench.deadline.seconds <= 1.0:
            bench.deadline.fire()
        else:
            bench.now += 1.0
            bench.receive(b"x")
    assert bench.statuses() == [408]
    assert bench.now - began > 29


def test_each_body_of_a_connection_begins_with_the_whole_time() -> None:
    bench = Bench(at_once=True)
    for _ in range(3):
        bench.receive(POST % 2)
        assert bench.deadline.seconds == 30.0
        bench.now += 20.0
        bench.receive(b"a")
        assert bench.deadline.seconds == pytest.approx(10.0, abs=0.01)
        bench.receive(b"b")


def test_a_request_is_told_as_done_or_as_given_away_and_never_as_both() -> None:
    bench = Bench()
    bench.receive(GET % 1)
    bench.handler.exchanges[0].respond(200, [])
    bench.receive(GET % 2)
    bench.handler.exchanges[1].give_away(lambda transport, leftover: None)
    bench.handler.exchanges[1].drop()
    assert (bench.done, bench.given) == ([200], ["/2"])
    assert len(bench.lost) == 1


def test_an_idle_connection_is_closed_after_75_seconds_r4() -> None:
    bench = Bench(at_once=True)
    bench.receive(GET % 1)
    assert bench.deadline.seconds == 75.0
    bench.deadline.fire()
    assert bench.statuses() == [200]
    assert bench.transport.ended == "orderly"


def test_an_unread_body_that_never_ends_gets_no_second_answer() -> None:
    bench = Bench(at_once=True)
    bench.receive(POST % 5)
    assert bench.statuses() == [200]
    bench.deadline.fire()
    assert bench.statuses() == [200]
    assert bench.transport.ended == "orderly"


def test_after_a_refusal_nothing_is_looked_at_r5() -> None:
    bench = Bench(at_once=True)
    bench.receive(GET % 1 + b"nonsense\r\n\r\n" + GET % 2)
    bench.receive(GET % 3)
    assert bench.statuses() == [200, 400]
    assert bench.handler.told == ["/1"]
    assert bench.transport.ended == "orderly"


def test_a_bad_body_is_refused_while_its_handler_waits_r6() -> None:
    bench = Bench()
    bench.receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
    assert bench.statuses() == [400]
    assert bench.handler.told[-1][0] == "lost"  # type: ignore[index]
    bench.handler.exchanges[0].respond(200, [])
    assert bench.statuses() == [400]


def test_a_bad_body_after_the_head_of_the_answer_truncates_it_r6() -> None:
    bench = Bench()
    bench.receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    bench.handler.exchanges[0].start(200, [], b"part")
    bench.receive(b"xyz\r\n")
    assert bench.statuses() == [200]
    assert not bench.transport.wire.endswith(b"0\r\n\r\n")
    assert bench.transport.ended == "orderly"


def test_half_close_with_the_whole_request_still_gets_its_answer() -> None:
    bench = Bench()
    bench.receive(GET % 1)
    bench.receive(b"")
    assert bench.handler.told[-1] == ("lost", "end of stream")
    bench.handler.exchanges[0].respond(200, [])
    assert bench.statuses() == [200]
    assert bench.transport.ended == "orderly"


@pytest.mark.parametrize("data", [b"", GET[:7], POST % 5 + b"h"])
def test_end_of_stream_without_a_whole_request_is_silent_r5(data: bytes) -> None:
    bench = Bench()
    if data:
        bench.receive(data)
    bench.receive(b"")
    assert bench.transport.wire == b""
    assert bench.transport.ended == "orderly"


def test_a_lost_connection_is_told_once_r2() -> None:
    bench = Bench()
    bench.receive(GET % 1)
    bench.channel.connection_lost("reset")
    assert bench.handler.told[-1] == ("lost", "reset")
    assert bench.lost == [bench.channel]
    assert bench.done == [0]
    bench.handler.exchanges[0].respond(200, [])
    assert bench.transport.wire == b""


def test_upgrade_hands_over_what_came_behind_the_head_r76() -> None:
    bench = Bench()

    class Next:
        got = b""

        def data_received(self, buffer: Any, nbytes: int) -> None:
            self.got += bytes(buffer[:nbytes])

    following = Next()
    bench.receive(GET % 1 + b"\x81\x00")
    bench.handler.exchanges[0].upgrade([("Upgrade", "websocket")], lambda transport, leftover: following)
    assert bench.transport.handler is following
    assert following.got == b"\x81\x00"
    assert bench.transport.wire == b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    assert bench.lost == [bench.channel]
    assert bench.deadline.seconds is None


def test_a_connection_whose_next_protocol_cannot_be_made_is_lost_once() -> None:
    bench = Bench()
    bench.receive(GET % 1)
    with pytest.raises(ZeroDivisionError):
        bench.handler.exchanges[0].upgrade([("Upgrade", "websocket")], lambda transport, leftover: 1 // 0)
    bench.channel.connection_lost("internal error")  # the transport ends whoever raises
    assert bench.lost == [bench.channel]


def test_stop_closes_idle_connections_and_lets_a_running_exchange_end_r73() -> None:
    idle, busy = Bench(), Bench()
    busy.receive(GET % 1)
    for bench in (idle, busy):
        bench.channel.refuse_keep_alive()
        bench.channel.close_when_idle()
    assert idle.transport.ended == "cut: server stopped"
    assert busy.transport.ended is None
    busy.handler.exchanges[0].respond(200, [])
    assert b"Connection: close" in busy.transport.wire
    assert busy.transport.ended == "orderly"


def test_an_idle_connection_that_is_parted_with_ends_with_its_next_answer() -> None:
    bench = Bench(at_once=True)
    bench.receive(GET % 1)
    assert bench.channel.part()
    assert bench.channel.part()  # it has not asked yet: still counted
    assert bench.transport.ended is None
    bench.receive(GET % 2)
    assert bench.transport.wire.count(b"Connection: close") == 1
    assert bench.transport.ended == "orderly"


def test_nobody_parts_with_a_running_request_or_with_one_that_came_for_a_session_here() -> None:
    busy, handed = Bench(), Bench(at_once=True, handed=True)
    for bench in (busy, handed):
        bench.receive(GET % 1)
        assert not bench.channel.part()
    busy.handler.exchanges[0].respond(200, [])
    handed.receive(GET % 2)
    assert not handed.channel.part()
    assert [exchange.request.handed for exchange in handed.handler.exchanges] == [True, False]
    assert busy.transport.ended is handed.transport.ended is None


# The exchange itself


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
