"""Streams that come back: to one process, to another one, to another machine; and ids that nobody has given.

It must not know sockets; whole rolling restarts are in test_rolling.
"""

from dataclasses import replace
from typing import Any

import pytest

from event_source import Ear
from python_server.http1.event_stream import HEARTBEAT_SECONDS
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster.port import (
    Envelope,
    LongAnswer,
    Malformed,
    NoBackplane,
    PeerRequest,
    Question,
    QuestionKind,
    StreamBegun,
    StreamMarks,
)
from python_server.socketio.packet import EVENT, TextCodec
from python_server.socketio.recovery import resumption
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.restore import ASK_AGAIN_MAX_COUNT, FETCH_SECONDS
from python_server.socketio.recovery.stream_log import StreamLog
from python_server.socketio.recovery.stream_restore import REACH_MAX_SECONDS, REACH_SECONDS
from python_server.socketio.server import Hub
from python_server.socketio.services import Configuration


def say(world: Any, *names: str, room: str = "red") -> None:
    for name in names:
        world.hub.emit(name, (), to=BroadcastOptions(rooms=(room,)))
        world.run()


def names(events: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in events]


@pytest.fixture
def logged(make_world: Any) -> Any:
    return make_world(recovery=RecoveryLog())


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


def test_who_is_cut_off_while_it_is_sent_what_it_missed_is_sent_it_once_more(logged: Any) -> None:
    ear = Ear("red").connect(logged.hub)
    ear.take()
    ear.cut()
    say(logged, "a", "b", "c")
    ear.connect(logged.hub)
    whole = ear.exchange.text
    ear.exchange.text = whole[: whole.index("event: c")]
    assert names(ear.take()) == ["a", "b"]
    ear.cut()
    assert names(ear.connect(logged.hub).take()) == ["a", "b", "c"]
    assert names(ear.cut().connect(logged.hub).take()) == []


def test_only_the_event_that_is_wanted_and_only_what_was_said_to_the_room(logged: Any) -> None:
    red, everybody = Ear("red", event="b").connect(logged.hub), Ear(None).connect(logged.hub)
    for ear in (red, everybody):
        ear.take()
        ear.cut()
    say(logged, "a", "b")
    logged.hub.emit("b", ("to everybody",), to=BroadcastOptions())
    logged.hub.emit("b", (), to=BroadcastOptions(rooms=("red", "blue"), excepted=("red",)))
    logged.run()
    assert red.connect(logged.hub).take() == [("b", [])]
    assert everybody.connect(logged.hub).take() == [("b", ["to everybody"])]


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


def test_a_server_in_which_nothing_is_said_for_long(logged: Any) -> None:
    ear = Ear("red").connect(logged.hub)
    say(logged, "a")
    ear.take()
    ear.cut()
    logged.now += 1000.0
    assert names(ear.connect(logged.hub).take()) == []


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
    assert reason(other.connect(logged.hub)) == "id of another room"
    say(logged, "b")
    logged.now += 1000.0
    say(logged, "much later")
    assert reason(ear.connect(logged.hub)).startswith("too long ago")
    say(logged, "live")
    assert names(ear.take()) == ["live"]


def test_ids_that_nobody_has_given(logged: Any) -> None:
    """Each is a hole, and then what is said from now on: nothing of another room, nothing of the past."""
    say(logged, "secret", room="blue")
    ear = Ear("red").connect(logged.hub)
    say(logged, "a")
    ear.take()
    key, tag, position, _ = str(ear.id).split(".")
    for id in (
        *("x", "é", "....", "..", f"{ear.id}.", "A" * 100_000, f"{key}.{tag}.{position}" + "." * 9000),
        *(f"{key}.{tag}.{number}." for number in ("-1", "ffff", "f" * 16, "f" * 8000, "x", "", "1.5", "nan")),
        *(f"{key}.{other}.0." for other in ("", "AAAAAAAA", tag[::-1], "~" * 8)),
        *(f"{key}..{place}.{tag}1,x,," for place in ("0", "7fffffffffffffff")),
    ):
        unknown = Ear("red")
        unknown.id = id
        assert reason(unknown.connect(logged.hub)), id
        say(logged, "live")
        say(logged, "other", room="blue")
        assert names(unknown.take()) == ["live"]
        unknown.cut()
    assert not logged.hub._running.resumption._waiting


def test_an_id_grants_what_the_view_has_granted_and_no_more(logged: Any) -> None:
    """Whoever makes up an earlier position hears of this room what is kept of it."""
    say(logged, "a")
    say(logged, "secret", room="blue")
    ear = Ear("red").connect(logged.hub)
    ear.take()
    key, tag, *_ = str(ear.id).split(".")
    ear.cut().id = f"{key}.{tag}.0."
    assert names(ear.connect(logged.hub).take()) == ["a"]


def test_more_than_is_sent_at_once_is_a_hole(logged: Any) -> None:
    ear = Ear("red").connect(logged.hub)
    ear.take()
    ear.cut()
    for _ in range(5):
        logged.hub.emit("a", ("x" * 1_000_000,), to=BroadcastOptions(rooms=("red",)))
        logged.run()
    assert reason(ear.connect(logged.hub)) == "more than is sent at once"
    assert names(ear.cut().connect(logged.hub).take()) == []


