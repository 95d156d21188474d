"""What is known of a lost client, as it travels: what cannot is left out and told (recovery/record.py).

It must not know who sends a record, or when.
"""

from typing import Any

import msgspec
import pytest

from brought import brought
from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.port import ROOM_LIMIT, Envelope, Malformed
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.record import (
    FOUND_BYTES,
    HeardEvent,
    RecoveryRecord,
    checked,
    decode_part,
    decoder,
    encode,
    found_parts,
    merged,
    travelling_event,
)

PACKETS = Prepared(["42x"])


def event(rooms: Any, excepted: Any = (), name: str | None = "o") -> HeardEvent:
    return 1.0, Envelope("/", rooms, excepted, PACKETS, name)


def travelled(**fields: Any) -> tuple[RecoveryRecord, list[str]]:
    """A record, as another process reads it, and what was said of it here."""
    said: list[str] = []
    record = RecoveryRecord("/", "s", "p", **fields)
    return brought(record, lambda kind, sentence: said.append(f"{kind}: {sentence}")), said


def test_found_travels_as_it_is() -> None:
    log = RecoveryLog()
    log.save(RecoveryRecord("/", "s", "p", rooms={"s": 0, "news": 0, 7: 3}, data={"a": 1}), 1.0)
    for name, rooms in (("x", ("news",)), ("y", None), ("z", ((1, 2),))):
        envelope = Envelope("/", rooms, ("not here",), Prepared(["42" + name, b"\xff"]), f"{log.tag}{name}")
        log.append(envelope, 20.0)
    found = log.find("p", "/", None, 20.0)
    assert found is not None
    told = brought(found)
    assert [event.offset for _, event in told.missed_elsewhere] == [f"{log.tag}x", f"{log.tag}y"]
    assert told.missed_elsewhere[0][1].prepared.packets == ["42x", b"\xff"]
    assert told.rooms == found.rooms
    # It is not for the client: it says where the log is with that process.
    assert told.heard == {log.tag: (f"{log.tag}z", 20.0)}
    found.missed_elsewhere = told.missed_elsewhere = []
    assert told == found


def test_what_can_travel_is_not_spoken_of() -> None:
    data = {"user": "ada", "roles": ["a", ("b", 1, 0.5, None, True)], "more": {"deep": {"er": []}}}
    record, said = travelled(rooms={"s": 0, "news": 1, 7: 2, -ROOM_LIMIT: 3}, data=data, came_at=4.0)
    assert said == []
    assert record.rooms == {"s": 0, "news": 1, 7: 2, -ROOM_LIMIT: 3}
    assert record.data == {**data, "roles": ["a", ["b", 1, 0.5, None, True]]}
    assert record.came_at == 4.0


@pytest.mark.parametrize("room", [(1, 2), 2.0, None, True, ROOM_LIMIT, b"room", "\ud800"])
def test_a_room_that_no_other_process_can_have_is_left_out(room: Any) -> None:
    record, (sentence,) = travelled(rooms={"s": 0, room: 1})
    assert record.rooms == {"s": 0}
    assert sentence.startswith(
        f"recovery across workers: a client goes to another process without room {room!r}: "
    )


@pytest.mark.parametrize(
    "value", [object(), {1}, 2**63, -(2**63) - 1, "\ud800", [object()], {1: 2}, {"\ud800": 1}, {"a": [b"x"]}]
)
def test_data_that_is_no_json_is_left_out_entry_by_entry(value: Any) -> None:
    record, (sentence,) = travelled(data={"kept": 1, "gone": value})
    assert record.data == {"kept": 1}
    assert "without data['gone']: only JSON values can travel" in sentence
    if type(value) is not dict:
        record, (sentence,) = travelled(data=value)
        assert record.data is None
        assert "without data: " in sentence


def test_what_is_left_out_is_told_in_one_sentence_of_bounded_length() -> None:
    record, (sentence,) = travelled(rooms={(number,): 0 for number in range(100)}, data=object())
    assert record.rooms == {}
    assert sentence.count("room (") == 3


def test_an_event_travels_without_the_rooms_that_others_cannot_have() -> None:
    assert travelling_event(event(("a", (1,)), ((2,), "b"))) == event(("a",), ("b",))
    assert travelling_event(event(None, (object(),))) == event(None)
    _, nobody = travelling_event(event(((1,), None), ("b",)))
    assert (nobody.rooms, nobody.excepted, list(nobody.prepared.packets)) == ((), (), [])
    record, said = travelled(missed_elsewhere=[event(((1,),)), event(("a",))])
    assert [missed.rooms for _, missed in record.missed_elsewhere] == [("a",)]
    assert said == []


