"""What a client's recovery needs: one record, owned by its socket, kept when it is lost, sent as it is.

Must not know: sessions, who sends a record, when, or what is done with it. Sans-I/O.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.port import ROOM_LIMIT, Envelope, Malformed, Room
from python_server.socketio.cluster.requests import Member
from python_server.socketio.recovery.event_names import series_and_number
from python_server.socketio.values import JSONValue

# An event with the moment at which a process heard it, on the machine's monotonic clock, in seconds.
HeardEvent = tuple[float, Envelope]
# Of each process, by its tag: the name of the last event that was heard of it, and when.
HeardOf = dict[str, tuple[str, float]]
# Of one part of an answer: between two of them others pass on the same link.
FOUND_COUNT: Final = 500
# And of its packets: others wait for a whole part, and none may be longer than a link's frame.
FOUND_BYTES: Final = 256 * 1024
# In the place of an event that cannot travel.
_NO_PACKETS: Final = Prepared(())


class RecoveryRecord(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What is known of a client in a namespace in case its connection is lost.

    Attributes:
        namespace, sid: of its socket. pid: the secret with which it asks for its recovery.
        came_at: when it connected to the process that has this; of two records of a client the later counts.
        recovered: has it been lost before and come back?
        joined_position: of the log, when it connected here.

        authorized_until, members: as the socket's, when it is lost.
        compare_from: when it began, as a new client. Who takes it over adds what it has heard since of
            processes not in `heard`: what was said before, that process may never have heard.

        Set when it is lost:
        left_position: of the log, at that moment.
        rooms: those it was in, each with the log's position when it entered; or below 0, where the log was
            empty or it entered elsewhere, the moment: in microseconds of the machine's monotonic clock. In a
            record that was found for another process: with that moment.
        last_offset: of the last recoverable event it was sent, None when there was none.
        data: the application's own.
        expires_at: until when it may come back.
        offered: has another process been told of it, where it may be by now?

        Of one that came from another process; positions of this log say nothing of that time:
        missed_elsewhere: the events it was sent on its return, in that order.
        seen_elsewhere: offset of the last event it had seen before them.
        ahead: the events behind `heard` that it has got all the same, and when they were heard: who had them
            may have begun too late for what was said before them.
        heard: how far each process was heard where the client was: it has, or will get, what was said to it
            until then. Of one that has come back: of those processes that were heard less far here.
    """

    namespace: str
    sid: str
    pid: str
    came_at: float = 0.0
    recovered: bool = False
    joined_position: int = 0
    left_position: int = 0
    rooms: dict[Room, int] = {}
    last_offset: str | None = None
    data: Any = None
    expires_at: float = 0.0
    offered: bool = False
    missed_elsewhere: list[HeardEvent] = []
    seen_elsewhere: str | None = None
    heard: HeardOf = {}
    ahead: dict[str, float] = {}
    compare_from: float = 0.0
    authorized_until: float | None = None
    members: dict[Room, Member] = {}

    def older_than(self, came_at: float | None) -> bool:
        """Did it come to another process later? None: to one that does not say when."""
        return came_at is None or self.came_at < came_at

    def was_in(self, rooms: tuple[Room, ...] | None, moment: float) -> bool:
        """Where `rooms` have moments: had it entered one of those, perhaps, by then?"""
        if rooms is None:
            return True
        return any(room in self.rooms and self.rooms[room] <= moment * 1e6 for room in rooms)


class FetchQuestion(msgspec.Struct, forbid_unknown_fields=True):
    """Hand over the lost client of that secret. Answered by `FoundPart`s, encoded, None, or
    False where it is known and what it has missed is not kept any more.

    Attributes:
        offset: of the last event the client saw, None when it saw none.
    """

    pid: str
    offset: str | None


