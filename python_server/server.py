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

from python_server import observe
from python_server.admission import Admission
from python_server.channel import HTTPServices
from python_server.control import Control
from python_server.engineio.engine import Engine
from python_server.engineio.origin import OriginRules
from python_server.engineio.sids import Names
from python_server.estate import leave_behind
from python_server.exchange import Exchange, ExchangeServices, RequestHandler
from python_server.http1.response import http_date
from python_server.mounts import Mount, Site, normal_root_path
from python_server.net.loop import Deadline, Loop
from python_server.net.memory import keep_large_blocks
from python_server.net.pool import Lending, Pool
from python_server.net.relay import relay_to_socket
from python_server.net.sockets import Socket
from python_server.net.threads import Door
from python_server.proxy import ProxyRules
from python_server.reception import Reception
from python_server.routing import Router
from python_server.settings import Settings
from python_server.socketio.backplane import Backplane
from python_server.socketio.backplanes.choice import join_broker, make_backplane
from python_server.socketio.backplanes.redis_backplane import BrokerServices, RedisBackplane
from python_server.socketio.ground import HubServices
from python_server.socketio.hub import Hub
from python_server.socketio.orders import ControlOrders
from python_server.takeover import Takeover
from python_server.websocket_api import WebSocketRoutes
from python_server.websocket_channel import WebSocketServices
from python_server.workers.crew import BEAT_SECONDS, Crew, Orders
from python_server.workers.homes import Homes
from python_server.workers.seat import Seat
from python_server.wsgi import ServerFacts, WSGIHandler
from wsframe.deflate import Options

SOFTWARE = f"python_server/{metadata.version('wsframe')}"


