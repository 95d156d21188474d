"""Requests, sessions, upgrades and their refusals on a clock of our own (engineio/server.py, upgrade.py).

It must not know sockets; the same rules over real ones stand in tests/e2e/wire.
"""

import gc
import json
import weakref
from typing import Any

import pytest

from python_server.engineio.packet import Prepared
from python_server.engineio.session import DisconnectReason


@pytest.mark.parametrize(
    ("method", "query", "status", "code"),
    [
        ("GET", "EIO=4", 400, 0),
        ("GET", "EIO=4&transport=abc", 400, 0),
        ("GET", "EIO=4&transport=webtransport", 400, 0),
        ("GET", "EIO=4&transport=polling&sid=abc", 400, 1),
        ("POST", "EIO=4&transport=polling&sid=abc", 400, 1),
        ("POST", "EIO=4&transport=polling", 400, 2),
        ("PUT", "EIO=4&transport=polling", 400, 2),
        ("POST", "EIO=3&transport=polling", 400, 2),
        ("GET", "EIO=4&transport=websocket", 400, 3),
        ("GET", "EIO=3&transport=polling", 400, 5),
        ("GET", "EIO=abc&transport=polling", 400, 5),
        ("GET", "transport=polling", 400, 5),
        ("GET", "", 400, 0),
    ],
)
def test_error_codes(world: Any, method: str, query: str, status: int, code: int) -> None:
    exchange = world.request(method, query)
    assert (exchange.status, exchange.code) == (status, code)
    assert exchange.headers["content-type"] == "application/json"
    assert world.engine.sessions == {}


def test_a_refused_origin_is_403_with_code_4_and_no_cors_fields(world: Any) -> None:
    exchange = world.request(origin="http://evil.test")
    assert (exchange.status, exchange.code) == (403, 4)
    assert "access-control-allow-origin" not in exchange.headers
    assert len(world.complaints) == 1


@pytest.mark.parametrize(("verdict", "message"), [(False, "Forbidden"), ("not today", "not today")])
def test_allow_request_refuses_with_code_4(make_world: Any, verdict: Any, message: str) -> None:
    exchange = make_world(allow_request=lambda request: verdict).request()
    assert (exchange.status, json.loads(exchange.body)) == (403, {"code": 4, "message": message})


def test_options_is_answered_without_a_session(make_world: Any) -> None:
    exchange = make_world(cors_allowed_origins="*").request("OPTIONS", "", origin="http://a.test")
    assert (exchange.status, exchange.body) == (204, b"")
    assert exchange.headers["access-control-allow-origin"] == "http://a.test"


def test_handshake(world: Any) -> None:
    exchange = world.request()
    assert exchange.headers["content-type"] == "text/plain; charset=UTF-8"
    assert exchange.headers["cache-control"] == "no-store"
    handshake = json.loads(exchange.text[1:])
    assert set(handshake) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
    assert handshake["upgrades"] == ["websocket"]
    assert len(handshake["sid"]) == 20
    assert len(world.heard.opened) == 1
    assert "set-cookie" not in exchange.headers


@pytest.mark.parametrize("options", [{"allow_upgrades": False}, {"transports": ("polling",)}])
def test_no_upgrades_are_offered_when_they_are_off(make_world: Any, options: Any) -> None:
    assert json.loads(make_world(**options).request().text[1:])["upgrades"] == []


def test_the_cookie_comes_with_the_handshake_alone(make_world: Any) -> None:
    world = make_world(cookie="io")
    exchange = world.request()
    sid = json.loads(exchange.text[1:])["sid"]
    assert exchange.headers["set-cookie"] == f"io={sid}; path=/; SameSite=Lax; HttpOnly"
    assert "set-cookie" not in world.post(sid, "4a").headers
    assert world.post(sid, "4a").text == "ok"


def test_a_session_on_a_websocket_from_the_start(world: Any) -> None:
    websocket = world.websocket()
    (packet,) = websocket.received()
    assert json.loads(packet[1:])["upgrades"] == []
    websocket.send("4hello", b"\x01")
    assert world.heard.messages == ["hello", b"\x01"]


def test_post_and_poll(world: Any) -> None:
    sid = world.open()
    poll = world.get(sid)
    assert poll.status == 0
    post = world.post(sid, "4a\x1ebAQI=")
    assert (post.status, post.text) == (200, "ok")
    assert world.heard.messages == ["a", b"\x01\x02"]


def test_any_content_type_is_taken(world: Any) -> None:
    assert world.post(world.open(), "4a", content_type="application/octet-stream").text == "ok"


@pytest.mark.parametrize("body", ["", "9", "bAQI", "4a\x1e"])
def test_a_malformed_post_closes_the_session(world: Any, body: str) -> None:
    sid = world.open()
    assert world.post(sid, body).status == 400
    assert world.get(sid).code == 1
    assert world.heard.closed == ["parse error"]


