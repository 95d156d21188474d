"""What is kept for all connections cannot be written to by any: caches of heads, environ's constants, tables.

It must not know sockets; requests go through the parser, the router, the environ and a response's head.
"""

import importlib
import pkgutil
import typing
from collections.abc import Iterator
from enum import Enum
from io import BytesIO
from types import MappingProxyType
from typing import Any

import pytest

import python_server
from python_server.connection.allowed_hosts import AllowedHosts
from python_server.connection.proxy_headers import ProxyRules
from python_server.http1.parser import Request, RequestParser
from python_server.http1.response import StandingFields, response_head
from python_server.serve.routing import Router
from python_server.settings import HTTPSettings
from python_server.wsgi.environ import ServerFacts, build_environ

LINES = "Host: shop\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
NO_ROUTES: Any = None


def request(peer: Any, number: int = 0) -> Request:
    (event, *_) = RequestParser(HTTPSettings()).receive(f"GET /?{number} HTTP/1.1\r\n{LINES}".encode())
    assert isinstance(event, Request)
    event.peer, event.local = peer, ("10.0.0.1", 80)
    return event


def test_a_stranger_who_says_what_the_proxy_says_changes_nothing_for_the_proxy() -> None:
    router = Router(
        "http",
        ProxyRules("10.0.0.9"),
        AllowedHosts(""),
        print,
        "",
        [],
        NO_ROUTES,
        typing.cast(Any, "the application"),
    )
    proxied, stranger = ("10.0.0.9", 1), ("192.0.2.1", 1)
    for number, peer in enumerate((proxied, stranger, proxied, stranger, "")):
        asked = request(peer, number)
        router.route(asked)
        environ = build_environ(asked, ServerFacts(), BytesIO())
        if peer == stranger:
            assert (asked.peer, asked.scheme) == (stranger, "http")
            assert not [key for key in environ if "FORWARDED" in key]
        else:
            assert (asked.peer[0], asked.scheme) == ("203.0.113.9", "https")
            assert environ["HTTP_X_FORWARDED_FOR"] == "203.0.113.9"


@pytest.mark.parametrize("number", [1, 2])
def test_a_request_s_fields_cannot_be_written_to(number: int) -> None:
    for _ in range(number):  # read for the first time, or known
        asked = request("")
    fields: Any = asked.fields
    for write in (fields.__class__.__name__, "__setitem__", "pop", "clear", "update", "setdefault"):
        assert not hasattr(fields, write)
    headers: Any = asked.headers
    assert type(headers) is tuple
    with pytest.raises(TypeError):
        fields["host"] = "other"


def test_environs_share_no_dictionary() -> None:
    facts = ServerFacts()
    first, second = (build_environ(request(""), facts, BytesIO()) for _ in range(2))
    first["wsgi.version"] = first["HTTP_X_A"] = "mine"
    assert (second["wsgi.version"], second["HTTP_X_A"]) == ((1, 0), "1,2")
    with pytest.raises(TypeError):
        facts.constants["wsgi.version"] = (2, 0)  # type: ignore[index]


# Every cache of the package, whoever adds one

ATOMS = (str, bytes, int, float, bool, type(None), Enum)


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(python_server.__path__, "python_server."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def is_frozen(value: Any) -> bool:
    if isinstance(value, (tuple, frozenset)):
        return all(map(is_frozen, value))
    if isinstance(value, MappingProxyType):
        return all(map(is_frozen, value.values()))
    return isinstance(value, ATOMS)


def growing() -> dict[tuple[str, str], Any]:
    """Containers that stand in a module, by their place."""
    return {
        (module.__name__, name): value
        for module in modules()
        for name, value in vars(module).items()
        if type(value) in (dict, list, set) and not name.startswith("__")
    }


def test_what_modules_keep_of_requests_is_frozen() -> None:
    before = {place: len(value) for place, value in growing().items()}
    for number in range(3):
        head = f"GET / HTTP/1.1\r\nHost: h{number}\r\nX-Own-{number}: 1\r\n\r\n".encode()
        (event, *_) = RequestParser(HTTPSettings()).receive(head)
        assert isinstance(event, Request)
        build_environ(event, ServerFacts(), BytesIO())
        status, field = f"20{number} Own", (f"X-Own-{number}", "1")
        response_head(
            event, True, status, [field], 0, "Thu, 01 Jan 1970 00:00:00 GMT", StandingFields.of("here")
        )
    grown = {place: value for place, value in growing().items() if len(value) != before[place]}
    assert ("python_server.http1.head", "_KNOWN") in grown
    for place, container in grown.items():
        kept = container.values() if isinstance(container, dict) else container
        assert all(map(is_frozen, kept)), place


def test_what_functions_keep_of_their_results_is_frozen() -> None:
    cached = {
        function
        for module in modules()
        for function in vars(module).values()
        if hasattr(function, "cache_info") and function.__module__.startswith("python_server")
    }
    assert len(cached) >= 3
    for function in cached:
        assert typing.get_type_hints(function.__wrapped__)["return"] in (str, int, bytes, bool), function
