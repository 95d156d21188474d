"""What a worker tells of itself each second, for metrics and health.

Must not know: who reads it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from python_server.connection.exchange import AnsweredAtOnce, Exchange
from python_server.http1.response import status_text
from python_server.monitoring.event_metrics import EventMetrics
from python_server.monitoring.figures import Snapshot
from python_server.monitoring.gauges import Gauges
from python_server.monitoring.health import GOOD, HEALTH_PATH, READY_PATH, Answer, own_readiness
from python_server.net.loop import Loop
from python_server.net.system import System

EVERY_SECONDS: Final = 1.0
# Lags that are remembered: a scrape every 15 s sees the worst of them.
LAGS_COUNT: Final = 15


class SnapshotWriter(Protocol):
    """Port: where snapshots are put, on the loop's thread. Raises OSError."""

    def write(self, snapshot: Snapshot) -> None: ...
    def close(self) -> None: ...


class OwnSnapshots:
    """Of a worker that is the only one: in its memory, whole at any time.

    Attributes:
        living: the last one, for any thread.
    """

    def __init__(self) -> None:
        self.living: list[Snapshot] = []

    def write(self, snapshot: Snapshot) -> None:
        self.living = [snapshot]

    def close(self) -> None:
        """The last one stays."""


class Monitor:
    """Writes a snapshot each second. Every method belongs to the loop's thread.

    Args:
        unready: why the worker takes no requests, "" when it does. complain: called with (kind, sentence).
        identity: the worker's index and its process id.
    """

    def __init__(
        self,
        loop: Loop,
        system: System,
        identity: tuple[int, int],
        events: EventMetrics,
        gauges: Gauges,
        unready: Callable[[], str],
        place: SnapshotWriter,
        complain: Callable[[str, str], None],
    ) -> None:
        self._loop = loop
        self._now = system.monotonic
        self._worker, self._process = identity
        self._events = events
        self._gauges = gauges
        self._unready = unready
        self._place = place
        self._complain = complain
        self._lags: deque[float] = deque([0.0], LAGS_COUNT)

    def begin(self) -> None:
        """Now, and each second from now on."""
        due = self._now() + EVERY_SECONDS

        def again() -> None:
            self._lags.append(max(0.0, self._now() - due))
            self.begin()

        self._loop.call_later(due - self._loop.now, again)
        self.write()

    def close(self) -> None:
        """Once the worker has ended: its last figures."""
        self.write()
        self._place.close()

    def write(self) -> None:
        """As things are now."""
        figures = self._events.figures()
        self._gauges.read_into(figures)
        figures.gauge("wsframe_loop_lag_seconds", (), max(self._lags))
        snapshot = Snapshot(self._worker, self._process, self._now(), self._unready(), figures)
        try:
            self._place.write(snapshot)
        except OSError as error:
            self._complain("metrics", f"the figures of this worker cannot be written: {error}")


def health_handlers(unready: Callable[[], str]) -> dict[str, AnsweredAtOnce]:
    """What answers on the loop, by path: that it does says that the loop turns."""
    looks: dict[str, Callable[[], Answer]] = {
        HEALTH_PATH: lambda: (200, GOOD),
        READY_PATH: lambda: own_readiness(unready()),
    }
    return {path: AnsweredAtOnce(partial(_answer, look)) for path, look in looks.items()}


def _answer(look: Callable[[], Answer], exchange: Exchange) -> None:
    status, text = look()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
    exchange.respond(status_text(status), headers, f"{text}\n".encode())
