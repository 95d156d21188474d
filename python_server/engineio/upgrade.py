"""A WebSocket that wants to take over a polling session (Engine.IO protocol, "Upgrade").

Must not know: HTTP, the engine, event names; it talks to one session and one channel.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

from python_server.connection.websocket_channel import WebSocketChannel
from python_server.engineio.packet import PROBE_PING, PROBE_PONG, EnginePacketType
from python_server.engineio.session import Session
from wsframe import CloseCode


class ProbeState(Enum):
    """How far an upgrade has come."""

    WAITING = auto()  # for `2probe`
    PROBED = auto()  # for `5`
    UPGRADED = auto()
    FAILED = auto()


MOVES: Final[dict[ProbeState, set[ProbeState]]] = {
    ProbeState.WAITING: {ProbeState.PROBED, ProbeState.FAILED},
    ProbeState.PROBED: {ProbeState.UPGRADED, ProbeState.FAILED},
    ProbeState.UPGRADED: set(),
    ProbeState.FAILED: set(),
}


class Probe:
    """One attempt. Every method belongs to the loop's thread.

    Args:
        attach: makes the channel the session's own, once the attempt has succeeded.

    Attributes:
        timer: ends the attempt; set by whoever begins it.
    """

    __slots__ = ("_attach", "_channel", "_session", "state", "timer")

    def __init__(
        self,
        session: Session,
        channel: WebSocketChannel,
        attach: Callable[[Session, WebSocketChannel], None],
    ) -> None:
        self._session = session
        self._channel = channel
        self._attach = attach
        self.state: ProbeState = ProbeState.WAITING
        self.timer: Any = None
        channel.on_message = self._receive
        channel.on_close = self._closed

    def _receive(self, data: str | bytes) -> None:
        if self.state is ProbeState.UPGRADED:  # came in the same piece as the "5"
            self._session.receive(data)
        elif self.state is ProbeState.WAITING and data == PROBE_PING and self._session.probe(self._channel):
            self._move(ProbeState.PROBED)
            self._channel.send(PROBE_PONG)
        elif (
            self.state is ProbeState.PROBED
            and data == EnginePacketType.UPGRADE
            # What comes on the WebSocket would overtake it. The clients wait for their POST's answer first.
            and self._session.intake is None
        ):
            self._move(ProbeState.UPGRADED)
            self.timer.cancel()
            self._attach(self._session, self._channel)
            self._session.upgrade(self._channel)
        else:
            self.fail()

    def fail(self) -> None:
        """The wrong packet, or too late: only the WebSocket ends, polling goes on."""
        self._channel.close()
        self._closed(CloseCode.NORMAL_CLOSURE, "upgrade failed")

    def _closed(self, code: int, reason: str) -> None:
        if self.state in (ProbeState.WAITING, ProbeState.PROBED):
            probed = self.state is ProbeState.PROBED
            self._move(ProbeState.FAILED)
            self.timer.cancel()
            if probed:
                self._session.upgrade_failed()

    def _move(self, state: ProbeState) -> None:
        assert state in MOVES[self.state], (self.state, state)
        self.state = state
