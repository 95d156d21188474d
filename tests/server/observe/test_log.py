"""Access lines: every atom, both formats, what a client may not write into them; complaints (observe/log.py).

It must not know who is observed.
"""

import io
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from python_server.http1.parser import Request
from python_server.net.line_writer import LineWriter
from python_server.observe import log as observe
from python_server.observe.log import AccessLog, Faults, Observer


class Kept(logging.Handler):
    """Keeps the lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, level = Kept(), observe.ACCESS.level
    observe.ACCESS.addHandler(handler)
    observe.ACCESS.setLevel(logging.INFO)
    yield handler
    observe.ACCESS.removeHandler(handler)
    observe.ACCESS.setLevel(level)


def asked(**more: Any) -> Request:
    fields = {"referer": "http://r.test/", "user-agent": 'A "quoted" agent\n'}
    made = Request("GET", "/a%20b?q=1", "/a b", "q=1", (1, 1), [], fields=fields)
    made.peer = ("10.0.0.9", 5)
    for name, value in more.items():
        setattr(made, name, value)
    return made


ATOMS = {
    "h": "10.0.0.9",
    "r": "GET /a%20b?q=1 HTTP/1.1",
    "s": "404",
    "b": "12",
    "L": "0.001500",
    "D": "1500",
    "m": "GET",
    "U": "/a b",
    "q": "q=1",
    "f": "http://r.test/",
    "a": "A \\x22quoted\\x22 agent\\n",
    "p": str(os.getpid()),
    "l": "-",
    "u": "-",
}


@pytest.mark.parametrize(("atom", "text"), ATOMS.items(), ids=ATOMS)
def test_atom(kept: Kept, atom: str, text: str) -> None:
    AccessLog(f"<%({atom})s>").write(asked(), 404, 12, 0.0015)
    assert kept.lines == [f"<{text}>"]


def test_time_is_local_with_its_offset(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AccessLog("%(t)s")
    for now in (784_111_777.9, 784_111_778.1):
        monkeypatch.setattr(observe.time, "time", lambda now=now: now)
        log.write(asked(), 200, 0, 0.0)
    expected = [
        time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second)) for second in (784_111_777, 784_111_778)
    ]
    assert kept.lines == expected


def test_formats_by_name(kept: Kept) -> None:
    for name in ("common", "combined"):
        AccessLog(name).write(asked(), 200, 5, 0.25)
    common, combined = kept.lines
    assert common.startswith("10.0.0.9 - - [")
    assert common.endswith('] "GET /a%20b?q=1 HTTP/1.1" 200 5 0.250000')
    assert combined.endswith('200 5 "http://r.test/" "A \\x22quoted\\x22 agent\\n"')


def test_a_refused_request_and_a_unix_socket_have_dashes(kept: Kept) -> None:
    AccessLog('%(h)s "%(r)s"').write(asked(method="", peer=""), 400, 5, 0.0)
    assert kept.lines == ['- "-"']


def test_nothing_is_written_while_nobody_listens(kept: Kept) -> None:
    observe.ACCESS.setLevel(logging.CRITICAL)
    AccessLog().write(asked(), 200, 5, 0.0)
    assert kept.lines == []


@pytest.mark.parametrize("line_format", ["%(z)s", "%(h", "%s %s"])
def test_malformed_formats_are_refused_at_start(line_format: str) -> None:
    with pytest.raises(ValueError, match="access log format"):
        AccessLog(line_format)


def test_a_complaint_is_counted_always_and_said_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [50.0]
    monkeypatch.setattr(observe.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(observe.LOGGER, "propagate", True)
    observer = Observer()
    for _ in range(3):
        observer.complain("kind", "said")
        now[0] += 6.0
    assert observer.counts["kind"] == 3
    assert [record.getMessage() for record in caplog.records] == [
        "said",
        "said (and 1 more of the same before)",
    ]


class Told:
    """What the error log holds, on a told clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self.now = 50.0
        self._caplog = caplog
        monkeypatch.setattr(observe.time, "monotonic", lambda: self.now)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._caplog.records]

    @property
    def tracebacks_count(self) -> int:
        return sum(record.exc_info is not None for record in self._caplog.records)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Told:
    monkeypatch.setattr(observe.LOGGER, "propagate", True)
    return Told(monkeypatch, caplog)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


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
    assert told.tracebacks_count == observe.FAULT_KINDS_MAX_COUNT + observe.FAULTS_BURST_COUNT
    told.now += 10.0
    faults.say_what_is_over()
    assert not faults._kinds


