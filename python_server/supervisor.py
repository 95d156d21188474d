"""serve(): bind, run a worker, turn signals into an orderly stop.

Must not know: protocols, handlers, or how an application was found.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from python_server import observe
from python_server.net.listener import BindError, Socket, bind_tcp
from python_server.server import Site, Worker
from python_server.settings import Settings

# The reloader keeps the listening sockets open over restarts and names their descriptors here.
INHERITED_VARIABLE: Final = "WSFRAME_INHERITED_FDS"


def serve(site: Site, settings: Settings, started: Callable[[str], None] | None = None) -> None:
    """Serve `site` in this process until SIGTERM or SIGINT; a second signal, or SIGQUIT, ends at once.

    Args:
        started: called with the real URL once connections are accepted.

    Raises:
        BindError: the address cannot be listened on.
    """
    observe.configure_logging(settings.log_level, settings.access_log, settings.error_log)
    listening = bind(settings)
    worker = Worker(site, settings, listening)
    url = url_of(listening[0])
    with _signals(worker), _pid_file(settings.pid_file):
        announce(url)
        if started is not None:
            started(url)
        worker.run()
    observe.say("stopped")


def bind(settings: Settings) -> list[Socket]:
    """The listening sockets: inherited from a reloader, or bound here.

    Raises:
        BindError: an address cannot be listened on.
    """
    inherited = os.environ.get(INHERITED_VARIABLE)
    if inherited:
        return [Socket(fileno=int(descriptor)) for descriptor in inherited.split(",")]
    return [bind_tcp(settings.host, settings.port, settings.backlog_count)]


def url_of(listening: Socket) -> str:
    """The address a browser would open, with the real port."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announce(url: str) -> None:
    """The one line that every start prints."""
    print(
        f"python_server: listening on {url} (process {os.getpid()}; stop with Ctrl+C)",
        file=sys.stderr,
        flush=True,
    )


@contextmanager
def _signals(worker: Worker) -> Iterator[None]:
    """TERM, INT: stop, once more: now. QUIT: now. HUP, USR1: open log files anew. WINCH: nothing."""
    asked = 0

    def stop(number: int, frame: Any) -> None:
        nonlocal asked
        asked += 1
        if asked == 1 and number != signal.SIGQUIT:
            worker.stop()
        else:
            worker.force()

    def reopen(number: int, frame: Any) -> None:
        observe.reopen_logs()

    handlers: dict[int, Any] = {
        signal.SIGTERM: stop,
        signal.SIGINT: stop,
        signal.SIGQUIT: stop,
        signal.SIGHUP: reopen,
        signal.SIGUSR1: reopen,
        signal.SIGWINCH: signal.SIG_IGN,
    }
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def _pid_file(path: str | None) -> Iterator[None]:
    """Raises BindError when the file cannot be written."""
    if path is None:
        yield
        return
    try:
        Path(path).write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise BindError(f"cannot write the process id to {path}: {error.strerror}") from None
    try:
        yield
    finally:
        Path(path).unlink(missing_ok=True)
