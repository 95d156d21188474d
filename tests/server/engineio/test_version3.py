"""Clients of Engine.IO 3 at an engine that lets them in, on a clock of our own: from handshake to silence.

It must not know sockets, or how version 3 is written beyond what a client sees.
"""

import json
from collections import deque
from typing import Any
from urllib.parse import quote

import pytest

from python_server.engineio.intake import PACKETS_PER_TURN
from python_server.engineio.packet import Prepared
from python_server.engineio.protocol3 import encoded
from python_server.engineio.server import EIO3_OFF
from python_server.engineio.session import NO_OUTBOX, Session
from python_server.engineio.session_limits import SessionLimits

WEBSOCKET = {
    "host": "example.org",
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec_websocket_version": "13",
    "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
}
OCTETS = "application/octet-stream"


@pytest.fixture
def world(make_world: Any) -> Any:
    return make_world(allow_eio3=True)


def begin(world: Any, query: str = "EIO=3&transport=polling") -> Any:
    """(sid, session) of a new polling session."""
    length, _, packet = world.request(query=query).text.partition(":")
    assert int(length) == len(packet)
    sid = json.loads(packet[1:])["sid"]
    return sid, world.engine.sessions[sid]


def open_websocket(world: Any, query: str = "EIO=3&transport=websocket") -> Any:
    """(the client's end, session)."""
    websocket = world.request(query=query, **WEBSOCKET).websocket
    (packet,) = websocket.received()
    return websocket, world.engine.sessions[json.loads(packet[1:])["sid"]]


# Who is let in


@pytest.mark.parametrize("fields", [{}, WEBSOCKET])
def test_the_refusal_and_its_log_line_name_the_option(make_world: Any, fields: Any) -> None:
    world = make_world()
    transport = "websocket" if fields else "polling"
    exchange = world.request(query=f"EIO=3&transport={transport}", **fields)
    assert (exchange.status, "allow_eio3" in exchange.text) == (400, True)
    assert fields or json.loads(exchange.body) == {"code": 5, "message": EIO3_OFF}
    (complaint,) = world.complaints
    assert "'3', this server speaks 4: " in complaint
    assert "allow_eio3=True" in complaint
    assert world.engine.sessions == {}


@pytest.mark.parametrize(
    ("query", "revision"),
    [("EIO=3&", 3), ("", 3), ("EIO=4&", 4)],
)
def test_each_client_is_spoken_to_in_its_version(world: Any, query: str, revision: int) -> None:
    """Who says none speaks 3, as for the official server."""
    assert world.request(query=query + "transport=polling").status == 200
    (session,) = world.engine.sessions.values()
    assert session.dialect.revision == revision
    assert not world.complaints


@pytest.mark.parametrize("version", ["2", "5", "33", "abc"])
def test_other_versions_are_refused_still(world: Any, version: str) -> None:
    exchange = world.request(query=f"EIO={version}&transport=polling")
    assert (exchange.status, exchange.code) == (400, 5)
    assert json.loads(exchange.body)["message"] == "Unsupported protocol version"
    assert f"{version!r}, this server speaks 4 and 3: " in world.complaints[0]
    assert "allow_eio3" not in world.complaints[0]


def test_a_client_of_version_4_is_not_disturbed(world: Any) -> None:
    begin(world)
    sid = world.open()
    world.engine.sessions[sid].send(Prepared(["4é", b"\x00"]))
    assert world.get(sid).text == "4é\x1ebAA=="
    assert world.post(sid, "4a\x1ebAQI=", content_type=OCTETS).text == "ok"
    assert world.heard.messages == ["a", b"\x01\x02"]
    assert world.engine.sessions[sid].heartbeat is not None


# Polling


def test_the_handshake_says_what_version_4_is_told(world: Any) -> None:
    exchange = world.request(query="EIO=3&transport=polling")
    handshake = json.loads(exchange.text.partition(":")[2][1:])
    assert set(handshake) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
    assert len(world.heard.opened) == 1


def test_a_poll_with_bytes_is_a_binary_payload(world: Any) -> None:
    sid, session = begin(world)
    session.send(Prepared(["4é"]))
    answer = world.get(sid)
    assert (answer.text, answer.headers["content-type"]) == ("2:4é", "text/plain; charset=UTF-8")
    session.send(Prepared(["4é", b"\x00"]))
    answer = world.get(sid)
    assert (answer.body, answer.headers["content-type"]) == (
        b"\x00\x03\xff4\xc3\xa9\x01\x02\xff\x04\x00",
        OCTETS,
    )


def test_a_long_binary_payload_is_compressed_as_others(world: Any) -> None:
    sid, session = begin(world)
    session.send(Prepared([bytes(5000)]))
    answer = world.get(sid, accept_encoding="gzip")
    assert (answer.headers["content-encoding"], answer.headers["content-type"]) == ("gzip", OCTETS)
    assert len(answer.body) < 200


