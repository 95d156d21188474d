"""Acks that are waited for: of one client, of a room, late, lost, too many.

It must not know sockets.
"""

import threading
from typing import Any

from python_server.socketio.broadcast import BroadcastOptions


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
