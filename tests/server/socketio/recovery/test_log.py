"""The log of recoverable events and the clients that were lost (socketio/recovery/log.py).

It must not know sessions; time is a number.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from brought import brought
from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.event_log import ENTRY_BYTES, INDEX_BYTES
from python_server.socketio.recovery.log import (
    OUTLIVED_SECONDS,
    REMEMBERED_TIMES,
    RecoveryLog,
)
from python_server.socketio.recovery.option import recovery_log
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


def test_it_is_known_whether_a_client_is_not_found_since_events_are_forgotten(log: Log) -> None:
    log.say("a")
    log.lose("a")
    assert not log.has_forgotten("P", "made up")
    assert not log.has_forgotten("Q", "a")
    for number in range(99):
        log.say(str(number))
    assert not log.has_forgotten("P", "a")  # all that it has missed is there
    assert log.find("P", "/", "a", 0.0) is not None
    log.say("99")
    log.say("100")
    assert log.find("P", "/", "a", 0.0) is None
    assert log.has_forgotten("P", "a")
    assert log.has_forgotten("P", "an event that was sent to it and is forgotten")


def test_it_is_known_that_a_kept_log_s_client_is_not_found_since_events_are_forgotten(log: Log) -> None:
    gone = Log(max_bytes=100 * (ENTRY_BYTES + 1) + INDEX_BYTES)
    gone.say("a")
    gone.lose("a", now=1.0)
    log.keep(gone.tag, gone.entries(), gone.lost_clients(), 0, gone.heard(1.0, {}))
    assert not log.has_forgotten("P", "a")
    for number in range(200):
        log.say(str(number), now=2.0)
    assert log.has_forgotten("P", "a")


def test_the_rest_of_what_a_process_has_said_is_found_behind_one_of_its_events(log: Log) -> None:
    for name in ("one_____1", "two_____5", "one_____a", "one_____b"):
        log.say(name)
    assert log.last_names(["one_____", "nobody__"]) == {"one_____": "one_____b"}
    assert [each.offset for each in log.events.behind("one_____1")] == ["one_____a", "one_____b"]
    assert [each.offset for each in log.events.behind("one_____9")] == ["one_____a", "one_____b"]
    assert log.events.behind("one_____b") == log.events.behind("two_____5") == []


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


def test_processes_that_have_gone_are_forgotten_with_their_events(log: Log) -> None:
    """Later than these: who asks for a client may know them longer."""
    for tag, now in (("aaaaaaaa", 0.0), ("bbbbbbbb", 1.0)):
        log.say(f"{tag}1", now=now)
    log.sweep(REMEMBERED_TIMES * 120.0)
    assert (log.events.size_bytes, [*log._last]) == (0, ["aaaaaaaa", "bbbbbbbb"])
    log.sweep(REMEMBERED_TIMES * 120.0 + 0.5)
    assert log._last == {"bbbbbbbb": ("bbbbbbbb1", 1.0)}


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


# Other processes


def bring(client: RecoveryRecord | None) -> RecoveryRecord:
    """As it comes out of another process."""
    assert client is not None
    return brought(client)


def names(client: RecoveryRecord | None) -> list[Any]:
    assert client is not None
    return [envelope.offset for _, envelope in client.missed_elsewhere]


def test_a_client_that_was_offered_stays_and_comes_back_through_others_alone(log: Log) -> None:
    log.lose(None)
    log.say("a")
    assert names(log.find("P", "/", None, 0.0)) == ["a"]
    assert log.missed(None) is None  # another process may have it by now
    assert names(log.find("P", "/", None, 0.0)) == ["a"]
    assert log.find("P", "/shop", None, 0.0) is None
    assert log.find("Q", "/", None, 0.0) is None


def test_of_two_who_had_a_client_the_one_of_its_last_return_counts(log: Log) -> None:
    log.lose("a", came_at=1.0)
    log.keep("old", [], [RecoveryRecord("/", "S", "P", 2.0, last_offset="b", expires_at=9.0)], 0, {})
    found = log.find("P", "/", "b", 0.0)
    assert found is not None
    assert found.came_at == 2.0
    log.lose("a", came_at=3.0)
    found = log.find("P", "/", "a", 0.0)
    assert found is not None
    assert found.came_at == 3.0


def test_what_a_client_has_brought_along_is_not_delivered_to_it_once_more(log: Log) -> None:
    """The event has reached the process that lost the client, and comes here later."""
    elsewhere = Log()
    elsewhere.say("before", now=1.0)
    elsewhere.lose("before", now=1.0)
    elsewhere.say("late", now=2.0)
    client = bring(elsewhere.find("P", "/", "before", 2.0))
    log.begin(0.0)
    log.take_over(client, 3.0)
    assert names(client) == ["late"]
    late = Envelope("/", None, ("x",), Prepared(["late"]), "late")
    assert log.hear(late, 4.0).excepted == ("x", "S")
    assert log.hear(late._replace(offset="next"), 4.0).excepted == ("x",)


def test_an_event_that_a_client_brought_along_is_awaited_for_a_time(log: Log) -> None:
    elsewhere = Log()
    elsewhere.lose(None, now=1.0)
    elsewhere.say("lost on its way", now=2.0)
    log.take_over(bring(elsewhere.find("P", "/", None, 2.0)), 3.0)
    assert log._awaited._awaited
    log.sweep(3.0 + log.events.max_seconds)
    assert log._awaited._awaited == {}
    assert log.hear(Envelope("/", None, (), Prepared(["x"]), "lost on its way"), 200.0).excepted == ()


def test_what_is_awaited_of_a_process_ends_with_what_it_says_next(log: Log) -> None:
    """Its last event may have been for one client alone: nobody else was sent that."""
    elsewhere = Log()
    elsewhere.lose(None, now=1.0)
    alone, everybody = elsewhere.next_offset(), elsewhere.next_offset()
    elsewhere.say(alone, ("S",), now=2.0)
    log.take_over(bring(elsewhere.find("P", "/", None, 2.0)), 3.0)
    assert [*log._awaited._awaited] == [elsewhere.tag]
    assert log.hear(Envelope("/", None, (), Prepared(["x"]), everybody), 4.0).excepted == ()
    assert log._awaited._awaited == {}


def test_what_was_heard_here_alone_is_added(log: Log) -> None:
    elsewhere = Log()
    elsewhere.say("both", now=1.0)
    elsewhere.lose("both", now=1.0, rooms={"S": 0, "blue": 0})
    log.say("both", now=1.0)
    for name, rooms in (("to blue", ("blue",)), ("to red", ("red",)), ("to all", None)):
        log.say(name, rooms, now=2.0)
    client = bring(elsewhere.find("P", "/", None, 3.0))
    log.take_over(client, 3.0)
    assert names(client) == ["both", "to blue", "to all"]
    assert client.rooms == {"S": 0, "blue": 0}


def test_what_was_heard_by_one_that_has_gone_is_added_in_its_senders_order(log: Log) -> None:
    """Two ended one after the other; what the one said was still on its way to the other."""
    first, second, third = (f"{log.tag}{number}" for number in (1, 2, 3))
    slow, sender = Log(), Log()
    slow.lose(None, now=1.0)
    for name in (first, second):
        sender.say(name, now=1.0)
    sender.lose(None, now=1.0, pid="another")
    for gone in (slow, sender):
        log.keep(gone.tag, gone.entries(), gone.lost_clients(), 0, gone.heard(2.0, {}))
    log.say(third, now=2.0)
    assert names(log.find("P", "/", None, 3.0)) == [first, second, third]


def test_what_was_said_before_it_came_is_not_added() -> None:
    """The process it came to was new, and had not heard that."""
    elder, young = Log(), Log()
    elder.say("before", now=1.0)
    young.begin(2.0)
    young.lose(None, now=4.0, came_at=3.0, compare_from=3.0)
    elder.say("since", now=4.0)
    client = bring(young.find("P", "/", None, 4.0))
    elder.take_over(client, 4.0)
    assert names(client) == ["since"]


def test_what_was_said_just_before_it_began_is_not_added() -> None:
    """It may have heard that where it was before; the young one began when the speaker had gone already."""
    elder, young = Log(), Log()
    elder.say("before", now=2.99)
    young.begin(2.0)
    client = RecoveryRecord("/", "S", "P", rooms={"S": 0})
    young.join(client, 3.0)
    elder.say("since", now=3.0)
    client.left_position = young.events.position
    young.save(client, 4.0)
    found = bring(young.find("P", "/", None, 4.0))
    assert elder.take_over(found, 4.0)
    assert names(found) == ["since"]


def test_what_was_said_in_a_room_before_it_entered_is_not_added() -> None:
    elder, young = Log(), Log()
    elder.say("to blue before", ("blue",), now=1.0)
    elder.say("to red before", ("red",), now=1.0)
    for log in (elder, young):
        log.say("both", now=2.0)
    assert Log().entered(2.0) == -2_000_000
    assert young.entered(2.0) == 1
    young.lose("both", now=3.0, rooms={"S": 0, "red": 0, "blue": young.entered(2.0)})
    elder.say("to blue since", ("blue",), now=3.0)
    client = bring(young.find("P", "/", "both", 3.0))
    second = Log()
    second.begin(2.5)
    second.take_over(client, 3.0)
    assert names(client) == []
    assert client.rooms == {"S": 0, "red": 0, "blue": -2_000_000}
    second.lose("both", now=3.0, rooms=client.rooms, seen_elsewhere="both", compare_from=client.compare_from)
    client = bring(second.find("P", "/", "both", 3.0))
    elder.take_over(client, 3.0)
    assert names(client) == ["to red before", "both", "to blue since"]


def test_a_client_lost_before_it_saw_what_it_brought_gets_that_first(log: Log) -> None:
    elsewhere = Log()
    elsewhere.lose(None, now=1.0)
    for name in "ab":
        elsewhere.say(name, now=2.0)
    client = bring(elsewhere.find("P", "/", None, 2.0))
    log.take_over(client, 3.0)
    client.left_position = log.events.position
    log.save(client, 3.0)
    log.say("c", now=4.0)
    assert log.missed("b", now=5.0) == ["c"]
    log.save(client, 5.0)
    assert log.missed("a", now=5.0) == ["b", "c"]
    log.save(client, 5.0)
    assert log.missed(None, now=5.0) == ["a", "b", "c"]


def test_a_client_that_has_come_back_elsewhere_is_forgotten_unless_it_came_here_later(log: Log) -> None:
    log.lose(None, came_at=5.0)
    log.keep("old", [], [RecoveryRecord("/", "S", "P", 4.0, expires_at=9.0)], 0, {})
    assert not log.forget("P", 4.0)
    assert log.forget("P", 4.5)  # the kept one is the older
    assert log.find("P", "/", None, 0.0) is not None
    assert log.forget("P", None)
    assert log.find("P", "/", None, 0.0) is None


def test_what_was_heard_since_a_log_is_kept_is_in_that_of_its_keeper(log: Log) -> None:
    """And goes on with it, as long as somebody may have missed it: also where its keeper lost nobody."""
    former = Log()
    former.say("both", now=1.0)
    former.say("a", ("blue",), now=2.0)
    former.lose("a", now=2.0, rooms={"S": 0, "blue": 0})
    log.say("both", now=1.0)
    entries, clients = former.entries(), former.lost_clients()
    assert [client.offered for client in clients] == [True]
    log.keep("former", entries, clients, former.events.first, former.heard(3.0, {}))
    log.say("b", ("blue",), now=4.0)
    assert names(log.find("P", "/", None, 5.0)) == ["both", "a", "b"]
    own, kept = log.logs(6.0)
    assert own is log
    assert kept.entries()[0][1] is own.entries()[0][1]  # what both have heard is held once
    young = Log()
    for each in (own, kept):
        young.keep(each.tag, each.entries(), each.lost_clients(), each.events.first, each.heard(6.0, {}))
    assert names(young.find("P", "/", None, 7.0)) == ["both", "a", "b"]


def test_kept_logs_are_forgotten_in_time() -> None:
    log = RecoveryLog(max_seconds=10.0)
    client = RecoveryRecord("/", "s", "p", rooms={"s": 0}, expires_at=20.0)
    log.keep("tag", [], [client], 0, {})
    assert len(log.logs(11.0)) == 2
    assert log.find("p", "/", None, 21.0) is None
    assert log.logs(21.0) == [log]


def test_a_kept_log_goes_once_what_came_after_it_is_forgotten() -> None:
    """Nobody's events are whole with it any more; else those of all workers that ever drained add up."""
    keeper, former = Log(max_bytes=3 * (ENTRY_BYTES + 1) + INDEX_BYTES), Log()
    former.say(former.next_offset(), now=1.0)
    keeper.keep(former.tag, former.entries(), former.lost_clients(), 0, former.heard(2.0, {}))
    for _ in range(4):
        keeper.say(keeper.next_offset(), now=1.0 + OUTLIVED_SECONDS)
    assert len(keeper.logs(12.0)) == 2  # the one that is forgotten may have come late
    for _ in range(4):
        keeper.say(keeper.next_offset(), now=2.0 + OUTLIVED_SECONDS)
    assert keeper.logs(13.0) == [keeper]


