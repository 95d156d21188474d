"""What all halves of a hub stand on: its adapters, the worker's services, the way into the loop's thread.

Must not know: events, handlers, acks, what other processes say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from python_server.engineio.packet import Prepared
from python_server.engineio.session_ids import Names
from python_server.net.threads import Door
from python_server.socketio.adapter import Adapter
from python_server.socketio.cluster.port import Backplane, Envelope, NoBackplane
from python_server.socketio.packet import Codec, TextCodec
from python_server.socketio.recovery.log import RecoveryLog


@dataclass(frozen=True, slots=True)
class HubServices:
    """What a hub needs of the worker that runs it."""

    door: Door
    call_later: Callable[[float, Callable[[], Any]], Any]
    report: Callable[[str, BaseException], None]
    complain: Callable[[str, str], None]
    now: Callable[[], float]
    stop: Callable[[], None]
    backplane: Backplane = field(default_factory=NoBackplane)
    names: Names = field(default_factory=Names)
    # Called with (namespace, room, True) when the first client of this process has entered a room, with False
    # when the last one has left it.
    room_held: Callable[[str, Any, bool], None] | None = None


class Ground:
    """The state of one Socket.IO server; it belongs to the loop's thread.

    Before `attach` what is posted is kept, and done once a worker serves.

    Args:
        codec: how packets are written; both sides must use the same.
        recovery: with it, clients that were lost come back to their rooms and miss nothing.
    """

    def __init__(self, codec: Codec | None = None, recovery: RecoveryLog | None = None) -> None:
        self.codec: Codec = codec or TextCodec()
        self.recovery = recovery
        self._adapters: dict[str, Adapter] = {}
        self._services: HubServices | None = None
        self._backplane: Backplane = NoBackplane()
        self._early: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        # Any thread: would what is posted now be the very next thing that happens?
        self._at_once: Callable[[], bool] = bool

    def attach(self, services: HubServices) -> None:
        """Loop's thread: a worker serves from here on."""
        self._services = services
        self._backplane = services.backplane
        self._at_once = services.door.at_once
        early, self._early = self._early, []
        for function, args in early:
            services.door.post(function, *args)

    @property
    def services(self) -> HubServices | None:
        """Any thread: what the worker that serves has given; None before."""
        return self._services

    def _post(self, function: Callable[..., None], *args: Any) -> None:
        """Any thread."""
        services = self._services
        if services is None:
            self._early.append((function, args))
            return
        nbytes = 0
        for argument in args:
            if type(argument) is Prepared:
                nbytes = len(argument.frames)
                break
        services.door.post(function, *args, nbytes=nbytes)

    def _tell(self, function: Callable[..., None], *args: Any) -> None:
        """Any thread: `_post`, or the call itself where it would be the very next thing anyway."""
        if self._at_once():
            function(*args)
        else:
            self._post(function, *args)

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Any thread."""
        if self._services is None:
            return question()
        return self._services.door.ask(question)

    # Loop's thread

    def _adapter(self, namespace: str) -> Adapter:
        """An unknown namespace has nobody in it."""
        return self._adapters.get(namespace) or Adapter(reserved=self._reserved)

    def _reserved(self, room: Any) -> bool:
        """May it be the sid of a client of another process?"""
        return self._services is not None and self._services.names.reserves(room)

    def _remember(self, envelope: Envelope) -> None:
        if self.recovery is not None and envelope.offset is not None:
            self.recovery.append(envelope, self._running().now())

    def _hear(self, envelope: Envelope) -> Envelope:
        """An event of another process: what of it is to be delivered here."""
        if self.recovery is None or envelope.offset is None:
            return envelope
        return self.recovery.hear(envelope, self._running().now())

    def _running(self) -> HubServices:
        assert self._services is not None
        return self._services
