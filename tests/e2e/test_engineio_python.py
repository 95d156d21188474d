"""python-engineio's client against an EngineServer in the real server process, on each transport.

It must not know the wire: the client library judges every packet.
"""

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engineio  # type: ignore[import-untyped]
import pytest
import requests

from ordered_clients import OrderedEngine

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60.0


class Player:
    """One client, with what it received and how it ended."""

    def __init__(self, url: str, transports: list[str], query: str = "") -> None:
        self.http = requests.Session()
        self.client = OrderedEngine(http_session=self.http, request_timeout=PATIENCE_SECONDS)
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.ends: queue.Queue[str] = queue.Queue()
        self.client.on("message", self.inbox.put)
        self.client.on("disconnect", self.ends.put)
        self.client.connect(url + query, transports=transports)

    def next(self) -> Any:
        return self.inbox.get(timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        reading = self.client.read_loop_task
        self.client.disconnect()
        if reading is not None:
            self.client.queue.put(None)  # its writer, which the reader waits for, sleeps a ping interval else
            reading.join(PATIENCE_SECONDS)
        self.http.close()


Connect = Callable[..., Player]
WAYS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any]) -> Any:
    return serve(APPS, "plain_app:app")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(way: str, server: Any) -> Iterator[Connect]:
    players: list[Player] = []

    def one(query: str = "") -> Player:
        players.append(Player(server.url, WAYS[way], query))
        return players[-1]

    yield one
    for player in players:
        player.close()


def test_the_client_is_on_the_transport_it_asked_for(connect: Connect, way: str) -> None:
    """R1: polling, WebSocket, and from the one to the other, by one sid."""
    player = connect()
    assert player.client.transport() == ("polling" if way == "polling" else "websocket")
    assert len(player.client.sid) == 20


def test_text_comes_back_in_order(connect: Connect) -> None:
    player = connect()
    texts = [f"é \u2028 \U0001f600 {number}" for number in range(50)]
    for text in texts:
        player.client.send(text)
    # The library starts a thread for each message: they may be handled out of order.
    assert sorted(player.next() for _ in texts) == sorted(texts)


@pytest.mark.parametrize("data", [b"\x00\xff", bytes(range(256)) * 1000])
def test_bytes_come_back(connect: Connect, data: bytes) -> None:
    player = connect()
    player.client.send(data)
    assert player.next() == data


def test_the_client_closes(connect: Connect, server: Any) -> None:
    player = connect()
    sid = player.client.sid
    player.client.send("hello")
    assert player.next() == "hello"
    player.client.disconnect()
    server.wait_for(f"{sid} is gone: transport close\n")
    assert player.ends.get(timeout=PATIENCE_SECONDS) == engineio.Client.reason.CLIENT_DISCONNECT


def test_the_server_closes(connect: Connect, server: Any, way: str) -> None:
    """A poll is answered with a close packet; a WebSocket has a close frame, as from the official server."""
    player = connect()
    sid = player.client.sid
    player.client.send("leave at once")
    server.wait_for(f"{sid} is gone: server disconnect\n")
    reasons = engineio.Client.reason
    expected = reasons.SERVER_DISCONNECT if way == "polling" else reasons.TRANSPORT_ERROR
    assert player.ends.get(timeout=PATIENCE_SECONDS) == expected
    assert player.inbox.empty()


@pytest.mark.parametrize("way", ["polling", "websocket"])
def test_a_refused_client_is_sent_away(connect: Connect) -> None:
    """The library cannot be refused in the middle of its own upgrade: it takes the close for a packet."""
    assert connect("/?refuse=1").ends.get(timeout=PATIENCE_SECONDS)
