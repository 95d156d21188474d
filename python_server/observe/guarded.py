"""A logger that lets no secret through and stops nobody who logs, whatever handlers an operator gives it.

Must not know: what is logged, or where lines go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from python_server.observe.masking import masked

_FORMATTER: Final = logging.Formatter()
_FAILED: Final = logging.NullHandler()


def guarded(
    logger: logging.Logger, prepare: Callable[[logging.LogRecord], None] | None = None
) -> logging.Logger:
    """The same logger. `prepare`: called with each record before a handler sees it."""
    hand_on = logger.handle

    def handle(record: logging.LogRecord) -> None:
        try:
            if prepare is not None:
                prepare(record)
            hand_on(record)
        except Exception:  # of a handler or filter that --log-config or the application has put there
            _FAILED.handleError(record)

    logger.handle = handle  # type: ignore[method-assign]
    return logger


def unwritable(error: Exception) -> str:
    """What stands in the log instead."""
    return f"a line of the log could not be made: {type(error).__name__}"


def mask_record(record: logging.LogRecord) -> None:
    """Once for all handlers, with a formatter of ours or not."""
    try:
        text = record.getMessage()
    except Exception as error:  # of an argument's own words
        text = unwritable(error)
    record.msg, record.args = masked(text), ()
    if record.exc_info:
        record.exc_text = masked(_FORMATTER.formatException(record.exc_info))
