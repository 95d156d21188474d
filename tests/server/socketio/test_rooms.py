"""Who is in which room: asked here, asked of other processes, and what those are told; jobs run by the test.

It must not know sockets, or how other processes are reached: a backplane of the test's own answers.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from python_server.socketio.cluster.port import CommandKind, NoBackplane, PeerRequest, QuestionKind
from python_server.socketio.server import Hub
from python_server.socketio.services import Configuration


class Others(NoBackplane):
    """Other processes: they answer each question with `parts`, and keep what they are told."""

    alone = False

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.parts: list[Any] = []
        self.asked: list[Any] = []
        self.silent_count = 0

    def publish(self, item: Any) -> None:
        self.told.append(item)

    def request(self, request: PeerRequest) -> None:
        self.asked.append(request.question)
        for part in self.parts:
            request.heard(part)
        request.ended(self.silent_count)


@pytest.fixture
def others() -> Others:
    return Others()


@pytest.fixture
def shared(make_world: Any, others: Others) -> Any:
    return make_world(lambda world: others)


def elsewhere(world: Any, function: Callable[[], Any]) -> Any:
    """The function's result on a worker's thread, while the world turns."""
    ends: list[Any] = []

    def run() -> None:
        try:
            ends.append(function())
        except Exception as error:
            ends.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        world.run()
    world.run()
    return ends[0]


def test_rooms_of_this_process(world: Any) -> None:
    peer = world.peer(None)
    sid = peer.join()
    hub = world.hub
    hub.join("/", sid, "red")
    assert sorted(hub.rooms_of("/", sid)) == sorted([sid, "red"])
    assert hub.members_of("/", "red") == [sid]
    assert [socket.sid for socket in hub.sockets()] == [sid]
    assert hub.find("/", sid) is peer.socket
    hub.leave("/", sid, "red")
    assert hub.members_of("/", "red") == []
    hub.join("/", sid, "blue")
    hub.close_room("/", "blue")
    assert hub.rooms_of("/", sid) == [sid]
    assert hub.members_of("/nowhere", None) == []
    assert hub.find("/nowhere", sid) is None
    with pytest.raises(ValueError, match="cannot close a sid room"):
        hub.close_room("/", sid)
    with pytest.raises(ValueError, match="not connected to requested namespace"):
        hub.enter("/", "nobody", "red")


def test_what_concerns_clients_of_others_is_told_to_them(shared: Any, others: Others) -> None:
    hub = shared.hub
    hub.join("/", "theirs", "red")
    hub.leave("/", "theirs", "red")
    hub.close_room("/", "red")
    hub.enter("/", "theirs", "blue")  # on the loop's thread it waits for nobody
    said = [(command.kind, command.sid, command.room) for command in others.told]
    assert said == [
        (CommandKind.ENTER, "theirs", "red"),
        (CommandKind.LEAVE, "theirs", "red"),
        (CommandKind.CLOSE_ROOM, None, "red"),
        (CommandKind.ENTER, "theirs", "blue"),
    ]


def test_on_the_loops_thread_other_processes_are_not_waited_for(shared: Any) -> None:
    with pytest.raises(RuntimeError, match="on the server's own thread"):
        shared.hub.members_of("/", "red")


def test_members_are_those_of_all_processes(shared: Any, others: Others) -> None:
    sid = shared.peer(None).join()
    others.parts = [["one"], ["two", "three"]]
    assert elsewhere(shared, lambda: shared.hub.members_of("/", None)) == [sid, "one", "two", "three"]
    assert [question.kind for question in others.asked] == [QuestionKind.MEMBERS]
    assert shared.complaints == []


def test_those_who_say_nothing_are_missing_and_told_of(shared: Any, others: Others) -> None:
    others.silent_count = 2
    assert elsewhere(shared, lambda: shared.hub.members_of("/", "red")) == []
    (complaint,) = shared.complaints
    assert complaint.startswith("2 other processes did not answer within 2 s")


def test_a_client_of_another_process_says_its_rooms_through_that(shared: Any, others: Others) -> None:
    sid = shared.peer(None).join()
    assert elsewhere(shared, lambda: shared.hub.rooms_of("/", sid)) == [sid]
    assert others.asked == []
    others.parts = [[], ["theirs", "red"], ["never heard"]]
    assert elsewhere(shared, lambda: shared.hub.rooms_of("/", "theirs"))[:2] == ["theirs", "red"]


@pytest.mark.parametrize(
    ("parts", "end"),
    [
        ([False, True], None),
        ([False, "cannot enter a sid room"], "cannot enter a sid room"),
        ([False], "sid is not connected to requested namespace"),
    ],
)
def test_entering_waits_for_the_verdict_of_the_clients_process(
    shared: Any, others: Others, parts: list[Any], end: str | None
) -> None:
    others.parts = parts
    ended = elsewhere(shared, lambda: shared.hub.enter("/", "theirs", "red"))
    assert (None if ended is None else str(ended)) == end


def test_names_that_cannot_travel_are_refused_where_they_would_have_to(shared: Any, world: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        shared.hub.join("/", "sid", object())
    sid = world.peer(None).join()
    world.hub.join("/", sid, ("a", "tuple"))  # alone, any hashable thing is a name
    assert world.hub.members_of("/", ("a", "tuple")) == [sid]


def test_who_divides_messages_is_told_of_the_first_and_the_last_in_a_room(world: Any) -> None:
    told: list[Any] = []

    def hold(namespace: str, room: Any, held: bool) -> None:
        told.append((room, held))

    world.services = replace(world.services, room_held=hold)
    world.serve(Hub(Configuration()))
    sids = [world.peer(None).join() for _ in range(2)]
    told.clear()
    for sid in sids:
        world.hub.join("/", sid, "red")
    for sid in sids:
        world.hub.leave("/", sid, "red")
    assert told == [("red", True), ("red", False)]
    for sid in sids:
        world.hub.join("/", sid, "blue")
    world.hub.close_room("/", "blue")
    assert told[2:] == [("blue", True), ("blue", False)]
    assert world.hub.members_of("/", "blue") == []


@pytest.mark.parametrize(
    ("meta", "key", "fault", "sentence"),
    [
        ({"bomb": "x" * 5000}, None, ValueError, "have 5011 bytes, allowed are 4096: see meta_max_bytes"),
        ({"bomb": "\u20ac" * 2000}, None, ValueError, "bytes, allowed are 4096"),
        ({}, "k" * 5000, ValueError, "meta= and key= have 5002 bytes"),
        ("text", None, TypeError, "a dictionary of JSON values, not a str"),
        ([1], None, TypeError, "not a list"),
        ({"a": b"x"}, None, TypeError, ""),
        ({"a": object()}, None, TypeError, ""),
        ({}, 7, TypeError, "key= is a string, not a int"),
        (json.loads('{"a":' * 300 + "1" + "}" * 300), None, ValueError, "nested"),
        (None, "\ud800", ValueError, ""),
    ],
)
def test_what_cannot_be_known_of_a_member_is_refused(
    world: Any, meta: Any, key: Any, fault: type[Exception], sentence: str
) -> None:
    sid = world.peer(None).join()
    for join in (world.hub.join, world.hub.enter):
        with pytest.raises(fault) as raised:
            join("/", sid, "red", meta, key)
        assert sentence in str(raised.value)
    assert world.hub.rooms_of("/", sid) == [sid]
    assert world.peer() is not None, "the loop lives"


def test_a_circle_is_refused(world: Any) -> None:
    sid = world.peer(None).join()
    circle: dict[str, Any] = {}
    circle["self"] = circle
    with pytest.raises(ValueError, match=r"ircular|nested"):
        world.hub.join("/", sid, "red", circle)


def test_what_is_known_of_a_member(world: Any) -> None:
    moves: list[Any] = []
    world.hub.handlers.on_presence(lambda *move: moves.append(move))
    peer, other = world.peer(None), world.peer(None)
    sid, other_sid = peer.join(), other.join()
    hub, meta = world.hub, {"name": "Ann"}
    hub.join("/", sid, "red", meta, "ann")
    hub.join("/", other_sid, "red")
    meta["name"] = "changed later"
    assert hub.details_of("/", "red") == [
        {"sid": sid, "key": "ann", "meta": {"name": "Ann"}},
        {"sid": other_sid, "key": None, "meta": None},
    ]
    hub.update("/", sid, "red", {"name": "Bob"})
    hub.update("/", sid, "blue", {"name": "not there"})
    hub.join("/", sid, "red", {"name": "Eve"})  # it is there, with the same key
    hub.join("/", sid, "red", {"name": "Eve"}, "eve")  # somebody else from now on
    world.run()
    peer.lose()
    assert moves == [
        ("join", "/", sid, "red", {"name": "Ann"}),
        ("join", "/", other_sid, "red"),
        ("update", "/", sid, "red", {"name": "Bob"}),
        ("update", "/", sid, "red", {"name": "Eve"}),
        ("leave", "/", sid, "red", {"name": "Eve"}),
        ("join", "/", sid, "red", {"name": "Eve"}),
        ("leave", "/", sid, "red", {"name": "Eve"}),
    ]
    assert world.hub._running.presence._holders == {}
    assert hub.details_of("/", "red") == [{"sid": other_sid, "key": None, "meta": None}]


def test_nobody_is_told_of_metadata_in_a_clients_own_room(world: Any) -> None:
    moves: list[Any] = []
    world.hub.handlers.on_presence(lambda *move: moves.append(move))
    peer = world.peer(None)
    sid = peer.join()
    world.hub.join("/", sid, sid, {"name": "Ann"}, "ann")
    world.hub.join("/", sid, sid, {"name": "Ann"}, "eve")
    world.hub.update("/", sid, sid, {"name": "Eve"})
    assert world.hub.details_of("/", sid) == [{"sid": sid, "key": "eve", "meta": {"name": "Eve"}}]
    world.hub.leave("/", sid, sid)
    world.hub.join("/", sid, sid, {"name": "Bob"})
    assert world.hub.details_of("/", sid) == [{"sid": sid, "key": "eve", "meta": {"name": "Bob"}}]
    world.run()
    peer.lose()
    world.run()
    assert moves == []  # it never leaves it either: who was told would keep it for ever
    assert world.hub._running.presence._holders == {}


def test_who_has_none_pays_nothing(world: Any) -> None:
    sid = world.peer(None).join()
    world.hub.join("/", sid, "red")
    assert world.hub.find("/", sid).members is None
    assert world.hub.details_of("/", None) == [{"sid": sid, "key": None, "meta": None}]
