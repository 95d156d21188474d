"""Rooms of one namespace and who receives (socketio/adapter.py).

It must not know packets: what is delivered are words.
"""

import sys
from typing import Any

import pytest

from python_server.engineio.packet import Prepared
from python_server.socketio.adapter import TABLE_MIN_BYTES, Adapter, shrunk
from python_server.socketio.client import Socket
from python_server.socketio.cluster.port import Envelope

WORD = Prepared(["word"])


class Member(Socket):
    """Notes what is sent to it."""

    def __init__(self, sid: str) -> None:
        super().__init__("/", None, None, sid)  # type: ignore[arg-type] - nothing is asked of its session
        self.got: list[Any] = []

    def send(self, prepared: Any) -> None:
        self.got.append(prepared)

    def send_volatile(self, prepared: Any) -> None:
        self.got.append(("volatile", prepared))


class Rooms:
    def __init__(self) -> None:
        self.moves: list[tuple[str, str, Any]] = []
        self.adapter = Adapter(lambda *move: self.moves.append(move))
        self.members = {sid: Member(sid) for sid in "abcd"}
        for member in self.members.values():
            self.adapter.add(member)
        for sid, room in [("a", "red"), ("b", "red"), ("b", "blue"), ("c", "blue")]:
            self.adapter.join(sid, room)

    def receivers(self, rooms: Any = None, excepted: Any = ()) -> str:
        self.adapter.deliver(Envelope("/", rooms, excepted, WORD))
        got = "".join(sid for sid, member in self.members.items() if member.got)
        assert all(len(member.got) <= 1 for member in self.members.values())
        for member in self.members.values():
            member.got.clear()
        return got


@pytest.fixture
def rooms() -> Rooms:
    return Rooms()


@pytest.mark.parametrize(
    ("to", "excepted", "receivers"),
    [
        (None, (), "abcd"),
        (None, ("a",), "bcd"),
        (None, ("red",), "cd"),
        (None, ("red", "blue"), "d"),
        (None, ("nobody",), "abcd"),
        (("red",), (), "ab"),
        (("red", "blue"), (), "abc"),
        (("red", "blue"), ("b",), "ac"),
        (("red",), ("blue",), "a"),
        (("d",), (), "d"),
        (("d", "red"), (), "abd"),
        (("nobody",), (), ""),
        ((), (), ""),
    ],
)
def test_who_receives(rooms: Rooms, to: Any, excepted: Any, receivers: str) -> None:
    """R36: everybody, a room, oneself; without those left out."""
    assert rooms.receivers(to, excepted) == receivers


@pytest.mark.parametrize(
    ("to", "owned"),
    [(None, False), (("a",), True), (("a", "b"), True), (("red",), False), (("a", "red"), False), ((), True)],
)
def test_whom_nobody_elsewhere_can_be(rooms: Rooms, to: Any, owned: bool) -> None:
    assert rooms.adapter.owns(to) is owned


def test_entering_has_a_verdict(rooms: Rooms) -> None:
    assert rooms.adapter.enter("a", "blue")
    assert rooms.adapter.enter("a", "a")
    assert not rooms.adapter.enter("nobody", "blue")
    with pytest.raises(ValueError, match="sid room"):
        rooms.adapter.enter("a", "b")
    assert rooms.adapter.rooms_of("a") == ["a", "red", "blue"]


def test_a_room_may_be_a_client_of_another_process() -> None:
    adapter = Adapter(reserved=lambda room: room == "b")
    adapter.add(Member("a"))
    for ask in (lambda: adapter.enter("a", "b"), lambda: adapter.close_room("b")):
        with pytest.raises(ValueError, match="sid room"):
            ask()
    assert adapter.enter("a", "c")


def test_a_clients_own_room_is_not_closed(rooms: Rooms) -> None:
    with pytest.raises(ValueError, match="sid room"):
        rooms.adapter.close_room("a")
    assert rooms.adapter.members_of("a") == ["a"]


def test_leaving(rooms: Rooms) -> None:
    rooms.adapter.leave("a", "red")
    rooms.adapter.leave("a", "red")
    rooms.adapter.leave("nobody", "red")
    assert rooms.receivers(("red",)) == "b"
    assert rooms.adapter.rooms_of("a") == ["a"]


def test_a_client_that_has_gone_is_in_no_room(rooms: Rooms) -> None:
    rooms.adapter.remove("b")
    rooms.adapter.remove("b")
    rooms.adapter.join("b", "red")
    assert rooms.adapter.members_of("red") == ["a"]
    assert rooms.adapter.members_of("blue") == ["c"]
    assert rooms.adapter.rooms_of("b") == []
    assert rooms.adapter.get("b") is None


def test_a_closed_room_is_empty(rooms: Rooms) -> None:
    """R36: close_room."""
    rooms.adapter.close_room("red")
    rooms.adapter.close_room("red")
    assert rooms.receivers(("red",)) == ""
    assert rooms.adapter.rooms_of("b") == ["b", "blue"]


def test_who_is_here(rooms: Rooms) -> None:
    assert rooms.adapter.members_of(None) == ["a", "b", "c", "d"]
    assert not rooms.adapter.empty
    for sid in "abcd":
        rooms.adapter.remove(sid)
    assert rooms.adapter.empty


def test_moves_are_told_but_for_a_clients_own_room(rooms: Rooms) -> None:
    rooms.adapter.join("a", "red")  # again: no move
    rooms.adapter.remove("a")
    assert rooms.moves[0] == ("join", "a", "red")
    assert rooms.moves[-1] == ("leave", "a", "red")
    assert len(rooms.moves) == 5


