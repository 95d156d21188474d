"""Engine.IO 4 by raw bytes against the server process: each rule and trap of the protocol by its name.

It must not know Socket.IO beyond the packets that make the application answer.
"""

import gzip
import json
import zlib
from typing import Any

import pytest

KEYS = {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}


# ---- handshake


def test_handshake_over_polling_has_exactly_five_keys(wire: Any) -> None:
    answer = wire.get("EIO=4&transport=polling&t=abc&b64=1")
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    opened = json.loads(answer.text[1:])
    assert set(opened) == KEYS
    assert opened["upgrades"] == ["websocket"]
    assert (opened["pingInterval"], opened["pingTimeout"], opened["maxPayload"]) == (25000, 20000, 1000000)


def test_handshake_over_websocket_offers_no_upgrades(wire: Any) -> None:
    opened = json.loads(wire.upgrade().next()[1:])
    assert set(opened) == KEYS
    assert opened["upgrades"] == []


def test_advertised_times_are_true_milliseconds(small: Any) -> None:
    opened = small.handshake()
    assert (opened["pingInterval"], opened["pingTimeout"], opened["maxPayload"]) == (300, 200, 1000)


def test_sids_are_unguessable_and_url_safe(wire: Any) -> None:
    sids = {wire.handshake()["sid"] for _ in range(20)}
    assert len(sids) == 20
    assert all(len(sid) == 20 and sid.replace("-", "").replace("_", "").isalnum() for sid in sids)


# ---- error replies


