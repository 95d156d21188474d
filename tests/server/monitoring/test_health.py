"""Life and readiness out of snapshots (health.py).

It must not know files or HTTP.
"""

import pytest

from python_server.monitoring.figures import Figures, Snapshot
from python_server.monitoring.health import health, own_readiness, readiness


def snapshot(worker: int, moment: float = 100.0, unready: str = "") -> Snapshot:
    return Snapshot(worker, 1000 + worker, moment, unready, Figures())


@pytest.mark.parametrize(
    ("living", "healthy", "ready"),
    [
        ([], (200, "ok"), (503, "no worker serves yet")),
        ([snapshot(1), snapshot(2)], (200, "ok"), (200, "ok")),
        ([snapshot(1, 97.0)], (200, "ok"), (200, "ok")),
        (
            [snapshot(1), snapshot(2, 90.0)],
            (503, "worker 2 (process 1002) has stood still for 10 s"),
            (200, "ok"),
        ),
        (
            [snapshot(1, 90.0)],
            (503, "worker 1 (process 1001) has stood still for 10 s"),
            (503, "stands still"),
        ),
        ([snapshot(1, unready="it stops"), snapshot(2)], (200, "ok"), (200, "ok")),
        (
            [snapshot(1, unready="it stops"), snapshot(2, unready="away")],
            (200, "ok"),
            (503, "away; it stops"),
        ),
    ],
)
def test_answers(living: list[Snapshot], healthy: tuple[int, str], ready: tuple[int, str]) -> None:
    assert health(living, 100.0) == healthy
    assert readiness(living, 100.0) == ready


def test_of_the_worker_that_is_asked() -> None:
    assert own_readiness("") == (200, "ok")
    assert own_readiness("the server stops") == (503, "the server stops")
