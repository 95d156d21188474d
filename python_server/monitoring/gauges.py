"""Reads the gauges of a worker's parts, and the counters that these keep themselves.

Must not know: when, or for whom.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from python_server.connection.acceptor import Acceptor
from python_server.engineio.server import Engine
from python_server.monitoring.figures import Figures
from python_server.net.descriptors import descriptors_max_count
from python_server.net.pool import Pool
from python_server.net.system import open_descriptors_count, resident_bytes
from python_server.observe.counters import Counters
from python_server.socketio.cluster.broker.backplane import BrokerBackplane
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.server import Hub

# What goes through all clients, or asks the system, is looked at once in so many times.
SELDOM_COUNT: Final = 5
# Counters that are no complaint.
EVENTFUL: Final = {"requests": "wsframe_requests_total", "hand-overs": "wsframe_handovers_total"}
# Of the broker's figures, by what they end in: counters, and gauges.
BROKER_COUNTERS: Final = ("published_messages", "received_messages", "dropped_messages", "refused_messages")
BROKER_GAUGES: Final = ("connected", "queued_messages", "queued_bytes")


@dataclass(slots=True, eq=False)
class Gauges:
    """Of the parts of one worker. Every method belongs to the loop's thread.

    Attributes:
        cpu: seconds of the processor's time. label: what a namespace is called among the figures.
    """

    acceptor: Acceptor
    engines: Sequence[Engine]
    hubs: Sequence[Hub]
    pools: Sequence[Pool]
    brokers: Sequence[BrokerBackplane]
    counters: Counters
    cpu: Callable[[], float]
    label: Callable[[str], str]
    _looks_count: int = 0
    _seldom: dict[str, float] = field(default_factory=dict)

    def read_into(self, figures: Figures) -> None:
        """Add what there is now. Gauges have no label of their worker: whoever has several adds it."""
        self._read_counters(figures)
        figures.gauge("wsframe_connections", (), len(self.acceptor.channels))
        carried = Counter(session.transport for each in self.engines for session in each.sessions.values())
        for transport in ("polling", "websocket"):
            figures.gauge("wsframe_sessions", (transport,), carried[transport])
        streams = [hub.streams.count for hub in self.hubs if hub.streams is not None]
        figures.gauge("wsframe_streams", (), sum(streams))
        for hub in self.hubs:
            # Those that the application serves stand there before their first client: a graph begins at 0.
            for namespace in hub.handlers.namespaces() - hub.adapters().keys():
                figures.gauge("wsframe_clients", (self.label(namespace),), 0)
            for namespace, adapter in hub.adapters().items():
                figures.gauge("wsframe_clients", (self.label(namespace),), adapter.clients_count)
                figures.gauge("wsframe_rooms", (self.label(namespace),), adapter.rooms_count)
            if (log := hub.recovery) is not None:
                if isinstance(log, RecoveryLog):  # else they are kept at the broker
                    figures.gauge("wsframe_recovery_clients", (), log.lost_count)
                figures.gauge("wsframe_recovery_events", (), log.events.position - log.events.first)
                figures.gauge("wsframe_recovery_bytes", (), log.events.size_bytes)
        for pool in self.pools:
            said = pool.figures()
            figures.gauge("wsframe_pool_threads", (pool.name,), said.threads_count)
            figures.gauge("wsframe_pool_busy_threads", (pool.name,), said.running_count)
            figures.gauge("wsframe_pool_waiting_jobs", (pool.name,), said.waiting_count)
            figures.gauge("wsframe_pool_wait_seconds", (pool.name,), said.wait_seconds)
        for broker in self.brokers:
            told = broker.figures()
            for name in BROKER_GAUGES:
                figures.gauge(f"wsframe_broker_{name}", (), told[f"broker_{name}"])
            for name in BROKER_COUNTERS:
                figures.count(f"wsframe_broker_{name}_total", (), told[f"broker_{name}"])
        if self._looks_count % SELDOM_COUNT == 0:
            self._seldom = self._read_seldom()
        self._looks_count += 1
        for name, value in self._seldom.items():
            figures.gauge(name, (), value)

    def _read_counters(self, figures: Figures) -> None:
        for kind, count in self.counters.counts.items():
            if kind in EVENTFUL:
                figures.count(EVENTFUL[kind], (), count)
            else:
                figures.count("wsframe_complaints_total", (kind,), count)
        figures.count("wsframe_cpu_seconds_total", (), self.cpu())
        # Of each worker alone, beside the sums.
        figures.gauge("wsframe_worker_requests_total", (), self.counters.counts["requests"])
        received = figures.totals.get("wsframe_events_received_total", {})
        figures.gauge("wsframe_worker_events_received_total", (), sum(row[0] for row in received.values()))

    def _read_seldom(self) -> dict[str, float]:
        sessions = [session for engine in self.engines for session in engine.sessions.values()]
        unsent_bytes = sum(channel.held_bytes for channel in self.acceptor.channels)
        return {
            "wsframe_unsent_bytes": unsent_bytes + sum(session.held_bytes for session in sessions),
            "wsframe_acks_pending": sum(len(socket.acks) for hub in self.hubs for socket in hub.sockets()),
            "wsframe_resident_memory_bytes": resident_bytes(),
            "wsframe_open_descriptors": open_descriptors_count(),
            "wsframe_max_descriptors": descriptors_max_count() or 0,
        }
