"""The wiring of one worker, second half: engines and servers on their mounts, siblings, brokers, the router.

Must not know: any rule of any protocol, or when a worker begins and ends; it constructs and connects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from python_server.connection.address_caps import AddressCaps
from python_server.connection.allowed_hosts import AllowedHosts
from python_server.connection.exchange import Exchange, ExchangeServices, RequestHandler
from python_server.connection.http_channel import HTTPServices
from python_server.engineio.observer import SessionObserver, all_of
from python_server.engineio.server import Engine
from python_server.engineio.session import SessionHandler
from python_server.engineio.session_ids import SessionIds, tag_of
from python_server.engineio.session_limits import SessionLimits, bounds
from python_server.http1.parser import Request
from python_server.http1.response import DateField, StandingFields
from python_server.monitoring.debug_log import session_log, socket_log
from python_server.net.descriptors import MOST_COUNT, descriptors_max_count
from python_server.net.loop import Deadline, Loop
from python_server.observe import log
from python_server.observe.access_log import AccessLog
from python_server.observe.counters import Counters
from python_server.serve.client_files import client_files
from python_server.serve.mounts import Mount
from python_server.serve.recovery_handover import RecoveryHandover
from python_server.serve.routing import Router
from python_server.serve.wiring import SOFTWARE, Given, Network, Pools, Protocols, asks_of_mount
from python_server.settings import Settings
from python_server.socketio.cluster.broker.backplane import BrokerBackplane, join_broker
from python_server.socketio.cluster.broker.services import BrokerServices
from python_server.socketio.cluster.pipe_backplane import PipeBackplane
from python_server.socketio.cluster.port import Backplane, NoBackplane
from python_server.socketio.observer import SocketObserver
from python_server.socketio.recovery.event_names import ForeignEventNames
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.services import HubServices
from python_server.websocket.application import Admit
from python_server.workers.handover import Handover
from python_server.workers.member import Membership
from python_server.workers.spawn import WorkerSlot


@dataclass(frozen=True, slots=True)
class Cluster:
    """What reaches further than this process: sessions by the path of their mount, siblings, brokers."""

    membership: Membership | None
    engines: list[tuple[str, Engine]]
    backplanes: list[Backplane]
    recovery_handover: RecoveryHandover | None
    homes: Handover | None
    tag: str  # of this machine, "" where it has none

    def brokers(self) -> list[BrokerBackplane]:
        return [backplane for backplane in self.backplanes if isinstance(backplane, BrokerBackplane)]


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
        sessions_log, sockets_log = _debug_log(given, mount)
        services = HubServices(
            door=pools.door,
            call_later=loop.call_later,
            report=log.report,
            complain=given.complain,
            now=given.system.monotonic,
            stop=stop_server,
            entropy=given.system.entropy,
            wall=given.system.wall,
            backplane=backplane,
            names=names,
            room_held=backplane.room_held if isinstance(backplane, BrokerBackplane) else None,
            rooms_max_count=settings.rooms_max_count,
            meta_max_bytes=settings.meta_max_bytes,
            records=backplane.records if isinstance(backplane, BrokerBackplane) else None,
            tracer=None if given.tracing is None else given.tracing.tracer,
            observer=sockets_log,
            traffic_of=given.traffic_of,
        )
        sessions = mount.server.attach(services)
        mount.serving(protocols.facts, site.application)
        backplanes.append(backplane)
        admit = asks_of_mount(given, protocols.facts, pools, mount)
        watching = all_of([*filter(None, (given.session_observer, sessions_log))])
        engine = _engine_of(
            given, network, protocols, mount, sessions, names, homes, admit, session_limits, watching
        )
        engines.append((mount.path, engine))
    if membership is not None:
        handover = RecoveryHandover(
            site.mounts, membership.siblings, loop.call_later, network.now, given.complain
        )
    tag = next((tag for mount in site.mounts if (tag := _tag(given, mount, host_id))), "")
    return Cluster(membership, engines, backplanes, handover, homes, tag)


def _debug_log(given: Given, mount: Mount) -> tuple[SessionObserver | None, SocketObserver | None]:
    """What writes the debug log's lines about a mount's sessions and clients, where somebody reads them."""
    now, hub = given.system.monotonic, mount.hub
    logger, engineio_logger = mount.loggers
    sessions_log = session_log(engineio_logger, now)
    if hub is None:
        return sessions_log, None
    payloads = given.settings.log_payloads
    return sessions_log, socket_log(logger, hub.handlers, hub.codec, now, payloads)


def _engine_of(
    given: Given,
    network: Network,
    protocols: Protocols,
    mount: Mount,
    sessions: SessionHandler,
    names: SessionIds,
    homes: Handover | None,
    admit: Admit | None,
    session_limits: SessionLimits,
    observer: SessionObserver | None,
) -> Engine:
    """What answers requests below a mount's path."""
    return Engine(
        handler=sessions,
        options=mount.options,
        call_later=network.loop.call_later,
        call_soon=network.loop.call_soon,
        now=network.now,
        websockets=protocols.websockets,
        complain=given.complain,
        names=names,
        homes=homes,
        admit=admit,
        session_limits=session_limits,
        observer=observer,
    )


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
    hub = mount.hub
    if siblings is not None:
        # Where machines share a stream, what the one that has gone had said stands there.
        is_streamed = mount.broker is not None and mount.broker.stream_max_count
        recovery = None if hub is None or is_streamed else hub.recovery
        heard = recovery if isinstance(recovery, RecoveryLog) else None
        backplane = PipeBackplane(siblings, mount.path, loop.call_later, given.complain, heard)
    if mount.broker is not None and hub is not None:
        names = ForeignEventNames(given.system.monotonic)
        if isinstance(hub.recovery, RecoveryLog):
            hub.recovery.hears_all = not mount.broker.per_room
        services = BrokerServices(
            post=loop.mailbox.post,
            call_later=loop.call_later,
            complain=given.complain,
            report=log.report,
            say=log.say,
            warn=log.warn,
            codec=lambda: hub.codec,
            system=given.system,
            next_offset=lambda: None if hub.recovery is None else names.make,
            lead_said=names.begin_series,
            secret=given.settings.cluster_secret.encode(),
        )
        backplane = join_broker(mount.broker, backplane, host_id, siblings=siblings, services=services)
    index = None if siblings is None else siblings.index
    return backplane, SessionIds(index, _tag(given, mount, host_id), given.system.entropy)


