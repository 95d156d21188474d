"""The two logs: how they are set up, written and reopened; lines of the server's own life, and faults.

Must not know: what an access line holds, who counts, or how a connection works.
"""

from __future__ import annotations

import itertools
import logging
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol, TextIO

from python_server.observe import fatal_signals
from python_server.observe.guarded import guarded, mask_record, unwritable
from python_server.observe.log_format import RECORD_MAX_BYTES, formatter_of
from python_server.observe.masking import masked

LOGGER: Final = guarded(logging.getLogger("python_server"), mask_record)
ACCESS: Final = guarded(logging.getLogger("python_server.access"))  # its atoms are masked
# The debug log: what clients say, and what becomes of their sessions.
SOCKETIO: Final = guarded(logging.getLogger("python_server.socketio"), mask_record)
ENGINEIO: Final = guarded(logging.getLogger("python_server.engineio"), mask_record)

# How often one kind of complaint may be repeated in the log.
REPEAT_SECONDS: Final = 10.0
# Tracebacks of one kind within that time; the kernel's printk stops after 10 in 5 s. The rest is counted.
FAULTS_BURST_COUNT: Final = 10
# Kinds told apart at one time: places that raise, so a program's code bounds them; generated code need not.
FAULT_KINDS_MAX_COUNT: Final = 256
# Lines that wait for a log that is written too slowly; above, new ones are dropped and counted. A pipe holds
# 64 KiB; this is some 40,000 requests more.
QUEUE_MAX_BYTES: Final = 4_194_304
# POSIX: so much enters a pipe as one piece, whoever else writes into it.
PIPE_PIECE_BYTES: Final = 4096
FILE_PIECE_BYTES: Final = 65_536
FULL_SECONDS: Final = 0.01

LEVELS: Final = ("critical", "error", "warning", "info", "debug")


class Writer(Protocol):
    """Port: lines on their way to one place; nobody who adds one waits. See `net.line_writer`."""

    def add(self, line: bytes) -> None: ...
    def wake(self) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
    def untold_count(self) -> int: ...


class LogError(Exception):
    """A log's file cannot be written."""


def configure_logging(
    level: str,
    access_log: str | None,
    error_log: str | None = None,
    process_name: str = "",
    *,
    log_format: str = "text",
    keep_levels: bool = False,
    writer: Callable[..., Writer],
) -> None:
    """Set up the two loggers, unless the application or a file of --log-config has set them up.

    Args:
        level: of the error log. access_log: a file, "-" for standard output, None for none.
        error_log: a file; None is standard error. Files that are moved away are opened anew.
        process_name: stands before each message, where several processes share a log.
        log_format: of the error log, one of `log_format.FORMATS`.
        keep_levels: a level that a logger has already is the operator's.
        writer: makes what writes a log's lines.

    Raises:
        LogError: a file cannot be opened.
    """
    if not (keep_levels and LOGGER.level):
        LOGGER.setLevel(level.upper())
    _handle(LOGGER, error_log, sys.stderr, formatter_of(log_format, process_name), writer)
    if not (keep_levels and ACCESS.level and access_log):
        ACCESS.setLevel(logging.INFO if access_log else logging.CRITICAL)
    if access_log:
        path = None if access_log == "-" else access_log
        _handle(ACCESS, path, sys.stdout, logging.Formatter("%(message)s"), writer)


def log_into(logger: logging.Logger, place: Any, *, writer: Callable[..., Writer]) -> None:
    """An application's own logger, or file-like object, has the lines of `logger` from here on."""
    if any(getattr(handler, "place", None) is place for handler in logger.handlers):
        return
    handler = _LineHandler(logger, _Stream(place), writer) if hasattr(place, "write") else _Relay()
    handler.place = place
    logger.addHandler(handler)
    logger.propagate = False


class _Relay(logging.Handler):
    """Hands records on to a logger of the application, its `place`."""

    place: Any = None

    def emit(self, record: logging.LogRecord) -> None:
        """A fault's traceback as text where a secret of it is masked, which that logger would show."""
        text, fault = record.getMessage(), record.exc_info
        if fault and (shown := record.exc_text or "") != logging.Formatter().formatException(fault):
            text, fault = f"{text}\n{shown}", None
        self.place.log(record.levelno, "%s", text, exc_info=fault)


def check_log_files(access_log: str | None, error_log: str | None) -> None:
    """Can they be opened, as `configure_logging` would? None is left behind: it could be another user's.

    Raises:
        LogError: a file cannot be opened.
    """
    for logger, path in ((LOGGER, error_log), (ACCESS, None if access_log == "-" else access_log)):
        existed = path is not None and os.path.exists(path)
        if path is None or (existed and stat.S_ISFIFO(os.stat(path).st_mode)):  # it would wait for a reader
            continue
        _open(logger, path).close()
        if not existed:
            os.unlink(os.path.realpath(path))


