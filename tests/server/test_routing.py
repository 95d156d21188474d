"""Who answers a request: by path, after the proxy and the root path have had their say (routing.py).

It must not know what those who answer do; names stand for them.
"""

from typing import Any

import pytest

from python_server.address_caps import Refusal
from python_server.http1.parser import Request, RequestParser
from python_server.proxy import ProxyRules
from python_server.routing import Router
from python_server.settings import HTTPSettings


class Routes:
    def serves(self, path: str) -> bool:
        return path == "/echo"


class Engine:
    def is_foreign(self, query: str) -> bool:
        return "sid=7." in query


class Exchange:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def refuse_keep_alive(self) -> None:
        self.told.append("close")

    def respond(self, status: str, headers: Any, body: bytes) -> None:
        self.told += [status, dict(headers)["Retry-After"], body]


ROUTES: Any = Routes()
ENGINE: Any = Engine()
FRONT: Any = "what stands before the engine"
REST: Any = "the application"
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\n"


def router(root_path: str = "", proxies: ProxyRules | None = None) -> Router:
    engines = [("/socket.io/", ENGINE)]
    return Router("http", proxies, root_path, engines, [("/socket.io/", FRONT)], ROUTES, REST)


def request(target: str, fields: str = "") -> Request:
    head = f"GET {target} HTTP/1.1\r\nHost: here\r\n{fields}\r\n".encode()
    found = next(event for event in RequestParser(HTTPSettings()).receive(head) if isinstance(event, Request))
    found.peer, found.local = ("10.0.0.9", 4000), ("10.0.0.1", 80)
    return found


@pytest.mark.parametrize(
    ("target", "fields", "root_path", "expected"),
    [
        ("/", "", "", REST),
        ("/socket.io/?EIO=4", "", "", FRONT),
        ("/socket.io", "", "", FRONT),
        ("/socket.iox", "", "", REST),
        ("/echo", "", "", REST),
        ("/echo", UPGRADE, "", ROUTES),
        ("/other", UPGRADE, "", REST),
        ("/shop/socket.io/", "", "/shop", FRONT),
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
    capped = Router("http", rules, "", engines, [("/socket.io/", FRONT)], ROUTES, REST, admit)
    assert capped.route(request("/")) is REST
    refused: Any = capped.route(request("/socket.io/", "X-Forwarded-For: 192.0.2.7\r\n"))
    assert asked == [("10.0.0.9", "10.0.0.9"), ("192.0.2.7", "10.0.0.9")]
    exchange = Exchange()
    refused.request_received(exchange)
    refused.body_received(exchange, b"piece")
    refused.body_ended(exchange)
    refused.exchange_lost(exchange, "gone")
    assert exchange.told == ["close", "429 Too Many Requests", "7", b"too many\n"]


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