class FoundPart(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A part of an answer to a FetchQuestion.

    Attributes:
        teller: the tag of the log that answers: several may at once. events: the next ones of those that the
            client has missed.
        record: of the last part: the client's, without them.
    """

    teller: str
    events: list[HeardEvent]
    record: RecoveryRecord | None = None


def found_parts(teller: str, record: RecoveryRecord, complain: Callable[[str, str], None]) -> Iterator[bytes]:
    """The record as it travels, in parts of at most FOUND_COUNT events and FOUND_BYTES, or of one event; what
    is left out is told."""
    bare = travelling(replace(record, missed_elsewhere=[]), complain)
    part: list[HeardEvent] = []
    size_bytes = 0
    for each in map(travelling_event, record.missed_elsewhere):
        nbytes = each[1].prepared.queued_bytes
        if part and (len(part) >= FOUND_COUNT or size_bytes + nbytes > FOUND_BYTES):
            yield encode(FoundPart(teller, part))
            part, size_bytes = [], 0
        if each[1].rooms != ():
            part.append(each)
            size_bytes += nbytes
    yield encode(FoundPart(teller, part, bare))


def travelling(record: RecoveryRecord, complain: Callable[[str, str], None]) -> RecoveryRecord:
    """The record as it can travel; what is left out is told to `complain`: its kind, and a sentence."""
    left_out = [f"room {room!r}" for room in record.rooms if not _is_room(room)]
    data = record.data
    if type(data) is dict:
        items = [*data.items()]  # a thread of the application may add some meanwhile
        data = {key: value for key, value in items if _is_text(key) and _travels(value)}
        left_out += [f"data[{key!r}]" for key, _ in items if key not in data]
    elif not _travels(data):
        left_out.append("data")
        data = None
    if left_out:
        complain(
            "recovery across workers",
            f"a client goes to another process without {', '.join(left_out[:3])}: "
            "only JSON values can travel, and rooms that are text or a number",
        )
    return replace(
        record,
        rooms={room: position for room, position in record.rooms.items() if _is_room(room)},
        members={room: member for room, member in record.members.items() if _is_room(room)},
        data=data,
        missed_elsewhere=[
            event for event in map(travelling_event, record.missed_elsewhere) if event[1].rooms != ()
        ],
    )


def travelling_event(event: HeardEvent) -> HeardEvent:
    """The event without rooms that no other process can have; one that has no other is for nobody."""
    moment, envelope = event
    rooms = None if envelope.rooms is None else tuple(filter(_is_room, envelope.rooms))
    if rooms == ():
        return moment, envelope._replace(rooms=(), excepted=(), prepared=_NO_PACKETS)
    return moment, envelope._replace(rooms=rooms, excepted=tuple(filter(_is_room, envelope.excepted)))


def merged(known: list[HeardEvent], added: list[HeardEvent]) -> list[HeardEvent]:
    """Both lists as one, each in its order; and none of `added` stands behind a later one of its sender, nor
    behind what was heard later: who speaks at two processes goes on at the second when all have heard the
    first."""
    names = {envelope.offset for _, envelope in known}
    added = [event for event in added if event[1].offset not in names]
    if not known or not added:
        return known + added
    # Of each sender the numbers of its events, and where they stand; they rise, as it numbered them.
    of_series: dict[str, list[tuple[int, int]]] = {}
    for place, (_, envelope) in enumerate(known):
        series, number = series_and_number(str(envelope.offset))
        of_series.setdefault(series, []).append((number, place))
    until = [*accumulate((moment for moment, _ in known), max)]
    before: dict[int, list[HeardEvent]] = {}
    for event in added:
        series, number = series_and_number(str(event[1].offset))
        its = of_series.get(series, [])
        at = bisect_right(its, (number, len(known)))
        first, last = its[at - 1][1] + 1 if at else 0, its[at][1] if at < len(its) else len(known)
        before.setdefault(max(first, min(last, bisect_right(until, event[0]))), []).append(event)
    events: list[HeardEvent] = []
    for place, event in enumerate(known):
        events += before.get(place, ())
        events.append(event)
    return events + before.get(len(known), [])


def checked(events: Iterable[HeardEvent]) -> None:
    """What no decoder checks. Raises Malformed."""
    for _, envelope in events:
        if envelope.offset is None or not all(map(_is_room, (*(envelope.rooms or ()), *envelope.excepted))):
            raise Malformed("an event without an offset, or with a room of a type that no room has")


def decoder(shape: object) -> Callable[[JSONValue], Any]:
    """Reads what `encode` has made of that shape. Raises Malformed."""
    decode = msgspec.msgpack.Decoder(shape, dec_hook=_prepared).decode

    def read(told: JSONValue) -> Any:
        try:
            return decode(told)
        except (msgspec.MsgspecError, TypeError, RecursionError, UnicodeError) as error:
            raise Malformed(str(error)) from None

    return read


def decode_part(told: JSONValue) -> FoundPart:
    """An encoded part of an answer. Raises Malformed."""
    part: FoundPart = _decode_part(told)
    checked(part.events)
    if part.record is not None:
        checked(part.record.missed_elsewhere)
    return part


@dataclass(slots=True)
class ComingRecords:
    """Records of other processes, whose parts come one behind the other from each."""

    _events: dict[str, list[HeardEvent]] = field(default_factory=dict, init=False)  # by who tells them

    def take(self, told: JSONValue) -> RecoveryRecord | None:
        """One more part; returns the record that it completes. Raises Malformed."""
        part = decode_part(told)
        self._events.setdefault(part.teller, []).extend(part.events)
        if part.record is not None:
            part.record.missed_elsewhere += self._events.pop(part.teller)
        return part.record

    def clear(self) -> None:
        """No more parts will come."""
        self._events.clear()


def _packets(value: object) -> list[str | bytes]:
    if type(value) is not Prepared:
        raise TypeError(f"{type(value).__name__} cannot travel")
    return list(value.packets)


def _prepared(shape: type, told: object) -> Prepared:
    if type(told) is not list or not all(type(packet) in (str, bytes) for packet in told):
        raise ValueError("packets are a list of text and bytes")
    return Prepared(told)


encode: Final = msgspec.msgpack.Encoder(enc_hook=_packets).encode
_decode_part: Final = decoder(FoundPart)


def _is_room(value: object) -> bool:
    """Text or a number that every process reads: may it name a room in another one?"""
    return _is_text(value) or (type(value) is int and -ROOM_LIMIT <= value < ROOM_LIMIT)


def _is_text(value: object) -> bool:
    """A string that UTF-8 has bytes for: no lone surrogate."""
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _travels(value: object) -> bool:
    """JSON, not too deep: nothing that contains itself."""
    try:
        return _is_json(value)
    except RecursionError:
        return False


def _is_json(value: object) -> bool:
    if type(value) is list or type(value) is tuple:
        return all(map(_is_json, value))
    if type(value) is dict:
        return all(_is_text(key) and _is_json(item) for key, item in [*value.items()])
    return value is None or type(value) in (bool, float) or _is_room(value)
