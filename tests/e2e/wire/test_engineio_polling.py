"""Engine.IO 4 by raw bytes against the server process: docs/protocol.md 1.1 - 1.4.

Packets, requests, long polling, refusals. It must know no Socket.IO but what makes the application answer.
"""

import gzip
import json
import zlib
from typing import Any

import pytest

EIO3_OFF = "Unsupported protocol version: allow_eio3=True serves Socket.IO 2 clients"
KEYS = {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}


# ---- 1.1 packets


def test_1_1_packets_are_joined_by_the_record_separator_and_stay_in_order(wire: Any) -> None:
    session = wire.joined("polling")
    session.send(*[f'42["echo",{number}]' for number in range(40)])
    assert session.posted.text == "ok"
    assert [session.next() for _ in range(40)] == [f'42["echoed",{number}]' for number in range(40)]


def test_1_1_a_binary_packet_over_polling_is_base64(wire: Any) -> None:
    session = wire.joined("polling")
    session.send('451-["echo",{"_placeholder":true,"num":0}]', b"\x00\xff\x10")
    assert session.next() == '451-["echoed",{"_placeholder":true,"num":0}]'
    assert session.next() == b"\x00\xff\x10"


@pytest.mark.parametrize(
    "text", ["true", "null", "123", '{"a":1}', "héllo \U0001f600", "", "1", "\x1f\u2028"]
)
def test_1_1_text_stays_text_whatever_it_looks_like(engine: Any, way: str, text: str) -> None:
    """R28: nothing is read as JSON at this layer."""
    session = engine.session(way)
    session.send("4" + text)
    assert session.next() == "4" + text


@pytest.mark.parametrize("data", [b"", b"\x00\xff\x10", bytes(range(256)) * 300])
def test_1_1_a_binary_message_has_no_type_character(engine: Any, way: str, data: bytes) -> None:
    session = engine.session(way)
    session.send("4before", data, "4after")
    assert [session.next() for _ in range(3)] == ["4before", data, "4after"]


# ---- 1.2 requests and the handshake


def test_1_2_handshake_over_polling_has_exactly_five_keys(wire: Any) -> None:
    answer = wire.get("EIO=4&transport=polling&t=abc&b64=1")
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    opened = json.loads(answer.text[1:])
    assert set(opened) == KEYS
    assert opened["upgrades"] == ["websocket"]
    assert (opened["pingInterval"], opened["pingTimeout"], opened["maxPayload"]) == (25000, 20000, 1000000)


def test_1_2_handshake_over_websocket_offers_no_upgrades(wire: Any) -> None:
    opened = json.loads(wire.upgrade().next()[1:])
    assert set(opened) == KEYS
    assert opened["upgrades"] == []


def test_1_2_sids_are_unguessable_and_url_safe(wire: Any) -> None:
    sids = {wire.handshake()["sid"] for _ in range(20)}
    assert len(sids) == 20
    assert all(len(sid) == 20 and sid.replace("-", "").replace("_", "").isalnum() for sid in sids)


def test_1_2_jsonp_as_the_official_server_answers_it(wire: Any) -> None:
    answer = wire.get("EIO=4&transport=polling&j=3")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.text.startswith('___eio[3]("0{')
    assert answer.text.endswith('");')
    sid = json.loads(json.loads(answer.text[10:-2])[1:])["sid"]
    query = f"EIO=4&transport=polling&sid={sid}&j=4"
    assert wire.request("POST", query, b"d=40").answer().text == "ok"
    assert wire.get(query).text.startswith('___eio[4]("40{')


@pytest.mark.parametrize("path", ["/socket.io/", "/socket.io", "/socket.io/more"])
def test_1_2_the_path_with_and_without_its_slash(wire: Any, path: str) -> None:
    """Clients may leave the slash out (`addTrailingSlash: false`), and what follows it means nothing."""
    answer = wire.request("GET", "EIO=4&transport=polling", path=path).answer()
    assert (answer.status, answer.text[:1]) == (200, "0")


def test_1_2_another_path_is_the_applications(wire: Any) -> None:
    assert wire.request("GET", "EIO=4&transport=polling", path="/socket.iox").answer().status == 404


# ---- 1.3 long polling


def test_1_3_a_get_is_held_until_there_is_something_and_a_post_says_ok(wire: Any) -> None:
    sid = wire.handshake()["sid"]
    poll = wire.poll(sid)
    post = wire.post(sid, "40")
    assert (post.status, post.text) == (200, "ok")
    answer = poll.answer()
    assert answer.text.startswith('40{"sid":')
    assert answer.headers["cache-control"] == "no-store"


def test_1_3_connection_close_is_echoed(wire: Any) -> None:
    request = wire.request("GET", "EIO=4&transport=polling", Connection="close")
    assert request.answer().headers["connection"] == "close"
    assert request.at_end()


