"""Whole workers of two machines on one real broker: wired as a server wires them, turned by the test.

It must not know what they say to each other.
"""

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import trustme

from own_ports import port_of_its_own
from python_server import Server
from python_server.machines.entrance import UNPROVEN_MAX_COUNT
from python_server.net.link import pair
from python_server.net.scoreboard import Scoreboard
from python_server.net.sockets import BindError
from python_server.observe.access_log import AccessWriter
from python_server.serve.mounts import Site
from python_server.serve.worker import Worker
from python_server.settings import ClusterSettings, Settings
from python_server.workers.link_messages import encode
from python_server.workers.peers import MessageKind
from python_server.workers.spawn import WorkerSlot
from wired_worker import POLLING, UPGRADE, page

CONTENT_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")
SECRET = "of all machines"
WAIT_SECONDS = 60.0


class Lines(AccessWriter):
    """An access log that is kept."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, Any]] = []

    def write(self, request: Any, status: int, *rest: Any) -> None:
        self.lines.append((request.path, status, request.peer[0]))


class Asked:
    """A client's connection."""

    def __init__(self, town: "Town", worker: "Running", address: str) -> None:
        self.town = town
        ours, self.sock = socket.socketpair()
        for each in (ours, self.sock):
            each.setblocking(False)
        worker.worker._acceptor._accepted(ours, (address, 1))
        self.received = bytearray()
        self.ended = False

    def pump(self) -> None:
        try:
            while data := self.sock.recv(100_000):
                self.received += data
            self.ended = True
        except BlockingIOError:
            pass

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self) -> tuple[int, bytes]:
        def whole() -> bool:
            self.pump()
            head, end, body = bytes(self.received).partition(b"\r\n\r\n")
            announced = CONTENT_LENGTH.search(head)
            return bool(end) and (announced is None or len(body) >= int(announced[1]))

        self.town.until(whole)
        head, _, body = bytes(self.received).partition(b"\r\n\r\n")
        self.received.clear()
        return int(head.split()[1]), body

    def get(self, query: str = "", fields: str = "", path: str = POLLING) -> tuple[int, bytes]:
        self.send(f"GET {path}{query} HTTP/1.1\r\nHost: here\r\n{fields}\r\n".encode())
        return self.answer()

    def post(self, sid: str, body: bytes) -> tuple[int, bytes]:
        head = f"POST {POLLING}&sid={sid} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)
        return self.answer()


class Running:
    """A worker that serves when its loop is turned."""

    def __init__(
        self, town: "Town", tag: str, others: socket.socket, slot: WorkerSlot | None, **more: Any
    ) -> None:
        self.lines = Lines()
        server = Server(message_queue=town.broker_url, channel=town.channel)
        port = others.getsockname()[1]
        values: dict[str, Any] = {"cluster_secret": SECRET, "cluster": town.cluster(port)} | more
        self.worker = Worker(
            Site(page, [server.mount(town.path)]),
            Settings(machine_tag=tag, **values),
            [],
            slot,
            access_log=self.lines,
            others=others,
        )
        self.worker.begin()

    @property
    def machines(self) -> Any:
        return self.worker._machines

    @property
    def complaints(self) -> dict[str, int]:
        """Those of clusters, counted."""
        counts = self.worker._counters.counts
        return {kind: count for kind, count in counts.items() if kind.startswith("cluster")}

    @property
    def joined(self) -> bool:
        return all(each.figures()["broker_connected"] for each in self.worker._cluster.brokers())


