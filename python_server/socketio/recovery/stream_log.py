"""Recoverable events of a process whose machines share a stream, and what a client has got of it. Sans-I/O.

Must not know: sessions, packets' text, clocks (time is an argument), how a record is kept or found.

An event of another machine comes at its place in the stream. One of this machine is heard at once, and gets
its place when the stream brings it back (`StreamMarks`). So a client has got all events of others up to a
place, and of each process of its own machine all up to a name; both say in any process what it has missed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.port import Envelope, Room, StreamBegun, StreamMarks
from python_server.socketio.recovery.awaited import AwaitedEvents
from python_server.socketio.recovery.checkpoints import Checkpoint, Checkpoints
from python_server.socketio.recovery.event_log import Entry, EventLog
from python_server.socketio.recovery.event_names import TAG_CHARACTERS, EventNames, sender_and_number
from python_server.socketio.recovery.machine_events import MachineEvents
from python_server.socketio.recovery.stream_record import StreamRecord

# Names of events that a client was sent last, by which it says where it was cut off; what it had not taken of
# more is unknown. As many as a window of TCP holds of small events.
SENT_MAX_COUNT: Final = 500
# Of events that no other process has heard: the last ones of more are kept.
PRIVATE_MAX_BYTES: Final = 256 * 1024
# A sibling's event comes on its own way at the latest so long after the stream has brought it; one that does
# not died with its sender.
SIBLING_SECONDS: Final = 10.0


class Reach(Enum):
    """Why it cannot be said what a client has missed."""

    LATER = auto()  # the stream has not come so far here
    EARLIER = auto()  # something must be read once more that this process has not heard, or forgotten
    NEVER = auto()  # too long ago, or its last event is unknown


class Marked(NamedTuple):
    """Marks whose events of siblings have not all come."""

    moment: float
    marks: StreamMarks


class LeftRoom(NamedTuple):
    """A client was in that room: what stands from one position until before the other was for it."""

    room: Room
    entered: int
    ended: int


class StreamLog:
    """Every method but `next_offset` belongs to the loop's thread.

    Args:
        max_seconds: how long events and clients are kept. max_bytes: of all events together.

    Attributes:
        place: all that stands in the stream until there was heard; 0 before it is known.
        holes_count: how often something was lost on its way here.
        is_private: is an event of this process for its own clients alone, so that no other will hear it?
        said_alone: called with each of them.
    """

    # What is for the clients of one process alone has no name that others could find.
    names_local = False

    def __init__(self, max_seconds: float, max_bytes: int) -> None:
        self.events: EventLog = EventLog(max_seconds, max_bytes)
        names = EventNames()
        self.tag = names.tag
        # Any thread: the name of an event about to be sent; unique among all processes.
        self.next_offset: Callable[[], str] = names.make
        self.place = 0
        self.holes_count = 0
        self.is_private: Callable[[Envelope], bool] = lambda envelope: False
        self.said_alone: Callable[[Envelope], None] = lambda envelope: None
        self._hole_place = 0  # the last one's
        self._machine: MachineEvents = MachineEvents(self.tag)
        # Of each process of our machine, and of others, the last event heard, and when.
        self._own: dict[str, tuple[str, float]] = {}
        self._others: dict[str, tuple[str, float]] = {}
        # Of other machines, by name: where those stand here that were heard behind `place`.
        self._ahead: dict[str, tuple[int, int]] = {}
        self._marked: deque[Marked] = deque()
        self._begun: StreamBegun | None = None
        # Read once more from the stream for those who came from elsewhere: what stands between two places.
        self._history = EventLog(max_seconds, max_bytes)
        self._history_places = (0, 0)
        self.lacks: tuple[int, int] = (0, 0)  # what is to be read for who was told EARLIER
        # At some places: from which position on there was something that stands behind, and which came later.
        self._places = Checkpoints()
        self.awaited: AwaitedEvents = AwaitedEvents()

    @property
    def has_begun(self) -> bool:
        """Is it known from which place on all comes here?"""
        return bool(self._places)

    # What is heard

    def entered(self, now: float) -> int:
        """Where a client is that enters a room now: it gets what stands behind."""
        return self.events.position

    def append(self, envelope: Envelope, now: float) -> None:
        """An event with an offset leaves, or a sibling's came."""
        name = envelope.offset
        assert name is not None
        if envelope.place:
            self._others[name[:TAG_CHARACTERS]] = (name, now)
            self._ahead[name] = (envelope.place, self.events.position)
        else:
            tag = name[:TAG_CHARACTERS]
            if tag == self.tag and self.is_private(envelope):
                self.said_alone(envelope)
            else:
                self._own[tag] = (name, now)
                self._machine.add(name, self.events.position)
        self.events.append(envelope, now)
        self.events.expire(now)
        if self._marked:
            self._look(now)

    def hear(self, envelope: Envelope, now: float) -> Envelope | None:
        """An event of another process, without the clients that have got it where they were before; None: it
        was heard already, since its sender could not know that it had been said."""
        assert envelope.offset is not None
        if envelope.place and self.events.position_of(envelope.offset) >= 0:
            return None
        envelope = self.awaited.without_repeats(envelope)
        self.append(envelope, now)
        return envelope

    def reached(self, told: StreamMarks | StreamBegun, now: float) -> None:
        """The stream was read from place to place; or it is known from which place on all comes here."""
        if isinstance(told, StreamBegun):
            self._begun = told
        else:
            if told.hole:
                self.holes_count += 1
                if told.begin:  # else only those who were here already may have missed something
                    self._hole_place = told.end
            self._marked.append(Marked(now, told))
        self._look(now)

    def _look(self, now: float) -> None:
        """Go on to the place until which all was heard on every way."""
        while self._marked and self._begun is not None:
            moment, marks = self._marked[0]
            heard = self._machine.all_heard(marks.own, self._begun.place)
            if heard is False and now - moment < SIBLING_SECONDS:
                return
            if not heard:
                self.holes_count += 1
                self._hole_place = marks.end
            self._marked.popleft()
            for name, place in marks.own.items():
                self._machine.place(name, place)
            self.place = max(marks.end, self.place)  # who reads anew may tell a hole behind us
            self._ahead = {name: where for name, where in self._ahead.items() if where[0] > marks.end}
            if self.place >= self._begun.place:
                if not self._places:
                    self._begin(self._begun)
                self._note()

    def _begin(self, begun: StreamBegun) -> None:
        """What was said before siblings knew us has its place, which we may not have been told."""
        for name in begun.last:
            self._machine.place(name, 1)

    def _note(self) -> None:
        """From which position on stands what is behind `place`, which later only rises."""
        first = end = self.events.position
        for at in (self._machine.first_unplaced(end), *(at for _, at in self._ahead.values())):
            first = min(first, at)
        self._places.note(self.place, first, end, self.events.first)

    def sweep(self, now: float) -> None:
        """Once in a while, also where nothing is said: forget what nobody will ask for any more."""
        self.events.expire(now)
        first, oldest = self.events.first, now - 2 * self.events.max_seconds
        self._machine.sweep(first)
        for lasts in (self._own, self._others):
            for tag in [tag for tag, last in lasts.items() if last[1] < oldest]:
                del lasts[tag]
                self._machine.forget(tag)
        self.awaited.sweep(now)
        self._history.expire(now)
        if self._history.first or not self._history.size_bytes:  # it is not whole any more
            self._history = EventLog(self.events.max_seconds, self.events.total_max_bytes)
            self._history_places = (0, 0)
        self._look(now)

    # What a client has got

    def heard_names(self) -> list[str]:
        """Behind `place`: of each process the last event that was heard."""
        own = (name for name, _ in self._own.values() if self._machine.is_unplaced(name))
        return list({name[:TAG_CHARACTERS]: name for name in (*own, *self._ahead)}.values())

    def knows(self, names: Iterable[str]) -> bool:
        """Have all these events come here, or later ones of their senders?"""
        return all(self._has_come(name) or self._place_of(name) for name in names)

    def snapshot(
        self,
        record: StreamRecord,
        rooms: Mapping[Room, int],
        left: Sequence[LeftRoom],
        joined_position: int,
        last_offset: str | None,
    ) -> None:
        """Note in its record what a client has got until now.

        Args:
            record: with what it was sent on its return, and what it had got then that was not heard here.
            rooms: those it is in, each with the position when it entered. left: those it was in.
            joined_position: when it came here.
        """
        record.place = self.place
        carried = {tag: name for tag, name in record.own.items() if not self._has_come(name)}
        # What has a place is not behind ours.
        own = {tag: name for tag, (name, _) in self._own.items() if self._machine.is_unplaced(name)}
        record.own = own | carried
        record.ahead = [*self._ahead, *(name for name in record.ahead if not self._has_come(name))]
        record.last_offset = last_offset
        sent, is_whole = self._sent(record, rooms, left, joined_position)
        if not is_whole:  # what it brought along is not next to them
            record.sent_last = []
        if not is_whole or not record.sent_from:
            record.sent_from = self._places.place_before(sent[0].position if sent else self.events.position)
        record.sent_last = [*record.sent_last, *(entry.envelope.offset for entry in sent)][-SENT_MAX_COUNT:]
        private = {
            str(entry.envelope.offset): list(entry.envelope.prepared.packets)
            for entry in sent
            if self._is_private_here(entry.envelope)
        }
        record.private = _last_of(record.private | private, record.sent_last)

    def _sent(
        self, record: StreamRecord, rooms: Mapping[Room, int], left: Sequence[LeftRoom], joined_position: int
    ) -> tuple[list[Entry], bool]:
        """What was sent to a client last, in that order, and whether that is all since it came."""
        stays: dict[Room, list[tuple[int, int]]] = {}
        for room, entered, ended in left:
            stays.setdefault(room, []).append((entered, ended))
        for room, entered in rooms.items():
            stays.setdefault(room, []).append((entered, self.events.position))

        def was_in(room: Room, position: int) -> bool:
            return any(entered <= position < ended for entered, ended in stays.get(room, ()))

        sent: list[Entry] = []
        said = self.events.said_to(record.namespace, stays, joined_position, SENT_MAX_COUNT)
        for entry in said:
            position, named = entry.position, entry.envelope.rooms
            reached = named is None or any(was_in(room, position) for room in named)
            if reached and not any(was_in(room, position) for room in entry.envelope.excepted):
                sent.append(entry)
        return sent, len(said) < SENT_MAX_COUNT and joined_position >= self.events.first

    def _is_private_here(self, envelope: Envelope) -> bool:
        """Only its bytes can be told to others."""
        name = str(envelope.offset)
        return name.startswith(self.tag) and name not in self._machine

    def missed(self, record: StreamRecord, offset: str | None) -> list[Envelope] | Reach:
        """The events that a client has missed, in order.

        Args:
            offset: of the last event the client saw, None when it saw none.
        """
        if self.place < record.place or not self._places:
            return Reach.LATER
        start = self._start_behind(record.place)
        if start is None or self._hole_place > record.place:
            return Reach.NEVER
        if self._lacks(record.place):
            return Reach.EARLIER
        # Also of one that was connected when it was made: what else it has got since only its process knows.
        # A sibling's event may come in the stream long after the client got it.
        unseen = self._unseen(record, offset)
        if isinstance(unseen, Reach) and record.sent_from and self._lacks(record.sent_from):
            return Reach.EARLIER
        if isinstance(unseen, Reach):
            return unseen
        # What it was sent may stand in the stream once more, behind its place.
        known = {*record.ahead, *map(str, record.sent_last), *(str(envelope.offset) for envelope in unseen)}
        last = {tag: (self._place_of(name), name) for tag, name in record.own.items()}
        entries = self._history.sent_to(record.namespace, record.rooms, self._history_behind(record.place))
        for entry in self.events.sent_to(record.namespace, record.rooms, start):
            if not self._is_private_here(entry.envelope):  # what it was sent here then is known
                entries.append(entry)
        for entry in entries:
            name = str(entry.envelope.offset)
            if name in known or not self._is_behind(record, last, name):
                continue
            known.add(name)
            unseen.append(entry.envelope)
        return unseen

    def remember(self, begin: int, end: int, envelopes: list[Envelope], now: float) -> None:
        """What stands in the stream between two places, read once more."""
        self._history = EventLog(self.events.max_seconds, self.events.total_max_bytes)
        for envelope in envelopes:
            name = str(envelope.offset)
            if self._history.position_of(name) < 0:  # else its sender said it again
                self._history.append(envelope, now)
                self._machine.place(name, envelope.place)
        self._history_places = begin, end

    def take_over(self, record: StreamRecord, missed: list[Envelope], now: float) -> None:
        """A client comes here and is sent what it missed: nothing of that, or of what it had, comes again."""
        names = [str(envelope.offset) for envelope in missed]
        for name in names:
            tag = name[:TAG_CHARACTERS]
            if tag in record.own:
                record.own[tag] = name
        record.own = {tag: name for tag, name in record.own.items() if not self._has_come(name)}
        record.ahead = [name for name in record.ahead if not self._has_come(name)]
        # Its sender may say once more what it was sent.
        again = (name for name in (*record.sent_last, *names) if name and self.events.position_of(name) < 0)
        ahead = dict.fromkeys((*record.ahead, *again))
        self.awaited.add(record.sid, record.own.values(), ahead, now + self.events.max_seconds)

    def _has_come(self, name: str) -> bool:
        """That event, or a later one of its sender?"""
        tag, number = sender_and_number(name)
        last = self._own.get(tag) or self._others.get(tag)
        return last is not None and (
            self.events.position_of(name) >= 0 or number <= sender_and_number(last[0])[1]
        )

    def _place_of(self, name: str) -> int:
        """0: it has none, or is not here."""
        if place := self._machine.known_place(name):
            return place
        for log in (self.events, self._history):
            position = log.position_of(name)
            if position >= 0 and (place := log.at(position).envelope.place):
                return place
        return 0

    def _is_behind(self, record: StreamRecord, last: dict[str, tuple[int, str]], name: str) -> bool:
        """Is an event later than what the client has got of its sender?"""
        place = self._place_of(name)
        tag, number = sender_and_number(name)
        if tag not in last:
            return not place or place > record.place
        last_place, last_name = last[tag]
        if place and last_place and place != last_place:  # the same: the one was never in the stream
            return place > last_place
        position, last_position = map(self.events.position_of, (name, last_name))
        if position >= 0 and last_position >= 0:
            return position > last_position
        return number > sender_and_number(last_name)[1]

    def _unseen(self, record: StreamRecord, offset: str | None) -> list[Envelope] | Reach:
        """What the client was sent, but has not taken."""
        if offset == record.last_offset:
            return []
        if offset not in record.sent_last:
            return Reach.NEVER
        unseen: list[Envelope] = []
        for name in record.sent_last[record.sent_last.index(offset) + 1 :]:
            assert name is not None  # which is in front alone
            log = self.events if self.events.position_of(name) >= 0 else self._history
            position = log.position_of(name)
            if position >= 0:
                unseen.append(log.at(position).envelope)
            elif name in record.private:
                prepared = Prepared(record.private[name])
                unseen.append(Envelope(record.namespace, (record.sid,), (), prepared, name))
            else:
                return Reach.NEVER if self._has_come(name) else Reach.LATER
        return unseen

    def _history_behind(self, place: int) -> int:
        """Where in the history stands what follows a place."""
        log = self._history
        positions = range(log.first, log.position)
        return log.first + bisect_right(positions, place, key=lambda at: log.at(at).envelope.place)

    def _first_place(self) -> Checkpoint | None:
        """All that stands behind it is here; None: nothing is known of that."""
        return self._places.since(self.events.first)

    def _start_behind(self, place: int) -> int | None:
        """From where on to look here for what stands behind that place, or behind the first that is here."""
        first = self._first_place()
        if first is None:
            return None
        start = self._places.first_behind(place)
        return first.first if start is None else start

    def _lacks(self, place: int) -> bool:
        """Must what stands behind that place be read once more? Then `lacks` says from where to where."""
        first = self._first_place()
        begin, end = self._history_places
        if first is None or first.place <= place or (begin <= place and end >= first.place):
            return False
        self.lacks = place, first.place
        return True


def _last_of(
    private: dict[str, list[str | bytes]], names: Sequence[str | None]
) -> dict[str, list[str | bytes]]:
    """Those of these names, as far as their bytes are not too many."""
    kept: dict[str, list[str | bytes]] = {}
    size_bytes = 0
    for name in reversed(names):
        if name in private:
            size_bytes += sum(map(len, private[name]))
            if size_bytes > PRIVATE_MAX_BYTES:
                break
            kept[name] = private[name]
    return kept
