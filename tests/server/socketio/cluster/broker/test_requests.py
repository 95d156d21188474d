"""Questions to other machines and answers of this one (requests.py), as they stand on a broker's channels.

It must not know Redis: what is published is kept, and read by the machine that it is for.
"""

import json
from typing import Any

import pytest

from python_server.socketio.cluster.broker import requests as broker_requests
from python_server.socketio.cluster.broker.messages import (
    AnsweredQuestion,
    AskedAlone,
    Asking,
    ChannelReader,
    Channels,
)
from python_server.socketio.cluster.broker.requests import UNKNOWN_COUNT, BrokerRequests, both
from python_server.socketio.cluster.port import (
    Envelope,
    Malformed,
    NoBackplane,
    PeerRequest,
    Question,
    QuestionKind,
)
from python_server.socketio.cluster.receiver import ClusterReceiver
from python_server.socketio.cluster.requests import AcksQuestion, plain
from python_server.socketio.packet import TextCodec
from told_time import Clock


class Machine(Clock):
    """A worker that leads its machine: its requests, and what it published: (channel, payload, done)."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host
        self.channels = Channels("channel", f"{host}.0", False)
        self.published: list[tuple[bytes, bytes, Any]] = []
        self.requests = BrokerRequests(f"{host}.0", self._publish, self.channels, self.call_later, self._post)
        self.reader = ChannelReader(self.channels, f"{host}.", TextCodec, lambda: None, lambda: None)
        self.parts: list[Any] = []
        self.ended: list[int] = []

    def _publish(self, channel: bytes, payload: bytes, done: Any = None) -> None:
        self.published.append((channel, payload, done))

    @staticmethod
    def _post(function: Any, *args: Any, nbytes: int = 0) -> None:
        function(*args)

    def ask(self, kind: QuestionKind = QuestionKind.MEMBERS, data: Any = None) -> None:
        question = Question(kind, "/n", data)
        self.requests.ask(PeerRequest(question, self.parts.append, self.ended.append, 5.0))

    def reached(self, *counts: int | None) -> None:
        """How many subscribers the broker has told for what was published last, in order."""
        for (*_, done), count in zip(self.published[-len(counts) :], counts, strict=True):
            done(count)

    def hear(self, *answers: AnsweredQuestion) -> None:
        for answer in answers:
            self.requests.hear(answer)


@pytest.fixture
def machine() -> Machine:
    return Machine("here")


def test_a_question_ends_when_every_machine_has_answered(machine: Machine) -> None:
    machine.ask()
    ((channel, payload, _),) = machine.published
    assert channel == b"channel#wsframe"
    assert json.loads(payload) == {
        "id": 1,
        "sender": "here.0",
        "kind": "members",
        "namespace": "/n",
        "data": None,
        "timeout_seconds": 5.0,
    }
    machine.hear(AnsweredQuestion(1, ["a"]), AnsweredQuestion(1, last=True, silent_count=2))
    assert (machine.parts, machine.ended) == ([["a"]], []), "how many there are is not known yet"
    machine.reached(2)
    assert machine.ended == []
    machine.hear(AnsweredQuestion(1, last=True, silent_count=-7))
    assert machine.ended == [2]
    machine.hear(AnsweredQuestion(1, ["late"], last=True), AnsweredQuestion(9), AnsweredQuestion())
    machine.advance(5.0)
    machine.reached(2)
    assert (machine.parts, machine.ended) == ([["a"]], [2])


def test_those_who_do_not_answer_are_counted(machine: Machine) -> None:
    machine.ask()
    machine.reached(3)
    machine.hear(AnsweredQuestion(1, last=True))
    machine.advance(5.0)
    assert machine.ended == [2]
    machine.ask()
    machine.advance(5.0)
    assert machine.ended == [2, 1], "the broker itself has said nothing"
    machine.ask()
    machine.reached(None)
    assert machine.ended == [2, 1, 1], "it was never published"


def test_at_the_end_nobody_is_waited_for(machine: Machine) -> None:
    machine.ask()
    machine.ask()
    machine.requests.close()
    assert machine.ended == [1, 1]
    assert not any(timer.function for timer in machine.timers)


def test_the_oldest_question_is_given_up(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_requests, "ASKED_MAX_COUNT", 2)
    for _ in range(3):
        machine.ask()
    assert machine.ended == [1]
    machine.hear(AnsweredQuestion(1, ["first"]), AnsweredQuestion(3, ["third"]))
    assert machine.parts == [["third"]]


# ---- acks, for which servers of python-socketio are asked too

ACKS = plain(AcksQuestion(["red"], ["x"], ['["q",1]'], 5.0))


def test_servers_of_other_makers_are_asked_for_the_acks_of_one_room(machine: Machine) -> None:
    machine.ask(QuestionKind.ACKS, ACKS)
    (_, (channel, payload, _)) = machine.published
    assert channel == b"channel"
    said = json.loads(payload)
    assert (said["method"], said["event"], said["data"], said["room"]) == ("emit", "q", [1], "red")
    assert (said["callback"], said["host_id"], said["asked"]) == (["red", "/n", 1], "here.0", True)
    machine.reached(1, 2)  # one of our kind, and one more that hears the shared channel
    machine.hear(AnsweredQuestion(1, last=True))
    assert machine.ended == [], "the other may still have the client"
    machine.hear(AnsweredQuestion(1, values=['["yes"]']))
    assert [part["type"] for part in machine.parts] == ["asked", "heard"]
    assert machine.ended == [0]


def test_no_server_of_another_maker_is_waited_for_where_there_is_none(machine: Machine) -> None:
    machine.ask(QuestionKind.ACKS, ACKS)
    machine.hear(AnsweredQuestion(1, last=True))
    machine.reached(1, 1)
    assert machine.ended == [0]


def test_nor_when_the_clients_were_found(machine: Machine) -> None:
    machine.ask(QuestionKind.ACKS, ACKS)
    machine.reached(1, 7)
    asked = {"type": "asked", "asked_count": 1, "unready": False}
    machine.hear(AnsweredQuestion(1, asked), AnsweredQuestion(1, last=True))
    assert machine.ended == [0]


@pytest.mark.parametrize("rooms", [None, [], ["red", "blue"]])
def test_they_cannot_answer_for_several_rooms(machine: Machine, rooms: Any) -> None:
    machine.ask(QuestionKind.ACKS, plain(AcksQuestion(rooms, [], ['["q"]'])))
    assert [channel for channel, *_ in machine.published] == [b"channel#wsframe"]


def test_an_answer_of_another_shape_is_the_askers_to_refuse(machine: Machine) -> None:
    def refuse(part: Any) -> None:
        raise Malformed("odd")

    question = Question(QuestionKind.MEMBERS, "/")
    machine.requests.ask(PeerRequest(question, refuse, machine.ended.append))
    machine.reached(2)
    with pytest.raises(Malformed):
        machine.hear(AnsweredQuestion(1, "odd"))
    with pytest.raises(Malformed):
        machine.hear(AnsweredQuestion(1, "odd", last=True))
    assert machine.ended == []
    machine.hear(AnsweredQuestion(1, last=True))
    assert machine.ended == [0]


# ---- answering


class Clients:
    """A receiver that answers in two parts."""

    def receive(self, message: Any) -> None:
        raise AssertionError(message)

    def answer(self, question: Question, reply: Any) -> None:
        reply([question.namespace], last=False)
        reply([question.data])


class Siblings(NoBackplane):
    """Other workers of the machine: one answers, three are silent."""

    def request(self, request: PeerRequest) -> None:
        request.heard(["sibling"])
        request.ended(3)


def test_a_question_and_its_answers_between_two_machines() -> None:
    here, there = Machine("here"), Machine("there")
    here.ask(data="data")
    here.reached(1)
    ((channel, payload, _),) = here.published
    (asking,) = there.reader.read([(channel, payload)], 0)
    there.requests.answer(asking, "there", Clients(), Siblings())  # type: ignore[arg-type]
    for channel, payload, _ in there.published:
        here.hear(*here.reader.read([(channel, payload)], 0))  # type: ignore[arg-type]
    assert (here.parts, here.ended) == ([["sibling"], ["/n"], ["data"]], [3])
    assert len(there.published) == 3  # the last part is the end


def test_one_worker_alone_is_asked_and_answers_for_itself() -> None:
    here, there = Machine("here"), Machine("there")
    question = Question(QuestionKind.SURRENDER, "/n", "data")
    request = PeerRequest(question, here.parts.append, here.ended.append, 5.0, "there.0")
    here.requests.ask(request)
    ((channel, payload, _),) = here.published
    assert channel == there.channels.inbox
    (came,) = there.reader.read([(channel, payload)], 0)
    assert isinstance(came, AskedAlone)
    there.requests.answer_alone(came.asking, Clients())  # type: ignore[arg-type]
    here.reached(1)
    for channel, payload, _ in there.published:
        here.hear(*here.reader.read([(channel, payload)], 0))  # type: ignore[arg-type]
    assert (here.parts, here.ended) == ([["/n"], ["data"]], [0])


def test_one_that_is_gone_has_no_answer(machine: Machine) -> None:
    question = Question(QuestionKind.ACKS, "/", plain(AcksQuestion(["red"], [], ['["q"]'])))
    request = PeerRequest(question, machine.parts.append, machine.ended.append, 5.0, "there.0")
    machine.requests.ask(request)
    assert [channel for channel, *_ in machine.published] == [b"channel#wsframe#there.0"]
    machine.reached(0)
    assert (machine.parts, machine.ended, machine.requests._asked) == ([], [0], {})


class SlowSiblings(NoBackplane):
    """Other workers of the machine, which answer when they are told to."""

    def request(self, request: PeerRequest) -> None:
        self.asked = request


def test_siblings_that_take_their_time_end_the_answer() -> None:
    here, there, siblings = Machine("here"), Machine("there"), SlowSiblings()
    here.ask(data="data")
    here.reached(1)
    ((channel, payload, _),) = here.published
    (asking,) = there.reader.read([(channel, payload)], 0)
    there.requests.answer(asking, "there", Clients(), siblings)  # type: ignore[arg-type]
    siblings.asked.heard(None)  # nothing, which is not said
    siblings.asked.ended(1)
    for channel, payload, _ in there.published:
        here.hear(*here.reader.read([(channel, payload)], 0))  # type: ignore[arg-type]
    assert (here.parts, here.ended, len(there.published)) == ([["/n"], ["data"]], [1], 3)


@pytest.mark.parametrize(("host", "leads"), [("there", False), ("here", True)])
def test_who_does_not_lead_or_has_asked_itself_has_nothing_to_say(host: str, leads: bool) -> None:
    """It is counted among those who heard the question, so it answers all the same."""
    here, there = Machine("here"), Machine(host)
    here.ask()
    here.reached(1)
    ((channel, payload, _),) = here.published
    (asking,) = there.reader.read([(channel, payload)], 0)
    there.requests.answer(asking, host, Clients() if leads else None, Siblings())  # type: ignore[arg-type]
    for channel, payload, _ in there.published:
        here.hear(*here.reader.read([(channel, payload)], 0))  # type: ignore[arg-type]
    assert (here.parts, here.ended) == ([], [0])


def test_two_parties_end_together() -> None:
    ended: list[int] = []
    half_ended = both(ended.append)
    half_ended(1)
    assert ended == []
    half_ended(2)
    assert ended == [3]


def test_a_broker_that_does_not_tell_how_many_listen(machine: Machine) -> None:
    """One that counts who reads questions alone: other makers' servers are given the whole time to answer."""
    machine.ask(QuestionKind.ACKS, ACKS)
    machine.reached(1, UNKNOWN_COUNT)
    machine.hear(AnsweredQuestion(1, last=True))
    assert machine.ended == []
    machine.advance(5.0)
    assert machine.ended == [0]
    machine.ask()
    machine.reached(UNKNOWN_COUNT)
    machine.hear(AnsweredQuestion(2, ["a"], last=True))
    assert (machine.parts, machine.ended) == ([["a"]], [0])
    machine.advance(5.0)
    assert machine.ended == [0, 0], "nobody is known to be missing"