# The two logs, as a server sets them up


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody has set up anything."""
    loggers = (observe.LOGGER, observe.ACCESS)
    former = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        monkeypatch.setattr(logger, "handlers", [])
    yield
    for logger, (handlers, level, propagate) in zip(loggers, former, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def flush() -> None:
    for logger in (observe.ACCESS, observe.LOGGER):
        for handler in logger.handlers:
            handler.flush()


@pytest.mark.usefixtures("bare")
def test_files_that_are_moved_away_are_opened_anew(tmp_path: Path) -> None:
    access, error = tmp_path / "access", tmp_path / "error"
    observe.configure_logging("info", str(access), str(error), "worker 3", writer=LineWriter)
    observe.say("first")
    AccessLog("%(s)s").write(asked(), 200, 0, 0.0)
    flush()
    for path in (access, error):
        path.rename(path.with_suffix(".1"))
    observe.reopen_logs()
    while not (access.exists() and error.exists()):
        pass
    observe.warn("second")
    AccessLog("%(s)s").write(asked(), 201, 0, 0.0)
    flush()
    assert access.with_suffix(".1").read_text() == "200\n"
    assert access.read_text() == "201\n"
    assert error.with_suffix(".1").read_text().endswith("] INFO worker 3: first\n")
    assert error.read_text().endswith("] WARNING worker 3: second\n")


@pytest.mark.usefixtures("bare")
def test_a_file_whose_folder_has_gone_is_still_written(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    observe.configure_logging("info", None, str(folder / "error"), writer=LineWriter)
    held = (folder / "error").open()
    shutil.rmtree(folder)
    observe.say("first")
    flush()
    assert held.read().endswith("first\n")
    held.close()


@pytest.mark.usefixtures("bare")
def test_a_stream_without_a_descriptor_and_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "stdout", None)
    observe.configure_logging("info", "-", writer=LineWriter)
    observe.say("said")
    AccessLog("%(s)s").write(asked(), 200, 0, 0.0)
    flush()
    assert stream.getvalue().endswith("INFO said\n")


@pytest.mark.usefixtures("bare")
def test_a_fault_that_holds_what_a_client_sent_is_cut(tmp_path: Path) -> None:
    observe.configure_logging("info", None, str(tmp_path / "error"), writer=LineWriter)
    Faults().report("handler", raised(ValueError("x" * 1_000_000)))
    observe.LOGGER.error("%d", "no number")
    flush()
    text = (tmp_path / "error").read_text()
    assert len(text) < 70_000
    assert "xxx ... (1000" in text
    assert text.endswith("a line of the log could not be made: TypeError\n")


@pytest.mark.usefixtures("bare")
def test_what_was_left_out_is_said_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults()
    monkeypatch.setattr(observe, "FAULTS", faults)
    observe.configure_logging("info", None, str(tmp_path / "error"), writer=LineWriter)
    for _ in range(15):
        faults.report("handler", raised(KeyError()))
    flush()
    assert (tmp_path / "error").read_text().count("and 5 more of the same: handler failed, KeyError in ") == 1


@pytest.mark.usefixtures("bare")
def test_an_applications_own_handlers_are_left_alone() -> None:
    own = Kept()
    logging.getLogger().addHandler(own)
    observe.configure_logging("info", "-", writer=LineWriter)
    assert observe.LOGGER.handlers == observe.ACCESS.handlers == []
