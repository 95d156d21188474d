"""What a draining worker leaves to its successor, over real links (serve/recovery_handover.py).

It must not know sessions; logs are filled by hand.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from joined_peers import joined
from python_server.engineio.packet import Prepared
from python_server.net.link import pair
from python_server.net.loop import Loop
from python_server.serve.recovery_handover import (
    CLIENTS_COUNT,
    EVENTS_COUNT,
    RecoveryHandover,
)
from python_server.socketio.cluster.paced_sender import QUEUED_MAX_BYTES
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.record import RecoveryRecord, encode
from python_server.workers.peers import MessageKind, Peers

PATHS = ("/socket.io/", "/other/")
TURNS_MAX_COUNT = 5_000
# [moment, [namespace, rooms, excepted, packets, offset]]
MALFORMED_EVENTS: list[Any] = [
    [1.0, ["/", [["no room"]], [], ["42x"], "name"]],
    [1.0, ["/", None, [{}], ["42x"], "name"]],
    [1.0, ["/", None, [], ["42x"], None]],
    [1.0, ["/", None, [], "42x", "name"]],
    [1.0, ["/", None, [], [4], "name"]],
]


def part_of(event: Any) -> dict[str, Any]:
    return {
        "type": "part",
        "path": PATHS[0],
        "tag": "tag",
        "first": 0,
        "events": [event],
        "clients": [],
    }


class House:
    """A worker that has logs and nothing else."""

    def __init__(self, loop: Loop, index: int) -> None:
        self.complaints: list[str] = []
        self.faults: list[Any] = []
        self.loop = loop
        self.siblings = Peers(loop, index, self.report, self.complain, max_queued_bytes=100_000)
        self.logs = {path: RecoveryLog(max_bytes=100_000_000) for path in PATHS}
        mounts: Any = [
            SimpleNamespace(path=path, hub=SimpleNamespace(recovery=log, restorer=None))
            for path, log in self.logs.items()
        ]
        self.handover = RecoveryHandover(
            mounts, self.siblings, loop.call_later, lambda: loop.now, self.complain
        )

    def report(self, what: str, error: BaseException) -> None:
        self.faults.append((what, error))

    def complain(self, kind: str, sentence: str) -> None:
        self.complaints.append(sentence)

    def say(self, name: str, path: str = PATHS[0]) -> None:
        log = self.logs[path]
        log.append(Envelope("/", None, (), Prepared([f"42{name}"]), f"{log.tag}{name}"), self.loop.now)

    def say_much_and_lose(self, pid: str) -> None:
        """More than goes into one message."""
        for number in range(3 * EVENTS_COUNT):
            self.say(f"{number}:" + "x" * 500)
        self.lose(pid)

    def lose(self, pid: str, path: str = PATHS[0], **fields: Any) -> None:
        log = self.logs[path]
        values: dict[str, Any] = {"namespace": "/", "sid": pid, "pid": pid, "rooms": {pid: 0}}
        values |= {"last_offset": None, "joined_position": 0, "left_position": 0} | fields
        log.save(RecoveryRecord(**values), self.loop.now)

    def find(self, pid: str, path: str = PATHS[0]) -> list[str] | None:
        """The packets of what a client missed."""
        found = self.logs[path].find(pid, "/", None, self.loop.now)
        return (
            None if found is None else [event.prepared.packets[0][2:] for _, event in found.missed_elsewhere]
        )  # type: ignore[misc]


class Street:
    def __init__(self) -> None:
        self.loop = Loop(lambda what, error: self.faults.append((what, error)))
        self.faults: list[Any] = []
        self.loop.mailbox.adopt()
        self.first, self.second, self.third = self.houses = [House(self.loop, index) for index in (1, 2, 3)]
        joined(*(house.siblings for house in self.houses))
        self.until(lambda: all(len(house.siblings.living) == 2 for house in self.houses))

    def until(self, done: Callable[[], bool]) -> None:
        for _ in range(TURNS_MAX_COUNT):
            if done():
                return
            self.loop.run_once(0.002)
        raise AssertionError("it has not come to pass")

    def settle(self, house: House) -> None:
        self.until(lambda: not house.handover.busy)


@pytest.fixture
def street() -> Iterator[Street]:
    street = Street()
    yield street
    for house in street.houses:
        house.siblings.close()
    street.loop.run_once(0)
    street.loop.close()
    assert street.faults == []
    assert not any(house.faults for house in street.houses)


def test_logs_and_lost_clients_of_every_mount_arrive(street: Street) -> None:
    for path in PATHS:
        street.first.say("a", path)
        street.first.lose(f"P{path}", path)
        street.first.say("b", path)
    street.first.handover.hand_over(2)
    assert street.first.handover.busy
    street.settle(street.first)
    for path in PATHS:
        assert street.second.find(f"P{path}", path) == ["a", "b"]
    assert street.third.find("P/socket.io/") is None


def test_more_than_one_message_holds_arrives_whole(street: Street) -> None:
    """Also where the successor's queue is full in between: it is bounded far below this."""
    names = [f"{number}:" + "x" * 500 for number in range(3 * EVENTS_COUNT + 1)]
    for name in names:
        street.first.say(name)
    for number in range(2 * CLIENTS_COUNT + 1):
        street.first.lose(f"P{number}")
    street.first.handover.hand_over(2)
    street.settle(street.first)
    assert street.second.find("P0") == names
    assert street.second.find(f"P{2 * CLIENTS_COUNT}") == names


