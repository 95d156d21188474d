"""The balancers' settings of docs/scaling.md, each by its real program, between clients and two machines.

It must not know what the programs do with them: it looks at who reaches whom.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio  # type: ignore[import-untyped]
import yaml

from ordered_clients import SimpleClient
from own_envoy import Envoy
from own_haproxy import HAProxy
from own_nginx import Nginx
from own_ports import port_of_its_own
from python_server import Emitter
from room_talk import POLLING, UPGRADING, WEBSOCKET, say_to_all
from running_program import RunningProgram

APPS = Path(__file__).resolve().parent / "apps"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"
WAIT_SECONDS = 60
RETRY_SECONDS = 0.2


Start = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def machines(serve: Any, redis_server: Any) -> Start:
    """machines(arguments, ...): two on one broker; in an argument `{0}` is its number, `{1}` a port.

    Tests with the same arguments share them.
    """
    channel = f"balanced-{os.getpid()}"
    environment = {"BROKER": redis_server.url, "OPTIONS": json.dumps({"channel": channel})}

    @cache
    def start(*arguments: str) -> list[Any]:
        servers = []
        for number in (1, 2):
            port = port_of_its_own()
            given = (each.format(number, port) for each in arguments)
            servers.append(serve(APPS, "machine_app:app", *given, env=environment))
        for server in servers:
            wait_passing_on(server, redis_server.url, channel)
        return servers

    return start


def wait_passing_on(server: Any, broker_url: str, channel: str = "flask-socketio") -> None:
    """Until what others say on the channel reaches its clients, which is a moment after it has joined."""
    server.wait_for("joined the broker")
    with SimpleClient() as client, Emitter(broker_url, channel) as emitter:
        client.connect(server.url, transports=["websocket"])
        for _ in range(int(WAIT_SECONDS / RETRY_SECONDS)):
            emitter.emit("probe", to=client.sid)
            with suppress(socketio.exceptions.TimeoutError):
                client.receive(RETRY_SECONDS)
                return
    raise AssertionError(f"{server.url} passes nothing on")


def documented(language: str, mark: str, machines: list[Any]) -> str:
    """The page's only block in that language that has the mark, with these machines' addresses."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (found,) = (block for block in blocks if mark in block)
    for number, server in enumerate(machines, 1):
        written = f"10.0.0.{number}:8000"
        assert written in found
        found = found.replace(written, server.url.removeprefix("http://"))
    return str(found)


def nginx(folder: Path, mark: str, machines: list[Any]) -> Any:
    block = documented("nginx", mark, machines)
    return Nginx(folder, lambda port: block.replace("listen 80;", f"listen 127.0.0.1:{port};"))


def haproxy(folder: Path, mark: str, machines: list[Any]) -> Any:
    block = documented("text", mark, machines)
    return HAProxy(folder, lambda address: block.replace("bind :80", f"bind {address}"))


def envoy(folder: Path, mark: str, machines: list[Any]) -> Any:
    first, second = (server.url.removeprefix("http://") for server in machines)
    clusters = {"machine_1": [first], "machine_2": [second], "all_machines": [first, second]}
    return Envoy(folder, yaml.safe_load(documented("yaml", mark, [])), clusters)


Balancer = Callable[[Path, str, list[Any]], Any]
Balanced = Callable[[Balancer, str, list[Any]], str]


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[Balanced]:
    """balanced(nginx, mark, machines): the URL of its documented block with that mark, in front of them."""
    running: list[RunningProgram] = []

    def start(balancer: Balancer, mark: str, machines: list[Any]) -> str:
        program = balancer(tmp_path, mark, machines)
        running.append(program)
        return f"http://127.0.0.1:{program.port}"

    yield start
    for program in running:
        program.stop()


