"""Query, path, Host, Cookie, Content-Length, Upgrade: what several places read of a request, they read alike.

It must not know sockets; a head goes through the parser, the router, the engine, the environ and Werkzeug.
"""

from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.http import parse_cookie
from werkzeug.wrappers import Request as WerkzeugRequest

from python_server.connection.allowed_hosts import AllowedHosts
from python_server.connection.proxy_headers import ProxyRules
from python_server.engineio.cors import OriginRules
from python_server.engineio.query import SINGLE_FIELDS, QueryError, read_query
from python_server.engineio.session_ids import SessionIds
from python_server.http1.parser import BadRequest, Request, RequestParser
from python_server.serve.mounts import normal_root_path
from python_server.serve.routing import Router
from python_server.settings import HTTPSettings
from python_server.wsgi.environ import ServerFacts, build_environ
from wsframe import handshake

TOKEN = "token=secret"
NAMES = [
    *("sid", "%73id", "s%69d", "SID", "sid%00", " sid", "+sid", "%20sid", "EIO", "E%49O", "transport", "t")
]
VALUES = [
    *(
        "",
        "4",
        "polling",
        "websocket",
        "1.abc",
        "3.abcdefghijklmnopqrst",
        "%",
        "%ff",
        "%C3%A9",
        "a=b",
        "+",
        "%00",
    )
]
FIELD = st.builds(
    lambda name, equals, value: name + equals + value,
    st.sampled_from(NAMES) | st.text("sidEIO%0123456789abcdef+&;=.", max_size=8),
    st.sampled_from(["=", "", "=="]),
    st.sampled_from(VALUES) | st.text("%0123456789abcdefg+;=./?", max_size=8),
)
QUERIES = st.lists(FIELD, max_size=6).map("&".join)
BEGIN = "EIO=4&transport=polling"
EVIL = [
    *(f"{BEGIN}&sid=x&sid=", f"{BEGIN}&sid=&sid=x", f"{BEGIN}&sid=x&%73id=", f"{BEGIN}&s%69d=x&sid="),
    *(f"{BEGIN}&sid=x;sid=", f"{BEGIN}&sid&sid=x", f"{BEGIN}&sid=%ff", f"{BEGIN}&sid=+", f"{BEGIN}&&sid=x&"),
    *(
        f"{BEGIN}&EIO=3",
        f"EIO=3&{BEGIN}",
        f"{BEGIN}&transport=websocket",
        f"{BEGIN}&%45IO=4",
        f"{BEGIN}&sid=x&sid=x",
    ),
]


def parse(target: str, *fields: str, host: str = "shop.test") -> Request | None:
    """The request of a head, None where the parser refuses it."""
    lines = "".join(f"{field}\r\n" for field in (f"Host: {host}", *fields))
    head = f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1", "replace")
    events = RequestParser(HTTPSettings()).receive(head)
    request = next((event for event in events if isinstance(event, Request)), None)
    if request is None or any(isinstance(event, BadRequest) for event in events):
        return None
    request.peer, request.local = ("192.0.2.9", 4000), ("192.0.2.1", 80)
    return request


def seen_by_an_application(request: Request, root_path: str = "") -> WerkzeugRequest:
    facts = ServerFacts(script_name=normal_root_path(root_path))
    return WerkzeugRequest(build_environ(request, facts, BytesIO()))


def examples(queries: list[str]) -> Any:
    def decorate(function: Any) -> Any:
        for query in queries:
            function = example(query)(function)
        return function

    return decorate


# The query


@settings(max_examples=400, deadline=None)
@given(QUERIES)
@examples(EVIL)
def test_engine_home_finding_and_application_read_one_query_alike(query: str) -> None:
    request = parse(f"/socket.io/?{quote(query, safe='%=&+;./?')}")
    assert request is not None
    args = seen_by_an_application(request).args
    try:
        fields = read_query(request.query)
    except QueryError:
        values = {name: args.getlist(name) for name in SINGLE_FIELDS}
        assert any(len(said) > 1 for said in values.values()) or "%" in request.query
        return
    for name in SINGLE_FIELDS:
        assert args.getlist(name) == ([fields[name]] if name in fields else [])
    for name, value in fields.items():
        if "\ufffd" not in name + value:
            assert args.get(name) == value


