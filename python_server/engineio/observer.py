"""Port: who watches sessions begin, change their transport and end; nobody, unless an operator asks.

Must not know: what is made of it: lines of a log, figures, a page.
"""

from __future__ import annotations

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
