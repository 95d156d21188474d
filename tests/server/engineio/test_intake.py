"""Payloads of many packets: taken a batch in each turn of the loop, in order (engineio/intake.py, posts.py).

It must not know sockets; a turn of the loop is what is due now on a clock of our own.
"""

import os
from typing import Any

import pytest

from counted_lines import lines_run
from python_server.engineio.intake import PACKETS_PER_TURN
from python_server.engineio.session import DisconnectReason
from python_server.net.loop import Loop


def turn(world: Any) -> None:
    """What is due now, but not what that asks for in its turn."""
    due = [timer for timer in world.clock.timers if timer.function and timer.when <= world.clock.now]
    for timer in due:
        function, timer.function = timer.function, None
        function()


def payload(count: int, first: int = 0) -> str:
    return "\x1e".join(f"4{number}" for number in range(first, first + count))


def numbers(count: int, first: int = 0) -> list[str]:
    return [str(number) for number in range(first, first + count)]


def test_a_batch_is_taken_at_once(world: Any) -> None:
    sid = world.open()
    assert world.post(sid, payload(PACKETS_PER_TURN - 1)).text == "ok"
    assert world.heard.messages == numbers(PACKETS_PER_TURN - 1)


def test_more_is_taken_turn_by_turn_in_order_and_answered_when_all_is_taken(world: Any) -> None:
    sid = world.open()
    post = world.post(sid, payload(3 * PACKETS_PER_TURN + 5))
    for turns in range(1, 4):
        assert world.heard.messages == numbers(turns * PACKETS_PER_TURN)
        assert post.status == 0
        turn(world)
    assert world.heard.messages == numbers(3 * PACKETS_PER_TURN + 5)
    assert post.text == "ok"
    assert world.engine.sessions[sid].intake is None


@pytest.mark.parametrize("packet", ["6", "3", "4", "b"])
def test_the_smallest_packets_count_like_any(world: Any, packet: str) -> None:
    sid = world.open()
    post = world.post(sid, "\x1e".join([packet] * (2 * PACKETS_PER_TURN)))
    assert post.status == 0
    turn(world)
    turn(world)
    assert post.text == "ok"


def test_others_have_their_turn(world: Any) -> None:
    flood, other = world.open(), world.open()
    post = world.post(flood, payload(10 * PACKETS_PER_TURN))
    assert world.post(other, "4other").text == "ok"
    assert world.heard.messages[-1] == "other"
    assert post.status == 0


def test_a_later_post_waits_its_turn_and_a_third_is_refused(world: Any) -> None:
    sid = world.open()
    first = world.post(sid, payload(PACKETS_PER_TURN + 2))
    second = world.post(sid, payload(3, first=PACKETS_PER_TURN + 2))
    assert (first.status, second.status) == (0, 0)
    turn(world)
    assert (first.text, second.status) == ("ok", 0)
    turn(world)
    assert second.text == "ok"
    assert world.heard.messages == numbers(PACKETS_PER_TURN + 5)
    for _ in range(2):
        world.post(sid, payload(PACKETS_PER_TURN + 1))
    assert world.post(sid, "4x").code == 3
    assert world.heard.closed == ["transport error"]


def test_a_close_waits_its_turn_and_what_is_behind_it_is_not_delivered(world: Any) -> None:
    sid = world.open()
    post = world.post(sid, payload(PACKETS_PER_TURN + 2) + "\x1e1\x1e" + payload(5 * PACKETS_PER_TURN))
    assert world.heard.closed == []
    turn(world)
    assert world.heard.messages == numbers(PACKETS_PER_TURN + 2)
    assert world.heard.closed == ["transport close"]
    assert post.text == "ok"


def test_a_pong_waits_its_turn(world: Any) -> None:
    sid = world.open()
    poll = world.get(sid)
    world.clock.advance(25)
    assert poll.text == "2"
    world.post(sid, payload(PACKETS_PER_TURN))
    world.post(sid, "3")
    session = world.engine.sessions[sid]
    assert session.heartbeat.pinged
    turn(world)
    turn(world)
    assert not session.heartbeat.pinged


def test_a_malformed_packet_counts_from_where_it_stands(world: Any) -> None:
    sid = world.open()
    post = world.post(sid, payload(PACKETS_PER_TURN + 2) + "\x1ex\x1e4never")
    waiting = world.post(sid, "4never")
    turn(world)
    assert world.heard.messages == numbers(PACKETS_PER_TURN + 2)
    assert (post.status, post.code) == (400, 3)
    assert world.heard.closed == ["parse error"]
    turn(world)
    assert waiting.status == 200
    assert world.heard.messages == numbers(PACKETS_PER_TURN + 2)


@pytest.mark.parametrize(("rest", "status"), [("\x1e", 400), ("\x1e4never", 200), ("", 200)])
def test_what_stands_behind_the_session_s_end_is_judged_and_not_delivered(
    world: Any, rest: str, status: int
) -> None:
    sid = world.open()
    world.heard.on_message_do = lambda session, data: session.end(DisconnectReason.PARSE_ERROR)
    assert world.post(sid, "4a" + rest).status == status
    assert world.heard.messages == ["a"]


