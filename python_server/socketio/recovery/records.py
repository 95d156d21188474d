"""Lost clients and the events they missed, as they travel between the processes of one machine. Sans-I/O.

Must not know: who sends them, when, or what is done with them.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.port import Envelope, Malformed, Room
from python_server.socketio.cluster.requests import convert, plain
from python_server.socketio.recovery.log import Found, Saved

# Called with (kind, sentence) for what cannot travel.
Complain = Callable[[str, str], None]
# A text packet begins with a digit, so this marks the binary ones, as in a polling payload.
BINARY_MARK: Final = "b"


class FetchQuestion(msgspec.Struct, forbid_unknown_fields=True):
    """Hand over the lost client of that secret. Answered by a FoundRecord, or None.

    Attributes:
        offset: of the last event the client saw, None when it saw none.
    """

    pid: str
    offset: str | None


class EventRecord(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A recoverable event; `moment` is on the machine's monotonic clock, in seconds."""

    offset: str
    moment: float
    namespace: str
    rooms: list[Room] | None
    excepted: list[Room]
    packets: list[str]


class ClientRecord(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """See recovery.Saved."""

    namespace: str
    sid: str
    pid: str
    rooms: list[tuple[Room, int]]
    last_offset: str | None
    joined_at: int
    left_at: int
    data: Any
    expires_at: float
    prelude: list[EventRecord]
    base: str | None
    known: dict[str, float]
    private: list[str]
    claimed_at: float = 0.0


class FoundRecord(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """See recovery.Found."""

    client: ClientRecord
    missed: list[EventRecord]
    known: dict[str, float]
    private: list[str]
    since: float


def event_record(moment: float, envelope: Envelope) -> EventRecord | None:
    """None for rooms that no other process could have: neither text nor a number."""
    rooms = [room for room in envelope.rooms or () if travels(room)]
    if envelope.offset is None or (envelope.rooms and not rooms):
        return None
    return EventRecord(
        envelope.offset,
        moment,
        envelope.namespace,
        None if envelope.rooms is None else rooms,
        [room for room in envelope.excepted if travels(room)],
        [
            packet if isinstance(packet, str) else BINARY_MARK + b64encode(packet).decode("ascii")
            for packet in envelope.prepared.packets
        ],
    )


def envelope_of(record: EventRecord) -> Envelope:
    """The event again. Raises Malformed."""
    try:
        packets: list[str | bytes] = [
            b64decode(packet[1:], validate=True) if packet.startswith(BINARY_MARK) else packet
            for packet in record.packets
        ]
    except binascii.Error as error:
        raise Malformed(f"malformed attachment: {error}") from None
    rooms = None if record.rooms is None else tuple(record.rooms)
    return Envelope(record.namespace, rooms, tuple(record.excepted), Prepared(packets), record.offset)


def client_record(client: Saved, complain: Complain) -> ClientRecord:
    """What of a client can travel; the rest is left out, and told."""
    left_out = [f"room {room!r}" for room in client.rooms if not travels(room)]
    data = client.data
    if type(data) is dict:
        left_out += [
            f"data[{key!r}]" for key, value in data.items() if not (_is_text(key) and _is_json(value))
        ]
        data = {key: value for key, value in data.items() if _is_text(key) and _is_json(value)}
    elif not _is_json(data):
        left_out.append("data")
        data = None
    if left_out:
        complain(
            "recovery across workers",
            f"a client goes to another process without {', '.join(left_out[:3])}: "
            "only JSON values can travel, and rooms that are text or a number",
        )
    return ClientRecord(
        client.namespace,
        client.sid,
        client.pid,
        [(room, position) for room, position in client.rooms.items() if travels(room)],
        client.last_offset,
        client.joined_at,
        client.left_at,
        data,
        client.expires_at,
        event_records(client.prelude),
        client.base,
        client.known,
        sorted(client.private),
        client.claimed_at,
    )


def client_of(record: ClientRecord) -> Saved:
    """The lost client again."""
    return Saved(
        record.namespace,
        record.sid,
        record.pid,
        dict(record.rooms),
        record.last_offset,
        record.joined_at,
        record.left_at,
        record.data,
        record.expires_at,
        events_of(record.prelude),
        record.base,
        record.known,
        frozenset(record.private),
        record.claimed_at,
    )


def tell_found(found: Found, complain: Complain) -> Any:
    """JSON values of a client and what it missed."""
    return plain(
        FoundRecord(
            client_record(found.client, complain),
            event_records((found.known[str(event.offset)], event) for event in found.missed),
            found.known,
            sorted(found.private),
            found.since,
        )
    )


def read_found(data: Any) -> Found:
    """What `tell_found` told. Raises Malformed."""
    record: FoundRecord = convert(data, FoundRecord)
    return Found(
        client_of(record.client),
        [envelope_of(event) for event in record.missed],
        record.known,
        set(record.private),
        record.since,
    )


def event_records(events: Iterable[tuple[float, Envelope]]) -> list[EventRecord]:
    """Those events that can travel."""
    records = (event_record(moment, envelope) for moment, envelope in events)
    return [record for record in records if record is not None]


def log_records(events: Iterable[tuple[float, Envelope]]) -> list[EventRecord]:
    """Every event of a log in its place; those that cannot travel are there for nobody."""
    return [
        event_record(moment, event)
        or EventRecord(str(event.offset), moment, event.namespace, rooms=[], excepted=[], packets=[])
        for moment, event in events
    ]


def events_of(records: Iterable[EventRecord]) -> list[tuple[float, Envelope]]:
    """As `RecoveryLog.entries`. Raises Malformed."""
    return [(record.moment, envelope_of(record)) for record in records]


def travels(room: Any) -> bool:
    """May a room be named in another process?"""
    return _is_text(room) or (type(room) is int and -(2**63) <= room < 2**63)


def _is_text(value: Any) -> bool:
    """A string that UTF-8 has bytes for: no lone surrogate."""
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_json(value: Any) -> bool:
    kind = type(value)
    if value is None or kind in (bool, float) or _is_text(value):
        return True
    if kind is int:
        return -(2**63) <= int(value) < 2**63
    if kind in (list, tuple):
        return all(_is_json(item) for item in value)
    return kind is dict and all(_is_text(key) and _is_json(item) for key, item in value.items())
