"""Recoverable events by position, moment, name and room; bounds in bytes and time (recovery/event_log.py).

It must not know clients; time is a number.
"""

from typing import Any

import pytest

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.event_log import ENTRY_BYTES, INDEX_BYTES, ROOM_BYTES, EventLog

MAX_BYTES = 100 * (ENTRY_BYTES + 1) + INDEX_BYTES


class Log(EventLog):
    """With short words for what the tests do."""

    def say(self, name: str, rooms: Any = None, excepted: Any = (), now: float = 0.0, size: int = 1) -> None:
        self.append(Envelope("/", rooms, excepted, Prepared(["x" * size]), name), now)
        self.expire(now)

    def heard(self, *rooms: Any, since: int = 0, namespace: str = "/") -> list[Any]:
        return [entry.envelope.offset for entry in self.sent_to(namespace, dict.fromkeys(rooms, 0), since)]


@pytest.fixture
def log() -> Log:
    return Log(120.0, MAX_BYTES)


def test_events_stand_in_the_order_in_which_they_were_heard(log: Log) -> None:
    for name, moment in (("a", 1.0), ("b", 3.0), ("c", 2.0)):  # a clock that goes back is not believed
        log.say(name, now=moment)
    assert [(entry.position, entry.moment) for entry in log.since(0)] == [(0, 1.0), (1, 3.0), (2, 3.0)]
    assert [entry.envelope.offset for entry in log.since(1)] == ["b", "c"]
    assert [*log.since(3)] == []
    assert [log.position_of(name) for name in "abcd"] == [0, 1, 2, -1]
    assert [log.position_at(moment) for moment in (0.0, 1.0, 1.5, 3.0, 4.0)] == [0, 0, 1, 1, 3]
    assert log.moment_of(1) == 3.0


def test_positions_go_on_when_the_oldest_go(log: Log) -> None:
    log.say("a", now=0.0)
    log.say("b", now=100.0)
    log.expire(121.0)
    assert (log.first, log.position) == (1, 2)
    assert [entry.envelope.offset for entry in log.since(0)] == ["b"]
    assert (log.position_of("a"), log.position_of("b")) == (-1, 1)
    assert (log.position_at(0.0), log.moment_of(1)) == (1, 100.0)
    log.expire(1000.0)
    assert (log.first, log.position, log.size_bytes) == (2, 2, 0)


def test_a_log_may_begin_where_another_ended() -> None:
    log = Log(120.0, MAX_BYTES, 7)
    log.say("a")
    assert (log.first, log.position, log.position_of("a")) == (7, 8, 7)


def test_only_what_was_said_to_who_is_in_these_rooms(log: Log) -> None:
    for name, rooms, excepted in (
        ("to all", None, ()),
        ("to blue", ("blue",), ()),
        ("to red", ("red",), ()),
        ("to both", ("red", "blue"), ()),
        ("to others than blue", None, ("blue",)),
        ("to red without blue", ("red",), ("blue",)),
    ):
        log.say(name, rooms, excepted)
    assert log.heard("blue") == ["to all", "to blue", "to both"]
    assert log.heard("red") == ["to all", "to red", "to both", "to others than blue", "to red without blue"]
    assert log.heard("red", "blue") == ["to all", "to blue", "to red", "to both"]
    assert log.heard() == ["to all", "to others than blue"]
    assert log.heard("blue", since=2) == ["to both"]
    assert log.heard("blue", namespace="/shop") == []


def test_who_is_in_more_rooms_than_there_are_hears_of_those_that_there_are(log: Log) -> None:
    for name, rooms in (("a", (7,)), ("b", (7, 8, 2000)), ("c", (2000,))):
        log.say(name, rooms)
    assert log.heard(*range(1000)) == ["a", "b"]


@pytest.mark.parametrize(
    ("rooms", "size_bytes"),
    [
        (None, ENTRY_BYTES + INDEX_BYTES),
        (("a",), ENTRY_BYTES + INDEX_BYTES),
        (("a", "b", "c"), ENTRY_BYTES + 2 * ROOM_BYTES + 3 * INDEX_BYTES),
    ],
)
def test_an_event_costs_its_packet_its_entry_and_its_rooms(log: Log, rooms: Any, size_bytes: int) -> None:
    log.say("x", rooms, size=10)
    assert log.size_bytes == size_bytes + Prepared(["x" * 10]).queued_bytes


def test_rooms_and_their_entries_go_together(log: Log) -> None:
    """Rooms are counted: of an event to many, and of many events to one room each."""
    for number in range(5000):
        log.say(f"to many {number}", tuple(range(number, number + 50)))
        log.say(f"to one {number}", (number,))
        assert log.size_bytes <= 100 * (ENTRY_BYTES + 1) + INDEX_BYTES
    by_room = log._by_room["/"]
    assert sum(map(len, by_room.values())) < 100 * 51
    log.expire(1000.0)
    assert log._by_room == {}
    assert log.size_bytes == 0


def test_an_event_that_names_a_room_twice_is_one(log: Log) -> None:
    log.say("twice", ("blue", "blue", "S"))
    assert log.heard("S", "blue") == ["twice"]
    log.expire(1000.0)
    assert log.size_bytes == 0
