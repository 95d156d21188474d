"""What other processes say to a hub (receiver.py) is done for its clients alone; what they ask is answered.

It must not know how they are reached: a backplane here only keeps the hub's receiver.
"""

import json
from typing import Any

import pytest

from python_server.socketio.cluster.port import (
    Command,
    CommandKind,
    Envelope,
    Malformed,
    NoBackplane,
    Question,
    QuestionKind,
)
from python_server.socketio.cluster.requests import unpack
from python_server.socketio.packet import EVENT, TextCodec
from python_server.socketio.recovery.log import RecoveryLog


class Elsewhere(NoBackplane):
    """Keeps who hears."""

    alone = False
    receiver: Any

    def start(self, receiver: Any) -> None:
        self.receiver = receiver


class Place:
    """A hub with clients, and what other processes would say to it."""

    def __init__(self, make_world: Any, **options: Any) -> None:
        backplane = Elsewhere()
        self.world = make_world(lambda world: backplane, **options)
        self.world.hub.handlers.allow("*")
        self.receiver = backplane.receiver

    def ask(self, kind: QuestionKind, data: Any = None, namespace: str = "/") -> list[tuple[Any, bool]]:
        """(part, was it the last) of the answer so far, as it comes."""
        parts: list[tuple[Any, bool]] = []
        question = Question(kind, namespace, data)
        self.receiver.answer(question, lambda part, last=True: parts.append((part, last)))
        return parts


@pytest.fixture
def place(make_world: Any) -> Place:
    return Place(make_world)


def test_an_event_is_delivered_to_the_clients_of_this_process(place: Place) -> None:
    peers = [place.world.peer(None) for _ in range(2)]
    sids = [peer.join() for peer in peers]
    prepared = TextCodec().prepare(EVENT, "/", ("said", 1))
    place.receiver.receive(Envelope("/", (sids[0],), (), prepared))
    place.receiver.receive(Envelope("/", None, (sids[0],), prepared))
    place.receiver.receive(Envelope("/nobody", None, (), prepared))
    assert [peer.heard() for peer in peers] == [['2["said",1]'], ['2["said",1]']]


def test_an_event_is_remembered_for_those_who_are_away(make_world: Any) -> None:
    log = RecoveryLog()
    place = Place(make_world, recovery=log)
    peer = place.world.peer(None)
    peer.join()
    pid = peer.names["pid"]
    envelopes = [
        Envelope("/", None, (), TextCodec().prepare(EVENT, "/", (name, offset)), offset)
        for name, offset in (("seen", "other.1"), ("missed", "other.2"))
    ]
    place.receiver.receive(envelopes[0])
    assert peer.heard() == ['2["seen","other.1"]']
    peer.lose()
    place.receiver.receive(envelopes[1])
    back = place.world.peer(None)
    back.say("0" + json.dumps({"pid": pid, "offset": "other.1"}))
    connect, missed = back.heard()
    assert (json.loads(connect[1:])["pid"], missed) == (pid, '2["missed","other.2"]')


def test_commands_are_obeyed_where_the_client_is(place: Place) -> None:
    peer, other = place.world.peer(None), place.world.peer(None)
    sid, other_sid = peer.join(), other.join()
    rooms = lambda: place.ask(QuestionKind.ROOMS, sid)  # noqa: E731
    place.receiver.receive(Command(CommandKind.ENTER, "/", sid, "red"))
    place.receiver.receive(Command(CommandKind.ENTER, "/", sid, "blue"))
    place.receiver.receive(Command(CommandKind.ENTER, "/", sid, other_sid))  # another client's own: nothing
    assert rooms() == [([sid, "red", "blue"], True)]
    place.receiver.receive(Command(CommandKind.LEAVE, "/", sid, "red"))
    place.receiver.receive(Command(CommandKind.CLOSE_ROOM, "/", room="blue"))
    place.receiver.receive(Command(CommandKind.CLOSE_ROOM, "/", room=other_sid))
    assert rooms() == [([sid], True)]
    for namespace, nobody in (("/", "nobody"), ("/nowhere", sid), ("/", None)):
        place.receiver.receive(Command(CommandKind.DISCONNECT, namespace, nobody))
    assert (peer.heard(), other.heard()) == ([], [])
    place.receiver.receive(Command(CommandKind.DISCONNECT, "/", sid, detail="why"))
    place.world.run()
    assert peer.heard()[-1] == "1"
    assert rooms() == [([], True)]


