"""The wiring of one worker, from the bottom up: network, pools, protocols; `cluster_wiring` goes on.

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
from python_server.connection.proxy_headers import ProxyRules
from python_server.connection.websocket_channel import WebSocketServices
from python_server.engineio.cors import OriginRules
from python_server.engineio.observer import SessionObserver
from python_server.net.backpressure import Backpressure
from python_server.net.loop import Deadline, Loop
from python_server.net.pool import Lending, Pool
from python_server.net.relay import relay_to_socket
from python_server.net.scoreboard import Row
from python_server.net.sockets import Socket
from python_server.net.system import System
from python_server.net.threads import Door
from python_server.observe import log
from python_server.observe.access_log import AccessWriter
from python_server.serve.mounts import Mount, Site, normal_root_path
from python_server.serve.tracing import Tracing
from python_server.settings import Settings
from python_server.socketio.traffic import TrafficOf
from python_server.websocket.application import Admit, WebSocketRoutes
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
    """What a worker is made from; `complain` is called with (kind, sentence).

    Attributes:
        session_observer: watches the sessions of all mounts; None: nobody does.
        traffic_of: where what goes through a namespace, of any mount, is counted; None: nowhere.
        tracing: makes spans of requests and events; None: nobody does.
    """

    site: Site
    settings: Settings
    slot: WorkerSlot | None
    system: System
    complain: Callable[[str, str], None]
    access_log: AccessWriter | None
    session_observer: SessionObserver | None = None
    traffic_of: TrafficOf | None = None
    tracing: Tracing | None = None


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

    @property
    def all(self) -> tuple[Pool, ...]:
        return self.requests, self.events, self.websockets

    def close(self) -> None:
        for pool in self.all:
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
        application=site.application if given.tracing is None else given.tracing.wrap(site.application),
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


def asks_of_mount(given: Given, facts: ServerFacts, pools: Pools, mount: Mount) -> Admit | None:
    """The same for a server below its path."""
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
