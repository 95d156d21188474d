"""Figures as Prometheus reads them, and health: a WSGI application of three paths.

Must not know: who serves it; the only file that imports prometheus_client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from prometheus_client import make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import CollectorRegistry

from python_server.http1.response import status_text
from python_server.monitoring.catalogue import CATALOGUE, OF_WORKERS, SUMMED, kind_of
from python_server.monitoring.figures import BOUNDS, ROW_LENGTH, Collected, Figures, Labels, Snapshot
from python_server.monitoring.health import (
    HEALTH_PATH,
    METRICS_PATH,
    READY_PATH,
    health,
    readiness,
    stands_still,
)
from python_server.wsgi.environ import Application, StartResponse

Source = Callable[[], Collected]
MAKERS: Final[dict[str, Callable[..., Any]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}
BOUND_TEXTS: Final = [*map(str, BOUNDS), "+Inf"]


def make_application(source: Source, now: Callable[[], float]) -> Application:
    """Any thread may call it, and calls `source`. `now`: the machine's monotonic clock."""
    registry = CollectorRegistry()
    registry.register(FiguresCollector(source, now))
    metrics = make_wsgi_app(registry)
    answers = {HEALTH_PATH: health, READY_PATH: readiness}

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == METRICS_PATH:
            written: Iterable[bytes] = metrics(environ, start_response)
            return written
        status, text = 404, f"here are {METRICS_PATH}, {HEALTH_PATH} and {READY_PATH}"
        if path in answers:
            status, text = answers[path](source().living, now())
        start_response(status_text(status), [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    return application


class FiguresCollector:
    """What prometheus_client asks at each scrape (its Collector port)."""

    def __init__(self, source: Source, now: Callable[[], float]) -> None:
        self._source = source
        self._now = now

    def describe(self) -> Iterator[Metric]:
        """The names alone, so that a scrape can ask for some of them."""
        return (_family(name) for name in CATALOGUE)

    def collect(self) -> Iterator[Metric]:
        collected, now = self._source(), self._now()
        totals = Figures()
        totals.count("wsframe_workers_started_total", (), collected.started_count)
        for figures in (collected.ended, *(each.figures for each in collected.living)):
            totals.add_totals(figures)
        for name in SUMMED:
            family = _family(name)
            none: dict[Labels, list[float]] = {} if CATALOGUE[name].labels else {(): [0.0]}
            for labels, row in totals.totals.get(name, none).items():
                _add(family, labels, row)
            yield family
        for name in OF_WORKERS:
            family = _family(name)
            for snapshot in collected.living:
                for labels, value in _of_worker(snapshot, name, now).items():
                    family.add_metric([str(snapshot.worker), *labels], value)
            yield family


def _family(name: str) -> Any:
    metric = CATALOGUE[name]
    return MAKERS[kind_of(name)](name, f"{metric.help}.", labels=metric.labels)


def _add(family: Any, labels: Labels, row: list[float]) -> None:
    if isinstance(family, HistogramMetricFamily) and len(row) == ROW_LENGTH:
        counts = [sum(row[: place + 1]) for place in range(ROW_LENGTH - 1)]
        family.add_metric(labels, list(zip(BOUND_TEXTS, counts, strict=True)), sum_value=row[-1])
    elif len(row) == 1:
        family.add_metric(labels, row[0])


def _of_worker(snapshot: Snapshot, name: str, now: float) -> dict[Labels, float]:
    turns = not stands_still(snapshot, now)
    own: dict[str, float] = {
        "wsframe_worker_up": turns,
        "wsframe_worker_ready": turns and not snapshot.unready,
        "wsframe_worker_snapshot_age_seconds": snapshot.age_seconds(now),
    }
    return {(): float(own[name])} if name in own else snapshot.figures.gauges.get(name, {})
