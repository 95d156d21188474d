"""serve(): bind, run a worker or several, turn signals into orders.

Must not know: protocols, handlers, or how an application was found.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address
from itertools import chain, repeat
from typing import Final

from python_server.connection.acceptor import tls_context
from python_server.control.places import workers as worker_sockets
from python_server.control.server import NO_SOCKET, open_control
from python_server.monitoring.snapshots import snapshot_folder
from python_server.net import systemd
from python_server.net.descriptors import allow_descriptors
from python_server.net.line_writer import LineWriter
from python_server.net.loop import Loop
from python_server.net.portability import UNIX, signals
from python_server.net.scoreboard import STALE_SECONDS
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
from python_server.net.system import REAL
from python_server.net.threads import on_main_thread
from python_server.observe import log
from python_server.observe.fatal_signals import write_stacks_at_fatal_signals
from python_server.observe.log_config import use_log_config
from python_server.observe.masking import mask_also
from python_server.serve.cluster_address import CLUSTER, check_cluster, cluster_listening
from python_server.serve.metrics_address import check_metrics, metrics_address
from python_server.serve.mounts import Site
from python_server.serve.pid_file import check_pid_file, pid_file
from python_server.serve.reexec import CLIENTS, Reexec, inherited_from_itself
from python_server.serve.signals import ApplicationSignals, OnlySaid, Order, Orders, given_as_orders
from python_server.serve.tracing import check_tracing
from python_server.serve.wiring import SOFTWARE
from python_server.serve.worker import Worker
from python_server.settings import Settings
from python_server.workers.link_messages import VERSION, other_version
from python_server.workers.spawn import INHERITED_VARIABLE, WorkerSlot, is_worker, take_slot
from python_server.workers.supervisor import Supervisor
from wsframe import IMPLEMENTATION

# How the lines of a log are written.
LINES: Final = partial(LineWriter, monotonic=REAL.monotonic)
# Called in every process that serves, before it does, once the application has come; to say how, for example.
ON_START: Final[list[Callable[[], None]]] = []
# The name of the control socket among a worker's further listening sockets.
CONTROL: Final = "control"


def serve(
    site: Site,
    settings: Settings,
    started: Callable[[str], None] | None = None,
    reexec: Reexec | None = None,
) -> None:
    """Serve `site` until SIGTERM or SIGINT; a second signal, or SIGQUIT, ends at once.

    In a process that a supervisor has started this is one of its workers. Where the settings ask for
    several it is the supervisor, which starts this program again for each and never serves `site` itself.

    Args:
        started: called with the real URL once connections are accepted; not in a worker.
        reexec: serves new code in this process at SIGHUP; None: the code stays. Not for several workers.

    Raises:
        BindError: the address cannot be listened on.
        SystemExit: the first of several workers did not come up; with its exit code. Or this is a worker,
            and its supervisor of another version.
    """
    if is_supervisor(settings):
        supervise(settings, started)
        return
    slot = take_slot(os.environ, REAL.monotonic)
    name = "" if slot is None else f"worker {slot.index}"
    set_up_logs(settings, settings.access_log, name)
    allow_descriptors(settings.connections_max_count, log.warn)
    tell_of_start()
    if slot is not None:
        _serve_as_worker(site, settings, slot)
        return
    kept = inherited_from_itself(os.environ)
    keep = None if reexec is None else reexec.keep
    with (
        _opened(settings, kept) as (listening, control),
        cluster_listening(settings, kept, keep) as others,
        metrics_address(settings, kept, keep) as begin_metrics,
    ):
        if keep is not None:
            keep(CLIENTS, listening)
        worker = Worker(site, settings, listening.sockets, control=control, others=others)
        # Signals are the main thread's affair.
        orders = _orders_of(worker, reexec) if on_main_thread() else {}
        theirs = ApplicationSignals(log.report, () if reexec is None else (reexec.note,))
        with (
            given_as_orders(worker.loop.mailbox.post, orders, theirs),
            pid_file(settings.pid_file, lambda: reexec is not None and reexec.ending),
        ):
            _tell_started(settings, listening, served(site), started)
            begin_metrics(worker.figures_of_all)
            _watch(worker.loop, lambda seconds: True)
            if reexec is not None and reexec.loaded():
                worker.loop.mailbox.post(orders[signal.SIGHUP])
            worker.run()
            if reexec is not None and theirs.told_to_stop:  # perhaps after the loop's end
                reexec.give_up()
            log.say("stopped")
    if reexec is not None:
        reexec.served(settings.graceful_timeout_seconds)


def _serve_as_worker(site: Site, settings: Settings, slot: WorkerSlot) -> None:
    """Raises SystemExit: the supervisor is of another version."""
    if slot.version != VERSION:
        log.warn(f"the supervisor {other_version(slot.version)}")
        raise SystemExit(1)
    if slot.index == 1:
        for what in served(site):
            log.say(what)
    theirs = ApplicationSignals(log.report)
    control = slot.named.get(CONTROL)
    sockets, others = bind(settings, {}).sockets, slot.named.get(CLUSTER)
    worker = Worker(site, settings, sockets, slot, control, theirs.tell, others=others)
    with given_as_orders(worker.loop.mailbox.post, _orders_of(worker), theirs):
        worker.run()


def set_up_logs(settings: Settings, access_log: str | None = None, process_name: str = "") -> None:
    """As the settings ask for it, in each process that logs. Raises LogError."""
    use_log_config(settings.log_config)
    mask_also(settings.log_masked_fields)
    log.configure_logging(
        settings.log_level,
        access_log,
        settings.error_log,
        process_name,
        log_format=settings.log_format,
        keep_levels=settings.log_config is not None,
        writer=LINES,
    )
    write_stacks_at_fatal_signals(settings.error_log)


def tell_of_start() -> None:
    """Do what is to be done before a process serves, once."""
    while ON_START:
        ON_START.pop(0)()


def is_supervisor(settings: Settings) -> bool:
    """Is this process to start workers instead of serving? Then it need not load the application."""
    return (settings.workers_count > 1 or settings.max_requests_count > 0) and not is_worker(os.environ)


def check_workers(settings: Settings) -> None:
    """Raises BindError: several are asked for where no process takes over another's sockets."""
    if is_supervisor(settings) and not UNIX:
        raise BindError("several workers need a UNIX system: leave --workers and --max-requests out")


