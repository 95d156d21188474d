"""The wiring of one worker, from the bottom up: network, protocols, cluster; the pools are made in `pools`.

Must not know: any rule of any protocol, or when a worker begins and ends; it constructs and connects.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any, Final

from python_server.connection.acceptor import Acceptor, most_connections
from python_server.connection.address_caps import SUGGEST_MIN_COUNT, AddressCaps
from python_server.connection.allowed_hosts import AllowedHosts
from python_server.connection.exchange import Exchange, ExchangeServices
from python_server.connection.http_channel import HTTPServices
from python_server.connection.proxy_headers import ProxyRules
from python_server.connection.websocket_channel import WebSocketServices
from python_server.engineio.cors import OriginRules
from python_server.engineio.server import Engine
from python_server.engineio.session import SessionHandler
from python_server.engineio.session_ids import SessionIds
from python_server.engineio.session_limits import SessionLimits, bounds
from python_server.http1.response import DateField
from python_server.net.backpressure import Backpressure
from python_server.net.descriptors import MOST_COUNT, descriptors_max_count
from python_server.net.loop import Deadline, Loop
from python_server.net.relay import relay_to_socket
from python_server.net.scoreboard import Row
from python_server.net.sockets import Socket
from python_server.net.system import System
from python_server.observe import log
from python_server.observe.access_log import AccessLog
from python_server.observe.counters import Observer
from python_server.serve.admissions import Admissions
from python_server.serve.mounts import Mount, Site, normal_root_path
from python_server.serve.pools import Pools, saturated
from python_server.serve.recovery_handover import RecoveryHandover, recovery_handover
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
from python_server.wsgi.environ import ServerFacts
from python_server.wsgi.handler import WSGIHandler, WSGIServices
from python_server.wsgi.websocket import WebSocketTakeover
from wsframe.deflate import Options

SOFTWARE: Final = f"python_server/{metadata.version('wsframe')}"


@dataclass(frozen=True, slots=True)
class Given:
    """What a worker is made from; `complain` is called with (kind, sentence)."""

    site: Site
    settings: Settings
    slot: WorkerSlot | None
    system: System
    complain: Callable[[str, str], None]


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
    proxies = ProxyRules(settings.forwarded_allow_ips) if settings.proxy_headers else None
    most = most_connections(settings)
    caps = AddressCaps(
        connections_max_count=settings.address_connections_max_count,
        requests_per_minute=settings.address_minute_requests_max_count,
        suggest_at_count=0 if most is None else max(SUGGEST_MIN_COUNT, most // 10),
        proxies=proxies,
        complain=given.complain,
    )
    acceptor = Acceptor(
        loop=loop, settings=settings, listening=listening, row=row, complain=given.complain, caps=caps
    )
    return Network(loop, now=lambda: loop.now, row=row, proxies=proxies, caps=caps, acceptor=acceptor)


@dataclass(frozen=True, slots=True)
class Protocols:
    """What answers requests without looking for a session: the application and the raw WebSockets."""

    facts: ServerFacts
    websockets: WebSocketServices
    wsgi: WSGIHandler
    routes: WebSocketRoutes
    admissions: Admissions


def make_protocols(given: Given, network: Network, pools: Pools) -> Protocols:
    site, settings, complain = given.site, given.settings, given.complain
    facts = ServerFacts(
        server_name=settings.server_name,
        software=SOFTWARE,
        multiprocess=network.row is not None,
        script_name=normal_root_path(settings.root_path),
    )
    admissions = Admissions(site, facts, pools.door, log.report)
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
            relay=partial(_relay, network.loop, settings),
            # Programs with a thread per socket lose a fifth of their events to a short interval.
            socket_taken=partial(sys.setswitchinterval, settings.own_io_switch_interval_seconds),
            max_queue_count=settings.websocket.max_queue_count,
        ),
        takeover_executor=pools.websockets,
        places_count=max(1, settings.wsgi_threads_count // 2),
        on_waited=partial(saturated, complain, "threads"),
        now=given.system.monotonic,
    )
    routes = WebSocketRoutes(
        routes=site.websockets,
        door=pools.door,
        services=websockets,
        refusal=lambda allowed: OriginRules(allowed).refusal,
        report=log.report,
        complain=complain,
        admits=admissions.of_routes(),
    )
    return Protocols(facts, websockets, WSGIHandler(wsgi), routes, admissions)


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


def _relay(loop: Loop, settings: Settings, transport: Any, leftover: bytes) -> tuple[Any, Any]:
    return relay_to_socket(loop, transport, leftover, log.report, settings.transport)


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
    stop_server: Callable[[], None],
) -> Cluster:
    """Attaches each mount. `drain`: called with the successor's index. `stop_server`: any thread."""
    site, settings, slot, loop = given.site, given.settings, given.slot, network.loop
    membership = homes = handover = None
    if slot is not None:
        membership, homes = _join(given, slot, network, drain)
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
        engine = _engine(
            mount=mount,
            sessions=sessions,
            services=services,
            network=network,
            protocols=protocols,
            homes=homes,
            session_limits=session_limits,
        )
        backplanes.append(backplane)
        engines.append((mount.path, engine))
    if membership is not None:
        handover = recovery_handover(
            mounts=site.mounts,
            siblings=membership.siblings,
            call_later=loop.call_later,
            now=network.now,
            complain=given.complain,
        )
    return Cluster(membership, engines, backplanes, handover)