def test_who_is_where_is_told(place: Place) -> None:
    sid = place.world.peer(None).join()
    assert place.ask(QuestionKind.ENTER, {"sid": sid, "room": 7}) == [(True, True)]
    assert place.ask(QuestionKind.ENTER, {"sid": "nobody", "room": 7}) == [(False, True)]
    assert place.ask(QuestionKind.ENTER, {"sid": sid, "room": 7}, "/nowhere") == [(False, True)]
    assert place.ask(QuestionKind.MEMBERS, 7) == [([sid], True)]
    assert place.ask(QuestionKind.MEMBERS) == [([sid], True)]
    assert place.ask(QuestionKind.MEMBERS, namespace="/nowhere") == [([], True)]
    assert place.ask(QuestionKind.ROOMS, sid, "/nowhere") == [([], True)]
    other = place.world.peer(None).join()
    assert place.ask(QuestionKind.ENTER, {"sid": sid, "room": other}) == [("cannot enter a sid room", True)]


def test_what_came_before_is_done_and_without_recovery_nobody_is_found(place: Place) -> None:
    assert place.ask(QuestionKind.SETTLED) == [(None, True)]
    assert place.ask(QuestionKind.FETCH, {"pid": "p", "offset": "o"}) == [(None, True)]


def asking(*event: Any, rooms: list[Any] | None = None, **options: Any) -> dict[str, Any]:
    return {"rooms": rooms, "excepted": [], "event": [json.dumps(event)], **options}


def test_clients_are_asked_and_each_ack_is_told(place: Place) -> None:
    peers = [place.world.peer() for _ in range(2)]
    parts = place.ask(QuestionKind.ACKS, asking("q", 1, timeout_seconds=5.0))
    assert parts == [({"type": "asked", "asked_count": 2, "unready": False}, False)]
    (packet,) = peers[1].heard()
    peers[1].say(f'3{packet[1 : packet.index("[")]}["yes"]')
    part, last = parts[1]
    assert (part["type"], unpack(part["values"]), last) == ("heard", ["yes"], False)
    place.world.advance(5.0)
    assert parts[2:] == [({"type": "heard", "values": None}, True)]


def test_nobody_to_ask(place: Place) -> None:
    peer = place.world.peer()
    nobody = [({"type": "asked", "asked_count": 0, "unready": False}, True)]
    assert place.ask(QuestionKind.ACKS, asking("q", rooms=["empty"])) == nobody
    assert place.ask(QuestionKind.ACKS, asking("q"), "/nowhere") == nobody
    assert peer.heard() == []


def test_nobody_is_asked_where_one_is_not_ready(place: Place) -> None:
    place.world.on("connect")
    peer = place.world.peer(None)
    peer.say("0", run=False)
    unready = [({"type": "asked", "asked_count": 0, "unready": True}, True)]
    assert place.ask(QuestionKind.ACKS, asking("q", joined_only=True)) == unready


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (QuestionKind.ROOMS, 5),
        (QuestionKind.MEMBERS, ["red"]),
        (QuestionKind.ENTER, {"sid": "s"}),
        (QuestionKind.ACKS, None),
        (QuestionKind.ACKS, asking()),
        (QuestionKind.ACKS, asking(5)),
    ],
)
def test_a_question_of_another_shape_is_refused(place: Place, kind: QuestionKind, data: Any) -> None:
    with pytest.raises(Malformed):
        place.ask(kind, data)
