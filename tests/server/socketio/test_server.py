"""Namespaces, events, acks, refusals, races and bounds of a hub whose jobs the test runs.

It must not know sockets; the same rules over real ones stand in tests/e2e/wire/test_socketio.py.
"""

import gc
import json
import weakref
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.server import Hub
from python_server.socketio.traffic import Traffic

PLACE = '{"_placeholder":true,"num":0}'


def closed(peer: Any) -> bool:
    return bool(peer.link.closed)


# ---- sending


def test_what_is_emitted_before_serving_is_done_once_a_worker_serves(world: Any) -> None:
    hub = Hub()
    hub.emit("early", (1,))
    world.serve(hub)
    peer = world.peer(None)
    peer.say("0", run=False)
    world.run()
    assert peer.heard()[1:] == ['2["early",1]']


def test_a_worker_that_served_for_a_while_is_forgotten(world: Any) -> None:
    hub = Hub()
    with hub.restoring():
        world.serve(hub)
        assert hub.services is not None
    assert hub.services is None
    world.serve(hub)
    before = hub._running
    with hub.restoring():
        world.serve(hub)
        assert hub._running is not before
    assert hub._running is before


# ---- other ways


def test_msgpack(make_world: Any) -> None:
    codec = MsgpackCodec()
    world = make_world(codec=codec)
    world.on("a", lambda socket, data: data)
    peer = world.peer(None)
    for kind, data, id in [(0, None, None), (2, ["a", b"\x01"], 7)]:
        peer.say(*codec.prepare(kind, "/", data, id).packets)
    connect, ack = (codec_decode(item) for item in peer.heard())
    assert set(connect["data"]) == {"sid"}
    assert ack == {"type": 3, "nsp": "/", "data": [b"\x01"], "id": 7}
    peer.say('2["a"]')
    assert closed(peer)


def codec_decode(message: bytes) -> Any:
    return msgspec.msgpack.decode(message)


@pytest.fixture
def lasting(make_world: Any) -> Any:
    """A world whose clients come back."""
    return make_world(recovery=RecoveryLog())


def come_back(world: Any, names: Any, offset: str | None = None, auth: Any = None) -> tuple[Any, list[Any]]:
    peer = world.peer(None)
    peer.say("0" + json.dumps({"pid": names["pid"], "offset": offset} | (auth or {})))
    reply, *events = peer.heard()
    peer.names = json.loads(reply[1:])
    return peer, [json.loads(event[1:])[:-1] for event in events]


def test_recovery_gives_back_name_rooms_data_and_what_was_missed(lasting: Any) -> None:
    peer = lasting.peer(None)
    sid = peer.join()
    peer.socket.data = {"user": "ada"}
    lasting.hub.join("/", sid, "red")
    lasting.hub.emit("seen", (1,))
    lasting.run()
    (event,) = peer.heard()
    offset = json.loads(event[1:])[-1]
    assert isinstance(offset, str)
    peer.lose()
    lasting.hub.emit("missed", (2,), to=BroadcastOptions(rooms=("red",)))
    lasting.hub.emit("not for it", (3,), to=BroadcastOptions(rooms=("blue",)))
    lasting.hub.emit("gone", (4,), to=BroadcastOptions(volatile=True))
    lasting.run()
    again, events = come_back(lasting, peer.names, offset)
    assert again.names == peer.names
    assert events == [["missed", 2]]
    assert (again.socket.recovered, again.socket.data) == (True, {"user": "ada"})
    assert set(lasting.hub.rooms_of("/", sid)) == {sid, "red"}


def test_recovery_of_a_client_that_received_nothing(lasting: Any) -> None:
    peer = lasting.peer()
    peer.lose()
    lasting.hub.emit("missed", (1,))
    lasting.run()
    again, events = come_back(lasting, peer.names)
    assert (again.names, events) == (peer.names, [["missed", 1]])


def test_recovery_when_the_loss_was_not_noticed_yet(lasting: Any) -> None:
    lasting.on("connect")
    lasting.on("disconnect")
    peer = lasting.peer()
    again, _ = come_back(lasting, peer.names)
    assert again.names == peer.names
    assert closed(peer)
    assert [name for name, _ in lasting.called] == ["connect", "disconnect", "connect"]
    assert len(lasting.hub.members_of("/", None)) == 1


