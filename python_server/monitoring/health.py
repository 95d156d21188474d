"""Does a server live, and may it be sent requests? The two answers that orchestrators ask for.

Must not know: HTTP, or where the snapshots come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from python_server.monitoring.figures import Snapshot
from python_server.net.scoreboard import STALE_SECONDS

# As Kubernetes' own components call them.
HEALTH_PATH: Final = "/healthz"
READY_PATH: Final = "/readyz"
METRICS_PATH: Final = "/metrics"  # beside them
Answer = tuple[int, str]
GOOD: Final = "ok"


def stands_still(snapshot: Snapshot, now: float) -> bool:
    """A worker says each second that its loop turns, also where there is no room for its figures."""
    return snapshot.still_seconds(now) > STALE_SECONDS


def health(living: Sequence[Snapshot], now: float) -> Answer:
    """Do all loops turn? While none is there yet the first one loads the application, which is no fault."""
    faults = [
        f"worker {each.worker} (process {each.process}) has stood still for {each.still_seconds(now):.0f} s"
        for each in living
        if stands_still(each, now)
    ]
    return (503, "; ".join(faults)) if faults else (200, GOOD)


def readiness(living: Sequence[Snapshot], now: float) -> Answer:
    """Does any worker take requests? While they are replaced one by one, others do not."""
    faults = {each.unready or "stands still" for each in living if each.unready or stands_still(each, now)}
    if any(not each.unready and not stands_still(each, now) for each in living):
        return 200, GOOD
    return 503, "; ".join(sorted(faults)) or "no worker serves yet"


def own_readiness(unready: str) -> Answer:
    """Of the worker that is asked."""
    return (503, unready) if unready else (200, GOOD)