def test_events_that_no_decoder_refuses_are_checked() -> None:
    checked([event(None), event(("a", 7), ("b",))])
    for wrong in (event(None, name=None), event(("a", ROOM_LIMIT)), event(None, (True,))):
        with pytest.raises(Malformed, match="an event without an offset, or with a room of a type"):
            checked([wrong])


def test_of_two_records_the_one_of_the_last_return_counts() -> None:
    record = RecoveryRecord("/", "s", "p", came_at=2.0)
    assert [record.older_than(moment) for moment in (1.0, 2.0, 3.0, None)] == [False, False, True, True]


def test_only_packets_are_encoded_in_a_way_of_their_own() -> None:
    with pytest.raises(TypeError, match="object cannot travel"):
        encode(RecoveryRecord("/", "s", "p", data=object()))
    packets = decoder(list[HeardEvent])(encode([event(None)]))[0][1].prepared.packets
    assert list(packets) == ["42x"]
    told = msgspec.msgpack.decode(encode([event(None)]))
    for wrong in ("42x", [1], None):
        told[0][1][3] = wrong
        with pytest.raises(Malformed):
            decoder(list[HeardEvent])(encode(told))


MALFORMED = [{}, [], [1, 2, 3], ["/", "s", "p", 0.0, "yes"], [[], [], {}, [], 0.0], "text", 7, b"\xc1"]
# With an event for what is no room.
MALFORMED.append(
    ["/", "s", "p", 0.0, False, 0, 0, {}, None, None, 0.0, False, [[1.0, ["/", [[]], [], ["42"], "o"]]]]
)


@pytest.mark.parametrize("told", [*MALFORMED, *map(encode, MALFORMED)])
def test_malformed_answers_are_said_so(told: Any) -> None:
    part = encode(["t", [], msgspec.Raw(told)]) if type(told) is bytes else ["t", [], told]
    with pytest.raises(Malformed):
        decode_part(part)


@pytest.mark.parametrize(
    ("known", "added", "all_of_them"),
    [
        ("", "a1 b1", "a1 b1"),
        ("a1 b1", "", "a1 b1"),
        ("a2 b1", "a3 b2", "a2 b1 a3 b2"),
        ("b1 a3 b2", "a1 a2 b3", "b1 a1 a2 a3 b2 b3"),
        ("a9 a10", "af a11", "a9 af a10 a11"),
        ("no number", "b1", "no number b1"),
    ],
)
def test_what_is_added_stands_behind_nothing_later_of_its_sender(
    known: str, added: str, all_of_them: str
) -> None:
    def events(names: str) -> list[HeardEvent]:
        return [event(None, name=name[0] * 8 + name[1:]) for name in names.split()]

    assert merged(events(known), events(added)) == events(all_of_them)


@pytest.mark.parametrize(
    ("known", "added", "all_of_them"),
    [
        ("a1 c2", "b1", "a1 b1 c2"),
        ("a1 c4", "b2 d3", "a1 b2 d3 c4"),
        ("a1 d4 c2", "b3", "a1 b3 d4 c2"),  # each of the known was heard elsewhere, with delays of its own
        ("a9 b5", "a7", "a7 a9 b5"),
        ("a1 a5 b6", "a2 b5", "a1 a2 a5 b5 b6"),
    ],
)
def test_what_is_added_stands_behind_nothing_that_was_heard_later(
    known: str, added: str, all_of_them: str
) -> None:
    """Who spoke at one process and then at another: at the second it went on when all had heard the first."""

    def events(names: str) -> list[HeardEvent]:
        return [(float(name[1:]), event(None, name=name[0] * 8 + name[1:])[1]) for name in names.split()]

    assert merged(events(known), events(added)) == events(all_of_them)


def test_no_part_is_longer_than_a_link_takes() -> None:
    """Some hundred large events in one would raise in the middle of an answer, and hold up all behind it."""
    large = [
        (1.0, Envelope("/", ("r",), (), Prepared(["42" + "x" * 100_000]), f"o{number}"))
        for number in range(300)
    ]
    client = RecoveryRecord("/", "sid", "pid", missed_elsewhere=large)
    parts = [*found_parts("t", client, lambda kind, sentence: None)]
    assert max(map(len, parts)) <= FOUND_BYTES + 10_000
    came = [decode_part(part) for part in parts]
    assert [name.offset for part in came for _, name in part.events] == [
        f"o{number}" for number in range(300)
    ]
    assert [part.record is not None for part in came] == [False] * (len(parts) - 1) + [True]
