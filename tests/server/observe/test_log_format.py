"""Lines of the error log as text and as JSON, whatever they hold (observe/log_format.py).

It must not know where lines go.
"""

import json
import logging
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_server.observe.log_format import (
    RECORD_MAX_BYTES,
    JSONFormatter,
    TextFormatter,
    formatter_of,
    iso_time,
    json_line,
)

LOGGER = "python_server"


def record(message: str, level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord(
        LOGGER, level, __file__, 1, message, more.pop("args", ()), more.pop("fault", None)
    )
    for name, value in more.items():
        setattr(made, name, value)
    return made


def fault() -> Any:
    try:
        raise ValueError("of /?sid=abc")
    except ValueError:
        return sys.exc_info()


def test_text() -> None:
    line = TextFormatter("worker 3").format(record("said %s", args=("/?sid=abc",)))
    assert re.fullmatch(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] INFO worker 3: said /\?sid=\*\*\*", line)
    assert TextFormatter().format(record("said")).endswith("] INFO said")
    assert "ValueError: of /?sid=***" in TextFormatter().format(record("it failed", fault=fault()))


def test_json() -> None:
    made = record("said %s", args=("/?sid=abc",), fault=fault(), event="a", namespace="/", sid="x..")
    line = json.loads(JSONFormatter("worker 3").format(made))
    assert line.pop("time").count("T") == 1
    assert line.pop("exc").endswith("ValueError: of /?sid=***")
    assert line == {
        "level": "INFO",
        "logger": LOGGER,
        "process": made.process,
        "worker": "worker 3",
        "message": "said /?sid=***",
        "event": "a",
        "namespace": "/",
        "sid": "x..",
    }
    assert set(json.loads(JSONFormatter().format(record("said")))) == {
        "time",
        "level",
        "logger",
        "process",
        "message",
    }


def test_the_time_has_its_zone() -> None:
    assert re.fullmatch(r"1994-11-0\dT\d\d:\d\d:37\.500[+-]\d\d:\d\d", iso_time(784_111_777.5))


@given(st.dictionaries(st.text(), st.text() | st.text(alphabet=st.characters(categories=["Cs", "Cc", "Zl"]))))
def test_any_text_is_one_valid_line(fields: dict[str, str]) -> None:
    line = json_line(fields)
    assert line.isascii()
    assert line.isprintable()
    read = json.loads(line)
    assert read.keys() == {**fields}.keys()
    json.dumps(read, ensure_ascii=False).encode()  # no lone surrogate is left


@pytest.mark.parametrize("character", ["x", '"', "\x00", "\u2028", "\U0001f600", "\ud800"])
@pytest.mark.parametrize("count", [1, 2, 14])
def test_a_long_record_is_cut_and_stays_valid(character: str, count: int) -> None:
    fields: dict[str, Any] = {f"field {number}": character * 100_000 for number in range(count)}
    line = json_line({"status": 200, "nothing": None, **fields})
    assert len(line) <= RECORD_MAX_BYTES
    read = json.loads(line)
    assert read["status"] == 200
    assert read["cut_from_bytes"] > RECORD_MAX_BYTES
    assert all(read[name] for name in fields)


def test_the_formatter_by_name() -> None:
    assert isinstance(formatter_of("json", ""), JSONFormatter)
    assert isinstance(formatter_of("text", ""), TextFormatter)
