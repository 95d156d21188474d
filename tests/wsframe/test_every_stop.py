"""A peer that stops: every conversation ends after each of its bytes, and the connection knows it has ended.

It must not know how bytes come: a test hands over a part of them, then tells that TCP has ended.
"""

from __future__ import annotations

import random
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from wsframe import (
    Close,
    Connection,
    ConnectionClosed,
    Fragment,
    Ping,
    Pong,
    Role,
    State,
    deflate,
)

MakeFrame = Callable[[int, bytes, bytes | None], bytes]
Maker = type[Connection]
MASK = b"\x81\x82\x03\xfd"
ABNORMAL = 1006
KIB = 1024


def packed(*messages: bytes) -> list[bytes]:
    """Payloads of a sender that keeps its context."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return [(compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4] for data in messages]


WORDS = "Grüße an alle, Grüße an euch"
FIRST, SECOND = packed(WORDS.encode(), WORDS.encode() * 3)
# Frames as (first byte, payload, what is complete with it), in the order of arrival.
Frames = list[tuple[int, bytes, Any]]
CONVERSATIONS: dict[str, Frames] = {
    "text": [(0x81, b"a", "a"), (0x81, "Grüße".encode(), "Grüße"), (0x81, b"", ""), (0x81, b"b", "b")],
    "binary": [(0x82, b"\xff\x00", b"\xff\x00"), (0x82, b"x" * 126, b"x" * 126), (0x82, b"", b"")],
    "fragments": [
        (0x01, b"Gr\xc3", None),
        (0x89, b"are you there", Ping(b"are you there")),
        (0x00, b"", None),
        (0x00, b"\xbc\xc3\x9f", None),
        (0x8A, b"", Pong(b"")),
        (0x80, b"e", "Grüße"),
        (0x02, b"", None),
        (0x80, b"end", b"end"),
    ],
    "control": [(0x89, b"", Ping(b"")), (0x8A, b"p" * 125, Pong(b"p" * 125)), (0x89, b"q", Ping(b"q"))],
    "close": [(0x81, b"last", "last"), (0x88, b"\x03\xe9" + "tschüß".encode(), Close(1001, "tschüß"))],
    "close without a code": [(0x89, b"p", Ping(b"p")), (0x88, b"", Close(1005, ""))],
    "close within a message": [(0x01, b"half a mess", None), (0x88, b"\x0f\xa0", Close(4000, ""))],
    "compressed": [
        (0xC1, FIRST, WORDS),
        (0x82, b"plain", b"plain"),
        (0xC2, SECOND, WORDS.encode() * 3),
        (0xC1, b"\x00", ""),
    ],
    "compressed fragments": [
        (0x41, FIRST[:7], None),
        (0x89, b"p", Ping(b"p")),
        (0x00, FIRST[7:], None),
        (0x80, b"", WORDS),
        (0x42, SECOND[:1], None),
        (0x80, SECOND[1:], WORDS.encode() * 3),
        (0x88, b"\x03\xe8", Close(1000, "")),
    ],
}


class Told(NamedTuple):
    """What is known of a connection after some bytes: events, the codes of a close, whether more is due."""

    events: list[Any]
    code: int
    unfinished: bool


class Conversation:
    """The bytes of some frames, and what each part of them, from the first byte on, tells."""

    def __init__(self, make_frame: MakeFrame, role: Role, frames: Frames) -> None:
        self.stream = b""
        self._ends: list[tuple[int, Any, bool]] = []  # place, event, whether a message is under way
        under_way = False
        for first, payload, event in frames:
            self.stream += make_frame(first, payload, MASK if role is Role.SERVER else None)
            if not first & 0x08:
                under_way = not first & 0x80
            self._ends.append((len(self.stream), event, under_way))

    def told(self, count: int) -> Told:
        came = [each for each in self._ends if each[0] <= count]
        events = [event for _, event, _ in came if event is not None]
        code = events[-1].code if events and isinstance(events[-1], Close) else ABNORMAL
        whole = count == 0 or (bool(came) and came[-1][0] == count and not came[-1][2])
        return Told(events, code, not whole and code == ABNORMAL)


def received(connection: Connection, data: bytes, step: int) -> list[Any]:
    events: list[Any] = []
    for at in range(0, len(data), step):
        events += connection.receive_data(data[at : at + step])
    return events


def check_ended(connection: Connection, code: int, rest: bytes) -> None:
    """Nothing is due, heard or sent any more, and each try to send says why."""
    assert connection.receive_eof() == []
    assert (connection.state, connection.close_code) == (State.CLOSED, code)
    assert connection.unfinished is False
    assert connection.receive_buffer() is None
    connection.data_to_send()  # pongs, and the close frame that answers one
    calls: list[Callable[[], object]] = [
        lambda: connection.send_text("x"),
        lambda: connection.send_binary(b"x"),
        lambda: connection.encode("x"),
        lambda: connection.encode_pieces(b"x"),
        connection.ping,
        connection.pong,
    ]
    for call in calls:
        with pytest.raises(ConnectionClosed, match="closed: nothing can be sent"):
            call()
    connection.close()
    assert connection.outbox.send("x") is False
    assert connection.receive_data(rest) == connection.buffer_received(1) == connection.receive_eof() == []
    assert connection.data_to_send() == b""
    assert connection.close_code == code


@pytest.mark.parametrize("way", ["at once", "bytewise", "while we close"])
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_peer_that_stops_after_any_byte(
    connection_type: Maker, make_frame: MakeFrame, name: str, role: Role, way: str
) -> None:
    """R48: Section 7.1.5: without a close frame that came whole, the code is 1006."""
    conversation = Conversation(make_frame, role, CONVERSATIONS[name])
    stream = conversation.stream
    agreed = deflate.Agreement() if name.startswith("compressed") else None
    for count in range(len(stream) + 1):
        told = conversation.told(count)
        connection = connection_type(role, deflate=agreed)
        if way == "while we close":
            connection.close(1001, "bye")
        events = received(connection, stream[:count], 1 if way == "bytewise" else len(stream))
        assert events == told.events, f"after {count} bytes"
        assert connection.unfinished is told.unfinished, f"after {count} bytes"
        check_ended(connection, told.code, stream[count:])


def test_each_conversation_is_told_to_its_end(make_frame: MakeFrame) -> None:
    """The tests' own words about it: whole, it has all events, and nothing is due."""
    for name, frames in CONVERSATIONS.items():
        conversation = Conversation(make_frame, Role.CLIENT, frames)
        events, code, unfinished = conversation.told(len(conversation.stream))
        assert events == [event for _, _, event in frames if event is not None]
        assert (code == ABNORMAL) is not (name.startswith("close") or name == "compressed fragments")
        assert not unfinished
        assert conversation.told(0) == ([], ABNORMAL, False)
        assert conversation.told(len(conversation.stream) - 1).unfinished


