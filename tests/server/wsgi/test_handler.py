"""The WSGI side over a fake exchange: what is posted, when a worker is taken (handler.py, environ.py).

It must not know sockets; the whole server's answers are in tests/conformance/http.
"""

import gc
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from python_server.http1.parser import Request
from python_server.net.bounded_queue import StreamBroken
from python_server.net.threads import InlineExecutor, ServerStopped
from python_server.wsgi.environ import ServerFacts
from python_server.wsgi.handler import BODY_AHEAD_BYTES, WSGIHandler, WSGIServices

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def request(body_length: int | None = 0, **more: Any) -> Request:
    made = Request("GET", "/a", "/a", "", (1, 1), [], body_length=body_length, **more)
    made.peer, made.local = ("10.0.0.9", 5), ("10.0.0.1", 80)
    return made


class FakeExchange:
    """Notes what the answer would be."""

    def __init__(self, body_length: int | None = 0, **more: Any) -> None:
        self.request = request(body_length, **more)
        self.context: Any = None
        self.on_writable: Any = None
        self.body_paused = False
        self.blocked = False
        self.open = True
        self.calls: list[Any] = []

    def respond(self, status: Any, headers: Any, body: bytes = b"") -> None:
        self.calls.append(("respond", status, body))
        self.open = False

    def refuse(self, status: int, text: str, headers: Any = ()) -> None:
        self.refuse_keep_alive()
        self.respond(status, headers, f"{text}\n".encode())

    def start(self, status: str, headers: Any, first: bytes = b"") -> None:
        self.calls.append(("start", status, first))

    def write(self, data: Any) -> None:
        self.calls.append(("write", bytes(data)))

    def finish(self) -> None:
        self.calls.append("finish")
        self.open = False

    def abort(self, reason: str) -> None:
        self.calls.append("abort")
        self.open = False

    def refuse_keep_alive(self) -> None:
        self.calls.append("close after it")

    def send_continue(self) -> None:
        self.calls.append("100")

    def pause_body(self, paused: bool) -> None:
        self.body_paused = paused
        self.calls.append("pause" if paused else "resume")


class Bench:
    def __init__(
        self, application: Application, *, waiting_count: int = 0, inline: bool = True, places_count: int = 2
    ) -> None:
        self.waited: list[float] = []
        self.jobs: list[Callable[[], None]] = []
        self.reported: list[BaseException] = []
        bench = self

        class Held:
            def submit(self, job: Callable[[], None]) -> None:
                bench.jobs.append(job)

            resubmit = submit

        executor: Any = InlineExecutor() if inline else Held()
        self.now = 100.0
        self.stopped = False
        services = WSGIServices(
            application,
            executor,
            self.post,
            ServerFacts(),
            lambda what, error: self.reported.append(error),
            1_000,
            lambda: waiting_count,
            10,
            lambda exchange: pytest.fail("nobody asked for an upgrade"),
            executor,
            places_count,
            self.waited.append,
            lambda: self.now,
        )
        self.handler = WSGIHandler(services)

    def post(self, function: Callable[..., object], *args: object, nbytes: int = 0) -> None:
        if self.stopped:
            raise ServerStopped("the server has stopped")
        function(*args)

    def run(self, exchange: FakeExchange) -> list[Any]:
        self.handler.request_received(exchange)  # type: ignore[arg-type]
        return exchange.calls


def answering(*pieces: bytes, headers: Any = (), status: str = "200 OK") -> Application:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, list(headers))
        return iter(pieces)

    return application


ANSWERS = {
    "nothing": (answering(), [("respond", "200 OK", b"")]),
    "first piece is all of it": (
        answering(b"abc", headers=[("Content-Length", "3")]),
        [("respond", "200 OK", b"abc")],
    ),
    "pieces": (answering(b"", b"a", b"b"), [("start", "200 OK", b"a"), ("write", b"b"), "finish"]),
    "more than announced": (
        answering(b"abc", b"d", headers=[("Content-Length", "3")]),
        [("start", "200 OK", b"abc"), ("write", b"d"), "finish"],
    ),
}


