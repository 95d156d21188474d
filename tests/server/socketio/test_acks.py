"""Acks that are waited for: of one client, of a room, late, lost, too many.

It must not know sockets.
"""

import threading
from typing import Any

import pytest

from python_server.engineio.packet import Prepared
from python_server.socketio.acks import AckRequest, AckState, RemoteAcks, ask_clients
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster.port import Malformed
from python_server.socketio.cluster.requests import AckHeard, AcksAsked, pack, plain


def test_an_ack_that_is_late_or_lost_expires(world: Any) -> None:
    got: list[Any] = []
    peer = world.peer()
    for _ in range(2):
        world.hub.emit(
            "q",
            (),
            callback=lambda socket, values: got.append(values),
            timeout_seconds=5.0,
            expired=lambda socket: got.append("expired"),
        )
        world.run()
    first, second = (packet[1 : packet.index("[")] for packet in peer.heard())
    peer.say(f"3{second}[]")
    world.advance(5.0)
    peer.say(f"3{first}[]")
    assert got == [[], "expired"]


class RoomCall:
    """`call_room` on a thread of its own; the room has been asked."""

    def __init__(self, world: Any, peers: list[Any]) -> None:
        self._world = world
        self._answers: list[Any] = []
        self._thread = threading.Thread(target=self._call)
        self._thread.start()
        self.ack_id = 0
        if peers:
            while not peers[-1].link.messages:
                world.run()
            (packet,) = peers[-1].heard()
            self.ack_id = int(packet[1 : packet.index("[")])

    def _call(self) -> None:
        self._answers.append(
            self._world.hub.call_room(
                "q",
                (),
                BroadcastOptions(namespace="/"),
                timeout_seconds=5.0,
            )
        )

    @property
    def waits(self) -> bool:
        return not self._answers

    def answers(self) -> tuple[list[Any], int]:
        while self._thread.is_alive():
            self._world.run()
        return self._answers[0].values, self._answers[0].missing_count


def test_a_whole_room_answers(world: Any) -> None:
    peers = [world.peer() for _ in range(3)]
    call = RoomCall(world, peers)
    for number, peer in enumerate(peers):
        assert call.waits
        peer.say(f"3{call.ack_id}[{number}]")
    assert call.answers() == ([[0], [1], [2]], 0)


def test_a_room_of_which_some_left_and_some_are_late(world: Any) -> None:
    peers = [world.peer() for _ in range(3)]
    call = RoomCall(world, peers)
    peers[0].say(f'3{call.ack_id}["a"]')
    peers[1].lose()
    assert call.waits
    world.advance(5.0)
    assert call.answers() == ([["a"]], 2)


def test_an_empty_room_answers_at_once(world: Any) -> None:
    assert RoomCall(world, []).answers() == ([], 0)


def test_a_client_that_answers_nothing_is_not_asked_without_end(world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("python_server.socketio.acks.ACKS_MAX_COUNT", 10)
    expired: list[Any] = []
    peer = world.peer()
    for _ in range(15):
        world.hub.emit("q", (), callback=lambda socket, values: None, expired=expired.append)
        world.run()
    assert len(peer.socket.acks) == 10
    assert len(expired) == 5


class Asked:
    """A request that also asks other processes; what it hears and how it ends."""

    def __init__(self, **options: Any) -> None:
        self.acks: list[Any] = []
        self.ends: list[AckState] = []
        self.request = AckRequest(
            BroadcastOptions(),
            Prepared(["q"]),
            1,
            lambda socket, values: self.acks.append(values),
            self.ends.append,
            **options,
        )
        self.remote = RemoteAcks(self.request)

    def hear(self, *parts: Any) -> None:
        for part in parts:
            self.remote.heard(plain(part))


def ack(*values: Any) -> AckHeard:
    return AckHeard(pack(values))


def test_a_request_ends_when_everybody_here_and_elsewhere_has_answered(world: Any) -> None:
    asked, peer = Asked(), world.peer()
    ask_clients([peer.socket], asked.request, world.call_later)
    peer.say('31["here"]')
    asked.hear(AcksAsked(2), ack("there"), AckHeard(None))
    assert asked.ends == []
    asked.hear(ack("one more than was asked"))
    asked.remote.ended(0)
    assert (asked.acks, asked.ends) == ([["here"], ["there"], None], [AckState.ENDED])


def test_who_has_not_answered_when_no_more_comes_never_will(world: Any) -> None:
    asked = Asked()
    ask_clients([], asked.request, world.call_later)
    asked.hear(AcksAsked(2), AcksAsked(1), ack("a"))
    asked.remote.ended(1)
    assert (asked.acks, asked.ends) == ([["a"], None, None], [AckState.ENDED])


def test_a_request_whose_time_is_over_ends_with_the_last_word_of_the_others(world: Any) -> None:
    asked, peer = Asked(timeout_seconds=5.0), world.peer()
    ask_clients([peer.socket], asked.request, world.call_later)
    asked.hear(AcksAsked(1))
    world.advance(5.0)
    assert asked.request.state is AckState.OVERDUE
    asked.hear(ack("in time, there"))
    asked.remote.ended(0)
    assert (asked.acks, asked.ends) == ([None, ["in time, there"]], [AckState.EXPIRED])
    peer.say('31["late"]')
    assert len(asked.acks) == 2


def test_one_client_has_answered_whatever_other_processes_still_have_to_say(world: Any) -> None:
    asked = Asked(timeout_seconds=5.0, one_client=True)
    ask_clients([], asked.request, world.call_later)
    asked.hear(AcksAsked(0), AcksAsked(1), ack("a", 1))
    assert (asked.acks, asked.ends) == ([["a", 1]], [AckState.ENDED])
    asked.remote.ended(1)
    world.advance(5.0)
    assert asked.ends == [AckState.ENDED]


def test_who_was_asked_beside_the_first_to_answer_is_given_up_in_time(world: Any) -> None:
    asked, (first, other) = Asked(timeout_seconds=5.0, one_client=True), [world.peer(), world.peer()]
    ask_clients([first.socket, other.socket], asked.request, world.call_later)
    first.say("31[]")
    assert asked.ends == [AckState.ENDED]
    world.advance(5.0)
    assert other.socket.acks == {}, "a client that owes an ack is never kept waiting, however much it sends"
    assert (asked.acks, asked.ends) == ([[]], [AckState.ENDED])


def test_one_client_that_is_not_ready_elsewhere_is_not_waited_for(world: Any) -> None:
    asked = Asked(one_client=True)
    ask_clients([], asked.request, world.call_later)
    asked.hear(AcksAsked(0, unready=True))
    assert asked.ends == [AckState.UNREADY]
    everybody = Asked()
    everybody.hear(AcksAsked(0, unready=True))
    assert everybody.ends == []


@pytest.mark.parametrize("part", [None, {}, {"type": "asked", "asked_count": -1}, {"type": "heard"}, [1]])
def test_a_part_that_is_no_answer_is_malformed(part: Any) -> None:
    with pytest.raises(Malformed):
        Asked().remote.heard(part)
