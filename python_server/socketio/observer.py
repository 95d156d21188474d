"""Port: who watches clients, events, acks and rooms of a Socket.IO server; nobody, unless an operator asks.

Must not know: what is made of it: lines of a log, a page. Who only counts reads `traffic`, which costs less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from python_server.engineio.packet import Prepared
from python_server.engineio.session import DisconnectReason, Session
from python_server.socketio.client import NamespaceReason, Socket
from python_server.socketio.packet import Packet
from python_server.socketio.values import RoomName


class SocketObserver(Protocol):
    """Told at once, on the loop's thread where no other is named; it holds up nothing and raises nothing."""

    def connected(self, socket: Socket) -> None:
        """A client has joined a namespace, and its connect handler has let it in."""

    def refused(self, session: Session, namespace: str, message: str) -> None:
        """A client was not let into a namespace; `message` is what it was told."""

    def disconnected(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        """A client that was connected has left its namespace."""

    def moved(self, namespace: str, kind: str, sid: str, room: RoomName) -> None:
        """A client has entered a room ("join") or left it ("leave"); its own room is not told."""

    def received(self, socket: Socket, packet: Packet) -> None:
        """An event (`packet.data[0]` is its name) or an ack has come, and is well-formed."""

    def unhandled(self, socket: Socket, name: str) -> None:
        """No handler serves the event that was `received`."""

    def answered(self, socket: Socket, ack_id: int, prepared: Prepared) -> None:
        """Any thread: what a handler has returned leaves as the ack of its event."""

    def now(self) -> float:
        """Any thread: the moment a handler begins, in seconds."""

    def handled(self, socket: Socket, name: str, began: float, error: BaseException | None) -> None:
        """Any thread: a handler that began then has returned, or raised."""

    def delivered(
        self, namespace: str, rooms: Sequence[RoomName] | None, prepared: Prepared, count: int
    ) -> None:
        """An event was sent to that many clients of this process; `rooms` is None for everybody."""


@dataclass(frozen=True, slots=True)
class Observers:
    """Several as one, each told in turn; the first one's clock counts."""

    _all: tuple[SocketObserver, ...]

    def connected(self, socket: Socket) -> None:
        for each in self._all:
            each.connected(socket)

    def refused(self, session: Session, namespace: str, message: str) -> None:
        for each in self._all:
            each.refused(session, namespace, message)

    def disconnected(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        for each in self._all:
            each.disconnected(socket, reason)

    def moved(self, namespace: str, kind: str, sid: str, room: RoomName) -> None:
        for each in self._all:
            each.moved(namespace, kind, sid, room)

    def received(self, socket: Socket, packet: Packet) -> None:
        for each in self._all:
            each.received(socket, packet)

    def unhandled(self, socket: Socket, name: str) -> None:
        for each in self._all:
            each.unhandled(socket, name)

    def answered(self, socket: Socket, ack_id: int, prepared: Prepared) -> None:
        for each in self._all:
            each.answered(socket, ack_id, prepared)

    def now(self) -> float:
        return self._all[0].now()

    def handled(self, socket: Socket, name: str, began: float, error: BaseException | None) -> None:
        for each in self._all:
            each.handled(socket, name, began, error)

    def delivered(
        self, namespace: str, rooms: Sequence[RoomName] | None, prepared: Prepared, count: int
    ) -> None:
        for each in self._all:
            each.delivered(namespace, rooms, prepared, count)


def together(observers: Sequence[SocketObserver]) -> SocketObserver | None:
    """One for all of them; None for none, which costs nothing."""
    return Observers(tuple(observers)) if len(observers) > 1 else next(iter(observers), None)
