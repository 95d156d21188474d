"""Whether a worker makes spans, decided once when it starts.

Must not know: what a span is made of; nothing of OpenTelemetry is imported unless the settings ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Final

from python_server.net.sockets import BindError
from python_server.net.tasks import BackgroundTask
from python_server.observe import log
from python_server.settings import Settings
from python_server.socketio.handlers import Handlers
from python_server.socketio.tracer import Tracer
from python_server.wsgi.environ import Application

NEEDED: Final = '--tracing needs opentelemetry-api: pip install "wsframe[otel]" [missing-package]'
UNUSED: Final = (
    "--tracing makes no spans: no tracer provider was set up when the application was loaded "
    "(trace.set_tracer_provider, or opentelemetry-instrument)"
)


def check_tracing(settings: Settings) -> None:
    """Look for the package. Raises BindError."""
    if settings.tracing and find_spec("opentelemetry") is None:
        raise BindError(NEEDED)


@dataclass(frozen=True, slots=True)
class Tracing:
    """Who makes spans of events; and the application as one that makes spans of its requests."""

    tracer: Tracer
    wrap: Callable[[Application], Application]


def make_tracing(settings: Settings, handlers: Sequence[Handlers]) -> Tracing | None:
    """Once the application is loaded; None: nothing is traced. Raises BindError."""
    if not settings.tracing:
        return None
    check_tracing(settings)
    from python_server.monitoring.tracing import EventTracer, TracedApplication, find_tracer, kept

    tracer = find_tracer()
    if tracer is None:
        log.warn(UNUSED)
        return None
    BackgroundTask.keep = staticmethod(kept)
    return Tracing(EventTracer(tracer, handlers), partial(TracedApplication, tracer))