def supervise(settings: Settings, started: Callable[[str], None] | None = None) -> None:
    """Bind, and keep workers alive until SIGTERM or SIGINT.

    Raises:
        BindError: the address cannot be listened on, or the system has no UNIX sockets.
        SystemExit: the first worker did not come up; with its exit code.
    """
    check_workers(settings)
    set_up_logs(settings)
    kept = inherited_from_itself(os.environ)
    with (
        _opened(settings, kept) as (listening, control),
        cluster_listening(settings, kept) as others,
        metrics_address(settings, kept) as begin_metrics,
        snapshot_folder(settings.metrics is not None) as snapshots,
    ):
        loop = Loop(log.report)
        workers = Supervisor(
            loop=loop,
            system=REAL,
            settings=settings,
            listening=listening.sockets,
            named={name: each for name, each in ((CONTROL, control), (CLUSTER, others)) if each is not None},
            serving=lambda: _tell_started(settings, listening, [], started),
            rolled=lambda: systemd.notify(systemd.READY),
            metrics_folder=None if snapshots is None else snapshots.path,
        )
        theirs = ApplicationSignals(log.report)
        with (
            given_as_orders(loop.mailbox.post, _orders_of_workers(workers), theirs),
            pid_file(settings.pid_file),
        ):
            loop.call_soon(workers.begin)
            if snapshots is not None:
                begin_metrics(snapshots.read)
            _watch(loop, workers.turning)
            try:
                loop.run()
            finally:
                workers.close()
                loop.close()
    if workers.exit_code:
        raise SystemExit(workers.exit_code)
    log.say("stopped")


