"""The access log: one line per answered request, in a format that the operator chooses.

Must not know: where the lines go, or who has answered.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from python_server.observe.log import ACCESS

# Apache's two formats, the elapsed seconds behind the first as pywsgi has it; the atoms are gunicorn's.
FORMATS: Final = {
    "common": '%(h)s - - [%(t)s] "%(r)s" %(s)s %(b)s %(L)s',
    "combined": '%(h)s - - [%(t)s] "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
}


class LoggedRequest(Protocol):
    """What a line of the access log says of a request."""

    peer: object
    method: str
    target: str
    path: str
    query: str
    version: tuple[int, int]

    def get(self, name: str) -> str: ...


class AccessWriter(Protocol):
    """Port: is told of each answered request."""

    def write(self, request: LoggedRequest, status: int, sent_bytes: int, seconds: float) -> None: ...


@dataclass(slots=True)
class _Answer:
    """One answer as a format reads it: each atom's value is made only when the format asks for it."""

    request: LoggedRequest
    status: int
    sent_bytes: int
    seconds: float
    wall: Callable[[], float]

    def __getitem__(self, atom: str) -> object:
        return ATOMS[atom](self)


def _client(answer: _Answer) -> str:
    peer = answer.request.peer
    return str(peer[0]) if isinstance(peer, tuple) else "-"


def _request_line(answer: _Answer) -> str:
    request = answer.request
    if not request.method:
        return "-"
    return _safe(f"{request.method} {request.target} HTTP/{request.version[0]}.{request.version[1]}")


@lru_cache(maxsize=1)
def _local_time(epoch_second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(epoch_second))


ATOMS: Final[dict[str, Callable[[_Answer], object]]] = {
    "h": _client,
    "r": _request_line,
    "t": lambda answer: _local_time(int(answer.wall())),
    "s": lambda answer: answer.status,
    "b": lambda answer: answer.sent_bytes,
    "L": lambda answer: f"{answer.seconds:.6f}",
    "D": lambda answer: int(answer.seconds * 1e6),
    "m": lambda answer: answer.request.method or "-",
    "U": lambda answer: _safe(answer.request.path) or "-",
    "q": lambda answer: _safe(answer.request.query),
    "f": lambda answer: _safe(answer.request.get("referer")) or "-",
    "a": lambda answer: _safe(answer.request.get("user-agent")) or "-",
    "p": lambda answer: os.getpid(),
    "l": lambda answer: "-",
    "u": lambda answer: "-",
}


def _safe(text: str) -> str:
    """Control characters and quotes that a client sent never reach the log as they are."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode("ascii").replace('"', "\\x22")


class AccessLog:
    """Writes one line per answered request.

    Args:
        line_format: a name of FORMATS, or a format with gunicorn's atoms: %(h)s client, %(r)s request line,
            %(s)s status, %(b)s body bytes, %(L)s seconds, %(D)s microseconds, %(t)s time, %(m)s method,
            %(U)s path, %(q)s query, %(f)s referrer, %(a)s user agent, %(p)s process.
        wall: a clock that tells the time of day.

    Raises:
        ValueError: the format names an atom there is not.
    """

    def __init__(self, line_format: str, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._format = FORMATS.get(line_format, line_format)
        try:
            self._format % _Answer(_Nobody(), 200, 0, 0.0, wall)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"access log format {line_format!r}: unknown atom or malformed ({error})"
            ) from None

    def write(self, request: LoggedRequest, status: int, sent_bytes: int, seconds: float) -> None:
        """Log one answer."""
        if ACCESS.isEnabledFor(logging.INFO):
            line = self._format % _Answer(request, status, sent_bytes, seconds, self._wall)
            # The record made here: `info` would walk the stack for a caller that no line names.
            ACCESS.handle(ACCESS.makeRecord(ACCESS.name, logging.INFO, __file__, 0, line, (), None))


class _Nobody(LoggedRequest):
    """A request for the test of a format."""

    peer = method = target = path = query = ""
    version = (1, 1)

    def get(self, name: str) -> str:
        return ""
