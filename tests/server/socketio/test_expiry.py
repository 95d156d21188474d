"""Clients whose credentials end at a moment: told why, sent away, not restored afterwards.

It must not know sockets or the time of day.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster.port import Command, CommandKind
from python_server.socketio.connections import LOOK_SECONDS
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.server import Hub
from returning_person import Person
from socketio_world import WALL

TOLD = '2["closing",{"reason":"auth expired","detail":"the credentials of this connection have expired"}]'


def at(world: Any, seconds: float) -> float:
    """On the clock on the wall, so many seconds from now."""
    return float(world.wall_ahead + world.now + seconds)


def expire(world: Any, sid: str, moment: float | None) -> None:
    world.hub.expire("/", sid, moment)
    world.run()


def watched(world: Any) -> int:
    """How many clients' credentials are looked at."""
    names = [getattr(timer.function, "func", timer.function) for timer in world.timers]
    return sum(getattr(name, "__name__", "") == "_watch_expiry" for name in names)


def test_a_client_is_told_why_just_before_it_is_sent_away(world: Any) -> None:
    world.on("disconnect")
    peer, other = world.peer(None), world.peer(None)
    sid, _ = peer.join(), other.join()
    expire(world, sid, at(world, 30))
    world.advance(29.9)
    assert (peer.heard(), world.called) == ([], [])
    world.advance(0.2)
    assert peer.heard() == [TOLD, "1"]
    assert (world.called, other.heard()) == ([("disconnect", ("auth expired",))], [])
    assert not peer.link.closed, "it may join again"
    assert peer.join() != sid


def test_a_later_call_replaces_an_earlier_one(world: Any) -> None:
    peer = world.peer(None)
    sid = peer.join()
    expire(world, sid, at(world, 10))
    expire(world, sid, int(at(world, 40)))
    world.advance(39)
    assert (peer.heard(), watched(world)) == ([], 1)
    expire(world, sid, at(world, 5))
    world.advance(5)
    assert peer.heard() == [TOLD, "1"]


def test_none_is_never(world: Any) -> None:
    peer = world.peer(None)
    sid = peer.join()
    expire(world, sid, at(world, 10))
    expire(world, sid, None)
    world.advance(10_000)
    assert (peer.heard(), watched(world)) == ([], 0)


def test_who_has_none_costs_no_timer_and_who_leaves_leaves_none(world: Any) -> None:
    peer, other = world.peer(None), world.peer(None)
    sid, _ = peer.join(), other.join()
    assert watched(world) == 0
    expire(world, sid, at(world, 1000))
    assert watched(world) == 1
    peer.lose()
    world.timers = [timer for timer in world.timers if timer.function]
    assert watched(world) == 0


@pytest.mark.parametrize("jump_seconds", [3600.0, -3600.0])
def test_a_clock_that_is_set_is_noticed(world: Any, jump_seconds: float) -> None:
    peer = world.peer(None)
    sid = peer.join()
    expire(world, sid, at(world, 1800))
    world.wall_ahead += jump_seconds
    world.advance(LOOK_SECONDS)
    assert peer.heard() == ([TOLD, "1"] if jump_seconds > 0 else [])
    for _ in range(30):
        world.advance(LOOK_SECONDS)
    assert peer.link.closed is False
    assert bool(world.hub.members_of("/", None)) is (jump_seconds < 0)


def test_it_may_be_called_in_the_connect_handler(world: Any) -> None:
    world.on("connect", lambda socket, auth: world.hub.expire("/", socket.sid, at(world, 10)))
    peer = world.peer(None)
    peer.join()
    world.advance(9)
    assert peer.heard() == []
    world.advance(1)
    assert peer.heard() == [TOLD, "1"]


def test_one_that_ends_while_its_connect_handler_runs_gets_nothing_more(world: Any) -> None:
    def connect(socket: Any, auth: Any) -> None:
        world.hub.emit("secret", (), BroadcastOptions(rooms=(socket.sid,)))
        world.hub.expire("/", socket.sid, at(world, 10))
        world.drain()
        world.now += 11
        for timer in [each for each in world.timers if each.function and each.when <= world.now]:
            timer.function()

    world.on("connect", connect)
    world.on("disconnect")
    peer = world.peer(None)
    peer.say("0")
    connected, *rest = peer.heard()
    assert connected.startswith('0{"sid"')
    assert (rest, world.called[1:]) == ([TOLD, "1"], [("disconnect", ("auth expired",))])


