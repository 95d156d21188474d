"""Listeners that come back: to one process, to one that has begun since, to another machine's.

It must not know sockets; whole rolling restarts are in test_rolling.
"""

from typing import Any

import pytest

from event_source import Ear
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster.port import NoBackplane, PeerRequest
from python_server.socketio.recovery.cursor import read_cursor, read_stream_cursor
from python_server.socketio.recovery.log import RecoveryLog


def say(world: Any, *names: str, room: str = "red") -> None:
    for name in names:
        world.hub.emit(name, (), to=BroadcastOptions(rooms=(room,)))
        world.run()


def names(events: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in events]


@pytest.fixture
def logged(make_world: Any) -> Any:
    world = make_world(recovery=RecoveryLog())
    return world


def test_what_was_missed_comes_once_and_in_order(logged: Any) -> None:
    ear = Ear("red").connect(logged.hub)
    say(logged, "a", "b")
    assert names(ear.take()) == ["a", "b"]
    ear.cut()
    say(logged, "c", "d")
    say(logged, "not mine", room="blue")
    ear.connect(logged.hub)
    say(logged, "e")
    assert names(ear.take()) == ["c", "d", "e"]
    assert names(ear.cut().connect(logged.hub).take()) == []


def test_who_heard_nothing_yet_misses_nothing_either(logged: Any) -> None:
    say(logged, "before")
    ear = Ear("red").connect(logged.hub)
    ear.take()
    ear.cut()
    say(logged, "a")
    assert names(ear.connect(logged.hub).take()) == ["a"]


def test_who_is_cut_off_while_it_is_sent_what_it_missed(logged: Any) -> None:
    """Each of these events has an id as well."""
    ear = Ear("red").connect(logged.hub)
    ear.take()
    ear.cut()
    say(logged, "a", "b", "c")
    ear.connect(logged.hub)
    whole = ear.exchange.text
    ear.exchange.text = whole[: whole.index("event: c")]
    assert names(ear.take()) == ["a", "b"]
    ear.cut()
    assert names(ear.connect(logged.hub).take()) == ["c"]


def test_a_quiet_room_in_a_log_that_is_full(make_world: Any) -> None:
    """A heartbeat has the id of what was said elsewhere meanwhile."""
    world = make_world(recovery=RecoveryLog(max_seconds=60.0))
    ear = Ear("red").connect(world.hub)
    for _ in range(300):
        world.advance(1.0)
        say(world, "noise", room="blue")
    ear.take()
    ear.cut()
    say(world, "a")
    assert names(ear.connect(world.hub).take()) == ["a"]


def reason(ear: Ear) -> str:
    ((name, data),) = ear.take()
    assert name == "hole"
    return str(data["reason"])


def test_holes_are_told(logged: Any) -> None:
    ear = Ear("red").connect(logged.hub)
    say(logged, "a")
    ear.take()
    ear.cut()
    other = Ear("blue")
    other.id = ear.id
    assert reason(other.connect(logged.hub)) == "id of another room or server"
    for id in ("", "x", f"{ear.id}.", "A" * 9000, "é", f"{ear.id},x"):
        unknown = Ear("red")
        unknown.id = id or None
        unknown.connect(logged.hub)
        assert (reason(unknown) if id else "") in ("unknown id", "")
    assert read_cursor(ear.id or "") is not None
    logged.now += 1000.0
    say(logged, "much later")
    assert reason(ear.connect(logged.hub)) == "too long ago"
    say(logged, "live")
    assert names(ear.take()) == ["live"]


def test_an_id_of_times_to_come_is_unknown(logged: Any) -> None:
    ear = Ear("red").connect(logged.hub)
    ear.take()
    logged.now -= 100.0
    assert reason(ear.connect(logged.hub)) == "unknown id"


def test_an_id_of_an_earlier_run_of_the_server_is_a_hole(make_world: Any) -> None:
    before = make_world(recovery=RecoveryLog())
    ear = Ear("red").connect(before.hub)
    ear.take()
    after = make_world(recovery=RecoveryLog())
    after.now += 5.0
    after.serve(type(after.hub)(after.hub._configuration))
    assert reason(ear.connect(after.hub)) == "too long ago"


class Asked(NoBackplane):
    """One other process: what is asked of it waits."""

    alone = False

    def __init__(self) -> None:
        self.requests: list[PeerRequest] = []

    def request(self, request: PeerRequest) -> None:
        self.requests.append(request)

    def answer(self, other: Any) -> None:
        (request,) = self.requests
        self.requests.clear()
        other.hub._running._answer_fetch(
            other.hub.restorer, request.question, lambda part, last=True: request.heard(part)
        )
        request.ended(0)


def test_one_that_has_begun_since_asks_the_others(make_world: Any) -> None:
    old, backplane = make_world(recovery=RecoveryLog()), Asked()
    new = make_world(lambda world: backplane, recovery=RecoveryLog())
    ear = Ear("red").connect(old.hub)
    say(old, "a")
    ear.take()
    ear.cut()
    say(old, "b", "c")
    new.now = old.now = old.now + 5.0
    ear.connect(new.hub)
    say(new, "of the new one")
    assert ear.take() == []
    backplane.answer(old)
    assert names(ear.take()) == ["b", "c", "of the new one"]
    say(new, "live")
    assert names(ear.take()) == ["live"]


def test_nobody_knows_it_any_more(make_world: Any) -> None:
    old, backplane = make_world(recovery=RecoveryLog()), Asked()
    ear = Ear("red").connect(old.hub)
    ear.take()
    new = make_world(lambda world: backplane, recovery=RecoveryLog())
    new.now = old.now = old.now + 5.0
    ear.connect(new.hub)
    backplane.answer(old)
    assert reason(ear) == "too long ago"
    ear.cut().connect(new.hub)
    assert ear.take() == []
    # It leaves while the others are asked.
    gone = Ear("red")
    gone.id = f"{(ear.id or '').partition('.')[0]}.0.1."
    gone.connect(new.hub).cut()
    backplane.answer(old)
    assert gone.exchange.text == ""


def test_ids_of_a_stream_are_read_as_they_are_written() -> None:
    id = "AAAAAAAA.1f.abcdefgh1,abcdefgi2.~bcdefgh3"
    cursor = read_stream_cursor(id)
    assert cursor is not None
    assert cursor.write() == id
    assert read_stream_cursor("x") is None
    assert read_cursor(id) is None