def _session_limits(settings: Settings) -> SessionLimits:
    return SessionLimits(
        *bounds(
            settings.sessions_max_count,
            settings.half_open_sessions_max_count,
            descriptors_max_count() or MOST_COUNT,
        ),
        settings.address_sessions_max_count,
    )


def _join(
    given: Given, slot: WorkerSlot, network: Network, drain: Callable[[int | None], None]
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
        orders=MemberCallbacks(drain, log.reopen_logs),
        entropy=given.system.entropy,
        max_requests=settings.max_requests_count,
        max_requests_jitter=settings.max_requests_jitter_count,
        beat_seconds=min(BEAT_SECONDS, settings.worker_timeout_seconds / 4 or BEAT_SECONDS),
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
    backplane = make_backplane(mount.path, siblings, loop.call_later, given.complain)
    if mount.broker is not None and mount.hub is not None:
        services = _broker_services(given, mount.hub, loop)
        backplane = join_broker(mount.broker, backplane, host_id, siblings=siblings, services=services)
    index = None if siblings is None else siblings.index
    return backplane, SessionIds(index, "" if mount.broker is None else host_id, given.system.entropy)


def _broker_services(given: Given, hub: Hub, loop: Loop) -> BrokerServices:
    return BrokerServices(
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


def _engine(
    mount: Mount,
    sessions: SessionHandler,
    services: HubServices,
    network: Network,
    protocols: Protocols,
    homes: Handover | None,
    session_limits: SessionLimits,
) -> Engine:
    return Engine(
        handler=sessions,
        options=mount.options,
        call_later=services.call_later,
        call_soon=network.loop.call_soon,
        now=services.now,
        websockets=protocols.websockets,
        complain=services.complain,
        names=services.names,
        homes=homes,
        admit=protocols.admissions.of_mount(mount),
        session_limits=session_limits,
    )


def http_services(
    given: Given, network: Network, protocols: Protocols, cluster: Cluster, observer: Observer
) -> HTTPServices:
    """What each accepted connection begins with; the last that is made, since its requests go everywhere."""
    settings, caps, loop = given.settings, network.caps, network.loop
    router = Router(
        scheme=network.acceptor.scheme,
        proxies=network.proxies,
        hosts=AllowedHosts(settings.allowed_hosts),
        complain=observer.complain,
        root_path=protocols.facts.script_name,
        engines=cluster.engines,
        routes=protocols.routes,
        otherwise=protocols.wsgi,
        admit=(lambda request, own: caps.admit(request, own, loop.now)) if caps.looks_at_requests else None,
    )
    return HTTPServices(
        route=router.route,
        settings=settings.http,
        deadline=partial(Deadline, loop),
        exchange=ExchangeServices(
            now=given.system.monotonic,
            date=DateField(given.system.wall).now,
            server=SOFTWARE,
            done=_exchange_counter(given, caps, cluster.membership, observer),
            given=lambda exchange: caps.ended(exchange.request),
        ),
        lost=network.acceptor.lost,
        stop=None if cluster.membership is None else router.is_foreign,
    )


def _exchange_counter(
    given: Given, caps: AddressCaps, membership: Membership | None, observer: Observer
) -> Callable[[Exchange, float], None]:
    """What is called at the end of each request."""
    settings = given.settings
    access_log = None
    if settings.access_log:
        access_log = AccessLog(settings.access_log_format, given.system.wall)

    def count(exchange: Exchange, seconds: float) -> None:
        observer.count("requests")
        if caps.looks_at_requests:
            caps.ended(exchange.request)
        if membership is not None:
            membership.count_request()
        if access_log is not None:
            access_log.write(exchange.request, exchange.status, exchange.sent_bytes, seconds)

    return count
