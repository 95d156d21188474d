"""Handlers that raise SystemExit and its like: the fault is named in the log, and everybody else goes on.

It must not know the server's insides: raw clients on one side, the process's log on the other.
"""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import websockets.exceptions
import websockets.sync.client

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60
PATH = "/socket.io/?EIO=4&transport=websocket"
KINDS = ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "Own"]


@pytest.fixture
def serve_one(launch: Callable[..., Any]) -> Iterator[Callable[[str], Any]]:
    """A server for one test, which must end in good order."""
    servers: list[Any] = []

    def serve(application: str) -> Any:
        # Two threads: one that was lost with a handler would soon be missed.
        servers.append(launch(APPS, application, "--event-threads", "2", "--threads", "2"))
        return servers[-1]

    yield serve
    assert [server.stop() for server in servers] == [0] * len(servers)


class Client:
    """A joined client on a WebSocket."""

    def __init__(self, websocket: Any) -> None:
        self.websocket = websocket
        self.hear()
        self.join("")

    def hear(self) -> str:
        """The next packet; a ping is answered."""
        while (heard := str(self.websocket.recv(PATIENCE_SECONDS))) == "2":
            self.websocket.send("3")
        return heard

    def join(self, packet: str) -> str:
        self.websocket.send("40" + packet)
        return self.hear()

    def say(self, *event: Any) -> None:
        self.websocket.send("42" + json.dumps(event))

    def echoes(self, text: str) -> None:
        """Its own strand goes on, and the pool has a thread for it."""
        self.websocket.send(f'427["echo","{text}"]')
        assert self.hear() == f'437["{text}"]'


@contextmanager
def joined(server: Any) -> Iterator[Client]:
    address = server.url.replace("http", "ws") + PATH
    with websockets.sync.client.connect(address, compression=None, close_timeout=0.1) as websocket:
        yield Client(websocket)


@pytest.mark.parametrize("handler", ["thread", "inline", "free", "coroutine"])
def test_an_event_handler(serve_one: Callable[[str], Any], handler: str) -> None:
    server = serve_one("exits_app:app")
    with joined(server) as client:
        for kind in KINDS:
            for turn in range(3):
                client.say(handler, kind)
                client.echoes(f"{kind} {turn}")
        server.wait_for(f"handler of event '{handler}' failed", 12)
        client.websocket.send('421["await",1]')  # coroutines go on as well
        assert client.hear() == "431[1]"


def test_a_connect_handler(serve_one: Callable[[str], Any]) -> None:
    server = serve_one("exits_app:app")
    with joined(server) as client:
        for kind in KINDS:
            refusal = client.join("/guarded," + json.dumps({"kind": kind}))
            assert refusal == '44/guarded,{"message":"Connection rejected by server"}'
            client.echoes(kind)
        server.wait_for("handler of event 'connect' failed", 4)


def test_a_disconnect_handler(serve_one: Callable[[str], Any]) -> None:
    server = serve_one("exits_app:app")
    with joined(server) as client:
        for turn in range(3):
            assert client.join("/left,").startswith("40/left,")
            client.websocket.send("41/left,")
            client.echoes(str(turn))
        server.wait_for("handler of event 'disconnect' failed", 3)


def test_a_callback(serve_one: Callable[[str], Any]) -> None:
    server = serve_one("exits_app:app")
    with joined(server) as client:
        for kind in KINDS:
            client.say("callback", kind)
            question = client.hear()
            assert question.startswith("42")
            client.websocket.send("43" + question[2 : question.index("[")] + "[]")
            client.echoes(kind)
        server.wait_for("acknowledgement callback failed", 4)


def test_a_background_task(serve_one: Callable[[str], Any]) -> None:
    server = serve_one("exits_app:app")
    with joined(server) as client:
        for kind in KINDS:
            client.say("background", kind)
            client.echoes(kind)
        server.wait_for("background task leave failed", 4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wsgi_application(serve_one: Callable[[str], Any], kind: str) -> None:
    server = serve_one("exits_app:app")
    for _ in range(3):
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE_SECONDS)
        connection.request("GET", f"/{kind}")
        assert connection.getresponse().status == 500
        connection.close()
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE_SECONDS)
    connection.request("GET", f"/stream/{kind}")
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()
    server.wait_for(f"GET /{kind} failed", 3)
    server.wait_for(f"GET /stream/{kind} failed")


@pytest.mark.parametrize("style", ["thread", "inline", "blocking"])
def test_a_websocket(serve_one: Callable[[str], Any], style: str) -> None:
    server = serve_one("exits_app:sockets")
    address = server.url.replace("http", "ws") + "/" + style
    for kind in KINDS:
        with websockets.sync.client.connect(address, compression=None) as websocket:
            websocket.send(kind)
            with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                websocket.recv(PATIENCE_SECONDS)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1011
        if style != "blocking":
            with (
                websockets.sync.client.connect(f"{address}/{kind}", compression=None) as websocket,
                pytest.raises(websockets.exceptions.ConnectionClosedError),
            ):
                websocket.recv(PATIENCE_SECONDS)
    with websockets.sync.client.connect(address, compression=None) as websocket:
        websocket.send("still here")
        assert websocket.recv(PATIENCE_SECONDS) == "still here"
    server.wait_for(" failed\n", 4 if style == "blocking" else 8)
