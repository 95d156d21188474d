"""Backplanes: how one process's broadcasts reach the clients of others.

Must not know: who is in a room; that is the adapter's.
"""

from __future__ import annotations

from python_server.socketio.adapter import Envelope


class NoBackplane:
    """One process alone: there is nobody else to reach."""

    def publish(self, envelope: Envelope) -> None:
        """Everyone was reached by the local delivery."""
