"""Heartbeats of all sessions in two first-in-first-out queues: one interval, one timer, no object per tick.

Must not know: transports, clocks (time is an argument), what a ping looks like.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from python_server.engineio.session import DisconnectReason, HeartbeatEntry, Session


@dataclass(slots=True, eq=False)
class Heartbeats:
    """Two queues of sessions: those to be pinged, and those that owe a pong.

    All sessions share the interval and the timeout, so both queues are in order of time by themselves.

    Args:
        interval_seconds: from the opening, or from a pong, to the next ping.
        timeout_seconds: from a ping to the end of the session that did not answer.
    """

    interval_seconds: float
    timeout_seconds: float
    _pings: deque[HeartbeatEntry] = field(default_factory=deque)
    _timeouts: deque[HeartbeatEntry] = field(default_factory=deque)

    def start(self, session: Session, now: float) -> None:
        """The session has just opened, or has just answered: the next ping is one interval away."""
        self._enter(self._pings, session, now + self.interval_seconds)

    def stop(self, session: Session) -> None:
        """The session is over."""
        if session.heartbeat is not None:
            session.heartbeat.session = None
            session.heartbeat = None

    def run(self, now: float) -> None:
        """Ping who is due; end who did not answer."""
        while self._pings and self._pings[0].moment <= now:
            session = self._pings.popleft().session
            if session is not None:
                self._enter(self._timeouts, session, now + self.timeout_seconds)
                session.ping()
        while self._timeouts and self._timeouts[0].moment <= now:
            session = self._timeouts.popleft().session
            if session is not None:
                session.end(DisconnectReason.PING_TIMEOUT)

    def next_due(self) -> float | None:
        """The moment `run` has something to do; None when there is no session."""
        moments = []
        for queue in (self._pings, self._timeouts):
            while queue and queue[0].session is None:
                queue.popleft()
            if queue:
                moments.append(queue[0].moment)
        return min(moments, default=None)

    def _enter(self, queue: deque[HeartbeatEntry], session: Session, moment: float) -> None:
        self.stop(session)
        session.heartbeat = HeartbeatEntry(moment, session, queue is self._timeouts)
        queue.append(session.heartbeat)