@pytest.mark.parametrize("option", [False, None])
def test_no_recovery_is_asked_for(option: Any) -> None:
    assert recovery_log(option) is None


def test_recovery_is_asked_for_in_the_official_words() -> None:
    log = recovery_log({"max_disconnection_duration": 5, "max_bytes": 1000})
    assert log is not None
    assert (log.events.max_seconds, log.events.total_max_bytes) == (5.0, 1000)
    standard = recovery_log(True)
    assert standard is not None
    assert standard.events.max_seconds == 120.0
    with pytest.raises(TypeError, match="has no option 'max_byte'"):
        recovery_log({"max_byte": 1})
    with pytest.raises(ValueError, match="could not convert"):
        recovery_log({"max_disconnection_duration": "long"})


def test_lost_clients_are_counted_until_they_come_back(log: Log) -> None:
    assert log.lost_count == 0
    log.lose()
    assert log.lost_count == 1
    log.restore("P", "/", None, 0.0)
    assert log.lost_count == 0


def test_who_names_nothing_that_it_has_seen_of_what_was_sent_to_it_does_not_recover(log: Log) -> None:
    log.say("1")
    log.lose(seen="1", seen_elsewhere="0")
    assert log.missed(None) is None


def test_who_may_have_missed_what_is_kept_nowhere_any_more_begins_anew() -> None:
    """The one that keeps its record has heard more since than it may hold."""
    keeper, former = Log(max_bytes=3 * (ENTRY_BYTES + 1) + INDEX_BYTES), Log()
    name = former.next_offset()
    former.say(name, now=1.0)
    former.lose(name, now=1.0)
    keeper.keep(former.tag, former.entries(), former.lost_clients(), 0, former.heard(2.0, {}))
    for _ in range(3):
        keeper.say(keeper.next_offset(), now=3.0)
    found = keeper.find("P", "/", None, 4.0)
    assert len(names(found)) == 4
    keeper.say(keeper.next_offset(), now=5.0)
    assert keeper.find("P", "/", None, 6.0) is None
