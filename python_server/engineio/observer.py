"""Port: who watches sessions begin, change their transport and end; nobody, unless an operator asks.

Must not know: what is made of it: lines of a log, figures, a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from python_server.engineio.session import DisconnectReason, Session
from python_server.http1.parser import Request


class SessionObserver(Protocol):
    """Told on the loop's thread, at once; it keeps nothing waiting and raises nothing."""

    def session_opened(self, session: Session) -> None:
        """The handshake is done; `session.request` is its request."""

    def session_upgraded(self, session: Session) -> None:
        """A WebSocket carries the session from here on."""

    def session_closed(self, session: Session, reason: DisconnectReason) -> None:
        """The session is over."""

    def request_refused(self, request: Request, message: str) -> None:
        """A handshake, poll or upgrade was answered with an error of the protocol."""


@dataclass(frozen=True, slots=True)
class SessionObservers:
    """Several as one, each told in turn."""

    _all: tuple[SessionObserver, ...]

    def session_opened(self, session: Session) -> None:
        for each in self._all:
            each.session_opened(session)

    def session_upgraded(self, session: Session) -> None:
        for each in self._all:
            each.session_upgraded(session)

    def session_closed(self, session: Session, reason: DisconnectReason) -> None:
        for each in self._all:
            each.session_closed(session, reason)

    def request_refused(self, request: Request, message: str) -> None:
        for each in self._all:
            each.request_refused(request, message)


def all_of(observers: Sequence[SessionObserver]) -> SessionObserver | None:
    """One for all of them; None for none, which costs nothing."""
    return SessionObservers(tuple(observers)) if len(observers) > 1 else next(iter(observers), None)
