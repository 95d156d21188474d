"""The pools of one worker: threads for requests, for events, for applications that hold a WebSocket each.

Must not know: what runs in them; what is said when one is full names the option that helps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from python_server.net.loop import Loop
from python_server.net.pool import Lending, Pool
from python_server.net.system import System
from python_server.net.threads import Door
from python_server.settings import Settings

CLOSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Pools:
    """Each grows on demand to its own cap; `door` is the way of events."""

    requests: Pool
    events: Pool
    websockets: Pool
    door: Door

    def close(self) -> None:
        for pool in (self.requests, self.events, self.websockets):
            pool.close(timeout_seconds=CLOSE_SECONDS)


def make_pools(
    loop: Loop,
    settings: Settings,
    system: System,
    report: Callable[[str, BaseException], None],
    complain: Callable[[str, str], None],
) -> Pools:
    """On the loop's thread.

    Args:
        report: for what a job raises. complain: called with (kind, sentence), on the loop's thread.
    """

    def no_thread(option: str, error: BaseException) -> None:
        complain(
            f"no thread {option}",
            f"the system has no thread for the pool of --{option}, work waits ({error!r}): "
            f"lower --{option} or --waiting-threads, or allow more memory or threads",
        )

    most = settings.waiting_threads_count
    lending_spent = partial(
        complain,
        "waiting threads",
        f"{most} handlers wait in call or sleep: further ones keep their threads while they wait; "
        "see --waiting-threads",
    )
    pool = partial(
        Pool,
        loop=loop,
        report=report,
        on_saturated=partial(saturated, complain),
        on_failed_start=no_thread,
        system=system,
        lending=Lending(most, partial(loop.mailbox.post, lending_spent), system.monotonic),
    )
    events = pool("event-threads", settings.event_threads_count)
    return Pools(
        requests=pool("threads", settings.wsgi_threads_count),
        events=events,
        websockets=pool("websocket-threads", settings.websocket_threads_count),
        door=Door(loop.mailbox, events),
    )


def saturated(complain: Callable[[str, str], None], option: str, waited_seconds: float) -> None:
    """Work has waited that long for a thread."""
    complain(
        f"saturated {option}",
        f"work waited {waited_seconds:.1f} s for a thread, all are busy: raise --{option} or block less",
    )