def test_overlapping_get(world: Any) -> None:
    sid = world.open()
    first, second = world.get(sid), world.get(sid)
    assert (first.status, first.text, second.status) == (200, "1", 400)
    assert world.get(sid).code == 1


def test_overlapping_post(world: Any) -> None:
    sid = world.open()
    query = f"EIO=4&transport=polling&sid={sid}"
    first = world.request("POST", query)  # its body has not come yet
    assert world.post(sid, "4b").status == 400
    world.engine.body_received(first, b"4a")
    world.engine.body_ended(first)
    assert first.status == 400
    assert world.heard.messages == []


def test_a_post_that_grows_over_the_limit_is_not_read_on(make_world: Any) -> None:
    world = make_world(max_payload_bytes=10)
    sid = world.open()
    exchange = world.request("POST", f"EIO=4&transport=polling&sid={sid}")
    for _ in range(3):
        world.engine.body_received(exchange, b"xxxxxx")
    world.engine.body_ended(exchange)
    assert exchange.status == 413
    assert world.heard.messages == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD"])
def test_other_methods_with_a_sid(world: Any, method: str) -> None:
    sid = world.open()
    assert world.request(method, f"EIO=4&transport=polling&sid={sid}").code == 3


def test_transport_mismatch(world: Any) -> None:
    sid = world.open()
    assert world.request("GET", f"EIO=4&transport=websocket&sid={sid}").code == 3
    assert world.engine.sessions[sid].alive


@pytest.mark.parametrize("version", ["", "EIO=3&"])
def test_the_protocol_version_counts_at_the_handshake_alone(world: Any, version: str) -> None:
    sid = world.open()
    assert world.request("POST", f"{version}transport=polling&sid={sid}", b"4a").text == "ok"
    assert world.heard.messages == ["a"]


def test_a_client_that_closes_gets_a_noop_for_its_poll(world: Any) -> None:
    sid = world.open()
    poll = world.get(sid)
    assert world.post(sid, "1").text == "ok"
    assert (poll.status, poll.text) == (200, "6")
    assert world.get(sid).code == 1


def test_a_close_packet_waits_for_a_poll_and_not_for_ever(world: Any) -> None:
    for patient in (True, False):
        sid = world.open()
        world.engine.sessions[sid].end(DisconnectReason.FORCED_CLOSE)
        if patient:
            assert world.get(sid).text == "1"
        else:
            world.clock.advance(30.0)
        assert world.get(sid).code == 1


def test_a_poll_whose_connection_went_ends_the_session(world: Any) -> None:
    sid = world.open()
    poll = world.get(sid)
    world.engine.exchange_lost(poll, "reset")
    assert world.heard.closed == ["transport error"]
    assert world.engine.sessions == {}


def test_a_post_whose_connection_went_ends_the_session(world: Any) -> None:
    sid = world.open()
    post = world.request("POST", f"EIO=4&transport=polling&sid={sid}")
    world.engine.exchange_lost(post, "reset")
    assert world.heard.closed == ["transport error"]


def test_a_silent_polling_client_dies_after_interval_and_timeout(world: Any) -> None:
    sid = world.open()
    world.clock.advance(44.9)
    assert world.heard.closed == []
    world.clock.advance(0.2)
    assert world.heard.closed == ["ping timeout"]
    assert world.get(sid).code == 1


def test_a_ping_is_fetched_by_a_poll_and_answered_by_a_post(world: Any) -> None:
    sid = world.open()
    for _ in range(3):
        poll = world.get(sid)
        world.clock.advance(25.0)
        assert poll.text == "2"
        world.post(sid, "3")
    assert world.heard.closed == []


def test_websocket_pings(world: Any) -> None:
    websocket = world.websocket()
    websocket.received()
    for _ in range(3):
        world.clock.advance(25.0)
        assert websocket.received() == ["2"]
        websocket.send("3")
    world.clock.advance(46.0)
    assert websocket.received() == ["2", "closed"]
    assert world.heard.closed == ["ping timeout"]


def test_who_did_not_answer_a_ping_keeps_no_connection(world: Any) -> None:
    """No answer to a close frame is waited for: the end of TCP leaves right behind it."""
    websocket = world.websocket()
    world.clock.advance(44.9)
    assert websocket.transport.closed is None
    world.clock.advance(0.2)
    assert world.heard.closed == ["ping timeout"]
    assert websocket.transport.closed == "closed"
    assert websocket.received()[-1] == "closed"


def test_a_client_must_not_ping(world: Any) -> None:
    websocket = world.websocket()
    websocket.send("2")
    assert websocket.received()[-1] == "closed"
    assert world.heard.closed == ["transport error"]


