"""The parts of a worker, made and connected: what each setting reaches, seen from a client's end.

It must not know how any part works; the loop turns here, nothing sleeps.
"""

import json
import logging
import socket
from collections.abc import Callable, Iterator
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from python_server import Resource, Server, WebSocketApplication, WSGIApp
from python_server.net.link import Link, pair
from python_server.net.loop import Loop
from python_server.net.scoreboard import Scoreboard
from python_server.net.system import REAL
from python_server.observe import log
from python_server.observe.counters import Counters
from python_server.serve.mounts import Site, find_site
from python_server.serve.wiring import (
    SOFTWARE,
    Given,
    http_services,
    make_cluster,
    make_network,
    make_pools,
    make_protocols,
)
from python_server.serve.worker import access_log_of
from python_server.settings import Settings
from python_server.workers import link_messages
from python_server.workers.peers import MessageKind
from python_server.workers.spawn import WorkerSlot

POLLING = "/socket.io/?EIO=4&transport=polling"
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    said = " ".join(environ[name] for name in ("SCRIPT_NAME", "PATH_INFO", "REMOTE_ADDR")).encode()
    start_response("200 OK", [("Content-Length", str(len(said)))])
    return [said]


class Wired:
    """A worker's parts, connected as `Worker` does it, and the clients it has accepted."""

    def __init__(self, site: Site, settings: Settings, slot: WorkerSlot | None = None) -> None:
        self.counters = Counters(monotonic)
        self.drained: list[int | None] = []
        given = Given(site, settings, slot, REAL, self.counters.complain, access_log_of(settings, REAL))
        self.network = make_network(given, [])
        self.loop: Loop = self.network.loop
        self.loop.mailbox.adopt()
        self.pools = make_pools(given, self.loop)
        self.protocols = make_protocols(given, self.network, self.pools)
        self.cluster = make_cluster(
            given,
            self.network,
            self.pools,
            self.protocols,
            drain=self.drained.append,
            reopen_logs=lambda: None,
            stop_server=lambda: None,
        )
        self.services = http_services(given, self.network, self.protocols, self.cluster, self.counters)
        self.network.acceptor.set_services(self.services)
        self.clients: list[socket.socket] = []

    def until(self, done: Callable[[], bool]) -> None:
        while not done():
            self.loop.run_once(60)

    def ask(self, target: str, fields: str = "", address: str = "192.0.2.1") -> tuple[int, str, bytes]:
        """(status, head, body) of the answer over a connection of its own."""
        ours, client = socket.socketpair()
        ours.setblocking(False)
        client.setblocking(False)
        self.clients.append(client)
        self.network.acceptor._accepted(ours, (address, 1))
        client.send(f"GET {target} HTTP/1.1\r\nHost: here\r\n{fields}\r\n".encode())
        received = bytearray()

        def answered() -> bool:
            try:
                received.extend(client.recv(100_000))
            except BlockingIOError:
                return False
            return b"\r\n\r\n" in received

        self.until(answered)
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode(), body

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.network.acceptor.abort("over")
        self.loop.run_once(0)
        for backplane in self.cluster.backplanes:
            backplane.close()
        self.pools.close()
        if self.cluster.membership is not None:
            self.cluster.membership.close()
        self.loop.close()


@pytest.fixture
def wire() -> Iterator[Callable[..., Wired]]:
    made: list[Wired] = []

    def begin(site: Site | None = None, slot: WorkerSlot | None = None, **values: Any) -> Wired:
        made.append(Wired(site or Site(page), Settings(**values), slot))
        return made[-1]

    yield begin
    for each in made:
        each.close()


def site_of(*servers: Server) -> Site:
    return Site(page, [server.mount("/socket.io/") for server in servers])


def test_the_application_answers_below_its_root_and_each_answer_is_counted(
    wire: Callable[..., Wired], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log.ACCESS, "handlers", [caplog.handler])
    monkeypatch.setattr(log.ACCESS, "propagate", False)
    wired = wire(root_path="shop/", access_log="-", access_log_format="%(m)s %(U)s %(s)s")
    with caplog.at_level(logging.INFO, log.ACCESS.name):
        status, head, body = wired.ask("/shop/cart")
        wired.until(lambda: bool(caplog.records))
    assert (status, body) == (200, b"/shop /cart 192.0.2.1")
    assert f"\r\nServer: {SOFTWARE}" in head
    assert wired.counters.counts["requests"] == 1
    assert [record.message for record in caplog.records] == ["GET /cart 200"]
    assert wired.services.stop is None  # no sibling has sessions


