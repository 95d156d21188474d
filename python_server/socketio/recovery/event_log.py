"""Recoverable events in the order they were sent, found again by room. Sans-I/O.

Must not know: clients, sessions, packets' text, clocks (time is an argument); bounded in bytes and time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from operator import attrgetter
from typing import Final, NamedTuple

from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.event_names import sender_and_number
from python_server.socketio.values import RoomName

# What an entry costs beside its packet: the envelope, its tuple, its place in the indexes.
ENTRY_BYTES: Final = 400
# What one more room of an entry costs, and what a room costs as long as it has an entry.
ROOM_BYTES: Final = 100
INDEX_BYTES: Final = 300
# In the place of a room: the whole namespace.
EVERYBODY: Final = object()
_WHOLE_NAMESPACE: Final = (EVERYBODY,)


class Entry(NamedTuple):
    """An event with the moment it was heard."""

    position: int
    moment: float
    size_bytes: int
    envelope: Envelope


@dataclass(eq=False, slots=True)
class EventLog:
    """Positions only grow. Every method belongs to the loop's thread.

    Attributes:
        max_seconds: how long events are kept. total_max_bytes: of all together.
        first: the position of the oldest entry. forgotten_at: when the one before it was heard.
        size_bytes: of all events, with what their keeping costs.
    """

    max_seconds: float
    total_max_bytes: int
    first: int = 0
    forgotten_at: float = -inf
    size_bytes: int = 0
    _entries: deque[Entry] = field(default_factory=deque)
    _positions: dict[str | None, int] = field(default_factory=dict)
    # Of each namespace, by room: the entries, by position. A dict, of which the oldest goes and whose
    # newest are read, is a third of a deque as long as it is small.
    _by_room: dict[str, dict[RoomName, dict[int, Entry]]] = field(default_factory=dict)

    @property
    def position(self) -> int:
        """Where the next event will stand."""
        return self.first + len(self._entries)

    def append(self, envelope: Envelope, moment: float) -> None:
        """An event was heard; its moment is not earlier than that of the one before."""
        entries, rooms = self._entries, envelope.rooms
        if entries and moment < entries[-1].moment:
            moment = entries[-1].moment
        size_bytes = envelope.prepared.queued_bytes + ENTRY_BYTES
        if rooms is not None and len(rooms) > 1:
            size_bytes += ROOM_BYTES * (len(rooms) - 1)
        position = self.first + len(entries)
        entry = Entry(position, moment, size_bytes, envelope)
        entries.append(entry)
        self._positions[envelope.offset] = position
        self.size_bytes += size_bytes
        by_room = self._by_room.setdefault(envelope.namespace, {})
        for room in _WHOLE_NAMESPACE if rooms is None else rooms:
            in_room = by_room.get(room)
            if in_room is None:
                in_room = by_room[room] = {}
                self.size_bytes += INDEX_BYTES
            in_room[position] = entry

    def expire(self, now: float) -> None:
        """Forget what is too old or too much."""
        entries = self._entries
        oldest = now - self.max_seconds
        while entries and (self.size_bytes > self.total_max_bytes or entries[0].moment < oldest):
            self._drop(entries.popleft())

    def _drop(self, entry: Entry) -> None:
        position, self.forgotten_at, size_bytes, envelope = entry
        self._positions.pop(envelope.offset, None)
        self.first = position + 1
        self.size_bytes -= size_bytes
        by_room = self._by_room[envelope.namespace]
        for room in _WHOLE_NAMESPACE if envelope.rooms is None else envelope.rooms:
            in_room = by_room.get(room)
            if in_room is not None:  # else it is named twice
                in_room.pop(position, None)
                if not in_room:
                    del by_room[room]
                    self.size_bytes -= INDEX_BYTES
        if not by_room:
            del self._by_room[envelope.namespace]

    def position_of(self, offset: str) -> int:
        """Where the event of that name stands, -1 if it is not here."""
        return self._positions.get(offset, -1)

    def at(self, position: int) -> Entry:
        """The event at a position; it must be kept still."""
        return self._entries[position - self.first]

    def position_at(self, moment: float) -> int:
        """The position of the first event heard at that moment or later."""
        return self.first + bisect_left(self._entries, moment, key=attrgetter("moment"))

    def moment_of(self, position: int) -> float:
        """When the event at that position was heard."""
        return self._entries[position - self.first].moment

    def since(self, position: int) -> Iterator[Entry]:
        """Every event from a position on, oldest first."""
        return islice(self._entries, max(0, position - self.first), None)

    def behind(self, name: str) -> list[Envelope]:
        """What the sender of that event has said behind it, as far as it is kept, in order."""
        tag, number = sender_and_number(name)
        entries = self.since(self.position_of(name) + 1)
        names = ((str(entry.envelope.offset), entry.envelope) for entry in entries)
        return [
            envelope
            for each, envelope in names
            if each.startswith(tag) and sender_and_number(each)[1] > number
        ]

    def sent_to(self, namespace: str, rooms: Collection[RoomName], position: int) -> list[Entry]:
        """From a position on: what was said to who is in these rooms now, in order."""
        entries = self.said_to(namespace, rooms, position)
        return [entry for entry in entries if not any(room in rooms for room in entry.envelope.excepted)]

    def said_to(
        self, namespace: str, rooms: Collection[RoomName], position: int, max_count: int | None = None
    ) -> list[Entry]:
        """From a position on: what was said to any of these rooms, whoever was excepted, in order; the last
        ones of many."""
        by_room = self._by_room.get(namespace, {})
        named = (
            [room for room in rooms if room in by_room]
            if len(rooms) < len(by_room)
            else [room for room in by_room if room in rooms]
        )
        found: dict[int, Entry] = {}
        for room in (EVERYBODY, *named):
            for entry in islice(reversed(by_room.get(room, {}).values()), max_count):
                if entry.position < position:
                    break
                found[entry.position] = entry
        entries = [found[position] for position in sorted(found)]
        return entries if max_count is None else entries[-max_count:]
