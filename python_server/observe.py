"""What the server says of itself: access log, error log, counters. One place formats what others count.

Must not know: who counts, or how a connection works.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from typing import Any, Final

LOGGER: Final = logging.getLogger("python_server")
ACCESS: Final = logging.getLogger("python_server.access")

# How often one kind of complaint may be repeated in the log.
REPEAT_SECONDS: Final = 10.0

LEVELS: Final = ("critical", "error", "warning", "info", "debug")


def configure_logging(level: str, access_log: bool) -> None:
    """Log to standard error, unless the application has set up these loggers itself."""
    LOGGER.setLevel(level.upper())
    if not LOGGER.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(
            logging.Formatter("[%(asctime)s] %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
        )
        LOGGER.addHandler(handler)
        LOGGER.propagate = False
    ACCESS.setLevel(logging.INFO if access_log else logging.CRITICAL)
    if access_log and not ACCESS.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        ACCESS.addHandler(handler)
        ACCESS.propagate = False


def say(message: str) -> None:
    """A line about the server's own life (start, stop)."""
    LOGGER.info(message)


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


def access(
    peer: Any,
    method: str,
    target: str,
    version: tuple[int, int],
    status: int,
    sent_bytes: int,
    seconds: float,
) -> None:
    """One line per answered request, in the common log format with the elapsed seconds behind it."""
    if not ACCESS.isEnabledFor(logging.INFO):
        return
    host = peer[0] if isinstance(peer, tuple) else "-"
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S %z")
    line = f"{method} {target} HTTP/{version[0]}.{version[1]}" if method else "-"
    # Control characters and quotes of a target never reach the log as they are.
    line = line.encode("unicode_escape").decode("ascii").replace('"', "%22")
    ACCESS.info('%s - - [%s] "%s" %d %d %.6f', host, stamp, line, status, sent_bytes, seconds)