@settings(max_examples=300, deadline=None)
@given(QUERIES, st.sampled_from(["GET", "POST"]))
def test_no_query_opens_a_session_that_was_not_asked_for(make_world: Any, query: str, method: str) -> None:
    asked: list[Any] = []
    world = make_world(
        names=SessionIds(1), admit=lambda exchange, admitted: asked.append((exchange, admitted))
    )
    exchange = world.request(method, query)
    assert not world.engine.sessions
    assert not world.heard.opened
    for waiting, admitted in asked:  # what is asked for reads, to the middleware, as a handshake
        assert waiting is exchange
        assert not parse_qsl_of(query, "sid")
        admitted()
        assert len(world.engine.sessions) == (exchange.status == 200)
    assert asked or exchange.status == 400


def parse_qsl_of(query: str, name: str) -> list[str]:
    """Values that are not blank, as any reader of forms finds them."""
    return [value for key, value in parse_qsl(query) if key == name]


@pytest.mark.parametrize("query", EVIL)
@pytest.mark.parametrize("token", ["", TOKEN])
def test_a_guarded_handshake_has_one_decision(make_world: Any, query: str, token: str) -> None:
    """The middleware leaves alone what carries a sid, as one does that guards handshakes only."""

    def admit(exchange: Any, admitted: Any) -> None:
        args = seen_by_an_application(exchange.request).args
        if args.get("sid") or args.get("token") == "secret":
            admitted()
        else:
            exchange.respond(403, [], b"no token")

    world = make_world(admit=admit)
    for transport in ("polling", "websocket"):
        exchange = world.request(query=query.replace("polling", transport) + ("&" + token if token else ""))
        assert exchange.status in ((400, 403) if not token else (200, 400))
        assert bool(world.engine.sessions) == (exchange.status == 200)


@pytest.mark.parametrize("name", sorted(SINGLE_FIELDS))
@pytest.mark.parametrize("spelling", [str, lambda name: f"%{ord(name[0]):02x}{name[1:]}"])
def test_a_field_that_steers_the_protocol_is_said_once(world: Any, name: str, spelling: Any) -> None:
    sid = world.open()
    values = {"sid": sid, "EIO": "4", "transport": "polling"}
    query = "&".join(f"{key}={value}" for key, value in values.items())
    exchange = world.request("GET", f"{query}&{spelling(name)}={values[name]}")
    assert (exchange.status, exchange.code) == (400, 3)
    assert exchange.headers["content-type"] == "application/json"
    assert b"repeats" in exchange.body
    assert world.get(sid).status == 0  # the session has not heard of it


@pytest.mark.parametrize(
    ("sid", "foreign"),
    [("1.abc", False), ("3.abc", True), ("%33.abc", True), ("%31.abc", False), ("", False)],
)
def test_a_session_s_home_is_found_by_the_same_reader(make_world: Any, sid: str, foreign: bool) -> None:
    engine = make_world(names=SessionIds(1)).engine
    assert engine.is_foreign(f"{BEGIN}&sid={sid}") is foreign
    assert engine.is_foreign(f"{BEGIN}&%73id={sid}") is foreign
    assert engine.is_foreign(f"{BEGIN}&x=sid=1.&sid={sid}") is foreign
    assert not engine.is_foreign(f"{BEGIN}&sid=3.abc&sid={sid}")


@pytest.mark.parametrize(("fields_count", "status"), [(100, 200), (101, 400)])
def test_the_fields_of_a_query_are_counted(world: Any, fields_count: int, status: int) -> None:
    exchange = world.request(query=BEGIN + "&a=%41" * (fields_count - 2))
    assert exchange.status == status
    if status == 400:
        assert (exchange.code, "more than 100 fields" in exchange.text) == (3, True)


# The path


class Engine:
    def is_foreign(self, query: str) -> bool:
        return True


class NoRoutes:
    def serves(self, path: str) -> bool:
        return False


ENGINE: Any = Engine()
NO_ROUTES: Any = NoRoutes()
REST: Any = "the application"
SEGMENTS = [
    "socket.io",
    "%73ocket.io",
    "socket%2eio",
    "socket.io%2f",
    ".",
    "..",
    "%2e",
    "",
    "shop",
    "SOCKET.IO",
    "a;b",
]
PATHS = st.lists(st.sampled_from(SEGMENTS), max_size=5).map(lambda parts: "/" + "/".join(parts))


