"""Machines behind a balancer that deals every request out in turn: they pass requests on to each other.

It must not know what they say to each other: it looks at what clients are answered.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from websockets.sync.client import connect

from own_nginx import Nginx
from own_ports import port_of_its_own
from page_blocks import blocks_of
from room_talk import POLLING, UPGRADING, WEBSOCKET, say_to_all

APPS = Path(__file__).resolve().parent / "apps"
LATER_RELEASE = str(APPS.parent / "peers" / "later_release.py")
WAIT_SECONDS = 60.0
SECRET = "of all machines"


class Machine:
    """One that the others reach at `address`."""

    def __init__(
        self, start: Any, broker_url: str, channel: str, tag: str, arguments: tuple[str, ...]
    ) -> None:
        self.address = f"127.0.0.1:{port_of_its_own()}"
        environment = {
            "BROKER": broker_url,
            "OPTIONS": json.dumps({"channel": channel}),
            "WSFRAME_CLUSTER_LISTEN": self.address,
            "WSFRAME_CLUSTER_SECRET": SECRET,
            "WSFRAME_MACHINE_TAG": tag,
        }
        begin = partial(start, APPS, env=environment)
        if arguments[:1] == ("gunicorn",):
            self.server = begin("machine_app:app", *arguments[1:], supervisor="gunicorn")
        elif arguments[:1] == ("later release",):
            words = (LATER_RELEASE, "machine_app:app", "--host", "127.0.0.1", "--port", "0", *arguments[1:])
            self.server = begin(*words, program=True)
        else:
            self.server = begin("machine_app:app", *arguments)

    @property
    def url(self) -> str:
        return str(self.server.url)


Start = Callable[..., list[Machine]]
Balanced = Callable[[list[Machine]], str]


def two_machines(start: Any, broker_url: str, *arguments: str) -> list[Machine]:
    """Two on one broker that know each other."""
    channel = f"linked-{uuid.uuid4().hex}"
    found = [Machine(start, broker_url, channel, f"m{number}", arguments) for number in (1, 2)]
    wait_linked(*found)
    return found


@pytest.fixture
def machines(launch: Any, redis_server: Any) -> Start:
    """machines(arguments, ...): two of a test's own."""
    return partial(two_machines, launch, redis_server.url)


@pytest.fixture(scope="module")
def pair(serve: Any, redis_server: Any) -> list[Machine]:
    """Two of two workers each, for tests that end nothing."""
    return two_machines(serve, redis_server.url, "--workers", "2")


def wait_linked(first: Machine, second: Machine) -> None:
    """Until each finds a session of the other one."""
    for here, there in ((first, second), (second, first)):
        deadline = time.monotonic() + WAIT_SECONDS
        while Polling(here.url).ask(there.url).status_code != 200:
            assert time.monotonic() < deadline


class Polling:
    """A session, whose requests go wherever a test says."""

    def __init__(self, url: str) -> None:
        self.asked = requests.Session()
        opened = self.asked.get(url + "/socket.io/?EIO=4&transport=polling", timeout=WAIT_SECONDS)
        self.sid = json.loads(opened.text[1:])["sid"]
        self.query = f"/socket.io/?EIO=4&transport=polling&sid={self.sid}"

    def say(self, url: str, packets: str, **more: Any) -> requests.Response:
        return self.asked.post(url + self.query, data=packets.encode(), timeout=WAIT_SECONDS, **more)

    def hear(self, url: str, **more: Any) -> requests.Response:
        return self.asked.get(url + self.query, timeout=WAIT_SECONDS, **more)

    def ask(self, url: str) -> requests.Response:
        """Join there, if the session is found there."""
        said = self.say(url, "40")
        return self.hear(url) if said.status_code == 200 else said


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[Balanced]:
    """balanced(machines): the URL of an nginx that deals requests out in turn."""
    running: list[Nginx] = []

    def start(machines: list[Machine]) -> str:
        (block,) = (each for each in blocks_of("docs/scaling.md", "nginx") if "machines_in_turn" in each)
        for number, machine in enumerate(machines, 1):
            block = block.replace(f"10.0.0.{number}:8000", machine.url.removeprefix("http://"))
        running.append(Nginx(tmp_path, lambda port: block.replace("listen 80;", f"listen 127.0.0.1:{port};")))
        return f"http://127.0.0.1:{running[-1].port}"

    yield start
    for program in running:
        program.stop()