@pytest.mark.parametrize(
    ("moment", "fault", "sentence"),
    [
        (WALL, ValueError, "has passed, or is not a number; disconnect() ends a client at once"),
        (-1, ValueError, "has passed"),
        pytest.param(-(10**5000), ValueError, "has passed", id="a negative one"),
        (float("nan"), ValueError, "is not a number"),
        (float("inf"), ValueError, "more than ten years away; it is in seconds since 1970"),
        ((WALL + 3600) * 1000, ValueError, "more than ten years away"),
        pytest.param(10**5000, ValueError, "more than ten years away", id="a huge integer"),
        ("1700000000", TypeError, "`at` is a number, seconds since 1970, or None; not a str"),
        (True, TypeError, "not a bool"),
        (datetime(2030, 1, 1, tzinfo=UTC), TypeError, "not a datetime"),
    ],
)
def test_what_is_no_moment_is_refused_with_a_sentence(
    world: Any, moment: Any, fault: type[Exception], sentence: str
) -> None:
    peer = world.peer(None)
    sid = peer.join()
    with pytest.raises(fault) as raised:
        world.hub.expire("/", sid, moment)
    assert sentence in str(raised.value)
    world.advance(100)
    assert (peer.heard(), watched(world)) == ([], 0)


@pytest.mark.parametrize("sid", [["a list"], 5, None])
def test_what_is_no_name_of_a_client_is_refused_with_a_sentence(world: Any, sid: Any) -> None:
    world.peer(None).join()
    with pytest.raises(TypeError, match=f"`sid` is a text, not a {type(sid).__name__}"):
        world.hub.expire("/", sid, at(world, 10))


def test_who_is_not_there_is_nobody(world: Any) -> None:
    expire(world, "nobody", at(world, 10))
    Hub().expire("/", "nobody", WALL)  # no worker serves
    assert watched(world) == 0


def test_a_client_of_another_process_is_ended_there(make_world: Any) -> None:
    class Others:
        alone = False

        def __init__(self) -> None:
            self.told: list[Command] = []

        def start(self, receiver: Any) -> None:
            self.receiver = receiver

        def publish(self, message: Any) -> None:
            self.told.append(message)

    others = Others()
    world = make_world(lambda world: others)
    expire(world, "theirs", at(world, 10))
    expire(world, "theirs", None)
    assert others.told == [
        Command(CommandKind.EXPIRE, "/", "theirs", at=at(world, 10)),
        Command(CommandKind.EXPIRE, "/", "theirs"),
    ]
    peer = world.peer(None)
    sid = peer.join()
    others.receiver.receive(Command(CommandKind.EXPIRE, "/", "theirs", at=at(world, 5)))
    others.receiver.receive(Command(CommandKind.EXPIRE, "/", sid, at=at(world, 5)))
    world.advance(5)
    assert peer.heard() == [TOLD, "1"]
    late = peer.join()
    others.receiver.receive(Command(CommandKind.EXPIRE, "/", late, at=at(world, -5)))
    world.run()
    assert peer.heard() == [TOLD, "1"], "it has passed on the way"
    assert len(others.told) == 2


class Alone:
    """The one world of a Person."""

    def __init__(self, world: Any) -> None:
        self.world = world

    def __getitem__(self, index: int) -> Any:
        return self.world

    def arrived(self, peer: Any) -> None:
        self.world.run()


@pytest.mark.parametrize("away_seconds", [20.0, 40.0])
def test_a_client_that_is_away_when_its_time_passes_is_not_restored(
    make_world: Any, away_seconds: float
) -> None:
    world = make_world(recovery=RecoveryLog())
    person = Person(Alone(world))
    person.connect(0)
    expire(world, person.sid, at(world, 30))
    world.hub.emit("seen", ())
    person.lose()
    world.hub.emit("missed", ())
    world.advance(away_seconds)
    person.connect(0)
    if away_seconds > 30:
        assert (person.recovered, person.got) == ([False, False], ["seen"])
        world.advance(100)
        assert person.peer.heard() == []
        return
    assert (person.recovered, person.got) == ([False, True], ["seen", "missed"])
    world.advance(30 - away_seconds)
    closing, goodbye = person.peer.heard()
    assert (json.loads(closing[1:])[1]["reason"], goodbye) == ("auth expired", "1")
    person.connect(0)
    assert person.recovered[-1] is False, "it cannot come back to what it was"
