"""A worker among others: it greets, beats, counts, asks to be replaced, and hears the supervisor.

Must not know: what is served; the worker itself does what it is told here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from python_server.net.link import Link
from python_server.net.listener import Listener
from python_server.net.loop import Loop, Timer
from python_server.net.scoreboard import Row
from python_server.net.sockets import Socket
from python_server.net.system import below
from python_server.settings import Settings
from python_server.workers.link_messages import VERSION, Drain, Ready, Succession, decode, encode
from python_server.workers.peers import MessageKind, Peers, Report
from python_server.workers.rendezvous import index_of
from python_server.workers.spawn import SupervisorLink, WorkerSlot

BEAT_SECONDS: Final = 1.0
# A supervisor that does not say that all are there stands still itself: longer than it ever waits for them.
WORD_MAX_SECONDS: Final = 60.0
MEETING_BATCH_COUNT: Final = 16  # siblings taken in a turn of the loop


class Membership:
    """One worker of several: it greets, beats and counts. Every method belongs to the loop's thread.

    Args:
        slot: its place; owned from here on. row: its own on the board. report, complain: as `Peers` has them.
        drain: called with the successor's index, None when everybody stops.
        reopen_logs: called when the log files were moved.
        entropy: chance says how many more requests than `max_requests_count` are answered, so that not all
            workers ask at once to be replaced.
    """

    def __init__(
        self,
        slot: WorkerSlot,
        loop: Loop,
        row: Row,
        report: Report,
        complain: Callable[[str, str], None],
        drain: Callable[[int | None], None],
        reopen_logs: Callable[[], None],
        entropy: Callable[[int], bytes],
        settings: Settings,
    ) -> None:
        self._slot = slot
        self._loop = loop
        self._drain = drain
        self._reopen_logs = reopen_logs
        self._beat_seconds = min(BEAT_SECONDS, settings.worker_timeout_seconds / 4 or BEAT_SECONDS)
        self._next_beat: Timer | None = None
        jitter = below(settings.max_requests_jitter_count + 1, entropy)
        self._requests_left = settings.max_requests_count + jitter if settings.max_requests_count else -1
        self.row = row
        self._supervisor: SupervisorLink | None = slot.arbiter
        if slot.control is not None:
            self._supervisor = Link(loop, slot.control, self._told, self._orphaned, report)
        self.siblings: Peers = Peers(loop, slot.index, report, complain, slot.successors)
        self._meeting: Listener | None = None
        if slot.meeting is not None:
            self._meeting = Listener(loop, slot.meeting, self._met, lambda error: None, MEETING_BATCH_COUNT)
            self._meeting.start()
        for index, sock in slot.siblings.items():
            self.siblings.join(index, sock, serving=index in slot.serving, begins=slot.meeting is not None)

    def begin(self, accept: Callable[[], None]) -> None:
        """Greet the siblings, then `accept()`, and tell the supervisor that we serve."""

        def joined() -> None:
            if self._slot.together:
                self.row.hold_back(True)
                self._loop.call_later(WORD_MAX_SECONDS, self.take_every_connection)
            accept()
            self.row.accept(True)
            self._tell_supervisor(MessageKind.READY, Ready(VERSION))

        self._beat()
        self.siblings.begin(joined)

    def _met(self, sock: Socket, peer: object) -> None:
        """A sibling that came after us; it greets us once it serves."""
        index = index_of(peer)
        if index is None:
            sock.close()
        else:
            self.siblings.join(index, sock, serving=False)

    def take_every_connection(self) -> None:
        """Those that were started with us are there, or are not waited for any longer."""
        self.row.hold_back(False)

    def _beat(self) -> None:
        self.row.beat()
        self._next_beat = self._loop.call_later(self._beat_seconds, self._beat)

    def count_request(self) -> None:
        """One more request was answered."""
        self._requests_left -= 1
        if self._requests_left == 0:
            self._tell_supervisor(MessageKind.REPLACE_ME)

    def stop_server(self) -> bool:
        """Ask for the end of the whole server; False when there is no supervisor to ask."""
        return self._tell_supervisor(MessageKind.STOP)

    def leave(self, successor: int | None) -> None:
        """We accept nothing more and end soon; `successor` takes over what we hold."""
        self.row.accept(False)
        self._tell_supervisor(MessageKind.DRAINING)
        if successor is not None:
            self._tell_supervisor(MessageKind.SUCCESSOR, Succession(self._slot.index, successor))
        self.siblings.announce_draining(successor)

    def queued_bytes(self) -> int:
        """What siblings and supervisor have not taken yet."""
        supervisors = 0 if self._supervisor is None else self._supervisor.queued_bytes
        return self.siblings.queued_bytes() + supervisors

    def _tell_supervisor(self, kind: MessageKind, word: msgspec.Struct | None = None) -> bool:
        """False: there is none any more."""
        return self._supervisor is not None and self._supervisor.send(kind, encode(word))

    def _told(self, kind: int, payload: bytes, descriptor: int | None) -> None:
        if kind == MessageKind.DRAIN:
            self._drain(decode(payload, type=Drain).successor)
        elif kind == MessageKind.REOPEN_LOGS:
            self._reopen_logs()
        elif kind == MessageKind.ACCEPT:
            self.take_every_connection()
        else:
            self.siblings.told(kind, payload, descriptor)

    def _orphaned(self) -> None:
        self._supervisor = None
        self._drain(None)

    def close(self) -> None:
        if self._meeting is not None:
            self._meeting.close()
        if self._next_beat is not None:
            self._next_beat.cancel()
        self.siblings.close()
        if self._supervisor is not None:
            self._supervisor.close()
        self._slot.board.close()
