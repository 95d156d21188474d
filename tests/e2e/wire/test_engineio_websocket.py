"""Engine.IO 4 by raw bytes against the server process: docs/protocol.md 1.5 - 1.8.

Heartbeat, upgrade, WebSocket, close reasons. It must know no Socket.IO but what makes the application answer.
"""

import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from wsframe import Opcode, encode_frame
from wsframe.deflate import compress

OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
COMPRESSED = 0x40  # RSV1 in a frame's first byte (RFC 7692 section 6)


# ---- 1.5 heartbeat


def test_1_5_advertised_times_are_true_milliseconds(hasty: Any) -> None:
    opened = hasty.handshake()
    assert (opened["pingInterval"], opened["pingTimeout"], opened["maxPayload"]) == (300, 5700, 1000)


def test_1_5_the_server_pings_and_the_interval_counts_from_the_pong(small: Any, way: str) -> None:
    session = small.session(way)
    session.send("40")
    for _ in range(3):
        if way == "websocket":
            while session.next_raw() != "2":
                pass
        else:
            while "2" not in small.poll(session.sid).answer().text.split("\x1e"):
                pass
        session.send("3")
    session.send('42["echo",1]')
    while session.next() != '42["echoed",1]':
        pass


def test_1_5_a_client_that_answers_no_ping_is_closed(hasty: Any) -> None:
    """On both transports at once."""
    websocket, polling = hasty.session("websocket"), hasty.session("polling")
    assert hasty.poll(polling.sid).answer().text == "2"
    assert [websocket.next_raw(), websocket.next_raw()] == ["2", None]
    assert polling.ended()


def test_1_5_a_ping_from_the_client_is_an_error(wire: Any, way: str) -> None:
    session = wire.session(way)
    session.send("2")
    assert session.ended()


def test_1_5_a_silent_client_dies_after_interval_and_timeout_and_not_before(hasty: Any) -> None:
    """On both transports at once."""
    began = time.monotonic()
    sessions = [hasty.session(way) for way in ("websocket", "polling")]
    for session in sessions:
        session.send("40")
        session.name = str(session.next()).split('"')[3]
    hasty.server.wait_for(" is gone: ")  # the first of them
    assert time.monotonic() - began >= 6.0
    for session in sessions:
        hasty.wait_gone(session, "ping timeout")
    assert hasty.poll(sessions[1].sid).answer().code == 1


def test_1_5_a_pong_nobody_asked_for_is_ignored(wire: Any, way: str) -> None:
    session = wire.joined(way)
    session.send("3", "3", '42["echo",1]')
    assert session.next() == '42["echoed",1]'


# ---- 1.6 upgrade


def test_1_6_upgrade_step_by_step(wire: Any) -> None:
    """R22: the whole dance, the open poll released by a noop."""
    session = wire.joined("polling")
    poll = wire.poll(session.sid)
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe")
    assert websocket.next_raw() == "3probe"
    assert poll.answer().text == "6"
    assert wire.poll(session.sid).answer().text == "6"
    assert wire.post(session.sid, '42["echo","between"]').text == "ok"
    websocket.send("5")
    assert websocket.next_raw() == '42["echoed","between"]'
    websocket.send('42["echo","after"]')
    assert websocket.next_raw() == '42["echoed","after"]'


def test_1_6_traps_a_and_b_2probe_and_5_back_to_back_and_no_stray_noop(wire: Any) -> None:
    """R22: no noop on the WebSocket."""
    session = wire.joined("polling")
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe", "5", '42["echo","same segment"]')
    assert [websocket.next_raw(), websocket.next_raw()] == ["3probe", '42["echoed","same segment"]']


def test_1_6_requests_after_the_upgrade_are_refused_without_disturbing_it(wire: Any) -> None:
    session = wire.joined("polling")
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe", "5")
    assert websocket.next_raw() == "3probe"
    assert wire.poll(session.sid).answer().code == 3
    assert wire.post(session.sid, '42["echo",1]').code == 3
    websocket.send('42["echo",2]')
    assert websocket.next_raw() == '42["echoed",2]'


