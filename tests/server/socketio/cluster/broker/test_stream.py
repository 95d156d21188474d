"""What stands in a stream, read (stream.py), and passed on to the workers of one machine, each at its place.

It must not know how bytes travel. Siblings and their answers are the test's.
"""

from collections.abc import Callable
from typing import Any

import pytest

from python_server.engineio.packet import Prepared
from python_server.net.loop import Timer
from python_server.socketio.cluster.broker.foreign_messages import WireError, write_command, write_emit
from python_server.socketio.cluster.broker.leader import Word
from python_server.socketio.cluster.broker.messages import ChannelReader, Channels, LeadSaid, LeftSaid
from python_server.socketio.cluster.broker.stream import (
    ASK_AGAIN_SECONDS,
    ReadStreamBatch,
    StreamOrder,
    read_batch,
)
from python_server.socketio.cluster.broker.stream_reader import StreamBatch
from python_server.socketio.cluster.port import (
    Command,
    CommandKind,
    Envelope,
    NoBackplane,
    PeerRequest,
    Question,
    QuestionKind,
    StreamBegun,
    StreamMarks,
)
from python_server.socketio.packet import EVENT, TextCodec

CODEC = TextCodec()


def event(number: int, **changes: Any) -> Envelope:
    name = f"tag-{number:x}"
    return Envelope("/", None, (), CODEC.prepare(EVENT, "/", ("e", number, name)), name)._replace(**changes)


def said(number: int, host: str = "other.1", **changes: Any) -> bytes:
    return write_emit(event(number, **changes), host, CODEC)


# Reading


def read(
    *payloads: bytes | None,
    hole: bool = False,
    recovers: bool = True,
    leads: Callable[[], None] = lambda: None,
) -> ReadStreamBatch:
    """Entries at the places 11, 12 and so on."""
    reader = ChannelReader(
        Channels("c", "host.1", False),
        "host.",
        TextCodec,
        lambda: (lambda passed_on: "not this way") if recovers else None,
        leads,
    )
    entries = list(enumerate(payloads, 11))
    return read_batch(reader, StreamBatch(10, 10 + len(payloads), entries, hole))


def test_what_others_said_has_its_place_and_their_name() -> None:
    came = read(said(1), said(2, volatile=True, offset=None))
    assert [(place, value.place, value.offset) for place, value in came.items] == [
        (11, 11, "tag-1"),
        (12, 12, None),
    ]
    assert not came.own
    assert not came.hole


def test_an_event_without_a_name_is_named_after_its_place() -> None:
    """The same in every machine; not where nobody recovers."""
    payload = b'{"method":"emit","event":"e","data":[1]}'
    ((_, value),) = read(payload).items
    assert value.offset == "~~~~~~~~b"
    assert value.prepared.packets == ['42["e",1,"~~~~~~~~b"]']
    ((_, value),) = read(payload, recovers=False).items
    assert value.offset is None
    assert value.prepared.packets == ['42["e",1]']


def test_what_this_machine_said_is_only_known_by_name() -> None:
    came = read(said(1, "host.1"), said(2, "host.2"), said(3, "host.2", offset=None), said(4, "hosts.1"))
    assert came.own == {"tag-1": 11, "tag-2": 12}
    assert [value.offset for _, value in came.items] == ["tag-4"]


def test_commands_have_their_place() -> None:
    words = {"sid": "s", "room": "r"}
    ours = write_command(CommandKind.LEAVE, "host.2", "/", **words)
    came = read(write_command(CommandKind.ENTER, "other.1", "/n", **words), ours)
    assert came.items == [(11, Command(CommandKind.ENTER, "/n", "s", "r", place=11))]


def test_words_of_this_machine() -> None:
    leads: list[None] = []
    came = read(
        write_command(Word.LEAD, "host.2", "/"),
        write_command(Word.LEFT, "host.2", "/", detail="host.1"),
        write_command(Word.LEAD, "other.2", "/"),
        leads=lambda: leads.append(None),
    )
    assert came.items == [(11, LeadSaid("host.2")), (12, LeftSaid("host.1"))]
    assert leads == [None]


@pytest.mark.parametrize(("host", "hole"), [("other.1", True), ("host.2", False)])
def test_a_hole_of_others_is_one_here(host: str, hole: bool) -> None:
    """What this machine dropped its own clients have got."""
    came = read(write_command(Word.HOLE, host, "/"))
    assert came.items == []
    assert came.hole is hole
    assert read(said(1), hole=True).hole


def test_garbage_is_refused_and_what_follows_is_read() -> None:
    garbage = [
        None,
        b"",
        b"\xff" * 10,
        b"{}",
        b'{"method":"eval"}',
        b"[" * 100_000,
        b'{"method":"emit","event":"e","data":[1],"binary":true}',
        b'{"method":"emit","event":"e","data":' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"method":"disconnect"}',
        b'{"method":"emit","event":"e","data":[1],"host_id":7}',
    ]
    came = read(*garbage, said(1))
    *refused, (place, last) = came.items
    assert all(isinstance(value, WireError) for _, value in refused)
    assert [place for place, _ in refused] == [*range(11, 11 + len(garbage))]
    assert (place, last.offset) == (11 + len(garbage), "tag-1")
    assert "one field, `data`" in str(refused[0][1])