def test_any_request_may_go_to_any_machine(pair: list[Machine], balanced: Balanced) -> None:
    sids = say_to_all(balanced(pair), [POLLING, UPGRADING, POLLING, UPGRADING, WEBSOCKET, POLLING])
    assert {sid[:3] for sid in sids} == {"m1.", "m2."}


@pytest.mark.parametrize(
    "arguments", [(), ("gunicorn", "--workers", "2"), ("gunicorn", "--workers", "2", "--preload")]
)
def test_it_holds_for_one_worker_and_under_gunicorn(
    machines: Start, balanced: Balanced, arguments: tuple[str, ...]
) -> None:
    say_to_all(balanced(machines(*arguments)), [POLLING, UPGRADING, UPGRADING, POLLING])


def test_two_releases_pass_on_for_each_other(launch: Any, redis_server: Any, balanced: Balanced) -> None:
    """As during a deploy: one says more than the other one knows."""
    make = partial(Machine, launch, redis_server.url, f"linked-{uuid.uuid4().hex}")
    both = [make("m1", ("--workers", "2")), make("m2", ("later release", "--workers", "2"))]
    wait_linked(*both)
    say_to_all(balanced(both), [POLLING, UPGRADING, POLLING, UPGRADING])
    both[0].server.wait_for("a frame of unknown kind 99 from another machine")


