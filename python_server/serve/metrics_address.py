"""The metrics address: bound, and served by a worker of its own on a thread of its own.

Must not know: what is counted, or where the figures come from.

A scrape that stalls, or a thousand connections, meet that worker's limits, and never the clients' loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from python_server.connection.exchange import AnsweredAtOnce, Exchange
from python_server.http1.parser import Request
from python_server.http1.response import Headers
from python_server.monitoring.health import HEALTH_PATH, METRICS_PATH, READY_PATH
from python_server.monitoring.snapshots import Snapshots
from python_server.net.sockets import Address, BindError, Listening, listen, parse_address, shown_urls
from python_server.net.system import REAL
from python_server.net.threads import BackgroundThread
from python_server.observe import log
from python_server.observe.counters import Counters
from python_server.serve.cluster_address import CLUSTER
from python_server.serve.mounts import Site
from python_server.serve.reexec import CLIENTS
from python_server.serve.worker import Worker
from python_server.settings import HTTPSettings, Settings
from python_server.wsgi.environ import Application

if TYPE_CHECKING:
    from python_server.monitoring.exposition import Source

# Where an address has no port: that of OpenTelemetry's exporter for Prometheus.
PORT: Final = 9464
NEEDED: Final = '--metrics needs prometheus-client: pip install "wsframe[metrics]" [missing-package]'
END_SECONDS: Final = 5.0
# Figures are written down each second.
AGAIN_SECONDS: Final = 0.2
# Of the time that an answer took: with hundreds of events that is more.
AGAIN_SHARE: Final = 4.0
ANSWERS_MAX_COUNT: Final = 16
OPENMETRICS: Final = "application/openmetrics-text"
# Who scrapes has one connection or two: those who only keep one, or dribble, are soon gone.
LIMITS: Final = Settings(
    access_log=None,
    connections_max_count=64,
    wsgi_threads_count=1,
    wsgi_queue_count=64,
    sessions_max_count=1,
    http=HTTPSettings(
        body_max_bytes=65_536,
        header_timeout_seconds=5.0,
        body_timeout_seconds=5.0,
        keep_alive_timeout_seconds=20.0,
    ),
)


def check_metrics(settings: Settings) -> None:
    """Look at the address and the package. Raises BindError."""
    if settings.metrics is not None:
        _make_application()
        _address(settings.metrics)


@contextmanager
def metrics_address(
    settings: Settings,
    kept: Mapping[str, Listening] = MappingProxyType({}),
    keep: Callable[[str, Listening], None] | None = None,
) -> Iterator[Callable[[Source], None]]:
    """Bound, if the settings ask for it; what is yielded begins to serve what it is given.

    Args:
        kept: what this process has listened on before, by name; clients wait there, so where the address
            cannot be bound it goes on without. keep: told of the address, for the next time.

    Raises:
        BindError: it cannot be listened on, or the package is missing.
    """
    name = f"metrics {settings.metrics}"
    for other in kept.keys() - {CLIENTS, name}:
        if not other.startswith(CLUSTER):
            kept[other].close()
    if settings.metrics is None:
        yield lambda source: None
        return
    try:
        make_application = _make_application()
        listening = kept[name] if name in kept else _listen(settings, settings.metrics)
    except BindError as error:
        if not kept:
            raise
        kept.get(name, Listening()).close()
        log.warn(f"{error}; the server goes on without metrics")
        yield lambda source: None
        return
    with ExitStack() as stack:
        stack.callback(listening.close)
        if keep is not None:
            keep(name, listening)
        place = shown_urls(listening.sockets, "http")[0].removeprefix("http://")

        def begin(source: Source) -> None:
            application = make_application(source, REAL.monotonic)
            handler = AnsweredAtOnce(MetricsAnswers(application, REAL.monotonic).answer)
            first = dict.fromkeys((METRICS_PATH, HEALTH_PATH, READY_PATH), handler)
            limits = replace(LIMITS, switch_interval_seconds=settings.switch_interval_seconds)
            counters = Counters(REAL.monotonic, "metrics address: ")
            worker = Worker(Site(application), limits, listening.sockets, counters=counters, first=first)
            thread = BackgroundThread(worker.run, "metrics")
            stack.callback(thread.join, END_SECONDS)
            stack.callback(worker.force)
            log.say(f"metrics and health at {place}: /metrics, /healthz, /readyz")

        yield begin


@dataclass(slots=True)
class MetricsAnswers:
    """Answers on the loop of the address: it needs no thread, whatever an application's threads wait for."""

    _application: Application
    _now: Callable[[], float]
    # Until when each answer is said again, by what was asked.
    _said: dict[tuple[str, ...], tuple[float, tuple[str, Headers, bytes]]] = field(default_factory=dict)

    def answer(self, exchange: Exchange) -> None:
        """What was written a moment ago is said again: a flood of scrapes costs as much as a few."""
        asked, now = _asked(exchange.request), self._now()
        until, said = self._said.get(asked, (now, None))
        if said is None or now >= until:
            try:
                said = self._write(*asked)
            except OSError as error:  # the folder of the snapshots is full, or gone
                said = ("503 Service Unavailable", [], f"no figures: {error}\n".encode())
            if len(self._said) >= ANSWERS_MAX_COUNT:
                self._said.clear()
            written = self._now()
            self._said[asked] = (written + max(AGAIN_SECONDS, AGAIN_SHARE * (written - now)), said)
        exchange.respond(*said)

    def _write(
        self, method: str, path: str, query: str, accept: str, encoding: str
    ) -> tuple[str, Headers, bytes]:
        """As a WSGI server does."""
        heads: list[tuple[str, Headers]] = []
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
        environ |= {"HTTP_ACCEPT": accept, "HTTP_ACCEPT_ENCODING": encoding}
        start_response: Any = lambda *head: heads.append(head)  # noqa: E731
        body = b"".join(self._application(environ, start_response))
        return *heads[0], body


