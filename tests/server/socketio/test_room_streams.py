"""Streams of rooms: who hears what, what stands in a block, heartbeats, the end.

It must not know sockets; what is missed meanwhile is in recovery/test_resumption.
"""

from typing import Any

import pytest

from event_source import Ear
from python_server.engineio.packet import Prepared
from python_server.engineio.session_ids import SessionIds
from python_server.http1.event_stream import HEARTBEAT_SECONDS, block
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import TextCodec
from python_server.socketio.recovery.log import RecoveryLog


def say(world: Any, name: str, *args: Any, rooms: Any = None, excepted: Any = (), **more: Any) -> None:
    world.hub.emit(name, args, to=BroadcastOptions(rooms=rooms, excepted=excepted, **more))
    world.run()


@pytest.mark.parametrize("recovery", [False, True])
def test_a_stream_hears_its_room_and_nothing_else(make_world: Any, recovery: bool) -> None:
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
    assert (red.id != "-") is recovery


def test_only_the_event_that_is_wanted(world: Any) -> None:
    ear = Ear("red", event="b").connect(world.hub)
    for name in "abc":
        say(world, name, rooms=("red",))
    assert ear.take() == [("b", [])]


def test_members_of_a_room_and_its_streams_are_not_confused(world: Any) -> None:
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
    say(world, "elsewhere", rooms=("green",))
    world.advance(HEARTBEAT_SECONDS)
    assert ear.take() == []
    assert ear.id != first
    assert idle.exchange.text == ""  # whoever does not read is not sent more
    world.advance(HEARTBEAT_SECONDS)
    assert ear.exchange.text.startswith("id: ")
    ear.cut()
    idle.cut()
    assert not any(timer.function and timer.when == world.now + HEARTBEAT_SECONDS for timer in world.timers)


def test_at_a_stop_all_are_sent_on(make_world: Any) -> None:
    world = make_world(recovery=RecoveryLog())
    ear = Ear("red").connect(world.hub)
    ear.take()
    world.hub.streams.close()
    assert ear.exchange.finished
    assert ear.exchange.text.startswith("retry: ")
    assert ear.take() == []
    late = Ear("red")
    late.id = ear.id
    late.connect(world.hub)
    late.take()
    assert late.exchange.finished
    assert late.id == ear.id
    assert world.hub.streams.count == 0


def test_without_a_log_nothing_is_promised(world: Any) -> None:
    ear = Ear("red").connect(world.hub)
    assert ear.take() == []
    ear.cut().connect(world.hub)
    assert ear.take() == [("hole", {"reason": "connection_state_recovery is off"})]


NESTED = {"a": [1, 'b"c', "\n"], "ü": None}


@pytest.mark.parametrize("codec", [TextCodec(), MsgpackCodec()], ids=["json", "msgpack"])
@pytest.mark.parametrize("namespace", ["/", "/shop"])
@pytest.mark.parametrize("recovery", [False, True])
@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), []),
        ((1,), [1]),
        ((NESTED, "AAAAAAAA1f"), [NESTED, "AAAAAAAA1f"]),
        ((b"abc", 1), ["YWJj", 1]),
    ],
)
def test_the_arguments_as_text(
    make_world: Any, codec: Any, namespace: str, recovery: bool, args: Any, said: Any
) -> None:
    world = make_world(codec=codec, recovery=RecoveryLog() if recovery else None)
    ear = Ear("red", namespace=namespace).connect(world.hub)
    say(world, 'na"me', *args, rooms=("red",), namespace=namespace)
    assert ear.take() == [('na"me', said)]


def test_what_json_has_no_word_for_is_left_out_and_told(make_world: Any) -> None:
    world = make_world(codec=MsgpackCodec())
    ear = Ear("red").connect(world.hub)
    world.hub.streams.deliver(Envelope("/", ("red",), (), Prepared([b"\xc1"])))
    assert ear.take() == []
    assert any("cannot be written for streams" in said for said in world.complaints)


def test_lines_and_lone_surrogates_stay_within_their_event(world: Any) -> None:
    ear = Ear("red").connect(world.hub)
    say(world, "a\nid: forged\r\n\rdata: x", "b\r\nevent: c\n\n", rooms=("red",))
    assert ear.take() == [("a id: forged  data: x", ["b\r\nevent: c\n\n"])]
    assert block("a\r\nb\rc\nd").decode() == "data: a\ndata: b\ndata: c\ndata: d\n\n"
    assert block("\ud800") == b"data: ?\n\n"


def test_a_room_that_is_none_or_a_clients_own(make_world: Any) -> None:
    world = make_world(names=SessionIds(3))
    with pytest.raises(ValueError, match="sid room"):
        world.hub.stream("/", world.services.names.make(), None, None)
    with pytest.raises(TypeError):
        world.hub.stream("/", [], None, None)


def test_one_that_ends_while_others_are_written_to(world: Any) -> None:
    """Its connection has as much unsent as it may."""
    ears = [Ear("red").connect(world.hub) for _ in range(3)]
    slow = ears[1].exchange
    slow.write = lambda data: ears[1].cut()
    say(world, "a", rooms=("red",))
    say(world, "b", rooms=("red",))
    assert [len(ear.take()) for ear in ears] == [2, 0, 2]
    assert world.hub.streams.count == 2


def test_the_last_one_of_a_namespace_ends_by_an_event_for_two_rooms(world: Any) -> None:
    ear = Ear("red").connect(world.hub)
    ear.exchange.write = lambda data: ear.cut()
    say(world, "a", rooms=("red", "blue"))
    assert world.hub.streams.count == 0


def test_one_for_whom_there_is_no_memory_hears_nothing_more(world: Any) -> None:
    ears = [Ear("red").connect(world.hub) for _ in range(2)]

    def fail(data: bytes) -> None:
        raise MemoryError

    ears[0].exchange.write = fail
    say(world, "a", rooms=("red",))
    assert ears[0].exchange.aborted
    assert ears[1].take() == [("a", [])]


def test_a_million_rooms_leave_nothing(world: Any) -> None:
    for number in range(1000):
        Ear(f"room {number}", namespace=f"/{number}").connect(world.hub).cut()
    assert (world.hub.streams.count, world.hub.streams.in_room("/1", "room 1"), world.hub.adapters()) == (
        0,
        False,
        {},
    )
    assert not any(timer.function for timer in world.timers)