@pytest.mark.parametrize(
    ("method", "query", "code", "message"),
    [
        ("GET", "EIO=4", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=abc", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=polling&sid=abc", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("PUT", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("GET", "EIO=4&transport=websocket", 3, "Bad request"),
        ("GET", "EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "transport=polling", 5, "Unsupported protocol version"),
    ],
)
def test_error_replies_have_the_codes_of_the_official_server(
    wire: Any, method: str, query: str, code: int, message: str
) -> None:
    answer = wire.request(method, query, b"" if method != "GET" else None).answer()
    assert (answer.status, json.loads(answer.body)) == (400, {"code": code, "message": message})


def test_a_refused_origin_is_403_on_polling_and_on_websocket(wire: Any) -> None:
    answer = wire.get("EIO=4&transport=polling", origin="http://evil.test")
    assert (answer.status, answer.code) == (403, 4)
    assert "access-control-allow-origin" not in answer.headers
    assert wire.upgrade(origin="http://evil.test").status == 403


def test_cors_with_credentials_and_preflight(wire: Any) -> None:
    answer = wire.get("EIO=4&transport=polling", origin="http://friend.test")
    assert answer.headers["access-control-allow-origin"] == "http://friend.test"
    assert answer.headers["access-control-allow-credentials"] == "true"
    preflight = wire.request("OPTIONS", "", origin="http://friend.test").answer()
    assert preflight.status == 204
    assert "POST" in preflight.headers["access-control-allow-methods"]


def test_an_error_on_a_websocket_request_is_plain_http_and_a_close(wire: Any) -> None:
    request = wire.request(
        "GET",
        "EIO=3&transport=websocket",
        Connection="Upgrade",
        Upgrade="websocket",
        **{"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="},
    )
    answer = request.answer()
    assert (answer.status, answer.text) == (400, "Unsupported protocol version")
    assert request.at_end()


# ---- long polling


def test_a_get_is_held_until_there_is_something_and_a_post_says_ok(wire: Any) -> None:
    sid = wire.handshake()["sid"]
    poll = wire.poll(sid)
    post = wire.post(sid, "40")
    assert (post.status, post.text) == (200, "ok")
    answer = poll.answer()
    assert answer.text.startswith('40{"sid":')
    assert answer.headers["cache-control"] == "no-store"


def test_packets_are_joined_by_the_record_separator_and_stay_in_order(wire: Any) -> None:
    session = wire.joined("polling")
    session.send(*[f'42["echo",{number}]' for number in range(40)])
    assert session.posted.text == "ok"
    assert [session.next() for _ in range(40)] == [f'42["echoed",{number}]' for number in range(40)]


def test_a_binary_packet_over_polling_is_base64(wire: Any) -> None:
    session = wire.joined("polling")
    session.send('451-["echo",{"_placeholder":true,"num":0}]', b"\x00\xff\x10")
    assert session.next() == '451-["echoed",{"_placeholder":true,"num":0}]'
    assert session.next() == b"\x00\xff\x10"


def test_connection_close_is_echoed(wire: Any) -> None:
    request = wire.request("GET", "EIO=4&transport=polling", Connection="close")
    assert request.answer().headers["connection"] == "close"
    assert request.at_end()


def test_overlapping_get_closes_the_session(wire: Any) -> None:
    sid = wire.handshake()["sid"]
    first = wire.poll(sid)
    second = wire.poll(sid)
    assert first.answer().text == "1"
    assert second.answer().status == 400
    assert wire.poll(sid).answer().code == 1


def test_overlapping_post_closes_the_session(wire: Any) -> None:
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


def test_a_close_packet_releases_the_pending_get_with_a_noop(wire: Any) -> None:
    sid = wire.handshake()["sid"]
    poll = wire.poll(sid)
    assert wire.post(sid, "1").text == "ok"
    assert poll.answer().text == "6"
    assert wire.poll(sid).answer().code == 1


@pytest.mark.parametrize("body", ["abc", "", "9", "4a\x1e", "bAQI", b"4\xff"])
def test_an_invalid_payload_closes_the_session(wire: Any, body: Any) -> None:
    sid = wire.handshake()["sid"]
    assert wire.post(sid, body).status == 400
    assert wire.poll(sid).answer().code == 1


def test_a_body_over_the_limit_is_413_declared_or_read(small: Any) -> None:
    sid = small.handshake()["sid"]
    assert small.post(sid, "4" + "x" * 1000).status == 413
    chunked = small.request("POST", f"EIO=4&transport=polling&sid={sid}", **{"Transfer-Encoding": "chunked"})
    chunked.socket.sendall(b"3e9\r\n" + b"x" * 1001 + b"\r\n")
    assert chunked.answer().status == 413


def test_the_limit_counts_bytes_not_characters(small: Any) -> None:
    sid = small.handshake()["sid"]
    assert small.post(sid, "4" + "é" * 500).status == 413
    assert small.post(sid, "3" + "é" * 400).status == 200


def test_any_content_type_is_taken(wire: Any) -> None:
    sid = wire.handshake()["sid"]
    assert wire.post(sid, "40", content_type="application/octet-stream").text == "ok"


def test_more_packets_than_sixteen_in_one_post(wire: Any) -> None:
    session = wire.joined("polling")
    session.send(*['42["nothing"]'] * 500, '429["echo",1]')
    assert [session.next(), session.next()] == ['42["echoed",1]', "439[1]"]


@pytest.mark.parametrize(("encoding", "read"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_long_polls_are_compressed_above_the_threshold(wire: Any, encoding: str, read: Any) -> None:
    session = wire.joined("polling")
    session.send('42["echo","' + "x" * 2000 + '"]')
    answer = wire.poll(session.sid, accept_encoding=encoding).answer()
    assert answer.headers["content-encoding"] == encoding
    assert read(answer.body) == b'42["echoed","' + b"x" * 2000 + b'"]'
    session.send('42["echo","short"]')
    assert "content-encoding" not in wire.poll(session.sid, accept_encoding=encoding).answer().headers


def test_jsonp_as_the_official_server_answers_it(wire: Any) -> None:
    answer = wire.get("EIO=4&transport=polling&j=3")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.text.startswith('___eio[3]("0{')
    assert answer.text.endswith('");')
    sid = json.loads(json.loads(answer.text[10:-2])[1:])["sid"]
    query = f"EIO=4&transport=polling&sid={sid}&j=4"
    assert wire.request("POST", query, b"d=40").answer().text == "ok"
    assert wire.get(query).text.startswith('___eio[4]("40{')


# ---- heartbeat


def test_the_server_pings_and_the_interval_counts_from_the_pong(small: Any, way: str) -> None:
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


def test_a_client_that_answers_no_ping_is_closed(small: Any, way: str) -> None:
    session = small.session(way)
    if way == "websocket":
        assert [session.next_raw(), session.next_raw()] == ["2", None]
    else:
        assert small.poll(session.sid).answer().text == "2"
        assert session.ended()


def test_a_ping_from_the_client_is_an_error(wire: Any, way: str) -> None:
    session = wire.session(way)
    session.send("2")
    assert session.ended()


# ---- upgrade


def test_upgrade_step_by_step(wire: Any) -> None:
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


def test_upgrade_with_2probe_and_5_back_to_back_and_no_stray_noop(wire: Any) -> None:
    session = wire.joined("polling")
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe", "5", '42["echo","same segment"]')
    assert [websocket.next_raw(), websocket.next_raw()] == ["3probe", '42["echoed","same segment"]']


def test_requests_after_the_upgrade_are_refused_without_disturbing_it(wire: Any) -> None:
    session = wire.joined("polling")
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe", "5")
    assert websocket.next_raw() == "3probe"
    assert wire.poll(session.sid).answer().code == 3
    assert wire.post(session.sid, '42["echo",1]').code == 3
    websocket.send('42["echo",2]')
    assert websocket.next_raw() == '42["echoed",2]'


def test_messages_around_an_upgrade_are_neither_lost_nor_doubled_nor_reordered(wire: Any) -> None:
    session = wire.joined("polling")
    session.send(*[f'42["echo",{number}]' for number in range(100)])
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe")
    assert websocket.next_raw() == "3probe"
    session.send(*[f'42["echo",{number}]' for number in range(100, 200)])
    websocket.send("5", *[f'42["echo",{number}]' for number in range(200, 300)])
    assert [websocket.next() for _ in range(300)] == [f'42["echoed",{number}]' for number in range(300)]


@pytest.mark.parametrize("first", ["4hello", "5", "2", "3probe", b"2probe"])
def test_a_wrong_first_frame_closes_the_websocket_alone(wire: Any, first: Any) -> None:
    session = wire.joined("polling")
    websocket = wire.upgrade(session.sid)
    websocket.send(first)
    assert websocket.ended()
    session.send('42["echo",1]')
    assert session.next() == '42["echoed",1]'


def test_a_websocket_lost_while_probing_leaves_polling(wire: Any) -> None:
    session = wire.joined("polling")
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe")
    assert websocket.next_raw() == "3probe"
    websocket.close()
    session.send('42["echo",1]')
    while (packet := session.next()) == "6":
        pass
    assert packet == '42["echoed",1]'


def test_an_upgrade_of_an_upgraded_session_completes_and_is_closed(wire: Any) -> None:
    session = wire.joined("polling")
    websocket = wire.upgrade(session.sid)
    websocket.send("2probe", "5")
    assert websocket.next_raw() == "3probe"
    assert wire.upgrade(session.sid).ended()
    websocket.send('42["echo",1]')
    assert websocket.next_raw() == '42["echoed",1]'


# ---- websocket


def test_a_message_over_the_limit_closes_with_1009(small: Any) -> None:
    websocket = small.session("websocket")
    websocket.send("4" + "x" * 1000)
    assert websocket.ended()
    assert websocket.close_code == 1009


def test_a_close_packet_closes_the_websocket_at_once(wire: Any) -> None:
    websocket = wire.joined("websocket")
    websocket.send("1")
    assert websocket.ended()


@pytest.mark.parametrize("packet", ["", "abc", "7"])
def test_a_bad_websocket_packet_closes(wire: Any, packet: str) -> None:
    websocket = wire.session("websocket")
    websocket.send(packet)
    assert websocket.ended()


@pytest.mark.parametrize("packet", ["0", "5", "6"])
def test_open_upgrade_and_noop_from_an_open_client_are_ignored(wire: Any, way: str, packet: str) -> None:
    session = wire.joined(way)
    session.send(packet)
    session.send('42["echo",1]')
    assert session.next() == '42["echoed",1]'
