"""What goes through one namespace, counted where it passes; nothing is, unless an operator asks.

Must not know: who reads the numbers; under which names they may be shown.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from python_server.engineio.packet import Prepared


@dataclass(slots=True, eq=False)
class Traffic:
    """Of one namespace. Counts only grow; the loop's thread counts, where no other is named.

    What comes with every event is added to the attributes themselves: a call for each costs twice as much.

    Attributes:
        now: any thread: the moment a handler begins, in seconds.
        took: any thread: told, by event, how many seconds its handler took. It has every name.
        failed: any thread: appended to: events whose handler has raised, until they are counted.
        invalid: the same of events whose arguments a check has refused.
        received_bytes: of events as they came, text in characters. sent_bytes: of events in frames.
        sent_count: of events, once for each recipient.
        disconnected_counts: of clients that have left, by the reason.
    """

    now: Callable[[], float]
    took: Mapping[str, Callable[[float], None]]
    failed: deque[str] = field(default_factory=deque)
    invalid: deque[str] = field(default_factory=deque)
    connected_count: int = 0
    recovered_count: int = 0
    refused_count: int = 0
    received_count: int = 0
    received_bytes: int = 0
    unhandled_count: int = 0
    acks_count: int = 0
    sent_count: int = 0
    sent_bytes: int = 0
    disconnected_counts: Counter[str] = field(default_factory=Counter)

    def connected(self, recovered: bool) -> None:
        """A client was let in, perhaps one that was lost and has come back."""
        self.connected_count += 1
        self.recovered_count += recovered

    def delivered(self, prepared: Prepared, count: int) -> None:
        """An event goes to that many clients."""
        self.sent_count += count
        self.sent_bytes += count * len(prepared.frames)

    def handled(self, event: str, began: float, failed: bool) -> None:
        """Any thread: a handler that began then has ended."""
        self.took[event](self.now() - began)
        if failed:
            self.failed.append(event)


# The traffic of a namespace, which is made when it is first asked for. The loop's thread.
TrafficOf = Callable[[str], Traffic]