def test_a_trusted_proxy_tells_the_client(wire: Callable[..., Wired]) -> None:
    wired = wire(proxy_headers=True, forwarded_allow_ips="192.0.2.1")
    assert wired.ask("/", "X-Forwarded-For: 198.51.100.7\r\n")[2].endswith(b" 198.51.100.7")
    assert wire().ask("/", "X-Forwarded-For: 198.51.100.7\r\n")[2].endswith(b" 192.0.2.1")


def test_hosts_and_requests_of_an_address_are_bounded(wire: Callable[..., Wired]) -> None:
    assert wire(allowed_hosts="there").ask("/")[0] == 400
    capped = wire(address_minute_requests_max_count=1)
    assert [capped.ask("/")[0], capped.ask("/")[0]] == [200, 429]
    assert capped.ask("/", address="192.0.2.2")[0] == 200


def test_each_mount_has_sessions_within_the_bound_of_all(wire: Callable[..., Wired]) -> None:
    server = Server()
    wired = wire(site_of(server), sessions_max_count=1)
    assert [path for path, _ in wired.cluster.engines] == ["/socket.io/"]
    status, _, body = wired.ask(POLLING)
    assert status == 200
    sid = json.loads(body[1:])["sid"]
    assert "." not in sid  # one worker's names need no index
    assert list(wired.cluster.engines[0][1].sessions) == [sid]
    assert wired.ask(POLLING)[0] == 503
    assert wired.cluster.brokers() == []
    assert wired.cluster.recovery_handover is None


def test_a_raw_websocket_opens_by_its_path(wire: Callable[..., Wired]) -> None:
    echo = WebSocketApplication()
    wired = wire(Site(page, websockets={"/echo": echo}))
    assert wired.ask("/echo", UPGRADE)[0] == 101
    assert wired.ask("/elsewhere", UPGRADE)[0] == 200  # the application's to answer
    assert len(wired.network.acceptor.channels) == 2


class Door:
    """Middleware that lets in who knows the word."""

    def __init__(self, application: Any) -> None:
        self.app = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("HTTP_WORD") != "open":
            start_response("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        return self.app(environ, start_response)


def test_middleware_is_asked_before_a_session_opens(wire: Callable[..., Wired]) -> None:
    wired = wire(find_site(Door(WSGIApp(Server(), page))))
    assert wired.ask(POLLING)[0] == 403
    assert wired.ask(POLLING, "Word: open\r\n")[0] == 200


def test_middleware_is_asked_before_a_raw_websocket_opens(wire: Callable[..., Wired]) -> None:
    wired = wire(find_site(Door(Resource({"/echo": WebSocketApplication()}, page))))
    assert wired.ask("/echo", UPGRADE)[0] == 403
    assert wired.ask("/echo", UPGRADE + "Word: open\r\n")[0] == 101


def test_what_a_mount_itself_asks_comes_first(wire: Callable[..., Wired]) -> None:
    asked: list[str] = []
    site = site_of(Server())
    site.mounts[0].admit = lambda request: asked.append(request.path)
    site.mounts[0].holder = object()
    assert wire(site).ask(POLLING)[0] == 200
    assert asked == ["/socket.io/"]


class Siblings:
    """The supervisor's end of one worker's link."""

    def __init__(self) -> None:
        ours, theirs = pair()
        self.board = Scoreboard(monotonic)
        self.slot = WorkerSlot(7, self.board.claim(), "host", self.board, theirs)
        self.ours = ours
        self.heard: list[int] = []

    def join(self, loop: Loop) -> Link:
        return Link(
            loop, self.ours, lambda kind, payload, _: self.heard.append(kind), lambda: None, log.report
        )


def test_one_of_several_is_a_member_whose_sessions_bear_its_index(wire: Callable[..., Wired]) -> None:
    several = Siblings()
    wired = wire(site_of(Server(connection_state_recovery=True)), several.slot, max_requests_count=2)
    supervisor = several.join(wired.loop)
    membership = wired.cluster.membership
    assert membership is not None
    begun: list[bool] = []
    membership.begin(lambda: begun.append(True))
    wired.until(lambda: several.heard == [MessageKind.READY])
    assert begun == [True]
    assert json.loads(wired.ask(POLLING)[2][1:])["sid"].startswith("7.")
    assert several.heard == [MessageKind.READY]
    wired.ask("/")
    wired.until(lambda: several.heard == [MessageKind.READY, MessageKind.REPLACE_ME])
    supervisor.send(MessageKind.DRAIN, link_messages.encode(link_messages.Drain(8)))
    wired.until(lambda: wired.drained == [8])
    assert wired.cluster.recovery_handover is not None
    assert wired.services.stop is not None
    foreign: Any = SimpleNamespace(path="/socket.io/", query="EIO=4&transport=polling&sid=8.abc")
    assert wired.services.stop(foreign)
    supervisor.close()
