"""Connections and requests by address, on a told clock (connection/address_caps.py).

It must not know sockets: an address is a tuple.
"""

from typing import Any

import pytest

from python_server.connection.address_caps import REMEMBERED_MAX_COUNT, AddressCaps, counted_as
from python_server.connection.proxy_headers import ProxyRules
from python_server.http1.parser import Request

ADA, BOB = ("192.0.2.7", 4000), ("192.0.2.8", 4000)
PROXY = ("10.0.0.9", 5000)


def caps(connections: int = 0, requests: int = 0, suggest_at: int = 0, trusted: str | None = None) -> Any:
    said: list[tuple[str, str]] = []
    rules = None if trusted is None else ProxyRules(trusted)
    made: Any = AddressCaps(
        connections, requests, suggest_at, rules, lambda kind, message: said.append((kind, message))
    )
    made.said = said
    return made


def ask(of: Any, peer: Any, own: Any = None, now: float = 0.0, handed: bool = False) -> Any:
    request = Request("GET", "/", "/", "", (1, 1), [], peer=peer, handed=handed)
    return request, of.admit(request, peer if own is None else own, now)


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::9", 1, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:3::9", 1, 0, 0), "2001:db8:1:3::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        (("::ffff:192.0.2.7", 1, 0, 0), "192.0.2.7"),
        (("not:an:address", 1), "not:an:address"),
        ("", None),
        (b"\0abstract", None),
        (None, None),
    ],
)
def test_an_address_counts_as(peer: Any, key: str | None) -> None:
    assert counted_as(peer) == key


def test_connections_of_one_address_are_its_own() -> None:
    of = caps(connections=2)
    ada, bob = of.key(ADA, ADA), of.key(BOB, BOB)
    for _ in range(2):
        assert not of.full(ada)
        of.opened(ada)
    assert of.full(ada)
    assert not of.full(bob)
    of.closed(ada)
    assert not of.full(ada)
    assert [kind for kind, _ in of.said] == ["connections of one address"]
    assert "--limit-connections-per-address" in of.said[0][1]


def test_nothing_is_kept_of_who_has_left() -> None:
    of = caps(connections=2)
    for number in range(1_000):
        of.opened(f"10.0.0.{number}")
    for number in range(1_000):
        of.closed(f"10.0.0.{number}")
        of.closed(f"10.0.0.{number}")  # once too often does no harm
    assert of._connections == {}


def test_a_cap_is_suggested_once() -> None:
    of = caps(suggest_at=3)
    for _ in range(5):
        of.opened("192.0.2.7")
        of.opened("192.0.2.8")
    ((kind, message),) = of.said
    assert kind == "one address"
    assert message.startswith("192.0.2.7 has 3 connections")
    assert "--limit-connections-per-address" in message


def test_where_there_is_a_cap_none_is_suggested() -> None:
    of = caps(connections=10, suggest_at=3)
    for _ in range(5):
        of.opened("192.0.2.7")
    assert of.said == []


def test_a_trusted_proxys_connections_count_for_nobody() -> None:
    of = caps(connections=1, trusted="10.0.0.0/8")
    for _ in range(5):
        key = of.key(PROXY, PROXY)
        assert key is None
        assert not of.full(key)
        of.opened(key)
        of.closed(key)
    assert of.key(ADA, ADA) == "192.0.2.7"


@pytest.mark.parametrize(("trusted", "own"), [("10.0.0.0/8", PROXY), ("*", PROXY), ("127.0.0.1", "")])
def test_behind_a_proxy_a_request_that_runs_is_a_connection(trusted: str, own: Any) -> None:
    """Also where every peer is trusted, and on a UNIX socket."""
    of = caps(connections=2, trusted=trusted)
    running = [ask(of, ADA, own)[0] for _ in range(2)]
    refused, refusal = ask(of, ADA, own)
    assert refusal.status == 503
    of.ended(refused)  # it was answered: that ends nobody else's
    assert ask(of, ADA, own)[1].status == 503
    assert ask(of, BOB, own)[1] is None
    of.ended(running[0])
    assert ask(of, ADA, own)[1] is None


def test_a_websocket_behind_a_proxy_stays_counted() -> None:
    of = caps(connections=1, trusted="*")
    request, refusal = ask(of, ADA, PROXY)
    assert refusal is None
    of.ended(request)  # the 101
    key = of.key(ADA, PROXY)
    of.opened(key)
    assert ask(of, ADA, PROXY)[1].status == 503
    of.closed(key)
    assert ask(of, ADA, PROXY)[1] is None


def test_requests_of_a_minute_may_come_at_once_and_then_at_their_pace() -> None:
    of = caps(requests=60)
    assert of.looks_at_requests
    for _ in range(60):
        assert ask(of, ADA)[1] is None
    refusal = ask(of, ADA)[1]
    assert (refusal.status, refusal.retry_after_seconds) == (429, 1)
    assert ask(of, BOB)[1] is None
    assert ask(of, ADA, now=1.0)[1] is None
    assert ask(of, ADA, now=1.0)[1].status == 429
    assert ask(of, ADA, now=1.0, handed=True)[1] is None  # a sibling has counted it
    assert "--limit-requests-per-address" in of.said[0][1]


def test_over_an_hour_no_more_than_the_rate_is_taken() -> None:
    of = caps(requests=60)
    taken = sum(ask(of, ADA, now=tick / 4)[1] is None for tick in range(4 * 3600))
    assert 3600 <= taken <= 3600 + 60


def test_a_quiet_address_is_forgotten_when_nothing_is_owed() -> None:
    of = caps(requests=60)
    for _ in range(60):
        ask(of, ADA)
    ask(of, BOB, now=61.0)
    ask(of, BOB, now=122.0)
    assert "192.0.2.7" not in of._free_at | of._free_at_older
    for _ in range(60):
        assert ask(of, ADA, now=122.0)[1] is None
    assert ask(of, ADA, now=122.0)[1] is not None


def test_addresses_without_number_are_held_to_a_number() -> None:
    of = caps(requests=1)
    for number in range(3 * REMEMBERED_MAX_COUNT):
        of._take(str(number), 0.0)
    assert len(of._free_at) + len(of._free_at_older) <= 2 * REMEMBERED_MAX_COUNT


def test_without_caps_requests_are_not_looked_at() -> None:
    assert not caps().looks_at_requests
    assert not caps(connections=5).looks_at_requests  # without proxies connections tell all


@pytest.mark.parametrize("peer", ["", b"\0abstract", None])
def test_a_peer_without_an_address_is_never_refused(peer: Any) -> None:
    of = caps(connections=1, requests=1)
    for _ in range(5):
        request, refusal = ask(of, peer)
        assert refusal is None
        of.ended(request)
    assert of.said == []
