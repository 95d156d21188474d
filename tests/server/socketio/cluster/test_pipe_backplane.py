"""How workers of one machine reach each other, and what they do with slow, dead and odd siblings.

It must not know which rules of rooms and acks hold over any backplane: they stand in test_backplanes.py.
"""

import gc
from typing import Any

import pytest

from python_server.engineio.packet import Prepared
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster import pipe_backplane
from python_server.socketio.cluster.broker.backplane import SiblingReceiver
from python_server.socketio.cluster.broker.leader import HAND_OVER_SECONDS
from python_server.socketio.cluster.paced_sender import LOOK_SECONDS, QUEUED_MAX_BYTES
from python_server.socketio.cluster.pipe_backplane import PipeBackplane
from python_server.socketio.cluster.pipe_messages import encode_message
from python_server.socketio.cluster.port import (
    Envelope,
    LongAnswer,
    PeerRequest,
    Question,
    QuestionKind,
)
from python_server.socketio.recovery.log import RecoveryLog
from python_server.workers.peers import MessageKind

PREFIX = b"/socket.io/\0"


class Counted:
    """Counts what a worker hands to its links, and what is encoded for it."""

    def __init__(self, cluster: Any, index: int, monkeypatch: Any) -> None:
        self.writes: list[tuple[int, int]] = []  # (to, kind)
        self.encodings = 0
        siblings = cluster.joint.siblings[index]
        for other, link in siblings._links.items():
            self._watch(other, link, monkeypatch)
        codec = cluster.worlds[index].hub.codec
        prepare = codec.prepare
        monkeypatch.setattr(codec, "prepare", lambda *args: self._encoded(prepare(*args)), raising=False)
        monkeypatch.setattr(
            pipe_backplane, "encode_message", lambda message: self._encoded(encode_message(message))
        )

    def _watch(self, other: int, link: Any, monkeypatch: Any) -> None:
        send = link.send_encoded

        def counted(frame: Any) -> bool:
            self.writes.append((other, frame[0][0]))
            return bool(send(frame))

        monkeypatch.setattr(link, "send_encoded", counted)

    def _encoded(self, result: Any) -> Any:
        self.encodings += 1
        return result


@pytest.mark.parametrize("members_count", [1, 50])
def test_a_broadcast_costs_one_encoding_and_one_write_per_sibling(
    piped: Any, monkeypatch: Any, members_count: int
) -> None:
    """Whatever the size of the room."""
    cluster = piped(4)
    for world in cluster.worlds:
        for _ in range(members_count):
            sid = world.peer(None).join()
            world.hub.join("/", sid, "red")
    cluster.settle()
    counted = Counted(cluster, 1, monkeypatch)
    cluster.worlds[1].hub.emit("x", ({"some": "data"},), to=BroadcastOptions(rooms=("red",)))
    cluster.settle()
    assert counted.encodings == 2  # the packet, and the head in front of it for the siblings
    assert sorted(counted.writes) == [(index, MessageKind.ENVELOPE) for index in (0, 2, 3)]


def test_what_is_for_clients_of_this_process_alone_is_not_written(piped: Any, monkeypatch: Any) -> None:
    cluster = piped(3)
    peers = [cluster.worlds[0].peer(None) for _ in range(2)]
    sids = [peer.join() for peer in peers]
    cluster.settle()
    counted = Counted(cluster, 0, monkeypatch)
    hub = cluster.worlds[0].hub
    hub.emit("x", (), to=BroadcastOptions(rooms=(sids[0],)))
    hub.emit("x", (), to=BroadcastOptions(rooms=tuple(sids)))
    hub.emit("q", (), to=BroadcastOptions(rooms=(sids[0],)), callback=lambda socket, values: None)
    hub.join("/", sids[0], "red")
    hub.leave("/", sids[0], "red")
    hub.emit("x", (), to=BroadcastOptions(local=True))
    hub.rooms_of("/", sids[0])
    hub.disconnect("/", sids[1])
    cluster.settle()
    assert counted.writes == []
    hub.emit("x", (), to=BroadcastOptions(rooms=(sids[0], "red")))
    cluster.settle()
    assert len(counted.writes) == 2


