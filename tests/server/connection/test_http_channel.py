"""One connection's requests over a fake transport: order, deadlines, refusals (http_channel.py, exchange.py).

It must not know sockets or clocks: deadlines are fired by hand.
"""

from typing import Any

import pytest

from http_bench import GET, POST, Bench
from python_server.settings import HTTPSettings


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


def test_where_no_idle_connection_is_kept_the_answer_says_so() -> None:
    """Else a proxy sends its next request into the end."""
    bench = Bench(at_once=True, settings=HTTPSettings(keep_alive_timeout_seconds=0.0))
    bench.receive(GET % 1)
    assert b"Connection: close" in bench.transport.wire
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
