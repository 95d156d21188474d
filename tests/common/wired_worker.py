"""A worker's parts, wired as `Worker` does it, for the tests of the wiring.

It must not know what a test expects.
"""

import re
import socket
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

from python_server import Server
from python_server.net.loop import Loop
from python_server.net.system import REAL
from python_server.observe.counters import Counters
from python_server.serve.cluster_wiring import http_services, make_cluster
from python_server.serve.mounts import Site
from python_server.serve.wiring import (
    Given,
    make_network,
    make_pools,
    make_protocols,
)
from python_server.serve.worker import access_log_of
from python_server.settings import Settings
from python_server.workers.spawn import WorkerSlot

CONTENT_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")
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
            head, end, body = bytes(received).partition(b"\r\n\r\n")
            announced = CONTENT_LENGTH.search(head)
            return bool(end) and (announced is None or len(body) >= int(announced[1]))

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