def test_1_6_messages_around_an_upgrade_are_neither_lost_nor_doubled_nor_reordered(wire: Any) -> None:
    session = wire.joined("polling")
    session.send(*[f'42["echo",{number}]' for number in range(100)])
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe")
    assert websocket.next_raw() == "3probe"
    session.send(*[f'42["echo",{number}]' for number in range(100, 200)])
    websocket.send("5", *[f'42["echo",{number}]' for number in range(200, 300)])
    assert [websocket.next() for _ in range(300)] == [f'42["echoed",{number}]' for number in range(300)]


@pytest.mark.parametrize("first", ["4hello", "5", "2", "3probe", b"2probe"])
def test_1_6_a_wrong_first_frame_closes_the_websocket_alone(wire: Any, first: Any) -> None:
    session = wire.joined("polling")
    websocket = wire.upgrade(session.sid)
    websocket.send(first)
    assert websocket.ended()
    session.send('42["echo",1]')
    assert session.next() == '42["echoed",1]'


def test_1_6_a_websocket_lost_while_probing_leaves_polling(wire: Any) -> None:
    """R1: a failed upgrade leaves polling alive."""
    session = wire.joined("polling")
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe")
    assert websocket.next_raw() == "3probe"
    websocket.close()
    session.send('42["echo",1]')
    while (packet := session.next()) == "6":
        pass
    assert packet == '42["echoed",1]'


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_1_6_trap_c_what_came_before_a_new_request_counts_before_it(wire: Any, connection: str) -> None:
    """The "5" and the GET are both there when the server looks: the GET must find the session upgraded."""
    kept = wire.request("GET", "EIO=4&transport=polling", Connection="keep-alive")
    assert kept.answer().status == 200
    session = wire.joined("polling")
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe")
    assert websocket.next_raw() == "3probe"
    os.kill(wire.server.pid, signal.SIGSTOP)
    try:
        os.waitid(os.P_PID, wire.server.pid, os.WSTOPPED | os.WNOWAIT)
        websocket.send("5")
        if connection == "close":
            poll = wire.poll(session.sid)
        else:
            poll = kept
            target = f"/socket.io/?EIO=4&transport=polling&sid={session.sid}"
            kept.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    finally:
        os.kill(wire.server.pid, signal.SIGCONT)
    assert poll.answer().code == 3
    websocket.send('42["echo",1]')
    assert websocket.next_raw() == '42["echoed",1]'


def test_1_6_trap_d_a_post_that_is_being_read_is_finished(wire: Any) -> None:
    session = wire.joined("polling")
    body = b'42["echo","posted"]'
    post = wire.request(
        "POST",
        f"EIO=4&transport=polling&sid={session.sid}",
        **{"Content-Length": str(len(body)), "Expect": "100-continue"},
    )
    assert post.socket.recv(100).startswith(b"HTTP/1.1 100")
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe", "5")
    assert websocket.next_raw() == "3probe"
    post.socket.sendall(body)
    assert post.answer().text == "ok"
    assert websocket.next_raw() == '42["echoed","posted"]'


def test_1_6_an_upgrade_that_is_not_completed_in_time_closes_the_websocket_alone(start: Any) -> None:
    """One that says nothing, and one that stops after its probe, both at once."""
    wire = start(upgrade_timeout=5.0)
    sessions = [wire.joined("polling") for _ in range(2)]
    began = time.monotonic()
    _, probing = websockets = [wire.upgrade(session.sid) for session in sessions]
    probing.send("2probe")
    assert probing.next_raw() == "3probe"
    select.select([websocket.request.socket for websocket in websockets], [], [])  # until the first ends
    assert time.monotonic() - began >= 5.0
    assert [websocket.next_raw() for websocket in websockets] == [None, None]
    for session in sessions:
        session.send('42["echo",1]')
        assert session.next() == '42["echoed",1]'
        again = wire.upgrade(session.sid)
        again.send("2probe", "5", '42["echo",2]')
        assert [again.next_raw(), again.next_raw()] == ["3probe", '42["echoed",2]']


