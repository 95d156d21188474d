"""The packets of a session's POSTs, taken in order, a batch in each turn of the loop. Sans-I/O.

Must not know: HTTP, what a packet means, the loop.

A payload of a megabyte may hold half a million packets: taken at once, they would keep everybody waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from python_server.engineio.packet import EnginePacketError, Packet
from python_server.engineio.session import Session

# Taken before others have their turn; a payload of no more is taken at once. python-engineio's client writes
# 16 at a time, a page what it has emitted since its last POST.
PACKETS_PER_TURN: Final = 256
# POSTs whose packets are being taken or wait to be: clients write one at a time, and wait for its answer.
POSTS_MAX_COUNT: Final = 2

Done = Callable[[EnginePacketError | None], None]


@dataclass(slots=True, eq=False)
class Intake:
    """One session's, for as long as there are packets to be taken. Every method belongs to the loop's thread.

    Exactly one thing continues it: the loop's next turn, or the session when it reads on or ends.

    Args:
        soon: calls a function in the loop's next turn.
    """

    _session: Session
    _soon: Callable[[Callable[[], None]], object]
    _posts: deque[tuple[Iterator[Packet], Done]] = field(default_factory=deque)

    @property
    def full(self) -> bool:
        """May no further POST wait here?"""
        return len(self._posts) >= POSTS_MAX_COUNT

    def add(self, packets: Iterator[Packet], done: Done) -> None:
        """Take packets behind those of earlier POSTs.

        Args:
            done: called when all are taken and the session is read from, or over; with what was malformed.
        """
        self._posts.append((packets, done))
        if len(self._posts) == 1:
            self._take()

    def _take(self) -> None:
        packets, _ = self._posts[0]
        session = self._session
        try:
            if session.receive_packets(packets, PACKETS_PER_TURN):
                session.when_reading(self._finish)
            elif session.reading:
                self._soon(self._take)
            else:
                session.when_reading(self._take)
        except EnginePacketError as error:
            self._finish(error)

    def _finish(self, error: EnginePacketError | None = None) -> None:
        _, done = self._posts.popleft()
        if self._posts:
            self._soon(self._take)
        else:
            self._session.intake = None
        done(error)  # last: a further POST of this connection may begin in it
