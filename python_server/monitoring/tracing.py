"""Spans of requests, events, emits and acks (--tracing), for whatever provider the application has set up.

Must not know: who collects spans, how anything is served; the only file that imports opentelemetry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracer, ProxyTracerProvider, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from python_server.observe.masking import short
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.client import Socket
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.handlers import Handlers
from python_server.socketio.tracer import Within
from python_server.wsgi.environ import Application, Environ, FileWrapper, StartResponse

# Of what a client may choose, in a span; the SDK has no bound unless the environment sets one.
VALUE_MAX_CHARACTERS: Final = 255
# RFC 9110 and RFC 5789; semantic conventions: others are "_OTHER", so that no client makes a span's name.
METHODS: Final = frozenset(["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"])
W3C: Final = TraceContextTextMapPropagator()


def _cut(value: object) -> str:
    return str(value)[:VALUE_MAX_CHARACTERS]


def _within(there: Context, work: Callable[[], object]) -> object:
    token = context.attach(there)
    try:
        return work()
    finally:
        context.detach(token)


def kept() -> Within:
    """What is current here stays current in what is run by the function returned."""
    return partial(_within, context.get_current())


def _end(span: Span, error: BaseException | None) -> None:
    if error is not None:
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, _cut(f"{type(error).__name__}: {error}")))
        span.set_attribute("error.type", type(error).__qualname__)
    span.end()


def _about(operation: str, namespace: str, event: str | None = None) -> dict[str, Any]:
    """Attributes of messaging's semantic conventions, and our own."""
    return {
        "messaging.system": "socket.io",
        "messaging.operation.name": operation,
        "messaging.destination.name": _cut(namespace),
        "socketio.namespace": _cut(namespace),
        **({} if event is None else {"socketio.event": _cut(event)}),
    }


@dataclass(frozen=True, slots=True)
class EventSpan:
    """HandlerSpan."""

    _tracer: trace.Tracer
    _span: Span
    _namespace: str
    _event: str

    def call(self, function: Callable[..., object], *args: object) -> object:
        return _within(trace.set_span_in_context(self._span), partial(function, *args))

    def answered(self) -> None:
        about = _about("ack", self._namespace, self._event)
        there = trace.set_span_in_context(self._span)
        self._tracer.start_span("ack", there, SpanKind.PRODUCER, about).end()

    def end(self, error: BaseException | None) -> None:
        _end(self._span, error)


@dataclass(frozen=True, slots=True)
class EventTracer:
    """Tracer: the parent of an event is what the headers of its client's handshake say.

    Attributes:
        handlers: of all servers of the application: names of others, which clients choose, name no span.
    """

    _tracer: trace.Tracer
    handlers: Sequence[Handlers]

    def handling(self, socket: Socket, name: str) -> EventSpan:
        about = _about("receive", socket.namespace, name)
        about["socketio.sid"] = short(socket.sid)
        known = any(each.knows(socket.namespace, name) for each in self.handlers)
        request = socket.client.session.request
        parent = None if request is None else propagate.extract(request.fields)
        named = f"receive {_cut(name)}" if known else "receive"
        span = self._tracer.start_span(named, parent, SpanKind.CONSUMER, about)
        return EventSpan(self._tracer, span, socket.namespace, name)

    def sending(self, event: str, to: BroadcastOptions) -> AbstractContextManager[object]:
        return self._tracer.start_as_current_span(
            f"send {_cut(event)}", kind=SpanKind.PRODUCER, attributes=_about("send", to.namespace, event)
        )

    def answering(self, event: str, namespace: str) -> Within:
        return partial(self._answer, context.get_current(), event, namespace)

    def _answer(self, there: Context, event: str, namespace: str, work: Callable[[], object]) -> object:
        named, about = f"receive ack {_cut(event)}", _about("receive", namespace, event)
        with self._tracer.start_as_current_span(named, there, SpanKind.CONSUMER, about):
            return work()

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        W3C.inject(carrier)
        return carrier.get("traceparent")

    def delivering(self, envelope: Envelope) -> AbstractContextManager[object]:
        about = _about("deliver", envelope.namespace)  # its name is not decoded here; the parent has it
        parent = W3C.extract({"traceparent": envelope.traceparent or ""}, Context())
        return self._tracer.start_as_current_span("deliver", parent, SpanKind.CONSUMER, about)


class TracedBody:
    """What an application returned; its span ends when it is closed."""

    def __init__(self, body: Iterable[bytes], there: Context, span: Span) -> None:
        self._body = body
        self._there = there
        self._span = span
        self._fault: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        pieces = iter(self._body)
        while True:
            try:
                piece: Any = _within(self._there, partial(next, pieces))
            except StopIteration:
                return
            except BaseException as error:
                self._fault = error
                raise
            yield piece

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                _within(self._there, close)
        finally:
            _end(self._span, self._fault)


@dataclass(frozen=True, slots=True)
class TracedApplication:
    """WSGI middleware: a span from the call to the end of the body, current in both."""

    _tracer: trace.Tracer
    _application: Application

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        known = method in METHODS
        about: dict[str, Any] = {
            "http.request.method": method if known else "_OTHER",
            "url.scheme": environ["wsgi.url_scheme"],
            "url.path": _cut(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")),
        }
        fields = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        name = method if known else "HTTP"
        span = self._tracer.start_span(name, propagate.extract(fields), SpanKind.SERVER, about)
        there = trace.set_span_in_context(span)

        def start(status: str, *args: Any) -> Any:
            code = int(status[:3]) if status[:3].isdecimal() else 0
            span.set_attribute("http.response.status_code", code)
            if code >= 500:
                span.set_status(Status(StatusCode.ERROR))
            # The template of the path, of a request that Werkzeug has routed; Flask takes it away afterwards.
            rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
            if rule is not None:
                span.update_name(f"{name} {rule}")
                span.set_attribute("http.route", rule)
            return start_response(status, *args)

        try:
            body: Any = _within(there, partial(self._application, environ, start))
        except BaseException as error:
            _end(span, error)
            raise
        if isinstance(body, (list, tuple, FileWrapper)):  # whole, or sent by the loop
            span.end()
            return body
        return TracedBody(body, there, span)


def find_tracer() -> trace.Tracer | None:
    """Of the provider that was set up; None when none was, or it makes no spans."""
    provider = trace.get_tracer_provider()
    tracer = provider.get_tracer("python_server")
    return None if isinstance(provider, ProxyTracerProvider) or isinstance(tracer, NoOpTracer) else tracer
