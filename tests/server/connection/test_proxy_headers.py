"""Who asked, as trusted proxies tell it; and what nobody else may make us believe.

It must not know any socket: fields and peers go in, origins come out.
"""

from types import MappingProxyType

import pytest

from python_server.connection.proxy_headers import HOPS_MAX_COUNT, Origin, ProxyRules
from python_server.engineio.cors import OriginRules
from python_server.http1.parser import Request

PROXY = ("10.0.0.1", 5000)
CLIENT = ("192.0.2.7", 0)


def resolve(
    fields: dict[str, str], *, trusted: str = "10.0.0.0/8", peer: object = PROXY, scheme: str = "http"
) -> Origin:
    _, origin = ProxyRules(trusted).resolve(MappingProxyType(fields), Origin(peer, scheme, "inner:8000"))
    return origin


@pytest.mark.parametrize(
    ("chain", "trusted", "client"),
    [
        ("192.0.2.7", "10.0.0.1", "192.0.2.7"),
        # The client wrote the first entry itself.
        ("1.1.1.1, 192.0.2.7", "10.0.0.1", "192.0.2.7"),
        ("1.1.1.1, 10.9.9.9, 192.0.2.7", "10.0.0.0/8", "192.0.2.7"),
        ("192.0.2.7, 10.0.0.2", "10.0.0.0/8", "192.0.2.7"),
        # The second proxy is not listed: it is the client.
        ("192.0.2.7, 10.0.0.2", "10.0.0.1", "10.0.0.2"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.0/8", "10.0.0.3"),
        ("192.0.2.7, 10.0.0.2", "*", "192.0.2.7"),
        ("2001:db8::9", "10.0.0.1", "2001:db8::9"),
        ("[2001:db8::9]:4711", "10.0.0.1", "2001:db8::9"),
        ("192.0.2.7:4711", "10.0.0.1", "192.0.2.7"),
        ("::ffff:192.0.2.7", "10.0.0.1", "192.0.2.7"),
        ("::ffff:10.0.0.3, 10.0.0.2", "10.0.0.0/8", "10.0.0.3"),
        # Nothing can be known beyond a hop that hides or lies.
        ("192.0.2.7, unknown", "10.0.0.0/8", "10.0.0.1"),
        ("192.0.2.7, nonsense!, 10.0.0.2", "10.0.0.0/8", "10.0.0.2"),
        ("", "10.0.0.1", "10.0.0.1"),
        (",", "10.0.0.1", "10.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_hop_that_is_not_trusted(chain: str, trusted: str, client: str) -> None:
    assert resolve({"x-forwarded-for": chain}, trusted=trusted).peer[0] == client
    elements = ", ".join(
        f'for="[{hop}]"' if hop.count(":") > 1 and "[" not in hop else f'for="{hop}"'
        for hop in (part.strip() for part in chain.split(","))
    )
    assert resolve({"forwarded": elements}, trusted=trusted).peer[0] == client


def test_a_peer_that_is_not_trusted_is_not_believed_and_its_fields_are_gone() -> None:
    fields = {
        "host": "inner:8000",
        "forwarded": "for=1.1.1.1;proto=https;host=evil.example",
        "x-forwarded-for": "1.1.1.1",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "evil.example",
        "x-forwarded-port": "443",
    }
    shared = MappingProxyType(fields)
    believed, origin = ProxyRules("10.0.0.0/8").resolve(shared, Origin(CLIENT, "http", "inner:8000"))
    assert origin == Origin(CLIENT, "http", "inner:8000")
    assert believed == {"host": "inner:8000"}
    assert ProxyRules("10.0.0.0/8").resolve(shared, Origin(PROXY, "http", "inner:8000"))[0] == fields


def test_the_peer_of_a_unix_socket_is_trusted() -> None:
    origin = resolve({"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"}, peer="", trusted="")
    assert (origin.peer, origin.scheme) == (CLIENT, "https")


def test_without_fields_nothing_changes() -> None:
    assert resolve({"host": "inner:8000"}) == Origin(PROXY, "http", "inner:8000")


@pytest.mark.parametrize(
    ("fields", "scheme", "authority", "port"),
    [
        ({"x-forwarded-proto": "https"}, "https", "inner:8000", 8000),
        ({"x-forwarded-proto": "HTTPS"}, "https", "inner:8000", 8000),
        ({"x-forwarded-proto": "wss"}, "https", "inner:8000", 8000),
        ({"x-forwarded-proto": "gopher"}, "http", "inner:8000", 8000),
        ({"x-forwarded-host": "shop.example"}, "http", "shop.example", 80),
        ({"x-forwarded-host": "shop.example", "x-forwarded-proto": "https"}, "https", "shop.example", 443),
        ({"x-forwarded-host": "shop.example:8443"}, "http", "shop.example:8443", 8443),
        (
            {"x-forwarded-host": "shop.example", "x-forwarded-port": "8443", "x-forwarded-proto": "https"},
            "https",
            "shop.example:8443",
            8443,
        ),
        (
            {"x-forwarded-host": "shop.example", "x-forwarded-port": "443", "x-forwarded-proto": "https"},
            "https",
            "shop.example",
            443,
        ),
        ({"x-forwarded-host": "[2001:db8::1]:81"}, "http", "[2001:db8::1]:81", 81),
        ({"x-forwarded-host": "a b"}, "http", "inner:8000", 8000),
        ({"x-forwarded-host": "evil.example/path"}, "http", "inner:8000", 8000),
        ({"x-forwarded-host": "user@evil.example"}, "http", "inner:8000", 8000),
        ({"x-forwarded-port": "99999"}, "http", "inner:8000", 8000),
        ({"x-forwarded-port": "+80"}, "http", "inner:8000", 8000),
        ({"forwarded": "proto=https;host=shop.example"}, "https", "shop.example", 443),
        ({"forwarded": 'Proto=https; host="shop.example:8443"'}, "https", "shop.example:8443", 8443),
        ({"forwarded": r'host="shop.\example"'}, "http", "shop.example", 80),
    ],
)
def test_scheme_host_and_port(fields: dict[str, str], scheme: str, authority: str, port: int) -> None:
    origin = resolve(fields)
    assert (origin.peer, origin.scheme, origin.authority, origin.port) == (PROXY, scheme, authority, port)


@pytest.mark.parametrize(
    "field",
    [
        "for",
        "for=",
        "for=1.1.1.1;for=2.2.2.2",
        'for="1.1.1.1',
        "for=1.1.1.1 proto=https",
        "for=1.1.1.1;",
        "=x",
        "for=1.1.1.1;;proto=https",
    ],
)
def test_a_malformed_forwarded_field_says_nothing(field: str) -> None:
    assert resolve({"forwarded": field}) == Origin(PROXY, "http", "inner:8000")


def test_each_hop_speaks_for_the_one_before_it() -> None:
    fields = {
        "x-forwarded-for": "192.0.2.7, 10.0.0.2",
        "x-forwarded-proto": "https, http",
        "x-forwarded-host": "shop.example, inner",
    }
    origin = resolve(fields)
    assert (origin.peer[0], origin.scheme, origin.authority) == ("192.0.2.7", "https", "shop.example")
    element = 'for=6.6.6.6;proto=http;host=evil.example, for="192.0.2.7:99";proto=https;host=shop.example'
    origin = resolve({"forwarded": element + ", for=10.0.0.2;proto=http"})
    assert (origin.peer, origin.scheme, origin.authority) == (("192.0.2.7", 99), "https", "shop.example")


def test_with_unequal_counts_the_last_word_counts() -> None:
    fields = {"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https, http", "x-forwarded-host": "a, b"}
    origin = resolve(fields)
    assert (origin.scheme, origin.authority) == ("http", "b")


def test_x_forwarded_goes_before_forwarded() -> None:
    fields = {"forwarded": "for=6.6.6.6;proto=https", "x-forwarded-for": "192.0.2.7"}
    assert resolve(fields) == Origin(CLIENT, "http", "inner:8000", 8000)


def test_a_chain_without_end_is_not_walked_to_it() -> None:
    chain = ["192.0.2.7"] + ["10.0.0.2"] * (HOPS_MAX_COUNT + 10)
    assert resolve({"x-forwarded-for": ",".join(chain)}).peer[0] == "10.0.0.2"


@pytest.mark.parametrize(("text", "word"), [("10.0.0.1,nonsense", "'nonsense'"), ("10.0.0.1/8", "host bits")])
def test_a_malformed_list_of_proxies_is_named(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        ProxyRules(text)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("fe80::1%eth0", False),
        ("127.0.0.2", False),
        ("", False),
    ],
)
def test_the_default_trusts_this_machine_alone(address: str, trusted: bool) -> None:
    assert ProxyRules("127.0.0.1,::1").trusts(address) is trusted


def request(scheme: str, authority: str, **fields: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Request(
        "GET", "/", "/", "", (1, 1), list(named.items()), fields=named, authority=authority, scheme=scheme
    )


@pytest.mark.parametrize(
    ("scheme", "origin", "allowed"),
    [
        ("https", "https://shop.example", True),
        ("https", "http://shop.example", False),
        ("http", "http://shop.example", True),
        ("http", "https://shop.example", True),  # TLS ended at a proxy that does not say so
        ("http", "https://evil.example", False),
    ],
)
def test_the_same_origin_is_that_of_the_effective_host(scheme: str, origin: str, allowed: bool) -> None:
    asked = request(scheme, "shop.example", origin=origin, x_forwarded_host="evil.example")
    assert (OriginRules().refusal(asked) is None) is allowed


def test_of_an_endless_list_the_end_is_read_and_matched() -> None:
    count = 5 * HOPS_MAX_COUNT
    fields = {
        "x-forwarded-for": ",".join(["6.6.6.6"] * (count - 1) + ["192.0.2.7"]),
        "x-forwarded-proto": ",".join(["http"] * (count - 1) + ["https"]),
        "x-forwarded-host": ",".join(["evil.example"] * 3 + ["shop.example"]),
    }
    origin = resolve(fields)
    assert (origin.peer[0], origin.scheme, origin.authority) == ("192.0.2.7", "https", "shop.example")


SECURE = {"x-forwarded-proto": "https", "x-secure": "on"}


@pytest.mark.parametrize(
    ("fields", "peer", "scheme", "found"),
    [
        ({}, PROXY, "http", "http"),
        ({"x-forwarded-proto": "https"}, PROXY, "http", "https"),
        ({"x-forwarded-proto": "https", "x-secure": "on"}, PROXY, "http", "https"),
        ({"x-forwarded-proto": "http"}, PROXY, "http", "http"),
        ({"x-forwarded-proto": "https", "x-secure": "off"}, PROXY, "http", "http"),
        ({"x-secure": "off"}, PROXY, "https", "https"),
        ({"x-forwarded-proto": "https"}, ("192.0.2.7", 1), "http", "http"),
        ({"x-forwarded-proto": "https"}, "", "http", "https"),
        ({"x-forwarded-for": "6.6.6.6", "x-forwarded-host": "evil.example"}, PROXY, "http", "http"),
    ],
)
def test_fields_that_say_the_scheme_and_nothing_else(
    fields: dict[str, str], peer: object, scheme: str, found: str
) -> None:
    rules = ProxyRules("10.0.0.0/8", SECURE)
    assert rules.names == set(SECURE)
    there = MappingProxyType(fields)
    left, origin = rules.resolve(there, Origin(peer, scheme, "inner:8000"))
    assert left is there
    assert origin == Origin(peer, found, "inner:8000")


def test_what_is_not_trusted_is_left_out_and_all_else_stays() -> None:
    stranger = Origin(("192.0.2.7", 1), "http", "inner:8000")
    rules = ProxyRules("10.0.0.0/8")
    plain = MappingProxyType({"host": "a", "x": "b"})
    assert rules.resolve(plain, stranger) == (plain, stranger)
    assert rules.resolve(plain, stranger)[0] is plain
    lied = {**plain, "x-forwarded-for": "6.6.6.6", "forwarded": "for=6.6.6.6"}
    assert rules.resolve(MappingProxyType(lied), stranger) == (dict(plain), stranger)
