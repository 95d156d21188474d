"""What a process has heard of a stream and of its siblings, and what a client has got of it (stream_log.py).

It must not know sessions; time is a number. Whole interleavings stand in test_stream_wandering.
"""

import sys
from typing import Any

import pytest

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.port import Envelope, StreamBegun, StreamMarks
from python_server.socketio.recovery import stream_log
from python_server.socketio.recovery.event_log import ENTRY_BYTES
from python_server.socketio.recovery.stream_log import (
    PRIVATE_MAX_BYTES,
    SENT_MAX_COUNT,
    SIBLING_SECONDS,
    LeftRoom,
    Reach,
    StreamLog,
)
from python_server.socketio.recovery.stream_record import VERSION, StreamRecord, sign, verify


class Log(StreamLog):
    """With short words for what the tests do. `now` is what they say."""

    def __init__(self, begun: bool = True, max_seconds: float = 120.0, max_bytes: int = 10**6) -> None:
        super().__init__(max_seconds, max_bytes)
        self.now = 0.0
        self.taken: dict[str, int] = {}
        if begun:
            self.reached(StreamBegun(1), 0.0)
            self.marks(1, 1)

    def say(self, name: str, place: int = 0, rooms: Any = None, excepted: Any = ()) -> Any:
        """A sibling's event; with a place, another machine's. Returns whom it is not for."""
        heard = self.hear(Envelope("/", rooms, excepted, Prepared([name]), name, place=place), self.now)
        return None if heard is None else heard.excepted

    def emit(self, rooms: Any = None, excepted: Any = ()) -> str:
        name = self.next_offset()
        self.append(Envelope("/", rooms, excepted, Prepared([name]), name), self.now)
        return name

    def marks(self, begin: int, end: int, hole: bool = False, **own: int) -> None:
        self.reached(StreamMarks(begin, end, own, 0, hole), self.now)

    def lose(self, last: str | None = None, **fields: Any) -> StreamRecord:
        """A client of the room "blue", which has taken all until `last`."""
        values = {"rooms": {"S": 0, "blue": 0}, "left": [], "joined": 0} | fields
        record = fields.get("record") or StreamRecord(VERSION, "/", "S", "P")
        record.rooms = list(values["rooms"])
        self.snapshot(record, values["rooms"], values["left"], values["joined"], last)
        return verify(sign(record, b""), "P", b"")

    def find(self, record: StreamRecord, offset: str | None = None) -> Any:
        found = self.missed(record, offset)
        return found if isinstance(found, Reach) else [envelope.offset for envelope in found]


def young(place: int, last: Any = (), **more: Any) -> Log:
    """A process that hears all behind that place."""
    log = Log(begun=False, **more)
    log.marks(place, place)
    log.reached(StreamBegun(place, list(last)), 0.0)
    return log


@pytest.fixture
def log() -> Log:
    return Log()


# Places, and names of siblings


def test_what_others_said_behind_its_place_is_missed(log: Log) -> None:
    log.say("aaaaaaaa1", 2)
    log.marks(1, 2)
    record = log.lose("aaaaaaaa1")
    log.say("aaaaaaaa2", 3)
    log.say("bbbbbbbb1", 4)
    log.marks(2, 4)
    assert record.place == 2
    assert log.find(record, "aaaaaaaa1") == ["aaaaaaaa2", "bbbbbbbb1"]


def test_what_was_heard_ahead_of_the_place_is_had(log: Log) -> None:
    log.say("aaaaaaaa1", 2)
    record = log.lose("aaaaaaaa1")
    assert (record.place, record.ahead) == (1, ["aaaaaaaa1"])
    log.say("aaaaaaaa2", 3)
    log.marks(1, 3)
    assert log.find(record, "aaaaaaaa1") == ["aaaaaaaa2"]


def test_what_siblings_said_behind_its_name_is_missed(log: Log) -> None:
    log.say("cccccccc1")
    record = log.lose("cccccccc1")
    assert record.own == {"cccccccc": "cccccccc1"}
    log.say("cccccccc2")
    log.say("dddddddd1")
    assert log.find(record, "cccccccc1") == ["cccccccc2", "dddddddd1"]
    log.marks(1, 4, cccccccc1=2, dddddddd1=3, cccccccc2=4)
    assert log.find(record, "cccccccc1") == ["cccccccc2", "dddddddd1"]


