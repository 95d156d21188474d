"""Has somebody replaced the standard library's threads and sockets? Then this server cannot run.

Must not know: who asks, how an application is found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator


class PatchedError(RuntimeError):
    """The process is monkey-patched; one sentence for its owner."""


def patched_by() -> list[str]:
    """Who has patched the process: gevent, eventlet."""
    return [name for name, patched in _patches() if patched()]


def refuse_patched() -> None:
    """Raises PatchedError when the process is monkey-patched by gevent or eventlet."""
    for name in patched_by():
        raise PatchedError(
            f"the process is monkey-patched by {name}: remove the patching, "
            "handlers run in ordinary threads here"
        )


def _patches() -> Iterator[tuple[str, Callable[[], bool]]]:
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None:
        yield "gevent", lambda: bool(gevent.is_module_patched("socket"))
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None:
        yield "eventlet", lambda: bool(eventlet.is_monkey_patched("socket"))
