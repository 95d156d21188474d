"""Clients that come back to any machine, with a store and a stream that the test holds (stream_restore.py).

It must not know a broker; what a world has asked for waits until the test lets it go.
"""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import pytest

from python_server.engineio.session_ids import SessionIds
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.client import Handler
from python_server.socketio.cluster.port import Envelope, PeerRequest, StreamBegun, StreamMarks
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.restore import ASK_AGAIN_MAX_COUNT, FETCH_SECONDS, SWEEP_SECONDS
from python_server.socketio.recovery.stream_client import LEFT_MAX_COUNT, RECORD_MAX_BYTES
from python_server.socketio.recovery.stream_record import DIGEST_BYTES, VERSION, StreamRecord, sign, verify
from python_server.socketio.recovery.stream_restore import (
    REACH_MAX_SECONDS,
    REACH_SECONDS,
    SAVE_SECONDS,
)
from python_server.socketio.server import Hub
from python_server.socketio.services import Configuration
from returning_person import Person


class Net:
    """What is shared: a stream, a store of records (the RecordStore port), questions on their way."""

    secret = b"ours"
    name = "holder"  # of each

    def __init__(self, make_world: Any, count: int = 3) -> None:
        self.stream: list[tuple[Any, Envelope]] = []
        self.records: dict[str, bytes] = {}
        self.waiting: deque[Callable[[], Any]] = deque()
        self.away = self.is_gone = False
        self.silent_count = self.questions_count = 0
        self.ends = [End(self) for _ in range(count)]
        for index, end in enumerate(self.ends, 1):
            world = end.world = make_world(lambda world, end=end: end, SessionIds(index))
            world.services = replace(world.services, records=self)
            world.serve(Hub(Configuration(recovery=RecoveryLog())))
            end.receiver.receive(StreamBegun(1))
            end.receiver.receive(StreamMarks(1, 1))

    def __getitem__(self, index: int) -> Any:
        return self.ends[index].world

    def flow(self, count: int = 10**6) -> None:
        """What waits is done, and what comes of it."""
        while self.waiting and count:
            count -= 1
            self.waiting.popleft()()
            for end in self.ends:
                end.world.run()

    def arrived(self, peer: Any) -> None:
        self.flow()

    def read(self, *indexes: int) -> None:
        """These machines, or all, hear what the stream has."""
        for index in indexes or range(len(self.ends)):
            self.ends[index].read()

    def advance(self, seconds: float) -> None:
        for end in self.ends:
            end.world.advance(seconds)

    def emit(self, index: int, name: str, **options: Any) -> None:
        self[index].hub.emit(name, [], BroadcastOptions(**options))
        self[index].run()

    # The store

    def put(self, pid: str, record: bytes, seconds: float, done: Callable[[bool], None]) -> None:
        def act() -> None:
            if not self.away:
                self.records[pid] = record
            done(not self.away)

        self.waiting.append(act)

    def put_back(self, pid: str, record: bytes, seconds: float, done: Callable[[bool], None]) -> None:
        def act() -> None:
            if not self.away:
                self.records.setdefault(pid, record)
            done(not self.away)

        self.waiting.append(act)

    def take(self, pid: str, taken: Callable[[bytes | None], None]) -> None:
        self.waiting.append(lambda: taken(None if self.away else self.records.pop(pid, None)))

    def drop(self, pid: str) -> None:
        self.waiting.append(lambda: self.records.pop(pid, None))

    def between(self, begin: int, end: int, told: Callable[[list[Envelope] | None], None]) -> None:
        found = [
            envelope._replace(place=place)
            for place, (_, envelope) in enumerate(self.stream, 2)
            if begin < place <= end
        ]
        self.waiting.append(lambda: told(None if self.away else found))


