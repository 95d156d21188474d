"""How many sessions there may be, and how many of them before their client has joined. Sans-I/O.

Must not know: requests, transports, whose sessions they are; engines of one worker share it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from python_server.connection.address_caps import counted_as

# What a half-open session holds of its request beyond this counts for as many more of them.
HEAD_UNIT_BYTES: Final = 4096
# Of the default: a session needs a descriptor for its WebSocket or its open poll; so few cost little.
SESSIONS_MIN_COUNT: Final = 10_000
# As TCP's half-open connections have a bound of their own whatever the descriptors (tcp_max_syn_backlog).
HALF_OPEN_MAX_COUNT: Final = 65_536


@dataclass(slots=True, eq=False)
class SessionLimits:
    """The numbers of open and half-open sessions, with bounds. Every method belongs to the loop's thread.

    Args:
        sessions_max_count: of all. half_open_max_count: of those that have not joined a namespace.
        address_max_count: of one address, as `counted_as` names it; 0: no cap.
    """

    sessions_max_count: int
    half_open_max_count: int
    address_max_count: int = 0
    sessions_count: int = 0
    half_open_count: int = 0
    _half_open: dict[object, int] = field(default_factory=dict)
    # With a cap per address: whose each session is, and how many each has.
    _address_of: dict[object, str] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)

    def refusal(self, peer: object) -> str | None:
        """Why that client may open no session now, with the option; None if it may."""
        if self.sessions_count >= self.sessions_max_count:
            return f"{self.sessions_max_count} sessions are open: new ones are refused, see --limit-sessions"
        if self.half_open_count >= self.half_open_max_count:
            return (
                f"{self.half_open_max_count} sessions have opened and not joined: new ones are refused, "
                "see --limit-half-open-sessions"
            )
        if self.address_max_count:
            address = counted_as(peer)
            if address is not None and self._counts[address] >= self.address_max_count:
                return (
                    f"{address} has {self.address_max_count} sessions, more are refused: "
                    "see --limit-sessions-per-address"
                )
        return None

    def opened(self, session: object, head_bytes: int, peer: object) -> None:
        """A session of that client begins, and keeps so much of its request."""
        if self.address_max_count and (address := counted_as(peer)) is not None:
            self._address_of[session] = address
            self._counts[address] += 1
        weight = self._half_open[session] = 1 + head_bytes // HEAD_UNIT_BYTES
        self.half_open_count += weight
        self.sessions_count += 1

    def joined(self, session: object) -> None:
        """Its client has joined a namespace."""
        self.half_open_count -= self._half_open.pop(session, 0)

    def ended(self, session: object) -> None:
        """It is forgotten."""
        self.joined(session)
        self.sessions_count -= 1
        address = self._address_of.pop(session, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]


def bounds(
    sessions_max_count: int | None, half_open_max_count: int | None, descriptors_max_count: int
) -> tuple[int, int]:
    """(sessions, half-open ones) that are allowed: as told, else by the process's bound on descriptors."""
    if sessions_max_count is None:
        sessions_max_count = max(SESSIONS_MIN_COUNT, descriptors_max_count)
    if half_open_max_count is None:
        half_open_max_count = max(1, min(sessions_max_count // 2, HALF_OPEN_MAX_COUNT))
    return sessions_max_count, half_open_max_count