class Worker:
    """One loop with its pools, channels, engines and hubs.

    Args:
        site: what to serve. settings: see there. listening: bound sockets, owned from here on.
        seat: its place among several workers, owned from here on; None for the only one.
        control: listening, for this user's own words; owned from here on.

    Raises:
        CertificateError: TLS cannot be spoken with these files. ValueError: a proxy's address is malformed.
    """

    def __init__(
        self,
        site: Site,
        settings: Settings,
        listening: list[Socket],
        seat: Seat | None = None,
        control: Socket | None = None,
    ) -> None:
        self._site = site
        self._settings = settings
        self._observer = observe.Observer()
        self._access_log = observe.AccessLog(settings.access_log_format)
        self.loop = Loop(
            observe.report,
            receive_buffer_bytes=settings.transport.receive_buffer_bytes,
            mailbox_max_bytes=settings.mailbox_max_bytes,
        )
        self._crew = None if seat is None else self._join(seat)
        # Of this machine, among those that share a broker.
        self._host_id = secrets.token_hex(16) if seat is None else seat.host_id
        self._date = ("", 0)
        self._stopping = False
        self._succeeded = False  # another worker takes over what this one holds
        row = None if self._crew is None else self._crew.row
        self._reception = Reception(self.loop, settings, listening, row, self._observer.complain)
        if self._crew is not None:
            self._crew.siblings.on_changed(self._reception.look_again)
        self._lending = Lending(
            settings.waiting_threads_count, partial(self.loop.mailbox.post, self._lending_spent)
        )
        self._requests_pool = self._pool("threads", settings.wsgi_threads_count)
        self._events_pool = self._pool("event-threads", settings.event_threads_count)
        self._websockets_pool = self._pool("websocket-threads", settings.websocket_threads_count)
        self._door = Door(self.loop.mailbox, self._events_pool)
        root_path = normal_root_path(settings.root_path)
        facts = ServerFacts(
            settings.server_name, SOFTWARE, script_name=root_path, multiprocess=seat is not None
        )
        websockets = self._websocket_services()
        wsgi = WSGIHandler(
            site.application,
            self._requests_pool,
            self.loop.mailbox.post,
            facts,
            observe.report,
            settings.http.body_window_bytes,
            self._requests_pool.waiting_count,
            settings.wsgi_queue_count,
            lambda exchange: Takeover(
                exchange,
                self._door,
                websockets,
                self._relay,
                self._socket_taken,
                settings.websocket.max_queue_count,
            ),
            self._websockets_pool,
            max(1, settings.wsgi_threads_count // 2),
            partial(self._saturated, "threads"),
        )
        routes = WebSocketRoutes(
            site.websockets,
            self._door,
            websockets,
            lambda allowed: OriginRules(allowed).refusal,
            observe.report,
            self._observer.complain,
        )
        self._backplanes: list[Backplane] = []
        self._homes = None if self._crew is None else self._home_finder(self._crew)
        self._control = None if control is None else self._open_control(control)
        self._engines = [(mount.path, self._mount(mount, websockets, facts)) for mount in site.mounts]
        handlers = [
            (path, self._before(engine, mount))
            for (path, engine), mount in zip(self._engines, site.mounts, strict=True)
        ]
        self._estate = (
            None
            if self._crew is None
            else leave_behind(
                site.mounts, self._crew.siblings, self.loop.call_later, self._now, self._observer.complain
            )
        )
        proxies = ProxyRules(settings.forwarded_allow_ips) if settings.proxy_headers else None
        router = Router(self._reception.scheme, proxies, root_path, self._engines, handlers, routes, wsgi)
        self._reception.set_services(self._http_services(router))

    def _http_services(self, router: Router) -> HTTPServices:
        limits = self._settings.http
        return HTTPServices(
            route=router.route,
            limits=limits,
            timeouts=limits,
            deadline=partial(Deadline, self.loop),
            exchange=ExchangeServices(time.monotonic, self._http_date, SOFTWARE, self._count_exchange),
            lost=self._reception.lost,
            stop=None if self._crew is None else router.is_foreign,
        )

    def _join(self, seat: Seat) -> Crew:
        settings = self._settings
        return Crew(
            seat,
            self.loop,
            observe.report,
            self._observer.complain,
            Orders(partial(self._begin_stop, settings.graceful_timeout_seconds), observe.reopen_logs),
            settings.max_requests_count,
            settings.max_requests_jitter_count,
            min(BEAT_SECONDS, settings.worker_timeout_seconds / 4 or BEAT_SECONDS),
        )

    def _pool(self, option: str, max_threads: int) -> Pool:
        return Pool(
            option,
            max_threads,
            self.loop,
            observe.report,
            self._saturated,
            self._no_thread,
            self._lending,
        )

    def _websocket_services(self) -> WebSocketServices:
        limits = self._settings.websocket
        return WebSocketServices(
            limits.max_message_bytes,
            limits.max_fragments_count,
            limits.close_timeout_seconds,
            limits.unfinished_frame_timeout_seconds,
            limits.ping_interval_seconds,
            limits.ping_timeout_seconds,
            Options() if limits.per_message_deflate else None,
            partial(Deadline, self.loop),
            self._reception.add,
            self._reception.lost,
        )

    def _socket_taken(self) -> None:
        """Programs with a thread per socket lose a fifth of their events to a short interval."""
        sys.setswitchinterval(self._settings.own_io_switch_interval_seconds)

    def _relay(self, transport: Any, leftover: bytes) -> tuple[Any, Any]:
        return relay_to_socket(self.loop, transport, leftover, observe.report, self._settings.transport)

    def _mount(self, mount: Mount, websockets: WebSocketServices, facts: ServerFacts) -> Engine:
        siblings = None if self._crew is None else self._crew.siblings
        backplane = make_backplane(mount.path, siblings, self.loop.call_later, self._observer.complain)
        if mount.broker is not None:
            services = self._broker_services(mount.hub)
            backplane = join_broker(mount.broker, backplane, self._host_id, siblings, services)
        self._backplanes.append(backplane)
        host_id = "" if mount.broker is None else self._host_id
        names = Names(None if self._crew is None else self._crew.siblings.index, host_id)
        mount.hub.attach(
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
            )
        )
        mount.serving(facts, self._site.application)
        return Engine(
            mount.hub,
            mount.options,
            self.loop.call_later,
            self._now,
            websockets,
            self._observer.complain,
            names,
            self._homes,
        )

    def _home_finder(self, crew: Crew) -> Homes:
        return Homes(
            self.loop,
            crew.siblings,
            self._reception.serve,
            self._reception.add,
            self._reception.lost,
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
        hubs = {mount.path: mount.hub for mount in self._site.mounts}
        orders = ControlOrders(hubs, self._figures, self._observer.complain)
        return Control(self.loop, sock, orders.obey, observe.report, self._settings.transport)

    def _figures(self) -> dict[str, int]:
        """Loop's thread: what this worker counts, as the control socket tells it."""
        figures = {"connections": len(self._reception.channels), **self._observer.counts}
        for broker in self._brokers():
            figures |= broker.figures()
        return figures

    def _brokers(self) -> list[RedisBackplane]:
        return [backplane for backplane in self._backplanes if isinstance(backplane, RedisBackplane)]

    def _before(self, engine: Engine, mount: Mount) -> RequestHandler:
        if mount.admit is None:
            return engine
        return Admission(engine, mount.admit, self._door, observe.report)

    # Serving

    def run(self) -> None:
        """Serve until `stop`; then everything is closed."""
        sys.setswitchinterval(self._settings.switch_interval_seconds)
        keep_large_blocks()
        self.loop.mailbox.adopt()
        if self._control is not None:
            self._control.start()
        if self._crew is None:
            self._reception.start()
        else:
            self._crew.begin(self._reception.start)
        try:
            self.loop.run()
        finally:
            self._close()

    def stop(self, timeout_seconds: float | None = None) -> None:
        """Any thread: stop accepting, let running requests end, close WebSockets with 1001, then end."""
        if timeout_seconds is None:
            timeout_seconds = self._settings.graceful_timeout_seconds
        self.loop.mailbox.post(self._stop_alone, timeout_seconds)

    def _stop_alone(self, timeout_seconds: float) -> None:
        """Nobody has said who takes over: a sibling that stays, where there is one."""
        crew = self._crew
        self._begin_stop(timeout_seconds, None if crew is None else crew.siblings.likely_successor())

    def _stop_server(self) -> None:
        """Any thread: the end of this worker, and of all others where there are any."""

        def stop() -> None:
            if self._crew is None or not self._crew.stop_server():
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
        hint = "" if self._crew is not None else "; a second signal cuts it off"
        observe.say(f"stopping: what runs may end{hint}")
        if self._control is not None:
            self._control.close()
        if self._crew is not None:
            self._crew.leave(successor)
        # What waits in the system's queue is for those that go on, where there are any.
        self._reception.stop(take_waiting=successor is None)
        for _, engine in self._engines:
            engine.close()
        if self._estate is not None and successor is not None:
            self._estate.bequeath(successor)
        # A request may be on its way on a kept connection: it is still answered, with Connection: close.
        grace = min(timeout_seconds, self._settings.idle_grace_seconds)
        self.loop.call_later(grace, self._reception.close_idle)
        self._await_end(self.loop.now + timeout_seconds)

    def _await_end(self, deadline: float) -> None:
        # Disconnect handlers that wait for a thread are still to be told; what runs has its time in `_close`.
        done = not self._reception.channels and not self._events_pool.waiting_count()
        if self._crew is not None and self._crew.siblings.queued_bytes():
            done = False
        if self._estate is not None and self._estate.busy:
            done = False
        if self._succeeded and any(broker.leaving for broker in self._brokers()):
            done = False
        if done or self.loop.now >= deadline:
            self.loop.call_soon(self.loop.stop)
        else:
            self.loop.call_later(0.02, partial(self._await_end, deadline))

    def _close(self) -> None:
        self._reception.abort("server stopped")
        self.loop.run_once(0)
        for backplane in self._backplanes:
            backplane.close()
        for pool in (self._requests_pool, self._events_pool, self._websockets_pool):
            pool.close(timeout_seconds=1.0)
        if self._crew is not None:
            self._crew.close()
        self.loop.close()

    # Requests

    def _count_exchange(self, exchange: Exchange, seconds: float) -> None:
        self._observer.count("requests")
        if self._crew is not None:
            self._crew.count_request()
        if self._settings.access_log:
            self._access_log.write(exchange.request, exchange.status, exchange.sent_bytes, seconds)

    def _saturated(self, option: str, waited_seconds: float) -> None:
        self._observer.complain(
            f"saturated {option}",
            f"work waited {waited_seconds:.1f} s for a thread, all are busy: raise --{option} or block less",
        )

    def _no_thread(self, option: str, error: BaseException) -> None:
        self._observer.complain(
            f"no thread {option}",
            f"the system has no thread for the pool of --{option}, work waits ({error!r}): "
            f"lower --{option} or --waiting-threads, or allow more memory or threads",
        )

    def _lending_spent(self) -> None:
        self._observer.complain(
            "waiting threads",
            f"{self._settings.waiting_threads_count} handlers wait in call or sleep: further ones keep their "
            "threads while they wait; see --waiting-threads",
        )

    def _now(self) -> float:
        return self.loop.now

    def _http_date(self) -> str:
        now = int(time.time())
        if self._date[1] != now:
            self._date = (http_date(now), now)
        return self._date[0]
