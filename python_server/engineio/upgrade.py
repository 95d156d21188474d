"""A WebSocket that wants to take over a polling session (Engine.IO protocol, "Upgrade").

Must not know: HTTP, the engine, event names; it talks to one session and one channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from python_server.connection.websocket_channel import WebSocketChannel
from python_server.engineio.packet import PROBE_PING, PROBE_PONG, EnginePacketType
from python_server.engineio.session import Session
from python_server.net.states import StateEnum
from python_server.net.system import CallLater
from wsframe import CloseCode

# Polls that come between probe and `5` are answered so often, as by the official server.
RELEASE_SECONDS: Final = 0.1


class ProbeState(StateEnum):
    """How far an upgrade has come."""

    WAITING = "PROBED", "FAILED"  # for `2probe`
    PROBED = "UPGRADED", "FAILED"  # for `5`
    UPGRADED = ()
    FAILED = ()


class Probe:
    """One attempt. Every method belongs to the loop's thread.

    Args:
        attach: makes the channel the session's own, once the attempt has succeeded.
        timeout_seconds: of the whole attempt.
    """

    __slots__ = ("_attach", "_call_later", "_channel", "_releasing", "_session", "_state", "_timer")

    def __init__(
        self,
        session: Session,
        channel: WebSocketChannel,
        attach: Callable[[Session, WebSocketChannel], None],
        call_later: CallLater,
        timeout_seconds: float,
    ) -> None:
        self._session = session
        self._channel = channel
        self._attach = attach
        self._call_later = call_later
        self._state = ProbeState.WAITING
        self._timer = call_later(timeout_seconds, self._fail)
        channel.on_message = self._receive
        channel.on_close = self._closed

    def _receive(self, data: str | bytes) -> None:
        if self._state is ProbeState.UPGRADED:  # came in the same piece as the "5"
            self._session.receive(data)
        elif self._state is ProbeState.WAITING and data == PROBE_PING and self._session.probe(self._channel):
            self._state = self._state.to(ProbeState.PROBED)
            self._channel.send(PROBE_PONG)
            self._releasing = self._call_later(RELEASE_SECONDS, self._release_poll)
        elif (
            self._state is ProbeState.PROBED
            and data == EnginePacketType.UPGRADE
            # What comes on the WebSocket would overtake it. The clients wait for their POST's answer first.
            and self._session.intake is None
        ):
            self._state = self._state.to(ProbeState.UPGRADED)
            self._timer.cancel()
            self._releasing.cancel()
            self._attach(self._session, self._channel)
            self._session.upgrade(self._channel)
        else:
            self._fail()

    def _release_poll(self) -> None:
        self._session.release_poll()
        self._releasing = self._call_later(RELEASE_SECONDS, self._release_poll)

    def _fail(self) -> None:
        """The wrong packet, or too late: only the WebSocket ends, polling goes on."""
        self._channel.close()
        self._closed(CloseCode.NORMAL_CLOSURE, "upgrade failed")

    def _closed(self, code: int, reason: str) -> None:
        if self._state in (ProbeState.WAITING, ProbeState.PROBED):
            probed = self._state is ProbeState.PROBED
            self._state = self._state.to(ProbeState.FAILED)
            self._timer.cancel()
            if probed:
                self._releasing.cancel()
                self._session.upgrade_failed()
