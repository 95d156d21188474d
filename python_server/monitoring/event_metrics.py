"""Counts what sessions and Socket.IO clients do: the two observers of a worker with metrics.

Must not know: where the figures go. No client can make a label: what is not the application's own is "other".
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from python_server.engineio.packet import Prepared
from python_server.engineio.session import DisconnectReason, Session
from python_server.http1.parser import Request
from python_server.monitoring.catalogue import DURATIONS
from python_server.monitoring.figures import ROW_LENGTH, Figures, Labels, observe
from python_server.socketio.client import NamespaceReason, Socket
from python_server.socketio.handlers import Handlers
from python_server.socketio.packet import EVENT, Packet
from python_server.socketio.values import RoomName

OTHER: Final = "other"
# Of an application: above it a scrape would be megabytes. Prometheus' guide has 100 as much for one metric,
# but a name of the application's is not a value that its users make.
NAMES_MAX_COUNT: Final = 200
# Handlers that have ended and are not counted yet; they are counted each second, and before there are more.
FOLD_COUNT: Final = 1_000


@dataclass(slots=True, eq=False)
class Traffic:
    """Of one namespace."""

    received_count: int = 0
    received_bytes: int = 0
    unhandled_count: int = 0
    sent_count: int = 0
    sent_bytes: int = 0
    acks_count: int = 0

    def counts(self) -> dict[str, int]:
        """By metric."""
        return {
            "wsframe_events_received_total": self.received_count,
            "wsframe_events_received_bytes_total": self.received_bytes,
            "wsframe_events_unhandled_total": self.unhandled_count,
            "wsframe_events_sent_total": self.sent_count,
            "wsframe_events_sent_bytes_total": self.sent_bytes,
            "wsframe_acks_received_total": self.acks_count,
        }


class EventMetrics:
    """SessionObserver and SocketObserver.

    Args:
        now: a monotonic clock, for any thread.
        handlers: of all servers of the application: what they know by name may be a label.
    """

    def __init__(self, now: Callable[[], float], handlers: Sequence[Handlers]) -> None:
        self.now: Callable[[], float] = now
        self._handlers = handlers
        self._figures = Figures()
        self._traffic: dict[str, Traffic] = {OTHER: Traffic()}
        # Of (namespace, event), as far as they are names: how long the handlers took.
        self._rows: dict[tuple[str, str], list[float]] = {}
        self._counts: Counter[tuple[str, Labels]] = Counter()
        # Appended to by any thread, in one step; emptied by the loop.
        self._handled: deque[tuple[tuple[str, str], float, bool]] = deque()

    # SessionObserver

    def session_opened(self, session: Session) -> None:
        self._counts["wsframe_sessions_opened_total", (session.transport,)] += 1

    def session_upgraded(self, session: Session) -> None:
        self._counts["wsframe_sessions_upgraded_total", ()] += 1

    def session_closed(self, session: Session, reason: DisconnectReason) -> None:
        self._counts["wsframe_sessions_closed_total", (reason.value,)] += 1

    def request_refused(self, request: Request, message: str) -> None:
        self._counts["wsframe_session_requests_refused_total", ()] += 1

    # SocketObserver

    def connected(self, socket: Socket) -> None:
        labels = (self.namespace_label(socket.namespace),)
        self._counts["wsframe_clients_connected_total", labels] += 1
        if socket.recovered:
            self._counts["wsframe_clients_recovered_total", labels] += 1

    def refused(self, session: Session, namespace: str, message: str) -> None:
        self._counts["wsframe_clients_refused_total", (self.namespace_label(namespace),)] += 1

    def disconnected(self, socket: Socket, reason: DisconnectReason | NamespaceReason) -> None:
        labels = (self.namespace_label(socket.namespace), reason.value)
        self._counts["wsframe_clients_disconnected_total", labels] += 1

    def moved(self, namespace: str, kind: str, sid: str, room: RoomName) -> None:
        """Rooms are looked at, not counted."""

    def received(self, socket: Socket, packet: Packet) -> None:
        traffic = self._traffic.get(socket.namespace) or self._traffic_of(socket.namespace)
        if packet.kind is EVENT:
            traffic.received_count += 1
            traffic.received_bytes += packet.size_bytes
            if len(self._handled) > FOLD_COUNT:
                self._fold()
        else:
            traffic.acks_count += 1

    def unhandled(self, socket: Socket, name: str) -> None:
        self._traffic_of(socket.namespace).unhandled_count += 1

    def handled(self, socket: Socket, name: str, began: float, error: BaseException | None) -> None:
        self._handled.append(((socket.namespace, name), self.now() - began, error is not None))

    def delivered(
        self, namespace: str, rooms: Sequence[RoomName] | None, prepared: Prepared, count: int
    ) -> None:
        traffic = self._traffic.get(namespace) or self._traffic_of(namespace)
        traffic.sent_count += count
        traffic.sent_bytes += count * len(prepared.frames)

    # Labels, and what has been counted: the loop's thread

    def namespace_label(self, namespace: str) -> str:
        """Its own name if the application knows it; what clients may call into being shares one."""
        return namespace if self._traffic_of(namespace) is not self._traffic[OTHER] else OTHER

    def _traffic_of(self, namespace: str) -> Traffic:
        found = self._traffic.get(namespace)
        if found is None:
            if len(self._traffic) > NAMES_MAX_COUNT or not self._knows(namespace, None):
                return self._traffic[OTHER]
            found = self._traffic[namespace] = Traffic()
        return found

    def _labels_of(self, namespace: str, name: str) -> Labels:
        labels = self.namespace_label(namespace), name
        if (namespace, name) in self._rows:
            return labels
        if len(self._rows) >= NAMES_MAX_COUNT or not self._knows(namespace, name):
            return labels[0], OTHER
        self._rows[namespace, name] = self._figures.row(DURATIONS, labels, ROW_LENGTH)
        return labels

    def _knows(self, namespace: str, event: str | None) -> bool:
        return any(each.knows(namespace, event) for each in self._handlers)

    def _fold(self) -> None:
        """Count the handlers that have ended."""
        for _ in range(len(self._handled)):
            handler, seconds, failed = self._handled.popleft()
            row = self._rows.get(handler)
            if row is None:
                row = self._figures.row(DURATIONS, self._labels_of(*handler), ROW_LENGTH)
            observe(row, seconds)
            if failed:
                self._figures.count("wsframe_handler_errors_total", self._labels_of(*handler))

    def figures(self) -> Figures:
        """All that was counted so far, as a value of its own."""
        self._fold()
        figures = Figures()
        figures.add_totals(self._figures)
        for (metric, labels), count in self._counts.items():
            figures.count(metric, labels, count)
        for namespace, traffic in self._traffic.items():
            for metric, count in traffic.counts().items():
                if count or namespace != OTHER:
                    figures.count(metric, (namespace,), count)
        return figures
