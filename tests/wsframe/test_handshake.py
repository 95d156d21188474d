"""The opening handshake over header lists: each check of RFC 6455 section 4, each choice, both roles.

It must not test the meaning of permessage-deflate's parameters: that is test_deflate.py's.
"""

from __future__ import annotations

import time

import pytest

from wsframe import deflate, handshake
from wsframe.handshake import HandshakeError

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # section 1.3
GOOD = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
Headers = list[tuple[str, str]]


def request(**changes: str | None) -> Headers:
    """The RFC's request with fields changed, added or (None) left out; `_` stands for `-`."""
    fields: dict[str, str | None] = {
        **GOOD,
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return [(name, value) for name, value in fields.items() if value is not None]


def test_the_rfcs_example() -> None:
    assert handshake.accept_key(KEY) == ACCEPT
    accepted = handshake.accept("GET", (1, 1), request())
    assert accepted.headers == [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", ACCEPT),
    ]
    assert accepted.subprotocol is None
    assert accepted.deflate is None


@pytest.mark.parametrize(
    "headers",
    [
        [(name.lower(), value) for name, value in request()],
        [(name.upper(), value) for name, value in request()],
        request(Upgrade="WebSocket"),
        request(Connection="keep-alive, Upgrade"),
        request(Connection="upgrade"),
        request(Upgrade="h2c, websocket"),
        [*request(Connection="keep-alive"), ("Connection", "Upgrade")],
        [*request(), ("Sec-WebSocket-Extensions", "x-unknown; a=b")],
        [*request(), ("Origin", "http://example.com")],
    ],
)
def test_accepted(headers: Headers) -> None:
    assert ("Sec-WebSocket-Accept", ACCEPT) in handshake.accept("GET", (1, 1), headers).headers
    assert handshake.is_upgrade(headers)


@pytest.mark.parametrize(
    "headers", [request(Upgrade=None), request(Connection=None), request(Upgrade="h2c"), []]
)
def test_no_upgrade(headers: Headers) -> None:
    """R8: what is no opening handshake."""
    assert not handshake.is_upgrade(headers)


@pytest.mark.parametrize(
    ("status", "method", "version", "headers"),
    [
        (405, "POST", (1, 1), request()),
        (405, "get", (1, 1), request()),
        (400, "GET", (1, 0), request()),
        (400, "GET", (0, 9), request()),
        (505, "GET", (2, 0), request()),
        (505, "GET", (3, 0), request()),
        (400, "GET", (1, 1), request(Host=None)),
        (400, "GET", (1, 1), [*request(), ("host", "other")]),
        (400, "GET", (1, 1), request(Upgrade=None)),
        (400, "GET", (1, 1), request(Upgrade="websockets")),
        (400, "GET", (1, 1), request(Connection=None)),
        (400, "GET", (1, 1), request(Connection="keep-alive")),
        (426, "GET", (1, 1), request(Sec_WebSocket_Version=None)),
        (426, "GET", (1, 1), request(Sec_WebSocket_Version="8")),
        (426, "GET", (1, 1), request(Sec_WebSocket_Version="14")),
        (426, "GET", (1, 1), request(Sec_WebSocket_Version="013")),
        (426, "GET", (1, 1), request(Sec_WebSocket_Version="13, 8")),
        (426, "GET", (1, 1), [*request(), ("sec-websocket-version", "13")]),
        (400, "GET", (1, 1), request(Sec_WebSocket_Key=None)),
        (400, "GET", (1, 1), request(Sec_WebSocket_Key="")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ=!")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZSE=")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Key="Ä" * 24)),
        (400, "GET", (1, 1), [*request(), ("sec-websocket-key", KEY)]),
        (400, "GET", (1, 1), request(Sec_WebSocket_Protocol="a, a")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Protocol="a b")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Protocol="a,,b")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Protocol="")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Extensions="a b")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Extensions="a; ")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Extensions="a; b=")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Extensions="a; =b")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Extensions="; a")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Extensions='a; b="c d"')),
        (400, "GET", (1, 1), request(Sec_WebSocket_Extensions='a; b=""')),
        (400, "GET", (1, 1), request(Sec_WebSocket_Extensions='a; b="c')),
        (400, "GET", (1, 1), request(Sec_WebSocket_Extensions="a; b=c=d")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Extensions="ä")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Extensions="a\n, b")),
        (400, "GET", (1, 1), request(Sec_WebSocket_Extensions='"a"')),
    ],
)
def test_refused(status: int, method: str, version: tuple[int, int], headers: Headers) -> None:
    """R8, R9: a handshake that is answered 400, 405 or 426."""
    with pytest.raises(HandshakeError, match="RFC 6455 section") as refused:
        handshake.accept(method, version, headers, subprotocols=["a"], deflate=deflate.Options())
    assert refused.value.status == status
    names = dict(refused.value.headers)
    assert (names.get("Sec-WebSocket-Version") == "13") is (status == 426)
    assert ("Allow" in names) is (status == 405)


