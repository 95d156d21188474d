"""Access lines: every atom, both formats, what a client may not write into them (observe/access_log.py).

It must not know where a line goes.
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from hypothesis import given
from hypothesis import strategies as st

from batches import in_batches
from python_server.http1.head import BadRequest, parse_head
from python_server.http1.parser import Request
from python_server.observe.access_log import AccessLog
from python_server.observe.log import ACCESS
from python_server.settings import HTTPSettings


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
    "B": "12",
    "T": "0",
    "M": "1",
    "H": "HTTP/1.1",
    "{referer}i": "http://r.test/",
    "{User-Agent}i": "A \\x22quoted\\x22 agent\\n",
    "{x-none}i": "-",
    "{authorization}i": "-",
    "{X-Y}o": "1, 2",
    "{set-cookie}o": "***",
    "{x-none}o": "-",
    "{REQUEST_METHOD}e": "GET",
    "{path_info}e": "/a b",
    "{query_string}e": "q=1",
    "{raw_uri}e": "/a%20b?q=1",
    "{request_uri}e": "/a%20b?q=1",
    "{server_protocol}e": "HTTP/1.1",
    "{remote_addr}e": "10.0.0.9",
    "{remote_port}e": "5",
    "{wsgi.url_scheme}e": "http",
    "{http_referer}e": "http://r.test/",
    "{content_type}e": "-",
    "{shell}e": "-",
}
HEADERS = [("x-y", "1"), ("X-Y", "2"), ("Set-Cookie", "io=abc")]


@pytest.mark.parametrize(("atom", "text"), ATOMS.items(), ids=ATOMS)
def test_atom(kept: Kept, atom: str, text: str) -> None:
    AccessLog(f"<%({atom})s>", time.time).write(asked(), 404, 12, 0.0015, HEADERS)
    assert kept.lines == [f"<{text}>"]


def test_gunicorn_has_no_atom_that_is_missing_here() -> None:
    """Its own table, of an answer made by hand."""
    atoms = Logger(Config()).atoms(
        SimpleNamespace(status="200 OK", sent=1, headers=[]),
        SimpleNamespace(headers=[]),
        {"REQUEST_METHOD": "GET", "RAW_URI": "/", "SERVER_PROTOCOL": "HTTP/1.1"},
        timedelta(seconds=1),
    )
    for atom in atoms:
        AccessLog(f"%({atom})s", time.time)


@pytest.mark.parametrize(
    ("field", "user"),
    [
        ("Basic dXNlcjpwYXNz", "user"),
        ("basic dXNlcg==", "user"),
        ("Basic IngKIjp5", "\\x22x\\n\\x22"),
        ("Basic Ojo=", "-"),
        ("Basic ??", "-"),
        ("Basic /w==", "-"),
        ("Bearer dXNlcg==", "-"),
        ("", "-"),
    ],
)
def test_the_user_is_whom_basic_authentication_names(kept: Kept, field: str, user: str) -> None:
    AccessLog("%(u)s %({authorization}i)s", time.time).write(
        asked(fields={"authorization": field}), 200, 5, 0
    )
    assert kept.lines == [f"{user} {'***' if field else '-'}"]


SECRETS = asked(
    target="/socket.io/?EIO=4&sid=hunter2&token=hunter2",
    query="EIO=4&sid=hunter2&token=hunter2",
    fields={"referer": "http://r.test/?jwt=hunter2", "cookie": "io=hunter2", "x": "/?code=hunter2"},
)
EVERY = " ".join(f"%({atom})s" for atom in [*ATOMS, "t", "{cookie}i", "{x}i", "{http_cookie}e"])


@pytest.mark.parametrize("line_format", ["common", "combined", "json", EVERY])
def test_no_secret_of_a_request_stands_in_any_line(kept: Kept, line_format: str) -> None:
    AccessLog(line_format, time.time).write(SECRETS, 200, 5, 0.0, HEADERS)
    assert "hunter2" not in kept.lines[0]
    assert "sid=***" in kept.lines[0]


def test_json(kept: Kept) -> None:
    AccessLog("json", lambda: 784_111_777.9).write(asked(), 404, 12, 0.0015)
    line = json.loads(kept.lines[0])
    assert line.pop("time").startswith("1994-11-0")
    assert line == {
        "client": "10.0.0.9",
        "user": "",
        "method": "GET",
        "path": "/a b",
        "query": "q=1",
        "protocol": "HTTP/1.1",
        "status": 404,
        "bytes": 12,
        "seconds": 0.0015,
        "referer": "http://r.test/",
        "user_agent": 'A "quoted" agent\n',
        "process": os.getpid(),
    }


@in_batches("byte", range(256), 64)
def test_json_is_valid_for_every_byte_that_a_client_can_send(kept: Kept, byte: int) -> None:
    escaped = f"%{byte:02x}".encode()
    raw = bytes([byte]) if byte > 0x20 and byte not in b"\x7f#" else b""
    limits = HTTPSettings()
    head = b"GET /a%b%b?q=%b%b HTTP/1.1\r\nHost: a\r\nReferer: %b\r\nUser-Agent: %b\r\n\r\n"
    in_field = bytes([byte]) if byte >= 0x20 and byte != 0x7F else b""
    whole = head % (escaped, raw, raw, escaped, in_field, in_field)
    try:
        request = parse_head(whole, limits)
    except BadRequest:
        request = parse_head(head % (escaped, b"", b"", escaped, in_field, in_field), limits)
    AccessLog("json", time.time).write(request, 200, 5, 0.0)
    said = kept.lines.pop()
    assert kept.lines == []
    line = json.loads(said)
    assert line["path"].startswith(f"/a{chr(byte)}")
    assert line["user_agent"] == in_field.decode("latin-1").strip(" \t")
    assert "\n" not in said


@given(st.text(), st.text(), st.text(), st.binary())
def test_json_is_valid_whatever_a_request_holds(path: str, query: str, field: str, raw: bytes) -> None:
    handler, level = Kept(), ACCESS.level
    ACCESS.addHandler(handler)
    ACCESS.setLevel(logging.INFO)
    fields = {"referer": field, "user-agent": raw.decode("latin-1"), "authorization": f"Basic {field}"}
    try:
        AccessLog("json", time.time).write(asked(path=path, query=query, fields=fields), 200, 5, 0.0)
    finally:
        ACCESS.removeHandler(handler)
        ACCESS.setLevel(level)
    (line,) = handler.lines
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["user_agent"] == raw.decode("latin-1")


def test_time_is_local_with_its_offset(kept: Kept) -> None:
    times = iter((0.0, 784_111_777.9, 784_111_778.1))  # the first for the test of the format
    lines = AccessLog("%(t)s", lambda: next(times))
    for _ in range(2):
        lines.write(asked(), 200, 0, 0.0)
    expected = [
        time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second)) for second in (784_111_777, 784_111_778)
    ]
    assert kept.lines == expected


def test_formats_by_name(kept: Kept) -> None:
    for name in ("common", "combined"):
        AccessLog(name, time.time).write(asked(), 200, 5, 0.25)
    common, combined = kept.lines
    assert common.startswith("10.0.0.9 - - [")
    assert common.endswith('] "GET /a%20b?q=1 HTTP/1.1" 200 5 0.250000')
    assert combined.endswith('200 5 "http://r.test/" "A \\x22quoted\\x22 agent\\n"')


def test_a_refused_request_and_a_unix_socket_have_dashes(kept: Kept) -> None:
    AccessLog('%(h)s "%(r)s"', time.time).write(asked(method="", peer=""), 400, 5, 0.0)
    assert kept.lines == ['- "-"']


def test_nothing_is_written_while_nobody_listens(kept: Kept) -> None:
    ACCESS.setLevel(logging.CRITICAL)
    AccessLog("common", time.time).write(asked(), 200, 5, 0.0)
    assert kept.lines == []


@pytest.mark.parametrize("line_format", ["%(z)s", "%(h", "%s %s", "%({x}z)s", "%({x)s"])
def test_malformed_formats_are_refused_at_start(line_format: str) -> None:
    with pytest.raises(ValueError, match="access log format"):
        AccessLog(line_format, time.time)