def _handle(
    logger: logging.Logger,
    path: str | None,
    stream: TextIO | None,
    formatter: logging.Formatter,
    writer: Callable[..., Writer],
) -> None:
    if path is None and (logger.handlers or logging.getLogger().handlers):
        return
    handler: logging.Handler = logging.NullHandler()
    if path is not None:
        handler = _LineHandler(logger, _open(logger, path), writer)
    elif stream is not None:  # it is None where the process was started without it
        handler = _LineHandler(logger, _Stream(stream), writer)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    logger.propagate = False


@contextmanager
def restoring() -> Iterator[None]:
    """For a program that serves for a while: afterwards all faults are told, the loggers as before."""
    loggers = (LOGGER, ACCESS, SOCKETIO, ENGINEIO)
    found = [(logger, logger.level, logger.propagate, logger.handlers[:]) for logger in loggers]
    try:
        yield
    finally:
        FAULTS.say_all()
        for logger, level, propagate, handlers in found:
            added = [handler for handler in logger.handlers if handler not in handlers]
            logger.setLevel(level)
            logger.propagate, logger.handlers[:] = propagate, handlers
            for handler in added:
                if isinstance(handler, _LineHandler):
                    handler.end()


def _open(logger: logging.Logger, path: str) -> _File:
    try:
        return _File(path)
    except OSError as error:
        option = "--access-log" if logger is ACCESS else "--error-log"
        raise LogError(f"{option} {path}: {error.strerror} [log-file]") from None


def reopen_logs() -> None:
    """Open log files anew, after something has moved them (SIGUSR1, SIGHUP)."""
    for logger in (LOGGER, ACCESS):
        for handler in logger.handlers:
            if isinstance(handler, _LineHandler):
                handler.writer.wake()
    fatal_signals.reopen()


def flush() -> None:
    """Everything that was logged is out: the process is about to be another program."""
    for handler in (*ACCESS.handlers, *LOGGER.handlers):
        handler.flush()


class _LineHandler(logging.Handler):
    """Makes a line where a record is logged, and hands it on: a log that nobody reads stops nobody.

    Args:
        place: called with bytes, by the writer's thread.

    Attributes:
        place: the application's own, if it is that.
    """

    place: Any = None

    def __init__(self, logger: logging.Logger, place: _Stream | _File, writer: Callable[..., Writer]) -> None:
        super().__init__()
        self._name_of_log = "access log" if logger is ACCESS else "error log"
        self._place = place
        self.writer = writer(
            self._name_of_log,
            place,
            piece_bytes=place.piece_bytes,
            waiting_max_bytes=QUEUE_MAX_BYTES,
            dropping=_warn_of_dropping if logger is ACCESS else lambda: None,
            dropped=self._say_dropped,
            quiet=FAULTS.say_what_is_over,
        )

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception as error:  # of a field's own words
            own = {"msg": unwritable(error), "name": record.name, "levelname": record.levelname}
            text = self.format(logging.makeLogRecord(own))
        line = text.encode("utf-8", "backslashreplace")
        if len(line) > RECORD_MAX_BYTES:
            line = b"%s ... (%d bytes)" % (line[:RECORD_MAX_BYTES], len(line))
        self.writer.add(line + b"\n")

    def flush(self) -> None:
        """At the process's end, and whenever somebody asks: everything is said and out."""
        if self._name_of_log == "access log":
            self.writer.flush()  # first: what cannot be written now is dropped as well
            self._say_untold()
        else:
            FAULTS.say_all()
            self._say_untold()
            self.writer.flush()

    def end(self) -> None:
        """Nobody logs into it any more: everything is out, its thread and its file are gone."""
        self.flush()
        self.writer.close()
        self._place.close()

    def _say_untold(self) -> None:
        if count := self.writer.untold_count():
            self._say_dropped(count)

    def _say_dropped(self, count: int) -> None:
        warn(f"{count} lines of the {self._name_of_log} were dropped: it was not written as fast as it grew")