def test_1_3_overlapping_get_closes_the_session(wire: Any) -> None:
    sid = wire.handshake()["sid"]
    first = wire.poll(sid)
    second = wire.poll(sid)
    assert first.answer().text == "1"
    assert second.answer().status == 400
    assert wire.poll(sid).answer().code == 1


def test_1_3_overlapping_post_closes_the_session(wire: Any) -> None:
    sid = wire.handshake()["sid"]
    # Its body is announced and does not come; the server asks for it, so it has seen the head.
    first = wire.request(
        "POST",
        f"EIO=4&transport=polling&sid={sid}",
        **{"Content-Length": "2", "Expect": "100-continue"},
    )
    assert first.socket.recv(100).startswith(b"HTTP/1.1 100")
    assert wire.post(sid, "40").status == 400
    assert wire.poll(sid).answer().code == 1


def test_1_3_a_close_packet_releases_the_pending_get_with_a_noop(wire: Any) -> None:
    sid = wire.handshake()["sid"]
    poll = wire.poll(sid)
    assert wire.post(sid, "1").text == "ok"
    assert poll.answer().text == "6"
    assert wire.poll(sid).answer().code == 1


@pytest.mark.parametrize("body", ["abc", "", "9", "4a\x1e", "bAQI", b"4\xff"])
def test_1_3_an_invalid_payload_closes_the_session(wire: Any, body: Any) -> None:
    sid = wire.handshake()["sid"]
    assert wire.post(sid, body).status == 400
    assert wire.poll(sid).answer().code == 1


def test_1_3_a_body_over_the_limit_is_413_declared_or_read(small: Any) -> None:
    sid = small.handshake()["sid"]
    assert small.post(sid, "4" + "x" * 1000).status == 413
    chunked = small.request("POST", f"EIO=4&transport=polling&sid={sid}", **{"Transfer-Encoding": "chunked"})
    chunked.socket.sendall(b"3e9\r\n" + b"x" * 1001 + b"\r\n")
    assert chunked.answer().status == 413


def test_1_3_the_limit_counts_bytes_not_characters(small: Any) -> None:
    sid = small.handshake()["sid"]
    assert small.post(sid, "4" + "é" * 500).status == 413
    assert small.post(sid, "3" + "é" * 400).status == 200


def test_1_3_any_content_type_is_taken(wire: Any) -> None:
    sid = wire.handshake()["sid"]
    assert wire.post(sid, "40", content_type="application/octet-stream").text == "ok"


def test_1_3_more_packets_than_sixteen_in_one_post(wire: Any) -> None:
    session = wire.joined("polling")
    session.send(*['42["nothing"]'] * 500, '429["echo",1]')
    assert [session.next(), session.next()] == ['42["echoed",1]', "439[1]"]