def test_what_others_wait_for_passes_a_long_hand_over(street: Street) -> None:
    """However much the link would hold: an answer behind it would come when all of it has been read."""
    for number in range(10 * EVENTS_COUNT):
        street.first.say(f"{number}:" + "x" * 500)
    street.first.siblings._links[2]._max_queued_bytes = 100_000_000
    street.first.handover.hand_over(2)
    most_bytes = 0

    def is_done() -> bool:
        nonlocal most_bytes
        most_bytes = max(most_bytes, street.first.siblings.queued_for(2))
        return not street.first.handover.busy

    street.until(is_done)
    assert 0 < most_bytes < QUEUED_MAX_BYTES + 1200 * EVENTS_COUNT  # before the last message, and that one


def test_a_client_that_has_come_back_elsewhere_is_forgotten_by_all(street: Street) -> None:
    for pid in ("early", "late", "kept"):
        street.first.lose(pid, came_at=5.0)
    street.first.handover.hand_over(2)
    street.third.handover.returned(PATHS[0], "early", 6.0)  # its record may be on its way
    street.settle(street.first)
    street.third.handover.returned(PATHS[0], "late", 6.0)
    street.third.handover.returned(PATHS[0], "kept", 4.0)  # it has been at the first one since
    street.until(lambda: len(street.second.logs[PATHS[0]].logs(street.loop.now)[1].lost_clients()) == 1)
    street.until(lambda: len(street.first.logs[PATHS[0]].lost_clients()) == 1)
    for house in (street.first, street.second):
        assert [house.find(pid) for pid in ("early", "late", "kept")] == [None, None, []]


def test_a_successor_is_told_behind_the_records_who_has_come_back(street: Street) -> None:
    """Whatever way the word itself has taken: here it never reached the successor."""
    street.first.lose("P")
    street.first.say("x" * 200_000)  # in front of the client's record
    street.first.handover.hand_over(2)
    street.third.siblings.send(
        1, MessageKind.RECORDS, encode({"type": "forget", "path": PATHS[0], "pid": "P"})
    )
    street.until(lambda: not street.first.handover.busy and not street.first.logs[PATHS[0]].lost_clients())
    street.first.siblings.send(2, MessageKind.ENVELOPE, b"the last word")
    street.until(lambda: any("kind 40" in said for said in street.second.complaints))
    assert street.second.find("P") is None


@pytest.mark.parametrize("stands_still", [False, True])
def test_what_one_that_begins_will_never_hear_is_awaited(street: Street, stands_still: bool) -> None:
    """Who is to say that it knows the new worker says so behind what the new one does not hear."""
    street.first.lose("P")
    street.first.siblings._greetings.found(4, {3})
    street.first.handover.hand_over(2, settle_seconds=0.05 if stands_still else 60.0)
    for _ in range(20):
        street.loop.run_once(0.0)
    assert street.first.handover.busy
    street.first.say("late")
    if not stands_still:
        street.first.siblings._greetings.confirmed(4, 3)
    street.settle(street.first)
    assert street.second.find("P") == ["late"]


def test_events_keep_their_places_where_one_cannot_travel(street: Street) -> None:
    """A client's positions count every event of its former home."""
    log = street.first.logs[PATHS[0]]
    street.first.say("before it came")
    envelope = Envelope("/", ((1, 2),), (), Prepared(["42of a room that cannot be named"]), f"{log.tag}t")
    log.append(envelope, street.loop.now)
    street.first.lose("P", joined_position=log.events.position, left_position=log.events.position)
    street.first.say("a")
    street.first.say("b")
    street.first.handover.hand_over(2)
    street.settle(street.first)
    assert street.second.find("P") == ["a", "b"]


def test_what_was_inherited_goes_on_to_the_next(street: Street) -> None:
    street.first.say("a")
    street.first.lose("P")
    street.first.handover.hand_over(2)
    street.settle(street.first)
    street.second.say("b")
    street.second.handover.hand_over(3)
    street.settle(street.second)
    street.third.say("c")
    assert street.third.find("P") == ["a", "b", "c"]


def test_what_comes_to_one_that_hands_over_itself_is_passed_on(street: Street) -> None:
    """Two were told to end at once, and the first did not know that its successor was."""
    street.first.say("one")
    street.first.lose("of the first")
    street.second.lose("of the second")
    street.second.handover.hand_over(3)
    street.settle(street.second)
    street.first.handover.hand_over(2)
    street.settle(street.first)
    street.settle(street.second)
    assert street.third.find("of the first") == ["one"]
    assert street.third.find("of the second") == ["one"]  # said to everybody, and not heard there