def joined(events: list[Any]) -> tuple[list[Any], Any]:
    """Events with messages for Fragments, each where its last one stands; and a part of one."""
    whole: list[Any] = []
    pieces: list[Any] = []
    for event in events:
        if isinstance(event, Fragment):
            pieces.append(event.data)
        if not isinstance(event, Fragment):
            whole.append(event)
        elif event.final:
            whole.append(type(event.data)().join(pieces))
            pieces = []
    return whole, type(pieces[0])().join(pieces) if pieces else None


@pytest.mark.parametrize("fragment_bytes", [1, 5, 30])
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_peer_that_stops_within_a_message_in_pieces(
    connection_type: Maker, make_frame: MakeFrame, name: str, role: Role, fragment_bytes: int
) -> None:
    """What came of a message was handed out, and never a final piece of it."""
    conversation = Conversation(make_frame, role, CONVERSATIONS[name])
    stream = conversation.stream
    everything = conversation.told(len(stream)).events
    agreed = deflate.Agreement() if name.startswith("compressed") else None
    for count in range(len(stream) + 1):
        told = conversation.told(count)
        connection = connection_type(role, deflate=agreed, fragment_bytes=fragment_bytes)
        events, begun = joined(received(connection, stream[:count], 3))
        assert events == told.events, f"after {count} bytes"
        assert connection.unfinished is told.unfinished, f"after {count} bytes"
        if begun is not None and name != "close within a message":
            coming = [event for event in everything[len(events) :] if isinstance(event, type(begun))]
            assert coming[0].startswith(begun), f"after {count} bytes"
        check_ended(connection, told.code, stream[count:])


def in_place(connection: Connection, data: bytes) -> None:
    """As a server receives: large payloads into the buffer that is lent; the last one is not given back."""
    while data:
        place = connection.receive_buffer()
        if place is None:
            piece = data[: 64 * KIB]
            events = connection.receive_data(piece)
        else:
            piece = data[: len(place)]
            place[: len(piece)] = piece
            if len(piece) == len(data):
                return
            events = connection.buffer_received(len(piece))
        assert not any(event.final for event in events)
        data = data[len(piece) :]


NOISE = random.Random(1).randbytes(200 * KIB)
LARGE = {
    "binary": [(0x82, NOISE)],
    "text": [(0x81, ("grüße " * (25 * KIB)).encode())],
    "fragments": [(0x02, NOISE[: 90 * KIB]), (0x80, NOISE[90 * KIB :])],
    "compressed": [(0xC2, packed(NOISE)[0])],
}


@pytest.mark.parametrize("fragment_bytes", [None, 70 * KIB])
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("name", LARGE)
def test_nothing_of_a_large_message_is_kept(
    connection_type: Maker, make_frame: MakeFrame, name: str, role: Role, fragment_bytes: int | None
) -> None:
    """Whoever still knows the connection holds none of the bytes that came."""
    mask = MASK if role is Role.SERVER else None
    stream = b"".join(make_frame(first, payload, mask) for first, payload in LARGE[name])
    agreed = deflate.Agreement() if name == "compressed" else None
    for count in [*range(1, 20, 3), *range(1000, len(stream), len(stream) // 9), len(stream) - 1]:
        # One before it, for what is made once.
        idle = connection_type(role, deflate=agreed)
        idle.receive_eof()
        tracemalloc.start()
        try:
            connection = connection_type(role, deflate=agreed, fragment_bytes=fragment_bytes)
            in_place(connection, stream[:count])
            assert connection.unfinished
            connection.receive_eof()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < 8 * KIB, f"after {count} bytes"
        check_ended(connection, ABNORMAL, stream[count:])
