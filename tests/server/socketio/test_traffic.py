"""What is counted of a namespace, where, and for how long (traffic.py).

It must not know what metrics are made of it.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from python_server.net.threads import ServerStopped
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.client import ConnectionRefused
from python_server.socketio.handler_runner import Waiting
from python_server.socketio.server import Hub
from python_server.socketio.traffic import Traffic
from socketio_world import World


class Counted(World):
    """Whose traffic is counted from the start, by namespace."""

    def __init__(self) -> None:
        super().__init__()
        self.traffic: dict[str, Traffic] = {}
        self.took: defaultdict[str, list[float]] = defaultdict(list)
        self.hub.count_meanwhile(self.traffic_of)

    def traffic_of(self, namespace: str) -> Traffic:
        if namespace not in self.traffic:
            self.traffic[namespace] = Traffic(lambda: self.now, Appending(self.took))
        return self.traffic[namespace]


class Appending(dict[str, Callable[[float], None]]):
    def __init__(self, took: defaultdict[str, list[float]]) -> None:
        super().__init__()
        self._took = took

    def __missing__(self, event: str) -> Callable[[float], None]:
        return self._took[event].append


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_clients_that_come_are_turned_away_and_go(counted: Counted) -> None:
    def refuse(socket: Any, auth: Any) -> Any:
        counted.advance(1)
        raise ConnectionRefused("no")

    counted.on("connect", refuse, "/closed")
    peer = counted.peer()
    peer.say("0/closed,", "0/nowhere,")
    peer.say("1")
    assert counted.traffic["/"].connected_count == 1
    assert counted.traffic["/"].disconnected_counts == {"client namespace disconnect": 1}
    assert counted.traffic["/closed"].refused_count == counted.traffic["/nowhere"].refused_count == 1
    assert counted.took == {"connect": [1]}


@pytest.mark.parametrize("way", ["by the loop", "by a worker", "volatile", "with an ack", "nobody"])
def test_events_that_leave(counted: Counted, way: str) -> None:
    def say(socket: Any) -> None:
        to = BroadcastOptions(rooms=("nobody",) if way == "nobody" else None, volatile=way == "volatile")
        counted.hub.emit("news", ("x",), to, (lambda *answer: None) if way == "with an ack" else None)

    counted.on("say", say, inline=way == "by the loop")
    peer, _ = counted.peer(), counted.peer()
    peer.say('2["say"]')
    traffic = counted.traffic["/"]
    frame = len(b"\x81\x0e" + b'42["news","x"]') + (way == "with an ack")
    expected = (0, 0) if way == "nobody" else (2, 2 * frame)
    assert (traffic.sent_count, traffic.sent_bytes) == expected


def test_handlers_are_timed_and_those_that_raise_named(counted: Counted) -> None:
    def stop(socket: Any) -> None:
        raise ServerStopped("over")

    resumes: list[Any] = []
    counted.on("divide", lambda socket: 1 // 0)
    counted.on("stop", stop)
    counted.on("wait", lambda socket: Waiting(resumes.append))
    peer = counted.peer()
    peer.say('2["divide"]', '2["stop"]', '2["wait"]')
    counted.advance(3)
    resumes.pop()(lambda: None)
    counted.run()
    assert counted.took == {"divide": [0], "stop": [0], "wait": [3]}
    assert [*counted.traffic["/"].failed] == ["divide"]


def test_before_a_worker_serves_there_is_nothing_to_count(counted: Counted) -> None:
    Hub().count_meanwhile(counted.traffic_of)
