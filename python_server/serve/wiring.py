"""The wiring of one worker, from the bottom up: network, pools, protocols, cluster.

Must not know: any rule of any protocol, or when a worker begins and ends; it constructs and connects.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Final

from python_server.connection.acceptor import Acceptor, most_connections
from python_server.connection.address_caps import SUGGEST_MIN_COUNT, AddressCaps
from python_server.connection.allowed_hosts import AllowedHosts
from python_server.connection.exchange import Exchange, ExchangeServices
from python_server.connection.http_channel import HTTPServices
from python_server.connection.proxy_headers import ProxyRules
from python_server.connection.websocket_channel import WebSocketServices
from python_server.engineio.cors import OriginRules
from python_server.engineio.server import Engine
from python_server.engineio.session_ids import SessionIds
from python_server.engineio.session_limits import SessionLimits, bounds
from python_server.http1.response import DateField
from python_server.net.backpressure import Backpressure
from python_server.net.descriptors import MOST_COUNT, descriptors_max_count
from python_server.net.loop import Deadline, Loop
from python_server.net.pool import Lending, Pool
from python_server.net.relay import relay_to_socket
from python_server.net.scoreboard import Row
from python_server.net.sockets import Socket
from python_server.net.system import System
from python_server.net.threads import Door
from python_server.observe import log
from python_server.observe.access_log import AccessWriter
from python_server.observe.counters import Counters
from python_server.serve.client_files import client_files
from python_server.serve.mounts import Mount, Site, normal_root_path
from python_server.serve.recovery_handover import RecoveryHandover
from python_server.serve.routing import Router
from python_server.settings import Settings
from python_server.socketio.cluster.broker.backplane import BrokerServices, RedisBackplane, join_broker
from python_server.socketio.cluster.pipe_backplane import PipeBackplane
from python_server.socketio.cluster.port import Backplane, NoBackplane
from python_server.socketio.services import HubServices
from python_server.websocket.application import Admit, WebSocketRoutes
from python_server.workers.handover import Handover
from python_server.workers.member import Membership
from python_server.workers.spawn import WorkerSlot
from python_server.wsgi.environ import ServerFacts
from python_server.wsgi.handler import WSGIHandler, WSGIServices
from python_server.wsgi.handshake_middleware import HandshakeMiddleware, admission
from python_server.wsgi.websocket import WebSocketTakeover
from wsframe.deflate import Options

POOLS_CLOSE_SECONDS: Final = 1.0
SOFTWARE: Final = f"python_server/{metadata.version('wsframe')}"


@dataclass(frozen=True, slots=True)
class Given:
    """What a worker is made from; `complain` is called with (kind, sentence)."""

    site: Site
    settings: Settings
    slot: WorkerSlot | None
    system: System
    complain: Callable[[str, str], None]
    access_log: AccessWriter | None


@dataclass(frozen=True, slots=True)
class Network:
    """The loop, and the connections that it accepts; `row` is this worker's among several."""

    loop: Loop
    now: Callable[[], float]  # of the loop's turn
    row: Row | None
    proxies: ProxyRules | None
    caps: AddressCaps
    acceptor: Acceptor