@pytest.mark.parametrize(("encoding", "read"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_1_3_long_polls_are_compressed_above_the_threshold(wire: Any, encoding: str, read: Any) -> None:
    session = wire.joined("polling")
    session.send('42["echo","' + "x" * 2000 + '"]')
    answer = wire.poll(session.sid, accept_encoding=encoding).answer()
    assert answer.headers["content-encoding"] == encoding
    assert read(answer.body) == b'42["echoed","' + b"x" * 2000 + b'"]'
    session.send('42["echo","short"]')
    assert "content-encoding" not in wire.poll(session.sid, accept_encoding=encoding).answer().headers


def test_1_3_a_server_close_answers_the_pending_get(engine: Any) -> None:
    session = engine.session("polling")
    poll = engine.poll(session.sid)
    assert engine.post(session.sid, "4leave at once").text == "ok"
    assert poll.answer().text == "1"
    assert engine.poll(session.sid).answer().code == 1


def test_1_3_a_server_close_waits_for_the_next_get(engine: Any) -> None:
    session = engine.session("polling")
    assert engine.post(session.sid, "4bye").text == "ok"
    engine.server.wait_for(f"{session.sid} is gone: server disconnect")
    assert engine.post(session.sid, "4late").status == 400
    assert engine.poll(session.sid).answer().text == "4bye\x1e1"
    assert engine.poll(session.sid).answer().code == 1


def test_1_3_a_poll_is_never_empty_and_the_next_one_is_held(wire: Any) -> None:
    session = wire.joined("polling")
    for number in range(20):
        poll = wire.poll(session.sid)
        session.send(f'42["echo",{number}]')
        assert poll.answer().text == f'42["echoed",{number}]'


def test_1_3_an_answer_is_limited_for_clients_that_drop_long_ones(wire: Any) -> None:
    """python-engineio's client drops a payload of more than 16 packets."""
    session = wire.joined("polling")
    session.send('421["flood",20]')
    packets: list[str] = []
    while len(packets) < 41:
        body = wire.poll(session.sid).answer().text.split("\x1e")
        assert len(body) <= 16
        packets += body
    assert packets[:2] == ['451-["flooded",0,{"_placeholder":true,"num":0}]', "bAP8="]
    assert packets[-1] == "431[]"


# ---- 1.4 error replies


@pytest.mark.parametrize(
    ("method", "query", "code", "message"),
    [
        ("GET", "EIO=4", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=abc", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=polling&sid=abc", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("PUT", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("GET", "EIO=4&transport=websocket", 3, "Bad request"),
        ("GET", "EIO=3&transport=polling", 5, EIO3_OFF),
        ("GET", "transport=polling", 5, "Unsupported protocol version"),
    ],
)
def test_1_4_error_replies_have_the_codes_of_the_official_server(
    wire: Any, method: str, query: str, code: int, message: str
) -> None:
    """R18: transport, session, method and version are checked in this order."""
    answer = wire.request(method, query, b"" if method != "GET" else None).answer()
    assert (answer.status, json.loads(answer.body)) == (400, {"code": code, "message": message})


def test_1_4_a_refused_origin_is_403_with_code_4_on_polling_and_on_websocket(wire: Any) -> None:
    answer = wire.get("EIO=4&transport=polling", origin="http://evil.test")
    assert (answer.status, answer.code) == (403, 4)
    assert "access-control-allow-origin" not in answer.headers
    assert wire.upgrade(origin="http://evil.test").status == 403


@pytest.mark.parametrize(
    ("verdict", "message"), [("no", "Forbidden"), ("sunday", "not on Sundays"), ("raise", "Forbidden")]
)
def test_1_4_allow_request_refuses_with_403_and_code_4(wire: Any, verdict: str, message: str) -> None:
    answer = wire.get("EIO=4&transport=polling", x_verdict=verdict)
    assert (answer.status, json.loads(answer.body)) == (403, {"code": 4, "message": message})
    refused = wire.upgrade(**{"X-Verdict": verdict})
    assert (refused.status, refused.text) == (403, message)


def test_1_4_cors_with_credentials_and_preflight(wire: Any) -> None:
    answer = wire.get("EIO=4&transport=polling", origin="http://friend.test")
    assert answer.headers["access-control-allow-origin"] == "http://friend.test"
    assert answer.headers["access-control-allow-credentials"] == "true"
    preflight = wire.request("OPTIONS", "", origin="http://friend.test").answer()
    assert preflight.status == 204
    assert "POST" in preflight.headers["access-control-allow-methods"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("EIO=3&transport=websocket", EIO3_OFF),
        ("EIO=4&transport=websocket&sid=abc", "Session ID unknown"),
        ("EIO=4&transport=carrier", "Transport unknown"),
    ],
)
def test_1_4_an_error_on_a_websocket_request_is_plain_http_and_a_close(
    wire: Any, query: str, message: str
) -> None:
    answer = wire.upgrade(query=query)
    assert (answer.status, answer.text) == (400, message)
    assert wire.opened[-1].at_end()


def test_1_4_an_upgrade_of_an_upgraded_session_completes_and_is_closed(wire: Any) -> None:
    """R20: the second upgrade is the one that ends."""
    session = wire.joined("polling")
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe", "5")
    assert websocket.next_raw() == "3probe"
    assert wire.upgrade(session.sid).ended()
    websocket.send('42["echo",1]')
    assert websocket.next_raw() == '42["echoed",1]'


def test_1_4_the_protocol_version_counts_at_the_handshake_alone(wire: Any) -> None:
    """As with both reference servers."""
    session = wire.joined("polling")
    query = f"transport=polling&sid={session.sid}"
    assert wire.request("POST", query, b'42["echo",1]').answer().text == "ok"
    assert wire.get(query).text == '42["echoed",1]'


def test_1_4_the_session_of_another_transport_is_a_bad_request(wire: Any) -> None:
    websocket = wire.joined("websocket")
    assert wire.poll(websocket.sid).answer().code == 3
    assert wire.post(websocket.sid, "41").code == 3
    websocket.send('42["echo",1]')
    assert websocket.next() == '42["echoed",1]'


@pytest.mark.parametrize(
    ("method", "query", "code"),
    [
        ("GET", "EIO=4&transport=websocket", 3),
        ("PUT", "EIO=4&transport=polling", 3),
        ("GET", "EIO=4&transport=webtransport", 0),
    ],
)
def test_1_4_a_bad_request_leaves_the_session_alone(wire: Any, method: str, query: str, code: int) -> None:
    session = wire.joined("polling")
    answer = wire.request(method, f"{query}&sid={session.sid}").answer()
    assert (answer.status, answer.code) == (400, code)
    session.send('42["echo",1]')
    assert session.next() == '42["echoed",1]'
