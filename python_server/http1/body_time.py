"""How long a request body may keep us waiting: each byte that comes earns time, silence spends it.

Must not know: clocks (time is an argument), sockets, or who reads the body.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class BodyTime:
    """One body on its way, from its head to its last byte.

    It begins with the whole timeout. Bytes earn time at the minimum rate, never more than the whole timeout:
    so a body may be silent for that long, and one that stays slower than the rate ends, whatever came before.

    Args:
        timeout_seconds: the longest silence.
        min_bytes_per_second: the rate; at 0 every piece earns the whole timeout.
    """

    _timeout_seconds: float
    _min_bytes_per_second: int
    _since: float
    _left_seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self._left_seconds = self._timeout_seconds

    def received(self, nbytes: int, now: float, resumed_at: float = 0.0) -> None:
        """A piece has come; what passed before `resumed_at` was a pause of ours, not the client's."""
        rate = self._min_bytes_per_second
        earned = nbytes / rate if rate else self._timeout_seconds
        left = max(0.0, self.left_seconds(now, resumed_at))
        self._left_seconds = min(self._timeout_seconds, left + earned)
        self._since = now

    def left_seconds(self, now: float, resumed_at: float = 0.0) -> float:
        """Until it has taken too long."""
        return self._left_seconds - (now - max(self._since, resumed_at))
