"""Counts what sessions and Socket.IO clients do: the two observers of a worker with metrics.

Must not know: where the figures go. No client can make a label: what is not the application's own is "other".
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from python_server.engineio.options import EngineError
from python_server.engineio.packet import Prepared
from python_server.engineio.session import DisconnectReason, Session
from python_server.http1.parser import Request
from python_server.monitoring.catalogue import DURATIONS
from python_server.monitoring.figures import BOUNDS, ROW_LENGTH, Figures, Labels
from python_server.socketio.client import NamespaceReason, Socket
from python_server.socketio.handlers import Handlers
from python_server.socketio.packet import EVENT, Packet
from python_server.socketio.values import RoomName

OTHER: Final = "other"
# The protocol's own; a message may be longer, and tell what a client has sent.
REFUSALS: Final = frozenset(message for _, message, _ in (error.value for error in EngineError))
# Of an application: above it a scrape would be megabytes. Prometheus' guide has 100 as much for one metric,
# but a name of the application's is not a value that its users make.
NAMES_MAX_COUNT: Final = 200
# Durations are put aside, and counted each second; sooner behind so many events of a namespace.
FOLD_COUNT: Final = 1024
HandlerName = tuple[str, str]  # namespace, event


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
        self._counts: Counter[tuple[str, Labels]] = Counter()
        # How long handlers took: of those that are names, and of others; and who raised. They are appended
        # to by any thread, in one step, and emptied by the loop: of a list in two, each of them one.
        self._durations: dict[HandlerName, list[float]] = {}
        self._others: deque[tuple[HandlerName, float]] = deque()
        self._failed: deque[HandlerName] = deque()

    # SessionObserver

    def session_opened(self, session: Session) -> None:
        self._counts["wsframe_sessions_opened_total", (session.transport,)] += 1

    def session_upgraded(self, session: Session) -> None:
        self._counts["wsframe_sessions_upgraded_total", ()] += 1

    def session_closed(self, session: Session, reason: DisconnectReason) -> None:
        self._counts["wsframe_sessions_closed_total", (reason.value,)] += 1

    def request_refused(self, request: Request, message: str) -> None:
        reason = message if message in REFUSALS else OTHER
        self._counts["wsframe_session_requests_refused_total", (reason,)] += 1

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
            if not traffic.received_count % FOLD_COUNT:
                self._fold()
        else:
            traffic.acks_count += 1

    def unhandled(self, socket: Socket, name: str) -> None:
        self._traffic_of(socket.namespace).unhandled_count += 1

    def answered(self, socket: Socket, ack_id: int, prepared: Prepared) -> None:
        """A handler that asks for no ack is counted as well: see `handled`."""

    def handled(self, socket: Socket, name: str, began: float, error: BaseException | None) -> None:
        handler, seconds = (socket.namespace, name), self.now() - began
        durations = self._durations.get(handler)
        if durations is not None:
            durations.append(seconds)
        else:
            self._others.append((handler, seconds))
        if error is not None:
            self._failed.append(handler)

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
        if (namespace, name) not in self._durations:
            if len(self._durations) >= NAMES_MAX_COUNT or not self._knows(namespace, name):
                return self.namespace_label(namespace), OTHER
            self._durations[namespace, name] = []
        return self.namespace_label(namespace), name

    def _knows(self, namespace: str, event: str | None) -> bool:
        return any(each.knows(namespace, event) for each in self._handlers)

    def _fold(self) -> None:
        """Count the handlers that have ended."""
        for _ in range(len(self._others)):
            handler, seconds = self._others.popleft()
            self._count_durations(self._labels_of(*handler), [seconds])
        for handler, waiting in self._durations.items():
            if batch := waiting[:]:
                del waiting[: len(batch)]
                self._count_durations(self._labels_of(*handler), batch)
        for _ in range(len(self._failed)):
            self._figures.count("wsframe_handler_errors_total", self._labels_of(*self._failed.popleft()))

    def _count_durations(self, labels: Labels, batch: list[float]) -> None:
        row = self._figures.row(DURATIONS, labels, ROW_LENGTH)
        row[-1] += sum(batch)
        # Most are in the first bucket: only the others are sorted, a fifth of the time for each of these.
        slow = sorted([seconds for seconds in batch if seconds > BOUNDS[0]])
        row[0] += len(batch) - len(slow)
        below = 0
        for bucket, bound in enumerate((*BOUNDS[1:], inf), start=1):
            at_most = bisect_right(slow, bound)
            row[bucket] += at_most - below
            below = at_most

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
