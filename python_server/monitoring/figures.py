"""The figures of workers as plain data that can be written down and summed. Sans-I/O.

Must not know: what is counted, clocks, files.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

Labels: TypeAlias = tuple[str, ...]
# Of a histogram: those of Prometheus' libraries, and three more below them: most handlers take a millisecond.
BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# A row: how many fell into each bucket, above the last bound too; then the sum of all values.
ROW_LENGTH: Final = len(BOUNDS) + 2


class Figures(msgspec.Struct):
    """By metric and its labels' values.

    Attributes:
        totals: rows that only grow, of one number for a counter, of ROW_LENGTH for a histogram.
        gauges: as they are now.
    """

    totals: dict[str, dict[Labels, list[float]]] = msgspec.field(default_factory=dict)
    gauges: dict[str, dict[Labels, float]] = msgspec.field(default_factory=dict)

    def row(self, name: str, labels: Labels, length: int) -> list[float]:
        """The row itself, for who adds to it often."""
        return self.totals.setdefault(name, {}).setdefault(labels, [0] * length)

    def count(self, name: str, labels: Labels = (), by: float = 1) -> None:
        """A counter goes up."""
        self.row(name, labels, 1)[0] += by

    def gauge(self, name: str, labels: Labels, value: float) -> None:
        """A gauge has that much more: several parts of a worker may share one."""
        values = self.gauges.setdefault(name, {})
        values[labels] = values.get(labels, 0) + value

    def add_totals(self, other: Figures) -> None:
        """The sum of both; a histogram with other bounds, of another version, is left out."""
        for name, rows in other.totals.items():
            mine = self.totals.setdefault(name, {})
            for labels, row in rows.items():
                known = mine.setdefault(labels, [0] * len(row))
                if len(known) == len(row):
                    known[:] = [a + b for a, b in zip(known, row, strict=True)]


class Snapshot(msgspec.Struct):
    """One worker at a moment.

    Attributes:
        moment: by the machine's monotonic clock. unready: why it takes no requests; "" when it does.
        beat: a moment at which its loop turned, perhaps later: the figures may not have been written since.
    """

    worker: int
    process: int
    moment: float
    unready: str
    figures: Figures
    beat: float = 0.0

    def age_seconds(self, now: float) -> float:
        """Of the figures."""
        return max(0.0, now - self.moment)

    def still_seconds(self, now: float) -> float:
        """Since the loop turned, as far as it has said so."""
        return max(0.0, now - max(self.moment, self.beat))


class Collected(msgspec.Struct):
    """All workers: those that live, and the totals of those that have ended.

    Attributes:
        started_count: of workers, since the server's start.
    """

    living: list[Snapshot]
    ended: Figures
    started_count: int = 1


def encode(value: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode(value)
