"""Who answers a request: by path, after the proxy and the root path have had their say (serve/routing.py).

It must not know what those who answer do; names stand for them.
"""

import re
from dataclasses import replace
from typing import Any

import pytest

from python_server.connection.address_caps import Refusal
from python_server.connection.allowed_hosts import AllowedHosts
from python_server.connection.proxy_headers import ProxyRules
from python_server.http1.parser import Request, RequestParser
from python_server.serve.routing import Router, engine_of
from python_server.settings import HTTPSettings


class Routes:
    def serves(self, path: str) -> bool:
        return path == "/echo"


class Engine:
    def is_foreign(self, query: str) -> bool:
        return "sid=7." in query


class Exchange:
    def __init__(self, asked: Request) -> None:
        self.request = asked
        self.keep_alive = True
        self.answer: tuple[Any, ...] = ()

    def refuse_keep_alive(self) -> None:
        self.keep_alive = False

    def respond(self, *answer: Any) -> None:
        self.answer = answer


ROUTES: Any = Routes()
ENGINE: Any = Engine()
REST: Any = "the application"
COMPLAINTS: list[str] = []
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\n"


def router(root_path: str = "", proxies: ProxyRules | None = None, hosts: str = "") -> Router:
    engines, complaints = [("/socket.io/", ENGINE)], COMPLAINTS
    complaints.clear()
    complain = lambda kind, sentence: complaints.append(sentence)  # noqa: E731
    return Router("http", proxies, AllowedHosts(hosts), complain, root_path, engines, ROUTES, REST)


def request(target: str, fields: str = "") -> Request:
    head = f"GET {target} HTTP/1.1\r\nHost: here\r\n{fields}\r\n".encode()
    found = next(event for event in RequestParser(HTTPSettings()).receive(head) if isinstance(event, Request))
    found.peer, found.local = ("10.0.0.9", 4000), ("10.0.0.1", 80)
    return found


@pytest.mark.parametrize(
    ("target", "fields", "root_path", "expected"),
    [
        ("/", "", "", REST),
        ("/socket.io/?EIO=4", "", "", ENGINE),
        ("/socket.io", "", "", ENGINE),
        ("/socket.iox", "", "", REST),
        ("/echo", "", "", REST),
        ("/echo", UPGRADE, "", ROUTES),
        ("/other", UPGRADE, "", REST),
        ("/shop/socket.io/", "", "/shop", ENGINE),
        ("/shop/echo", UPGRADE, "/shop", ROUTES),
        ("/shopping/socket.io/", "", "/shop", REST),
    ],
)
def test_the_path_decides(target: str, fields: str, root_path: str, expected: Any) -> None:
    assert router(root_path).route(request(target, fields)) is expected


def test_a_trusted_proxys_word_is_the_requests_own() -> None:
    fields = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n"
    believed, doubted = request("/", fields), request("/", fields)
    router(proxies=ProxyRules("10.0.0.0/8")).route(believed)
    router(proxies=ProxyRules("127.0.0.1")).route(doubted)
    assert (believed.scheme, believed.peer[0], believed.local) == ("https", "192.0.2.7", ("10.0.0.1", 8443))
    assert (doubted.scheme, doubted.peer[0], doubted.local) == ("http", "10.0.0.9", ("10.0.0.1", 80))


def test_who_is_over_a_cap_is_refused_by_the_address_that_a_proxy_names() -> None:
    asked: list[Any] = []

    def admit(request: Request, own: Any) -> Refusal | None:
        asked.append((request.peer[0], own[0]))
        return Refusal(429, "too many", 7) if request.peer[0] == "192.0.2.7" else None

    engines = [("/socket.io/", ENGINE)]
    rules = ProxyRules("10.0.0.0/8")
    capped = Router(
        "http", rules, AllowedHosts(""), lambda kind, text: None, "", engines, ROUTES, REST, admit
    )
    assert capped.route(request("/")) is REST
    refused: Any = capped.route(request("/socket.io/", "X-Forwarded-For: 192.0.2.7\r\n"))
    assert asked == [("10.0.0.9", "10.0.0.9"), ("192.0.2.7", "10.0.0.9")]
    exchange = Exchange(request("/"))
    refused.request_received(exchange)
    refused.body_received(exchange, b"piece")
    refused.body_ended(exchange)
    refused.exchange_lost(exchange, "gone")
    status, headers, body = exchange.answer
    assert (status, exchange.keep_alive) == ("429 Too Many Requests", False)
    assert (dict(headers)["Retry-After"], body) == ("7", b"too many\n")


