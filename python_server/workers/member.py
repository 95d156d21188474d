"""A worker among others: it greets, beats, counts, asks to be replaced, and hears the supervisor.

Must not know: what is served; the worker itself does what it is told here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from python_server.net.loop import Loop, Timer
from python_server.net.scoreboard import Row
from python_server.workers import link_messages
from python_server.workers.peers import MessageKind, Peers, Report
from python_server.workers.spawn import WorkerSlot

BEAT_SECONDS: Final = 1.0
# A supervisor that does not say that all are there stands still itself: longer than it ever waits for them.
WORD_MAX_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class MemberCallbacks:
    """What a worker does when it is told to.

    Attributes:
        drain: called with the successor's index, None when everybody stops.
        reopen_logs: the log files were moved.
    """

    drain: Callable[[int | None], None]
    reopen_logs: Callable[[], None]


class Membership:
    """One worker of several: it greets, beats and counts. Every method belongs to the loop's thread.

    Args:
        slot: its place; owned from here on. report, complain: as `Peers` has them.
        max_requests: answered requests after which the worker asks to be replaced; 0 for never.
        max_requests_jitter: up to so many more, by chance, so that not all workers ask at once.
        beat_seconds: between two beats.
    """

    def __init__(
        self,
        slot: WorkerSlot,
        loop: Loop,
        report: Report,
        complain: Callable[[str, str], None],
        orders: MemberCallbacks,
        max_requests: int = 0,
        max_requests_jitter: int = 0,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self._slot = slot
        self._loop = loop
        self._orders = orders
        self._beat_seconds = beat_seconds
        self._next_beat: Timer | None = None
        self._requests_left = max_requests + random.randint(0, max_requests_jitter) if max_requests else -1
        self.row = Row(slot.board, slot.row)
        self.siblings = Peers(loop, slot.index, slot.host_id, report, complain, slot.control, slot.successors)
        for index, sock in slot.siblings.items():
            self.siblings.join(index, sock, serving=index in slot.serving)
        self.siblings.on_supervisor(MessageKind.DRAIN, self._drain)
        self.siblings.on_supervisor(MessageKind.REOPEN_LOGS, lambda index, payload, _: orders.reopen_logs())
        self.siblings.on_supervisor(
            MessageKind.ACCEPT, lambda index, payload, _: self._take_every_connection()
        )
        self.siblings.on_orphaned(lambda: orders.drain(None))

    def begin(self, accept: Callable[[], None]) -> None:
        """Greet the siblings, then `accept()`, and tell the supervisor that we serve."""

        def joined() -> None:
            if self.siblings.draining:
                return
            if self._slot.together:
                self.row.hold_back(True)
                self._loop.call_later(WORD_MAX_SECONDS, self._take_every_connection)
            accept()
            self.row.accept(True)
            self.siblings.tell_supervisor(
                MessageKind.READY, link_messages.encode(link_messages.Ready(link_messages.VERSION))
            )

        self._beat()
        self.siblings.begin(joined)

    def _take_every_connection(self) -> None:
        self.row.hold_back(False)

    def _beat(self) -> None:
        self.row.beat()
        self._next_beat = self._loop.call_later(self._beat_seconds, self._beat)

    def count_request(self) -> None:
        """One more request was answered."""
        self._requests_left -= 1
        if self._requests_left == 0:
            self.siblings.tell_supervisor(MessageKind.REPLACE_ME)

    def stop_server(self) -> bool:
        """Ask for the end of the whole server; False when there is no supervisor to ask."""
        return self.siblings.tell_supervisor(MessageKind.STOP)

    def leave(self, successor: int | None) -> None:
        """We accept nothing more and end soon; `successor` takes over what we hold."""
        self.row.accept(False)
        self.siblings.announce_draining(successor)

    def _drain(self, index: int, payload: bytes, descriptor: int | None) -> None:
        self._orders.drain(link_messages.decode(payload, type=link_messages.Drain).successor)

    def close(self) -> None:
        if self._next_beat is not None:
            self._next_beat.cancel()
        self.siblings.close()
        self._slot.board.close()