def make_network(given: Given, listening: list[Socket]) -> Network:
    """Raises CertificateError, and ValueError for a proxy's malformed address."""
    settings, slot, limits = given.settings, given.slot, given.settings.transport
    loop = Loop(
        log.report,
        receive_buffer_bytes=limits.receive_buffer_bytes,
        # What is posted before a client is known to be slow must fit into what it may leave unsent.
        mailbox_max_bytes=min(settings.mailbox_max_bytes, limits.hard_limit_bytes // 2),
        system=given.system,
    )
    row = None if slot is None else Row(slot.board, slot.row)
    proxies = None
    if settings.proxy_headers or settings.secure_scheme_values is not None:
        proxies = ProxyRules(settings.forwarded_allow_ips, settings.secure_scheme_values)
    most = most_connections(settings)
    caps = AddressCaps(
        connections_max_count=settings.address_connections_max_count,
        requests_per_minute=settings.address_minute_requests_max_count,
        suggest_at_count=0 if most is None else max(SUGGEST_MIN_COUNT, most // 10),
        proxies=proxies,
        complain=given.complain,
    )
    acceptor = Acceptor(
        loop=loop,
        settings=settings,
        listening=listening,
        row=None if slot is None or slot.own_sockets else row,
        complain=given.complain,
        caps=caps,
    )
    return Network(loop, now=lambda: loop.now, row=row, proxies=proxies, caps=caps, acceptor=acceptor)


@dataclass(frozen=True, slots=True)
class Pools:
    """Each grows on demand to its own cap; `door` is the way of events."""

    requests: Pool
    events: Pool
    websockets: Pool
    door: Door

    def close(self) -> None:
        for pool in (self.requests, self.events, self.websockets):
            pool.close(timeout_seconds=POOLS_CLOSE_SECONDS)


def make_pools(given: Given, loop: Loop) -> Pools:
    """On the loop's thread."""

    def no_thread(option: str, error: BaseException) -> None:
        given.complain(
            f"no thread {option}",
            f"the system has no thread for the pool of --{option}, work waits ({error!r}): "
            f"lower --{option} or --waiting-threads, or allow more memory or threads",
        )

    most = given.settings.waiting_threads_count
    lending_spent = partial(
        given.complain,
        "waiting threads",
        f"{most} handlers wait in call or sleep: further ones keep their threads while they wait; "
        "see --waiting-threads",
    )
    pool = partial(
        Pool,
        loop=loop,
        report=log.report,
        on_saturated=partial(_saturated, given.complain),
        on_failed_start=no_thread,
        system=given.system,
        lending=Lending(most, partial(loop.mailbox.post, lending_spent), given.system.monotonic),
    )
    events = pool("event-threads", given.settings.event_threads_count)
    return Pools(
        requests=pool("threads", given.settings.wsgi_threads_count),
        events=events,
        websockets=pool("websocket-threads", given.settings.websocket_threads_count),
        door=Door(loop.mailbox, events),
    )


def _saturated(complain: Callable[[str, str], None], option: str, waited_seconds: float) -> None:
    """Work has waited that long for a thread."""
    complain(
        f"saturated {option}",
        f"work waited {waited_seconds:.1f} s for a thread, all are busy: raise --{option} or block less",
    )


@dataclass(frozen=True, slots=True)
class Protocols:
    """What answers requests without looking for a session: the application and the raw WebSockets."""

    facts: ServerFacts
    websockets: WebSocketServices
    wsgi: WSGIHandler
    routes: WebSocketRoutes


def make_protocols(given: Given, network: Network, pools: Pools) -> Protocols:
    site, settings, complain = given.site, given.settings, given.complain
    facts = ServerFacts(
        server_name=settings.server_name,
        software=SOFTWARE,
        multiprocess=network.row is not None,
        script_name=normal_root_path(settings.root_path),
        further=site.environ,
    )
    websockets = _websocket_services(given, network, pools)
    wsgi = WSGIServices(
        application=site.application,
        executor=pools.requests,
        post=network.loop.mailbox.post,
        facts=facts,
        report=log.report,
        window_bytes=settings.http.body_window_bytes,
        waiting_count=pools.requests.waiting_count,
        queue_count=settings.wsgi_queue_count,
        takeover=partial(
            WebSocketTakeover,
            door=pools.door,
            services=websockets,
            relay=partial(relay_to_socket, network.loop, report=log.report, limits=settings.transport),
            # Programs with a thread per socket lose a fifth of their events to a short interval.
            socket_taken=partial(sys.setswitchinterval, settings.own_io_switch_interval_seconds),
            max_queue_count=settings.websocket.max_queue_count,
        ),
        takeover_executor=pools.websockets,
        places_count=max(1, settings.wsgi_threads_count // 2),
        on_waited=partial(_saturated, complain, "threads"),
        now=given.system.monotonic,
    )
    routes = WebSocketRoutes(
        routes=site.websockets,
        door=pools.door,
        services=websockets,
        refusal=lambda allowed: OriginRules(allowed).refusal,
        report=log.report,
        complain=complain,
        admits={path: _asks(given, facts, pools, holder) for path, holder in site.holders.items()},
    )
    return Protocols(facts, websockets, WSGIHandler(wsgi), routes)


def _asks(given: Given, facts: ServerFacts, pools: Pools, holder: object) -> Admit:
    """Who is asked before a session or a raw WebSocket opens: what stands around the part that carries it."""
    admit = admission(given.site.application, facts, holder)
    return HandshakeMiddleware(admit, pools.door, log.report).ask


def _asks_of_mount(given: Given, facts: ServerFacts, pools: Pools, mount: Mount) -> Admit | None:
    if mount.admit is not None:
        return HandshakeMiddleware(mount.admit, pools.door, log.report).ask
    return None if mount.holder is None else _asks(given, facts, pools, mount.holder)


def _websocket_services(given: Given, network: Network, pools: Pools) -> WebSocketServices:
    settings, limits = given.settings, given.settings.websocket
    waiting_counts = {
        pools.requests: settings.wsgi_threads_count // 2,
        pools.events: settings.event_threads_count // 2,
    }
    return WebSocketServices(
        settings=limits,
        closing_max_bytes=settings.transport.linger_max_bytes,
        send_timeout_seconds=settings.transport.stall_timeout_seconds,
        backpressure=Backpressure(waiting_counts, given.system.monotonic),
        deflate=Options() if limits.per_message_deflate else None,
        deadline=partial(Deadline, network.loop),
        began=network.acceptor.add,
        ended=network.acceptor.lost,
        call_soon=network.loop.call_soon,
    )


@dataclass(frozen=True, slots=True)
class Cluster:
    """What reaches further than this process: sessions by the path of their mount, siblings, brokers."""

    membership: Membership | None
    engines: list[tuple[str, Engine]]
    backplanes: list[Backplane]
    recovery_handover: RecoveryHandover | None

    def brokers(self) -> list[RedisBackplane]:
        return [backplane for backplane in self.backplanes if isinstance(backplane, RedisBackplane)]


def make_cluster(
    given: Given,
    network: Network,
    pools: Pools,
    protocols: Protocols,
    drain: Callable[[int | None], None],
    reopen_logs: Callable[[], None],
    stop_server: Callable[[], None],
) -> Cluster:
    """Attaches each mount.

    `drain` (called with the successor's index) and `reopen_logs` are the supervisor's orders; `stop_server`
    may be called by any thread.
    """
    site, settings, slot, loop = given.site, given.settings, given.slot, network.loop
    membership = homes = handover = None
    if slot is not None:
        membership, homes = _join(given, slot, network, drain, reopen_logs)
    session_limits = _session_limits(settings)
    # Of this machine, among those that share a broker.
    host_id = given.system.entropy(16).hex() if slot is None else slot.host_id
    engines, backplanes = [], []
    for mount in site.mounts:
        backplane, names = _backplane(given, mount, loop, membership, host_id)
        services = HubServices(
            door=pools.door,
            call_later=loop.call_later,
            report=log.report,
            complain=given.complain,
            now=network.now,
            stop=stop_server,
            entropy=given.system.entropy,
            backplane=backplane,
            names=names,
            room_held=backplane.room_held if isinstance(backplane, RedisBackplane) else None,
            rooms_max_count=settings.rooms_max_count,
        )
        sessions = mount.server.attach(services)
        mount.serving(protocols.facts, site.application)
        backplanes.append(backplane)
        engine = Engine(
            handler=sessions,
            options=mount.options,
            call_later=loop.call_later,
            call_soon=loop.call_soon,
            now=network.now,
            websockets=protocols.websockets,
            complain=given.complain,
            names=names,
            homes=homes,
            admit=_asks_of_mount(given, protocols.facts, pools, mount),
            session_limits=session_limits,
        )
        engines.append((mount.path, engine))
    if membership is not None:
        handover = RecoveryHandover(
            site.mounts, membership.siblings, loop.call_later, network.now, given.complain
        )
    return Cluster(membership, engines, backplanes, handover)


def _session_limits(settings: Settings) -> SessionLimits:
    most = descriptors_max_count() or MOST_COUNT
    sessions = bounds(settings.sessions_max_count, settings.half_open_sessions_max_count, most)
    return SessionLimits(*sessions, settings.address_sessions_max_count)


def _join(
    given: Given,
    slot: WorkerSlot,
    network: Network,
    drain: Callable[[int | None], None],
    reopen_logs: Callable[[], None],
) -> tuple[Membership, Handover]:
    """Its place among the workers of this machine, and how connections come to another's session."""
    settings, acceptor = given.settings, network.acceptor
    assert network.row is not None
    membership = Membership(
        slot=slot,
        loop=network.loop,
        row=network.row,
        report=log.report,
        complain=given.complain,
        drain=drain,
        reopen_logs=reopen_logs,
        entropy=given.system.entropy,
        settings=settings,
    )
    membership.siblings.on_changed(acceptor.look_again)
    return membership, Handover(
        loop=network.loop,
        siblings=membership.siblings,
        serve=acceptor.serve,
        began=acceptor.add,
        ended=acceptor.lost,
        report=log.report,
        complain=given.complain,
        limits=settings.transport,
    )


def _backplane(
    given: Given, mount: Mount, loop: Loop, membership: Membership | None, host_id: str
) -> tuple[Backplane, SessionIds]:
    """What reaches the others under a mount's path, and the names of its sessions."""
    siblings = None if membership is None else membership.siblings
    backplane: Backplane = NoBackplane()
    if siblings is not None:
        backplane = PipeBackplane(siblings, mount.path, loop.call_later, given.complain)
    hub = mount.hub
    if mount.broker is not None and hub is not None:
        services = BrokerServices(
            post=loop.mailbox.post,
            call_later=loop.call_later,
            complain=given.complain,
            report=log.report,
            say=log.say,
            warn=log.warn,
            codec=lambda: hub.codec,
            system=given.system,
            next_offset=lambda: None if hub.recovery is None else hub.recovery.next_offset,
        )
        backplane = join_broker(mount.broker, backplane, host_id, siblings=siblings, services=services)
    index = None if siblings is None else siblings.index
    return backplane, SessionIds(index, "" if mount.broker is None else host_id, given.system.entropy)


def http_services(
    given: Given, network: Network, protocols: Protocols, cluster: Cluster, counters: Counters
) -> HTTPServices:
    """What each accepted connection begins with; the last that is made, since its requests go everywhere."""
    settings, caps, loop = given.settings, network.caps, network.loop
    router = Router(
        scheme=network.acceptor.scheme,
        proxies=network.proxies,
        hosts=AllowedHosts(settings.allowed_hosts),
        complain=counters.complain,
        root_path=protocols.facts.script_name,
        engines=cluster.engines,
        routes=protocols.routes,
        otherwise=protocols.wsgi,
        admit=(lambda request, own: caps.admit(request, own, loop.now)) if caps.looks_at_requests else None,
        client_files=client_files(given.site.mounts, given.complain),
    )
    return HTTPServices(
        route=router.route,
        settings=settings.http,
        deadline=partial(Deadline, loop),
        exchange=ExchangeServices(
            now=given.system.monotonic,
            date=DateField(given.system.wall).now,
            server=SOFTWARE,
            done=_exchange_counter(given, caps, cluster.membership, counters),
            given=lambda exchange: caps.ended(exchange.request),
        ),
        lost=network.acceptor.lost,
        stop=None if cluster.membership is None else router.is_foreign,
    )


def _exchange_counter(
    given: Given, caps: AddressCaps, membership: Membership | None, counters: Counters
) -> Callable[[Exchange, float], None]:
    """What is called at the end of each request."""
    access_log = given.access_log

    def count(exchange: Exchange, seconds: float) -> None:
        counters.count("requests")
        if caps.looks_at_requests:
            caps.ended(exchange.request)
        if membership is not None:
            membership.count_request()
        if access_log is not None:
            access_log.write(exchange.request, exchange.status, exchange.sent_bytes, seconds)

    return count
