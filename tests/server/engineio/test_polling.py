"""What polls, POSTs and refusals are answered; compression, JSONP, the cookie (engineio/polling.py).

It must not know which request gets which answer.
"""

import gzip
import json
import zlib
from typing import Any

import pytest

from python_server.engineio.packet import Prepared
from python_server.engineio.polling import (
    CODINGS_MAX_COUNT,
    accepted_encoding,
    compress,
    cookie_header,
    jsonp_unwrap,
    jsonp_wrap,
)
from python_server.engineio.server import EIO3_OFF


@pytest.mark.parametrize(
    ("field", "encoding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("br, gzip, deflate", "gzip"),
        ("deflate;q=1.0, gzip;q=0.5", "deflate"),
        ("gzip;q=0", None),
        ("gzip;q=0, *", "deflate"),
        ("*", "gzip"),
        ("*;q=0", None),
        ("identity", None),
        ("GZIP", "gzip"),
        ("gzip;q=nonsense", None),
    ],
)
def test_accept_encoding(field: str, encoding: str | None) -> None:
    assert accepted_encoding(field) == encoding


def test_both_codings_can_be_read_back() -> None:
    body = b"4" + b"abc" * 1000
    assert gzip.decompress(compress(body, "gzip")) == body
    assert zlib.decompress(compress(body, "deflate")) == body


@pytest.mark.parametrize(
    ("index", "payload", "script"),
    [
        ("0", '4"a"', '___eio[0]("4\\"a\\"");'),
        ("12", "4\u2028", '___eio[12]("4\\u2028");'),
        ("1](alert(1),x[0", "4", '___eio[110]("4");'),
    ],
)
def test_jsonp_answers(index: str, payload: str, script: str) -> None:
    assert jsonp_wrap(index, payload) == script


@pytest.mark.parametrize(
    ("form", "payload"),
    [
        (b"d=4hello", b"4hello"),
        (b"d=4a%1Ebc", b"4a\x1ebc"),
        (b"d=4a%5Cnb", b"4a\nb"),
        (b"d=4a%5C%5Cnb", b"4a\\nb"),
        (b"x=1&d=4h%C3%A9", "4hé".encode()),
        (b"d=", b""),
        (b"x=1", None),
        (b"", None),
        (b"d=%FF", None),
        (b"\xff", None),
        (b"a=1&" * 100, None),
    ],
)
def test_jsonp_posts(form: bytes, payload: bytes | None) -> None:
    assert jsonp_unwrap(form) == payload


@pytest.mark.parametrize(
    ("cookie", "value"),
    [
        ("io", "io=S; path=/; SameSite=Lax; HttpOnly"),
        (
            {"name": "sess", "Path": "/x", "HttpOnly": True, "Secure": False},
            "sess=S; Path=/x; HttpOnly; SameSite=Lax",
        ),
        (
            {"name": lambda: "n", "Max-Age": lambda: 5, "Domain": None},
            "n=S; Max-Age=5; SameSite=Lax; HttpOnly",
        ),
        ({"httponly": False, "samesite": "None", "secure": True}, "io=S; samesite=None; secure"),
        ({"SameSite": None, "HttpOnly": None}, "io=S"),
    ],
)
def test_cookies(cookie: Any, value: str) -> None:
    assert cookie_header(cookie, "S") == [("Set-Cookie", value)]


@pytest.mark.parametrize(("cookie", "tail"), [("io", "; Secure"), ({"Secure": False}, ""), ({}, "; Secure")])
def test_a_cookie_that_came_over_tls_stays_there(cookie: Any, tail: str) -> None:
    ((_, value),) = cookie_header(cookie, "S", secure=True)
    assert value.endswith("SameSite=Lax; HttpOnly" + tail)


def test_a_refusal_is_json(make_world: type[Any]) -> None:
    exchange = make_world(allow_request=lambda request: 'Not "you"').request()
    assert (exchange.status, json.loads(exchange.text)) == (403, {"code": 4, "message": 'Not "you"'})


def test_of_an_endless_list_of_codings_the_beginning_is_read() -> None:
    others = ",".join(f"x-{number}" for number in range(CODINGS_MAX_COUNT - 1))
    assert accepted_encoding(f"{others},gzip") == "gzip"
    assert accepted_encoding(f"x,{others},gzip") is None


def test_an_error_on_a_websocket_request_is_plain_and_ends_the_connection(world: Any) -> None:
    exchange = world.request(query="EIO=3&transport=websocket", sec_websocket_key="x")
    assert (exchange.status, exchange.text) == (400, EIO3_OFF)
    assert not exchange.keep_alive


def test_a_post_over_the_limit_is_413_and_leaves_the_session(make_world: Any) -> None:
    world = make_world(max_payload_bytes=10)
    sid = world.open()
    refused = world.post(sid, "4" + "x" * 10)
    assert (refused.status, refused.keep_alive) == (413, False)
    assert world.post(sid, "4" + "x" * 9).status == 200
    assert "max_http_buffer_size" in world.complaints[0]


def test_jsonp(world: Any) -> None:
    exchange = world.request(query="EIO=4&transport=polling&j=7")
    assert exchange.headers["content-type"] == "text/javascript; charset=UTF-8"
    script = exchange.text
    assert script.startswith('___eio[7]("0{')
    sid = json.loads(json.loads(script[len("___eio[7](") : -2])[1:])["sid"]
    post = world.request("POST", f"EIO=4&transport=polling&sid={sid}&j=7", b"d=4a%5Cnb")
    assert (post.text, world.heard.messages) == ("ok", ["a\nb"])
    assert world.request("POST", f"EIO=4&transport=polling&sid={sid}&j=7", b"x=4a").status == 400


def test_long_polls_are_compressed_for_who_accepts_it(world: Any) -> None:
    sid = world.open()
    for fields, encoding in [({"accept_encoding": "gzip"}, "gzip"), ({}, None)]:
        world.engine.sessions[sid].send(Prepared(["4" + "a" * 2000]))
        exchange = world.get(sid, **fields)
        assert exchange.headers.get("content-encoding") == encoding
        body = gzip.decompress(exchange.body) if encoding else exchange.body
        assert body == b"4" + b"a" * 2000
    world.engine.sessions[sid].send(Prepared(["4" + "a" * 1022]))
    assert "content-encoding" not in world.get(sid, accept_encoding="gzip").headers
