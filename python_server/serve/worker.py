"""The wiring of one worker: the only file that names every part.

Must not know: any rule of any protocol; it constructs, connects, starts and stops.
"""

from __future__ import annotations

import secrets
import sys
import time
from functools import partial
from importlib import metadata
from typing import Any

from python_server.connection.acceptor import Acceptor, most_connections
from python_server.connection.address_caps import SUGGEST_MIN_COUNT, AddressCaps
from python_server.connection.allowed_hosts import AllowedHosts
from python_server.connection.exchange import Exchange, ExchangeServices
from python_server.connection.http_channel import HTTPServices
from python_server.connection.memory_cap import LOOK_SECONDS, end_largest
from python_server.connection.proxy_headers import ProxyRules
from python_server.connection.websocket_channel import WebSocketServices
from python_server.control.commands import ControlCommands
from python_server.control.server import Control
from python_server.engineio.cors import OriginRules
from python_server.engineio.server import Engine
from python_server.engineio.session import DisconnectReason
from python_server.engineio.session_ids import SessionIds
from python_server.engineio.session_limits import SessionLimits, bounds
from python_server.http1.response import DateField
from python_server.net.backpressure import Backpressure
from python_server.net.descriptors import MOST_COUNT, descriptors_max_count
from python_server.net.loop import Deadline, Loop
from python_server.net.memory import keep_large_blocks
from python_server.net.relay import relay_to_socket
from python_server.net.sockets import Socket
from python_server.net.threads import Door
from python_server.observe import log as observe
from python_server.observe.access_log import AccessLog
from python_server.observe.counters import Observer
from python_server.serve.admissions import Admissions
from python_server.serve.mounts import Mount, Site, normal_root_path
from python_server.serve.pools import Pools
from python_server.serve.recovery_handover import recovery_handover
from python_server.serve.routing import Router
from python_server.settings import Settings
from python_server.socketio.cluster.broker.backplane import BrokerServices, RedisBackplane
from python_server.socketio.cluster.factory import join_broker, make_backplane
from python_server.socketio.cluster.port import Backplane
from python_server.socketio.server import Hub
from python_server.socketio.services import HubServices
from python_server.websocket.application import WebSocketRoutes
from python_server.workers.handover import Handover
from python_server.workers.member import BEAT_SECONDS, MemberCallbacks, Membership
from python_server.workers.spawn import WorkerSlot
from python_server.wsgi.handler import ServerFacts, WSGIHandler
from python_server.wsgi.websocket import WebSocketTakeover
from wsframe.deflate import Options

SOFTWARE = f"python_server/{metadata.version('wsframe')}"