def test_alone_among_workers_nothing_is_encoded(piped: Any, monkeypatch: Any) -> None:
    cluster = piped(1)
    counted = Counted(cluster, 0, monkeypatch)
    cluster.worlds[0].hub.emit("x", ())
    cluster.settle()
    assert counted.encodings == 1
    assert cluster.ask(lambda: cluster.worlds[0].hub.members_of("/", "red")) == []


def test_hubs_of_other_paths_hear_nothing(piped: Any, make_world: Any) -> None:
    cluster = piped(2)
    other = make_world(
        make_backplane=lambda world: PipeBackplane(
            cluster.joint.siblings[1], "/other/", world.call_later, cluster.joint.complain
        )
    )
    peers = [cluster.worlds[1].peer(), other.peer()]
    cluster.worlds[0].hub.emit("x", ())
    cluster.settle()
    other.run()
    assert [peer.heard() for peer in peers] == [['2["x"]'], []]


# ---- siblings that are slow, gone, silent


def stop(cluster: Any, index: int) -> None:
    """The worker reads nothing any more, as one that was stopped by SIGSTOP."""
    for link in cluster.joint.siblings[index]._links.values():
        cluster.joint.loop.remove_reader(link._descriptor)


def test_a_sibling_that_reads_nothing_blocks_nobody(piped: Any) -> None:
    cluster = piped(3, joint={"max_queued_bytes": 200_000})
    peers = [world.peer() for world in cluster.worlds]
    stop(cluster, 2)
    sender = cluster.joint.siblings[0]
    text = "x" * 10_000
    for number in range(300):
        cluster.worlds[0].hub.emit("x", (number, text))
        if number % 10 == 0:
            cluster.settle(1)
    cluster.settle()
    assert len(peers[0].heard()) == len(peers[1].heard()) == 300
    assert peers[2].heard() == []
    dropped_count = sender.dropped[MessageKind.ENVELOPE]
    assert dropped_count > 100
    assert sender.queued_bytes() < 200_000 + 2 * len(text)
    assert cluster.joint.complaints == {f"sibling queue {MessageKind.ENVELOPE.value}": dropped_count}
    assert cluster.unexpected == []


def test_a_sibling_that_read_nothing_goes_on_where_it_was(piped: Any) -> None:
    cluster = piped(2)
    peer = cluster.worlds[1].peer()
    stop(cluster, 1)
    for number in range(3):
        cluster.worlds[0].hub.emit("x", (number,))
    cluster.settle()
    assert peer.heard() == []
    for link in cluster.joint.siblings[1]._links.values():
        cluster.joint.loop.add_reader(link._descriptor, link._on_readable)
    cluster.settle()
    assert peer.heard() == [f'2["x",{number}]' for number in range(3)]


def test_a_silent_sibling_is_waited_for_once(piped: Any) -> None:
    """The first question waits for its time; the next ones do not, until the sibling is heard again."""
    cluster = piped(3)
    sids = [world.peer(None).join() for world in cluster.worlds]
    stop(cluster, 2)
    hub = cluster.worlds[0].hub
    backplane = cluster.worlds[0].services.backplane
    waited: list[set[int]] = []

    def late() -> None:
        for asked in list(backplane._asked.values()):
            if asked.waiting == {2}:
                waited.append(asked.waiting)
                cluster.worlds[0].advance(2.0)

    assert sorted(cluster.ask(lambda: hub.members_of("/", None), late)) == sorted(sids[:2])
    assert waited == [{2}]
    assert cluster.worlds[0].complaints == [
        "1 other processes did not answer within 2 s when asked for members: the answer lacks theirs"
    ]
    assert sorted(cluster.ask(lambda: hub.members_of("/", None))) == sorted(sids[:2])
    for link in cluster.joint.siblings[2]._links.values():
        cluster.joint.loop.add_reader(link._descriptor, link._on_readable)
    cluster.settle()
    assert sorted(cluster.ask(lambda: hub.members_of("/", None))) == sorted(sids)


