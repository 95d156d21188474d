"""How many sessions there may be, and how many of them before their client has joined. Sans-I/O.

Must not know: requests, transports, whose sessions they are; engines of one worker share it.
"""

from __future__ import annotations

from typing import Any, Final

# What a half-open session holds of its request beyond this counts for as many more of them.
HEAD_UNIT_BYTES: Final = 4096
# Of the default: a session needs a descriptor for its WebSocket or its open poll; so few cost little.
SESSIONS_MIN_COUNT: Final = 10_000
# As TCP's half-open connections have a bound of their own whatever the descriptors (tcp_max_syn_backlog).
HALF_OPEN_MAX_COUNT: Final = 65_536


class SessionLimits:
    """Every method belongs to the loop's thread.

    Args:
        sessions_max_count: of all. half_open_max_count: of those that have not joined a namespace.
    """

    def __init__(self, sessions_max_count: int, half_open_max_count: int) -> None:
        self._sessions_max_count = sessions_max_count
        self._half_open_max_count = half_open_max_count
        self._half_open: dict[Any, int] = {}
        self.sessions_count = 0
        self.half_open_count = 0

    def refusal(self) -> str | None:
        """Why no session may open now, with the option; None if one may."""
        if self.sessions_count >= self._sessions_max_count:
            return f"{self._sessions_max_count} sessions are open: new ones are refused, see --limit-sessions"
        if self.half_open_count >= self._half_open_max_count:
            return (
                f"{self._half_open_max_count} sessions have opened and not joined: new ones are refused, "
                "see --limit-half-open-sessions"
            )
        return None

    def opened(self, session: Any, head_bytes: int) -> None:
        """A session begins, and keeps so much of its request."""
        weight = self._half_open[session] = 1 + head_bytes // HEAD_UNIT_BYTES
        self.half_open_count += weight
        self.sessions_count += 1

    def joined(self, session: Any) -> None:
        """Its client has joined a namespace."""
        self.half_open_count -= self._half_open.pop(session, 0)

    def ended(self, session: Any) -> None:
        """It is forgotten."""
        self.joined(session)
        self.sessions_count -= 1


def bounds(
    sessions_max_count: int | None, half_open_max_count: int | None, descriptors_max_count: int
) -> tuple[int, int]:
    """(sessions, half-open ones) that are allowed: as told, else by the process's bound on descriptors."""
    if sessions_max_count is None:
        sessions_max_count = max(SESSIONS_MIN_COUNT, descriptors_max_count)
    if half_open_max_count is None:
        half_open_max_count = max(1, min(sessions_max_count // 2, HALF_OPEN_MAX_COUNT))
    return sessions_max_count, half_open_max_count