def test_1_6_of_two_websockets_that_probe_the_first_wins(wire: Any) -> None:
    session = wire.joined("polling")
    first, second = wire.upgrade(session.sid), wire.upgrade(session.sid)
    first.send("2probe")
    assert first.next_raw() == "3probe"
    second.send("2probe")
    assert second.ended()
    first.send("5", '42["echo",1]')
    assert first.next_raw() == '42["echoed",1]'


def test_1_6_a_session_that_ends_takes_the_probing_websocket_with_it(wire: Any) -> None:
    session = wire.joined("polling")
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe")
    assert websocket.next_raw() == "3probe"
    session.send("1")
    assert websocket.ended()


def test_1_6_a_ping_that_is_due_while_upgrading_is_answered_on_the_websocket(small: Any) -> None:
    sid = small.handshake()["sid"]
    websocket = small.upgrade(sid)
    websocket.send("2probe")
    assert websocket.next_raw() == "3probe"
    while (answer := small.poll(sid).answer()).status == 200:
        assert answer.text == "6"
        websocket.send("5")
    for _ in range(2):
        assert websocket.next_raw() == "2"
        websocket.send("3")


# ---- 1.7 WebSocket


@pytest.fixture
def deflating(start: Any) -> Any:
    """A server that compresses, of messages up to 10,000 bytes."""
    return start(("--ws-per-message-deflate",), max_http_buffer_size=10_000)


def test_1_7_a_message_over_the_limit_closes_with_1009(small: Any) -> None:
    websocket = small.session("websocket")
    websocket.send("4" + "x" * 1000)
    assert websocket.ended()
    assert websocket.close_code == 1009


def test_1_7_a_close_packet_closes_the_websocket_at_once(wire: Any) -> None:
    websocket = wire.joined("websocket")
    websocket.send("1")
    assert websocket.ended()


@pytest.mark.parametrize("packet", ["", "abc", "7"])
def test_1_7_a_bad_websocket_packet_closes(wire: Any, packet: str) -> None:
    websocket = wire.session("websocket")
    websocket.send(packet)
    assert websocket.ended()


@pytest.mark.parametrize("packet", ["0", "5", "6"])
def test_1_7_open_upgrade_and_noop_from_an_open_client_are_ignored(wire: Any, way: str, packet: str) -> None:
    """R29: as the official server, not as python-engineio, which answers "5"."""
    session = wire.joined(way)
    session.send(packet)
    session.send('42["echo",1]')
    assert session.next() == '42["echoed",1]'


def fragments(packet: str, size: int) -> bytes:
    """A text message in frames of `size` bytes, masked as a client's are."""
    data = packet.encode()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(
        encode_frame(
            Opcode.CONTINUATION if number else Opcode.TEXT, piece, b"mask", number == len(pieces) - 1
        )
        for number, piece in enumerate(pieces)
    )


def test_1_7_a_fragmented_message_is_one_packet(wire: Any) -> None:
    websocket = wire.joined("websocket")
    websocket.request.socket.sendall(fragments('42["echo","in é pieces"]', 3))
    assert websocket.next() == '42["echoed","in é pieces"]'


def test_1_7_the_limit_is_on_the_whole_message_not_on_its_fragments(small: Any) -> None:
    websocket = small.session("websocket")
    websocket.request.socket.sendall(fragments("4" + "x" * 1000, 600))
    assert websocket.ended()
    assert websocket.close_code == 1009


def test_1_7_a_message_over_the_limit_is_refused_when_it_is_announced(small: Any) -> None:
    """R23: while reading, not when all of it is in memory; the payload never comes."""
    websocket = small.session("websocket")
    websocket.request.socket.sendall(encode_frame(Opcode.TEXT, "4" + "x" * 1000, b"mask")[:8])
    assert websocket.ended()
    assert websocket.close_code == 1009


def test_1_7_compression_is_off_unless_asked_for(wire: Any) -> None:
    websocket = wire.upgrade(**OFFER)
    assert "sec-websocket-extensions" not in websocket.headers
    websocket.next()