@pytest.mark.parametrize("alone", [False, True])
def test_a_question_that_only_a_later_release_knows_is_ended_and_refused(alone: bool) -> None:
    """Its asker does not wait for machines that cannot answer."""
    here, there = Machine("here"), Machine("there")
    here.ask()
    here.reached(1)
    number = next(iter(here.requests._asked))
    asking = Asking(number, here.requests.name, "weather", "/", None)
    answer: Any = there.requests.answer_alone if alone else there.requests.answer
    asked = (asking, Clients()) if alone else (asking, "there", Clients(), Siblings())
    with pytest.raises(Malformed, match="unknown kind: 'weather'"):
        answer(*asked)
    for channel, payload, _ in there.published:
        here.hear(*here.reader.read([(channel, payload)], 0))  # type: ignore[arg-type]
    assert (here.parts, here.ended) == ([], [1])


@pytest.mark.parametrize("alone", [False, True])
def test_a_question_with_data_that_nobody_here_understands_is_ended_and_refused(alone: bool) -> None:
    """As a later release may ask it."""
    here, there = Machine("here"), Machine("there")
    here.ask()
    here.reached(1)
    asking = Asking(next(iter(here.requests._asked)), here.requests.name, "rooms", "/", {"sid": "a"})
    nothing: Any = None
    clients = ClusterReceiver(
        {},
        hear=nothing,
        reached=nothing,
        disconnect=nothing,
        expire=nothing,
        ask=nothing,
        enter=nothing,
        update=nothing,
        presence=nothing,
    )
    answer: Any = there.requests.answer_alone if alone else there.requests.answer
    asked = (asking, clients) if alone else (asking, "there", clients, NoBackplane())
    with pytest.raises(Malformed):
        answer(*asked)
    for channel, payload, _ in there.published:
        here.hear(*here.reader.read([(channel, payload)], 0))  # type: ignore[arg-type]
    assert (here.parts, here.ended) == ([], [1])


def test_fields_of_a_later_release_are_passed_over() -> None:
    there = Machine("there")
    asking = {"id": 1, "sender": "here.0", "kind": "members", "namespace": "/", "data": "red", "weather": 1}
    answered = {"id": 1, "part": ["a"], "weather": [2]}
    emit = {"method": "emit", "event": "news", "data": [], "host_id": "here.0", "weather": {"a": 3}}
    channels = there.channels
    came = there.reader.read(
        [
            (channels.questions, json.dumps(asking).encode()),
            (channels.inbox, json.dumps(answered).encode()),
            (channels.shared, json.dumps(emit).encode()),
        ],
        0,
    )
    assert came[:2] == [Asking(1, "here.0", "members", "/", "red"), AnsweredQuestion(1, ["a"])]
    assert isinstance(came[2], Envelope)
