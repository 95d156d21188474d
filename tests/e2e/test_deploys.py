"""Workers come and go: the same tests under our own supervisor and under gunicorn.

It must not know how either starts, watches or ends a worker: signals, logs, clients and processes say it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60.0
Start = Callable[..., Any]


@pytest.mark.needs_node
def test_nothing_acknowledged_is_lost_while_workers_come_and_go(
    launch: Start, supervisor: str, drive: Callable[..., None]
) -> None:
    options = ("--workers", "4", "--max-requests", "1000", "--max-requests-jitter", "300", "--no-access-log")
    server = launch(APPS, "homes_app:app", *options, supervisor=supervisor)
    server.wait_serving(4)
    drive("deploys.mjs", server.url, str(server.pid), "10000")
    assert "Traceback" not in server.log