def test_what_has_a_place_is_not_named(log: Log) -> None:
    log.say("cccccccc1")
    log.marks(1, 2, cccccccc1=2)
    assert log.lose("cccccccc1").own == {}


def test_elsewhere_a_name_counts_by_its_place(log: Log) -> None:
    log.say("cccccccc1")
    log.say("cccccccc2")
    record = log.lose("cccccccc2")
    other = Log()
    for number in (1, 2, 3):
        other.say(f"cccccccc{number}", number + 1)
    other.marks(1, 4)
    assert other.find(record, "cccccccc2") == ["cccccccc3"]


def test_threads_name_what_they_say_before_they_say_it(log: Log) -> None:
    """The later number comes first, here and in the stream."""
    log.say("cccccccc2")
    record = log.lose("cccccccc2")
    other = Log()
    other.say("cccccccc2", 2)
    other.say("cccccccc1", 3)
    other.marks(1, 3)
    assert other.find(record, "cccccccc2") == ["cccccccc1"]


def test_only_events_for_its_rooms(log: Log) -> None:
    record = log.lose()
    log.say("aaaaaaaa1", 2, ("blue",))
    log.say("aaaaaaaa2", 3, ("red",))
    log.say("aaaaaaaa3", 4, None, ("blue",))
    log.say("aaaaaaaa4", 5, ("S", "red"))
    log.marks(1, 5)
    assert log.find(record) == ["aaaaaaaa1", "aaaaaaaa4"]


def test_an_event_is_heard_once(log: Log) -> None:
    assert log.say("aaaaaaaa1", 2) == ()
    log.marks(1, 2)
    assert log.say("aaaaaaaa1", 3) is None
    log.marks(2, 3)
    record = log.lose("aaaaaaaa1")
    assert log.find(record, "aaaaaaaa1") == []


def test_what_is_said_again_behind_its_place_was_sent_before(log: Log) -> None:
    """To a process that had not heard it the first time."""
    log.say("aaaaaaaa1", 2)
    log.marks(1, 2)
    record = log.lose("aaaaaaaa1")
    other = young(2)
    other.say("aaaaaaaa1", 3)
    other.marks(2, 3)
    assert other.find(record, "aaaaaaaa1") == []
    late = young(2)
    late.take_over(record, [], 0.0)
    assert late.say("aaaaaaaa1", 3) == ("S",)


def test_an_event_for_its_own_clients_alone_is_not_missed_by_who_had_it(log: Log) -> None:
    log.is_private = lambda envelope: envelope.rooms == ("S",)
    name = log.emit(("S",))
    record = log.lose(name)
    assert record.own == {}
    assert log.find(record, name) == []
    assert log.find(record, None) == [name]


def test_what_the_broker_has_dropped_stands_before_what_was_said_next(log: Log) -> None:
    """It is never in the stream; siblings have heard it."""
    before = log.lose()
    log.say("cccccccc1")
    record = log.lose("cccccccc1")
    log.say("cccccccc2")
    log.marks(1, 2, cccccccc2=2)
    assert log.find(before) == ["cccccccc1", "cccccccc2"]
    assert log.find(record, "cccccccc1") == ["cccccccc2"]
    assert log.find(log.lose("cccccccc2"), "cccccccc2") == []


# Marks that come before what they tell


def test_the_place_waits_for_a_siblings_event(log: Log) -> None:
    log.say("aaaaaaaa1", 3)
    log.marks(1, 3, cccccccc1=2)
    assert log.place == 1
    log.say("cccccccc1")
    assert (log.place, log.holes_count) == (3, 0)


def test_it_waits_for_each_of_them_in_turn(log: Log) -> None:
    log.marks(1, 2, cccccccc1=2)
    log.marks(2, 3, dddddddd1=3)
    log.say("dddddddd1")
    assert log.place == 1
    log.say("cccccccc1")
    assert log.place == 3


def test_what_was_heard_meanwhile_stands_behind_the_place(log: Log) -> None:
    log.marks(1, 2, cccccccc1=2)
    log.say("aaaaaaaa1", 3)
    log.say("cccccccc1")
    assert log.place == 2
    log.marks(2, 3)
    record = StreamRecord(VERSION, "/", "S", "P", rooms=["S"], place=2)
    assert log.find(record) == ["aaaaaaaa1"]


