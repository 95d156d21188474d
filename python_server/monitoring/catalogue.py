"""Every metric by its name: what kind it is, what it means, and which labels tell its values apart.

Must not know: who counts, or how a metric is written.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Metric(NamedTuple):
    """One line of the catalogue; the labels' values stand in their order wherever there are figures."""

    help: str
    labels: tuple[str, ...] = ()


DURATIONS: Final = "wsframe_handler_duration_seconds"
_NAMESPACE: Final = ("namespace",)
_HANDLER: Final = ("namespace", "event")
_WORKER: Final = ("worker",)
_BY_NAMESPACE: Final = ("worker", "namespace")
_BY_POOL: Final = ("worker", "pool")

# Summed over all workers, those that have ended included: they never fall.
SUMMED: Final = {
    "wsframe_workers_started_total": Metric("Workers started; without a supervisor 1"),
    "wsframe_requests_total": Metric("HTTP requests answered, polls included"),
    "wsframe_handovers_total": Metric("Connections given to the worker that has their session"),
    "wsframe_complaints_total": Metric(
        "What the log complains of, by its kind: refusals, limits reached, slow clients, malformed input",
        ("kind",),
    ),
    "wsframe_sessions_opened_total": Metric(
        "Engine.IO sessions begun, by their first transport", ("transport",)
    ),
    "wsframe_sessions_upgraded_total": Metric("Sessions that went on over a WebSocket"),
    "wsframe_sessions_closed_total": Metric("Sessions over, by the reason", ("reason",)),
    "wsframe_session_requests_refused_total": Metric(
        "Handshakes, polls and upgrades refused, by Engine.IO's reason", ("reason",)
    ),
    "wsframe_clients_connected_total": Metric("Clients let into a namespace", _NAMESPACE),
    "wsframe_clients_recovered_total": Metric("Those of them that were lost and came back", _NAMESPACE),
    "wsframe_clients_refused_total": Metric("Clients not let into a namespace", _NAMESPACE),
    "wsframe_clients_disconnected_total": Metric(
        "Clients that have left a namespace, by the reason", ("namespace", "reason")
    ),
    "wsframe_events_received_total": Metric("Events that clients have sent", _NAMESPACE),
    "wsframe_events_received_bytes_total": Metric(
        "Their size as it came, text counted in characters", _NAMESPACE
    ),
    "wsframe_events_unhandled_total": Metric("Those of them without a handler", _NAMESPACE),
    "wsframe_events_invalid_total": Metric(
        "Those of them refused: their arguments are not what the handler is annotated with",
        _HANDLER,
    ),
    "wsframe_events_sent_total": Metric("Events sent, counted once for each recipient", _NAMESPACE),
    "wsframe_events_sent_bytes_total": Metric("Their size in frames, uncompressed", _NAMESPACE),
    "wsframe_acks_received_total": Metric("Acknowledgements that clients have sent", _NAMESPACE),
    "wsframe_handler_errors_total": Metric("Handlers that raised", _HANDLER),
    "wsframe_broker_published_messages_total": Metric("Messages to the broker"),
    "wsframe_broker_received_messages_total": Metric("Messages from the broker"),
    "wsframe_broker_dropped_messages_total": Metric("Messages that did not reach the broker"),
    "wsframe_broker_refused_messages_total": Metric("Messages from the broker that are malformed"),
    "wsframe_cpu_seconds_total": Metric("Time of the processor used by workers"),
    # A histogram.
    DURATIONS: Metric("How long handlers took, connect and disconnect included", _HANDLER),
}
# Of each worker that lives, gone with it.
OF_WORKERS: Final = {
    "wsframe_worker_up": Metric("1: its loop turns; 0: it has stood still for 3 s or more", _WORKER),
    "wsframe_worker_ready": Metric("1: it takes requests; 0: it stops, or its broker is away", _WORKER),
    "wsframe_worker_snapshot_age_seconds": Metric("How old its figures are", _WORKER),
    "wsframe_worker_events_received_total": Metric("Events that it has received", _WORKER),
    "wsframe_worker_requests_total": Metric("Requests that it has answered", _WORKER),
    "wsframe_connections": Metric("Open connections", _WORKER),
    "wsframe_sessions": Metric("Engine.IO sessions, by transport", ("worker", "transport")),
    "wsframe_clients": Metric("Clients in a namespace", _BY_NAMESPACE),
    "wsframe_streams": Metric("Streams of rooms that are open", _WORKER),
    "wsframe_rooms": Metric("Rooms with a client, its own aside", _BY_NAMESPACE),
    "wsframe_acks_pending": Metric("Acknowledgements that clients owe, looked at every 5 s", _WORKER),
    "wsframe_unsent_bytes": Metric("What all clients keep waiting, looked at every 5 s", _WORKER),
    "wsframe_pool_threads": Metric("Threads of a pool", _BY_POOL),
    "wsframe_pool_busy_threads": Metric("Those of them that run a handler", _BY_POOL),
    "wsframe_pool_waiting_jobs": Metric("Jobs that no thread has taken yet", _BY_POOL),
    "wsframe_pool_wait_seconds": Metric("How long the oldest of these jobs has waited", _BY_POOL),
    "wsframe_loop_lag_seconds": Metric("How late a timer came at most, within the last 15 s", _WORKER),
    "wsframe_recovery_clients": Metric("Lost clients that may come back", _WORKER),
    "wsframe_recovery_events": Metric("Events kept for them", _WORKER),
    "wsframe_recovery_bytes": Metric("The size of these events", _WORKER),
    "wsframe_broker_connected": Metric("Brokers that are connected", _WORKER),
    "wsframe_broker_queued_messages": Metric("Messages that wait for the broker", _WORKER),
    "wsframe_broker_queued_bytes": Metric("Their size", _WORKER),
    "wsframe_resident_memory_bytes": Metric("Memory of the process, looked at every 5 s", _WORKER),
    "wsframe_open_descriptors": Metric("Open descriptors, looked at every 5 s", _WORKER),
    "wsframe_max_descriptors": Metric("Descriptors that the process may have", _WORKER),
}
CATALOGUE: Final = SUMMED | OF_WORKERS


def kind_of(name: str) -> str:
    """In Prometheus' words."""
    if name.endswith("_total"):
        return "counter"
    return "histogram" if name == DURATIONS else "gauge"