def _watch(loop: Loop, turning: Callable[[float], bool]) -> None:
    """Tell the service manager that we live, if it waits for that: as long as all loops turn.

    `turning`: has every one of them turned within so many seconds?
    """
    interval_seconds = systemd.watchdog_seconds(os.environ)
    if interval_seconds is None:
        return
    longest_seconds, again_seconds = max(interval_seconds / 2, STALE_SECONDS), interval_seconds / 4

    def beat() -> None:
        if turning(longest_seconds):
            systemd.notify(systemd.ALIVE)
        loop.call_later(again_seconds, beat)

    loop.call_soon(beat)


def served(site: Site) -> list[str]:
    """What clients may connect to beside pages, as a log has it."""
    words = [f"{'Engine.IO' if mount.hub is None else 'Socket.IO'} at {mount.path}" for mount in site.mounts]
    routes = [route if isinstance(route, str) else route.pattern for route in site.websockets]
    return [*words, f"WebSockets at {', '.join(routes)}"] if routes else words


def _tell_started(
    settings: Settings, listening: Listening, what: list[str], started: Callable[[str], None] | None
) -> None:
    secure = settings.tls.certfile or settings.tls.context
    urls = shown_urls(listening.sockets, "https" if secure else "http")
    count = settings.workers_count
    workers = "1 worker" if count == 1 else f"{count} workers, each"
    threads = f"{settings.wsgi_threads_count} threads for requests, {settings.event_threads_count} for events"
    others = [] if settings.cluster.listen is None else [f"other machines at {settings.cluster.listen}"]
    facts = ", ".join([f"{SOFTWARE} ({IMPLEMENTATION} codec)", f"{workers} with {threads}", *what, *others])
    log.say(f"{facts}: listening on {', '.join(urls)} (process {os.getpid()}; stop with Ctrl+C)")
    systemd.notify(systemd.READY)
    if started is not None:
        started(urls[0])


