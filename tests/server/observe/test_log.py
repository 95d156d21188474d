"""The two logs as a server sets them up; of faults of one kind the first, and a number (observe/log.py).

It must not know who is observed.
"""

import io
import json
import logging
import re
import shutil
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from python_server.net.line_writer import LineWriter
from python_server.observe import log
from python_server.observe.log import Faults


class PatientWriter(LineWriter):
    """A flush ends when all is written: its thread may be late."""

    def flush(self, timeout_seconds: float = 60.0) -> None:
        super().flush(timeout_seconds)


# How lines leave.
LINES = partial(PatientWriter, monotonic=time.monotonic)


class Told:
    """What the error log holds, on a told clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self.now = 50.0
        self._caplog = caplog
        monkeypatch.setattr(log.time, "monotonic", lambda: self.now)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._caplog.records]

    @property
    def tracebacks_count(self) -> int:
        return sum(record.exc_info is not None for record in self._caplog.records)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Told:
    monkeypatch.setattr(log.LOGGER, "propagate", True)
    return Told(monkeypatch, caplog)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_who_has_served_for_a_while_has_the_loggers_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "FAULTS", faults := Faults())
    loggers = (log.LOGGER, log.ACCESS, log.SOCKETIO, log.ENGINEIO)
    found = [(each.level, each.propagate, each.handlers[:]) for each in loggers]
    with log.restoring():
        path = str(tmp_path / "log")
        log.debug_lines(log.SOCKETIO, True)
        log.configure_logging("debug", path, path, writer=LINES)
        writers = [handler.writer for each in (log.LOGGER, log.ACCESS) for handler in each.handlers]
        for _ in range(log.FAULTS_BURST_COUNT + 2):
            faults.report("a handler", raised(KeyError()))
    assert [(each.level, each.propagate, each.handlers[:]) for each in loggers] == found
    assert "and 2 more of the same: a handler failed" in Path(path).read_text()
    assert [writer._running for writer in writers] == [False, False]
    faults.report("a handler", raised(KeyError()))
    assert [next(kind.numbers) for kind in faults._kinds.values()] == [1]  # they are counted anew


def test_of_faults_of_one_kind_the_first_have_tracebacks_and_the_rest_a_number(told: Told) -> None:
    faults = Faults()
    for number in range(1_000):  # a client chooses the name
        faults.report(f"handler of event 'boom{number}'", raised(KeyError()))
    assert told.tracebacks_count == len(told.lines) == 10
    told.now += 10.0
    faults.report("handler of event 'boom'", raised(KeyError(0)))
    assert told.tracebacks_count == 11
    assert len(told.lines) == 12
    said = r"and 990 more of the same: handler of event 'boom0' failed, KeyError in \S+test_log\.py:\d+"
    assert re.fullmatch(said, told.lines[10])


def test_a_fault_names_its_event_namespace_and_client(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    what = log.Named.of("handler of event 'a'", event="a", namespace="/x\n", sid="3.abcdef..")
    Faults().report(what, raised(KeyError()))
    Faults().report("GET /?sid=abc", raised(KeyError()))
    assert told.lines == [
        "handler of event 'a' failed (namespace '/x\\n', sid '3.abcdef..')",
        "GET /?sid=*** failed",
    ]
    first = caplog.records[0]
    assert (first.event, first.namespace, first.sid) == ("a", "/x\n", "3.abcdef..")  # type: ignore[attr-defined]


@pytest.mark.usefixtures("bare")
def test_a_log_in_json(tmp_path: Path) -> None:
    log.configure_logging("info", None, str(tmp_path / "log"), "worker 1", log_format="json", writer=LINES)
    log.say("first\nline /?sid=abc")
    Faults().report(log.Named.of("handler", event="\ud800"), raised(ValueError("x" * 1_000_000)))
    flush()
    first, second = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (first["message"], first["worker"]) == ("first\nline /?sid=***", "worker 1")
    assert second["event"] == "?"
    assert second["exc"].startswith("Traceback")


@pytest.fixture
def debug_loggers() -> Iterator[None]:
    levels = [(each, each.level) for each in (log.LOGGER, log.SOCKETIO, log.ENGINEIO)]
    yield
    for each, level in levels:
        each.setLevel(level)


@pytest.mark.usefixtures("debug_loggers")
def test_debug_lines_are_for_who_asks_for_them() -> None:
    log.LOGGER.setLevel("INFO")
    assert log.debug_lines(log.SOCKETIO) is None
    assert log.debug_lines(log.SOCKETIO, False) is None
    assert log.debug_lines(log.SOCKETIO, logging.getLogger("a program's")) is not None
    assert not log.SOCKETIO.isEnabledFor(logging.DEBUG)
    assert log.debug_lines(log.SOCKETIO, True) is not None
    # Another server of the same process has not asked.
    assert log.debug_lines(log.SOCKETIO, False) is None
    assert not log.SOCKETIO.isEnabledFor(logging.DEBUG)
    log.LOGGER.setLevel("DEBUG")
    assert log.debug_lines(log.ENGINEIO) == log.ENGINEIO.debug


@pytest.mark.usefixtures("bare")
def test_a_record_that_cannot_be_written_is_an_object_too(tmp_path: Path) -> None:
    class Unspeakable:
        def __str__(self) -> str:
            raise ValueError

    log.configure_logging("info", None, str(tmp_path / "log"), log_format="json", writer=LINES)
    log.LOGGER.info("first", extra={"sid": Unspeakable()})
    flush()
    told = json.loads((tmp_path / "log").read_text())
    assert told["message"] == "a line of the log could not be made: ValueError"
    assert told["level"] == "INFO"


@pytest.mark.usefixtures("debug_loggers")
def test_who_asked_has_debug_lines_where_the_log_goes(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    log.LOGGER.setLevel("WARNING")
    debug = log.debug_lines(log.SOCKETIO, True)
    assert debug is not None
    debug("event 'x' of session 1.abcdef..")
    assert told.lines == ["event 'x' of session 1.abcdef.."]
    assert caplog.records[0].name == log.SOCKETIO.name


def test_a_logger_of_the_programs_may_raise(told: Told) -> None:
    class Own:
        said = ""

        def info(self, text: str, *, extra: dict[str, str]) -> None:
            self.said += text
            raise OSError("disk full")

    own = Own()
    debug = log.debug_lines(log.SOCKETIO, own)
    assert debug is not None
    debug("refused GET '/?sid=abc'", extra={"sid": "x"})
    assert own.said == "refused GET '/?sid=***"
    assert told.lines == ["logger= of the program failed"]


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(("said", "shown"), [("GET /?sid=abc", "GET /?sid=***"), ("no secret", "no secret")])
def test_a_logger_of_the_applications_gets_no_secret(
    said: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    log.log_into(log.LOGGER, logging.getLogger("a program's"), writer=LINES)
    Faults().report("handler", raised(ValueError(said)))
    assert f"ValueError: {shown}\n" in caplog.text
    assert "abc" not in caplog.text
    assert (caplog.records[0].exc_info is None) is (said != shown)


def test_another_kind_of_fault_has_a_number_of_its_own(told: Told) -> None:
    faults = Faults()
    for _ in range(11):
        faults.report("handler", raised(KeyError()))
    faults.report("handler", raised(ValueError()))
    faults.report("handler", ValueError("never raised"))
    assert told.tracebacks_count == 12


def test_the_number_is_said_though_no_further_fault_comes(told: Told) -> None:
    faults = Faults()
    for _ in range(12):
        faults.report("handler", raised(KeyError()))
    faults.say_what_is_over()
    assert len(told.lines) == 10
    told.now += 10.0
    faults.say_what_is_over()
    faults.say_what_is_over()
    assert [line.partition(":")[0] for line in told.lines[10:]] == ["and 2 more of the same"]
    faults.report("handler", raised(KeyError()))
    faults.say_all()  # nothing was left out
    assert len(told.lines) == 12


def test_generated_code_makes_no_kinds_without_bound(told: Told) -> None:
    faults = Faults()
    for number in range(2_000):
        try:
            exec(compile("1 / 0", f"<generated {number}>", "exec"))
        except ZeroDivisionError as error:
            faults.report("handler", error)
    assert told.tracebacks_count == log.FAULT_KINDS_MAX_COUNT + log.FAULTS_BURST_COUNT
    told.now += 10.0
    faults.say_what_is_over()
    assert not faults._kinds


# The two logs, as a server sets them up


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody has set up anything."""
    loggers = (log.LOGGER, log.ACCESS)
    former = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        monkeypatch.setattr(logger, "handlers", [])
    yield
    for logger, (handlers, level, propagate) in zip(loggers, former, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def flush() -> None:
    for logger in (log.ACCESS, log.LOGGER):
        for handler in logger.handlers:
            handler.flush()


@pytest.mark.usefixtures("bare")
def test_files_that_are_moved_away_are_opened_anew(tmp_path: Path) -> None:
    access, error = tmp_path / "access", tmp_path / "error"
    log.configure_logging("info", str(access), str(error), "worker 3", writer=LINES)
    log.say("first")
    log.ACCESS.info("200")
    flush()
    for path in (access, error):
        path.rename(path.with_suffix(".1"))
    log.reopen_logs()
    while not (access.exists() and error.exists()):
        pass
    log.warn("second")
    log.ACCESS.info("201")
    flush()
    assert access.with_suffix(".1").read_text() == "200\n"
    assert access.read_text() == "201\n"
    assert error.with_suffix(".1").read_text().endswith("] INFO worker 3: first\n")
    assert error.read_text().endswith("] WARNING worker 3: second\n")


@pytest.mark.usefixtures("bare")
def test_a_file_whose_folder_has_gone_is_still_written(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log.configure_logging("info", None, str(folder / "error"), writer=LINES)
    held = (folder / "error").open()
    shutil.rmtree(folder)
    log.say("first")
    flush()
    assert held.read().endswith("first\n")
    held.close()


@pytest.mark.usefixtures("bare")
def test_a_stream_without_a_descriptor_and_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "stdout", None)
    log.configure_logging("info", "-", writer=LINES)
    log.say("said")
    log.ACCESS.info("200")
    flush()
    assert stream.getvalue().endswith("INFO said\n")


@pytest.mark.usefixtures("bare")
def test_a_fault_that_holds_what_a_client_sent_is_cut(tmp_path: Path) -> None:
    log.configure_logging("info", None, str(tmp_path / "error"), writer=LINES)
    Faults().report("handler", raised(ValueError("x" * 1_000_000)))
    log.LOGGER.error("%d", "no number")
    flush()
    text = (tmp_path / "error").read_text()
    assert len(text) < 70_000
    assert "xxx ... (1000" in text
    assert text.endswith("a line of the log could not be made: TypeError\n")


@pytest.mark.usefixtures("bare")
def test_what_was_left_out_is_said_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults()
    monkeypatch.setattr(log, "FAULTS", faults)
    log.configure_logging("info", None, str(tmp_path / "error"), writer=LINES)
    for _ in range(15):
        faults.report("handler", raised(KeyError()))
    flush()
    assert (tmp_path / "error").read_text().count("and 5 more of the same: handler failed, KeyError in ") == 1


class Failing:
    """A writer whose place takes nothing: what waits is dropped when it is flushed."""

    def __init__(self) -> None:
        self.waiting_count = self.dropped_count = 0

    def add(self, line: bytes) -> None:
        self.waiting_count += 1

    def wake(self) -> None:
        pass

    def flush(self) -> None:
        self.dropped_count, self.waiting_count = self.dropped_count + self.waiting_count, 0

    def untold_count(self) -> int:
        count, self.dropped_count = self.dropped_count, 0
        return count


@pytest.mark.usefixtures("bare")
def test_lines_that_are_dropped_at_the_end_are_said_with_those_before(tmp_path: Path) -> None:
    failing = Failing()

    def writer(name: str, *place: Any, **more: Any) -> Any:
        return failing if name == "access log" else LINES(name, *place, **more)

    log.configure_logging("info", str(tmp_path / "access"), str(tmp_path / "error"), writer=writer)
    log.ACCESS.info("dropped before")
    failing.flush()
    log.ACCESS.info("still waiting")
    flush()
    flush()
    assert re.findall(r"\d+ lines of the access log", (tmp_path / "error").read_text()) == [
        "2 lines of the access log"
    ]


@pytest.mark.usefixtures("bare")
def test_an_applications_own_handlers_are_left_alone() -> None:
    own = logging.NullHandler()
    logging.getLogger().addHandler(own)
    log.configure_logging("info", "-", writer=LINES)
    assert log.LOGGER.handlers == log.ACCESS.handlers == []
