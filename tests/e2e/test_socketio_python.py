"""python-socketio's client against the real server process, on both transports.

It must not know the wire: the client library judges every packet.
"""

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio  # type: ignore[import-untyped]

from ordered_clients import OrderedClient

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60.0  # of a machine with far more to do than this


class Player:
    """One client, with what it received in a queue for each event."""

    def __init__(
        self, url: str, transports: list[str], auth: Any = None, namespaces: tuple[str, ...] = ("/",)
    ) -> None:
        self.client = OrderedClient()
        self._inbox: dict[tuple[str, str], queue.Queue[tuple[Any, ...]]] = {}
        for namespace in namespaces:
            for event in (
                "welcome",
                "echoed",
                "said",
                "shouted",
                "reversed",
                "counted",
                "you_said",
                "gone",
                "sold",
            ):
                self._listen(event, namespace)
        self.client.connect(url, auth=auth, transports=transports, namespaces=list(namespaces))

    def _listen(self, event: str, namespace: str) -> None:
        box: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._inbox[event, namespace] = box
        self.client.on(event, lambda *args: box.put(args), namespace=namespace)

    def next(self, event: str, namespace: str = "/") -> tuple[Any, ...]:
        return self._inbox[event, namespace].get(timeout=PATIENCE_SECONDS)

    def nothing(self, event: str) -> bool:
        """Nothing of this kind came before the acknowledgement of an event sent now."""
        assert self.call("sum", (1, 1)) == 2
        return self._inbox[event, "/"].empty()

    def call(self, event: str, data: Any = None, namespace: str = "/") -> Any:
        return self.client.call(event, data, namespace=namespace, timeout=int(PATIENCE_SECONDS))


Connect = Callable[..., Player]


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any]) -> str:
    return str(serve(APPS, "client_app:app").url)


@pytest.fixture(
    params=[["websocket"], ["polling"], ["polling", "websocket"]], ids=["websocket", "polling", "upgrade"]
)
def connect(request: pytest.FixtureRequest, url: str) -> Iterator[Connect]:
    players: list[Player] = []

    def one(**options: Any) -> Player:
        players.append(Player(url, request.param, **options))
        return players[-1]

    yield one
    for player in players:
        player.client.close()


def test_connect_carries_auth(connect: Connect) -> None:
    player = connect(auth={"key": "s3"})
    (welcome,) = player.next("welcome")
    assert welcome == {"sid": player.client.get_sid(), "auth": {"key": "s3"}}


def test_refused_connection(connect: Connect) -> None:
    with pytest.raises(socketio.exceptions.ConnectionError):
        connect(auth={"token": "wrong"})


def test_events_and_acknowledgements(connect: Connect) -> None:
    player = connect()
    player.client.emit("echo", ("é ✓ 😀", 1.5, None, [1, {"a": []}]))
    assert player.next("echoed") == ("é ✓ 😀", 1.5, None, [1, {"a": []}])
    assert player.call("sum", (20, 22)) == 42
    assert player.call("divide", (17, 5)) == (3, 2)
    assert player.call("nothing") is None


def test_the_server_hears_the_clients_acknowledgement(connect: Connect) -> None:
    player = connect()
    player.client.on("question", lambda text: (f"{text}?", 7))
    player.client.emit("ask_me", "why")
    assert player.next("you_said") == ("why?", 7)


def test_bytes_both_ways(connect: Connect) -> None:
    player = connect()
    data = bytes(range(256)) * 3
    assert player.call("reverse", data) == data[::-1]
    (event,) = player.next("reversed")
    assert event == {"size": 768, "data": data[::-1], "twice": [data[::-1], b"\x00\xff"]}


def test_rooms_and_broadcasts_leave_the_sender_out(connect: Connect) -> None:
    """R36: rooms, broadcast, skip."""
    ada, ben, cleo = connect(), connect(), connect()
    for player in (ada, ben):
        assert player.call("enter", "blue") == "blue"
    assert ada.call("say", ("blue", "hi")) is True
    assert ben.next("said") == ({"room": "blue", "text": "hi"},)
    assert ada.nothing("said")
    assert cleo.nothing("said")
    assert cleo.call("shout", "everyone") is True
    assert ada.next("shouted") == ben.next("shouted") == ("everyone",)
    assert cleo.nothing("shouted")


def test_order_is_kept(connect: Connect) -> None:
    player = connect()
    for number in range(100):
        player.client.emit("count", number)
    assert [player.next("counted")[0] for _ in range(100)] == list(range(100))


def test_a_second_namespace(connect: Connect) -> None:
    player = connect(namespaces=("/", "/shop"))
    assert player.client.get_sid("/shop") != player.client.get_sid("/")
    assert player.call("buy", "tea", namespace="/shop") == {"bought": "tea"}
    assert player.next("sold", "/shop") == ("tea",)
    assert player.call("sum", (2, 3)) == 5


def test_others_hear_of_a_disconnect(connect: Connect) -> None:
    stays, goes = connect(), connect()
    sid = goes.client.get_sid()
    goes.client.disconnect()
    while stays.next("gone") != ({"sid": sid},):
        pass  # players of earlier tests may be noticed late; `next` gives up when this one never comes


def test_a_handlers_exception_leaves_the_connection_usable(connect: Connect) -> None:
    player = connect()
    player.client.emit("boom")
    assert player.call("sum", (5, 5)) == 10
