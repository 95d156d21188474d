"""A generator as a stream: its worker comes and goes, it is closed once, what it raises is told.

It must not know sockets; jobs run when the test says so.
"""

import contextvars
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from event_source import FakeExchange, read_events
from python_server.net.threads import ServerStopped
from python_server.wsgi.generator_stream import BURST_BYTES, HEARTBEAT_SECONDS, GeneratorStream
from told_time import Clock


class Stage(Clock):
    """A loop and its workers, of which none runs by itself."""

    def __init__(self, values: Iterator[Any]) -> None:
        super().__init__()
        self.posted: list[Callable[[], None]] = []
        self.jobs: list[Callable[[], None]] = []
        self.reports: list[str] = []
        self.exchange: Any = FakeExchange()
        self.stream = GeneratorStream(
            values,
            json.dumps,
            "",
            self.post,
            self.call_later,
            lambda what, error: self.reports.append(str(error)),
        )

    def post(self, function: Callable[..., None], *args: Any, nbytes: int = 0) -> None:
        self.posted.append(lambda: function(*args))

    def report(self, what: str, error: BaseException) -> None:
        self.reports.append(str(error))

    def submit(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def begin(self) -> "Stage":
        self.stream.begin(self.exchange, self)  # type: ignore[arg-type]
        return self

    def work(self) -> None:
        """The next job, then what it has posted."""
        self.jobs.pop(0)()
        while self.posted:
            self.posted.pop(0)()

    @property
    def events(self) -> list[tuple[str, Any]]:
        return read_events(self.exchange.text)[0]


def test_each_value_is_an_event_and_the_end_is_told() -> None:
    stage = Stage(iter([1, {"a": "b"}])).begin()
    stage.work()
    assert stage.events == [("message", 1), ("message", {"a": "b"}), ("end", None)]
    assert stage.exchange.finished
    assert not any(timer.function for timer in stage.timers)


def noting(notes: list[str], size: int = 30_000) -> Iterator[str]:
    try:
        while True:
            notes.append("made")
            yield "x" * size
    finally:
        notes.append("closed")


def test_no_worker_waits_for_a_client_that_is_behind() -> None:
    notes: list[str] = []
    stage = Stage(noting(notes)).begin()
    stage.exchange.blocked = True
    stage.work()
    assert notes == ["made"] * (BURST_BYTES // 30_000 + 1)
    assert stage.jobs == []  # the worker is free
    stage.exchange.blocked = False
    stage.exchange.on_writable()
    assert len(stage.jobs) == 1
    stage.exchange.on_writable()  # it runs already
    assert len(stage.jobs) == 1
    stage.work()
    assert len(stage.jobs) == 1  # its client takes it: it goes on


def test_who_goes_while_nobody_runs_it_closes_it() -> None:
    notes: list[str] = []
    stage = Stage(noting(notes)).begin()
    stage.exchange.blocked = True
    stage.work()
    stage.stream.lost()
    stage.work()
    assert (notes.count("closed"), stage.jobs, stage.reports) == (1, [], [])


def test_one_that_never_begins_is_closed_by_a_worker() -> None:
    notes: list[str] = []
    values = noting(notes)
    next(values)
    stage = Stage(values)
    stage.stream.drop(stage)  # type: ignore[arg-type]
    assert notes == ["made"]
    stage.work()
    assert (notes, stage.jobs, stage.reports) == (["made", "closed"], [], [])


def test_who_goes_while_it_runs_closes_it_at_its_next_value() -> None:
    notes: list[str] = []
    stage: Any = None

    def values() -> Iterator[int]:
        try:
            yield 1
            stage.stream.lost()
            yield 2
            notes.append("never")
        finally:
            notes.append("closed")

    stage = Stage(values()).begin()
    stage.work()
    stage.work()
    assert (notes, stage.jobs) == (["closed"], [])


@pytest.mark.parametrize("raised", [RuntimeError("on purpose"), SystemExit("on purpose")])
def test_one_that_fails(raised: BaseException) -> None:
    def values() -> Iterator[int]:
        yield 1
        raise raised

    stage = Stage(values()).begin()
    stage.work()
    assert stage.events == [("message", 1), ("failed", None)]
    assert stage.exchange.finished
    assert stage.reports == ["on purpose"]


def test_a_value_that_cannot_be_written_ends_it() -> None:
    notes: list[str] = []

    def values() -> Iterator[object]:
        try:
            yield object()
        finally:
            notes.append("closed")
            raise RuntimeError("at its end")

    stage = Stage(values()).begin()
    stage.work()
    assert stage.events == [("failed", None)]
    assert notes == ["closed"]
    assert stage.reports[1:] == ["at its end"]


def test_it_finds_its_own_context_on_every_worker() -> None:
    word: contextvars.ContextVar[str] = contextvars.ContextVar("word")
    seen: list[str] = []

    def values() -> Iterator[str]:
        token = word.set("own")
        yield "x" * BURST_BYTES
        seen.append(word.get())
        word.reset(token)

    stage = Stage(values()).begin()
    stage.work()
    contextvars.copy_context().run(stage.work)
    assert seen == ["own"]
    assert stage.events[-1] == ("end", None)


def test_a_heartbeat_while_it_thinks() -> None:
    stage = Stage(iter(())).begin()
    stage.advance(HEARTBEAT_SECONDS)
    assert stage.exchange.text == ":\n\n"
    stage.exchange.blocked = True
    stage.advance(HEARTBEAT_SECONDS)
    assert stage.exchange.text == ":\n\n"


def test_a_server_that_stops() -> None:
    notes: list[str] = []
    stage = Stage(noting(notes)).begin()

    def stopped(*args: Any, **more: Any) -> None:
        raise ServerStopped

    stage.stream.post = stopped
    stage.jobs.pop(0)()
    assert notes == ["made", "closed"]


def test_who_goes_behind_the_last_look_of_its_worker() -> None:
    notes: list[str] = []
    stage = Stage(noting(notes, BURST_BYTES)).begin()
    stage.jobs.pop(0)()  # it has posted that it rests
    stage.stream.lost()
    while stage.posted:
        stage.posted.pop(0)()
    stage.work()
    assert (notes, stage.jobs, stage.reports) == (["made", "closed"], [], [])
