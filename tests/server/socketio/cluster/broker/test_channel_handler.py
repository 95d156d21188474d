"""What a worker does with each kind of thing from the broker (channel_handler.py), as leader and as another.

It must not know Redis: values are handed in, what is said is kept.
"""

from typing import Any

import pytest
from msgspec import Raw

from python_server.net.loop import Timer
from python_server.socketio.cluster.broker.channel_handler import ChannelHandler
from python_server.socketio.cluster.broker.foreign_messages import WireError, WireMessage, read
from python_server.socketio.cluster.broker.leader import Lead, Leadership, Place, Word
from python_server.socketio.cluster.broker.messages import (
    AnsweredQuestion,
    AskedAlone,
    Asking,
    Channels,
    ForeignAck,
    LeadSaid,
    LeftSaid,
    RoomEnvelope,
    Subscribed,
)
from python_server.socketio.cluster.broker.requests import BrokerRequests
from python_server.socketio.cluster.port import (
    Command,
    CommandKind,
    Envelope,
    Malformed,
    NoBackplane,
    Question,
    QuestionKind,
)
from python_server.socketio.packet import PacketType, TextCodec


class Worker:
    """A handler whose receiver, inner backplane and broker keep what they are told."""

    def __init__(self, state: Lead) -> None:
        self.heard: list[Any] = []
        self.inner: list[Any] = []
        self.published: list[bytes] = []
        self.complaints: list[str] = []
        place, channels = Place("host", 1, lambda: True), Channels("channel", "host.1", True)

        def nothing(*given: Any) -> None:
            raise AssertionError(given)

        self.payloads: list[bytes] = []
        self.asked: list[tuple[Question, Any]] = []
        self.reported: list[str] = []
        self.words: list[Word] = []
        self.fault: Exception | None = None

        def publish(channel: bytes, payload: bytes, done: Any = None) -> None:
            self.published.append(channel)
            self.payloads.append(payload)

        say = lambda word, successor: self.words.append(word)  # noqa: E731
        self.questions: list[list[str]] = []
        ask = lambda behind, relieved: self.questions.append(behind)  # noqa: E731
        leadership: Leadership[Any] = Leadership(
            place, nothing, say, nothing, ask, lambda held: self.handler.take(held), Timer
        )
        leadership.state = state
        inner = NoBackplane()
        inner.publish = self.inner.append  # type: ignore[method-assign]
        requests = BrokerRequests("host.1", publish, channels, nothing, nothing)
        self.handler = ChannelHandler(
            place,
            leadership,
            requests,
            channels,
            publish,
            inner,
            lambda kind, line: self.complaints.append(kind),
            lambda what, error: self.reported.append(what),
        )
        self.handler.receiver = self  # type: ignore[assignment]

    def receive(self, message: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.heard.append(message)

    def answer(self, question: Question, reply: Any) -> None:
        self.asked.append((question, reply))


ENVELOPE = Envelope("/", ("r",), (), TextCodec().prepare(PacketType.EVENT, "/", ("e",)))
COMMAND = Command(CommandKind.CLOSE_ROOM, "/", room="r")
ACK = ForeignAck("host.2", AnsweredQuestion(3, values=["[1]"]))


@pytest.mark.parametrize("state", [Lead.LEADING, Lead.IDLE])
def test_only_the_leader_passes_on_what_machines_share(state: Lead) -> None:
    worker = Worker(state)
    worker.handler.take([ENVELOPE, COMMAND, RoomEnvelope(ENVELOPE), ACK])
    leads = state is Lead.LEADING
    assert worker.heard == ([ENVELOPE, COMMAND] if leads else []) + [ENVELOPE]
    assert worker.inner == ([ENVELOPE, COMMAND] if leads else [])
    assert worker.published == ([b"channel#wsframe#host.2"] if leads else [])
    assert worker.handler.received_count == len(worker.inner)


def test_what_is_refused_is_counted_and_stops_nothing() -> None:
    worker = Worker(Lead.LEADING)
    worker.handler.take([WireError("foreign message", "odd"), ENVELOPE])
    assert (worker.complaints, worker.handler.refused_count, worker.heard) == (
        ["foreign message"],
        1,
        [ENVELOPE],
    )


QUESTION = WireMessage("emit", "them", event="q", data=Raw(b"[1]"), room="r", callback=["r", "/", 3])


@pytest.mark.parametrize("state", [Lead.LEADING, Lead.IDLE])
def test_a_server_of_another_maker_gets_each_ack_as_it_comes(state: Lead) -> None:
    worker = Worker(state)
    worker.handler.take([QUESTION])
    if state is Lead.IDLE:
        assert (worker.asked, worker.published) == ([], [])
        return
    ((question, reply),) = worker.asked
    assert question.kind is QuestionKind.ACKS
    assert (question.data["rooms"], question.data["event"]) == (["r"], ['["q",1]'])
    reply({"type": "asked", "asked_count": 3, "unready": False}, last=False)
    reply({"type": "heard", "values": ['["yes"]']}, last=False)
    reply({"type": "heard", "values": None}, last=False)  # it will not come, and has no shape there
    assert worker.complaints == []
    reply({"type": "heard", "values": ['[{"_placeholder":true,"num":0}]', "AA=="]})
    assert worker.published == [b"channel"]
    callback = read(worker.payloads[0])
    assert (callback.method, callback.host_id, callback.sid, callback.id) == ("callback", "them", "r", 3)
    assert worker.complaints == ["binary ack"]


def test_a_question_of_another_machine_is_answered_by_the_leader() -> None:
    worker = Worker(Lead.LEADING)
    worker.handler.take([Asking(4, "other.1", QuestionKind.MEMBERS, "/", "red")])
    ((question, reply),) = worker.asked
    assert question == Question(QuestionKind.MEMBERS, "/", "red")
    reply(["sid"])
    assert worker.published == [b"channel#wsframe#other.1"]  # the answer, which is its end


def test_who_is_asked_alone_answers_though_another_leads() -> None:
    worker = Worker(Lead.IDLE)
    worker.handler.take([AskedAlone(Asking(4, "other.1", QuestionKind.SURRENDER, "/", "pid"))])
    ((question, reply),) = worker.asked
    assert question == Question(QuestionKind.SURRENDER, "/", "pid")
    reply(True)
    assert worker.published == [b"channel#wsframe#other.1"]


def test_an_ack_that_this_worker_waits_for_stays_here() -> None:
    worker = Worker(Lead.LEADING)
    worker.handler.take([ForeignAck("host.1", AnsweredQuestion(3, values=["[1]"]))])
    assert worker.published == []


def test_what_its_own_clients_cannot_take_is_refused_and_a_fault_is_reported() -> None:
    worker = Worker(Lead.LEADING)
    worker.fault = Malformed("odd")
    worker.handler.take([ENVELOPE])
    assert worker.complaints == ["malformed message"]
    worker.fault = RuntimeError("broken")
    worker.handler.take([ENVELOPE])
    assert worker.reported == ["message from the broker"]
    assert worker.handler.refused_count == 1


def test_what_workers_of_this_machine_say_moves_the_lead() -> None:
    """The whole hand-over: test_leader.py."""
    worker = Worker(Lead.JOINING)
    worker.handler.take([Subscribed(), ENVELOPE])
    assert (worker.words, worker.heard) == ([Word.LEAD], [])
    worker.handler.take([LeadSaid("host.1"), ENVELOPE, ENVELOPE])
    assert (worker.handler.leadership.state, worker.heard) == (Lead.WAITING, [])
    worker.handler.take([LeftSaid("host.1")])
    assert worker.handler.leadership.state is Lead.LEADING
    assert worker.heard == [ENVELOPE, ENVELOPE]


def test_whose_word_is_kept_is_told_that_it_stands_behind() -> None:
    worker = Worker(Lead.SAID)
    worker.handler.take([LeadSaid("host.1"), LeadSaid("host.2"), LeadSaid("host.2"), LeadSaid("host.1")])
    assert worker.questions == [[], ["host.2"]]
