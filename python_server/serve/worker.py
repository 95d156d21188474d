"""The life of one worker: it is wired, it serves, it stops and frees what it holds.

Must not know: any rule of any protocol, or how the parts are connected; see `wiring`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from python_server.connection.exchange import RequestHandler
from python_server.connection.memory_cap import LOOK_SECONDS, end_largest
from python_server.control.commands import ControlCommands
from python_server.control.server import Control
from python_server.control.worker_socket import WorkerSocket
from python_server.engineio.session import DisconnectReason
from python_server.monitoring.event_metrics import EventMetrics
from python_server.monitoring.figures import Collected, Figures
from python_server.monitoring.gauges import Gauges
from python_server.monitoring.snapshots import Snapshots
from python_server.net.loop import Loop
from python_server.net.memory import keep_large_blocks
from python_server.net.sockets import BindError, Socket
from python_server.net.states import StateEnum
from python_server.net.system import REAL, System
from python_server.net.threads import end_turn
from python_server.observe import log
from python_server.observe.access_log import AccessLog, AccessWriter
from python_server.observe.counters import Counters
from python_server.serve import cluster_wiring, wiring
from python_server.serve.inspection import Inspection
from python_server.serve.monitor import Monitor, OwnSnapshots, SnapshotWriter, health_handlers
from python_server.serve.mounts import Site
from python_server.serve.tracing import make_tracing
from python_server.settings import Settings
from python_server.workers.peers import GREETING_SECONDS
from python_server.workers.spawn import WorkerSlot

if TYPE_CHECKING:
    from python_server.serve.machines import Machines

# How soon a worker that ends looks again whether it may.
LOOK_AGAIN_SECONDS: Final = 0.02


class WorkerState(StateEnum):
    SERVING = "HANDING_OVER", "STOPPING", "CLOSED"
    HANDING_OVER = "CLOSED"  # it stops, and another worker takes over what it holds
    STOPPING = "CLOSED"
    CLOSED = ()


class Worker:
    """One loop with its pools, channels, engines and hubs.

    Args:
        site: what to serve. settings: see there. listening: bound sockets, owned from here on.
        slot: its place among several workers, owned from here on; None for the only one.
        control: listening, for this user's own words; owned from here on.
        told: called with the signal by which other servers say what the supervisor has just said otherwise.
        system: its clocks, poller, chance. access_log, counters: instead of its own.
        first: what answers a path before all others, on the loop. make_pools: its threads.
        others: where other machines come in, if they do; owned from here on.

    Attributes:
        membership: among several workers, None for the only one.

    Raises:
        CertificateError: TLS cannot be spoken with these files. BindError: see Machines. ValueError: a
            proxy's address, or the name of an allowed host, is malformed.
    """

    def __init__(
        self,
        site: Site,
        settings: Settings,
        listening: list[Socket],
        slot: WorkerSlot | None = None,
        control: Socket | None = None,
        told: Callable[[int], object] = lambda number: None,
        system: System = REAL,
        access_log: AccessWriter | None = None,
        counters: Counters | None = None,
        first: Mapping[str, RequestHandler] | None = None,
        make_pools: Callable[[wiring.Given, Loop], wiring.Pools] = wiring.make_pools,
        others: Socket | None = None,
    ) -> None:
        self._settings = settings
        self._own_sockets = slot is None or slot.own_sockets
        self._told = told
        self._counters = counters or Counters(system.monotonic)
        self._state = WorkerState.SERVING
        self._hubs = {mount.path: mount.hub for mount in site.mounts if mount.hub is not None}
        handlers = [hub.handlers for hub in self._hubs.values()]
        metrics = None if settings.metrics is None else EventMetrics(system.monotonic, handlers)
        given = wiring.Given(
            site=site,
            settings=settings,
            slot=slot,
            system=system,
            complain=self._counters.complain,
            access_log=access_log or access_log_of(settings, system),
            session_observer=metrics,
            traffic_of=None if metrics is None else metrics.traffic_of,
            tracing=make_tracing(settings, handlers),
        )
        network = wiring.make_network(given, listening)
        self.loop: Loop = network.loop
        self._acceptor = network.acceptor
        self._pools = make_pools(given, self.loop)
        protocols = wiring.make_protocols(given, network, self._pools)
        self._control: Control | None = None
        if control is not None:
            self.open_control(control)
        self._cluster = cluster_wiring.make_cluster(
            given=given,
            network=network,
            pools=self._pools,
            protocols=protocols,
            drain=self._drain,
            reopen_logs=self._reopen_logs,
            stop_server=self._stop_server,
        )
        self.membership = self._cluster.membership
        first = first or (health_handlers(self._unready) if settings.health else None)
        self._machines = self._set_services(given, network, protocols, first, others)
        self._own_figures = OwnSnapshots()
        self._monitor = None if metrics is None else self._make_monitor(metrics, slot, system)
        self._inspection = self._make_inspection(1 if slot is None else slot.index, system, metrics)
        self._own_control: WorkerSocket | None = None
        if control is not None:
            self.open_own_control(control.getsockname())

    def _set_services(
        self,
        given: wiring.Given,
        network: wiring.Network,
        protocols: wiring.Protocols,
        first: Mapping[str, RequestHandler] | None,
        others: Socket | None,
    ) -> Machines | None:
        """What requests are answered with; returns what joins the other machines, if they come in there."""
        machines = None
        if others is not None:
            from python_server.serve.machines import Machines  # all others start without them

            machines = Machines(given, self.loop, self._acceptor, self._cluster, others)
        elsewhere = None if machines is None else machines.elsewhere
        http = cluster_wiring.http_services(
            given, network, protocols, self._cluster, self._counters, first, elsewhere
        )
        self._acceptor.set_services(http)
        if machines is not None:
            machines.set_services(http)
        return machines

    def _make_inspection(self, index: int, system: System, metrics: EventMetrics | None) -> Inspection:
        return Inspection(
            loop=self.loop,
            door=self._pools.door,
            index=index,
            acceptor=self._acceptor,
            engines=[engine for _, engine in self._cluster.engines],
            hubs=self._hubs,
            pools=self._pools.all,
            now=system.monotonic,
            counters=self._figures,
            watching=metrics,
        )

    def open_own_control(self, path: str, *, own_folder: bool = False) -> None:
        """Before the loop runs: one of this worker beside the server's control socket at `path`."""
        try:
            self._own_control = WorkerSocket(path, self._inspection.answer, log.report, own_folder=own_folder)
        except (BindError, OSError) as error:
            log.warn(f"commands do not see this worker: {error}")

    def _make_monitor(self, metrics: EventMetrics, slot: WorkerSlot | None, system: System) -> Monitor:
        index, place = 1, cast("SnapshotWriter", self._own_figures)
        if slot is not None and slot.metrics_folder is not None:
            index, place = slot.index, Snapshots(slot.metrics_folder, slot.index)
        gauges = Gauges(
            acceptor=self._acceptor,
            engines=[engine for _, engine in self._cluster.engines],
            hubs=[*self._hubs.values()],
            pools=self._pools.all,
            brokers=self._cluster.brokers(),
            counters=self._counters,
            cpu=system.cpu,
            label=metrics.namespace_label,
        )
        identity, complain = (index, os.getpid()), self._counters.complain
        return Monitor(self.loop, system, identity, metrics, gauges, self._unready, place, complain)

    def figures_of_all(self) -> Collected:
        """Any thread: of the only worker, as they were within the last second."""
        return Collected(self._own_figures.living, Figures())

    def _unready(self) -> str:
        """Loop's thread: why no requests should come here; "" when they may."""
        if self._state is not WorkerState.SERVING:
            return "the server stops"
        away = [broker for broker in self._cluster.brokers() if not broker.figures()["broker_connected"]]
        return "the broker is not connected" if away else ""

    def open_control(self, sock: Socket) -> None:
        """Loop's thread, or before it runs: hear this user's own words there from now on."""
        orders = ControlCommands(self._hubs, self._figures, self._counters.complain)
        limits = self._settings.transport
        self._control = Control(loop=self.loop, sock=sock, obey=orders.obey, report=log.report, limits=limits)
        self._control.start()

    def _figures(self) -> dict[str, int]:
        """Loop's thread: what this worker counts, as the control socket tells it."""
        figures = {"connections": len(self._acceptor.channels), **self._counters.counts}
        for broker in self._cluster.brokers():
            figures |= broker.figures()
        return figures

    # Serving

    def run(self) -> None:
        """Serve until `stop`; then everything is closed."""
        end_turn()
        sys.setswitchinterval(self._settings.switch_interval_seconds)
        keep_large_blocks()
        self.begin()
        try:
            self.loop.run()
        finally:
            self.close()

    def begin(self) -> None:
        """The calling thread's loop serves from its next turn on."""
        self.loop.mailbox.adopt()
        if self._settings.clients_max_bytes:
            self._look_at_memory()
        if self.membership is None:
            self._accept()
        else:
            self.membership.begin(self._accept)

    def _accept(self) -> None:
        if self._machines is not None:
            self._machines.begin()
        for hub in self._hubs.values():
            hub.begin()
        self._acceptor.start()
        if self._monitor is not None:
            self._monitor.begin()

    def _look_at_memory(self) -> None:
        """As long as the loop turns."""
        self.loop.call_later(LOOK_SECONDS, self._look_at_memory)
        channels = self._acceptor.channels
        holders: list[tuple[int, Callable[[DisconnectReason], object]]] = [
            (channel.held_bytes, channel.abort) for channel in channels
        ]
        for _, engine in self._cluster.engines:
            holders += [(session.held_bytes, session.end) for session in engine.sessions.values()]
        end_largest(
            self._settings.clients_max_bytes, holders, DisconnectReason.SLOW_CLIENT, self._counters.complain
        )

    def stop(self, timeout_seconds: float | None = None) -> None:
        """Any thread: stop accepting, let running requests end, close WebSockets with 1001, then end."""
        if timeout_seconds is None:
            timeout_seconds = self._settings.graceful_timeout_seconds
        self.loop.mailbox.post(self._stop_alone, timeout_seconds)

    def _stop_alone(self, timeout_seconds: float) -> None:
        """Nobody has said who takes over: a sibling that stays, where there is one, or one that begins.

        For that one we wait, and serve meanwhile.
        """
        begun = self.loop.now

        def look() -> None:
            siblings = None if self.membership is None else self.membership.siblings
            successor = None if siblings is None else siblings.likely_successor()
            waited_seconds = self.loop.now - begun
            awaited = siblings is not None and successor is None and siblings.any_beginning()
            if awaited and waited_seconds < min(GREETING_SECONDS, timeout_seconds / 2):
                self.loop.call_later(LOOK_AGAIN_SECONDS, look)
            else:
                self.drain(timeout_seconds - waited_seconds, successor)

        look()

    def _stop_server(self) -> None:
        """Any thread: the end of this worker, and of all others where there are any."""

        def stop() -> None:
            if self.membership is None or not self.membership.stop_server():
                self._stop_alone(self._settings.graceful_timeout_seconds)

        self.loop.mailbox.post(stop)

    def _drain(self, successor: int | None) -> None:
        """The supervisor ends this worker."""
        self._told(signal.SIGTERM)
        self.drain(self._settings.graceful_timeout_seconds, successor)

    def _reopen_logs(self) -> None:
        """The supervisor says that log files have moved."""
        self._told(signal.SIGUSR1)
        log.reopen_logs()

    def force(self) -> None:
        """Any thread: end now."""
        self.loop.mailbox.post(self.loop.stop)

    def drain(self, timeout_seconds: float, successor: int | None) -> None:
        """Loop's thread: stop within that time; what was said first counts.

        Args:
            successor: the worker that takes over what this one holds; None when none goes on.
        """
        if self._state is not WorkerState.SERVING:
            return
        self._state = self._state.to(WorkerState.STOPPING if successor is None else WorkerState.HANDING_OVER)
        # Whoever told a worker to stop says itself what more can be done.
        hint = "" if self.membership is not None else "; a second signal cuts it off"
        log.say(f"stopping: what runs may end{hint}")
        if self._control is not None:
            self._control.close()
        if self.membership is not None:
            self.membership.leave(successor)
        # What waits in the system's queue is for those that go on, where there are any.
        self._acceptor.stop(take_waiting=successor is None or self._own_sockets)
        for _, engine in self._cluster.engines:
            engine.close()
        for hub in self._hubs.values():
            if hub.streams is not None:
                hub.streams.close()
        if self._machines is not None:
            self._machines.drain()
        if self._cluster.recovery_handover is not None and successor is not None:
            self._cluster.recovery_handover.hand_over(successor, min(GREETING_SECONDS, timeout_seconds / 2))
        # A request may be on its way on a kept connection: it is still answered, with Connection: close.
        grace = min(timeout_seconds, self._settings.idle_grace_seconds)
        self.loop.call_later(grace, self._acceptor.close_idle)
        self._await_end(self.loop.now + timeout_seconds)

    def _await_end(self, deadline: float) -> None:
        if not self._busy() or self.loop.now >= deadline:
            self.loop.call_soon(self.loop.stop)
        else:
            self.loop.call_later(LOOK_AGAIN_SECONDS, partial(self._await_end, deadline))

    def _busy(self) -> bool:
        """Is anybody served, told of the end, or sent what the successor is to have?"""
        cluster = self._cluster
        return bool(
            self._acceptor.channels
            # Disconnect handlers that wait for a thread; what runs has its time in `_close`.
            or self._pools.events.waiting_count()
            or (self._machines is not None and self._machines.queued_bytes)
            or (self.membership is not None and self.membership.queued_bytes())
            or (cluster.recovery_handover is not None and cluster.recovery_handover.busy)
            or (self._state is WorkerState.HANDING_OVER and any(each.leaving for each in cluster.brokers()))
        )

    def close(self) -> None:
        """Loop's thread, once: everything that is left ends, and what the worker holds is freed."""
        self._state = self._state.to(WorkerState.CLOSED)
        self._acceptor.abort("server stopped")
        self.loop.run_once(0)
        if self._machines is not None:
            self._machines.close()
        for backplane in self._cluster.backplanes:
            backplane.close()
        self._pools.close()
        if self._own_control is not None:
            self._own_control.close()
        if self._monitor is not None:
            self._monitor.close()
        if self.membership is not None:
            self.membership.close()
        self.loop.close()


def access_log_of(settings: Settings, system: System) -> AccessLog | None:
    """What the settings ask for."""
    return AccessLog(settings.access_log_format, system.wall) if settings.access_log else None