@pytest.mark.parametrize("balancer", [nginx, haproxy, pytest.param(envoy, marks=pytest.mark.extended)])
def test_a_session_is_found_by_its_id(balancer: Balancer, machines: Start, balanced: Balanced) -> None:
    """Connections are dealt out in turn: without routing polls would go astray."""
    servers = machines("--workers", "2", "--machine-tag", "m{0}")
    url = balanced(balancer, "m2", servers)
    sids = say_to_all(url, [POLLING, UPGRADING, POLLING, UPGRADING, WEBSOCKET, WEBSOCKET])
    assert {sid[:3] for sid in sids} == {"m1.", "m2."}
    for server in servers:
        assert "Session ID unknown" not in server.log


def haproxy_in_turn(folder: Path, mark: str, machines: list[Any]) -> Any:
    """As the page says: the block above without two of its lines."""
    lines = documented("text", "balance roundrobin", machines).splitlines(keepends=True)
    block = "".join(line for line in lines if "use-server" not in line)
    return HAProxy(folder, lambda address: block.replace("bind :80", f"bind {address}"))


@pytest.mark.parametrize(
    "balancer", [nginx, pytest.param(haproxy_in_turn, marks=pytest.mark.extended)], ids=["nginx", "haproxy"]
)
def test_machines_pass_on_what_is_dealt_out_in_turn(
    balancer: Balancer, machines: Start, balanced: Balanced
) -> None:
    linked = ("--cluster-listen", "127.0.0.1:{1}", "--cluster-secret", "of all machines")
    servers = machines("--workers", "2", *linked)
    url = balanced(balancer, "machines_in_turn", servers)
    sids = say_to_all(url, [POLLING, UPGRADING, WEBSOCKET] * 2)
    assert len({sid.partition(".")[0] for sid in sids}) == 2
    for server in servers:
        assert "Session ID unknown" not in server.log


def test_affinity_lets_clients_poll(machines: Start, balanced: Balanced) -> None:
    say_to_all(balanced(nginx, "ip_hash", machines()), [POLLING] * 4)


def test_websockets_go_anywhere(machines: Start, balanced: Balanced) -> None:
    servers = machines()
    asked = [server.log.count("GET /socket.io/") for server in servers]
    say_to_all(balanced(nginx, "least_conn", servers), [WEBSOCKET] * 6)
    for server, count in zip(servers, asked, strict=True):
        server.wait_for("GET /socket.io/", count + 1)  # both have some


def test_polling_without_affinity_is_told_what_is_wrong(machines: Start) -> None:
    """A session of one machine, asked for at the other."""
    first, second = machines()
    opened = requests.get(first.url + "/socket.io/?EIO=4&transport=polling", timeout=WAIT_SECONDS)
    sid = json.loads(opened.text[1:])["sid"]
    astray = requests.get(f"{second.url}/socket.io/?EIO=4&transport=polling&sid={sid}", timeout=WAIT_SECONDS)
    assert astray.status_code == 400
    for way in ("--machine-tag", "affinity", "--cluster-listen", "WebSocket only"):
        assert way in astray.text
        second.wait_for(way)


READER = """
from flask import Flask
from python_server import SocketIO, join_room
app = Flask(__name__)
{block}
@socketio.on("read")
def read():
    join_room("readers")
"""


@pytest.mark.parametrize("scheme", ["redis", "redis+streams"])
def test_the_lines_for_a_broker(serve: Any, redis_server: Any, tmp_path: Path, scheme: str) -> None:
    text, url = PAGE.read_text("utf-8"), redis_server.url.replace("redis", scheme, 1)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    joined, spoken, recovering = (
        block.replace("redis+streams://", "redis://").replace("redis://broker:6379/0", url)
        for block in blocks
    )
    program = READER.format(block=joined if scheme == "redis" else recovering)
    (tmp_path / "readers.py").write_text(program)
    server = serve(tmp_path, "readers:app")
    wait_passing_on(server, url)
    client = SimpleClient()
    client.connect(server.url)
    client.call("read")
    scope: dict[str, Any] = {}
    exec(compile(spoken, "scaling.md", "exec"), scope)
    # Behind it stands the event's name, where clients recover.
    assert client.receive(WAIT_SECONDS)[:2] == ["news", {"title": "hello"}]
    client.disconnect()
