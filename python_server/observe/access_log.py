"""The access log: one line per answered request, in a format that the operator chooses.

Must not know: where the lines go, or who has answered.
"""

from __future__ import annotations

import logging
import os
import time
from base64 import b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from python_server.observe.log import ACCESS
from python_server.observe.log_format import iso_time, json_line
from python_server.observe.masking import masked, masked_header

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
    scheme: str

    def get(self, name: str) -> str: ...


class AccessWriter(Protocol):
    """Port: is told of each answered request."""

    def write(
        self,
        request: LoggedRequest,
        status: int,
        sent_bytes: int,
        seconds: float,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """`headers`: of the answer, as who answered gave them."""


@dataclass(slots=True)
class _Answer:
    """One answer as a format reads it: each atom's value is made only when the format asks for it."""

    request: LoggedRequest
    status: int
    sent_bytes: int
    seconds: float
    wall: Callable[[], float]
    headers: Iterable[tuple[str, str]] = ()

    def __getitem__(self, atom: str) -> object:
        value_of = ATOMS.get(atom)
        if value_of is not None:
            return value_of(self)
        name, _, kind = atom.removeprefix("{").rpartition("}")
        return _safe(NAMED_ATOMS[kind](self, name.lower())) or "-"


def _client(answer: _Answer) -> str:
    peer = answer.request.peer
    return str(peer[0]) if isinstance(peer, tuple) else "-"


def _request_line(answer: _Answer) -> str:
    request = answer.request
    if not request.method:
        return "-"
    return _safe(f"{request.method} {masked(request.target)} {_protocol(answer)}")


def _protocol(answer: _Answer) -> str:
    major, minor = answer.request.version
    return f"HTTP/{major}.{minor}"


def user_of(request: LoggedRequest) -> str:
    """Whom HTTP's basic authentication names (RFC 7617); "" for nobody."""
    scheme, _, credentials = request.get("authorization").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(credentials, validate=True).decode().partition(":")[0]
    except ValueError:
        return ""


def _field_of_request(answer: _Answer, name: str) -> str:
    return masked_header(name, answer.request.get(name))


def _field_of_answer(answer: _Answer, name: str) -> str:
    values = [value for field, value in answer.headers if field.lower() == name]
    return masked_header(name, ", ".join(values))


def _variable(answer: _Answer, name: str) -> str:
    """Of the environ that a WSGI application gets, what the request alone decides; names in lower case."""
    if name.startswith("http_") or name in ("content_type", "content_length"):
        return _field_of_request(answer, name.removeprefix("http_").replace("_", "-"))
    variable = VARIABLES.get(name)
    return "" if variable is None else str(variable(answer))


@lru_cache(maxsize=1)
def _local_time(epoch_second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(epoch_second))


ATOMS: Final[dict[str, Callable[[_Answer], object]]] = {
    "h": _client,
    "r": _request_line,
    "H": _protocol,
    "t": lambda answer: _local_time(int(answer.wall())),
    "s": lambda answer: answer.status,
    "b": lambda answer: answer.sent_bytes,
    "B": lambda answer: answer.sent_bytes,
    "T": lambda answer: int(answer.seconds),
    "M": lambda answer: int(answer.seconds * 1e3),
    "L": lambda answer: f"{answer.seconds:.6f}",
    "D": lambda answer: int(answer.seconds * 1e6),
    "m": lambda answer: answer.request.method or "-",
    "U": lambda answer: _safe(answer.request.path) or "-",
    "q": lambda answer: _safe(masked(answer.request.query)),
    "f": lambda answer: _safe(masked(answer.request.get("referer"))) or "-",
    "a": lambda answer: _safe(answer.request.get("user-agent")) or "-",
    "p": lambda answer: os.getpid(),
    "l": lambda answer: "-",
    "u": lambda answer: _safe(user_of(answer.request)) or "-",
}
# %({name}i)s and so on, by the letter.
NAMED_ATOMS: Final[dict[str, Callable[[_Answer, str], str]]] = {
    "i": _field_of_request,
    "o": _field_of_answer,
    "e": _variable,
}
VARIABLES: Final[dict[str, Callable[[_Answer], object]]] = {
    "request_method": lambda answer: answer.request.method,
    "raw_uri": lambda answer: masked(answer.request.target),
    "request_uri": lambda answer: masked(answer.request.target),
    "path_info": lambda answer: answer.request.path,
    "query_string": lambda answer: masked(answer.request.query),
    "server_protocol": _protocol,
    "remote_addr": _client,
    "remote_port": lambda answer: answer.request.peer[1] if isinstance(answer.request.peer, tuple) else "",
    "wsgi.url_scheme": lambda answer: answer.request.scheme,
}


def _object(answer: _Answer) -> str:
    """The line as one JSON object."""
    request = answer.request
    return json_line(
        {
            "time": iso_time(answer.wall()),
            "client": _client(answer),
            "user": user_of(request),
            "method": request.method,
            "path": request.path,
            "query": masked(request.query),
            "protocol": _protocol(answer),
            "status": answer.status,
            "bytes": answer.sent_bytes,
            "seconds": round(answer.seconds, 6),
            "referer": masked(request.get("referer")),
            "user_agent": request.get("user-agent"),
            "process": os.getpid(),
        }
    )


def _safe(text: str) -> str:
    """Control characters and quotes that a client sent never reach the log as they are."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode("ascii").replace('"', "\\x22")


class AccessLog:
    """Writes one line per answered request.

    Args:
        line_format: a name of FORMATS; "json": one object a line; or a format with gunicorn's atoms: %(h)s
            client, %(u)s user, %(r)s request line, %(s)s status, %(b)s and %(B)s body bytes, %(L)s and %(T)s
            seconds, %(M)s milliseconds, %(D)s microseconds, %(t)s time, %(m)s method, %(U)s path, %(q)s
            query, %(H)s protocol, %(f)s referrer, %(a)s user agent, %(p)s process, %({name}i)s a field of the
            request, %({name}o)s of the answer, %({name}e)s a variable of the environ.
        wall: a clock that tells the time of day.

    Raises:
        ValueError: the format names an atom there is not.
    """

    def __init__(self, line_format: str, wall: Callable[[], float]) -> None:
        self._wall = wall
        pattern = FORMATS.get(line_format, line_format)
        self._line: Callable[[_Answer], str] = _object if line_format == "json" else pattern.__mod__
        try:
            self._line(_Answer(_Nobody(), 200, 0, 0.0, wall))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"access log format {line_format!r}: unknown atom or malformed ({error})"
            ) from None

    def write(
        self,
        request: LoggedRequest,
        status: int,
        sent_bytes: int,
        seconds: float,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Log one answer."""
        if ACCESS.isEnabledFor(logging.INFO):
            line = self._line(_Answer(request, status, sent_bytes, seconds, self._wall, headers))
            # The record made here: `info` would walk the stack for a caller that no line names.
            ACCESS.handle(ACCESS.makeRecord(ACCESS.name, logging.INFO, __file__, 0, line, (), None))


class _Nobody(LoggedRequest):
    """A request for the test of a format."""

    peer = method = target = path = query = scheme = ""
    version = (1, 1)

    def get(self, name: str) -> str:
        return ""
