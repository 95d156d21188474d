"""Access lines: every atom, both formats, what a client may not write into them (observe/access_log.py).

It must not know where a line goes.
"""

import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from python_server.http1.parser import Request
from python_server.observe import access_log
from python_server.observe.access_log import AccessLog
from python_server.observe.log import ACCESS


class Kept(logging.Handler):
    """Keeps the lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, level = Kept(), ACCESS.level
    ACCESS.addHandler(handler)
    ACCESS.setLevel(logging.INFO)
    yield handler
    ACCESS.removeHandler(handler)
    ACCESS.setLevel(level)


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
    lines = AccessLog("%(t)s")
    for now in (784_111_777.9, 784_111_778.1):
        monkeypatch.setattr(access_log.time, "time", lambda now=now: now)
        lines.write(asked(), 200, 0, 0.0)
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
    ACCESS.setLevel(logging.CRITICAL)
    AccessLog().write(asked(), 200, 5, 0.0)
    assert kept.lines == []


@pytest.mark.parametrize("line_format", ["%(z)s", "%(h", "%s %s"])
def test_malformed_formats_are_refused_at_start(line_format: str) -> None:
    with pytest.raises(ValueError, match="access log format"):
        AccessLog(line_format)