@pytest.mark.parametrize("without", ["b64=1", "j=0"])
def test_a_client_without_binary_gets_base64(world: Any, without: str) -> None:
    world.request(query=f"EIO=3&transport=polling&{without}")
    ((sid, session),) = world.engine.sessions.items()
    session.send(Prepared(["4é", b"\x00"]))
    payload = "2:4é6:b4AA=="
    expected = payload if without == "b64=1" else f"___eio[0]({json.dumps(payload)});"
    assert world.request(query=f"transport=polling&sid={sid}&{without}").text == expected


def test_a_script_cannot_poll_where_binary_was_agreed_on(world: Any) -> None:
    sid, session = begin(world)
    assert world.request(query=f"transport=polling&sid={sid}&j=0").status == 400
    assert session.alive


def test_posts_come_as_text_as_octets_and_as_a_form(world: Any) -> None:
    sid, _ = begin(world)
    assert world.post(sid, "3:4😀6:b4AA==", content_type="text/plain;charset=UTF-8").text == "ok"
    assert world.post(sid, b"\x00\x02\xff4a\x01\x02\xff\x04\xff", content_type=OCTETS).text == "ok"
    form = "d=" + quote("4:4a\\nb")
    assert world.request("POST", f"transport=polling&sid={sid}&j=0", form.encode()).text == "ok"
    assert world.heard.messages == ["😀", b"\x00", "a", b"\xff", "a\nb"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("", ""),
        ("4a", ""),
        ("2:4\N{GRINNING FACE}", ""),
        ("9999999999:4a", ""),
        ("9" * 1000 + ":4a", ""),
        ("9" * 1_000_000, ""),
        ("2:4a" * 3 + "5:bb4AA", ""),
        (b"\x00" + b"\x09" * 999_999, OCTETS),
        (b"\x00" * 1_000_000, OCTETS),
        (b"\x01\x09\xff" + b"\x04", OCTETS),
        ("2:4a", OCTETS),
        (b"\x00\x02\xff4a", "text/plain"),
    ],
)
def test_a_malformed_post_ends_the_session(world: Any, body: Any, content_type: str) -> None:
    sid, _ = begin(world)
    fields = {"content_type": content_type} if content_type else {}
    assert world.post(sid, body, **fields).status == 400
    assert world.heard.closed == ["parse error"]
    assert world.get(sid).code == 1


def test_the_bound_on_a_body_holds(make_world: Any) -> None:
    world = make_world(allow_eio3=True, max_payload_bytes=100)
    sid, _ = begin(world)
    assert world.post(sid, "96:4" + "x" * 95).text == "ok"  # 99 bytes
    assert world.post(sid, "2:4a" * 26).status == 413


@pytest.mark.parametrize("form", ["text", "octets"])
def test_max_decode_packets_holds(make_world: Any, form: str) -> None:
    world = make_world(allow_eio3=True, max_packets_per_payload_count=3)
    sid, _ = begin(world)
    packet, fields = ("2:4a", {}) if form == "text" else ("\0\2\xff4a", {"content_type": OCTETS})
    assert world.post(sid, packet.encode("latin-1") * 3, **fields).text == "ok"
    assert world.post(sid, packet.encode("latin-1") * 4, **fields).status == 400
    assert world.heard.closed == ["parse error"]
    assert "max_decode_packets (3)" in world.complaints[-1]


@pytest.mark.parametrize("packet", ["1:6", "0:", "1:2", "2:4a"])
def test_a_flood_of_tiny_packets_is_taken_in_turns(
    make_world: Any, monkeypatch: pytest.MonkeyPatch, packet: str
) -> None:
    """As in version 4; a body of a megabyte holds hundreds of thousands. One pong answers all pings."""
    turns: deque[Any] = deque()
    world = make_world(allow_eio3=True, call_soon=turns.append)
    sid, session = begin(world)
    taken: list[Any] = []
    receive = Session._receive
    monkeypatch.setattr(Session, "_receive", lambda self, *what: (taken.append(what), receive(self, *what)))
    post = world.post(sid, packet * 10_000)
    for turn in range(1, 4):
        assert (post.status, len(taken), len(turns)) == (0, turn * PACKETS_PER_TURN, 1)
        turns.popleft()()
    while turns:
        turns.popleft()()
    assert (post.text, len(taken)) == ("ok", 10_000)
    assert session.held_bytes <= 1


def test_a_client_that_posts_its_end(world: Any) -> None:
    sid, _ = begin(world)
    poll = world.get(sid)
    assert world.post(sid, "1:1").text == "ok"
    assert (poll.text, world.heard.closed) == ("1:6", ["transport close"])


def test_overlapping_polls_are_told_so_in_their_version(world: Any) -> None:
    sid, _ = begin(world)
    first, second = world.get(sid), world.get(sid)
    assert (first.text, second.status) == ("1:1", 400)


# WebSocket