@pytest.mark.parametrize(
    ("offered", "ours", "chosen"),
    [
        ([], ["chat"], None),
        (["chat"], [], None),
        (["chat"], ["superchat"], None),
        (["chat, superchat"], ["superchat", "chat"], "chat"),
        (["superchat ,chat"], ["chat", "superchat"], "superchat"),
        (["other", "chat"], ["chat"], "chat"),
        (["Chat"], ["chat"], None),
    ],
)
def test_subprotocols(offered: list[str], ours: list[str], chosen: str | None) -> None:
    headers = [*request(), *(("Sec-WebSocket-Protocol", value) for value in offered)]
    accepted = handshake.accept("GET", (1, 1), headers, subprotocols=ours)
    assert accepted.subprotocol == chosen
    told = [value for name, value in accepted.headers if name == "Sec-WebSocket-Protocol"]
    assert told == ([] if chosen is None else [chosen])


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        (["permessage-deflate"], "permessage-deflate; server_no_context_takeover"),
        (["Permessage-Deflate"], "permessage-deflate; server_no_context_takeover"),
        (["x-other, permessage-deflate"], "permessage-deflate; server_no_context_takeover"),
        (["x-other; a=1", "permessage-deflate"], "permessage-deflate; server_no_context_takeover"),
        ([" , x-other ,, permessage-deflate ,"], "permessage-deflate; server_no_context_takeover"),
        (
            ['permessage-deflate; server_max_window_bits="10"'],
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
        ),
        (
            ["permessage-deflate;server_max_window_bits=8,permessage-deflate"],
            "permessage-deflate; server_no_context_takeover",
        ),
        (["permessage-deflate; unknown"], None),
        (["x-webkit-deflate-frame"], None),
    ],
)
def test_extensions(fields: list[str], answer: str | None) -> None:
    headers = [*request(), *(("Sec-WebSocket-Extensions", value) for value in fields)]
    accepted = handshake.accept("GET", (1, 1), headers, deflate=deflate.Options())
    assert dict(accepted.headers).get("Sec-WebSocket-Extensions") == answer
    assert (accepted.deflate is not None) is (answer is not None)
    assert handshake.accept("GET", (1, 1), headers).deflate is None


def test_one_text_is_no_list_of_subprotocols() -> None:
    """`in` would find "per" in "superchat"."""
    headers = [*request(), ("Sec-WebSocket-Protocol", "per")]
    with pytest.raises(TypeError, match="subprotocols"):
        handshake.accept("GET", (1, 1), headers, subprotocols="superchat")
    with pytest.raises(TypeError, match="subprotocols"):
        handshake.request("/", "h", subprotocols="chat")


def test_a_later_minor_version_is_accepted() -> None:
    """Section 4.2.1: HTTP/1.1 or higher; HTTP/2 has no such handshake."""
    assert handshake.accept("GET", (1, 2), request()).subprotocol is None


def test_long_fields_take_linear_time() -> None:
    """A quadratic parse of 400 KB would take minutes."""
    begin = time.process_time()
    for field, value in (
        ("Sec-WebSocket-Extensions", "a;" + " " * 400_000 + "b c"),
        ("Sec-WebSocket-Extensions", 'a; b="' + "\\x" * 200_000),
        ("Sec-WebSocket-Extensions", ", " * 200_000 + '"'),
        ("Sec-WebSocket-Protocol", "a" + " " * 400_000 + "b"),
        ("Sec-WebSocket-Key", "=" * 400_000),
        ("Connection", " ," * 200_000),
    ):
        with pytest.raises(HandshakeError):
            handshake.accept("GET", (1, 1), [*request(**{field: None}), (field, value)])
    assert time.process_time() - begin < 5


# --- the client -----------------------------------------------------------------------------------


def client_request(**options: object) -> handshake.Request:
    return handshake.request("/chat?room=1", "server.example.com:81", **options)  # type: ignore[arg-type]


def answer_to(sent: handshake.Request, **changes: str | None) -> Headers:
    fields: dict[str, str | None] = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": handshake.accept_key(sent.key),
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return [(name, value) for name, value in fields.items() if value is not None]


def test_both_ends_agree() -> None:
    options = deflate.Options()
    sent = client_request(subprotocols=["chat", "superchat"], deflate=options, origin="http://example.com")
    accepted = handshake.accept("GET", (1, 1), sent.headers, subprotocols=["superchat"], deflate=options)
    checked = handshake.check(sent, 101, accepted.headers)
    assert checked.subprotocol == accepted.subprotocol == "superchat"
    assert checked.deflate == accepted.deflate is not None
    assert ("Origin", "http://example.com") in sent.headers


