"""The pools of one worker: threads for requests, for events, for applications that hold a WebSocket each.

Must not know: what runs in them; what is said when one is full names the option that helps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from python_server.net.loop import Loop
from python_server.net.pool import Lending, Pool
from python_server.settings import Settings

CLOSE_SECONDS = 1.0


class Pools:
    """Made on the loop's thread.

    Args:
        report: for what a job raises. complain: called with (kind, sentence), on the loop's thread.

    Attributes:
        requests, events, websockets: each grows on demand to its own cap.
    """

    def __init__(
        self,
        loop: Loop,
        settings: Settings,
        report: Callable[[str, BaseException], None],
        complain: Callable[[str, str], None],
    ) -> None:
        self._complain = complain
        self._waiting_max_count = settings.waiting_threads_count
        lending = Lending(self._waiting_max_count, partial(loop.mailbox.post, self._lending_spent))

        def pool(option: str, max_threads: int) -> Pool:
            return Pool(option, max_threads, loop, report, self.saturated, self._no_thread, lending)

        self.requests: Pool = pool("threads", settings.wsgi_threads_count)
        self.events: Pool = pool("event-threads", settings.event_threads_count)
        self.websockets: Pool = pool("websocket-threads", settings.websocket_threads_count)

    def close(self) -> None:
        for pool in (self.requests, self.events, self.websockets):
            pool.close(timeout_seconds=CLOSE_SECONDS)

    def saturated(self, option: str, waited_seconds: float) -> None:
        """Work has waited that long for a thread."""
        self._complain(
            f"saturated {option}",
            f"work waited {waited_seconds:.1f} s for a thread, all are busy: raise --{option} or block less",
        )

    def _no_thread(self, option: str, error: BaseException) -> None:
        self._complain(
            f"no thread {option}",
            f"the system has no thread for the pool of --{option}, work waits ({error!r}): "
            f"lower --{option} or --waiting-threads, or allow more memory or threads",
        )

    def _lending_spent(self) -> None:
        self._complain(
            "waiting threads",
            f"{self._waiting_max_count} handlers wait in call or sleep: further ones keep their "
            "threads while they wait; see --waiting-threads",
        )
