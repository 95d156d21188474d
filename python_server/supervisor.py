"""serve(): bind, run a worker, turn signals into an orderly stop.

Must not know: protocols, handlers, or how an application was found.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from python_server import observe
from python_server.net import systemd
from python_server.net.sockets import (
    Address,
    BindError,
    InheritedDescriptor,
    Listening,
    Socket,
    TCPAddress,
    UnixAddress,
    listen,
    parse_address,
    shown_urls,
)
from python_server.server import Site, Worker, tls_context
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
    with bind(settings) as listening:
        worker = Worker(site, settings, listening.sockets)
        urls = shown_urls(listening.sockets, "https" if settings.tls.certfile else "http")
        with _signals(worker), _pid_file(settings.pid_file):
            announce(urls)
            systemd.notify(systemd.READY)
            if started is not None:
                started(urls[0])
            worker.run()
    observe.say("stopped")


def bind(settings: Settings) -> Listening:
    """The listening sockets: handed over by a reloader or by systemd, or bound here.

    Raises:
        BindError: an address cannot be listened on.
    """
    inherited = os.environ.get(INHERITED_VARIABLE)
    if inherited:
        return Listening([Socket(fileno=int(descriptor)) for descriptor in inherited.split(",")])
    given = [InheritedDescriptor(descriptor) for descriptor in systemd.activated_descriptors(os.environ)]
    return listen(
        given or addresses_of(settings),
        settings.backlog_count,
        reuse_port=settings.reuse_port,
        unix_permissions=settings.uds_permissions,
    )


def check_listening(settings: Settings) -> None:
    """Look at everything that listening needs, without binding anything.

    Raises:
        BindError: an address is malformed. CertificateError: TLS cannot be spoken with these files.
    """
    addresses_of(settings)
    tls_context(settings)


def addresses_of(settings: Settings) -> list[Address]:
    """Where the settings ask to listen.

    Raises:
        BindError: an address is malformed.
    """
    addresses: list[Address] = [parse_address(text, settings.port) for text in settings.binds]
    if settings.uds is not None:
        addresses.append(UnixAddress(settings.uds))
    if settings.fd is not None:
        addresses.append(InheritedDescriptor(settings.fd))
    return addresses or [TCPAddress(settings.host, settings.port)]


def announce(urls: Sequence[str]) -> None:
    """The one line that every start prints."""
    print(
        f"python_server: listening on {', '.join(urls)} (process {os.getpid()}; stop with Ctrl+C)",
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
        systemd.notify(systemd.STOPPING)
        if asked == 1 and number != signal.SIGQUIT:
            worker.stop()
        else:
            worker.force()

    def reopen(number: int, frame: Any) -> None:
        systemd.notify(systemd.reloading())
        observe.reopen_logs()
        systemd.notify(systemd.READY)

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
