"""The log of recoverable events and the clients that were lost (socketio/recovery/log.py).

It must not know sessions; time is a number.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.event_log import ENTRY_BYTES, INDEX_BYTES
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.record import RecoveryRecord


class Log(RecoveryLog):
    """With short words for what the tests do."""

    def say(self, name: str, rooms: Any = None, excepted: Any = (), now: float = 0.0, size: int = 1) -> None:
        self.append(Envelope("/", rooms, excepted, Prepared(["x" * size]), name), now)

    def lose(self, seen: str | None = None, now: float = 0.0, **fields: Any) -> None:
        values: dict[str, Any] = {"namespace": "/", "sid": "S", "pid": "P", "rooms": {"S": 0}}
        values |= {"last_offset": seen, "joined_position": 0, "left_position": self.events.position} | fields
        self.save(RecoveryRecord(**values), now)

    def missed(self, offset: str | None, now: float = 0.0) -> list[Any] | None:
        found = self.restore("P", "/", offset, now)
        return None if found is None else [envelope.offset for envelope in found[1]]


@pytest.fixture
def log() -> Log:
    return Log(max_seconds=120.0, max_bytes=100 * (ENTRY_BYTES + 1) + INDEX_BYTES, max_clients_count=3)


def test_events_behind_the_offset_are_missed_events(log: Log) -> None:
    log.say("a")
    log.say("b")
    log.lose("b")
    log.say("c")
    assert log.missed("a") == ["b", "c"]


def test_a_client_that_saw_nothing_yet_comes_back(log: Log) -> None:
    log.say("before it came")
    log.lose(None, joined_position=log.events.position)
    log.say("a")
    assert log.missed(None) == ["a"]


def test_a_client_whose_first_event_was_lost_on_the_way_gets_it_again(log: Log) -> None:
    joined = log.events.position
    log.say("sent but lost")
    log.lose("sent but lost", joined_position=joined)
    assert log.missed(None) == ["sent but lost"]


def test_a_quiet_client_comes_back_although_its_last_event_is_old(log: Log) -> None:
    log.say("old", now=0.0)
    log.lose("old", now=1000.0)
    log.say("new", now=1001.0)
    assert log.missed("old", now=1002.0) == ["new"]


def test_an_unknown_offset_is_no_recovery(log: Log) -> None:
    log.say("a")
    log.lose("a")
    assert log.missed("made up") is None


def test_an_unknown_pid_or_another_namespace_is_no_recovery(log: Log) -> None:
    log.lose(None)
    assert log.restore("Q", "/", None, 0.0) is None
    assert log.restore("P", "/shop", None, 0.0) is None


def test_a_pid_serves_once(log: Log) -> None:
    log.lose(None)
    assert log.missed(None) == []
    assert log.missed(None) is None


def test_clients_are_kept_for_a_time(log: Log) -> None:
    log.lose(None, now=0.0)
    assert log.missed(None, now=120.0) is None


def test_clients_are_bounded_in_number(log: Log) -> None:
    for name in "PQRT":
        log.lose(None, pid=name)
    assert log.missed(None) is None
    assert log.restore("Q", "/", None, 0.0) is not None


def test_events_are_bounded_in_bytes(log: Log) -> None:
    log.lose(None)
    for number in range(200):
        log.say(str(number))
    assert log.events.size_bytes <= 100 * (ENTRY_BYTES + 1) + INDEX_BYTES
    assert log.missed(None) is None  # some of what it missed is gone: it must start anew
    log.lose("199")
    assert log.missed("150") == [str(number) for number in range(151, 200)]


def test_events_are_bounded_in_time(log: Log) -> None:
    log.say("a", now=0.0)
    log.expire(121.0)
    assert log.events.size_bytes == 0
    assert log.events.position == 1


def test_only_events_for_its_rooms(log: Log) -> None:
    log.lose(None, rooms={"S": 0, "blue": 0})
    log.say("to blue", ("blue",))
    log.say("to red", ("red",))
    log.say("to it", ("S",))
    log.say("to others than blue", None, ("blue",))
    log.say("to others than it", None, ("S",))
    assert log.missed(None) == ["to blue", "to it"]


def test_nothing_said_in_a_room_before_it_entered(log: Log) -> None:
    log.say("early", ("blue",))
    log.lose("other", rooms={"S": 0, "blue": log.events.position})
    log.say("late", ("blue",))
    assert log.missed(None) == ["late"]


def test_offsets_differ_also_between_logs() -> None:
    logs = [RecoveryLog(), RecoveryLog()]
    offsets = [log.next_offset() for log in logs for _ in range(3)]
    assert len(set(offsets)) == 6


class Looks(tuple[Any, ...]):
    """Whom an event is not for; counts how often that is looked at."""

    count = 0

    def __iter__(self) -> Iterator[Any]:
        Looks.count += 1
        return super().__iter__()


@pytest.mark.parametrize("lost_elsewhere", [False, True], ids=["here", "for another process"])
def test_a_return_looks_at_what_was_sent_to_its_rooms_alone(lost_elsewhere: bool) -> None:
    """However much there is to others."""
    log = Log()
    for number in range(10_000):
        log.say(f"others {number}", ("others", str(number)), Looks())
    for number in range(3):
        log.say(f"blue {number}", ("blue", "S"), Looks())
    log.lose("blue 2", rooms={"S": 0, "blue": 0})
    for number in range(10_000):
        log.say(f"later {number}", ("others",), Looks())
    log.say("to all", None, Looks())
    Looks.count = 0
    if lost_elsewhere:
        found = log.find("P", "/", None, 0.0)
        assert found is not None
        missed = [envelope.offset for _, envelope in found.missed_elsewhere]
    else:
        missed = log.missed(None)  # type: ignore[assignment]
    assert missed == ["blue 0", "blue 1", "blue 2", "to all"]
    assert 4 <= Looks.count <= 4 * 4


def test_a_client_in_more_rooms_than_there_are_looks_at_those_that_there_are(log: Log) -> None:
    log.lose(None, rooms=dict.fromkeys(range(1000), 0))
    log.say("a", (7,))
    log.say("b", (7, 8, 2000))
    log.say("c", (2000,))
    assert log.missed(None) == ["a", "b"]


def test_rooms_and_their_entries_go_together(log: Log) -> None:
    """Rooms are counted: of an event to many, and of many events to one room each."""
    for number in range(5000):
        log.say(f"to many {number}", tuple(range(number, number + 50)))
        log.say(f"to one {number}", (number,))
        assert log.events.size_bytes <= 100 * (ENTRY_BYTES + 1) + INDEX_BYTES
    by_room = log.events._by_room["/"]
    assert sum(map(len, by_room.values())) < 100 * 51
    log.expire(1000.0)
    assert log.events._by_room == {}
    assert log.events.size_bytes == 0


def test_an_event_that_names_a_room_twice_is_one(log: Log) -> None:
    log.lose(None, rooms={"S": 0, "blue": 0})
    log.say("twice", ("blue", "blue", "S"))
    assert log.missed(None) == ["twice"]
    log.expire(1000.0)
    assert log.events.size_bytes == 0