def test_with_tls_between_them(machines: Start, balanced: Balanced, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = {name: str(tmp_path / name) for name in ("key.pem", "cert.pem", "ca.pem")}
    issued.private_key_pem.write_to_path(files["key.pem"])
    issued.cert_chain_pems[0].write_to_path(files["cert.pem"])
    authority.cert_pem.write_to_path(files["ca.pem"])
    own = ("--cluster-certfile", files["cert.pem"], "--cluster-keyfile", files["key.pem"])
    both = machines("--workers", "2", *own, "--cluster-ca-certs", files["ca.pem"])
    folder = tmp_path / "nginx"
    folder.mkdir()
    say_to_all(balanced(both), [POLLING, UPGRADING, WEBSOCKET, UPGRADING, POLLING])


def test_bodies_and_answers_arrive_whole(pair: list[Machine]) -> None:
    first, second = pair
    session = Polling(first.url)
    assert session.ask(second.url).text.startswith("40")
    text = "ä" * 200_000
    chunked = iter([b'4210["echo","', text.encode(), b'"]'])
    sent = session.asked.post(second.url + session.query, data=chunked, timeout=WAIT_SECONDS)
    assert (sent.status_code, sent.text) == (200, "ok")
    heard: list[str] = []
    while len(heard) < 2:
        answer = session.hear(second.url, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip"
        heard += answer.text.split("\x1e")
    assert heard == [f'42["echoed","{text}"]', f'4310["{text}"]']
    large = session.say(second.url, "4" * 1_000_001)
    assert large.status_code == 413
    assert "max_http_buffer_size" in large.text


def test_the_refusals_are_those_of_the_home(pair: list[Machine]) -> None:
    first, second = pair
    session = Polling(first.url)
    assert session.asked.put(second.url + session.query, timeout=WAIT_SECONDS).status_code == 400
    for unknown in ("m1.0.", "m1.7.", "nobody.0."):
        query = f"/socket.io/?EIO=4&transport=polling&sid={unknown}{'a' * 20}"
        answer = requests.get(second.url + query, timeout=WAIT_SECONDS)
        assert (answer.status_code, answer.json()) == (400, {"code": 1, "message": "Session ID unknown"})


def test_a_poll_that_waits_holds_nothing_but_its_connection(pair: list[Machine]) -> None:
    """Its client leaves, and the session ends at its home; another one hears what is said later."""
    first, second = pair
    waiting, leaving = Polling(first.url), Polling(first.url)
    for session in (waiting, leaving):
        assert session.ask(second.url).status_code == 200
    host, _, port = second.url.removeprefix("http://").partition(":")
    head = f"GET {{}} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
    with socket.create_connection((host, int(port))) as kept:
        kept.sendall(head.format(waiting.query).encode())
        left = http.client.HTTPConnection(host, int(port), timeout=WAIT_SECONDS)
        # Its worker has a link to the home then: of who leaves before that the home never hears.
        left.request("POST", leaving.query, b"3")
        assert left.getresponse().read() == b"ok"
        left.request("GET", leaving.query)
        left.close()
        deadline = time.monotonic() + WAIT_SECONDS
        while leaving.say(first.url, "3").status_code != 400:  # until it has ended
            assert time.monotonic() < deadline
        assert waiting.say(first.url, '42["echo","late"]').status_code == 200
        kept.settimeout(WAIT_SECONDS)
        received = b""
        while b"late" not in received:
            received += kept.recv(65_536)
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_websocket_is_relayed_to_its_home(pair: list[Machine]) -> None:
    first, second = pair
    session = Polling(first.url)
    assert session.ask(first.url).status_code == 200
    url = second.url.replace("http", "ws") + f"/socket.io/?EIO=4&transport=websocket&sid={session.sid}"
    with connect(url, max_size=None) as websocket:
        websocket.send("2probe")
        assert websocket.recv(WAIT_SECONDS) == "3probe"
        websocket.send("5")
        text = "x" * 900_000
        websocket.send(f'42["echo","{text}"]')
        assert websocket.recv(WAIT_SECONDS) == f'42["echoed","{text}"]'


def test_a_home_that_is_killed_ends_its_sessions_at_once(machines: Start) -> None:
    first, second = machines()
    session = Polling(first.url)
    assert session.ask(second.url).status_code == 200
    os.kill(first.server.pid, signal.SIGKILL)
    answer = session.hear(second.url)
    assert (answer.status_code, answer.json()["message"]) == (400, "Session ID unknown")
    assert Polling(second.url).ask(second.url).status_code == 200


def test_a_machine_that_ends_lets_the_clients_of_others_go(machines: Start) -> None:
    """A poll that waits there for a session of another machine is answered, and its connection ends."""
    first, second = machines()
    session = Polling(first.url)
    assert session.ask(second.url).status_code == 200
    host, _, port = second.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as kept:
        kept.sendall(f"GET {session.query} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert requests.get(second.url + "/", timeout=WAIT_SECONDS).status_code == 404  # behind it
        os.kill(second.server.pid, signal.SIGTERM)
        kept.settimeout(WAIT_SECONDS)
        received = b""
        while piece := kept.recv(65_536):
            received += piece
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert received.endswith(b"6")
    assert session.say(first.url, '42["echo","still here"]').status_code == 200
    assert "still here" in session.hear(first.url).text


def test_garbage_at_the_port_is_not_answered(pair: list[Machine]) -> None:
    first, _ = pair
    host, _, port = first.address.rpartition(":")
    with socket.create_connection((host, int(port))) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        stranger.settimeout(WAIT_SECONDS)
        assert stranger.recv(100) == b""
    first.server.wait_for("a caller at the cluster's port is refused")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--cluster-listen", "127.0.0.1:7000"), "--cluster-secret"),
        (("--cluster-listen", "0.0.0.0:7000", "--cluster-secret", "s"), "where the other machines reach"),
        (("--cluster-listen", "here", "--cluster-secret", "s"), "where the other machines reach"),
    ],
)
def test_what_does_not_fit_together_is_said_at_start(
    arguments: tuple[str, ...], reason: str, redis_server: Any
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "python_server", "machine_app:app", *arguments],
        cwd=APPS,
        env=os.environ | {"BROKER": redis_server.url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert reason in done.stderr
