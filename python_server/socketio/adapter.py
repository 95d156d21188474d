"""Who is in which room of one namespace, and who receives a broadcast. Sans-I/O.

Must not know: packets' text, sessions, clocks; how a member is sent to.
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeVar, cast

from python_server.socketio.client import Socket
from python_server.socketio.cluster.port import Envelope, Room
from python_server.socketio.traffic import Traffic
from python_server.socketio.values import RoomName

# Called with ("join" or "leave", sid, room) for every room but a client's own.
Moved = Callable[[str, str, RoomName], None]


_NOBODY: Final[Mapping[str, Socket]] = MappingProxyType({})
# A table below it is left as it is; an entry of a full one takes up to a hundred bytes.
TABLE_MIN_BYTES: Final = 16_384
TABLE_ENTRY_BYTES: Final = 400
Key = TypeVar("Key")
Value = TypeVar("Value")


def shrunk(table: dict[Key, Value]) -> dict[Key, Value]:
    """The table, or a smaller one: of its own a dict never gives back what it once needed.

    Looked at whenever the number of entries is a power of two, so an entry is copied once at most for each
    that has gone.
    """
    count = len(table)
    if count & (count - 1) or sys.getsizeof(table) < TABLE_MIN_BYTES + TABLE_ENTRY_BYTES * count:
        return table
    return dict(table)


@dataclass(eq=False, slots=True)
class Adapter:
    """The rooms of one namespace. Every method belongs to the loop's thread.

    Attributes:
        moved: hears who enters and leaves which room.
        position: of the recovery log, noted for every room a client enters.
        reserved: may a word be the sid of a client of another process?
        rooms_max_count: of one client, its own room aside; 0: no bound.
        traffic: what its members receive is counted there, and what they send; None: nobody counts.
        streamed: delivers to streams of its rooms, which are no members; None: there are none.
    """

    moved: Moved | None = None
    position: Callable[[], int] = int
    reserved: Callable[[RoomName], bool] = lambda room: False
    rooms_max_count: int = 0
    traffic: Traffic | None = None
    streamed: Callable[[Envelope], None] | None = None
    _members: dict[str, Socket] = field(default_factory=dict)
    _rooms: dict[RoomName, dict[str, Socket]] = field(default_factory=dict)
    _rooms_of: dict[str, dict[RoomName, int]] = field(default_factory=dict)

    def add(self, member: Socket) -> None:
        """A client has come; it is alone in a room of its own name."""
        self._members[member.sid] = member
        member.traffic = self.traffic
        self._rooms_of[member.sid] = {}
        self.join(member.sid, member.sid)

    def remove(self, sid: str) -> None:
        """A client has gone, and with it its places in all rooms."""
        for room in self._rooms_of.pop(sid, ()):
            self._leave(sid, room)
        self._members.pop(sid, None)
        self._rooms_of, self._members = shrunk(self._rooms_of), shrunk(self._members)

    def count_in(self, traffic: Traffic | None) -> None:
        """From here on."""
        self.traffic = traffic
        for member in self._members.values():
            member.traffic = traffic

    @property
    def empty(self) -> bool:
        return not self._members and self.streamed is None

    @property
    def clients_count(self) -> int:
        return len(self._members)

    @property
    def rooms_count(self) -> int:
        """Without those of one client's own name."""
        return max(0, len(self._rooms) - len(self._members))

    def biggest_rooms(self, count: int) -> list[tuple[RoomName, int]]:
        """With how many clients are in each; without those of one client's own name."""
        sizes = ((room, len(sids)) for room, sids in self._rooms.items() if room not in self._members)
        return heapq.nlargest(count, sizes, key=lambda each: each[1])

    def get(self, sid: str) -> Socket | None:
        return self._members.get(sid)

    def join(self, sid: str, room: RoomName) -> None:
        """Nothing happens for a client that has gone."""
        rooms = self._rooms_of.get(sid)
        if rooms is not None:
            new = room not in rooms
            rooms.setdefault(room, self.position())
            self._rooms.setdefault(room, {})[sid] = self._members[sid]
            if new and self.moved is not None and room != sid:
                self.moved("join", sid, room)

    def full(self, sid: str, room: RoomName) -> bool:
        """Has a client all the rooms it may have, and this would be one more?"""
        rooms = self._rooms_of.get(sid, ())
        return 0 < self.rooms_max_count < len(rooms) and room not in rooms

    def enter(self, sid: str, room: RoomName) -> bool:
        """`join` with a verdict: False when the client is not here. Raises ValueError, which says why."""
        if not self.may_enter(sid, room):
            return False
        self.join(sid, room)
        return True

    def may_enter(self, sid: str, room: RoomName) -> bool:
        """Is the client here? Raises ValueError: as `enter`."""
        if sid not in self._members:
            return False
        if room != sid and (room in self._members or self.reserved(room)):
            raise ValueError("cannot enter a sid room")
        if self.full(sid, room):
            raise ValueError(f"the client is in {self.rooms_max_count} rooms already: see --limit-rooms")
        return True

    def leave(self, sid: str, room: RoomName) -> None:
        rooms = self._rooms_of.get(sid)
        if rooms is not None and room in rooms:
            del rooms[room]
            self._rooms_of[sid] = shrunk(rooms)
            self._leave(sid, room)

    def close_room(self, room: RoomName) -> None:
        """Everyone leaves the room. Raises ValueError for a client's own."""
        if room in self._members or self.reserved(room):
            raise ValueError("cannot close a sid room")
        for sid in [*self._rooms.get(room, ())]:
            self.leave(sid, room)

    def positions_of(self, sid: str) -> dict[Room, int]:
        """A client's rooms, each with the position of the recovery log when it entered."""
        return cast("dict[Room, int]", dict(self._rooms_of.get(sid, {})))

    def restore(self, sid: str, rooms: dict[Room, int]) -> None:
        """The rooms of a client that has come back, as they were."""
        for room, position in rooms.items():
            self.join(sid, room)
            self._rooms_of[sid][room] = position

    def rooms_of(self, sid: str) -> list[RoomName]:
        return list(self._rooms_of.get(sid, ()))

    def members_of(self, room: RoomName) -> list[str]:
        """The sids in a room; of everybody for None."""
        return list(self._members if room is None else self._rooms.get(room, ()))

    def is_in(self, sid: str, room: RoomName) -> bool:
        return room in self._rooms_of.get(sid, ())

    def details_of(self, room: RoomName) -> list[tuple[str, str | None, str | None]]:
        """The sids in a room, each with its key and its metadata as JSON."""
        members = self._members if room is None else self._rooms.get(room, _NOBODY)
        known = ((sid, (socket.members or {}).get(room)) for sid, socket in members.items())
        return [(sid, *((None, None) if each is None else (each.key, each.text))) for sid, each in known]

    def count(self, room: RoomName) -> int:
        """How many clients of this process are in a room."""
        return len(self._rooms.get(room, ()))

    def owns(self, rooms: tuple[RoomName, ...] | None) -> bool:
        """Are all of these rooms clients of this process, so that nobody elsewhere is in them?"""
        return rooms is not None and all(map(self._members.__contains__, rooms))

    def deliver(self, envelope: Envelope) -> int:
        """Deliver to the members of this process; returns how many they are."""
        prepared, offset = envelope.prepared, envelope.offset
        if self.streamed is not None:
            self.streamed(envelope)
        members = self.recipients(envelope.rooms, envelope.excepted)
        count = len(members)
        if (traffic := self.traffic) is not None:
            traffic.sent_count += count
            traffic.sent_bytes += count * len(prepared.frames)
        if envelope.volatile:
            for member in members:
                member.send_volatile(prepared)
            return count
        if offset is not None:
            for member in members:
                member.last_offset = offset
        Socket.send_to_all(members, prepared)
        return count

    def recipients(self, rooms: Sequence[RoomName] | None, excepted: Sequence[RoomName]) -> list[Socket]:
        """The members in any of the rooms (None: all), without those in the excepted ones."""
        if rooms is None:
            chosen: Mapping[str, Socket] = self._members
        elif len(rooms) == 1:
            chosen = self._rooms.get(rooms[0], _NOBODY)
        else:
            merged: dict[str, Socket] = {}
            for room in rooms:
                merged.update(self._rooms.get(room, _NOBODY))
            chosen = merged
        if excepted and chosen:
            left_out: set[str] = set()
            for room in excepted:
                left_out.update(self._rooms.get(room, ()))
            return [member for sid, member in chosen.items() if sid not in left_out]
        return [*chosen.values()]

    def _leave(self, sid: str, room: RoomName) -> None:
        """It is in that room, and its own list of rooms has it no more."""
        members = self._rooms[room]
        del members[sid]
        if members:
            self._rooms[room] = shrunk(members)
        else:
            del self._rooms[room]
            self._rooms = shrunk(self._rooms)
        if self.moved is not None and room != sid:
            self.moved("leave", sid, room)