def test_upgrade_step_by_step(world: Any) -> None:
    sid = world.open()
    poll = world.get(sid)
    websocket = world.websocket(sid)
    websocket.send("2probe")
    assert websocket.received() == ["3probe"]
    assert poll.text == "6"
    second = world.get(sid)
    world.clock.advance(0.1)
    assert second.text == "6"
    world.engine.sessions[sid].send(Prepared(["4queued"]))
    websocket.send("5")
    assert websocket.received() == ["4queued"]
    assert world.get(sid).code == 3
    assert world.post(sid, "4x").code == 3
    websocket.send("4in")
    assert world.heard.messages == ["in"]


def test_polls_while_a_probe_is_unanswered_are_answered_ten_times_a_second(world: Any) -> None:
    sid = world.open()
    websocket = world.websocket(sid)
    websocket.send("2probe")
    polls = [world.get(sid)]
    for _ in range(99):
        world.clock.advance(0.01)
        if polls[-1].status:
            assert polls[-1].text == "6"
            polls.append(world.get(sid))
    assert 9 <= len(polls) <= 11
    websocket.send("5")
    assert polls[-1].text == "6"  # who polls on is not left waiting
    world.engine.sessions[sid].send(Prepared(["4after"]))
    world.clock.advance(20.0)
    assert websocket.received() == ["3probe", "4after"]


def test_upgrade_with_probe_and_5_and_a_message_in_one_piece(world: Any) -> None:
    sid = world.open()
    websocket = world.websocket(sid)
    websocket.send("2probe", "5", "4first", b"\x01")
    assert websocket.received() == ["3probe"]
    assert world.heard.messages == ["first", b"\x01"]


def test_a_post_under_way_during_the_upgrade_is_finished(world: Any) -> None:
    sid = world.open()
    post = world.request("POST", f"EIO=4&transport=polling&sid={sid}")
    websocket = world.websocket(sid)
    websocket.send("2probe", "5")
    world.engine.body_received(post, b"4posted")
    world.engine.body_ended(post)
    assert (post.status, world.heard.messages) == (200, ["posted"])


def test_an_upgrade_that_is_not_completed_in_time_ends_alone(world: Any) -> None:
    sid = world.open()
    websocket = world.websocket(sid)
    websocket.send("2probe")
    world.clock.advance(10.0)
    assert websocket.received() == ["3probe", "closed"]
    poll = world.get(sid)
    world.engine.sessions[sid].ping()
    assert poll.text == "2"


@pytest.mark.parametrize("first", ["4hello", "2", "5", "3probe", b"2probe"])
def test_a_wrong_first_frame_ends_the_websocket_alone(world: Any, first: Any) -> None:
    sid = world.open()
    websocket = world.websocket(sid)
    websocket.send(first)
    assert websocket.received() == ["closed"]
    assert world.engine.sessions[sid].alive
    assert world.heard.messages == []


def test_a_probed_websocket_that_is_lost_leaves_polling(world: Any) -> None:
    sid = world.open()
    websocket = world.websocket(sid)
    websocket.send("2probe")
    websocket.lose()
    poll = world.get(sid)
    assert poll.status == 0
    second = world.websocket(sid)
    second.send("2probe", "5")
    assert second.received() == ["3probe"]
    assert poll.text == "6"


def test_a_second_upgrade_completes_the_handshake_and_is_closed(world: Any) -> None:
    sid, websocket = world.upgraded()
    assert world.websocket(sid).received() == ["closed"]
    websocket.send("4still here")
    assert world.heard.messages == ["still here"]


def test_an_upgrade_while_another_is_probed_is_closed(world: Any) -> None:
    sid = world.open()
    first, second = world.websocket(sid), world.websocket(sid)
    first.send("2probe")
    second.send("2probe")
    assert second.received() == ["closed"]
    first.send("5")
    assert world.engine.sessions[sid].transport == "websocket"


def test_a_client_that_closes_on_a_websocket(world: Any) -> None:
    _, websocket = world.upgraded()
    websocket.send("1")
    assert websocket.received() == ["closed"]
    assert world.heard.closed == ["transport close"]
    assert world.engine.sessions == {}


def test_a_lost_websocket(world: Any) -> None:
    _, websocket = world.upgraded()
    websocket.lose()
    assert world.heard.closed == ["transport close"]


def test_a_stop_ends_every_session(world: Any) -> None:
    sid = world.open()
    poll = world.get(sid)
    _, websocket = world.upgraded()
    world.engine.close()
    assert poll.text == "6"  # after a close packet python-engineio's client would not come back
    assert world.get(sid).status == 400
    assert websocket.received() == ["closed"]
    assert world.heard.closed == ["server shutting down"] * 2


