"""Counts what sessions and Socket.IO clients do, in a worker with metrics.

Must not know: where the figures go. No client can make a label: what is not the application's own is "other".
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Final

from python_server.engineio.options import EngineError
from python_server.engineio.session import DisconnectReason, Session
from python_server.http1.parser import Request
from python_server.monitoring.catalogue import DURATIONS
from python_server.monitoring.figures import BOUNDS, ROW_LENGTH, Figures, Labels
from python_server.socketio.handlers import Handlers
from python_server.socketio.traffic import Traffic

OTHER: Final = "other"
# The protocol's own; a message may be longer, and tell what a client has sent.
REFUSALS: Final = frozenset(message for _, message, _ in (error.value for error in EngineError))
# Of an application: above it a scrape would be megabytes. Prometheus' guide has 100 as much for one metric,
# but a name of the application's is not a value that its users make.
NAMES_MAX_COUNT: Final = 200


class Durations(dict[str, Callable[[float], None]]):
    """How long the handlers of one namespace took: by event, what a number of seconds is told to. Any thread.

    Numbers are put aside, eight bytes each, and counted together: each second with metrics, within ten
    seconds while an operator looks. No thread waits for another.

    Args:
        label: what an event is called among the figures.
    """

    def __init__(self, label: Callable[[str], str]) -> None:
        super().__init__()
        self._label = label
        self._waiting: dict[str, array[float]] = {}

    def __missing__(self, event: str) -> Callable[[float], None]:
        label = self._label(event)
        append = self._waiting.setdefault(label, array("d")).append  # one for two threads that come at once
        return append if label == OTHER else self.setdefault(event, append)

    def take(self) -> list[tuple[str, array[float]]]:
        """Loop's thread: those since the last time, by label."""
        taken = []
        for label, waiting in [*self._waiting.items()]:
            if batch := waiting[:]:
                del waiting[: len(batch)]  # more may have come meanwhile
                taken.append((label, batch))
        return taken


class EventMetrics:
    """SessionObserver; and the traffic of all namespaces, for whoever counts it.

    Args:
        now: a monotonic clock, for any thread.
        handlers: of all servers of the application: what they know by name may be a label.
    """

    def __init__(self, now: Callable[[], float], handlers: Sequence[Handlers]) -> None:
        self._now = now
        self._handlers = handlers
        self._figures = Figures()
        self._counts: Counter[tuple[str, Labels]] = Counter()
        self._names: set[tuple[str, str]] = set()
        self._traffic: dict[str, Traffic] = {}
        self._durations: dict[str, Durations] = {}
        self._other = self._begin(OTHER)

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

    # Labels, and what has been counted: the loop's thread, where no other is named

    def traffic_of(self, namespace: str) -> Traffic:
        """Its own if the application knows its name; what clients may call into being shares one."""
        found = self._traffic.get(namespace)
        if found is None:
            if len(self._traffic) > NAMES_MAX_COUNT or not self._knows(namespace, None):
                return self._other
            found = self._begin(namespace)
        return found

    def namespace_label(self, namespace: str) -> str:
        return namespace if self.traffic_of(namespace) is not self._other else OTHER

    def _begin(self, namespace: str) -> Traffic:
        durations = self._durations[namespace] = Durations(partial(self._event_label, namespace))
        traffic = self._traffic[namespace] = Traffic(self._now, durations)
        return traffic

    def _event_label(self, namespace: str, event: str) -> str:
        """Any thread."""
        if (namespace, event) not in self._names:
            if len(self._names) >= NAMES_MAX_COUNT or not self._knows(namespace, event):
                return OTHER
            self._names.add((namespace, event))
        return event

    def _knows(self, namespace: str, event: str | None) -> bool:
        return any(each.knows(namespace, event) for each in self._handlers)

    def _fold(self) -> None:
        """Count the handlers that have ended."""
        for namespace, durations in self._durations.items():
            for event, batch in durations.take():
                self._count_durations((namespace, event), batch)
            traffic = self._traffic[namespace]
            for metric, events in (
                ("wsframe_handler_errors_total", traffic.failed),
                ("wsframe_events_invalid_total", traffic.invalid),
            ):
                for _ in range(len(events)):
                    labels = namespace, self._event_label(namespace, events.popleft())
                    self._figures.count(metric, labels)

    def _count_durations(self, labels: Labels, batch: array[float]) -> None:
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
            for metric, count in counts_of(traffic).items():
                if count or namespace != OTHER:
                    figures.count(metric, (namespace,), count)
            for reason, count in traffic.disconnected_counts.items():
                figures.count("wsframe_clients_disconnected_total", (namespace, reason), count)
        return figures


def counts_of(traffic: Traffic) -> dict[str, int]:
    """By metric."""
    return {
        "wsframe_clients_connected_total": traffic.connected_count,
        "wsframe_clients_recovered_total": traffic.recovered_count,
        "wsframe_clients_refused_total": traffic.refused_count,
        "wsframe_events_received_total": traffic.received_count,
        "wsframe_events_received_bytes_total": traffic.received_bytes,
        "wsframe_events_unhandled_total": traffic.unhandled_count,
        "wsframe_events_sent_total": traffic.sent_count,
        "wsframe_events_sent_bytes_total": traffic.sent_bytes,
        "wsframe_acks_received_total": traffic.acks_count,
    }
