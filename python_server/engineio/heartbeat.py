"""Heartbeats of all sessions in first-in-first-out queues: one interval, one timer, no object per tick.

Must not know: transports, clocks (time is an argument), what a ping looks like.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice

from python_server.engineio.session import DisconnectReason, HeartbeatEntry, Session


@dataclass(slots=True, eq=False)
class Heartbeats:
    """Queues of sessions: those to be pinged, those that owe a pong, and those that ping us themselves.

    All sessions share the interval and the timeout, so each queue is in order of time by itself.

    Args:
        interval_seconds: from the opening, or from a pong, to the next ping.
        timeout_seconds: from a ping to the end of the session that did not answer.
    """

    interval_seconds: float
    timeout_seconds: float
    _pings: deque[HeartbeatEntry] = field(default_factory=deque)
    _timeouts: deque[HeartbeatEntry] = field(default_factory=deque)
    # Of version 3, each with the end of its silence: a client pings as often as it likes, and has one entry.
    _silences: OrderedDict[Session, float] = field(default_factory=OrderedDict)

    def start(self, session: Session, now: float) -> None:
        """The session has just opened, or has just answered: the next ping is one interval away."""
        if session.pinged_by_client:
            self._silences[session] = now + self.interval_seconds + self.timeout_seconds
            self._silences.move_to_end(session)
        else:
            self._enter(self._pings, session, now + self.interval_seconds)

    def stop(self, session: Session) -> None:
        """The session is over."""
        if session.heartbeat is not None:
            session.heartbeat.session = None
            session.heartbeat = None
        elif session.pinged_by_client:
            self._silences.pop(session, None)

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
        while self._silences and next(iter(self._silences.values())) <= now:
            session, _ = self._silences.popitem(last=False)
            session.end(DisconnectReason.PING_TIMEOUT)

    def next_due(self) -> float | None:
        """The moment `run` has something to do; None when there is no session."""
        moments = list(islice(self._silences.values(), 1))
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