def test_nothing_is_left_of_sessions_that_ended(world: Any) -> None:
    left = []
    for number in range(500):
        if number % 2:
            sid, websocket = world.upgraded()
            left.append(weakref.ref(world.engine.sessions[sid]))
            websocket.send("1")
            websocket.lose()
        else:
            sid = world.open()
            left.append(weakref.ref(world.engine.sessions[sid]))
            world.post(sid, "1")
        world.heard.opened.clear()
    del websocket
    gc.collect()
    assert world.engine.sessions == {}
    assert [reference() for reference in left if reference() is not None] == []


def test_a_cookie_of_a_handshake_over_tls_is_secure(make_world: Any) -> None:
    assert make_world(cookie="io").request(scheme="https").headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize("allowed", ["*", ["*"], ["http://a.test", "*"]])
def test_any_origin_sends_no_cookies_unless_it_is_written_out(make_world: Any, allowed: Any) -> None:
    world = make_world(cors_allowed_origins=allowed)
    answer = world.request(origin="http://a.test")
    assert answer.headers["access-control-allow-origin"] == "http://a.test"
    assert "access-control-allow-credentials" not in answer.headers
    assert [sentence for sentence in world.complaints if "cors_credentials=True" in sentence]
    world = make_world(cors_allowed_origins=allowed, cors_credentials=True)
    assert world.request(origin="http://a.test").headers["access-control-allow-credentials"] == "true"
    assert world.complaints == []
    assert make_world(cors_allowed_origins=allowed, cors_credentials=False).complaints == []


def test_named_origins_send_cookies_as_before(make_world: Any) -> None:
    world = make_world(cors_allowed_origins=["http://a.test"])
    assert world.request(origin="http://a.test").headers["access-control-allow-credentials"] == "true"
    assert world.complaints == []


JSONP = "EIO=4&transport=polling&j=0"


def test_jsonp_is_off_where_an_option_says_so(make_world: Any) -> None:
    world = make_world(jsonp=False)
    for query in (JSONP, JSONP + "&sid=" + world.open()):
        for method in ("GET", "POST"):
            refused = world.request(method, query)
            assert (refused.status, refused.code) == (400, 3)
            assert "jsonp=True" in refused.text


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("options", "fields", "passes"),
    [
        ({}, {}, True),
        ({}, {"sec_fetch_site": "same-origin"}, True),
        ({}, {"sec_fetch_site": "none"}, True),
        ({}, {"sec_fetch_site": "cross-site"}, False),
        ({}, {"sec_fetch_site": "same-site"}, False),
        ({}, {"sec_fetch_site": "cross-site", "referer": "http://evil.test/page"}, False),
        ({}, {"sec_fetch_site": "cross-site", "referer": "http://[broken"}, False),
        ({}, {"sec_fetch_site": "same-site", "referer": "http://example.org/page"}, True),
        # Over plain HTTP there is the Referer alone, if anything.
        ({}, {"referer": "http://evil.test/page"}, False),
        ({}, {"referer": "http://example.org/page"}, True),
        ({"cors_allowed_origins": ["http://a.test"]}, {"referer": "http://a.test/page"}, True),
        ({"cors_allowed_origins": ["http://a.test"]}, {"referer": "http://example.org/page"}, True),
        ({"cors_allowed_origins": ["http://a.test"]}, {"referer": "http://evil.test/page"}, False),
        ({}, {"origin": "http://evil.test"}, False),
        ({}, {"origin": "null"}, False),
        ({"cors_allowed_origins": ["http://a.test"]}, {"sec_fetch_site": "cross-site"}, False),
        (
            {"cors_allowed_origins": ["http://a.test"]},
            {"sec_fetch_site": "cross-site", "referer": "http://a.test/page"},
            True,
        ),
        (
            {"cors_allowed_origins": ["http://a.test"]},
            {"sec_fetch_site": "cross-site", "origin": "http://a.test"},
            True,
        ),
        ({"cors_allowed_origins": "*"}, {"sec_fetch_site": "cross-site"}, True),
        ({"cors_allowed_origins": []}, {"sec_fetch_site": "cross-site"}, True),
    ],
)
def test_a_page_of_another_site_may_not_ask_by_jsonp(
    make_world: Any, options: Any, fields: Any, passes: bool, method: str
) -> None:
    world = make_world(**options)
    sid = world.open()
    answer = world.request(method, f"{JSONP}&sid={sid}", b"d=4hello" if method == "POST" else None, **fields)
    if passes:
        assert answer.status == (200 if method == "POST" else 0)
    else:
        assert (answer.status, answer.code) == (403, 4)
        mend = "its http:// address" if fields.get("origin") == "null" else "cors_allowed_origins="
        assert mend in answer.text
        assert world.heard.messages == []
    plain = {name: value for name, value in fields.items() if name == "sec_fetch_site"}
    assert (
        world.request(query="EIO=4&transport=polling", **plain).status == 200
    )  # what has an Origin is judged by it