class _Stream:
    """Standard output or error, by descriptor: a write that blocks must not hold the stream's lock, which the
    interpreter needs at its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.piece_bytes = PIPE_PIECE_BYTES
        with suppress(AttributeError, OSError, ValueError):
            if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                self.piece_bytes = FILE_PIECE_BYTES

    def __call__(self, piece: bytes) -> None:
        if not piece:
            return
        try:
            descriptor = self._stream.fileno()
        except (AttributeError, OSError):  # somebody's stand-in
            self._stream.write(piece.decode())
            getattr(self._stream, "flush", str)()
        else:
            _write_all(descriptor, piece)

    def close(self) -> None:
        """It is not ours."""


class _File:
    """A file that grows at its end, opened anew once its path names another one.

    Raises:
        OSError: it cannot be opened.
    """

    piece_bytes: Final = FILE_PIECE_BYTES

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._descriptor = self._open()

    def __call__(self, piece: bytes) -> None:
        if not self._is_there():
            with suppress(OSError):  # the folder has gone: the old file is better than none
                descriptor = self._open()
                os.close(self._descriptor)
                self._descriptor = descriptor
        _write_all(self._descriptor, piece)

    def close(self) -> None:
        os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except OSError:
            return False


def _write_all(descriptor: int, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # somebody has made the pipe non-blocking
            time.sleep(FULL_SECONDS)


def debug_lines(own: logging.Logger, given: object = None) -> Callable[..., object] | None:
    """What writes a line of the debug log; None: nobody reads them.

    Args:
        own: SOCKETIO or ENGINEIO. given: by a program, as `logger=`: True for lines in `own`; a logger of the
            program's, which gets them at INFO, the level at which the peers write theirs.
    """
    if hasattr(given, "info"):
        return partial(_tell_program, given.info)
    if given:  # beside `own`, with its handlers: the level of `own` is that of servers that did not ask
        asked = logging.Logger(own.name, logging.DEBUG)
        asked.parent = own
        return guarded(asked, mask_record).debug
    return own.debug if own.isEnabledFor(logging.DEBUG) else None


def _tell_program(info: Callable[..., object], text: str, **more: object) -> None:
    """Its logger may raise; it is on the loop's thread."""
    try:
        info(masked(text), **more)
    except Exception as error:
        report("logger= of the program", error)


# A line about the server's own life (start, stop), and about something that will surprise somebody.
say: Callable[[str], None] = LOGGER.info
warn: Callable[[str], None] = LOGGER.warning


def _warn_of_dropping() -> None:
    warn("the access log is not written as fast as it grows: lines are dropped")


@dataclass(slots=True)
class _Kind:
    """Faults of one kind within one interval."""

    what: str
    since: float
    numbers: Iterator[int] = field(
        default_factory=itertools.count
    )  # `next` is one step: threads need no lock


class Named(str):
    """What failed, and the fields of its line beside it: event, namespace, sid."""

    fields: dict[str, str]

    @classmethod
    def of(cls, what: str, **fields: str) -> Named:
        named = cls(what)
        named.fields = fields
        return named


class Faults:
    """Exceptions on their way to the log: the first of a kind with their tracebacks, the others as a number.

    A kind is what was raised and where: names that clients choose do not make new ones. Any thread.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def report(self, what: str, error: BaseException) -> None:
        """A fault: log it, or count it. What ends with the server (`blameless`) is none."""
        if getattr(error, "blameless", False):
            return
        name = (type(error).__name__, _place_of(error.__traceback__))
        now = time.monotonic()
        kind = self._kinds.get(name)
        if kind is None or now - kind.since >= REPEAT_SECONDS:
            self.say_what_is_over()
            if len(self._kinds) >= FAULT_KINDS_MAX_COUNT:
                name = ("faults", "other places")
            kind = self._kinds.setdefault(name, _Kind(what, now))
        if next(kind.numbers) < FAULTS_BURST_COUNT:
            fields: dict[str, str] = getattr(what, "fields", {})
            beside = ", ".join(f"{name} {value!r}" for name, value in fields.items() if name != "event")
            text = f"{masked(what)} failed{beside and f' ({beside})'}"
            LOGGER.error("%s", text, exc_info=error, extra=fields)

    def say_what_is_over(self) -> None:
        """Log the numbers of those kinds whose interval has ended."""
        now = time.monotonic()
        for name, kind in list(self._kinds.items()):
            if now - kind.since >= REPEAT_SECONDS:
                self._end(name)

    def say_all(self) -> None:
        """Log the numbers of all kinds."""
        for name in list(self._kinds):
            self._end(name)

    def _end(self, name: tuple[str, str]) -> None:
        kind = self._kinds.pop(name, None)
        if kind is not None and (more := next(kind.numbers) - FAULTS_BURST_COUNT) > 0:
            LOGGER.error("and %d more of the same: %s failed, %s in %s", more, masked(kind.what), *name)


FAULTS: Final = Faults()
# A fault with its traceback.
report: Callable[[str, BaseException], None] = FAULTS.report


def _place_of(trace: TracebackType | None) -> str:
    """Where an exception was raised."""
    if trace is None:
        return "no place"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