def _tag(given: Given, mount: Mount, host_id: str) -> str:
    """Of this machine among those that share the broker of a mount; "" where there is none."""
    return given.settings.machine_tag or ("" if mount.broker is None else tag_of(host_id))


def http_services(
    given: Given,
    network: Network,
    protocols: Protocols,
    cluster: Cluster,
    counters: Counters,
    first: Mapping[str, RequestHandler] | None = None,
    elsewhere: Callable[[Engine, Request], RequestHandler | None] | None = None,
) -> HTTPServices:
    """What each accepted connection begins with; the last that is made, since its requests go everywhere.

    `first`: what answers a path before all others, whatever the host and the root path. `elsewhere`: see
    Router.
    """
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
        elsewhere=elsewhere,
    )

    def gave(exchange: Exchange) -> None:
        counters.count("hand-overs")
        caps.ended(exchange.request)

    return HTTPServices(
        route=(lambda request: first.get(request.path) or router.route(request)) if first else router.route,
        settings=settings.http,
        deadline=partial(Deadline, loop),
        exchange=ExchangeServices(
            now=given.system.monotonic,
            date=DateField(given.system.wall).now,
            standing=StandingFields.of(SOFTWARE if settings.server_header else "", settings.headers),
            done=_exchange_counter(given, caps, cluster.membership, counters),
            given=gave,
        ),
        lost=network.acceptor.lost,
        stop=None if cluster.membership is None and elsewhere is None else router.is_foreign,
    )


def _exchange_counter(
    given: Given, caps: AddressCaps, membership: Membership | None, counters: Counters
) -> Callable[[Exchange, float], None]:
    """What is called at the end of each request."""
    access_log = given.access_log
    # Another's log, gunicorn's, may count what it is told.
    leaves_polls_out = isinstance(access_log, AccessLog) and not given.settings.access_log_polls

    def count(exchange: Exchange, seconds: float) -> None:
        counters.count("requests")
        if caps.looks_at_requests:
            caps.ended(exchange.request)
        if membership is not None:
            membership.count_request()
        if access_log is None or (leaves_polls_out and exchange.routine and exchange.status == 200):
            return
        access_log.write(exchange.request, exchange.status, exchange.sent_bytes, seconds, exchange.headers)

    return count