class Town:
    """Every worker of every machine."""

    def __init__(self, broker_url: str, channel: str) -> None:
        self.broker_url = broker_url
        self.channel = channel
        self.workers: list[Running] = []
        self.asked: list[Asked] = []
        self.path = "/socket.io/"
        self.files: dict[str, str] = {}

    def cluster(self, port: int) -> ClusterSettings:
        return ClusterSettings(listen=f"127.0.0.1:{port}", **self.files)

    def machine(self, tag: str, count: int = 1, **more: Any) -> list[Running]:
        others = socket.create_server(("127.0.0.1", 0))
        others.setblocking(False)
        made = []
        for slot in self.slots(count):
            made.append(Running(self, tag, others.dup(), slot, **more))
        others.close()
        for each in made:
            self.workers.append(each)
        self.until(lambda: all(each.joined for each in made))
        for each in made:
            each.machines._directory.announce()
        return made

    @staticmethod
    def slots(count: int) -> list[WorkerSlot | None]:
        if count == 1:
            return [None]
        slots = []
        for index in range(1, count + 1):
            board = Scoreboard(monotonic)
            slots.append(WorkerSlot(index, board.claim(), "host", board))
        for slot in slots:
            for other in slots[slot.index :]:
                ours, theirs = pair()
                slot.siblings[other.index], other.siblings[slot.index] = ours, theirs
        for slot in slots:
            slot.serving = frozenset(slot.siblings)
        return list(slots)

    def until(self, done: Callable[[], Any]) -> None:
        deadline = monotonic() + WAIT_SECONDS * 4
        while not done():
            for each in self.workers:
                each.worker.loop.run_once(0.001)
            assert monotonic() < deadline, "it has not come to pass"

    def client(self, worker: Running, address: str = "192.0.2.1") -> Asked:
        self.asked.append(Asked(self, worker, address))
        return self.asked[-1]

    def session(self, worker: Running) -> str:
        status, body = self.client(worker).get()
        assert status == 200, body
        return str(json.loads(body[1:])["sid"])

    def end(self, worker: Running) -> None:
        self.workers.remove(worker)
        worker.worker.close()
        assert not worker.worker.loop.sockets

    def close(self) -> None:
        for each in self.asked:
            each.sock.close()
        for worker in list(self.workers):
            self.end(worker)


@pytest.fixture
def town(redis_server: Any, request: pytest.FixtureRequest) -> Iterator[Town]:
    town = Town(redis_server.url, f"machines-{os.getpid()}-{request.node.name}")
    yield town
    town.close()