def test_a_request_has_a_fresh_key() -> None:
    keys = {client_request().key for _ in range(50)}
    assert len(keys) == 50
    sent = handshake.request("/", "h", headers=[("Cookie", "a=b"), ("Origin", "http://a")])
    assert sent.headers[-2:] == [("Cookie", "a=b"), ("Origin", "http://a")]


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (200, {}),
        (302, {}),
        (101, {"Upgrade": None}),
        (101, {"Upgrade": "h2c"}),
        (101, {"Upgrade": "websocket, h2c"}),
        (101, {"Connection": None}),
        (101, {"Connection": "close"}),
        (101, {"Sec_WebSocket_Accept": None}),
        (101, {"Sec_WebSocket_Accept": ACCEPT}),
        (101, {"Sec_WebSocket_Protocol": "other"}),
        (101, {"Sec_WebSocket_Extensions": "x-unknown"}),
        (101, {"Sec_WebSocket_Extensions": "permessage-deflate, permessage-deflate"}),
        (101, {"Sec_WebSocket_Extensions": "permessage-deflate; unknown"}),
        (101, {"Sec_WebSocket_Extensions": "a b"}),
        (101, {"Sec_WebSocket_Extensions": 'permessage-deflate; a="'}),
        (101, {"Sec_WebSocket_Extensions": "permessage-deflate; server_max_window_bits=7"}),
    ],
)
def test_answers_refused(status: int, changes: dict[str, str | None]) -> None:
    options = deflate.Options(server_no_context_takeover=False)
    sent = client_request(subprotocols=["chat"], deflate=options)
    assert handshake.check(sent, 101, answer_to(sent)).subprotocol is None
    with pytest.raises(HandshakeError, match=r"RFC (6455|7692) section") as refused:
        handshake.check(sent, status, answer_to(sent, **changes))
    assert refused.value.status == status


@pytest.mark.parametrize("fields_count", [1, 4])
def test_extensions_are_read_up_to_a_bound_in_all(fields_count: int) -> None:
    """Each byte of the field may be a word: heads of 56 kB full of them took 40 ms each."""
    each_bytes = handshake.EXTENSIONS_MAX_BYTES // fields_count
    fields = [("Sec-WebSocket-Extensions", "a," * (each_bytes // 2))] * fields_count
    assert handshake.accept("GET", (1, 1), [*request(), *fields]).deflate is None
    with pytest.raises(HandshakeError, match="more than 2048 bytes") as refused:
        handshake.accept("GET", (1, 1), [*request(), *fields, ("Sec-WebSocket-Extensions", "b")])
    assert refused.value.status == 400


def test_an_extension_that_was_not_offered() -> None:
    sent = client_request()
    with pytest.raises(HandshakeError, match="not offered"):
        handshake.check(sent, 101, answer_to(sent, Sec_WebSocket_Extensions="permessage-deflate"))


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("resource", {"resource": "chat"}),
        ("resource", {"resource": "/a b"}),
        ("resource", {"resource": "/a\r\nX: y"}),
        ("host", {"host": ""}),
        ("host", {"host": "a\nb"}),
        ("subprotocols", {"subprotocols": ["a b"]}),
        ("subprotocols", {"subprotocols": ["a", "a"]}),
        ("headers", {"headers": [("a", "b\r\nc: d")]}),
        ("headers", {"headers": [("a:", "b")]}),
        ("headers", {"origin": "http://a\nb"}),
        ("fragment", {"resource": "/a#b"}),
        ("headers must not have Host", {"headers": [("Host", "other")]}),
        ("headers must not have upgrade", {"headers": [("upgrade", "h2c")]}),
        ("headers must not have Connection", {"headers": [("Connection", "close")]}),
        ("headers must not have sec-websocket-key", {"headers": [("sec-websocket-key", KEY)]}),
        ("headers must not have Sec-WebSocket-Version", {"headers": [("Sec-WebSocket-Version", "8")]}),
        ("headers must not have Sec-WebSocket-Accept", {"headers": [("Sec-WebSocket-Accept", ACCEPT)]}),
        ("headers must not have Sec-WebSocket-Protocol", {"headers": [("Sec-WebSocket-Protocol", "a")]}),
        ("headers must not have Sec-WebSocket-Ext", {"headers": [("Sec-WebSocket-Extensions", "a")]}),
        ("headers must not have Origin", {"origin": "http://a", "headers": [("Origin", "http://b")]}),
    ],
)
def test_the_callers_mistakes(argument: str, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=argument):
        handshake.request(**{"resource": "/", "host": "h", **options})  # type: ignore[arg-type]