# Passing on


class Siblings(NoBackplane):
    """What they are told and asked; the test answers."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.requests: list[PeerRequest] = []

    def publish(self, message: Any) -> None:
        self.told.append(message)

    def request(self, request: PeerRequest) -> None:
        self.requests.append(request)

    def answer(self, *parts: Any, silent_count: int = 0) -> QuestionKind:
        request = self.requests.pop(0)
        for part in parts:
            request.heard(part)
        request.ended(silent_count)
        return request.question.kind


class Worker:
    """One worker's order, and what its own clients' side hears."""

    def __init__(self, met: bool = True) -> None:
        self.siblings = Siblings()
        self.heard: list[Any] = []
        self.questions: list[Question] = []
        self.handled: list[Any] = []
        self.flushes: list[Callable[[int | None], None]] = []
        self.timers: list[Timer] = []
        self.met = met
        self.order = StreamOrder(
            self.siblings, self.handled.extend, self.flushes.append, lambda: self.met, self._call_later
        )
        self.order.receiver = self

    def _call_later(self, seconds: float, function: Callable[[], Any]) -> Timer:
        self.timers.append(Timer(seconds, function))
        return self.timers[-1]

    def receive(self, message: Any) -> None:
        self.heard.append(message)

    def answer(self, question: Question, reply: Any) -> None:
        self.questions.append(question)

    def take(self, begin: int, *places: int, end: int = 0, hole: bool = False, own: Any = None) -> None:
        items: list[Any] = [(place, event(place, place=place)) for place in places]
        last = end or places[-1]
        self.order.take(ReadStreamBatch(StreamBatch(begin, last, [], hole), items, own or {}, hole))

    @property
    def events(self) -> list[int]:
        return [each.place for each in self.heard if isinstance(each, Envelope)]

    @property
    def marks(self) -> list[StreamMarks]:
        return [each for each in self.heard if isinstance(each, StreamMarks)]


def test_who_reads_hears_and_passes_on_then_tells_the_place() -> None:
    worker = Worker(met=False)
    worker.take(0, end=10)
    worker.take(10, 11, 12, own={"mine-1": 13}, end=13)
    assert worker.events == [11, 12]
    assert worker.marks == [StreamMarks(0, 10), StreamMarks(10, 13, {"mine-1": 13}, 2)]
    assert worker.siblings.told == worker.heard
    assert worker.order.place == 13
    assert worker.order.received_count == 2


def test_a_successor_that_goes_back_repeats_nothing_to_itself() -> None:
    """But tells it: a sibling may be behind."""
    worker = Worker(met=False)
    worker.take(0, end=10)
    worker.take(10, 11, 12)
    del worker.heard[:], worker.siblings.told[:]
    worker.take(10, 11, 12, 13)
    assert worker.events == [13]
    assert [each.place for each in worker.siblings.told[:3]] == [11, 12, 13]
    assert worker.order.place == 13


def test_what_is_not_an_event_is_handled_once_but_words_of_a_hand_over_each_time() -> None:
    worker = Worker(met=False)
    refused, word = WireError("foreign message", "x"), LeadSaid("host.2")
    batch = ReadStreamBatch(StreamBatch(10, 12, [], False), [(11, refused), (12, word)], {}, False)
    worker.order.take(batch)
    worker.order.take(batch)
    assert worker.handled == [refused, word, word]


def test_a_worker_takes_what_is_behind_its_place_from_whomever() -> None:
    """Two siblings pass on the same part, at their own paces."""
    worker = Worker(met=False)
    order = worker.order
    order.receive(StreamMarks(0, 10))
    for place in (11, 12, 11, 12, 13, 13):
        order.receive(event(place, place=place))
    assert worker.events == [11, 12, 13]
    order.receive(StreamMarks(10, 12, count=2))
    order.receive(StreamMarks(10, 12, count=2))
    order.receive(StreamMarks(12, 13, count=1))
    assert worker.marks[1:] == [StreamMarks(10, 12, count=2), StreamMarks(12, 13, count=1)]
    assert order.place == 13


def test_what_siblings_say_themselves_has_no_place() -> None:
    worker = Worker()
    own = [event(1), event(1), Command(CommandKind.CLOSE_ROOM, "/", room="r")]
    for message in own:
        worker.order.receive(message)
    assert worker.heard == own


@pytest.mark.parametrize(
    ("marks", "places"),
    [
        pytest.param(StreamMarks(10, 13, count=3), (11, 13), id="one was dropped on a full pipe"),
        pytest.param(StreamMarks(12, 13, count=1), (13,), id="a part was never told"),
        pytest.param(StreamMarks(10, 13, count=1, hole=True), (13,), id="whoever reads knows of a hole"),
    ],
)
def test_what_did_not_come_is_a_hole(marks: StreamMarks, places: tuple[int, ...]) -> None:
    worker = Worker(met=False)
    worker.order.receive(StreamMarks(0, 10))
    for place in places:
        worker.order.receive(event(place, place=place))
    worker.order.receive(marks)
    assert worker.marks[-1].hole
    assert worker.order.place == 13
    worker.order.receive(StreamMarks(13, 14))
    assert not worker.marks[-1].hole


def test_a_hole_that_is_told_late_is_one_all_the_same() -> None:
    worker = Worker(met=False)
    worker.order.receive(StreamMarks(0, 20))
    worker.order.receive(StreamMarks(10, 15, hole=True))
    assert worker.marks[-1] == StreamMarks(10, 15, hole=True)
    assert worker.order.place == 20


def test_who_begins_to_read_goes_back_to_the_last_of_its_siblings() -> None:
    worker = Worker(met=False)
    worker.take(0, end=10)
    found: list[int] = []
    worker.order.find_begin(found.append)
    assert worker.siblings.answer(12, 7, 0, "x", None, True) is QuestionKind.PLACE
    assert found == [7]
    worker.order.find_begin(found.append)
    worker.siblings.answer(silent_count=2)
    assert found == [7, 10]


def test_where_nobody_has_heard_anything_it_begins_anywhere() -> None:
    worker = Worker(met=False)
    found: list[int] = []
    worker.order.find_begin(found.append)
    worker.siblings.answer(0)
    assert found == [0]


def test_a_place_is_told_to_who_asks() -> None:
    worker = Worker(met=False)
    worker.order.tell()
    assert worker.siblings.told == [], "there is none"
    worker.take(0, end=10)
    worker.order.tell()
    assert worker.siblings.told[-1] == StreamMarks(10, 10)
    replies: list[Any] = []
    worker.order.answer(Question(QuestionKind.PLACE, "/"), replies.append)
    assert replies == [10]
    question = Question(QuestionKind.MEMBERS, "/")
    worker.order.answer(question, replies.append)
    assert worker.questions == [question]


def test_who_is_asked_for_all_it_has_said_answers_once_the_stream_has_it() -> None:
    worker = Worker(met=False)
    replies: list[Any] = []
    worker.order.last = "mine-7"
    worker.order.answer(Question(QuestionKind.FLUSHED, "/"), replies.append)
    worker.order.last = "mine-8"
    assert replies == []
    worker.flushes[0](30)
    assert replies == [[30, "mine-7"]]
    worker.order.answer(Question(QuestionKind.FLUSHED, "/"), replies.append)
    worker.flushes[1](None)
    assert replies[-1] is None


def test_what_a_newcomer_is_told_moves_nobody_else() -> None:
    """What stands before it is on its way by the pipe of whoever passes it on."""
    worker = Worker()
    worker.order.receive(StreamMarks(5, 10))
    worker.order.receive(StreamMarks(20, 20))
    assert worker.order.place == 10
    late = Envelope("/", None, (), Prepared(["x"]), "a-1", place=15)
    worker.order.receive(late)
    assert late in worker.heard


def begun(worker: Worker) -> list[StreamBegun]:
    return [each for each in worker.heard if isinstance(each, StreamBegun)]


def test_it_has_begun_once_all_siblings_have_flushed() -> None:
    worker = Worker(met=False)
    worker.take(0, end=10)
    assert worker.siblings.requests == [], "it does not know them yet"
    worker.met = True
    worker.order.look()
    worker.order.look()
    assert worker.siblings.answer([12, "a-1"], [11, ""], [3], ["x", 1], None) is QuestionKind.FLUSHED
    assert begun(worker) == [], "one's place may cover what another has said since"
    assert worker.siblings.answer(None, None) is QuestionKind.SETTLED
    assert begun(worker) == [StreamBegun(12, ["a-1"])]
    worker.order.look()
    worker.take(10, 11)
    assert worker.siblings.requests == [], "asked once"


@pytest.mark.parametrize("flushed", [False, True], ids=["before they flush", "before they settle"])
def test_siblings_that_are_silent_are_asked_again(flushed: bool) -> None:
    worker = Worker()
    worker.take(0, end=10)
    if flushed:
        worker.siblings.answer([12, "a-1"])
    worker.siblings.answer([12, "a-1"], silent_count=1)
    assert begun(worker) == []
    (timer,) = worker.timers
    assert timer.when == ASK_AGAIN_SECONDS
    assert timer.function is not None
    timer.function()
    worker.siblings.answer([13, "a-2"], [14, "b-1"])
    worker.siblings.answer(None, None)
    assert begun(worker) == [StreamBegun(14, ["a-2", "b-1"])]


def test_who_is_alone_begins_at_its_own_place() -> None:
    worker = Worker()
    worker.take(0, end=10)
    worker.siblings.answer()
    worker.siblings.answer()
    assert begun(worker) == [StreamBegun(10, [])]