@pytest.mark.parametrize("third_stays", [True, False])
def test_two_that_hand_over_to_each_other_both_end(street: Street, third_stays: bool) -> None:
    """Each was told to end before it knew that of the other."""
    if not third_stays:
        street.third.siblings.close()
        street.until(lambda: street.first.siblings.living == (2,) and street.second.siblings.living == (1,))
    street.first.say("one")
    for house, pid, other in ((street.first, "P", 2), (street.second, "Q", 1)):
        house.lose(pid)
        house.siblings.announce_draining(other)
        house.handover.hand_over(other)
    street.settle(street.first)
    street.settle(street.second)
    if third_stays:
        assert street.third.find("P") == ["one"]
        assert street.third.find("Q") is not None


def test_three_that_hand_over_in_a_ring_all_end(street: Street) -> None:
    for house, other in ((street.first, 2), (street.second, 3), (street.third, 1)):
        house.lose("P")
        house.siblings.announce_draining(other)
        house.handover.hand_over(other)
    for house in street.houses:
        street.settle(house)
    street.until(lambda: not any(house.siblings.queued_bytes() for house in street.houses))


def test_nothing_is_left_to_nobody(street: Street) -> None:
    street.first.lose("P")
    street.first.handover.hand_over(9)
    assert not street.first.handover.busy


def test_a_successor_that_ends_before_it_has_everything_has_another_take_its_place(street: Street) -> None:
    street.first.say("a")
    street.first.lose("P")
    street.first.handover.hand_over(2)
    street.second.siblings.close()
    street.settle(street.first)
    assert street.third.find("P") == ["a"]
    assert street.first.complaints == []


def test_where_nobody_else_is_there_the_clients_are_lost(street: Street) -> None:
    street.first.lose("P")
    street.first.handover.hand_over(2)
    for house in (street.second, street.third):
        house.siblings.close()
    street.settle(street.first)
    assert any("died while it received" in said for said in street.first.complaints)


def test_what_has_come_in_part_goes_on_whole(street: Street) -> None:
    """One is told to end in the middle of what another one hands over to it."""
    street.first.say_much_and_lose("P")
    street.first.handover.hand_over(2)
    street.until(lambda: bool(street.second.handover._incoming))
    street.second.handover.hand_over(3)
    street.settle(street.first)
    street.settle(street.second)
    assert len(street.third.find("P") or ()) == 3 * EVENTS_COUNT


def test_what_had_come_in_part_is_sent_to_the_other_successor_too(street: Street) -> None:
    street.second.say_much_and_lose("P")
    street.first.handover.hand_over(3)
    street.second.handover.hand_over(1)
    street.until(lambda: bool(street.first.handover._incoming))
    fourth = House(street.loop, 4)
    street.houses.append(fourth)
    for each in (street.first, street.second):
        ours, theirs = pair()
        each.siblings.join(4, ours, serving=True)
        fourth.siblings.join(each.siblings.index, theirs, serving=True)
    fourth.siblings.begin(lambda: None)
    street.until(lambda: 4 in street.first.siblings.living)
    assert street.first.handover._incoming
    street.first.handover._unconfirmed = 3  # it had not said that it has everything
    street.third.siblings.close()
    street.settle(street.second)
    street.settle(street.first)
    assert len(fourth.find("P") or ()) == 3 * EVENTS_COUNT


def test_a_sender_that_dies_in_the_middle_leaves_nothing(street: Street) -> None:
    street.first.say_much_and_lose("P")
    street.first.handover.hand_over(2)
    street.until(lambda: bool(street.second.handover._incoming))
    street.first.siblings.close()
    street.until(lambda: street.second.siblings.living == (3,))
    assert street.second.handover._incoming == {}
    assert street.second.find("P") is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x81",
        b"\xc1",
        *map(encode, ([], {"type": "part"}, {"type": "else"}, {"type": "received", "more": 1})),
        *(encode(part_of(event)) for event in MALFORMED_EVENTS),
    ],
)
def test_malformed_records_are_refused_and_told(street: Street, payload: bytes) -> None:
    street.first.siblings.send(2, MessageKind.RECORDS, payload)
    street.until(lambda: bool(street.second.complaints))
    assert "malformed recovery records from worker 1" in street.second.complaints[0]


def test_data_and_rooms_that_cannot_travel_are_told(street: Street) -> None:
    street.first.lose(
        "P", rooms={"P": 0, (1, 2): 0, "\ud800": 0}, data={"a": 1, "b": b"bytes", "c": "\ud800"}
    )
    street.first.handover.hand_over(2)
    street.settle(street.first)
    found = street.second.logs[PATHS[0]].find("P", "/", None, street.loop.now)
    assert found is not None
    assert (found.rooms, found.data) == ({"P": 0}, {"a": 1})
    assert any("only JSON values can travel" in said for said in street.first.complaints)