@pytest.mark.parametrize(("application", "calls"), ANSWERS.values(), ids=ANSWERS)
def test_answers_r14(application: Application, calls: list[Any]) -> None:
    assert Bench(application).run(FakeExchange()) == calls


def test_a_streamed_answer_waits_for_no_collector() -> None:
    exchange = FakeExchange()
    exchange.blocked = True  # its client has not taken it yet
    Bench(answering(b"a", b"b")).run(exchange)
    queue = weakref.ref(exchange.context._response)
    gc.disable()
    try:
        exchange.context = exchange.on_writable = None  # as at its end
        assert queue() is None
    finally:
        gc.enable()


def test_a_whole_list_is_one_post_r13() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"a", b"b"]

    assert Bench(application).run(FakeExchange()) == [("respond", "200 OK", b"ab")]


def failing(after: int) -> Application:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not after:
            raise RuntimeError("fault")
        start_response("200 OK", [])
        yield b"first"
        yield b"second"
        raise RuntimeError("fault")

    return application


def test_a_fault_before_the_answer_is_500_and_logged_r6() -> None:
    bench = Bench(failing(0))
    calls = bench.run(FakeExchange())
    assert calls == ["close after it", ("respond", 500, b"Internal Server Error\n")]
    assert [str(error) for error in bench.reported] == ["fault"]


def test_a_late_fault_aborts_r6() -> None:
    assert Bench(failing(1)).run(FakeExchange()) == [
        ("start", "200 OK", b"first"),
        ("write", b"second"),
        "abort",
    ]


def test_too_long_a_queue_is_503() -> None:
    calls = Bench(answering(), waiting_count=10).run(FakeExchange())
    assert calls == ["close after it", ("respond", 503, b"The server is busy.\n")]


def test_a_worker_is_taken_once_the_body_is_there_or_long_enough() -> None:
    for pieces, ends in (([b"ab"], True), ([bytes(BODY_AHEAD_BYTES)], False)):
        bench = Bench(answering(), inline=False)
        exchange: Any = FakeExchange(100_000)
        bench.run(exchange)
        assert bench.jobs == []
        for piece in pieces:
            bench.handler.body_received(exchange, piece)
        assert len(bench.jobs) == (0 if ends else 1)
        bench.handler.body_ended(exchange)
        assert len(bench.jobs) == 1


def test_a_client_that_asks_for_100_gets_its_worker_at_once() -> None:
    bench = Bench(answering(), inline=False)
    bench.run(FakeExchange(5, expect_continue=True))
    assert len(bench.jobs) == 1


def stalling(bench: Bench, kind: str) -> Any:
    """A request whose worker would wait for its client: it asks for 100, or has begun a large body."""
    exchange: Any = FakeExchange(100_000, expect_continue=kind == "expecting")
    bench.run(exchange)
    if kind == "large":
        bench.handler.body_received(exchange, bytes(BODY_AHEAD_BYTES))
    return exchange


@pytest.mark.parametrize("kind", ["expecting", "large"])
def test_requests_that_wait_for_their_clients_never_hold_all_workers(kind: str) -> None:
    bench = Bench(answering(), inline=False, places_count=2)
    stalled = [stalling(bench, kind) for _ in range(5)]
    assert len(bench.jobs) == 2
    bench.run(FakeExchange())  # without a body: no place is needed
    assert len(bench.jobs) == 3
    bench.handler.body_ended(stalled[0])  # complete while it runs: its place goes to the next
    assert len(bench.jobs) == 4
    bench.handler.body_ended(stalled[3])  # complete while it stands in line
    assert len(bench.jobs) == 5
    bench.handler.exchange_lost(stalled[4], "reset")  # left while it stood in line
    for job in bench.jobs:
        job()
    assert len(bench.jobs) == 5
    assert len({id(job) for job in bench.jobs}) == 5
    for _ in range(2):  # both places are free again
        stalling(bench, kind)
    assert len(bench.jobs) == 7