class End:
    """One machine of one worker (the Backplane port)."""

    alone = False

    def __init__(self, net: Net) -> None:
        self.net, self.place = net, 1
        self.receiver: Any = None
        self.world: Any = None

    def start(self, receiver: Any) -> None:
        self.receiver = receiver

    def publish(self, message: Any) -> None:
        self.net.stream.append((self, message))

    def read(self) -> None:
        begin, own = self.place, {}
        for place, (sender, message) in [*enumerate(self.net.stream, 2)][begin - 1 :]:
            self.place = place
            if sender is self:
                own[message.offset] = place
            else:
                self.receiver.receive(message._replace(place=place))
        self.receiver.receive(StreamMarks(begin, self.place, own))
        self.world.run()

    def request(self, request: PeerRequest) -> None:
        others = [end for end in self.net.ends if end is not self]
        if request.to is not None:
            assert request.to == self.net.name
            if self.net.is_gone:
                self.net.waiting.append(lambda: request.ended(0))
                return
        self.net.questions_count += 1
        left = len(others)

        def reply(part: Any, last: bool = True) -> None:
            nonlocal left
            left -= 1
            request.heard(part)
            if not left:
                request.ended(self.net.silent_count)

        for end in others:
            self.net.waiting.append(partial(lambda end: end.receiver.answer(request.question, reply), end))

    def close(self) -> None:
        pass


@pytest.fixture
def net(make_world: Any) -> Net:
    return Net(make_world)


@pytest.fixture
def person(net: Net) -> Person:
    person = Person(net)
    person.connect(0)
    assert person.recovered == [False]
    return person


def test_a_client_comes_back_to_another_machine(net: Net, person: Person) -> None:
    net[0].hub.join("/", person.sid, "news")
    net[0].run()
    person.peer.socket.data = {"name": "Ann"}
    net.emit(0, "a")
    person.lose()
    net.emit(1, "b", rooms=("news",))
    net.emit(2, "not for it", rooms=("other",))
    net.read()
    person.connect(2)
    net.emit(1, "c")
    net.read()
    person.look()
    assert (person.recovered, person.got) == ([False, True], ["a", "b", "c"])
    assert person.peer.socket.data == {"name": "Ann"}
    assert set(net[2].hub.rooms_of("/", person.sid)) == {person.sid, "news"}
    assert net.records == {}


def test_it_waits_until_the_stream_has_come_to_where_it_was(net: Net, person: Person) -> None:
    net.emit(1, "a")
    net.read(0)
    person.lose()
    person.connect(2)
    assert person.recovered == [False]
    net.read(2)
    net.advance(REACH_SECONDS)
    person.look()
    assert (person.recovered, person.got) == ([False, True], ["a"])


def test_it_does_not_wait_for_ever(net: Net, person: Person) -> None:
    net.emit(1, "a")
    net.read(0)
    person.lose()
    person.connect(2)
    net.advance(FETCH_SECONDS)
    person.look()
    net.advance(REACH_SECONDS)
    assert person.recovered == [False, False]
    assert (net[2].hub.restorer._lookups, net[2].hub.restorer._lookup_of) == ({}, {})