def test_who_still_passes_on_what_came_before_another_s_word_is_not_silent(piped: Any) -> None:
    """It answers that question once it has; who asks for a client meanwhile waits for it."""
    cluster = piped(2)
    sids = [world.peer(None).join() for world in cluster.worlds]
    asking, answering = (world.services.backplane for world in cluster.worlds)
    held: list[Any] = []
    inner = answering._receiver
    answering._receiver = SiblingReceiver(inner.receive, inner.answer, lambda *asked: held.append(asked))
    ended: list[int] = []
    question = Question(QuestionKind.RELIEVED, "/", ["host.0", []])
    asking.request(PeerRequest(question, lambda part: None, ended.append, HAND_OVER_SECONDS))
    cluster.settle()
    cluster.worlds[0].advance(HAND_OVER_SECONDS)
    assert (ended, [asked[0] for asked in held]) == ([1], ["host.0"])
    assert sorted(cluster.ask(lambda: cluster.worlds[0].hub.members_of("/", None))) == sorted(sids)


def test_questions_without_end_are_bounded(piped: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(pipe_backplane, "QUESTIONS_MAX_COUNT", 10)
    cluster = piped(2)
    cluster.worlds[1].peer()
    expired: list[Any] = []
    for _ in range(15):
        cluster.worlds[0].hub.emit(
            "q", (), callback=lambda socket, values: None, expired=lambda socket: expired.append(socket)
        )
        cluster.settle()
    assert len(expired) == 5
    assert cluster.joint.complaints["questions"] == 5


def test_answered_questions_leave_nothing_behind(piped: Any) -> None:
    cluster = piped(3)
    peers = [world.peer() for world in cluster.worlds]
    backplane = cluster.worlds[0].services.backplane
    cluster.worlds[0].hub.emit("q", (), callback=lambda socket, values: None)
    cluster.settle()
    assert len(backplane._asked) == 1
    for peer in peers:
        (packet,) = peer.heard()
        peer.say(f"3{packet[1 : packet.index('[')]}[]")
    cluster.settle()
    cluster.ask(lambda: cluster.worlds[0].hub.members_of("/", "red"))
    cluster.ask(lambda: cluster.worlds[0].hub.rooms_of("/", "nobody"))
    assert backplane._asked == {}
    assert all(peer.socket.acks == {} for peer in peers)


def test_a_closed_backplane_ends_its_questions(piped: Any) -> None:
    cluster = piped(2)
    peer = cluster.worlds[1].peer()
    ended: list[int] = []
    backplane = cluster.worlds[0].services.backplane
    backplane.request(PeerRequest(Question(QuestionKind.MEMBERS, "/"), lambda part: None, ended.append))
    backplane.close()
    assert ended == [1]
    cluster.worlds[1].hub.emit("x", ())
    cluster.settle()
    assert peer.heard() == ['2["x"]']
    assert cluster.unexpected == []


@pytest.mark.parametrize("kind", [QuestionKind.FETCH, QuestionKind.MEMBERS])
def test_who_asks_for_a_client_waits_until_everybody_has_heard_the_last_words_of_the_dead(
    piped: Any, kind: QuestionKind
) -> None:
    """Else what the client says next would overtake, at another worker, what it said there."""
    cluster = piped(3)
    _, asker, behind = cluster.joint.siblings
    last_words = behind._links[0]
    cluster.joint.loop.remove_reader(last_words._descriptor)
    cluster.joint.lose(0)
    cluster.settle()
    assert asker.any_unnoticed()
    ended: list[int] = []
    data = {"pid": "somebody"} if kind is QuestionKind.FETCH else None
    backplane = cluster.worlds[1].services.backplane
    backplane.request(PeerRequest(Question(kind, "/", data), lambda part: None, ended.append))
    cluster.settle()
    assert ended == ([] if kind is QuestionKind.FETCH else [0])
    last_words.read_all()
    cluster.settle()
    assert (ended, asker.any_unnoticed()) == ([0], False)


def test_what_others_say_passes_a_long_answer_on_its_way(piped: Any, monkeypatch: Any) -> None:
    """Megabytes for one client hold up nobody else, nor do they count as queued and drop what others say."""
    cluster = piped(2, joint={"max_queued_bytes": 1_000_000})
    peer = cluster.worlds[1].peer()
    ended: list[str] = []

    class Long:
        def answer(self, question: Question, reply: Any) -> None:
            reply(LongAnswer(iter(["x" * 100_000] * 200), lambda: ended.append("parts")))

    monkeypatch.setattr(cluster.worlds[0].services.backplane, "_receiver", Long())
    heard: list[Any] = []
    request = PeerRequest(
        Question(QuestionKind.FETCH, "/", {}), heard.append, lambda count: ended.append("all")
    )
    cluster.worlds[1].services.backplane.request(request)
    most_bytes = 0
    said_at: list[int] = []
    passed_at: list[int] = []
    while len(ended) < 2:
        if len(heard) > 20 and not said_at:
            said_at.append(len(heard))
            cluster.worlds[0].hub.emit("x", ())
        cluster.worlds[0].run()
        cluster.joint.loop.run_once(0)
        most_bytes = max(most_bytes, cluster.joint.siblings[0].queued_bytes())
        cluster.worlds[0].advance(LOOK_SECONDS)
        if peer.heard():
            passed_at.append(len(heard))
    assert (len(heard), ended) == (200, ["parts", "all"])
    assert most_bytes < QUEUED_MAX_BYTES + 200_000
    assert passed_at[0] - said_at[0] < 20
    assert cluster.joint.complaints == {}


def test_a_long_answer_to_one_that_has_gone_ends(piped: Any, monkeypatch: Any) -> None:
    cluster = piped(2)
    ended: list[bool] = []

    class Long:
        def answer(self, question: Question, reply: Any) -> None:
            reply(LongAnswer(iter(["x" * 100_000] * 200), lambda: ended.append(True)))

    monkeypatch.setattr(cluster.worlds[0].services.backplane, "_receiver", Long())
    stop(cluster, 1)
    request = PeerRequest(Question(QuestionKind.FETCH, "/", {}), lambda part: None, lambda count: None)
    cluster.worlds[1].services.backplane.request(request)
    cluster.settle()
    assert ended == []
    cluster.joint.lose(1)
    cluster.settle()
    assert ended == [True]


def test_a_part_that_cannot_be_told_ends_its_answer(piped: Any, monkeypatch: Any) -> None:
    cluster = piped(2)

    class Odd:
        def answer(self, question: Question, reply: Any) -> None:
            reply(LongAnswer(iter([1, object(), 3]), lambda: None))  # type: ignore[list-item]

    monkeypatch.setattr(cluster.worlds[0].services.backplane, "_receiver", Odd())
    heard: list[Any] = []
    ended: list[int] = []
    cluster.worlds[1].services.backplane.request(
        PeerRequest(Question(QuestionKind.FETCH, "/", {}), heard.append, ended.append)
    )
    cluster.settle()
    assert (heard, ended) == ([1, None], [0])
    assert cluster.joint.complaints == {"sibling message": 1}


@pytest.mark.parametrize("keeps", [True, False], ids=["all keep a log", "one keeps none"])
def test_what_a_dead_sibling_had_said_to_one_alone_is_said_to_the_other(piped: Any, keeps: bool) -> None:
    """Who keeps no log, of a generation without recovery, has nothing to say and keeps nobody waiting."""
    logs: dict[int, RecoveryLog | None] = {}

    def make() -> RecoveryLog | None:
        log = logs[len(logs)] = RecoveryLog() if keeps or len(logs) < 2 else None
        return log

    cluster = piped(3, joint={"logs": logs}, recovery=make)
    peers = [world.peer() for world in cluster.worlds[1:]]
    hub = cluster.worlds[0].hub
    hub.emit("first", ())
    cluster.settle()
    (unsent,) = (link for index, link in cluster.joint.siblings[0]._links.items() if index == 2)
    unsent.send_encoded = lambda frame: True  # it stands in the queue
    hub.emit("last", ())
    cluster.settle()
    cluster.joint.lose(0)
    ended: list[int] = []
    question = Question(QuestionKind.FETCH, "/", {"pid": "p", "offset": None})
    backplane = cluster.worlds[1].services.backplane
    backplane.request(PeerRequest(question, lambda part: None, ended.append))
    cluster.settle()
    heard = [[packet[3 : packet.index('"', 3)] for packet in peer.heard()] for peer in peers]
    assert heard == [["first", "last"], ["first", "last"] if keeps else ["first"]]
    assert ended == [1]  # the dead one has not answered
    assert cluster.joint.complaints == {}
    assert cluster.unexpected == []


def test_an_asker_that_has_gone_leaves_nothing_behind(piped: Any) -> None:
    cluster = piped(2)
    peer = cluster.worlds[1].peer()
    cluster.worlds[0].hub.emit("q", (), callback=lambda socket, values: None)
    cluster.settle()
    cluster.joint.lose(0)
    cluster.settle()
    (packet,) = peer.heard()
    peer.say(f"3{packet[1 : packet.index('[')]}[]")
    cluster.settle()
    gc.collect()
    assert peer.socket.acks == {}
    assert cluster.joint.complaints == {}


# ---- what is odd


MALFORMED = {
    "nothing": b"",
    "garbage": b"\x00\x00\x00\x05hello",
    "a long head": b"\xff\xff\xff\xff\x90",
    "an unknown kind": b"\x00\x00\x00\x02\x91\x09",
    "no UTF-8": encode_message(Envelope("/", None, (), Prepared(["abc"])))[0] + b"\xff\xff\xff",
}


@pytest.mark.parametrize("payload", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("kind", [MessageKind.ENVELOPE, MessageKind.QUESTION, MessageKind.ANSWER])
def test_what_is_malformed_is_refused_counted_and_harms_nobody(
    piped: Any, payload: bytes, kind: MessageKind
) -> None:
    cluster = piped(2)
    peer = cluster.worlds[1].peer()
    sender = cluster.joint.siblings[0]
    sender.send(1, kind, PREFIX, payload)
    cluster.settle()
    assert cluster.joint.complaints == {"malformed sibling message": 1}
    cluster.worlds[0].hub.emit("x", ())
    cluster.settle()
    assert peer.heard() == ['2["x"]']
    assert cluster.unexpected == []


BAD_DATA: dict[str, Any] = {
    "another shape": {"rooms": 1},
    "no event": {"rooms": None, "excepted": [], "event": []},
    "an event without a name": {"rooms": None, "excepted": [], "event": ["[]"]},
    "no JSON": {"rooms": None, "excepted": [], "event": ["["]},
    "no array": {"rooms": None, "excepted": [], "event": ["{}"]},
    "no base64": {"rooms": None, "excepted": [], "event": ['["x",{"_placeholder":true,"num":0}]', "*"]},
    "a placeholder without its value": {
        "rooms": None,
        "excepted": [],
        "event": ['["x",{"_placeholder":true,"num":1}]', "AA=="],
    },
}


@pytest.mark.parametrize("data", BAD_DATA.values(), ids=BAD_DATA.keys())
def test_a_question_of_another_shape_is_refused_and_ends(piped: Any, data: Any) -> None:
    cluster = piped(2)
    peer = cluster.worlds[1].peer()
    heard: list[Any] = []
    ended: list[int] = []
    cluster.worlds[0].services.backplane.request(
        PeerRequest(Question(QuestionKind.ACKS, "/", data), heard.append, ended.append)
    )
    cluster.settle()
    assert (heard, ended) == ([None], [0])
    assert cluster.joint.complaints == {"malformed sibling message": 1}
    assert peer.heard() == []


def test_an_answer_of_another_shape_counts_as_none(piped: Any, monkeypatch: Any) -> None:
    cluster = piped(2)

    class Odd:
        def answer(self, question: Question, reply: Any) -> None:
            reply({"odd": 1})

    monkeypatch.setattr(cluster.worlds[1].services.backplane, "_receiver", Odd())
    assert cluster.ask(lambda: cluster.worlds[0].hub.members_of("/", "red")) == []
    assert cluster.joint.complaints == {"malformed sibling message": 1}
    assert "1 other processes did not answer" in cluster.worlds[0].complaints[0]


def test_a_message_too_long_for_a_link_is_dropped_and_told(piped: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("python_server.net.link.FRAME_MAX_BYTES", 1000)
    cluster = piped(2)
    peers = [world.peer() for world in cluster.worlds]
    cluster.worlds[0].hub.emit("x", ("y" * 2000,))
    cluster.worlds[0].hub.emit("x", ())
    cluster.settle()
    assert [len(peer.heard()) for peer in peers] == [2, 1]
    assert cluster.joint.complaints == {"sibling message": 1}
