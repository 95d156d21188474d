"""The command line: arguments and environment become settings and a site; `wsframe serve`.

Must not know: how anything is served.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from python_server.net.listener import BindError
from python_server.observe import LEVELS
from python_server.server import find_site
from python_server.settings import Settings
from python_server.supervisor import serve
from python_server.welcome import site as welcome_site

DEFAULTS = Settings()
DEFAULT_NAMES = ("app", "application")


class ImportStringError(click.ClickException):
    """The application cannot be found; one line, exit code 1."""

    exit_code = 1


class ServeError(click.ClickException):
    """The server cannot start; one line, exit code 1."""

    exit_code = 1


def load_application(target: str, app_dir: str) -> Any:
    """The object that `module:attribute` names; the attribute defaults to `app`, then `application`.

    Raises:
        ImportStringError: it cannot be found, or cannot be called.
    """
    if app_dir not in sys.path:
        sys.path.insert(0, app_dir)
    module_name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise _import_failed(module_name, error) from None  # it is there; something it imports is not
        raise ImportStringError(
            f"no module named {error.name!r} (looked for {target!r} in {app_dir}); write module:attribute"
        ) from None
    except Exception as error:
        raise _import_failed(module_name, error) from None
    names = (attribute,) if attribute else DEFAULT_NAMES
    for name in names:
        try:
            application: Any = module
            for part in name.split("."):
                application = getattr(application, part)
        except AttributeError:
            continue
        if not callable(application):
            raise ImportStringError(
                f"{module_name}:{name} is {type(application).__name__}, which is not callable"
            )
        return application
    wanted = " or ".join(repr(name) for name in names)
    raise ImportStringError(f"module {module_name!r} has no attribute {wanted} (looked for {target!r})")


def _import_failed(module_name: str, error: Exception) -> ImportStringError:
    """The application's own fault: its traceback, then one line."""
    traceback.print_exception(error)
    return ImportStringError(f"importing {module_name!r} raised {type(error).__name__}: {error}")


def check_clash() -> None:
    """Refuse to start beside another package of the same import name.

    PyPI's `python-server` carries a top-level module `python_server`; with both on the path an import
    may find either.

    Raises:
        ServeError: another one is installed or stands in the way.
    """
    ours = Path(__file__).resolve().parent
    for entry in sys.path:
        folder = Path(entry or os.curdir)
        for candidate in (folder / "python_server.py", folder / "python_server" / "__init__.py"):
            if candidate.is_file() and candidate.resolve().parent != ours and not _is_ours(candidate):
                raise ServeError(
                    f"another package named python_server is on the path: {candidate}; "
                    "uninstall it (pip uninstall python-server) or move it away"
                )


def _is_ours(candidate: Path) -> bool:
    return 'DISTRIBUTION: Final = "wsframe"' in candidate.read_text("utf-8", "replace")


@click.command(
    "serve", context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "WSFRAME"}
)
@click.argument("target", metavar="[MODULE:APP]", required=False)
@click.option("--host", default=DEFAULTS.host, show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    "-p",
    default=DEFAULTS.port,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port; 0 lets the system choose.",
)
@click.option(
    "--threads", default=40, show_default=True, type=click.IntRange(1), help="Threads for WSGI requests."
)
@click.option(
    "--event-threads",
    default=256,
    show_default=True,
    type=click.IntRange(1),
    help="Threads for event handlers.",
)
@click.option(
    "--backlog",
    default=2048,
    show_default=True,
    type=click.IntRange(1),
    help="Connections the system may hold before they are accepted.",
)
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(LEVELS),
    help="What is logged to standard error.",
)
@click.option(
    "--access-log/--no-access-log",
    default=True,
    show_default=True,
    help="One line per request on standard output.",
)
@click.option(
    "--timeout-graceful",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds a stop waits for running requests.",
)
@click.option("--app-dir", default=".", show_default=True, help="Folder that MODULE is looked for in.")
@click.version_option(metadata.version("wsframe"), prog_name="wsframe")
def serve_command(
    target: str | None,
    host: str,
    port: int,
    threads: int,
    event_threads: int,
    backlog: int,
    log_level: str,
    access_log: bool,
    timeout_graceful: float,
    app_dir: str,
) -> None:
    """Serve a WSGI application with its Socket.IO events.

    MODULE:APP names the application, for example `shop.web:app`. Without it a page with a live
    WebSocket echo is served. Every option may also be given in the environment: WSFRAME_PORT=9000.
    """
    check_clash()
    settings = replace(
        DEFAULTS,
        host=host,
        port=port,
        wsgi_threads_count=threads,
        event_threads_count=event_threads,
        backlog_count=backlog,
        log_level=log_level,
        access_log=access_log,
        graceful_timeout_seconds=timeout_graceful,
    )
    if target is None:
        site = welcome_site()
    else:
        application = load_application(target, os.path.abspath(app_dir))
        site = find_site(application)
    try:
        serve(site, settings)
    except BindError as error:
        raise ServeError(str(error)) from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("wsframe"), prog_name="wsframe")
def main() -> None:
    """Real-time events for WSGI applications."""


main.add_command(serve_command)
