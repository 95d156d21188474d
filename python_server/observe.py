"""What the server says of itself: access log, error log, counters. One place formats what others count.

Must not know: who counts, or how a connection works.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

LOGGER: Final = logging.getLogger("python_server")
ACCESS: Final = logging.getLogger("python_server.access")

# How often one kind of complaint may be repeated in the log.
REPEAT_SECONDS: Final = 10.0

LEVELS: Final = ("critical", "error", "warning", "info", "debug")

# Apache's two formats, the elapsed seconds behind the first as pywsgi has it; the atoms are gunicorn's.
FORMATS: Final = {
    "common": '%(h)s - - [%(t)s] "%(r)s" %(s)s %(b)s %(L)s',
    "combined": '%(h)s - - [%(t)s] "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
}


def configure_logging(
    level: str, access_log: str | None, error_log: str | None = None, process_name: str = ""
) -> None:
    """Set up the two loggers, unless the application has set them up itself.

    Args:
        level: of the error log. access_log: a file, "-" for standard output, None for none.
        error_log: a file; None is standard error. Files that are moved away are opened anew.
        process_name: stands before each message, where several processes share a log.
    """
    prefix = f"{process_name}: " if process_name else ""
    LOGGER.setLevel(level.upper())
    _handle(
        LOGGER,
        error_log,
        sys.stderr,
        logging.Formatter(f"[%(asctime)s] %(levelname)s {prefix}%(message)s", "%Y-%m-%d %H:%M:%S"),
    )
    ACCESS.setLevel(logging.INFO if access_log else logging.CRITICAL)
    if access_log:
        _handle(
            ACCESS, None if access_log == "-" else access_log, sys.stdout, logging.Formatter("%(message)s")
        )


def _handle(logger: logging.Logger, path: str | None, stream: Any, formatter: logging.Formatter) -> None:
    if path is None and (logger.handlers or logging.getLogger().handlers):
        return
    handler: logging.Handler = (
        logging.StreamHandler(stream)
        if path is None
        else logging.handlers.WatchedFileHandler(path, encoding="utf-8")
    )
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    logger.propagate = False


def reopen_logs() -> None:
    """Open log files anew, after something has moved them (SIGUSR1, SIGHUP)."""
    for logger in (LOGGER, ACCESS):
        for handler in logger.handlers:
            if isinstance(handler, logging.handlers.WatchedFileHandler):
                handler.reopenIfNeeded()


def say(message: str) -> None:
    """A line about the server's own life (start, stop)."""
    LOGGER.info("%s", message)


def warn(message: str) -> None:
    """A line about something that will surprise somebody."""
    LOGGER.warning("%s", message)


def report(what: str, error: BaseException) -> None:
    """A fault with its traceback."""
    LOGGER.error("%s failed", what, exc_info=error)


class Observer:
    """Counters of one worker, and the lines they are worth. Belongs to the loop's thread."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._said_at: dict[str, float] = {}

    def count(self, name: str) -> None:
        self.counts[name] += 1

    def complain(self, kind: str, message: str) -> None:
        """Count `kind`; log the message unless the same kind was logged a moment ago."""
        self.counts[kind] += 1
        now = time.monotonic()
        if now - self._said_at.get(kind, float("-inf")) >= REPEAT_SECONDS:
            self._said_at[kind] = now
            LOGGER.warning("%s", message)


class _Answer:
    """One answer as a format reads it: each atom's value is made only when the format asks for it."""

    __slots__ = ("request", "seconds", "sent_bytes", "status")

    def __init__(self, request: Any, status: int, sent_bytes: int, seconds: float) -> None:
        self.request = request
        self.status = status
        self.sent_bytes = sent_bytes
        self.seconds = seconds

    def __getitem__(self, atom: str) -> Any:
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


ATOMS: Final[dict[str, Callable[[_Answer], Any]]] = {
    "h": _client,
    "r": _request_line,
    "t": lambda answer: _local_time(int(time.time())),
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

    Raises:
        ValueError: the format names an atom there is not.
    """

    def __init__(self, line_format: str = "common") -> None:
        self._format = FORMATS.get(line_format, line_format)
        try:
            self._format % _Answer(_NOBODY, 200, 0, 0.0)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"access log format {line_format!r}: unknown atom or malformed ({error})"
            ) from None

    def write(self, request: Any, status: int, sent_bytes: int, seconds: float) -> None:
        """Log one answer."""
        if ACCESS.isEnabledFor(logging.INFO):
            line = self._format % _Answer(request, status, sent_bytes, seconds)
            # The record made here: `info` would walk the stack for a caller that no line names.
            ACCESS.handle(ACCESS.makeRecord(ACCESS.name, logging.INFO, __file__, 0, line, (), None))


class _Nobody:
    """A request for the test of a format."""

    peer = method = target = path = query = ""
    version = (1, 1)

    def get(self, name: str) -> str:
        return ""


_NOBODY: Final = _Nobody()