def bind(settings: Settings, kept: Mapping[str, Listening]) -> Listening:
    """The listening sockets: `kept`, handed over by a supervisor, a reloader or systemd, or bound here.

    Raises BindError when an address cannot be listened on.
    """
    if CLIENTS in kept:
        return kept[CLIENTS]
    if inherited := os.environ.get(INHERITED_VARIABLE):
        sockets = [Socket(fileno=int(descriptor)) for descriptor in inherited.split(",")]
        for sock in sockets:
            sock.set_inheritable(False)  # a program that the application starts must not hold the port
        return Listening(sockets)
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
        BindError: an address is malformed, a file cannot be made, or workers cannot be started.
        CertificateError: TLS cannot be spoken with these files.
    """
    check_workers(settings)
    for address in addresses_of(settings):
        if isinstance(address, UnixAddress):
            _check_place(address.path, "")
    if settings.control_socket not in (None, NO_SOCKET):
        _check_place(settings.control_socket, f"--control-socket {settings.control_socket!r}: ")
    if settings.pid_file is not None:
        check_pid_file(settings.pid_file)
    check_metrics(settings)
    check_cluster(settings)
    check_tracing(settings)
    tls_context(settings)


def _check_place(path: str, whose: str) -> None:
    """Can a UNIX socket be made there? Raises BindError."""
    folder = os.path.dirname(os.path.abspath(path))
    reason = "" if path else "the path is empty"
    if not os.path.isdir(folder):
        reason = f"there is no folder {folder}"
    elif not os.access(folder, os.W_OK | os.X_OK):
        reason = f"this user may not create files in {folder}"
    elif os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode):
        reason = "a file there is not a socket: remove it or choose another path"
    if reason:
        raise BindError(f"{whose}cannot listen on {UnixAddress(path)}: {reason} [socket-path]")


def addresses_of(settings: Settings) -> list[Address]:
    """Where the settings ask to listen. Raises BindError for a malformed address."""
    addresses: list[Address] = [parse_address(text, settings.port) for text in settings.binds]
    if settings.uds is not None:
        addresses.append(UnixAddress(settings.uds))
    if settings.fd is not None:
        addresses.append(InheritedDescriptor(settings.fd))
    return addresses or [TCPAddress(_host(settings.host), settings.port)]


def _host(text: str) -> str:
    """A name or a numeric address, without brackets. Raises BindError for what is more than a host."""
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in host or "/" in host:
        try:
            ip_address(host)
        except ValueError:
            raise BindError(
                f"--host {text!r} is more than a host: "
                "write --port for a port, or --bind with host:port or unix:/path [bad-address]"
            ) from None
    return host


def public_address(settings: Settings) -> Address | None:
    """The first address that another machine may reach, as far as its name tells; None if there is none.

    A path is the file system's affair, a descriptor that of whoever has bound it. Raises BindError for a
    malformed address.
    """
    tcp = (address for address in addresses_of(settings) if isinstance(address, TCPAddress))
    return next((address for address in tcp if not address.is_loopback), None)


# Signals of other servers that mean nothing here: left to the system they would end or stop the process.
NO_SECOND_SERVER: Final = "SIGUSR2 is ignored: no second server is started beside this one"
FOR_SEVERAL: Final = "{} is ignored: it changes the number of workers where there are several (--workers)"
CODE_STAYS: Final = (
    "SIGHUP: log files are opened again, the code is not reloaded: restart this program "
    "('wsframe serve' reloads it)"
)


def _orders_of(worker: Worker, reexec: Reexec | None = None) -> Orders:
    """A second TERM or INT: end now. HUP: new code, where it can be had. HUP, USR1: open log files anew."""
    stops = chain([worker.stop], repeat(worker.force))

    def end(order: Order) -> None:
        if reexec is not None:
            reexec.give_up()
        order()

    def reopen() -> None:
        systemd.notify(systemd.reloading())
        log.reopen_logs()
        systemd.notify(systemd.READY)

    def hang_up() -> None:
        if reexec is None:
            reopen()
            log.say(CODE_STAYS)
        else:
            systemd.notify(systemd.reloading())
            log.reopen_logs()
            reexec.begin(worker.loop.call_later, worker.stop, lambda: systemd.notify(systemd.READY))

    stop, quit = partial(end, lambda: next(stops)()), partial(end, worker.force)
    only_said = {name: OnlySaid(log.warn, FOR_SEVERAL.format(name)) for name in ("SIGTTIN", "SIGTTOU")}
    orders = _orders(stop=stop, quit=quit, hang_up=hang_up, reopen=reopen)
    return signals(orders | only_said)


def _orders_of_workers(workers: Supervisor) -> Orders:
    """HUP: rolling restart. USR1: open log files anew. TTIN, TTOU: one worker more, one less."""

    def roll() -> None:
        systemd.notify(systemd.reloading())
        log.reopen_logs()
        workers.roll()

    def reopen() -> None:
        log.reopen_logs()
        workers.reopen_logs()

    orders = _orders(stop=workers.stop, quit=workers.quit, hang_up=roll, reopen=reopen) | {
        "SIGTTIN": partial(workers.change_count, 1),
        "SIGTTOU": partial(workers.change_count, -1),
        "SIGUSR2": partial(workers.pass_on, signal.SIGUSR2),
        "SIGCHLD": workers.reap,
    }
    return signals(orders)


def _orders(stop: Order, quit: Order, hang_up: Order, reopen: Order) -> dict[str, Order]:
    """What one worker and several have in common. TERM, INT, Windows' Ctrl+Break: stop. QUIT: end now."""

    def end(order: Order) -> None:
        systemd.notify(systemd.STOPPING)
        order()

    return {
        **dict.fromkeys(("SIGTERM", "SIGINT", "SIGBREAK"), partial(end, stop)),
        "SIGQUIT": partial(end, quit),
        "SIGHUP": hang_up,
        "SIGUSR1": reopen,
        "SIGUSR2": OnlySaid(log.warn, NO_SECOND_SERVER),
        "SIGWINCH": lambda: None,
    }


@contextmanager
def _opened(settings: Settings, kept: Mapping[str, Listening]) -> Iterator[tuple[Listening, Socket | None]]:
    """The listening sockets, and the control socket if there is one.

    Raises BindError when an address cannot be listened on.
    """
    check_tracing(settings)
    with (
        bind(settings, kept) as listening,
        open_control(settings.control_socket, listening, log.warn) as control,
    ):
        yield listening, next(iter(control.sockets), None)
        for path, _ in control.paths[:1]:
            worker_sockets(path)  # of a worker that was killed