def test_an_application_that_does_not_read_frees_its_place_at_its_end() -> None:
    bench = Bench(answering(), places_count=1)
    for _ in range(3):
        assert stalling(bench, "expecting").calls == [("respond", "200 OK", b"")]


def test_the_line_counts_as_waiting_and_is_bounded() -> None:
    bench = Bench(answering(), inline=False, waiting_count=8, places_count=1)
    calls = [stalling(bench, "expecting").calls for _ in range(4)]
    assert calls == [[], [], [], ["close after it", ("respond", 503, b"The server is busy.\n")]]


def test_a_long_wait_in_line_is_told() -> None:
    bench = Bench(answering(), inline=False, places_count=1)
    first, _ = stalling(bench, "expecting"), stalling(bench, "expecting")
    bench.now += 2.5
    bench.handler.body_ended(first)
    assert bench.waited == [2.5]


def test_100_is_sent_on_the_first_read_only() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read(2), environ["wsgi.input"].read()]

    bench = Bench(application, inline=False)
    exchange: Any = FakeExchange(4, expect_continue=True)
    bench.run(exchange)
    bench.handler.body_received(exchange, b"abcd")
    bench.handler.body_ended(exchange)
    bench.jobs[0]()
    assert exchange.calls == ["100", ("respond", "200 OK", b"abcd")]


def test_a_full_window_pauses_and_reading_resumes() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()[:1]]

    bench = Bench(application, inline=False)
    exchange: Any = FakeExchange(BODY_AHEAD_BYTES)
    bench.run(exchange)
    bench.handler.body_received(exchange, bytes(BODY_AHEAD_BYTES))
    assert exchange.calls == ["pause"]
    bench.handler.body_ended(exchange)
    bench.jobs[0]()
    assert exchange.calls[:2] == ["pause", "resume"]


def test_no_interleaving_leaves_an_upload_paused_for_ever() -> None:
    """The worker empties the window between the loop's look at it and the pause: the loop looks again."""
    bench = Bench(answering(), inline=False)
    exchange: Any = FakeExchange(10_000)
    bench.run(exchange)
    body = exchange.context.body
    pause = exchange.pause_body

    def drained_first(paused: bool) -> None:
        if paused:
            while body.held_bytes:
                body.get()
            assert not exchange.body_paused  # the worker saw no pause
        pause(paused)

    exchange.pause_body = drained_first
    bench.handler.body_received(exchange, bytes(2_000))
    assert exchange.calls == ["pause", "resume"]


def test_a_lost_client_breaks_the_body_off_and_is_not_reported_r2() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        return []

    bench = Bench(application, inline=False)
    exchange: Any = FakeExchange(5, expect_continue=True)
    bench.run(exchange)
    run = exchange.context
    bench.handler.exchange_lost(exchange, "end of stream")
    assert exchange.context is run
    bench.handler.exchange_lost(exchange, "reset")
    assert exchange.context is None
    with pytest.raises(StreamBroken):
        run.body.get()
    bench.jobs[0]()
    assert bench.reported == []


@pytest.mark.parametrize("body_length", [0, 5])
def test_an_answer_that_comes_after_the_server_s_end_is_no_fault(body_length: int) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        bench.stopped = True
        return answering(b"late")(environ, start_response)

    bench = Bench(application, inline=False)
    exchange: Any = FakeExchange(body_length, expect_continue=True)
    assert bench.run(exchange) == []
    bench.jobs[0]()
    assert bench.reported == []
    assert exchange.calls == []


def test_a_large_body_goes_out_in_pieces_as_the_client_takes_them() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [bytes(3_000_000)]

    bench = Bench(application)
    exchange = FakeExchange()
    exchange.blocked = True
    bench.run(exchange)
    assert exchange.calls == [("start", "200 OK", b"")]
    exchange.blocked = False
    exchange.on_writable()
    assert exchange.calls[-1] == "finish"
    assert sum(len(call[1]) for call in exchange.calls[1:-1]) == 3_000_000
    assert max(len(call[1]) for call in exchange.calls[1:-1]) == 262_144


# Environ


# wsgi.file_wrapper
