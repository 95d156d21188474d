"""How a line of the error log is written: as text, or as one JSON object a line.

Must not know: who logs, or where lines go.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from python_server.observe.masking import masked

FORMATS: Final = ("text", "json")
# Of one record: a fault's text may hold what a client has sent.
RECORD_MAX_BYTES: Final = 65_536
# What a record may have of an event, beside its message.
FIELDS: Final = ("event", "namespace", "sid")
# The longest escape: one character outside the first plane.
ESCAPED_BYTES: Final = len(json.dumps("\U0001f600")) - 2

JSONField = str | int | float | None


def json_line(fields: Mapping[str, JSONField]) -> str:
    """One JSON object in ASCII, valid whatever the texts hold, at most RECORD_MAX_BYTES long."""
    plain = {
        name: value.encode("utf-8", "replace").decode()
        if isinstance(value, str)
        else value  # lone surrogates
        for name, value in fields.items()
    }
    line = json.dumps(plain)
    if len(line) <= RECORD_MAX_BYTES:
        return line
    most = RECORD_MAX_BYTES // ESCAPED_BYTES // (len(fields) + 2)
    short = {name: value[:most] if isinstance(value, str) else value for name, value in plain.items()}
    return json.dumps({**short, "cut_from_bytes": len(line)})


def iso_time(seconds: float) -> str:
    """ISO 8601, with the zone's offset."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")


class TextFormatter(logging.Formatter):
    """Lines for people, the fault's traceback behind them; the name stands where several share a log."""

    def __init__(self, process_name: str = "") -> None:
        prefix = f"{process_name}: " if process_name else ""
        super().__init__(f"[%(asctime)s] %(levelname)s {prefix}%(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


class JSONFormatter(logging.Formatter):
    """One JSON object a line; for a file of --log-config as well."""

    def __init__(self, process_name: str = "") -> None:
        super().__init__()
        self._process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, JSONField] = {
            "time": iso_time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": masked(record.getMessage()),
        }
        if self._process_name:
            fields["worker"] = self._process_name
        if record.exc_info:
            fields["exc"] = masked(self.formatException(record.exc_info))
        fields |= {name: str(getattr(record, name)) for name in FIELDS if hasattr(record, name)}
        return json_line(fields)


def formatter_of(log_format: str, process_name: str) -> logging.Formatter:
    """One of FORMATS."""
    return JSONFormatter(process_name) if log_format == "json" else TextFormatter(process_name)
