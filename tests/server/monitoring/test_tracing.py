"""Which spans there are of requests, events, emits and acks, and whose children they are (tracing.py).

It must not know who serves, or who collects spans.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from python_server.engineio.packet import Prepared
from python_server.monitoring import tracing
from python_server.monitoring.tracing import EventTracer, TracedApplication, find_tracer, kept
from python_server.net.tasks import BackgroundTask
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster.broker.foreign_messages import WireMessage, envelope_of, read, write_emit
from python_server.socketio.cluster.pipe_messages import decode_message, encode_message
from python_server.socketio.cluster.port import Envelope, NoBackplane
from python_server.socketio.handler_runner import Waiting
from python_server.socketio.server import Hub
from python_server.wsgi.environ import FileWrapper
from socketio_world import World

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Processor(SimpleSpanProcessor):
    """Counts what begins as well."""

    started_count = 0

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.started_count += 1


class Spans(InMemorySpanExporter):
    """What has ended, by name."""

    def __init__(self) -> None:
        super().__init__()
        provider = TracerProvider()
        self.processor = Processor(self)
        provider.add_span_processor(self.processor)
        self.tracer = provider.get_tracer("test")

    def names(self) -> list[str]:
        return [span.name for span in self.get_finished_spans()]

    def one(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.get_finished_spans() if span.name == name]
        return found


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


@pytest.fixture
def spans() -> Spans:
    return Spans()


class Sibling(NoBackplane):
    """Another process, to which envelopes go as bytes."""

    alone = False

    def __init__(self, world: World) -> None:
        self.published: list[Any] = []

    def start(self, receiver: Any) -> None:
        self.receiver = receiver

    def publish(self, message: Any) -> None:
        self.published.append(message)


class Traced(World):
    def __init__(self, spans: Spans, **options: Any) -> None:
        self.spans = spans
        super().__init__(**options)

    def serve(self, hub: Hub) -> None:
        self.services = replace(self.services, tracer=EventTracer(self.spans.tracer, [hub.handlers]))
        super().serve(hub)


@pytest.fixture
def traced(spans: Spans) -> Traced:
    return Traced(spans)


def test_an_event_its_emit_and_its_ack_are_one_trace_that_the_handshake_has_begun(traced: Traced) -> None:
    def say(socket: Any, word: str) -> str:
        assert trace.get_current_span().is_recording()
        with traced.spans.tracer.start_as_current_span("own"):
            traced.hub.emit("news", [word])
        return "done"

    traced.on("say", say)
    peer = traced.peer()
    peer.session.request = SimpleNamespace(fields={"traceparent": PARENT})
    peer.say('21["say","x"]')
    assert peer.heard() == ['2["news","x"]', '31["done"]']
    spans = traced.spans
    event, own, emit, ack = map(spans.one, ("receive say", "own", "send news", "ack"))
    assert (event.kind, emit.kind, ack.kind) == (SpanKind.CONSUMER, SpanKind.PRODUCER, SpanKind.PRODUCER)
    assert event.context is not None
    assert f"{event.context.trace_id:032x}" == TRACE
    assert parent_of(event) == int("b7ad6b7169203331", 16)
    assert (parent_of(own), parent_of(emit), parent_of(ack)) == (id_of(event), id_of(own), id_of(event))
    assert event.attributes is not None
    assert event.attributes["socketio.event"] == "say"
    assert event.attributes["socketio.namespace"] == "/"
    assert str(event.attributes["socketio.sid"]).endswith("..")
    assert not trace.get_current_span().is_recording()


def test_a_fault_is_in_the_span_and_a_bad_traceparent_begins_a_trace(traced: Traced) -> None:
    traced.on("say", lambda socket: 1 / 0)
    peer = traced.peer()
    peer.session.request = SimpleNamespace(fields={"traceparent": "00-" + "z" * 5000, "tracestate": "," * 99})
    peer.say('2["say"]')
    event = traced.spans.one("receive say")
    assert (event.parent, event.status.status_code) == (None, StatusCode.ERROR)
    assert event.status.description == "ZeroDivisionError: division by zero"
    assert [each.name for each in event.events] == ["exception"]
    assert len(traced.reports) == 1


def test_a_client_names_no_span_and_its_words_are_cut(traced: Traced) -> None:
    traced.on("*")
    traced.on("connect")
    peer = traced.peer()
    peer.say(f'2["{"x" * 10_000}"]')
    event = traced.spans.one("receive")
    assert event.attributes is not None
    assert event.attributes["socketio.event"] == "x" * 255
    assert traced.spans.names() == ["receive connect", "receive"]


def test_a_handler_that_comes_back_later_has_one_span(traced: Traced) -> None:
    resumes: list[Any] = []
    traced.on("say", lambda socket: Waiting(resumes.append))
    traced.on("connect", lambda socket, auth: Waiting(resumes.append), ordered=True)
    peer = traced.peer(None)
    peer.say("0")
    assert traced.spans.names() == []
    resumes.pop()(lambda: None)
    traced.run()
    peer.say('27["say"]')
    assert traced.spans.names() == ["receive connect"]
    resumes.pop()(lambda: "late")
    traced.run()
    assert traced.spans.names() == ["receive connect", "ack", "receive say"]
    assert traced.spans.processor.started_count == 3
    assert peer.heard()[-1] == '37["late"]'


def test_a_callback_runs_as_a_part_of_its_emit(traced: Traced) -> None:
    traced.on(
        "say", lambda socket: traced.hub.emit("ask", [], callback=lambda who, values: inner.append(values))
    )
    inner: list[Any] = []
    peer = traced.peer()
    peer.say('2["say"]')
    (question,) = peer.heard()
    peer.say(f'3{question[1 : question.index("[")]}["yes"]')
    assert inner == [["yes"]]
    emit, ack = traced.spans.one("send ask"), traced.spans.one("receive ack ask")
    assert (parent_of(ack), ack.kind) == (id_of(emit), SpanKind.CONSUMER)


def test_call_and_call_room_are_spans_too(traced: Traced) -> None:
    assert traced.hub._running is not None
    sender = traced.hub._running.sender
    asked = {"call": lambda *args: [1], "call_room": lambda *args: [2]}
    object.__setattr__(sender, "_broadcaster", SimpleNamespace(**asked))
    assert traced.hub.call("one", [], "/chat", "sid", 1.0) == [1]
    assert traced.hub.call_room("all", [], BroadcastOptions(), 1.0) == [2]
    assert traced.spans.names() == ["send one", "send all"]


def pipes(envelope: Envelope, world: World) -> Any:
    return decode_message(b"".join(encode_message(envelope)), 0)


def broker(envelope: Envelope, world: World) -> Any:
    return envelope_of(read(write_emit(envelope, "other", world.hub.codec)), world.hub.codec)


@pytest.mark.parametrize("way", [pipes, broker])
def test_what_another_process_delivers_is_a_child_of_the_emit(
    spans: Spans, way: Callable[[Envelope, World], Any]
) -> None:
    here, there = (Traced(spans, make_backplane=Sibling) for _ in range(2))
    listener = there.peer()
    here.hub.emit("news", ["x"])
    here.run()
    (envelope,) = here.services.backplane.published  # type: ignore[attr-defined]
    there.services.backplane.receiver.receive(way(envelope, there))  # type: ignore[attr-defined]
    assert listener.heard() == ['2["news","x"]']
    emit, delivery = spans.one("send news"), spans.one("deliver")
    assert (parent_of(delivery), delivery.kind) == (id_of(emit), SpanKind.CONSUMER)


def test_what_a_process_without_tracing_sends_makes_no_span(spans: Spans) -> None:
    there = Traced(spans, make_backplane=Sibling)
    listener = there.peer()
    envelope = Envelope("/", None, (), Prepared(['42["news"]']))
    for each in (envelope, envelope._replace(traceparent="garbage")):
        there.services.backplane.receiver.receive(each)  # type: ignore[attr-defined]
    assert listener.heard() == ['2["news"]'] * 2
    assert [span.parent for span in spans.get_finished_spans()] == [None]


def test_without_a_tracer_an_envelope_is_the_same_as_before() -> None:
    plain = World(make_backplane=Sibling)
    plain.hub.emit("news", ["x"])
    plain.run()
    (envelope,) = plain.services.backplane.published  # type: ignore[attr-defined]
    assert b"traceparent" not in write_emit(envelope, "host", plain.hub.codec)
    assert WireMessage("emit").traceparent is None


def test_a_background_task_and_a_coroutine_are_a_part_of_who_started_them(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BackgroundTask, "keep", staticmethod(kept))

    def work(name: str) -> None:
        spans.tracer.start_span(name).end()

    async def work_slowly() -> None:
        await asyncio.sleep(0)
        work("coroutine")

    with spans.tracer.start_as_current_span("event"):
        tasks = [BackgroundTask(target, (), {}, print) for target in (partial(work, "thread"), work_slowly)]
    for task in tasks:
        task.start()
        task.join()
    event = id_of(spans.one("event"))
    assert [parent_of(spans.one(name)) for name in ("thread", "coroutine")] == [event, event]


# Requests


def asked(spans: Spans, application: Any, **environ: Any) -> Any:
    """What a traced application returns."""
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/a", "wsgi.url_scheme": "http", **environ}
    return TracedApplication(spans.tracer, application)(environ, lambda status, headers: None)


def test_a_request_is_a_span_by_its_route(spans: Spans) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        spans.tracer.start_span("inner").end()
        environ["werkzeug.request"] = SimpleNamespace(url_rule=SimpleNamespace(rule="/<name>"))
        start_response("200 OK", [])
        return [b"x"]

    assert asked(spans, application, HTTP_TRACEPARENT=PARENT) == [b"x"]
    request, inner = spans.one("GET /<name>"), spans.one("inner")
    assert (parent_of(inner), request.kind) == (id_of(request), SpanKind.SERVER)
    assert request.parent is not None
    assert f"{request.parent.trace_id:032x}" == TRACE
    assert request.attributes == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/a",
        "http.response.status_code": 200,
        "http.route": "/<name>",
    }


def test_a_strange_method_and_a_long_path_are_bounded(spans: Spans) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        start_response("503 Busy", [])
        return ()

    asked(spans, application, REQUEST_METHOD="BREW", PATH_INFO="/" + "x" * 5000)
    request = spans.one("HTTP")
    assert request.attributes is not None
    assert request.attributes["http.request.method"] == "_OTHER"
    assert len(str(request.attributes["url.path"])) == 255
    assert request.status.status_code is StatusCode.ERROR


def streamed(spans: Spans, fault: Exception | None) -> Iterator[bytes]:
    spans.tracer.start_span("piece").end()
    yield b"x"
    if fault is not None:
        raise fault


@pytest.mark.parametrize("fault", [None, OSError("gone")])
def test_a_streamed_body_is_a_part_of_its_request(spans: Spans, fault: Exception | None) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return streamed(spans, fault)

    body = asked(spans, application)
    pieces = iter(body)
    assert next(pieces) == b"x"
    assert spans.names() == ["piece"]
    if fault is None:
        assert list(pieces) == []
    else:
        with pytest.raises(OSError, match="gone"):
            next(pieces)
    body.close()
    request = spans.one("GET")
    assert parent_of(spans.one("piece")) == id_of(request)
    assert request.status.status_code is (StatusCode.UNSET if fault is None else StatusCode.ERROR)


def test_a_file_is_passed_on_as_it_is_and_a_fault_is_raised_again(spans: Spans, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("x")
    with (tmp_path / "file").open("rb") as file:
        whole = FileWrapper(file)
        assert asked(spans, lambda environ, start_response: whole) is whole

    def fail(environ: Any, start_response: Any) -> Any:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        asked(spans, fail)
    first, second = spans.get_finished_spans()
    assert (first.status.status_code, second.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)


def test_there_is_a_tracer_only_where_a_provider_was_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    providers: list[Any] = [trace.ProxyTracerProvider(), trace.NoOpTracerProvider(), TracerProvider()]
    found = []
    for provider in providers:
        monkeypatch.setattr(tracing.trace, "get_tracer_provider", lambda provider=provider: provider)
        found.append(find_tracer() is not None)
    assert found == [False, False, True]