class Worker:
    """One loop with its pools, channels, engines and hubs.

    Args:
        site: what to serve. settings: see there. listening: bound sockets, owned from here on.
        slot: its place among several workers, owned from here on; None for the only one.
        control: listening, for this user's own words; owned from here on.

    Raises:
        CertificateError: TLS cannot be spoken with these files. ValueError: a proxy's address, or the name of
            an allowed host, is malformed.
    """

    def __init__(
        self,
        site: Site,
        settings: Settings,
        listening: list[Socket],
        slot: WorkerSlot | None = None,
        control: Socket | None = None,
    ) -> None:
        self._site = site
        self._settings = settings
        self._observer = Observer()
        self._access_log = AccessLog(settings.access_log_format)
        self.loop = Loop(
            observe.report,
            receive_buffer_bytes=settings.transport.receive_buffer_bytes,
            # What is posted before a client is known to be slow must fit into what it may leave unsent.
            mailbox_max_bytes=min(settings.mailbox_max_bytes, settings.transport.hard_limit_bytes // 2),
        )
        self._membership = None if slot is None else self._join(slot)
        # Of this machine, among those that share a broker.
        self._host_id = secrets.token_hex(16) if slot is None else slot.host_id
        self._stopping = False
        self._succeeded = False  # another worker takes over what this one holds
        row = None if self._membership is None else self._membership.row
        proxies = ProxyRules(settings.forwarded_allow_ips) if settings.proxy_headers else None
        self._caps = self._address_caps(proxies)
        self._acceptor = Acceptor(self.loop, settings, listening, row, self._observer.complain, self._caps)
        if self._membership is not None:
            self._membership.siblings.on_changed(self._acceptor.look_again)
        self._pools = Pools(self.loop, settings, observe.report, self._observer.complain)
        self._door = Door(self.loop.mailbox, self._pools.events)
        root_path = normal_root_path(settings.root_path)
        facts = ServerFacts(
            settings.server_name, SOFTWARE, script_name=root_path, multiprocess=slot is not None
        )
        self._admissions = Admissions(site, facts, self._door, observe.report)
        websockets = self._websocket_services()
        wsgi = WSGIHandler(
            site.application,
            self._pools.requests,
            self.loop.mailbox.post,
            facts,
            observe.report,
            settings.http.body_window_bytes,
            self._pools.requests.waiting_count,
            settings.wsgi_queue_count,
            lambda exchange: WebSocketTakeover(
                exchange,
                self._door,
                websockets,
                self._relay,
                self._socket_taken,
                settings.websocket.max_queue_count,
            ),
            self._pools.websockets,
            max(1, settings.wsgi_threads_count // 2),
            partial(self._pools.saturated, "threads"),
        )
        routes = WebSocketRoutes(
            site.websockets,
            self._door,
            websockets,
            lambda allowed: OriginRules(allowed).refusal,
            observe.report,
            self._observer.complain,
            self._admissions.of_routes(),
        )
        self._backplanes: list[Backplane] = []
        self._homes = None if self._membership is None else self._home_finder(self._membership)
        self._control = None if control is None else self._open_control(control)
        self._session_limits = SessionLimits(
            *bounds(
                settings.sessions_max_count,
                settings.half_open_sessions_max_count,
                descriptors_max_count() or MOST_COUNT,
            ),
            settings.address_sessions_max_count,
        )
        self._engines = [(mount.path, self._mount(mount, websockets, facts)) for mount in site.mounts]
        membership, complain = self._membership, self._observer.complain
        self._recovery_handover = (
            None
            if membership is None
            else recovery_handover(
                site.mounts, membership.siblings, self.loop.call_later, self._now, complain
            )
        )
        caps = self._caps
        admit = (
            (lambda request, own: caps.admit(request, own, self.loop.now)) if caps.looks_at_requests else None
        )
        router = Router(
            self._acceptor.scheme,
            proxies,
            AllowedHosts(settings.allowed_hosts),
            self._observer.complain,
            root_path,
            self._engines,
            routes,
            wsgi,
            admit,
        )
        self._acceptor.set_services(self._http_services(router))

    def _http_services(self, router: Router) -> HTTPServices:
        limits = self._settings.http
        return HTTPServices(
            route=router.route,
            limits=limits,
            timeouts=limits,
            deadline=partial(Deadline, self.loop),
            exchange=ExchangeServices(
                time.monotonic,
                DateField(time.time).now,
                SOFTWARE,
                self._count_exchange,
                lambda exchange: self._caps.ended(exchange.request),
            ),
            lost=self._acceptor.lost,
            stop=None if self._membership is None else router.is_foreign,
        )

    def _join(self, slot: WorkerSlot) -> Membership:
        settings = self._settings
        return Membership(
            slot,
            self.loop,
            observe.report,
            self._observer.complain,
            MemberCallbacks(
                partial(self._begin_stop, settings.graceful_timeout_seconds), observe.reopen_logs
            ),
            settings.max_requests_count,
            settings.max_requests_jitter_count,
            min(BEAT_SECONDS, settings.worker_timeout_seconds / 4 or BEAT_SECONDS),
        )

    def _address_caps(self, proxies: ProxyRules | None) -> AddressCaps:
        settings = self._settings
        most = most_connections(settings)
        return AddressCaps(
            settings.address_connections_max_count,
            settings.address_minute_requests_max_count,
            0 if most is None else max(SUGGEST_MIN_COUNT, most // 10),
            proxies,
            self._observer.complain,
        )

    def _websocket_services(self) -> WebSocketServices:
        settings, limits = self._settings, self._settings.websocket
        waiting_counts = {
            self._pools.requests: settings.wsgi_threads_count // 2,
            self._pools.events: settings.event_threads_count // 2,
        }
        return WebSocketServices(
            limits.max_message_bytes,
            limits.max_fragments_count,
            limits.close_timeout_seconds,
            settings.transport.linger_max_bytes,
            limits.unfinished_frame_timeout_seconds,
            limits.ping_interval_seconds,
            limits.ping_timeout_seconds,
            settings.transport.stall_timeout_seconds,
            limits.broadcast_wait_seconds,
            Backpressure(waiting_counts),
            Options() if limits.per_message_deflate else None,
            partial(Deadline, self.loop),
            self._acceptor.add,
            self._acceptor.lost,
            self.loop.call_soon,
        )

    def _socket_taken(self) -> None:
        """Programs with a thread per socket lose a fifth of their events to a short interval."""
        sys.setswitchinterval(self._settings.own_io_switch_interval_seconds)

    def _relay(self, transport: Any, leftover: bytes) -> tuple[Any, Any]:
        return relay_to_socket(self.loop, transport, leftover, observe.report, self._settings.transport)

    def _mount(self, mount: Mount, websockets: WebSocketServices, facts: ServerFacts) -> Engine:
        siblings = None if self._membership is None else self._membership.siblings
        backplane = make_backplane(mount.path, siblings, self.loop.call_later, self._observer.complain)
        if mount.broker is not None and mount.hub is not None:
            services = self._broker_services(mount.hub)
            backplane = join_broker(mount.broker, backplane, self._host_id, siblings, services)
        self._backplanes.append(backplane)
        host_id = "" if mount.broker is None else self._host_id
        names = SessionIds(None if self._membership is None else self._membership.siblings.index, host_id)
        sessions = mount.server.attach(
            HubServices(
                self._door,
                self.loop.call_later,
                observe.report,
                self._observer.complain,
                self._now,
                self._stop_server,
                backplane,
                names,
                backplane.room_held if isinstance(backplane, RedisBackplane) else None,
                self._settings.rooms_max_count,
            )
        )
        mount.serving(facts, self._site.application)
        return Engine(
            sessions,
            mount.options,
            self.loop.call_later,
            self.loop.call_soon,
            self._now,
            websockets,
            self._observer.complain,
            names,
            self._homes,
            self._admissions.of_mount(mount),
            self._session_limits,
        )

    def _home_finder(self, membership: Membership) -> Handover:
        return Handover(
            self.loop,
            membership.siblings,
            self._acceptor.serve,
            self._acceptor.add,
            self._acceptor.lost,
            observe.report,
            self._observer.complain,
            self._settings.transport,
        )

    def _broker_services(self, hub: Hub) -> BrokerServices:
        return BrokerServices(
            self.loop.mailbox.post,
            self.loop.call_later,
            self._observer.complain,
            observe.report,
            observe.say,
            observe.warn,
            lambda: hub.codec,
            lambda: None if hub.recovery is None else hub.recovery.next_offset,
        )

    def _open_control(self, sock: Socket) -> Control:
        hubs = {mount.path: mount.hub for mount in self._site.mounts if mount.hub is not None}
        orders = ControlCommands(hubs, self._figures, self._observer.complain)
        return Control(self.loop, sock, orders.obey, observe.report, self._settings.transport)

    def _figures(self) -> dict[str, int]:
        """Loop's thread: what this worker counts, as the control socket tells it."""
        figures = {"connections": len(self._acceptor.channels), **self._observer.counts}
        for broker in self._brokers():
            figures |= broker.figures()
        return figures

    def _brokers(self) -> list[RedisBackplane]:
        return [backplane for backplane in self._backplanes if isinstance(backplane, RedisBackplane)]

    # Serving

    def run(self) -> None:
        """Serve until `stop`; then everything is closed."""
        sys.setswitchinterval(self._settings.switch_interval_seconds)
        keep_large_blocks()
        self.loop.mailbox.adopt()
        if self._settings.clients_max_bytes:
            self._look_at_memory()
        if self._control is not None:
            self._control.start()
        if self._membership is None:
            self._acceptor.start()
        else:
            self._membership.begin(self._acceptor.start)
        try:
            self.loop.run()
        finally:
            self._close()

    def _look_at_memory(self) -> None:
        """As long as the loop turns."""
        self.loop.call_later(LOOK_SECONDS, self._look_at_memory)
        holders: list[tuple[Any, Any]] = [(channel, channel.abort) for channel in self._acceptor.channels]
        for _, engine in self._engines:
            holders += [(session, session.end) for session in engine.sessions.values()]
        end_largest(
            self._settings.clients_max_bytes, holders, DisconnectReason.SLOW_CLIENT, self._observer.complain
        )

    def stop(self, timeout_seconds: float | None = None) -> None:
        """Any thread: stop accepting, let running requests end, close WebSockets with 1001, then end."""
        if timeout_seconds is None:
            timeout_seconds = self._settings.graceful_timeout_seconds
        self.loop.mailbox.post(self._stop_alone, timeout_seconds)

    def _stop_alone(self, timeout_seconds: float) -> None:
        """Nobody has said who takes over: a sibling that stays, where there is one."""
        membership = self._membership
        self._begin_stop(
            timeout_seconds, None if membership is None else membership.siblings.likely_successor()
        )

    def _stop_server(self) -> None:
        """Any thread: the end of this worker, and of all others where there are any."""

        def stop() -> None:
            if self._membership is None or not self._membership.stop_server():
                self._stop_alone(self._settings.graceful_timeout_seconds)

        self.loop.mailbox.post(stop)

    def force(self) -> None:
        """Any thread: end now."""
        self.loop.mailbox.post(self.loop.stop)

    def _begin_stop(self, timeout_seconds: float, successor: int | None) -> None:
        """`successor`: the worker that takes over what this one holds; None when none goes on."""
        if self._stopping:
            return
        self._stopping = True
        self._succeeded = successor is not None
        # Whoever told a worker to stop says itself what more can be done.
        hint = "" if self._membership is not None else "; a second signal cuts it off"
        observe.say(f"stopping: what runs may end{hint}")
        if self._control is not None:
            self._control.close()
        if self._membership is not None:
            self._membership.leave(successor)
        # What waits in the system's queue is for those that go on, where there are any.
        self._acceptor.stop(take_waiting=successor is None)
        for _, engine in self._engines:
            engine.close()
        if self._recovery_handover is not None and successor is not None:
            self._recovery_handover.hand_over(successor)
        # A request may be on its way on a kept connection: it is still answered, with Connection: close.
        grace = min(timeout_seconds, self._settings.idle_grace_seconds)
        self.loop.call_later(grace, self._acceptor.close_idle)
        self._await_end(self.loop.now + timeout_seconds)

    def _await_end(self, deadline: float) -> None:
        # Disconnect handlers that wait for a thread are still to be told; what runs has its time in `_close`.
        done = not self._acceptor.channels and not self._pools.events.waiting_count()
        if self._membership is not None and self._membership.siblings.queued_bytes():
            done = False
        if self._recovery_handover is not None and self._recovery_handover.busy:
            done = False
        if self._succeeded and any(broker.leaving for broker in self._brokers()):
            done = False
        if done or self.loop.now >= deadline:
            self.loop.call_soon(self.loop.stop)
        else:
            self.loop.call_later(0.02, partial(self._await_end, deadline))

    def _close(self) -> None:
        self._acceptor.abort("server stopped")
        self.loop.run_once(0)
        for backplane in self._backplanes:
            backplane.close()
        self._pools.close()
        if self._membership is not None:
            self._membership.close()
        self.loop.close()

    # Requests

    def _count_exchange(self, exchange: Exchange, seconds: float) -> None:
        self._observer.count("requests")
        if self._caps.looks_at_requests:
            self._caps.ended(exchange.request)
        if self._membership is not None:
            self._membership.count_request()
        if self._settings.access_log:
            self._access_log.write(exchange.request, exchange.status, exchange.sent_bytes, seconds)

    def _now(self) -> float:
        return self.loop.now