def _asked(request: Request) -> tuple[str, str, str, str, str]:
    """Method, path, query, format, coding; prometheus_client raises at versions that are none."""
    return (
        "GET" if request.method == "HEAD" else request.method,
        request.path,
        request.query if "name" in request.query else "",
        f"{OPENMETRICS}; version=1.0.0" if OPENMETRICS in request.get("accept") else "",
        "gzip" if "gzip" in request.get("accept-encoding") else "",
    )


class MetricsCandidate:
    """One of several processes, of which one serves the metrics of all: who has the lock.

    Args:
        folder: of the snapshots. own: this worker.
    """

    def __init__(self, settings: Settings, folder: str, own: int) -> None:
        self._settings = settings
        self._snapshots = Snapshots(folder, own)
        self._leads = False
        self._serving: ExitStack | None = None
        self._said = ""

    def look(self) -> None:
        """Each second or so: serve, if nobody does."""
        if self._settings.metrics is None or self._serving is not None:
            return
        stack = ExitStack()
        try:
            self._leads = self._leads or self._snapshots.become_reader()
            if self._leads:
                stack.enter_context(metrics_address(self._settings))(self._snapshots.read)
                self._serving = stack
        except OSError as error:
            if str(error) != self._said:
                self._said = str(error)
                log.warn(f"{error}; it is tried again")

    def close(self) -> None:
        if self._serving is not None:
            self._serving.close()
        self._snapshots.close()


def _make_application() -> Callable[[Source, Callable[[], float]], Application]:
    try:
        from python_server.monitoring.exposition import make_application
    except ModuleNotFoundError:
        raise BindError(NEEDED) from None
    return make_application


def _listen(settings: Settings, text: str) -> Listening:
    address = _address(text)
    try:
        return listen([address], LIMITS.backlog_count, unix_permissions=settings.uds_permissions)
    except BindError as error:
        raise BindError(f"--metrics: {error}") from None


def _address(text: str) -> Address:
    try:
        return parse_address(text, PORT)
    except BindError as error:
        raise BindError(f"--metrics: {error}") from None
