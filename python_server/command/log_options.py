"""The options of the logs: rows of the table in `options`.

Must not know: what a setting does.
"""

from __future__ import annotations

from typing import Final

import click

from python_server.command.option import Option
from python_server.observe.log import LEVELS
from python_server.observe.log_format import FORMATS

LOG_OPTIONS: Final = (
    Option(
        "--log-level",
        "Minimum level of the error log; debug has a line per event.",
        "log_level",
        click.Choice(LEVELS),
    ),
    Option(
        "--log-format",
        "Format of the error log: text, or one JSON object per line.",
        "log_format",
        click.Choice(FORMATS),
    ),
    Option(
        "--log-config",
        "Logging configuration file for all processes (dictConfig), TOML or *.json.",
        "log_config",
        metavar="FILE",
    ),
    Option("--log-payloads", "Show the arguments of events and acks in the debug log, cut.", "log_payloads"),
    Option(
        "--log-mask",
        "Query field whose value no log shows, besides sid, token, key and such; may be repeated.",
        "log_masked_fields",
        multiple=True,
        metavar="NAME",
    ),
    Option("--error-log", "Error log file instead of standard error (also: -).", "error_log", metavar="FILE"),
    Option("--access-log", "Access log file; - for standard output.", "access_log", metavar="FILE"),
    Option("--no-access-log", "Write no access log.", default=False),
    Option(
        "--access-log-format",
        "common, combined, json, or a format with gunicorn's syntax.",
        "access_log_format",
        metavar="FORMAT",
    ),
    Option("--access-log-polls", "Write the polls of open sessions into the access log.", "access_log_polls"),
)