def certified(town: Town, folder: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    town.files = {"certfile": str(folder / "cert.pem"), "ca_certs": str(folder / "ca.pem")}
    issued.private_key_and_cert_chain_pem.write_to_path(town.files["certfile"])
    authority.cert_pem.write_to_path(town.files["ca_certs"])


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_sessions_of_every_worker_are_reached_at_every_machine(town: Town, tls: bool, tmp_path: Path) -> None:
    """Several come in at one address: who has accepted a caller gives it to the sibling that it wants."""
    if tls:
        certified(town, tmp_path)
    homes, [other] = town.machine("m1", 3), town.machine("m2")
    town.until(lambda: all(len(each.worker.membership.siblings.living) == 2 for each in homes))  # type: ignore[union-attr]
    for home in homes:
        sid = town.session(home)
        assert sid.startswith(f"m1.{home.machines._index}.")
        client = town.client(other, "198.51.100.7")
        home.lines.lines.clear()
        assert client.post(sid, b"40") == (200, b"ok")
        status, body = client.get(f"&sid={sid}")
        assert (status, body[:2]) == (200, b"40")
        assert home.lines.lines == [("/socket.io/", 200, "198.51.100.7")] * 2
        websocket = town.client(other)
        path = f"/socket.io/?EIO=4&transport=websocket&sid={sid}"
        websocket.send(f"GET {path} HTTP/1.1\r\nHost: here\r\n{UPGRADE}\r\n".encode())
        town.until(lambda websocket=websocket: websocket.pump() or b"\r\n\r\n" in websocket.received)  # type: ignore[misc]
        assert websocket.received.startswith(b"HTTP/1.1 101 ")
    assert other.complaints == {}
    assert [each.complaints for each in homes] == [{}] * 3
    back = town.session(other)
    assert town.client(homes[1]).post(back, b"40") == (200, b"ok")


def test_one_worker_writes_the_entry_of_all(town: Town) -> None:
    homes = town.machine("m1", 2)
    town.until(lambda: all(len(each.worker.membership.siblings.living) == 1 for each in homes))  # type: ignore[union-attr]
    entries = [each.machines._own_entry() for each in homes]
    [entry] = [entry for entry in entries if entry is not None]
    assert (entry.tag, entry.workers) == ("m1", (1, 2))
    assert f"{entry.host}:{entry.port}" == homes[0].worker._settings.cluster.listen
    town.end(homes[0])
    town.until(lambda: homes[1].machines._own_entry() is not None)
    assert homes[1].machines._own_entry().workers == (2,)


def test_a_sibling_that_is_gone_is_no_silence(town: Town) -> None:
    homes, [other] = town.machine("m1", 2), town.machine("m2")
    town.until(lambda: all(len(each.worker.membership.siblings.living) == 1 for each in homes))  # type: ignore[union-attr]
    sid = town.session(homes[1])
    town.end(homes[1])
    client = town.client(other)
    assert client.get(f"&sid={sid}") == (400, b'{"code":1,"message":"Session ID unknown"}')


def test_what_was_passed_on_is_counted_once_and_given_back_on_both_sides(town: Town) -> None:
    """Where addresses are capped, behind a proxy that brings many clients over few connections."""
    caps = {"address_connections_max_count": 2, "proxy_headers": True}
    [home], [other] = town.machine("m1", **caps), town.machine("m2", **caps)
    sid = town.session(home)
    home.lines.lines.clear()
    forwarded = "X-Forwarded-For: 198.51.100.9\r\n"
    clients = [town.client(other, "127.0.0.1") for _ in range(5)]
    assert clients[0].post(sid, b"40") == (200, b"ok")
    guessed = sid[:-1] + ("b" if sid.endswith("a") else "a")
    for client in clients * 4:
        assert client.get(f"&sid={guessed}", forwarded)[0] == 400
    assert clients[0].get(f"&sid={sid}", forwarded)[0] == 200
    assert [line[1:] for line in home.lines.lines[1:]] == [(400, "198.51.100.9")] * 20 + [
        (200, "198.51.100.9")
    ]
    assert other.lines.lines == []
    websocket = town.client(other, "127.0.0.1")
    path = f"/socket.io/?EIO=4&transport=websocket&sid={sid}"
    websocket.send(f"GET {path} HTTP/1.1\r\nHost: here\r\n{forwarded}{UPGRADE}\r\n".encode())
    town.until(lambda: websocket.pump() or b"\r\n\r\n" in websocket.received)
    assert home.worker._acceptor._caps._connections["198.51.100.9"] == 1
    for client in town.asked:
        client.sock.close()
    town.until(lambda: not other.worker._acceptor.channels and not home.worker._acceptor.channels)
    for each in (home, other):
        caps_of = each.worker._acceptor._caps
        assert (caps_of._connections, caps_of._running) == ({}, {})
        assert not each.machines.queued_bytes
        assert each.complaints == {}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_those_who_come_and_say_nothing_keep_no_machine_out(town: Town, tls: bool, tmp_path: Path) -> None:
    if tls:
        certified(town, tmp_path)
    [home], [other] = town.machine("m1"), town.machine("m2")
    place = home.machines._place
    silent = []
    for _ in range(UNPROVEN_MAX_COUNT + 20):
        silent.append(socket.create_connection(place))
        town.until(lambda: True)
        home.worker.loop.run_once(0.001)
    sid = town.session(home)
    assert town.client(other).post(sid, b"40") == (200, b"ok")
    held = len(home.machines._greeting) + len(home.machines._entrance._doorkeepers)
    assert held <= UNPROVEN_MAX_COUNT
    for each in silent:
        each.close()
    town.until(lambda: not home.machines._greeting and not home.machines._entrance._doorkeepers)
    assert home.complaints["cluster port"] >= UNPROVEN_MAX_COUNT


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_strangers_learn_nothing(town: Town, tls: bool, tmp_path: Path) -> None:
    if tls:
        certified(town, tmp_path)
    [home] = town.machine("m1")
    for said in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0" * 100, b"\xff" * 100):
        with socket.create_connection(home.machines._place) as stranger:
            stranger.sendall(said)
            stranger.setblocking(False)
            heard = [b""]

            def ended(stranger: socket.socket = stranger, heard: list[bytes] = heard) -> bool:
                try:
                    data = stranger.recv(1000)
                except BlockingIOError:
                    return False
                except ConnectionResetError:
                    return True
                heard[0] += data
                return not data

            town.until(ended)
            assert heard == [b""] or (tls and heard[0][:1] == b"\x15")  # TLS's own alert
    town.until(lambda: home.complaints.get("cluster port") == 3)


def test_a_worker_that_stops_lets_waiting_polls_of_both_sides_go(town: Town) -> None:
    [home], [other] = town.machine("m1"), town.machine("m2")
    here, there = town.session(other), town.session(home)
    ours, theirs = town.client(other), town.client(home)
    ours.send(f"GET {POLLING}&sid={there} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    theirs.send(f"GET {POLLING}&sid={here} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    waits = lambda worker: sum(len(link._waiting) for link in worker.machines._entrance._links)  # noqa: E731
    town.until(lambda: waits(home) == waits(other) == 1)
    other.worker.drain(30.0, None)
    assert ours.answer() == (200, b"6")
    assert theirs.answer()[0] in (200, 400)
    town.until(lambda: ours.pump() or ours.ended)
    town.until(lambda: not other.worker._busy())


def test_a_caller_that_a_sibling_does_not_take_is_let_go(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    homes, [other] = town.machine("m1", 2), town.machine("m2")
    town.until(lambda: all(len(each.worker.membership.siblings.living) == 1 for each in homes))  # type: ignore[union-attr]
    for each in homes:
        siblings = each.worker.membership.siblings  # type: ignore[union-attr]
        send = siblings.send

        def refuses(index: int, kind: int, *rest: Any, send: Any = send, **more: Any) -> bool:
            return kind != MessageKind.ARRIVED and bool(send(index, kind, *rest, **more))

        monkeypatch.setattr(siblings, "send", refuses)
    sids = [town.session(each) for each in homes]
    answers = [town.client(other).get(f"&sid={sid}")[0] for sid in sids]
    assert set(answers) <= {200, 400}
    assert not [link for each in homes for link in each.machines._entrance._streams]


@pytest.mark.parametrize("payload", [b"", b"\xc0", encode(None)])
def test_a_malformed_word_of_a_sibling_is_told_and_holds_nothing(
    town: Town, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    homes = town.machine("m1", 2)
    town.until(lambda: all(len(each.worker.membership.siblings.living) == 1 for each in homes))  # type: ignore[union-attr]
    siblings = homes[0].worker.membership.siblings  # type: ignore[union-attr]
    siblings.send(2, MessageKind.ARRIVED, payload)
    town.until(lambda: homes[1].complaints.get("cluster port") == 1)
    ours, theirs = socket.socketpair()
    siblings.send(2, MessageKind.ARRIVED, payload, descriptor=theirs.detach())
    ours.setblocking(False)

    def ended() -> bool:
        try:
            return not ours.recv(10)
        except BlockingIOError:
            return False

    town.until(ended)
    ours.close()


def test_a_machine_closes_with_strangers_at_its_port(town: Town, tmp_path: Path) -> None:
    """TLS or not, `end` sees that nothing is held."""
    certified(town, tmp_path)
    [home] = town.machine("m1")
    with socket.create_connection(home.machines._place):
        town.until(lambda: home.machines._greeting)
        town.end(home)


def test_a_websocket_of_a_path_that_is_served_elsewhere_alone_is_let_go(town: Town) -> None:
    """Machines that are told to serve different paths, as within a deploy."""
    [home] = town.machine("m1")
    town.path = "/other/"
    [other] = town.machine("m2")
    sid = town.session(home)
    for fields, status in (("", b"404"), (UPGRADE, b"")):
        client = town.client(other)
        transport = "websocket" if fields else "polling"
        path = f"/other/?EIO=4&transport={transport}&sid={sid}"
        client.send(f"GET {path} HTTP/1.1\r\nHost: here\r\n{fields}\r\n".encode())
        town.until(lambda client=client: client.pump() or client.ended)  # type: ignore[misc]
        assert client.received[9:12] == status
    assert town.client(other).get(f"&sid={sid}", path=POLLING.replace("socket.io", "other"))[0] == 404


def test_machines_need_a_broker() -> None:
    others = socket.create_server(("127.0.0.1", 0))
    settings = Settings(
        cluster_secret=SECRET, cluster=ClusterSettings(listen=f"127.0.0.1:{port_of_its_own()}")
    )
    with others, pytest.raises(BindError, match="message_queue"):
        Worker(Site(page, [Server().mount("/socket.io/")]), settings, [], others=others)