def test_1_7_only_messages_that_gain_by_it_are_compressed(deflating: Any) -> None:
    websocket = deflating.upgrade(**OFFER)
    assert websocket.headers["sec-websocket-extensions"].startswith("permessage-deflate")
    frames = websocket.raw_frames()
    assert next(frames)[0] & COMPRESSED == 0  # the handshake
    websocket.send("40")
    assert [next(frames)[0] & COMPRESSED for _ in range(2)] == [0, 0]
    websocket.send('42["echo","short"]')
    assert next(frames) == (0x81, b'42["echoed","short"]')
    websocket.send('42["echo","' + "x" * 2000 + '"]')
    first, payload = next(frames)
    assert first & COMPRESSED
    assert len(payload) < 100


def test_1_7_a_message_that_inflates_over_the_limit_closes_with_1009(deflating: Any) -> None:
    websocket = deflating.upgrade(**OFFER)
    websocket.next()
    bomb = compress(b"4" + b"x" * 1_000_000)
    assert len(bomb) < 5000
    websocket.request.socket.sendall(encode_frame(Opcode.TEXT, bomb, b"mask", rsv1=True))
    assert websocket.ended()
    assert websocket.close_code == 1009


def test_1_7_the_origin_is_checked_on_a_websocket_and_on_an_upgrade(wire: Any) -> None:
    sid = wire.handshake()["sid"]
    for refused in (wire.upgrade(origin="http://evil.test"), wire.upgrade(sid, origin="http://evil.test")):
        assert (refused.status, refused.headers["connection"]) == (403, "close")
    wire.upgrade(sid, origin="http://friend.test").send("2probe")


# ---- 1.8 close reasons


def overlap(wire: Any, session: Any) -> None:
    first, second = wire.poll(session.sid), wire.poll(session.sid)
    assert (first.answer().text, second.answer().status) == ("1", 400)


def lose_the_poll(wire: Any, session: Any) -> None:
    poll = wire.poll(session.sid)
    session.send('42["echo",1]')
    assert poll.answer().status == 200
    poll = wire.poll(session.sid)
    poll.close()


def send_unmasked(wire: Any, session: Any) -> None:
    """And hang up when the server has said its fault; another that is at fault waits for the server to."""
    session.request.socket.sendall(encode_frame(Opcode.TEXT, "42[1]"))
    assert session.ended()
    session.close()


@pytest.mark.parametrize(
    ("reason", "carrier", "do"),
    [
        ("transport error", "polling", overlap),
        ("transport error", "polling", lose_the_poll),
        ("transport error", "polling", lambda wire, session: session.send("2")),
        ("transport error", "websocket", send_unmasked),
        ("message too large", "websocket", lambda wire, session: session.send("4" + "x" * 1_000_001)),
        ("transport error", "websocket", lambda wire, session: session.send("2")),
        ("transport close", "polling", lambda wire, session: session.send("1")),
        ("transport close", "websocket", lambda wire, session: session.send("1")),
        ("transport close", "websocket", lambda wire, session: session.close()),
        ("parse error", "polling", lambda wire, session: session.send("4x")),
        ("parse error", "websocket", lambda wire, session: session.send("4x")),
        ("parse error", "polling", lambda wire, session: session.send("x")),
        ("parse error", "websocket", lambda wire, session: session.send("x")),
        ("client disconnect", "polling", lambda wire, session: session.send("41")),
        ("client disconnect", "websocket", lambda wire, session: session.send("41")),
        ("server disconnect", "polling", lambda wire, session: session.send('42["leave"]')),
        ("server disconnect", "websocket", lambda wire, session: session.send('42["leave"]')),
    ],
)
def test_1_8_the_disconnect_handler_hears_the_official_reason(
    wire: Any, reason: str, carrier: str, do: Callable[[Any, Any], None]
) -> None:
    session = wire.joined(carrier)
    do(wire, session)
    wire.wait_gone(session, reason)


def test_1_8_a_server_that_stops_says_so_to_every_handler(start: Any, way: str) -> None:
    wire = start()
    session = wire.joined(way)
    wire.server.signal(signal.SIGTERM)
    wire.wait_gone(session, "server shutting down")
    wire.close()  # else the server waits for the close frame of a client that sends none
    assert wire.server.wait() == 0
