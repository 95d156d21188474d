"""How many connections one address has and how many requests it makes, held to caps, worker by worker.

Must not know: sockets, clocks (time is an argument), or what a request is for.

An IPv6 client is its /64: one customer is given at least that (RFC 6177), and all of it is his to use. A
trusted proxy is looked through: its connections count for nobody, and a request it passes on counts as a
connection of the client it names for as long as it runs, as nginx's limit_conn has it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

from python_server.connection.proxy_headers import ProxyRules, parse_address
from python_server.http1.parser import Request

MINUTE_SECONDS: Final = 60.0
IPV6_NETWORK_BITS: Final = 64
# Addresses whose requests are remembered; above it the older half is forgotten.
REMEMBERED_MAX_COUNT: Final = 65_536
# Below so many connections of one address nothing is suggested, however low the limit is.
SUGGEST_MIN_COUNT: Final = 16


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a client over a cap is told."""

    status: int
    text: str
    retry_after_seconds: int | None = None


def counted_as(peer: object) -> str | None:
    """The name an address is counted under; None for a UNIX socket's, which has none."""
    if not isinstance(peer, tuple):
        return None
    host = str(peer[0])
    return host if ":" not in host else _network(host)


@lru_cache(maxsize=1024)
def _network(host: str) -> str:
    address = parse_address(host)
    if not isinstance(address, IPv6Address):
        return host if address is None else str(address)
    shift = 128 - IPV6_NETWORK_BITS
    return f"{IPv6Address(int(address) >> shift << shift)}/{IPV6_NETWORK_BITS}"


class AddressCaps:
    """Counts by address. Belongs to the loop's thread.

    Args:
        connections_max_count: of one address; 0: no cap.
        requests_per_minute: of one address, so many at once too; 0: no cap.
        suggest_at_count: connections of one address at which the log suggests a cap, once; 0: never.
        proxies: who is looked through. complain: called with (kind, message).

    Attributes:
        looks_at_requests: whether `admit` and `ended` are to be called.
    """

    def __init__(
        self,
        connections_max_count: int = 0,
        requests_per_minute: int = 0,
        suggest_at_count: int = 0,
        proxies: ProxyRules | None = None,
        complain: Callable[[str, str], None] = lambda kind, message: None,
    ) -> None:
        self._connections_max_count = connections_max_count
        self._interval_seconds = MINUTE_SECONDS / requests_per_minute if requests_per_minute else 0.0
        self._requests_per_minute = requests_per_minute
        self._suggest_at_count = 0 if connections_max_count else suggest_at_count
        # The few addresses of proxies come again and again.
        self._trusts = None if proxies is None else lru_cache(maxsize=1024)(proxies.trusts)
        self._complain = complain
        self._connections: Counter[str] = Counter()
        self._running: dict[int, str] = {}  # requests that proxies have passed on, by identity
        # When each address will have its whole minute again; in two halves by the minute it last asked in.
        self._free_at: dict[str, float] = {}
        self._free_at_older: dict[str, float] = {}
        self._turned_at = -math.inf
        self.looks_at_requests: bool = requests_per_minute > 0 or (
            connections_max_count > 0 and proxies is not None
        )

    def key(self, peer: object, own: object) -> str | None:
        """Who is counted; `own` is the connection's, not `peer` when a trusted proxy has named the client."""
        if peer is own and isinstance(own, tuple) and self._trusts is not None and self._trusts(str(own[0])):
            return None
        return counted_as(peer)

    # Connections

    def opened(self, key: str | None) -> None:
        """One more connection."""
        if key is None:
            return
        self._connections[key] += 1
        count = self._connections[key]
        if count == self._suggest_at_count:
            self._suggest_at_count = 0
            self._complain(
                "one address",
                f"{key} has {count} connections, a tenth of --limit-concurrency: "
                "--limit-connections-per-address bounds that (behind a proxy with --proxy-headers)",
            )

    def closed(self, key: str | None) -> None:
        """One fewer."""
        if key is not None:
            self._connections[key] -= 1
            if self._connections[key] <= 0:
                del self._connections[key]

    def full(self, key: str | None) -> bool:
        """Has an address all the connections it may have? The log says so."""
        most = self._connections_max_count
        if not most or key is None or self._connections[key] < most:
            return False
        self._complain(
            "connections of one address",
            f"{key} has {most} connections, more are refused: see --limit-connections-per-address",
        )
        return True

    # Requests

    def admit(self, request: Request, own: object, now: float) -> Refusal | None:
        """Count a request; what it is told instead of an answer, None when it may go on."""
        key = self.key(request.peer, own)
        if key is None:
            return None
        if request.peer is not own and self._connections_max_count:
            if self.full(key):
                return Refusal(503, "too many connections from this address", 1)
            self.opened(key)
            self._running[id(request)] = key
        if not self._interval_seconds or request.handed:
            return None  # a sibling has counted it
        wait_seconds = self._take(key, now)
        if not wait_seconds:
            return None
        self._complain(
            "requests of one address",
            f"{key} makes more than {self._requests_per_minute} requests a minute, more are refused: "
            "see --limit-requests-per-address",
        )
        return Refusal(429, "too many requests from this address", math.ceil(wait_seconds))

    def ended(self, request: Request) -> None:
        """A request has been answered, or its connection has gone elsewhere."""
        self.closed(self._running.pop(id(request), None))

    def _take(self, key: str, now: float) -> float:
        """0.0 when the address has a request left, which is taken; else the seconds until it has."""
        if now - self._turned_at >= MINUTE_SECONDS or len(self._free_at) >= REMEMBERED_MAX_COUNT:
            self._free_at, self._free_at_older, self._turned_at = {}, self._free_at, now
        free_at = max(now, self._free_at.get(key, 0.0), self._free_at_older.get(key, 0.0))
        ahead_seconds = free_at + self._interval_seconds - now
        if ahead_seconds > MINUTE_SECONDS * (1 + 1e-9):
            return ahead_seconds - MINUTE_SECONDS
        self._free_at[key] = now + ahead_seconds
        return 0.0