@pytest.mark.parametrize(
    ("target", "root_path", "foreign"),
    [
        ("/socket.io/?EIO=4&sid=7.abc", "", True),
        ("/socket.io/?EIO=4&sid=1.abc", "", False),
        ("/socket.io/?EIO=4", "", False),
        ("/else/?EIO=4&sid=7.abc", "", False),
        ("/shop/socket.io/?EIO=4&sid=7.abc", "/shop", True),
    ],
)
def test_only_an_engine_says_whose_session_a_head_names(target: str, root_path: str, foreign: bool) -> None:
    assert router(root_path).is_foreign(request(target)) is foreign


@pytest.mark.parametrize("target", ["/", "/socket.io/?EIO=4", "http://evil.test/socket.io/"])
@pytest.mark.parametrize("fields", ["", UPGRADE])
def test_what_is_for_another_host_is_refused_before_anybody_sees_it(target: str, fields: str) -> None:
    served = router(hosts="shop.test,.here.test")
    exchange: Any = Exchange(request(target, fields))
    served.route(exchange.request).request_received(exchange)
    status, _, body = exchange.answer
    assert (status, exchange.keep_alive) == ("400 Bad Request", False)
    assert b"host" in body
    assert "--allowed-hosts" in COMPLAINTS[0]
    assert exchange.request.authority in COMPLAINTS[0]


def test_the_host_that_a_trusted_proxy_names_counts() -> None:
    served = router(hosts="public.test", proxies=ProxyRules("10.0.0.0/8"))
    assert served.route(request("/", "X-Forwarded-Host: public.test\r\n")) is REST
    assert served.route(request("/", "X-Forwarded-Host: evil.test\r\n")) is not REST
    assert router(hosts="public.test").route(request("/", "X-Forwarded-Host: public.test\r\n")) is not REST


@pytest.mark.parametrize(
    ("names", "authority", "allowed"),
    [
        *(("", "any.test", True), ("*", "any.test", True), ("", "", True), ("shop.test,*", "x", True)),
        *(
            ("shop.test", "shop.test", True),
            ("shop.test", "SHOP.test:8000", True),
            ("shop.test", "shop.test.", True),
        ),
        *(
            ("Shop.Test", "shop.test.:80", True),
            ("shop.test", "a.shop.test", False),
            ("shop.test", "", False),
        ),
        *(
            (".shop.test", "shop.test", True),
            (".shop.test", "a.b.shop.test:1", True),
            (".shop.test", "ashop.test", False),
        ),
        *(
            ("*.shop.test", "a.shop.test", True),
            ("*.shop.test", "shop.test", False),
            ("*.shop.test", ".shop.test", False),
        ),
        *(("[::1]", "[::1]:8000", True), ("[::1]", "[::2]", False), ("127.0.0.1", "127.0.0.1:8000", True)),
        *(
            ("a.test, b.test", "b.test", True),
            ("a.test", "b.test:80a.test", False),
            ("a.test", "a.test:80:80", False),
        ),
    ],
)
def test_allowed_hosts(names: str, authority: str, allowed: bool) -> None:
    assert AllowedHosts(names).allows(authority) is allowed


@pytest.mark.parametrize("names", ["http://shop.test", "shop.test:80", "a b", "shop.*", "::1", "a/b", "."])
def test_a_malformed_name_of_a_host_is_named(names: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(names))):
        AllowedHosts("fine.test," + names)


def test_a_session_of_another_machine_is_passed_on_after_every_refusal_and_before_any_file() -> None:
    asked: list[tuple[Any, str]] = []
    passed: Any = "passed on"

    def elsewhere(engine: Any, request: Request) -> Any:
        asked.append((engine, request.path))
        return passed if "sid=m2." in request.query else None

    served = replace(router("/shop", hosts="here"), elsewhere=elsewhere, client_files={"/socket.io/": REST})
    assert served.route(request("/shop/socket.io/?EIO=4&sid=m2.0.abc")) is passed
    assert served.route(request("/shop/socket.io/?EIO=4&sid=m1.0.abc")) is REST
    assert served.route(request("/shop/?sid=m2.0.abc")) is REST
    assert asked == [(ENGINE, "/socket.io/")] * 2
    refused = served.route(request("http://evil.test/shop/socket.io/?EIO=4&sid=m2.0.abc"))
    assert refused not in (passed, REST, ENGINE)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("path", "found"),
    [("/a/", "one"), ("/a", "one"), ("/a/b", "one"), ("/ab", None), ("/b/", "two"), ("/", None), ("", None)],
)
def test_an_engine_answers_below_its_path(path: str, found: str | None) -> None:
    engines: Any = [("/a/", "one"), ("/b/", "two")]
    assert engine_of(engines, path) == found