class Asked(NoBackplane):
    """One other process: what is asked of it waits."""

    alone = False

    def __init__(self) -> None:
        self.requests: list[PeerRequest] = []

    def start(self, receiver: Any) -> None:
        self.receiver = receiver

    def request(self, request: PeerRequest) -> None:
        self.requests.append(request)

    def answer(self, other: Any) -> None:
        (request,) = self.requests
        self.requests.clear()

        def reply(part: Any, last: bool = True) -> None:
            for each in part.parts if isinstance(part, LongAnswer) else [part]:
                request.heard(each)

        other.hub._running._answer_fetch(other.hub.restorer, request.question, reply)
        request.ended(0)


def test_another_process_is_asked(make_world: Any) -> None:
    old, backplane = make_world(recovery=RecoveryLog()), Asked()
    new = make_world(lambda world: backplane, recovery=RecoveryLog())
    ear = Ear("red").connect(old.hub)
    say(old, "a")
    ear.take()
    ear.cut()
    say(old, "b", "c")
    say(old, "secret", room="blue")
    new.now = old.now = old.now + 5.0
    ear.connect(new.hub)
    new.advance(HEARTBEAT_SECONDS)
    assert ear.exchange.text == ":\n\n"  # without an id: nothing has come yet
    say(new, "of the new one")
    assert ear.take() == []
    backplane.answer(old)
    assert names(ear.take()) == ["b", "c", "of the new one"]
    say(new, "live")
    assert names(ear.take()) == ["live"]


def test_what_the_other_process_had_heard_before_comes_once(make_world: Any) -> None:
    old, backplane = make_world(recovery=RecoveryLog()), Asked()
    new = make_world(lambda world: backplane, recovery=RecoveryLog())
    ear, other = Ear("red").connect(old.hub), Ear("red").connect(new.hub)
    ear.take()
    ear.cut()
    said = Envelope("/", ("red",), (), TextCodec().prepare(EVENT, "/", ("a", "CCCCCCCC1")), "CCCCCCCC1")
    old.hub._running.broadcaster.deliver(said)
    ear.connect(new.hub)
    backplane.answer(old)
    backplane.receiver.receive(said)
    assert names(ear.take()) == ["a"]
    assert names(other.take()) == ["a"]


def test_nobody_knows_it_any_more(make_world: Any) -> None:
    old, backplane = make_world(recovery=RecoveryLog()), Asked()
    new = make_world(lambda world: backplane, recovery=RecoveryLog())
    ear = Ear("red").connect(make_world(recovery=RecoveryLog()).hub)
    ear.take()
    ear.connect(new.hub)
    backplane.answer(old)
    assert reason(ear).startswith("too long ago")
    ear.cut().connect(new.hub)
    assert ear.take() == []
    # It leaves while the others are asked.
    gone = Ear("red")
    gone.id = f"{str(ear.id).partition('.')[0]}.AAAAAAAA.1."
    gone.connect(new.hub).cut()
    backplane.answer(old)
    assert gone.exchange.text == ""


def test_one_that_ends_without_an_answer_is_asked_again(make_world: Any) -> None:
    """Its successor may have the log by then."""
    old, backplane = make_world(recovery=RecoveryLog()), Asked()
    new = make_world(lambda world: backplane, recovery=RecoveryLog())
    ear = Ear("red").connect(old.hub)
    ear.take()
    ear.cut()
    say(old, "a")
    ear.connect(new.hub)
    backplane.requests.pop().ended(1)
    backplane.answer(old)
    assert names(ear.take()) == ["a"]
    ear.cut().id = str(ear.id).replace(new.hub.recovery.tag, "AAAAAAAA")
    ear.connect(new.hub)
    for _ in range(1 + ASK_AGAIN_MAX_COUNT):
        backplane.requests.pop().ended(1)
    assert reason(ear).startswith("too long ago")


def test_so_many_wait_and_no_more(make_world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumption, "LOOKUPS_MAX_COUNT", 2)
    world = make_world(lambda world: Asked(), recovery=RecoveryLog())
    ear = Ear("red").connect(world.hub)
    ear.take()
    ear.cut().id = str(ear.id).replace(world.hub.recovery.tag, "AAAAAAAA")
    waiting = [Ear("red") for _ in range(3)]
    for each in waiting:
        each.id = ear.id
        each.connect(world.hub)
    assert [names(each.take()) for each in waiting] == [[], [], ["hole"]]


def test_what_is_asked_amiss_is_refused(logged: Any) -> None:
    answer = logged.hub._running.resumption.answer
    question = Question(QuestionKind.FETCH, "/", {"tag": 1})
    with pytest.raises(Malformed):
        answer(question, lambda part, last=True: None)
    assert not answer(Question(QuestionKind.FETCH, "/", {"pid": "x", "offset": None}), print)


# Machines that share a stream