def test_no_packet_is_taken_while_reading_is_paused(world: Any) -> None:
    def pause_at_10(session: Any, data: str) -> None:
        if data == "9":
            session.pause_reading(True)

    sid = world.open()
    world.heard.on_message_do = pause_at_10
    post = world.post(sid, payload(2 * PACKETS_PER_TURN))
    for _ in range(3):
        turn(world)
    assert world.heard.messages == numbers(10)
    session = world.engine.sessions[sid]
    session.pause_reading(False)
    assert len(world.heard.messages) == 10 + PACKETS_PER_TURN
    assert post.status == 0
    turn(world)
    assert post.text == "ok"
    assert world.heard.messages == numbers(2 * PACKETS_PER_TURN)


def test_a_pause_at_the_last_packet_withholds_the_answer(world: Any) -> None:
    sid = world.open()
    world.heard.on_message_do = lambda session, data: session.pause_reading(True)
    post = world.post(sid, "4a")
    turn(world)
    assert post.status == 0
    world.engine.sessions[sid].pause_reading(False)
    assert post.text == "ok"


@pytest.mark.parametrize("paused", [True, False])
def test_the_end_of_the_session_answers_what_waits(world: Any, paused: bool) -> None:
    sid = world.open()
    posts = [world.post(sid, payload(2 * PACKETS_PER_TURN)), world.post(sid, "4never")]
    session = world.engine.sessions[sid]
    if paused:
        session.pause_reading(True)
        turn(world)
    session.end(DisconnectReason.FORCED_CLOSE)
    for _ in range(3):
        turn(world)
    assert [post.text for post in posts] == ["ok", "ok"]
    assert world.heard.messages == numbers(PACKETS_PER_TURN)
    assert session.intake is None


def test_an_upgrade_does_not_overtake_a_post(world: Any) -> None:
    """The clients wait for their POST's answer before they upgrade; who does not stays on polling."""
    sid = world.open()
    websocket = world.websocket(sid)
    websocket.send("2probe")
    assert websocket.received() == ["3probe"]
    post = world.post(sid, payload(2 * PACKETS_PER_TURN))
    websocket.send("5", "4overtaking")
    assert websocket.received() == ["closed"]
    turn(world)
    turn(world)
    assert post.text == "ok"
    assert world.heard.messages == numbers(2 * PACKETS_PER_TURN)
    assert world.engine.sessions[sid].transport == "polling"


@pytest.mark.parametrize(("count", "status"), [(16, 200), (17, 400)])
def test_packets_of_a_payload_are_bounded_where_an_option_says_so(
    make_world: Any, count: int, status: int
) -> None:
    world = make_world(max_packets_per_payload_count=16)
    sid = world.open()
    post = world.post(sid, payload(count))
    assert post.status == status
    assert len(world.heard.messages) == (count if status == 200 else 0)
    if status == 400:
        assert post.code == 3
        assert "max_decode_packets (16)" in post.text
        assert "max_decode_packets (16)" in world.complaints[0]
        assert world.heard.closed == ["parse error"]


def test_without_the_option_there_is_no_such_bound(world: Any) -> None:
    sid = world.open()
    post = world.post(sid, payload(20_000))
    while not post.status:
        turn(world)
    assert post.text == "ok"
    assert world.heard.messages == numbers(20_000)


def test_the_loop_waits_for_others_between_two_batches(make_world: Any) -> None:
    """The real loop, whose timers of one moment run in one turn."""
    reader, writer = os.pipe()
    loop = Loop(lambda what, error: None)
    world = make_world(call_soon=loop.call_soon)
    try:
        heard: list[int] = []
        loop.add_reader(reader, lambda: heard.append(len(world.heard.messages)))
        os.write(writer, b"x")
        post = world.post(world.open(), payload(3 * PACKETS_PER_TURN + 1))
        while not post.status:
            loop.run_once(0.0)
        assert heard == [PACKETS_PER_TURN, 2 * PACKETS_PER_TURN, 3 * PACKETS_PER_TURN]
    finally:
        loop.close()
        os.close(reader)
        os.close(writer)


def test_a_turn_s_work_does_not_grow_with_the_payload(world: Any) -> None:
    def first_turn(count: int) -> int:
        sid = world.open()
        lines = lines_run(world.post, sid, payload(count))
        while world.engine.sessions[sid].intake is not None:
            turn(world)
        return lines

    first_turn(10)
    assert first_turn(40 * PACKETS_PER_TURN) <= first_turn(2 * PACKETS_PER_TURN) + 100


@pytest.mark.parametrize("message", ["6", "3", "4", b""])
def test_the_smallest_frames_cost_a_bounded_number_of_lines_each(world: Any, message: Any) -> None:
    websocket = world.websocket()
    messages = [message] * 500
    websocket.send(message)
    assert lines_run(websocket.send, *messages) <= 40 * len(
        messages
    )  # frames of 6 and 7 bytes; encoding included
