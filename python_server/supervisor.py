"""serve(): bind, run a worker, turn signals into an orderly stop.

Must not know: protocols, handlers, or how an application was found.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from python_server import observe
from python_server.net.listener import bind_tcp
from python_server.server import Site, Worker
from python_server.settings import Settings


def serve(site: Site, settings: Settings, started: Callable[[str], None] | None = None) -> None:
    """Serve `site` in this process until SIGTERM or SIGINT; a second signal ends at once.

    Args:
        started: called with the real URL once connections are accepted.

    Raises:
        BindError: the address cannot be listened on.
    """
    observe.configure_logging(settings.log_level, settings.access_log)
    listening = bind_tcp(settings.host, settings.port, settings.backlog_count)
    host, port = listening.getsockname()[:2]
    worker = Worker(site, settings, [listening])
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    restore = _install_signals(worker)
    print(
        f"python_server: listening on {url} (process {os.getpid()}; stop with Ctrl+C)",
        file=sys.stderr,
        flush=True,
    )
    if started is not None:
        started(url)
    try:
        worker.run()
    finally:
        restore()
    observe.say("stopped")


def _install_signals(worker: Worker) -> Callable[[], None]:
    """SIGTERM and SIGINT: stop; once more: now. Returns what puts the former handlers back."""
    asked = 0

    def stop(number: int, frame: Any) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            worker.stop()
        else:
            worker.force()

    former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    return restore