def test_a_sibling_that_died_with_its_event_leaves_a_hole(log: Log) -> None:
    record = log.lose()
    log.marks(1, 2, cccccccc1=2)
    log.now = SIBLING_SECONDS - 0.1
    log.sweep(log.now)
    assert (log.place, log.find(record)) == (1, [])
    log.sweep(SIBLING_SECONDS)
    assert (log.place, log.holes_count) == (2, 1)
    assert log.find(record) is Reach.NEVER
    assert log.find(log.lose()) == []


def test_what_a_full_pipe_has_dropped_leaves_a_hole(log: Log) -> None:
    record = log.lose()
    log.say("cccccccc2")
    log.marks(1, 3, cccccccc1=2, cccccccc2=3)
    assert (log.place, log.holes_count) == (3, 1)
    assert log.find(record) is Reach.NEVER


def test_a_hole_that_was_told_is_one(log: Log) -> None:
    before = log.lose()
    log.marks(1, 5, hole=True)
    assert (log.holes_count, log.find(before)) == (1, Reach.NEVER)
    assert log.find(log.lose()) == []


# A young process


def test_nothing_is_known_until_siblings_know_it() -> None:
    log = Log(begun=False)
    log.marks(3, 3)
    assert not log.has_begun
    assert log.find(StreamRecord(VERSION, "/", "S", "P")) is Reach.LATER
    log.reached(StreamBegun(5), 0.0)
    assert not log.has_begun
    log.marks(3, 5, cccccccc1=5)  # said before they knew it
    assert (log.has_begun, log.place, log.holes_count) == (True, 5, 0)


def test_what_was_said_since_they_know_it_is_waited_for() -> None:
    log = young(3)
    log.marks(3, 5, cccccccc1=4)
    assert log.place == 3
    log.say("cccccccc1")
    assert log.place == 5


def test_what_was_said_before_it_began_stands_before_its_place() -> None:
    """Its place was never told: the stream had been read so far."""
    log = Log(begun=False)
    log.say("cccccccc1")
    log.marks(5, 5)
    log.reached(StreamBegun(5, ["cccccccc1"]), 0.0)
    log.say("cccccccc2")
    assert log.lose("cccccccc1").own == {"cccccccc": "cccccccc2"}
    record = StreamRecord(VERSION, "/", "S", "P", rooms=["S"], place=5)
    assert log.find(record) == ["cccccccc2"]


# Later, earlier, never


def test_the_stream_has_not_come_so_far(log: Log) -> None:
    record = log.lose()
    record.place = 2
    assert log.find(record) is Reach.LATER
    log.marks(1, 2)
    assert log.find(record) == []


def test_what_is_not_here_is_read_once_more() -> None:
    home, log = Log(), young(4)
    record = home.lose()
    log.say("aaaaaaaa3", 5)
    log.marks(4, 5)
    assert log.find(record) is Reach.EARLIER
    assert log.lacks == (1, 4)
    events = [Envelope("/", None, (), Prepared([name]), name, place=2) for name in ("aaaaaaaa1", "aaaaaaaa2")]
    log.remember(1, 4, [events[0], events[1]._replace(place=3), events[0]._replace(place=4)], 0.0)
    assert log.find(record) == ["aaaaaaaa1", "aaaaaaaa2", "aaaaaaaa3"]
    assert home.find(record) == []


def test_what_was_read_once_more_serves_who_lacks_less() -> None:
    log = young(9)
    log.remember(3, 9, [], 0.0)
    record = StreamRecord(VERSION, "/", "S", "P", place=5)
    assert log.find(record) == []
    record.place = 2
    assert log.find(record) is Reach.EARLIER
    assert log.lacks == (2, 9)


def test_what_was_read_once_more_is_forgotten_as_a_whole() -> None:
    log = young(4, max_bytes=2 * ENTRY_BYTES + 500)
    events = [Envelope("/", None, (), Prepared([str(n)]), f"aaaaaaaa{n}", place=n) for n in (2, 3, 4)]
    log.remember(1, 4, events, 0.0)
    record = StreamRecord(VERSION, "/", "S", "P", place=1)
    assert log.find(record) == ["aaaaaaaa2", "aaaaaaaa3", "aaaaaaaa4"]
    log.sweep(1.0)
    assert log.find(record) is Reach.EARLIER


