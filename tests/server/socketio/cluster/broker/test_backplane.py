"""A worker among many machines (backplane.py): what it publishes, asks, passes on, and says of its broker.

It must not know what a message or a hand-over is about. The links of most tests are told, not made.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from python_server.net.loop import Timer
from python_server.net.threads import ServerStopped
from python_server.socketio.cluster.broker import leader
from python_server.socketio.cluster.broker.backplane import (
    BrokerBackplane,
    BrokerServices,
    SiblingReceiver,
    join_broker,
)
from python_server.socketio.cluster.broker.connections import BrokerLinkState, Publisher, Subscriber
from python_server.socketio.cluster.broker.foreign_messages import write_command
from python_server.socketio.cluster.broker.leader import Place, Word
from python_server.socketio.cluster.pipe_backplane import PipeBackplane
from python_server.socketio.cluster.port import (
    BrokerOptions,
    Command,
    CommandKind,
    Envelope,
    Malformed,
    NoBackplane,
    PeerRequest,
    Question,
    QuestionKind,
    Receiver,
)
from python_server.socketio.msgpack_packet import MsgpackCodec
from python_server.socketio.packet import EVENT, Codec, TextCodec

pytest.importorskip("redis", reason='redis is not installed: pip install "wsframe[redis]"')


class Inner(NoBackplane):
    """The other workers of the machine: keeps what is told and asked; one of them is silent."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.asked: list[Question] = []

    def start(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def publish(self, message: Any) -> None:
        self.told.append(message)

    def request(self, request: PeerRequest) -> None:
        self.asked.append(request.question)
        request.ended(1)


class Told:
    """A backplane whose links tell what the test wants, and what it said of it."""

    def __init__(
        self,
        leads: bool = True,
        met: bool = True,
        succeeds: bool = False,
        codec: type[Codec] = TextCodec,
        per_room: bool = False,
    ) -> None:
        self.said: list[str] = []
        self.complaints: list[str] = []
        self.inner = Inner()
        self.leads, self.met = leads, met
        self.timers: list[Timer] = []
        place = Place("host", 1, lambda: self.met and self.leads, lambda: self.met, lambda: succeeds)
        services = BrokerServices(
            self._post,
            self._call_later,
            lambda kind, line: self.complaints.append(kind),
            self._fail,
            self.said.append,
            self.said.append,
            codec,
            lambda: None,
            lambda: None,
        )
        options = BrokerOptions("redis://127.0.0.1:1/0", "channel", per_room)
        self.backplane = BrokerBackplane(options, self.inner, place, services)
        self.stopped = False

    def _post(self, function: Callable[..., object], *args: object, nbytes: int = 0) -> None:
        if self.stopped:
            raise ServerStopped
        function(*args)

    def queued(self) -> list[tuple[bytes, bytes]]:
        """(channel, payload) of what waits for the broker since the last call."""
        posts = self.backplane._publisher._posts
        taken = [posts.popleft() for _ in range(len(posts))]
        return [(post.command[1], post.command[-1]) for post in taken]

    def _call_later(self, seconds: float, function: Callable[[], Any]) -> Timer:
        self.timers.append(Timer(seconds, function))
        return self.timers[-1]

    @staticmethod
    def _fail(what: str, error: BaseException) -> None:
        raise error

    def links(self, up: bool, *names: str) -> None:
        state = BrokerLinkState.UP if up else BrokerLinkState.LOST
        for name in names or ("publish", "subscribe"):
            self.backplane._changed(name, state, "" if up else "it went")


def test_the_leader_says_that_its_machine_has_joined() -> None:
    told = Told()
    told.links(True, "subscribe")
    assert told.said == []
    told.links(True, "publish")
    assert told.said == ["joined the broker redis://127.0.0.1:1/0, channel 'channel'"]


def test_the_word_waits_until_the_workers_have_met() -> None:
    """The links of a machine's first worker may be there before it knows that it is the first."""
    told = Told(met=False)
    told.links(True)
    told.backplane.look()
    assert told.said == []
    told.met = True
    told.backplane.look()
    told.backplane.look()
    assert told.said == ["joined the broker redis://127.0.0.1:1/0, channel 'channel'"]


def test_who_does_not_lead_says_nothing() -> None:
    told = Told(leads=False, met=False)
    told.links(True)
    told.met = True
    told.backplane.look()
    told.links(False)
    told.links(True)
    told.leads = True
    told.backplane.look()
    assert told.said == []


def test_lost_and_there_again_are_said_once_each() -> None:
    told = Told()
    told.links(True)
    told.links(False)
    told.links(True)
    assert [line.split(":")[0] for line in told.said[1:]] == ["the broker redis"] * 2
    assert "is lost: it went; this machine serves on alone" in told.said[1]
    assert "is there again; 0 messages have been dropped" in told.said[2]


def test_a_leader_that_drains_is_busy_until_another_passes_on() -> None:
    """A worker that ended before would take with it what comes until its successor hears the channel."""
    told = Told()
    told.links(True)
    leading = told.backplane._leadership
    leading.look()
    leading.subscribed()
    assert not told.backplane.leaving
    leading.heard(Word.LEAD, "host.1")
    assert not told.backplane.leaving
    told.leads = False
    told.backplane.look()
    assert told.backplane.leaving
    leading.heard(Word.LEAD, "host.2")
    assert not told.backplane.leaving


@pytest.mark.parametrize("heard", [False, True], ids=["its word is on its way", "it leads"])
@pytest.mark.parametrize("lost_first", [False, True])
def test_a_worker_that_drains_waits_for_nobody_while_the_broker_is_away(
    heard: bool, lost_first: bool
) -> None:
    """It would stay for the whole of its graceful time: no word can come."""
    told = Told()
    told.links(True)
    leading = told.backplane._leadership
    leading.look()
    leading.subscribed()
    if heard:
        leading.heard(Word.LEAD, "host.1")
    if lost_first:
        told.links(False)
    told.leads = False
    told.backplane.look()
    if not lost_first:
        assert told.backplane.leaving
        told.links(False)
    assert not told.backplane.leaving


class Ear:
    """The Receiver port: keeps what it is told, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def receive(self, message: Any) -> None:
        self.heard.append(str(message.prepared.packets[0]) if isinstance(message, Envelope) else message.kind)

    def answer(self, question: Question, reply: Any) -> None:
        self.heard.append(question.kind)
        reply(None)


def said(number: int) -> tuple[bytes, bytes]:
    """An emit that another machine has published."""
    return b"channel", b'{"method":"emit","event":"said","data":[%d],"host_id":"other.1"}' % number


def word(method: Word, name: str, successor: str | None = None) -> tuple[bytes, bytes]:
    return b"channel", write_command(method, name, "/", detail=successor)


CLOSE_ROOM = (b"channel", b'{"method":"close_room","room":"r","namespace":"/","host_id":"other.1"}')


@pytest.mark.parametrize("ending", ["left", "time", "lost"])
def test_what_stands_behind_its_word_waits_for_the_predecessor(ending: str) -> None:
    """Else it could overtake what the predecessor still passes on (the whole machine: test_leader.py)."""
    told = Told(succeeds=True)
    ear = told.backplane._handler.receiver = Ear()
    told.backplane._leadership.look()
    told.backplane._heard([(b"channel", None), said(0), word(Word.LEAD, "host.1"), said(1), CLOSE_ROOM], 0)
    told.backplane._heard([word(Word.LEFT, "host.0", "host.3"), word(Word.LEFT, "elsewhere.1", "host.1")], 0)
    assert ear.heard == []
    (timer,) = told.timers
    if ending == "left":
        told.backplane._heard([said(2), word(Word.LEFT, "host.0", "host.1"), said(3)], 0)
        assert timer.function is None
    else:
        told.backplane._heard([said(2)], 0)
        if ending == "lost":  # nobody goes on for that
            told.links(False, "subscribe")
            assert ear.heard == []
        assert timer.function is not None
        timer.function()
        told.backplane._heard([said(3)], 0)
    assert ear.heard == ['42["said",1]', "close_room", '42["said",2]', '42["said",3]']


def test_a_successor_that_must_keep_too_much_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "HELD_MAX_COUNT", 10)
    told = Told(succeeds=True)
    ear = told.backplane._handler.receiver = Ear()
    told.backplane._leadership.look()
    told.backplane._heard([(b"channel", None), word(Word.LEAD, "host.1")], 0)
    told.backplane._heard([said(number) for number in range(10)], 0)
    assert ear.heard == []
    told.backplane._heard([said(10)], 0)
    assert ear.heard == [f'42["said",{number}]' for number in range(11)]


# ---- what it publishes and asks


def test_what_is_published_goes_to_this_machine_and_to_the_broker() -> None:
    told = Told()
    prepared = TextCodec().prepare(EVENT, "/", ("e", 1))
    messages = [
        Envelope("/", None, (), prepared),
        Envelope("/", (), (), prepared),  # for nobody
        Command(CommandKind.ENTER, "/n", "sid", "red"),
        Command(CommandKind.DISCONNECT, "/", "sid", detail="why"),
        Command(CommandKind.EXPIRE, "/", "sid", at=1_700_000_000.5),
        Command(CommandKind.EXPIRE, "/", "sid"),
    ]
    for message in messages:
        told.backplane.publish(message)
    assert told.inner.told == messages
    queued = told.queued()
    assert {channel for channel, _ in queued} == {b"channel"}
    emit, enter, disconnect, expire, never = [json.loads(payload) for _, payload in queued]
    assert (emit["method"], emit["event"], emit["data"], emit["host_id"]) == ("emit", "e", [1], "host.1")
    assert enter == {
        "method": "enter_room",
        "sid": "sid",
        "room": "red",
        "namespace": "/n",
        "host_id": "host.1",
    }
    assert (disconnect["method"], disconnect["detail"], "room" in disconnect) == ("disconnect", "why", False)
    assert (expire["method"], expire["sid"], expire["at"]) == ("expire", "sid", 1_700_000_000.5)
    assert "at" not in never


def test_what_json_has_no_words_for_stays_on_this_machine() -> None:
    told = Told(codec=MsgpackCodec)
    envelope = Envelope("/", None, (), MsgpackCodec().prepare(EVENT, "/", ("e", {b"x": 1})))
    told.backplane.publish(envelope)
    assert (told.inner.told, told.queued(), told.complaints) == ([envelope], [], ["unwritable message"])


@pytest.mark.parametrize(
    ("kind", "up", "silent_counts", "channels"),
    [
        (QuestionKind.FETCH, True, [1], []),
        (QuestionKind.MEMBERS, False, [2], []),
        (QuestionKind.MEMBERS, True, [], [b"channel#wsframe"]),
    ],
    ids=["only this machine can answer", "the broker is away", "all are asked"],
)
def test_who_is_asked(kind: QuestionKind, up: bool, silent_counts: list[int], channels: list[bytes]) -> None:
    told = Told()
    told.links(up)
    ended: list[int] = []
    question = Question(kind, "/")
    told.backplane.request(PeerRequest(question, lambda part: None, ended.append))
    assert told.inner.asked == [question]
    assert (ended, [channel for channel, _ in told.queued()]) == (silent_counts, channels)
    told.backplane.close()
    assert ended == (silent_counts or [2])


@pytest.mark.parametrize(
    ("up", "silent_counts", "channels"), [(False, [1], []), (True, [], [b"channel#wsframe#there.0"])]
)
def test_one_process_alone_is_asked(up: bool, silent_counts: list[int], channels: list[bytes]) -> None:
    told = Told()
    told.links(up)
    ended: list[int] = []
    question = Question(QuestionKind.SURRENDER, "/")
    told.backplane.request(PeerRequest(question, lambda part: None, ended.append, to="there.0"))
    assert told.inner.asked == []
    assert (ended, [channel for channel, _ in told.queued()]) == (silent_counts, channels)
    told.backplane.close()
    assert ended == [1]


def test_rooms_that_are_held_are_listened_to_where_each_has_a_channel() -> None:
    assert Told().backplane.room_held is None
    told = Told(per_room=True)
    held = told.backplane.room_held
    assert held is not None
    held("/n", "red", True)
    assert b"channel#/n#red" in told.backplane._subscriber._wanted
    assert told.queued() == [(b"channel#wsframe#host.1", b"{}")], "the subscriber is woken"
    held("/n", "red", False)
    assert b"channel#/n#red" not in told.backplane._subscriber._wanted
    envelope = Envelope("/n", ("red",), (), TextCodec().prepare(EVENT, "/n", ("e",)))
    told.queued()
    told.backplane.publish(envelope)
    assert [channel for channel, _ in told.queued()] == [b"channel#/n#red"]


def test_its_figures() -> None:
    told = Told()
    ear = told.backplane._handler.receiver = Ear()
    told.links(True)
    told.backplane._leadership.look()
    told.backplane._heard([(b"channel", None), word(Word.LEAD, "host.1"), said(1), (b"channel", b"{")], 0)
    assert ear.heard == ['42["said",1]']
    told.queued()
    told.backplane.publish(Command(CommandKind.CLOSE_ROOM, "/", room="red"))
    told.backplane._dropped(3)
    figures = told.backplane.figures()
    assert figures.pop("broker_queued_bytes") > 0
    assert figures == {
        "broker_connected": 1,
        "broker_queued_messages": 1,
        "broker_published_messages": 0,
        "broker_received_messages": 1,
        "broker_dropped_messages": 3,
        "broker_refused_messages": 1,
    }
    assert told.complaints == ["malformed message", "broker messages dropped"]


def test_a_word_that_was_dropped_is_said_again() -> None:
    told = Told()
    told.backplane._leadership.look()
    told.backplane._heard([(b"channel", None)], 0)
    (post,) = [post for post in told.backplane._publisher._posts._posts if post.command[1] == b"channel"]
    told.queued()
    assert post.done is not None
    post.done(4)
    assert told.queued() == []
    post.done(None)
    assert told.queued() == [(b"channel", post.command[-1])]


def test_a_leader_that_drains_leaves_when_its_siblings_have_what_it_passed_on() -> None:
    told = Told()
    told.backplane._handler.receiver = Ear()
    told.links(True)
    told.backplane._leadership.look()
    told.backplane._heard([(b"channel", None), word(Word.LEAD, "host.1")], 0)
    told.leads = False
    told.backplane.look()
    told.queued()
    told.backplane._heard([word(Word.LEAD, "host.2")], 0)
    before = Question(QuestionKind.RELIEVED, "/", ["host.1", []])
    assert told.inner.asked == [before, Question(QuestionKind.SETTLED, "/")]
    left = json.loads(told.queued()[0][1])
    assert (left["method"], left["detail"]) == ("wsframe_left", "host.2")
    assert b"channel" not in told.backplane._subscriber._wanted


def test_who_leads_answers_a_sibling_once_it_leads_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """All else that siblings ask is for the clients."""
    for link in (Publisher, Subscriber):
        monkeypatch.setattr(link, "start", lambda link: None)
    told, ear, answered = Told(), Ear(), list[str]()
    told.backplane.start(ear)
    told.links(True)
    told.backplane._heard([(b"channel", None), word(Word.LEAD, "host.1")], 0)

    def ask(kind: QuestionKind, *data: Any) -> None:
        told.inner.receiver.answer(
            Question(kind, "/", list(data)), lambda part, last=True: answered.append(data[0])
        )

    ask(QuestionKind.RELIEVED, "host.2", [])
    ask(QuestionKind.RELIEVED, "host.3", ["host.1"])
    ask(QuestionKind.SETTLED, "host.4")
    assert (answered, ear.heard) == (["host.3", "host.4"], ["settled"])
    with pytest.raises(Malformed):
        ask(QuestionKind.RELIEVED, 2)
    told.leads = False
    told.backplane.look()
    told.backplane._heard([word(Word.LEAD, "host.2")], 0)
    assert answered == ["host.3", "host.4", "host.2"]


def test_what_its_threads_say_after_the_end_is_heard_by_nobody() -> None:
    told = Told()
    told.stopped = True
    told.backplane._heard([said(1)], 0)
    told.backplane._publisher._dropped(1)
    assert told.complaints == []


# ---- with a broker


def test_what_is_said_last_still_leaves(machines: Any) -> None:
    cluster = machines(2)
    peers = [world.peer() for world in cluster.worlds]
    cluster.settle()
    cluster.worlds[0].hub.emit("last", ())
    cluster.worlds[0].services.backplane.close()
    cluster.settle()
    assert [peer.heard() for peer in peers] == [['2["last"]']] * 2
    assert cluster.unexpected == []


@pytest.mark.parametrize("workers", [0, 2], ids=["a worker alone", "two workers"])
def test_the_first_worker_of_a_machine_hears_the_channel(
    redis_server: Any, make_pipes: Any, workers: int
) -> None:
    services = Told().backplane._services
    options = BrokerOptions(redis_server.url, f"joined-{workers}")
    siblings = make_pipes(workers).siblings if workers else [None]
    made = [join_broker(options, NoBackplane(), "host", each, services) for each in siblings]
    assert [backplane._place.name for backplane in made] == [f"host.{index}" for index in range(len(made))]
    assert [backplane._place.leads() for backplane in made] == [True, False][: len(made)]
    assert all(backplane._place.settled() for backplane in made)


def test_the_last_of_workers_that_all_drain_waits_for_nobody_who_leads_after_it(make_pipes: Any) -> None:
    """As when a service manager tells each of them to stop; until then its successor's word is waited for."""
    services = Told().backplane._services
    pipes = make_pipes(2)
    first, second = pipes.siblings
    backplane = join_broker(
        BrokerOptions("redis://127.0.0.1:1/0", "channel"), NoBackplane(), "host", first, services
    )
    backplane._handler.receiver = Ear()
    for link in ("publish", "subscribe"):
        backplane._changed(link, BrokerLinkState.UP, "")
    backplane.look()
    backplane._heard([(b"channel", None), word(Word.LEAD, "host.0")], 0)
    assert not backplane.leaving
    first.announce_draining(1)
    assert backplane.leaving
    second.announce_draining(0)
    pipes.pump()
    assert not backplane.leaving


def test_a_successor_waits_longer_than_its_predecessor_may(make_pipes: Any) -> None:
    """Which is behind, and has its own siblings to wait for: their events would come in another order."""
    told, pipes = Told(), make_pipes(2)
    services = told.backplane._services
    inner, other = (
        PipeBackplane(each, "/socket.io/", services.call_later, pipes.complain) for each in pipes.siblings
    )
    backplane = join_broker(
        BrokerOptions("redis://127.0.0.1:1/0", "channel"), inner, "host", pipes.siblings[0], services
    )
    asked: list[str] = []
    other.start(SiblingReceiver(Ear().receive, Ear().answer, lambda asker, *more: asked.append(asker)))
    backplane.look()
    backplane._heard([(b"channel", None), word(Word.LEAD, "host.0")], 0)
    pipes.pump()
    assert asked == ["host.0"]
    for timer in told.timers:
        if timer.when <= leader.HAND_OVER_SECONDS and timer.function is not None:
            timer.function()
    assert backplane._leadership.state is leader.Lead.WAITING
    for timer in told.timers:
        if timer.function is not None:
            timer.function()
    assert backplane._leadership.state is leader.Lead.LEADING
