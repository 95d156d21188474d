"""Who watches a Socket.IO server: what is told of clients, events, acks and rooms, and when.

It must not know what an observer makes of it.
"""

from types import SimpleNamespace
from typing import Any

import pytest

from python_server.engineio.session import DisconnectReason
from python_server.net.threads import ServerStopped
from python_server.socketio.client import ConnectionRefused, NamespaceReason
from python_server.socketio.handler_runner import Waiting
from python_server.socketio.observer import SocketObserver, together
from python_server.socketio.server import Hub
from python_server.socketio.services import Configuration
from socketio_world import World


class Watcher:
    """Keeps what it is told, as plain values."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.told: list[tuple[Any, ...]] = []

    def now(self) -> float:
        return self.world.now

    def connected(self, socket: Any) -> None:
        self.told.append(("connected", socket.namespace, socket.sid))

    def refused(self, session: Any, namespace: str, message: str) -> None:
        self.told.append(("refused", namespace, message))

    def disconnected(self, socket: Any, reason: Any) -> None:
        self.told.append(("disconnected", socket.namespace, str(reason)))

    def moved(self, namespace: str, kind: str, sid: str, room: Any) -> None:
        self.told.append((kind, namespace, sid, room))

    def received(self, socket: Any, packet: Any) -> None:
        self.told.append(("received", packet.kind.name, packet.data, packet.size_bytes))

    def unhandled(self, socket: Any, name: str) -> None:
        self.told.append(("unhandled", name))

    def answered(self, socket: Any, ack_id: int, prepared: Any) -> None:
        self.told.append(("answered", ack_id, prepared.packets[0]))

    def handled(self, socket: Any, name: str, began: float, error: Any) -> None:
        self.told.append(("handled", name, self.world.now - began, type(error).__name__))

    def delivered(self, namespace: str, rooms: Any, prepared: Any, count: int) -> None:
        self.told.append(("delivered", namespace, rooms, prepared.packets[0], count))


class Watched(World):
    """Whose worker has an observer."""

    def serve(self, hub: Hub) -> None:
        self.watcher = Watcher(self)
        hub.observe(self.watcher)
        super().serve(hub)

    def told(self) -> list[tuple[Any, ...]]:
        told, self.watcher.told = self.watcher.told, []
        return told


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_client_joins_says_something_and_leaves(watched: Watched) -> None:
    watched.on("say", lambda socket, word: watched.advance(2))
    peer = watched.peer(None)
    sid = peer.join()
    assert watched.told() == [("connected", "/", sid)]
    peer.say('2["say","x"]', '21["say","x"]')
    assert watched.told() == [
        ("received", "EVENT", ["say", "x"], 12),
        ("received", "EVENT", ["say", "x"], 13),
        ("handled", "say", 2, "NoneType"),
        ("answered", 1, "431[]"),
        ("handled", "say", 2, "NoneType"),
    ]
    peer.lose()
    assert watched.told() == [("disconnected", "/", "transport close")]


def test_connect_handlers_are_timed_and_their_refusals_told(watched: Watched) -> None:
    def refuse(socket: Any, auth: Any) -> Any:
        watched.advance(1)
        raise ConnectionRefused("who are you?")

    watched.on("connect", refuse)
    watched.peer(None).say("0", "0/nowhere,")
    assert watched.told() == [
        ("refused", "/nowhere", "Invalid namespace"),
        ("handled", "connect", 1, "NoneType"),
        ("refused", "/", "who are you?"),
    ]


def test_what_a_handler_raises_is_told_and_an_event_without_handler_as_well(watched: Watched) -> None:
    watched.on("divide", lambda socket: 1 // 0)
    watched.on("late", lambda socket: (_ for _ in ()).throw(ServerStopped("over")))
    peer = watched.peer()
    watched.told()
    peer.say('2["divide"]', '2["late"]', '2["devide"]')
    told = watched.told()
    assert ("handled", "divide", 0, "ZeroDivisionError") in told
    assert ("handled", "late", 0, "NoneType") in told
    assert ("unhandled", "devide") in told
    assert [str(what) for what, _ in watched.reports] == ["handler of event 'divide'"]


@pytest.mark.parametrize("event", ["connect", "later"])
def test_a_handler_that_is_put_off_is_told_once_with_all_its_time(watched: Watched, event: str) -> None:
    goes_on: list[Any] = []
    watched.on(event, lambda socket, *values: Waiting(goes_on.append))
    peer = watched.peer(None)
    peer.say("0", *(['2["later"]'] if event == "later" else []))
    assert not [each for each in watched.told() if each[0] == "handled"]
    watched.advance(3)
    goes_on[0](lambda: None)
    watched.run()
    assert [each for each in watched.told() if each[0] == "handled"] == [("handled", event, 3, "NoneType")]


def test_rooms_emits_and_acks_are_told(watched: Watched) -> None:
    first, second = watched.peer(), watched.peer()
    hub = watched.hub
    watched.told()
    hub.join("/", first.socket.sid, "den")
    hub.leave("/", first.socket.sid, "den")
    hub.leave("/", first.socket.sid, "den")
    watched.run()
    assert watched.told() == [
        ("join", "/", first.socket.sid, "den"),
        ("leave", "/", first.socket.sid, "den"),
    ]
    hub.emit("news", [1])
    watched.run()
    assert watched.told() == [("delivered", "/", None, '42["news",1]', 2)]
    answers: list[Any] = []
    to = hub_to(second.socket.sid)
    hub.emit("question", [], to, lambda socket, values: answers.append(values))
    watched.run()
    kind, _, rooms, packet, count = watched.told()[0]
    assert (kind, rooms, count) == ("delivered", (second.socket.sid,), 1)
    second.say("3" + packet[2:].partition("[")[0] + '["yes"]')
    assert answers == [["yes"]]
    assert watched.told()[0][:3] == ("received", "ACK", ["yes"])


def hub_to(sid: str) -> Any:
    from python_server.socketio.broadcast import BroadcastOptions

    return BroadcastOptions("/", (sid,))


def test_an_emit_within_an_inline_handler_and_to_a_recoverable_room_is_told(watched: Watched) -> None:
    watched.on("say", lambda socket: watched.hub.emit("heard", []), inline=True)
    peer = watched.peer()
    watched.told()
    peer.say('2["say"]')
    assert ("delivered", "/", None, '42["heard"]', 1) in watched.told()


def test_a_client_that_the_server_sends_away_leaves_with_that_reason(watched: Watched) -> None:
    peer = watched.peer()
    watched.told()
    watched.hub.disconnect("/", peer.socket.sid)
    watched.run()
    assert watched.told() == [("disconnected", "/", str(NamespaceReason.SERVER))]
    peer.lose(DisconnectReason.PING_TIMEOUT)
    assert watched.told() == []


def test_several_are_told_in_turn_and_nobody_costs_nothing() -> None:
    first, second = Watcher(World()), Watcher(World())
    assert together([]) is None
    assert together([first]) is first
    both: Any = together([first, second])
    first.world.now = 5
    socket = SimpleNamespace(namespace="/", sid="a")
    packet = SimpleNamespace(kind=SimpleNamespace(name="EVENT"), data=["x"], size_bytes=3)
    both.connected(socket)
    both.refused(None, "/", "no")
    both.received(socket, packet)
    both.unhandled(socket, "x")
    both.handled(socket, "x", both.now(), None)
    both.answered(socket, 1, SimpleNamespace(packets=["3"]))
    both.moved("/", "join", "a", "den")
    both.delivered("/", None, SimpleNamespace(packets=["2"]), 1)
    both.disconnected(socket, "gone")
    assert [each[0] for each in first.told] == [each[0] for each in second.told]
    assert len(first.told) == 9
    assert both.now() == 5


def test_whoever_comes_while_a_worker_serves_is_too_late(watched: Watched) -> None:
    with pytest.raises(RuntimeError, match="keeps its observers"):
        watched.hub.observe(watched.watcher)
    other: SocketObserver = Watcher(watched)
    Hub(Configuration()).observe(other)
