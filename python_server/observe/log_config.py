"""An operator's own logging configuration: a file as `logging.config.dictConfig` reads it, in TOML or JSON.

Must not know: what the server logs, or its own ways of logging.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from python_server.observe.log import LogError

_used: set[str] = set()


def use_log_config(path: str | None) -> None:
    """Configure this process's logging by the file, once: what an application changes later stays.

    Loggers that the file does not name go on, unless it says `disable_existing_loggers`.

    Raises:
        LogError: it cannot be read, or is no such configuration.
    """
    if path is None or path in _used:
        return
    import logging.config  # all others start without it

    try:
        text = Path(path).read_text("utf-8")
        table = json.loads(text) if path.endswith(".json") else tomllib.loads(text)
        if not isinstance(table, dict):
            raise ValueError("it holds no table")
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **table})
    except OSError as error:
        raise LogError(f"--log-config {path}: {error.strerror} [log-config]") from None
    except Exception as error:  # whatever a class that the file names may raise
        reason = " ".join(f"{error}: {error.__cause__}".split() if error.__cause__ else str(error).split())
        raise LogError(f"--log-config {path}: {reason or type(error).__name__} [log-config]") from None
    _used.add(path)
