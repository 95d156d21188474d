"""The nginx settings of docs/scaling.md, each checked by nginx and driven between clients and two machines.

It must not know what nginx does with them: it looks at who reaches whom.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from ordered_clients import SimpleClient
from own_nginx import Nginx

APPS = Path(__file__).resolve().parent / "apps"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"
WAIT_SECONDS = 60


@pytest.fixture
def machines(serve: Any, redis_server: Any) -> list[Any]:
    """Two machines on one broker."""
    environment = {"BROKER": redis_server.url, "OPTIONS": f'{{"channel": "nginx-{os.getpid()}"}}'}
    servers = [serve(APPS, "machine_app:app", env=environment) for _ in range(2)]
    for server in servers:
        server.wait_for("joined the broker")
    return servers


@pytest.fixture
def nginx(tmp_path: Path, machines: list[Any]) -> Iterator[Callable[[str], str]]:
    """nginx(upstream): the URL of the documented block of that name, in front of the two machines."""
    running: list[Nginx] = []

    def start(upstream: str) -> str:
        blocks = [
            block
            for block in re.findall(r"```nginx\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
            if f"upstream {upstream} " in block
        ]
        assert len(blocks) == 1

        def in_place(port: int) -> str:
            configuration: str = blocks[0].replace("listen 80;", f"listen 127.0.0.1:{port};")
            for number, server in enumerate(machines, 1):
                written = f"10.0.0.{number}:8000"
                assert configuration.count(written) == 1
                configuration = configuration.replace(written, server.url.removeprefix("http://"))
            return configuration

        running.append(Nginx(tmp_path, in_place))
        return f"http://127.0.0.1:{running[-1].port}"

    yield start
    for process in running:
        process.stop()


def test_affinity_lets_clients_poll(nginx: Callable[[str], str]) -> None:
    url = nginx("machines")
    clients = [SimpleClient() for _ in range(4)]
    try:
        for client in clients:
            client.connect(url, transports=["polling"])
            client.call("join", "red")
        clients[0].emit("say", ("hello", {"to": "red"}))
        for client in clients:
            assert client.receive(WAIT_SECONDS) == ["said", "hello"]
    finally:
        for client in clients:
            client.disconnect()


def test_websockets_go_anywhere(nginx: Callable[[str], str], machines: list[Any]) -> None:
    url = nginx("any_machine")
    clients = [SimpleClient() for _ in range(6)]
    try:
        for client in clients:
            client.connect(url, transports=["websocket"])
            client.call("join", "red")
        clients[0].emit("say", ("hello", {"to": "red"}))
        for client in clients:
            assert client.receive(WAIT_SECONDS) == ["said", "hello"]
        for server in machines:
            server.wait_for("GET /socket.io/")  # both have some
    finally:
        for client in clients:
            client.disconnect()


def test_polling_without_affinity_is_told_what_is_wrong(machines: list[Any]) -> None:
    """A session of one machine, asked for at the other."""
    opened = requests.get(machines[0].url + "/socket.io/?EIO=4&transport=polling", timeout=WAIT_SECONDS)
    sid = json.loads(opened.text[1:])["sid"]
    astray = requests.get(
        f"{machines[1].url}/socket.io/?EIO=4&transport=polling&sid={sid}", timeout=WAIT_SECONDS
    )
    assert astray.status_code == 400
    assert "affinity" in astray.text
    machines[1].wait_for("affinity")


READER = """
from flask import Flask
from python_server import SocketIO, join_room
app = Flask(__name__)
{block}
@socketio.on("read")
def read():
    join_room("readers")
"""


def test_the_lines_for_a_broker(serve: Any, redis_server: Any, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    joined, spoken = (block.replace("redis://broker:6379/0", redis_server.url) for block in blocks)
    (tmp_path / "readers.py").write_text(READER.format(block=joined))
    server = serve(tmp_path, "readers:app")
    server.wait_for("joined the broker")
    client = SimpleClient()
    client.connect(server.url)
    client.call("read")
    scope: dict[str, Any] = {}
    exec(compile(spoken, "scaling.md", "exec"), scope)
    assert client.receive(WAIT_SECONDS) == ["news", {"title": "hello"}]
    client.disconnect()