class Machine(NoBackplane):
    """One of one process: what it says stands in the stream when the test says so."""

    alone = False
    secret = b""
    name = "machine"

    def __init__(self, make_world: Any) -> None:
        self.said: list[Envelope] = []
        self.place = 1
        self.asked: list[Any] = []
        self.world = make_world(lambda world: self)
        self.world.services = replace(self.world.services, records=self)
        self.world.serve(Hub(Configuration(recovery=RecoveryLog())))
        self.receiver.receive(StreamBegun(1))
        self.receiver.receive(StreamMarks(1, 1))

    def start(self, receiver: Any) -> None:
        self.receiver = receiver

    def publish(self, message: Any) -> None:
        self.said.append(message)

    def between(self, begin: int, end: int, told: Any) -> None:
        self.asked.append((begin, end, told))

    def read(self, stream: list[Envelope], until: int | None = None) -> None:
        """The stream, to a place: the first event stands at 2."""
        end = len(stream) + 1 if until is None else until
        own = {}
        for place in range(self.place + 1, end + 1):
            envelope = stream[place - 2]
            if envelope in self.said:
                own[str(envelope.offset)] = place
            else:
                self.receiver.receive(envelope._replace(place=place))
        self.receiver.receive(StreamMarks(self.place, end, own))
        self.place = end


@pytest.fixture
def machines(make_world: Any) -> tuple[Machine, Machine]:
    return Machine(make_world), Machine(make_world)


def test_another_machine_knows_it_once_the_stream_has_come(machines: Any) -> None:
    here, there = machines
    ear = Ear("red").connect(here.world.hub)
    say(here.world, "a", "b")
    assert names(ear.take()) == ["a", "b"]
    ear.cut()
    say(here.world, "c")
    stream = [*here.said]
    ear.connect(there.world.hub)
    assert ear.exchange.text == ""  # what it has got has not come yet
    there.read(stream, 3)
    there.world.advance(REACH_SECONDS)
    assert ear.take() == []
    there.read(stream)
    assert names(ear.take()) == ["c"]
    say(there.world, "d")
    assert names(ear.take()) == ["d"]
    ear.cut()
    here.read([*stream, *there.said])
    assert names(ear.connect(here.world.hub).take()) == []


def test_the_stream_is_read_once_more(machines: Any) -> None:
    here, there = machines
    ear = Ear("red").connect(here.world.hub)
    ear.take()
    ear.cut()
    say(here.world, "a")
    there.read(here.said)
    there.world.now += 1000.0
    say(there.world, "later", room="blue")  # it has forgotten the first
    for is_there in (True, False):
        ear.connect(there.world.hub)
        begin, end, told = there.asked.pop()
        assert (begin, end) == (1 if is_there else 0, 2)
        told([here.said[0]._replace(place=2)] if is_there else None)
        if is_there:
            assert names(ear.take()) == ["a"]
            ear.cut().id = f"{str(ear.id).partition('.')[0]}..0."
    # fails when it is read: a hole
    assert reason(ear).startswith("too long ago")


def test_a_place_that_the_stream_never_comes_to(machines: Any) -> None:
    here, _ = machines
    ear = Ear("red").connect(here.world.hub)
    ear.take()
    key = str(ear.id).partition(".")[0]
    for id in (f"{key}..7fffffffffffffff.", f"{key}..1.AAAAAAAA1"):
        ear.cut().id = id
        ear.connect(here.world.hub)
        looks_count = 0
        while "hole" not in ear.exchange.text:
            here.world.advance(REACH_MAX_SECONDS)
            looks_count += 1
            assert looks_count <= FETCH_SECONDS / REACH_MAX_SECONDS + 1
        ear.take()


def test_for_a_name_that_nobody_has_given_the_log_is_gone_through_once(
    machines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id is not signed: who makes one up has it looked for until FETCH_SECONDS have passed."""
    here, _ = machines
    gone_through: list[Any] = []
    missed = StreamLog.missed
    monkeypatch.setattr(StreamLog, "missed", lambda *told: gone_through.append(told) or missed(*told))
    ear = Ear("red").connect(here.world.hub)
    ear.take()
    ear.cut().id = f"{str(ear.id).partition('.')[0]}..1.AAAAAAAA1"
    ear.connect(here.world.hub)
    while "hole" not in ear.exchange.text:
        here.world.advance(REACH_MAX_SECONDS)
    assert len(gone_through) == 1


def test_before_the_stream_is_known_who_comes_back_is_told_a_hole(make_world: Any) -> None:
    world = make_world()
    world.services = replace(world.services, records=object())
    world.serve(Hub(Configuration(recovery=RecoveryLog())))
    ear = Ear("red").connect(world.hub)
    say(world, "a")
    ear.take()
    assert reason(ear.cut().connect(world.hub)) == "unknown id"


def test_a_hole_in_the_stream_sends_all_on(machines: Any) -> None:
    here, _ = machines
    ear = Ear("red").connect(here.world.hub)
    ear.take()
    here.receiver.receive(StreamMarks(1, 5, hole=True))
    ear.take()
    assert ear.exchange.finished
    assert reason(ear.connect(here.world.hub)).startswith("too long ago")