def test_it_looks_for_the_stream_ever_more_seldom(
    net: Net, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Very many may wait for it, where a process has just begun."""
    looks, log = [], net[2].hub.recovery
    look = log.missed
    monkeypatch.setattr(log, "missed", lambda *args: looks.append(args) or look(*args))
    net.emit(1, "a")
    net.read(0)
    person.lose()
    person.connect(2)
    for _ in range(400):
        net.advance(REACH_SECONDS)
    assert 5 < len(looks) < 30
    net.read(2)
    net.advance(REACH_MAX_SECONDS)
    person.look()
    assert (person.recovered, person.got) == ([False, True], ["a"])


def test_who_comes_and_goes_leaves_no_timer_behind(net: Net, person: Person) -> None:
    """A session may do so as fast as it likes."""
    net.flow()
    count = len([timer for timer in net[1].timers if timer.function])
    for _ in range(10):
        person.auth = {"pid": SessionIds(2).make()}
        person.connect(1)
        person.peer.say("1")
        person.auth = {"pid": SessionIds(2).make()}
        person.connect(1, flow=False)
        person.lose()
        net.flow()
    assert len([timer for timer in net[1].timers if timer.function]) <= count + 2


def test_a_client_that_seems_connected_is_surrendered(net: Net, person: Person) -> None:
    former = person.peer
    net.emit(0, "into the void")
    person.connect(1)
    net.read()
    net.advance(REACH_SECONDS)
    person.look()
    assert former.link.closed
    assert (person.recovered, person.got) == ([False, True], ["into the void"])
    assert net[0].hub.restorer.sockets == {}
    assert net[0].hub.restorer._leaving == {}


def test_who_asks_while_a_record_is_on_its_way_to_the_store_waits_for_it(net: Net, person: Person) -> None:
    person.lose()
    put = net.waiting.popleft()  # slower than the question
    person.connect(1)
    assert person.recovered == [False]
    put()
    net.flow()
    person.look()
    assert person.recovered == [False, True]
    assert net[0].hub.restorer._leaving == {}


def test_a_client_that_is_looked_up_elsewhere_is_surrendered_with_its_record(
    net: Net, person: Person
) -> None:
    net.emit(1, "a")
    net.read(0)
    person.lose()
    person.connect(1, flow=False)
    net.flow(2)
    first = person.peer
    person.connect(2)  # which the stream has not reached, as it has not the first
    assert first.link.closed
    net.read()
    net.advance(REACH_SECONDS)
    person.look()
    assert (person.recovered, person.got) == ([False, True], ["a"])
    assert net.records == {}


def test_a_record_that_was_given_up_does_not_replace_a_later_one(net: Net, person: Person) -> None:
    net.emit(1, "a")
    net.read(0)
    person.lose()
    net.flow()
    (pid,) = net.records
    person.connect(2, flow=False)
    net.flow(1)
    person.peer.lose()
    net.records[pid] = b"later"
    net.flow()
    assert net.records == {pid: b"later"}


@pytest.mark.parametrize("later", [False, True], ids=["before the store answers", "after it"])
def test_a_client_that_gives_up_its_return_may_come_once_more(net: Net, person: Person, later: bool) -> None:
    net.emit(1, "a")
    net.read(0)
    person.lose()
    net.flow()
    (pid,) = net.records
    person.connect(2, flow=later)
    person.peer.lose()
    net.flow()
    assert [*net.records] == [pid]
    assert (net[2].hub.restorer._lookups, net[2].hub.restorer.sockets) == ({}, {})
    net.read()
    person.connect(1)
    assert (person.recovered, person.got) == ([False, True], ["a"])


def test_of_two_that_come_with_one_secret_one_gets_the_record(net: Net, person: Person) -> None:
    person.lose()
    net.flow()
    twin = Person(net)
    twin.auth = dict(person.auth)
    person.connect(1, flow=False)
    twin.connect(2)
    connected = [end.world.hub.restorer.sockets.get(twin.auth["pid"]) for end in net.ends]
    assert sum(kept is not None for kept in connected) == 1


def test_two_that_ask_for_one_that_seems_connected(net: Net, person: Person) -> None:
    """Both are told that its record is stored; the store gives it to one."""
    pid = person.auth["pid"]
    for index in (1, 2):
        twin = Person(net)
        twin.auth = dict(person.auth)
        twin.connect(index, flow=False)
    net.flow()
    assert sum(pid in end.world.hub.restorer.sockets for end in net.ends) == 1


def test_a_client_nobody_knows_is_new(net: Net, person: Person) -> None:
    person.auth = {"pid": SessionIds(2).make()}
    person.connect(2)
    assert person.recovered == [False, False]


def test_who_does_not_answer_is_asked_again_a_few_times(net: Net, person: Person) -> None:
    net.silent_count = 1
    person.auth = {"pid": SessionIds(2).make()}
    person.connect(2)
    assert person.recovered == [False, False]
    assert net.questions_count == ASK_AGAIN_MAX_COUNT + 1


def test_a_store_that_is_away_makes_new_clients(net: Net, person: Person) -> None:
    net.away = True
    person.lose()
    person.connect(2)
    net.advance(FETCH_SECONDS)
    assert person.recovered == [False, False]
    assert net[0].hub.restorer._leaving == {}


def test_a_store_that_never_answers_makes_new_clients(net: Net, person: Person) -> None:
    person.lose()
    net.flow()
    person.connect(2, flow=False)
    net.advance(FETCH_SECONDS)
    person.look()
    assert person.recovered == [False, False]
    net.flow()  # the answer is late: whoever comes with that secret may have it
    assert len(net.records) == 1


def test_a_part_of_the_stream_that_cannot_be_read_makes_a_new_client(net: Net, person: Person) -> None:
    net.emit(0, "a")
    person.lose()
    net.flow()
    log = net[2].hub.recovery
    net.read()
    net.advance(log.events.max_seconds + 1.0)
    net[2].hub.recovery.sweep(net[2].now)
    person.connect(2, flow=False)
    net.flow(1)
    net.away = True
    net.flow()
    person.look()
    assert person.recovered == [False, False]


def test_what_this_process_never_heard_is_read_once_more(net: Net, person: Person) -> None:
    """For two that come at once, of which each lacks another part."""
    second = Person(net)
    second.connect(0)
    person.lose()
    net.emit(0, "a")
    net.read(0)
    second.lose()
    net.emit(1, "b")
    net.flow()
    end = net.ends[2]
    end.world.serve(Hub(Configuration(recovery=RecoveryLog())))  # it is young
    end.place = len(net.stream) + 1
    end.receiver.receive(StreamBegun(end.place))
    end.receiver.receive(StreamMarks(end.place, end.place))
    second.connect(2, flow=False)
    person.connect(2)
    second.look()
    assert (person.recovered, person.got) == ([False, True], ["a", "b"])
    assert (second.recovered, second.got) == ([False, True], ["a", "b"])
    assert end.world.hub.restorer._readers == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda stored: b"",
        lambda stored: stored[:-1],
        lambda stored: stored[:31],
        lambda stored: bytes(len(stored)),
        lambda stored: signed(stored, b"theirs"),
        lambda stored: signed(stored, Net.secret, pid="another's"),
    ],
    ids=["empty", "truncated", "less than a digest", "zeros", "another secret", "another client's"],
)
def test_a_record_that_is_not_ours_is_refused_and_told(
    net: Net, person: Person, spoil: Callable[[bytes], bytes]
) -> None:
    person.lose()
    net.flow()
    pid = person.auth["pid"]
    net.records[pid] = spoil(net.records[pid])
    person.connect(2)
    assert person.recovered == [False, False]
    assert [said.startswith("a client's record is refused: ") for said in net[2].complaints] == [True]


def signed(stored: bytes, secret: bytes, **changed: Any) -> bytes:
    """The same record, but for what has changed, signed by somebody."""
    record = msgspec.msgpack.decode(stored[DIGEST_BYTES:], type=StreamRecord)
    return sign(msgspec.structs.replace(record, **changed), secret)


def test_a_record_of_a_version_before_ours_is_nobodys_and_of_a_later_one_is_read(
    net: Net, person: Person
) -> None:
    for version, recovered in ((VERSION + 1, True), (VERSION - 1, False)):
        person.lose()
        net.flow()
        pid = person.auth["pid"]
        net.records[pid] = signed(net.records[pid], net.secret, version=version)
        person.connect(2)
        assert person.recovered[-1] is recovered


def test_a_record_of_another_namespace_is_nobodys(net: Net, person: Person) -> None:
    net[1].on("connect", namespace="/shop")
    person.lose()
    peer = net[1].peer(None)
    peer.say("0/shop," + json.dumps(person.auth))
    net.flow()
    (answer,) = peer.heard()
    assert json.loads(answer.partition(",")[2])["pid"] != person.auth["pid"]


def test_who_may_have_missed_something_is_not_kept(net: Net, person: Person) -> None:
    net.ends[0].receiver.receive(StreamMarks(1, 1, hole=True))
    person.lose()
    net.flow()
    assert net.records == {}
    assert net[0].complaints == ["a client that may have missed something cannot be recovered"]
    person.connect(2)
    assert person.recovered == [False, False]


def test_who_came_after_a_hole_is_kept(net: Net, person: Person) -> None:
    net.ends[0].receiver.receive(StreamMarks(1, 1, hole=True))
    second = Person(net)
    second.connect(0)
    second.lose()
    second.connect(0)
    assert second.recovered == [False, True]


def test_what_was_sent_in_a_room_it_has_left_is_sent_again(net: Net, person: Person) -> None:
    net[0].hub.join("/", person.sid, "news")
    net[0].run()
    net.emit(0, "news", rooms=("news",))
    net[0].hub.leave("/", person.sid, "news")
    net[0].run()
    net.emit(0, "no news", rooms=("news",))
    person.lose(unseen=True)
    net.read()
    person.connect(1)
    assert (person.recovered, person.got) == ([False, True], ["news"])


def test_who_has_left_very_many_rooms_since_is_not_told_that_it_missed_nothing(
    net: Net, person: Person
) -> None:
    for number in range(LEFT_MAX_COUNT + 1):
        net[0].hub.join("/", person.sid, f"room {number}")
        net[0].run()
        net.emit(0, f"in {number}", rooms=(f"room {number}",))
        net[0].hub.leave("/", person.sid, f"room {number}")
        net[0].run()
    person.lose(unseen=True)
    net.read()
    person.connect(1)
    assert person.recovered == [False, False]


def test_who_has_left_very_many_rooms_and_taken_all_comes_back(net: Net, person: Person) -> None:
    for number in range(LEFT_MAX_COUNT + 1):
        net[0].hub.join("/", person.sid, f"room {number}")
        net[0].hub.leave("/", person.sid, f"room {number}")
    net[0].run()
    net.emit(0, "seen")
    person.look()
    net.emit(0, "unseen")
    person.lose(unseen=True)
    net.read()
    person.connect(1)
    assert (person.recovered, person.got) == ([False, True], ["seen", "unseen"])


def saved(net: Net, person: Person) -> Any:
    """Its record while it is connected, None where there is none."""
    net.advance(SAVE_SECONDS)
    for _ in range(60):
        net.advance(SAVE_SECONDS / 50)
    net.flow()
    stored = net.records.get(person.auth["pid"])
    return None if stored is None else verify(stored, person.auth["pid"], net.secret)


def die(net: Net, index: int) -> None:
    """Its process is killed: it says nothing any more."""
    net.ends.pop(index)


def test_a_client_of_a_process_that_was_killed_comes_back_by_the_record_of_a_living_one(
    net: Net, person: Person
) -> None:
    record = saved(net, person)
    assert record.is_live
    net.emit(1, "a")
    net.read()
    die(net, 0)
    person.connect(1)
    assert (person.recovered, person.got) == ([False, True], ["a"])


def test_nobody_is_asked_for_the_client_of_a_process_that_is_gone(net: Net, person: Person) -> None:
    """Of a thousand machines, each would be asked for each of its clients."""
    assert saved(net, person).holder == net.name
    net.emit(1, "a")
    net.read()
    die(net, 0)
    net.is_gone = True
    person.connect(1)
    assert (person.recovered, person.got) == ([False, True], ["a"])
    assert net.questions_count == 0


def test_a_last_record_of_a_process_that_is_gone_is_better_than_a_saved_one(net: Net, person: Person) -> None:
    live = saved(net, person)
    net.emit(1, "a")
    net.read()
    person.lose()
    net.flow()
    last = net.records[live.pid]
    net.records[live.pid] = sign(live, net.secret)
    net.is_gone = True
    person.connect(1, flow=False)
    net.flow(1)
    net.records[live.pid] = last  # it was slower
    net.flow()
    person.look()
    assert (person.recovered, person.got, net.questions_count) == ([False, True], ["a"], 0)


def test_who_leaves_while_its_former_process_is_looked_for_may_come_once_more(
    net: Net, person: Person
) -> None:
    assert saved(net, person) is not None
    die(net, 0)
    net.is_gone = True
    person.connect(1, flow=False)
    net.flow(1)
    person.lose()
    net.flow()
    person.connect(1)
    assert (person.recovered, net.questions_count) == ([False, True], 0)


def test_a_record_that_does_not_say_who_stored_it_is_asked_for(net: Net, person: Person) -> None:
    live = saved(net, person)
    live.holder = ""
    net.records[live.pid] = sign(live, net.secret)
    die(net, 0)
    net.is_gone = True
    person.connect(1)
    assert (person.recovered, net.questions_count) == ([False, True], 1)


@pytest.mark.parametrize("kind", ["join", "leave"])
def test_rooms_of_a_killed_process_that_are_not_saved_yet_make_a_new_client(
    net: Net, person: Person, kind: str
) -> None:
    """It would be told that it missed nothing, and be in other rooms than it was."""
    if kind == "leave":
        net[0].hub.join("/", person.sid, "news")
        net[0].run()
    assert saved(net, person) is not None
    getattr(net[0].hub, kind)("/", person.sid, "news")
    net[0].run()
    net.flow()
    die(net, 0)
    person.connect(1)
    assert person.recovered == [False, False]


def test_who_may_have_missed_something_is_not_saved_either(net: Net, person: Person) -> None:
    assert saved(net, person) is not None
    net.ends[0].receiver.receive(StreamMarks(1, 1, hole=True))
    assert saved(net, person) is None
    person.peer.socket.store({"changed": True})
    assert saved(net, person) is None


def test_a_saved_record_of_one_that_left_on_purpose_is_gone(net: Net, person: Person) -> None:
    assert saved(net, person) is not None
    person.peer.say("1")
    net.flow()
    assert net.records == {}


def test_a_server_that_falls_quiet_keeps_nothing_for_ever(net: Net, person: Person) -> None:
    log, restorer = net[0].hub.recovery, net[0].hub.restorer
    net.emit(0, "the last one")
    person.lose()
    net.flow()
    net.read()
    assert log.events.size_bytes > 0
    net.advance(2 * log.events.max_seconds + SWEEP_SECONDS)
    net.advance(SWEEP_SECONDS)
    assert (log.events.size_bytes, log._own, log._others) == (0, {}, {})
    assert (restorer.sockets, restorer._lookups, restorer._leaving) == ({}, {}, {})


def test_the_record_of_a_client_that_stays_is_saved_again_before_the_store_forgets_it(
    net: Net, person: Person
) -> None:
    record = saved(net, person)
    net.emit(1, "a")
    net.read()
    net.advance(net[0].hub.recovery.events.max_seconds / 2)
    assert saved(net, person).place == record.place + 1
    net.records.clear()
    assert saved(net, person) is None, "too often"


def test_what_a_killed_process_alone_had_said_is_not_passed_over(net: Net, person: Person) -> None:
    """Nobody else has heard it: the client would be told that it missed nothing."""
    assert saved(net, person) is not None
    net.emit(0, "lost on its way", rooms=(person.sid,))
    net.flow()
    die(net, 0)
    person.connect(1)
    assert person.recovered == [False, False]


# What an application has stored with a client


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_session_data_that_cannot_be_written_stays_behind(net: Net, person: Person) -> None:
    itself: dict[str, Any] = {}
    itself["self"] = itself
    person.peer.socket.data = {"name": "Ann", "loop": itself, "deep": nested(100_000)}
    other = Person(net)
    other.connect(0)
    assert saved(net, person) is not None
    assert saved(net, other) is not None
    person.lose()
    assert net[0].hub.adapters()["/"].get(person.sid) is None
    person.connect(1)
    assert person.recovered == [False, True]
    assert person.peer.socket.data == {"name": "Ann"}


def test_session_data_that_changes_in_its_place_is_saved(net: Net, person: Person) -> None:
    person.peer.socket.data = data = {"user": "Ann"}
    assert saved(net, person).data == {"user": "Ann"}
    del data["user"]
    person.peer.socket.store(data)
    assert saved(net, person).data == {}


def test_a_client_with_very_much_session_data_is_not_kept(net: Net, person: Person) -> None:
    assert saved(net, person) is not None
    person.peer.socket.store({"much": "x" * RECORD_MAX_BYTES})
    assert saved(net, person) is None
    person.lose()
    net.flow()
    assert net.records == {}
    assert any("session data" in text for text in net[0].complaints)


def test_an_event_whose_name_is_no_text_hurts_nobody(net: Net, person: Person) -> None:
    """A record with it could not be written."""
    net[0].hub.recovery.next_offset = lambda: "\udc80"
    net.emit(0, "a")
    person.lose()
    assert net[0].hub.adapters()["/"].get(person.sid) is None


# Clients that are not what they should be


@pytest.mark.parametrize("pid", ["", "P", "x" * 100_000, "\udc80", "1." + "a" * 21, "../1." + "a" * 20])
def test_what_is_no_secret_of_a_client_is_looked_for_nowhere(net: Net, pid: str) -> None:
    """It would be sent to all machines, and to the store."""
    stranger = Person(net)
    stranger.auth = {"pid": pid}
    stranger.connect(0, flow=False)
    assert stranger.recovered == [False]
    assert (net.questions_count, [*net.waiting]) == (0, [])


def test_one_session_with_one_secret_in_two_namespaces_leaves_nobody_behind(net: Net, person: Person) -> None:
    net[1].hub.handlers.on("/other", "x", Handler(lambda socket, event, arguments: None))
    person.lose()
    net.flow()
    peer = net[1].peer(None)
    peer.say(f"0/other,{json.dumps(person.auth)}")
    peer.say(f"0{json.dumps(person.auth)}")
    net.flow()
    restorer = net[1].hub.restorer
    assert (restorer.sockets, restorer._lookups, restorer._lookup_of) == ({}, {}, {})
    assert all(adapter.clients_count == 0 for adapter in net[1].hub.adapters().values())
    person.connect(2)
    assert person.recovered == [False, True]


def test_a_client_that_cannot_take_what_it_missed_is_not_there(
    net: Net, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("python_server.socketio.client.HELD_MAX_BYTES", 100)
    net.emit(0, "a")
    person.lose()
    net.emit(0, "b" * 200)
    net.emit(0, "c")
    net.read()
    person.connect(1)
    assert person.recovered == [False]
    assert net[1].hub.restorer.sockets == {}
    assert net[1].hub.adapters() == {} or net[1].hub.adapters()["/"].clients_count == 0


def test_what_a_client_has_taken_is_not_kept_with_it_on_its_return(net: Net, person: Person) -> None:
    net.emit(0, "taken" * 100, rooms=(person.sid,))
    person.look()
    net.emit(0, "untaken", rooms=(person.sid,))
    person.lose(unseen=True)
    person.connect(1)
    assert person.recovered == [False, True]
    assert person.got == ["taken" * 100, "untaken"]
    kept = net[1].hub.restorer.sockets[person.auth["pid"]]
    assert [*kept.record.private] == [person.auth["offset"]]
    person.lose(unseen=True)
    person.connect(2)
    assert (person.recovered, person.got[2:]) == ([False, True, True], [])


@pytest.mark.parametrize("away_seconds", [20.0, 40.0])
def test_credentials_end_on_every_machine(net: Net, person: Person, away_seconds: float) -> None:
    net[0].hub.expire("/", person.sid, net[0].services.wall() + 30)
    net[0].run()
    person.lose()
    net.emit(1, "missed")
    net.read()
    net.advance(away_seconds)
    person.connect(2)
    if away_seconds > 30:
        assert (person.recovered, person.got) == ([False, False], [])
        return
    assert (person.recovered, person.got) == ([False, True], ["missed"])
    net.advance(30 - away_seconds)
    person.look()
    assert person.got == ["missed", "closing"]


def test_a_saved_record_says_when_credentials_end(net: Net, person: Person) -> None:
    assert saved(net, person).authorized_until is None
    until = net[0].services.wall() + 1000
    net[0].hub.expire("/", person.sid, until)
    net[0].run()
    net.flow()
    assert net.records == {}, "a killed process would leave one that says never"
    assert saved(net, person).authorized_until == until
    die(net, 0)
    person.connect(1)
    assert person.recovered == [False, True]
    for _ in range(30):  # a timer that is set anew is for the next step
        net.advance(60)
    person.look()
    assert person.got == ["closing"]


@pytest.mark.parametrize("is_killed", [False, True])
def test_what_is_known_of_a_member_is_in_its_record(net: Net, person: Person, is_killed: bool) -> None:
    net[0].hub.join("/", person.sid, "news", {"name": "Ann"}, "ann")
    net[0].hub.update("/", person.sid, "news", {"name": "Eve"})
    net[0].run()
    if is_killed:
        assert saved(net, person).members["news"].text == '{"name":"Eve"}'
        net[0].hub.update("/", person.sid, "news", {"name": "Bob"})
        net[0].run()
        net.flow()
        assert net.records == {}, "it is not true any more"
        assert saved(net, person) is not None
        die(net, 0)
    else:
        person.lose()
    person.connect(1)
    assert person.recovered == [False, True]
    worlds = [end.world for end in net.ends]
    told = [world.hub._running.rooms.adapter("/").details_of("news") for world in worlds]
    assert [(person.sid, "ann", '{"name":"%s"}' % ("Bob" if is_killed else "Eve"))] in told