def test_what_is_forgotten_is_read_once_more() -> None:
    log = Log(max_seconds=10.0)
    record = log.lose()
    log.say("aaaaaaaa1", 2)
    log.marks(1, 2)
    log.now = 11.0
    log.say("aaaaaaaa2", 3)
    log.marks(2, 3)
    assert log.find(record) is Reach.EARLIER
    begin, end = log.lacks
    assert (begin, end >= 2) == (1, True)


def test_what_was_sent_before_its_place_was_known_is_read_once_more(log: Log) -> None:
    """The first event of a young process had no place yet when the stream had come further."""
    first = log.emit()
    log.marks(1, 2)
    for place in (3, 4):
        log.say(f"aaaaaaaa{place}", place)
    log.marks(2, 5, **{first: 5})
    record = log.lose("aaaaaaaa4")
    passed = young(5)
    assert passed.find(record, first) is Reach.EARLIER
    events = [
        Envelope("/", None, (), Prepared([name]), name, place=int(name[8:]))
        for name in ("aaaaaaaa3", "aaaaaaaa4")
    ]
    begin, end = passed.lacks
    assert (begin, end) == (1, 5)
    passed.remember(begin, end, events, 0.0)
    assert passed.find(record, first) == ["aaaaaaaa3", "aaaaaaaa4"]


# What was sent, but not taken


def test_what_it_had_not_taken_comes_first(log: Log) -> None:
    log.say("aaaaaaaa0", 2)
    log.marks(1, 2)
    names = [log.emit() for _ in range(3)]
    record = log.lose(names[-1], joined=1)
    log.say("aaaaaaaa1", 3)
    log.marks(2, 3)
    assert log.find(record, names[0]) == [*names[1:], "aaaaaaaa1"]
    assert log.find(record, None) == [*names, "aaaaaaaa1"]
    assert log.find(record, names[2]) == ["aaaaaaaa1"]
    assert log.find(record, "made up") is Reach.NEVER


def test_in_rooms_that_it_has_left(log: Log) -> None:
    first, second, third = (log.emit(("red",)) for _ in range(3))
    record = log.lose(second, left=[LeftRoom("red", 0, 2)])
    assert log.find(record, None) == [first, second]
    assert third not in record.sent_last


def test_not_from_before_it_had_entered(log: Log) -> None:
    log.emit(("blue",))
    second = log.emit(("blue",))
    record = log.lose(second, rooms={"S": 0, "blue": 1})
    assert log.find(record, None) == [second]


def test_who_was_excepted_is_known_by_the_rooms_of_that_moment(log: Log) -> None:
    first = log.emit(None, ("red",))
    second = log.emit(None, ("red",))
    third = log.emit(None, ("red",))
    entered = log.lose(first, rooms={"S": 0, "red": 1})
    assert log.find(entered, None) == [first]
    left = log.lose(third, left=[LeftRoom("red", 0, 2)])
    assert second not in left.sent_last
    assert log.find(left, None) == [third]


def test_where_the_log_does_not_reach_back_it_is_not_known() -> None:
    log = Log(max_bytes=3 * (ENTRY_BYTES + 200))
    names = [log.emit() for _ in range(6)]
    log.marks(1, 7, **{name: place for place, name in enumerate(names, 2)})
    record = log.lose(names[-1])
    assert None not in record.sent_last
    log.remember(1, 7, [], 0.0)
    assert log.find(record, None) is Reach.NEVER
    assert log.find(record, names[-2]) == [names[-1]]


def test_of_very_many_the_last_are_known(log: Log) -> None:
    names = [log.emit() for _ in range(SENT_MAX_COUNT + 1)]
    record = log.lose(names[-1])
    assert len(record.sent_last) == SENT_MAX_COUNT
    assert log.find(record, names[0]) is Reach.NEVER
    assert log.find(record, names[1]) == names[2:]


