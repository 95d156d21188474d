"""Listeners of rooms: who hears what, what stands in a block, heartbeats, the end.

It must not know sockets; what is missed meanwhile is in recovery/test_listener_return.
"""

from typing import Any

import pytest

from event_source import Ear
from python_server.engineio.packet import Prepared
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.streams import HEARTBEAT_SECONDS, event_text
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import EVENT, TextCodec
from python_server.socketio.recovery.log import RecoveryLog


def say(world: Any, name: str, *args: Any, rooms: Any = None, excepted: Any = (), **more: Any) -> None:
    world.hub.emit(name, args, to=BroadcastOptions(rooms=rooms, excepted=excepted, **more))
    world.run()


@pytest.mark.parametrize("recovery", [False, True])
def test_a_listener_hears_its_room_and_nothing_else(make_world: Any, recovery: bool) -> None:
    world = make_world(recovery=RecoveryLog() if recovery else None)
    red, blue, everybody = (Ear(room).connect(world.hub) for room in ("red", "blue", None))
    shop = Ear("red", namespace="/shop").connect(world.hub)
    say(world, "a", 1, {"b": [2]}, rooms=("red",))
    say(world, "b", rooms=("red", "blue", "red"))
    say(world, "c", "x")
    say(world, "d", rooms=("red",), excepted=("red",))
    say(world, "e", rooms=("red", "blue"), excepted=("blue",))
    assert red.take() == [("a", [1, {"b": [2]}]), ("b", []), ("e", [])]
    assert blue.take() == [("b", [])]
    assert everybody.take() == [("c", ["x"])]
    assert shop.take() == []
    assert (red.id is not None) is recovery


def test_only_the_event_that_is_wanted(world: Any) -> None:
    ear = Ear("red", event="b").connect(world.hub)
    for name in "abc":
        say(world, name, rooms=("red",))
    assert ear.take() == [("b", [])]


def test_members_of_a_room_and_its_listeners_are_not_confused(world: Any) -> None:
    peer = world.peer(None)
    sid = peer.join()
    world.hub.join("/", sid, "red")
    ear = Ear("red").connect(world.hub)
    assert world.hub.members_of("/", "red") == [sid]
    assert world.hub.adapters()["/"].count("red") == 1
    answers: list[Any] = []
    world.hub.emit("q", (), BroadcastOptions(rooms=("red",)), lambda socket, values: answers.append(values))
    world.run()
    ack_id = peer.heard()[0].partition("[")[0][1:]
    peer.say(f"3{ack_id}[7]")
    assert answers == [[7]]
    assert ear.take() == []  # a question is for those who can answer
    world.hub.close_room("/", "red")
    say(world, "still", rooms=("red",))
    assert (peer.heard(), ear.take()) == ([], [("still", [])])


def test_volatile_events_are_not_for_who_is_behind(world: Any) -> None:
    ear = Ear("red").connect(world.hub)
    ear.exchange.blocked = True
    say(world, "now", rooms=("red",), volatile=True)
    say(world, "always", rooms=("red",))
    assert ear.take() == [("always", [])]


def test_it_is_heard_as_long_as_somebody_listens(make_world: Any) -> None:
    """Where each room has a channel of its own."""
    from dataclasses import replace

    world, held = make_world(), []
    world.services = replace(world.services, room_held=lambda *told: held.append(told))
    world.serve(type(world.hub)())
    first, second = Ear("red").connect(world.hub), Ear("red").connect(world.hub)
    sid = world.peer(None).join()
    world.hub.join("/", sid, "red")
    first.cut()
    assert held == [("/", "red", True)]
    world.hub.leave("/", sid, "red")
    assert held == [("/", "red", True)]
    second.cut()
    assert held == [("/", "red", True), ("/", "red", False)]
    world.hub.join("/", sid, "red")
    assert held[2:] == [("/", "red", True)]
    third = Ear("red").connect(world.hub)
    third.cut()
    assert len(held) == 3


def test_a_heartbeat_keeps_the_id_young(make_world: Any) -> None:
    world = make_world(recovery=RecoveryLog())
    ear, idle = Ear("red").connect(world.hub), Ear("blue").connect(world.hub)
    ear.take()
    first = ear.id
    idle.exchange.blocked = True
    idle.exchange.text = ""
    for _ in range(int(HEARTBEAT_SECONDS) - 1):
        world.advance(1.0)
    assert ear.exchange.text == ""
    world.advance(1.0)
    world.advance(1.0)
    assert ear.take() == []
    assert ear.id != first
    assert idle.exchange.text == ""  # whoever does not read is not sent more
    ear.cut()
    idle.cut()
    timers = len([timer for timer in world.timers if timer.function])
    world.advance(1.0)
    assert len([timer for timer in world.timers if timer.function]) < timers  # nobody listens any more


def test_at_a_stop_all_are_sent_on(make_world: Any) -> None:
    world = make_world(recovery=RecoveryLog())
    ear = Ear("red").connect(world.hub)
    ear.exchange.text = ""
    world.hub.streams.close()
    assert ear.exchange.finished
    assert ear.exchange.text.startswith("retry: ")
    assert ear.take() == []
    assert ear.id is not None
    late = Ear("red")
    late.id = ear.id
    late.connect(world.hub)
    late.take()
    assert late.exchange.finished
    assert late.id == ear.id
    assert world.hub.streams.count == 0


def test_without_a_log_nothing_is_promised(world: Any) -> None:
    ear = Ear("red")
    ear.id = "x"
    ear.connect(world.hub)
    assert ear.take() == [("hole", {"reason": "connection_state_recovery is off"})]


NESTED = {"a": [1, 'b"c', "\n"], "ü": None}


@pytest.mark.parametrize("codec", [TextCodec(), MsgpackCodec()], ids=["json", "msgpack"])
@pytest.mark.parametrize("namespace", ["/", "/shop"])
@pytest.mark.parametrize("offset", [None, "AAAAAAAA1f"])
@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((), "[]"),
        ((1,), "[1]"),
        ((NESTED, "AAAAAAAA1f"), '[{"a":[1,"b\\"c","\\n"],"ü":null},"AAAAAAAA1f"]'),
        ((b"abc", 1), '["YWJj",1]'),
    ],
)
def test_the_arguments_as_text(codec: Any, namespace: str, offset: str | None, args: Any, text: str) -> None:
    data = ('na"me', *args) if offset is None else ('na"me', *args, offset)
    envelope = Envelope(namespace, None, (), codec.prepare(EVENT, namespace, data), offset)
    name, said = event_text(codec, envelope)
    assert (name, said.replace(", ", ",").replace(": ", ":")) == ('na"me', text)


def test_what_json_has_no_word_for_is_left_out_and_told(world: Any) -> None:
    ear = Ear("red").connect(world.hub)
    world.hub.streams.codec = MsgpackCodec()
    world.hub.streams.deliver(Envelope("/", ("red",), (), Prepared([b"\xc1"])))
    assert ear.take() == []
    assert any("cannot be written for streams" in said for said in world.complaints)