def test_recovery_is_not_for_who_said_goodbye(lasting: Any) -> None:
    peer = lasting.peer()
    peer.say("1")
    again, _ = come_back(lasting, peer.names)
    assert again.names["sid"] != peer.names["sid"]
    assert not again.socket.recovered


def test_recovery_keeps_its_secrets_from_the_application(lasting: Any) -> None:
    lasting.on("connect")
    peer = lasting.peer()
    peer.lose()
    come_back(lasting, peer.names, None, {"key": "s3"})
    assert lasting.called[-1] == ("connect", ({"key": "s3"},))


def test_recovery_too_late(lasting: Any) -> None:
    peer = lasting.peer()
    peer.lose()
    lasting.now += 121.0
    again, _ = come_back(lasting, peer.names)
    assert again.names["sid"] != peer.names["sid"]


def test_nothing_is_left_of_10000_clients(world: Any) -> None:
    """Weak references to every client, its sockets and its session are dead, whatever way it left."""
    world.on("connect")
    world.on("disconnect")
    world.on("a", lambda socket: 1)
    left: list[Any] = []
    for number in range(10_000):
        peer = world.peer()
        client = peer.session.context
        left += [weakref.ref(peer.session), weakref.ref(client), weakref.ref(peer.socket)]
        world.hub.join("/", peer.socket.sid, f"room {number % 10}")
        world.hub.emit(
            "q", (), to=BroadcastOptions(rooms=(peer.socket.sid,)), callback=lambda socket, values: None
        )
        peer.say('21["a"]')
        way = number % 5
        if way == 0:
            peer.say("1")
        elif way == 1:
            peer.say("broken")
        elif way == 2:
            peer.say(f'51-["a",{PLACE}]')
        elif way == 3:
            peer.say('2["a"]', run=False)
        peer.lose()
        if not number % 500:
            world.called.clear()
            world.timers = [timer for timer in world.timers if timer.function]
    world.run()
    del peer, client
    gc.collect()
    assert [reference() for reference in left if reference() is not None] == []
    assert world.hub.members_of("/", None) == []
    assert [timer for timer in world.timers if timer.function and timer.when < world.now + 1] == []


def test_traffic_is_counted_for_a_while_by_every_part(world: Any) -> None:
    """An operator looks at a server that runs."""
    took: list[float] = []
    traffic = Traffic(lambda: world.now, defaultdict(lambda: took.append))

    def talk(peer: Any) -> None:
        peer.say('2["say"]', '2["nobody"]')
        world.hub.join("/", peer.socket.sid, "den")
        world.hub.emit("news", (), BroadcastOptions("/", ("den",)))
        world.run()

    def counts() -> tuple[int, ...]:
        return traffic.received_count, traffic.unhandled_count, traffic.sent_count, traffic.connected_count

    world.on("say")
    peer = world.peer()
    talk(peer)
    world.hub.count_meanwhile(lambda namespace: traffic)
    talk(peer)
    world.peer()
    assert counts() == (2, 1, 1, 1)
    world.hub.count_meanwhile(None)
    talk(peer)
    talk(world.peer())
    peer.lose()
    assert counts() == (2, 1, 1, 1)
    assert (took, traffic.disconnected_counts) == ([0], {})


def test_rooms_and_clients_are_asked_for_before_a_worker_serves_and_while_one_does(world: Any) -> None:
    peer = world.peer()
    sid = peer.socket.sid
    world.hub.enter("/", sid, "den")
    assert (world.hub.rooms_of("/", sid), world.hub.find("/", sid)) == ([sid, "den"], peer.socket)
    assert world.hub.sockets() == [*world.hub.adapters()["/"].recipients(None, ())]
    world.hub.close_room("/", "den")
    world.hub.leave("/", sid, sid)
    world.hub.disconnect("/", sid)
    world.run()
    assert (world.hub.members_of("/", "den"), world.hub.sockets()) == ([], [])
    early = Hub()
    with pytest.raises(ValueError, match="not connected"):
        early.enter("/", sid, "den")
    early.close_room("/", "den")
    assert (early.rooms_of("/", sid), early.members_of("/", "den"), early.sockets()) == ([], [], [])
    assert (early.find("/", sid), early.adapters(), early.services) == (None, {}, None)