def test_a_websocket_has_a_type_byte_in_front_of_bytes(world: Any) -> None:
    websocket, session = open_websocket(world)
    session.send(Prepared(["4é", b"\x00\xff"]))
    assert websocket.received() == ["4é", b"\x04\x00\xff"]
    assert session.outbox is NO_OUTBOX  # it takes frames of version 4
    websocket.send("4hello", b"\x04\x01", "b4AQI=")
    assert world.heard.messages == ["hello", b"\x01", b"\x01\x02"]


def test_a_websocket_of_a_client_without_binary(world: Any) -> None:
    websocket, session = open_websocket(world, "EIO=3&transport=websocket&b64=1")
    session.send(Prepared([b"\x00\xff"]))
    assert websocket.received() == ["b4AP8="]


@pytest.mark.parametrize("message", [b"", b"\x00", b"\x02", b"4a", "", "b", "x", "b4A"])
def test_a_malformed_websocket_message_ends_the_session(world: Any, message: Any) -> None:
    websocket, _ = open_websocket(world)
    websocket.send(message)
    assert (websocket.received(), world.heard.closed) == (["closed"], ["parse error"])


def test_upgrade(world: Any) -> None:
    """What waits for a poll leaves on the WebSocket, in its form there."""
    sid, session = begin(world)
    poll = world.get(sid)
    websocket = world.request(query=f"EIO=3&transport=websocket&sid={sid}", **WEBSOCKET).websocket
    websocket.send("2probe")
    assert (websocket.received(), poll.text) == (["3probe"], "1:6")
    second = world.get(sid)
    world.clock.advance(0.1)
    assert second.text == "1:6"
    session.send(Prepared([b"\x00"]))
    websocket.send("5", b"\x04\x01")
    assert websocket.received() == [b"\x04\x00"]
    assert world.heard.messages == [b"\x01"]
    assert session.transport == "websocket"


def test_a_session_is_half_open_until_its_client_polls(make_world: Any) -> None:
    """It joins the main namespace without a word."""
    limits = SessionLimits(10, 2)
    world = make_world(allow_eio3=True, session_limits=limits)
    sid, _ = begin(world)
    begin(world)
    assert world.request(query="EIO=3&transport=polling").status == 503
    world.get(sid)
    assert limits.half_open_count == 1
    begin(world)


# Heartbeats


@pytest.mark.parametrize("data", ["", "x", "probe"])
def test_a_ping_is_answered_with_its_data(world: Any, data: str) -> None:
    websocket, _ = open_websocket(world)
    websocket.send("2" + data)
    assert websocket.received() == ["3" + data]
    sid, _ = begin(world)
    world.post(sid, f"{1 + len(data)}:2{data}")
    assert world.get(sid).text == f"{1 + len(data)}:3{data}"


def test_the_server_pings_nobody_and_silence_ends_the_session(world: Any) -> None:
    websocket, _ = open_websocket(world)
    sid, _ = begin(world)
    poll = world.get(sid)
    world.clock.advance(40.0)
    websocket.send("2")
    world.clock.advance(4.9)
    assert (websocket.received(), poll.status, world.heard.closed) == (["3"], 0, [])
    world.clock.advance(0.2)  # interval and timeout after the opening
    assert (poll.text, world.heard.closed) == ("1:1", ["ping timeout"])
    world.clock.advance(39.8)
    assert world.heard.closed == ["ping timeout"]
    world.clock.advance(0.2)
    assert world.heard.closed == ["ping timeout"] * 2
    assert world.engine.sessions == {}


def test_a_pong_from_the_client_is_an_error(world: Any) -> None:
    websocket, _ = open_websocket(world)
    websocket.send("3")
    assert world.heard.closed == ["transport error"]


def test_a_client_that_is_not_read_from_is_not_silent(world: Any) -> None:
    _, session = begin(world)
    session.pause_reading(True)
    world.clock.advance(1000.0)
    assert session.alive
    session.pause_reading(False)
    world.clock.advance(44.0)
    assert session.alive
    world.clock.advance(2.0)
    assert world.heard.closed == ["ping timeout"]


def test_a_ping_behind_what_pauses_reading_does_not_start_the_clock(world: Any) -> None:
    websocket, session = open_websocket(world)
    world.heard.on_message_do = lambda session, data: session.pause_reading(True)
    websocket.send("4a", "2")
    world.clock.advance(1000.0)
    assert session.alive


def test_pings_with_data_do_not_add_up_while_nobody_polls(world: Any) -> None:
    sid, session = begin(world)
    for number in range(100):
        world.post(sid, f"3:2{number:02}")
    assert session.held_bytes == 3
    assert world.get(sid).text == "3:300"


def test_a_broadcast_is_written_once_for_all_of_a_version(world: Any) -> None:
    ends = [open_websocket(world) for _ in range(3)]
    prepared = Prepared([b"x" * 10])
    for _, session in ends:
        session.send(prepared)
    assert all(websocket.received() == [b"\x04" + b"x" * 10] for websocket, _ in ends)
    assert prepared.version3.on_websocket.frames.endswith(b"\x04xxxxxxxxxx")
    assert prepared.version3 is encoded(prepared)