@settings(max_examples=400, deadline=None)
@given(PATHS, st.sampled_from(["", "/", "?EIO=4", "#a", "/?x#y"]), st.sampled_from(["", "http://shop.test"]))
@example("//socket.io", "/", "")
@example("/./socket.io", "/", "")
@example("/shop/socket.io", "/", "http://shop.test")
def test_router_home_finding_and_application_read_one_path_alike(path: str, rest: str, origin: str) -> None:
    for root in ("", "/shop"):
        request = parse(origin + path + rest)
        assert request is not None
        router = Router(
            "http", None, AllowedHosts(""), print, root, [("/socket.io/", ENGINE)], NO_ROUTES, REST
        )
        foreign = router.is_foreign(request)
        handler = router.route(request)
        path_info = seen_by_an_application(request, root).environ["PATH_INFO"]
        mounted = path_info.startswith("/socket.io/") or path_info == "/socket.io"
        assert (handler is ENGINE) is foreign is mounted


# The host


HOSTS = [
    "shop.test",
    "shop.test:8080",
    "SHOP.test",
    "[::1]:80",
    "[::1]",
    "",
    ":80",
    "a:b",
    "a@b",
    "a/b",
    "a b",
    "a,b",
    "a%20b",
]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(HOSTS), st.sampled_from(["", "http://other.test", "http://other.test:81", "http://a@b"])
)
def test_origin_rules_and_application_read_one_host_alike(host: str, origin: str) -> None:
    request = parse(f"{origin}/x", f"Origin: http://{host}", host=host)
    if request is None:
        return
    application = seen_by_an_application(request)
    assert application.environ.get("HTTP_HOST", "") == request.authority
    own = OriginRules(None).refusal(request) is None
    assert own is (
        bool(request.authority) and f"http://{request.authority}".lower() == f"http://{host}".lower()
    )


def test_a_second_host_is_refused() -> None:
    assert parse("/", "Host: other.test") is None
    assert parse("/", "host : other.test") is None


def test_what_a_proxy_says_of_the_host_holds_everywhere() -> None:
    request = parse(
        "/", "X-Forwarded-Host: public.test", "X-Forwarded-Proto: https", "X-Forwarded-For: 198.51.100.4"
    )
    assert request is not None
    Router("http", ProxyRules("192.0.2.9"), AllowedHosts(""), print, "", [], NO_ROUTES, REST).route(request)
    application = seen_by_an_application(request)
    assert (request.authority, application.host, application.scheme) == (
        "public.test",
        "public.test",
        "https",
    )
    assert (request.peer[0], application.remote_addr) == ("198.51.100.4", "198.51.100.4")


@pytest.mark.parametrize("name", ["X_Forwarded_For", "X-Forwarded_For", "Content_Length", "Cooki_e"])
def test_a_name_with_an_underscore_is_nobodys(name: str) -> None:
    request = parse("/", f"{name}: 7")
    assert request is not None
    environ = seen_by_an_application(request).environ
    assert not [key for key, value in environ.items() if value == "7"]


# Cookies, length, upgrade


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text('ab=;, "\\%1', max_size=12), max_size=3))
def test_cookies_are_read_alike(cookies: list[str]) -> None:
    request = parse("/", *(f"Cookie: {cookie}" for cookie in cookies))
    assert request is not None
    application = seen_by_an_application(request)
    assert application.cookies == parse_cookie(request.get("cookie"))
    assert application.environ.get("HTTP_COOKIE", "") == "; ".join(cookie.strip(" \t") for cookie in cookies)


@settings(max_examples=200, deadline=None)
@given(st.text("0123456789+-_ ,xe\u0660\u00b2", max_size=6), st.booleans())
@example("5, 5", False)
@example("5", True)
def test_a_length_is_read_alike(length: str, twice: bool) -> None:
    request = parse("/", *[f"Content-Length: {length}"] * (1 + twice))
    if request is None:
        assert twice or not (length.strip().isascii() and length.strip().isdigit())
        return
    assert seen_by_an_application(request).content_length == request.body_length


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["websocket", "WebSocket", "websocket, h2c", "h2c,websocket", "websocket/13", ""]),
    st.sampled_from(["Upgrade", "upgrade, keep-alive", "keep-alive", "close", "up grade", ""]),
)
def test_what_goes_to_a_websocket_is_a_handshake_there(upgrade: str, connection: str) -> None:
    key = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    request = parse("/", f"Upgrade: {upgrade}", f"Connection: {connection}", *key)
    assert request is not None
    if request.upgrade == "websocket":
        assert handshake.accept(request.method, request.version, request.headers).headers