def test_the_position_of_the_first_entry_counts() -> None:
    positions = iter(range(100))
    adapter = Adapter(position=lambda: next(positions))
    adapter.add(Member("a"))
    adapter.join("a", "red")
    adapter.join("a", "red")
    assert adapter.positions_of("a") == {"a": 0, "red": 1}
    adapter.restore("a", {"a": 7, "blue": 9})
    assert adapter.positions_of("a") == {"a": 7, "red": 1, "blue": 9}


def test_offsets_and_volatile_reach_the_member(rooms: Rooms) -> None:
    member = rooms.members["a"]
    rooms.adapter.deliver(Envelope("/", ("a",), (), WORD, offset="o1"))
    rooms.adapter.deliver(Envelope("/", ("a",), (), WORD, volatile=True))
    assert (member.last_offset, member.got) == ("o1", [WORD, ("volatile", WORD)])


def tables(adapter: Adapter) -> list[dict[Any, Any]]:
    return [
        adapter._members,
        adapter._rooms,
        adapter._rooms_of,
        *adapter._rooms.values(),
        *adapter._rooms_of.values(),
    ]


@pytest.mark.parametrize("way", ["leave", "close_room", "remove"])
def test_rooms_that_were_left_give_their_memory_back(way: str) -> None:
    adapter = Adapter()
    for sid in "ab":
        adapter.add(Member(sid))
    for number in range(30_000):
        adapter.join("a", number)
    adapter.join("b", 0)
    assert sum(map(sys.getsizeof, (adapter._rooms, adapter._rooms_of["a"]))) > 2_000_000
    for number in range(1, 30_000):
        if way == "leave":
            adapter.leave("a", number)
        elif way == "close_room":
            adapter.close_room(number)
    if way == "remove":
        adapter.remove("a")
    assert sum(map(sys.getsizeof, tables(adapter))) < 20 * TABLE_MIN_BYTES
    assert adapter.members_of(0) == (["b"] if way == "remove" else ["a", "b"])
    assert adapter.rooms_of("b") == ["b", 0]


@pytest.mark.parametrize("way", ["leave", "remove"])
def test_members_that_have_gone_give_their_memory_back(way: str) -> None:
    adapter = Adapter()
    for number in range(30_000):
        adapter.add(Member(str(number)))
        adapter.join(str(number), "room")
    for number in range(1, 30_000):
        if way == "leave":
            adapter.leave(str(number), "room")
        else:
            adapter.remove(str(number))
    held = [adapter._rooms["room"], *([] if way == "leave" else tables(adapter))]
    assert sum(map(sys.getsizeof, held)) < 20 * TABLE_MIN_BYTES
    assert adapter.members_of("room") == ["0"]


def test_a_table_is_copied_seldom() -> None:
    """An entry that leaves costs no more than one that is copied."""
    table = dict.fromkeys(range(2**16))
    copied_count = 0
    for key in range(2**16):
        del table[key]
        smaller = shrunk(table)
        if smaller is not table:
            copied_count += len(smaller)
            table = smaller
    assert table == {}
    assert copied_count < 2**16
    assert sys.getsizeof(table) < TABLE_MIN_BYTES


def test_a_client_has_so_many_rooms_and_no_more() -> None:
    adapter = Adapter(rooms_max_count=3)
    adapter.add(Member("a"))
    for room in (1, 2, 3, 3):
        assert adapter.enter("a", room)
    assert adapter.full("a", 4)
    with pytest.raises(ValueError, match="--limit-rooms"):
        adapter.enter("a", 4)
    assert adapter.enter("a", 2)  # it is there already
    adapter.leave("a", 1)
    assert adapter.enter("a", 4)
    assert set(adapter.rooms_of("a")) == {"a", 2, 3, 4}


def test_what_an_operator_is_told_of_rooms(rooms: Rooms) -> None:
    """Without those of one client's own name."""
    rooms.adapter.join("a", "blue")
    assert (rooms.adapter.clients_count, rooms.adapter.rooms_count) == (4, 2)
    assert rooms.adapter.biggest_rooms(1) == [("blue", 3)]
    assert rooms.adapter.biggest_rooms(9) == [("blue", 3), ("red", 2)]
    empty = Adapter(None)
    assert (empty.clients_count, empty.rooms_count, empty.biggest_rooms(9)) == (0, 0, [])


def test_who_leaves_a_room_that_is_none_moves_nothing(rooms: Rooms) -> None:
    moves = list(rooms.moves)
    rooms.adapter.leave("a", "nowhere")
    assert rooms.moves == moves


def test_nobody_need_hear_who_moves() -> None:
    adapter = Adapter(None)
    adapter.add(Member("a"))
    adapter.join("a", "red")
    adapter.leave("a", "red")
    assert adapter.rooms_count == 0


def test_who_hears_of_a_leave_may_close_the_rooms_that_are_left_next() -> None:
    heard: list[tuple[str, str, Any]] = []

    def moved(what: str, sid: str, room: Any) -> None:
        heard.append((what, sid, room))
        if what == "leave":
            for other in {"red", "blue"} - {room}:
                adapter.close_room(other)

    adapter = Adapter(moved)
    for sid in "ab":
        adapter.add(Member(sid))
        for room in ("red", "blue"):
            adapter.join(sid, room)
    heard.clear()
    adapter.remove("a")
    assert (adapter.clients_count, adapter.rooms_count) == (1, 0)
    assert heard.count(("leave", "b", "red")) == heard.count(("leave", "b", "blue")) == 1