def test_of_very_many_of_which_most_were_not_for_it(log: Log) -> None:
    """What was looked at is cut, not only what was found."""
    first = log.emit(("blue",))
    for _ in range(SENT_MAX_COUNT):
        log.emit(("blue",), ("S",))
    record = log.lose(first)
    assert log.find(record, None) is not None
    assert log.find(record, None) == Reach.NEVER
    assert log.find(record, first) == []


def test_private_events_travel_as_their_bytes(log: Log) -> None:
    log.is_private = lambda envelope: envelope.rooms == ("S",)
    name, public = log.emit(("S",)), log.emit()
    record = log.lose(public)
    assert record.private == {name: [name]}
    other = Log()
    other.say(public, 2)
    other.marks(1, 2)
    found = other.missed(record, None)
    assert isinstance(found, list)
    assert [(each.offset, each.rooms, each.prepared.packets) for each in found] == [
        (name, ("S",), [name]),
        (public, None, [public]),
    ]


def test_private_events_are_bounded_in_bytes(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PRIVATE_MAX_BYTES < 10**6
    log.is_private = lambda envelope: True
    names = [log.emit(("S",)) for _ in range(3)]
    monkeypatch.setattr(stream_log, "PRIVATE_MAX_BYTES", 2 * len(names[0]))
    record = log.lose(names[-1])
    assert [*record.private] == names[:0:-1]
    other = Log()
    assert other.find(record, names[0]) == names[1:]
    assert isinstance(other.find(record, None), Reach)


def test_an_event_that_it_had_not_taken_is_not_here_yet(log: Log) -> None:
    name = log.emit()
    record = log.lose(name)
    other = Log()
    assert other.find(record, None) is Reach.LATER
    other.say(name, 2)
    assert other.find(record, None) == [name]


# A client that moves on


def test_what_it_has_of_others_does_not_come_again(log: Log) -> None:
    names = [log.emit() for _ in range(2)]
    record = log.lose(names[1])
    other = Log()
    assert other.find(record, names[1]) == []
    other.take_over(record, [], 0.0)
    assert [other.say(name, place) for place, name in enumerate(names, 2)] == [("S",), ("S",)]
    assert other.say(log.emit(), 4) == ()


def test_it_takes_along_what_has_not_come_where_it_was(log: Log) -> None:
    """On its way over a process that never heard it."""
    log.say("aaaaaaaa1", 5)
    name = log.emit()
    record = log.lose("aaaaaaaa1")
    passed = Log()
    passed.take_over(record, [], 0.0)
    record = passed.lose("aaaaaaaa1", record=record)
    assert (record.own, record.ahead) == ({log.tag: name}, ["aaaaaaaa1"])
    last = Log()
    last.say(name, 2)
    last.say("bbbbbbbb1", 3)
    last.say("aaaaaaaa1", 5)
    last.marks(1, 5)
    record.sent_last = ["aaaaaaaa1"]
    assert last.find(record, "aaaaaaaa1") == ["bbbbbbbb1"]


def test_what_has_come_meanwhile_it_takes_along_no_more(log: Log) -> None:
    log.say("aaaaaaaa1", 5)
    name = log.emit()
    record = log.lose("aaaaaaaa1")
    passed = Log()
    passed.take_over(record, [], 0.0)
    passed.say(name, 2)
    passed.say("aaaaaaaa1", 5)
    passed.marks(1, 5)
    record = passed.lose("aaaaaaaa1", record=record)
    assert (record.place, record.own, record.ahead) == (5, {}, [])


def test_what_it_missed_and_was_sent_is_not_missed_again(log: Log) -> None:
    record = log.lose()
    log.say("aaaaaaaa1", 2)
    log.marks(1, 2)
    missed = log.missed(record, None)
    assert isinstance(missed, list)
    log.take_over(record, missed, 0.0)
    record.sent_last = [None, *(each.offset for each in missed)]
    position = log.events.position
    again = log.lose("aaaaaaaa1", record=record, joined=position, rooms={"S": position, "blue": position})
    assert log.find(again, "aaaaaaaa1") == []
    assert log.find(again, None) == ["aaaaaaaa1"]


def test_what_it_missed_counts_also_where_it_was_read_once_more(log: Log) -> None:
    log.say("cccccccc1")
    record = log.lose("cccccccc1")
    passed = young(9)
    second = Envelope("/", None, (), Prepared(["x"]), "cccccccc2", place=3)
    passed.remember(1, 9, [second._replace(offset="cccccccc1", place=2), second], 0.0)
    missed = passed.missed(record, "cccccccc1")
    assert missed == [second]
    passed.take_over(record, [second], 0.0)
    record = passed.lose("cccccccc2", record=record)
    record.sent_last = []
    last = Log()
    last.say("cccccccc1", 2)
    last.say("cccccccc2", 3)
    last.marks(1, 9)
    assert last.find(record, "cccccccc2") == []


# Of a client that was connected when its record was made


def test_a_saved_record_tells_what_followed_to_who_had_nothing_more() -> None:
    log, other = Log(), Log()
    log.say("aaaaaaaa1", 2)
    log.say("aaaaaaaa2", 3)
    log.marks(1, 3)
    record = log.lose("aaaaaaaa2")
    record.is_live = True
    for number in (1, 2, 3):
        other.say(f"aaaaaaaa{number}", number + 1)
    other.marks(1, 4)
    assert other.find(record, "aaaaaaaa2") == ["aaaaaaaa3"]
    assert other.find(record, "aaaaaaaa1") == ["aaaaaaaa2", "aaaaaaaa3"]
    assert other.find(record, None) == ["aaaaaaaa1", "aaaaaaaa2", "aaaaaaaa3"]


def test_who_had_more_than_a_saved_record_says_may_have_had_what_is_still_on_its_way() -> None:
    """A sibling of its process said something that the stream does not have yet."""
    log, other = Log(), Log()
    record = log.lose()
    record.is_live = True
    other.say("aaaaaaaa1", 2)
    other.marks(1, 2)
    assert other.find(record, "aaaaaaaa1") is Reach.NEVER


# What is forgotten


def test_a_sweep_leaves_nothing_behind(log: Log) -> None:
    for number in range(2, 30):
        log.say(f"aaaaaaaa{number:x}", number)
        log.say(f"cccccccc{number:x}")
        log.emit()
    log.marks(1, 29, cccccccc2=3)
    log.remember(1, 2, [Envelope("/", None, (), Prepared(["x"]), "bbbbbbbb1", place=2)], 0.0)
    log.take_over(StreamRecord(VERSION, "/", "S", "P", own={"dddddddd": "dddddddd1"}), [], 0.0)
    log.sweep(2 * log.events.max_seconds + 1.0)
    machine = log._machine
    assert (log.events.size_bytes, log._history.size_bytes, log._history_places) == (0, 0, (0, 0))
    assert (machine._unplaced, machine._placed, machine._forgotten, machine._doubted) == ({}, {}, {}, {})
    assert (log._own, log._others, log._ahead, log.awaited._awaited) == ({}, {}, {}, {})
    assert len(log._marked) == 0


def test_places_are_kept_as_long_as_events(log: Log) -> None:
    for number in range(2, 500):
        log.now += 1.0
        log.say(f"aaaaaaaa{number:x}", number)
        log.marks(number - 1, number)
    assert len(log._places) <= log.events.max_seconds + 2


def calls(function: Any, *args: Any) -> int:
    """How many functions and generators it goes through."""
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function(*args)
    finally:
        sys.setprofile(before)
    return count


def test_a_client_is_lost_and_found_in_few_steps_however_often_the_stream_was_read() -> None:
    """All may be lost at once, and the process has seconds for them."""
    log = Log(max_bytes=10**8)
    for number in range(2, 5000):
        log.say(f"aaaaaaaa{number:x}", number)
        log.marks(number - 1, number)
    fields = {"rooms": {"S": log.events.position}, "joined": log.events.position}
    assert calls(lambda: log.lose(**fields)) < 200
    record = log.lose(**fields)
    assert log.find(record) == []
    assert calls(lambda: log.find(record)) < 200


def test_a_hole_that_is_told_late_takes_nothing_back(log: Log) -> None:
    """A worker that begins to read goes back to the last of its siblings."""
    log.say("aaaaaaaa1", 2)
    log.marks(1, 2)
    log.marks(1, 1, hole=True)
    assert log.place == 2
    assert log.find(log.lose("aaaaaaaa1", joined=1), "aaaaaaaa1") == []
