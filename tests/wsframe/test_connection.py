"""Connection: what it answers, what it queues, how it ends; both roles, on both cores, joined in memory.

It must not open a socket: the pair hands bytes over.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from wsframe import (
    Close,
    CloseCode,
    Connection,
    ConnectionClosed,
    MessageTooBig,
    Ping,
    Pong,
    ProtocolError,
    Role,
    State,
    decode_header,
    deflate,
)
from wsframe.connection import MAX_WAITING_PONGS
from wsframe.types import MOVES

MakeFrame = Callable[[int, bytes, bytes | None], bytes]
Maker = type[Connection]
MASK = b"\x0a\x0b\x0c\x0d"
ROLES = [(Role.SERVER, Role.CLIENT), (Role.CLIENT, Role.SERVER)]


def joined(connection_type: Maker, role: Role, other: Role, **options: Any) -> tuple[Connection, Connection]:
    return connection_type(role, **options), connection_type(other, **options)


def masked_by(role: Role) -> bytes | None:
    """The mask of a frame that is sent TO a connection of this role."""
    return MASK if role is Role.SERVER else None


@pytest.mark.parametrize(("role", "other"), ROLES)
def test_messages_both_ways(connection_type: Maker, role: Role, other: Role) -> None:
    """R24, R43: text comes as str and bytes as bytes."""
    ours, theirs = joined(connection_type, role, other)
    ours.send_text("Grüße")
    ours.send_binary(b"\x00\x01")
    ours.send_binary(memoryview(b"view"))
    ours.send_text("")
    assert theirs.receive_data(ours.data_to_send()) == ["Grüße", b"\x00\x01", b"view", ""]
    assert theirs.attention is False
    assert theirs.data_to_send() == b""
    assert ours.data_to_send() == b""
    assert theirs.receive_data(ours.encode("not queued")) == ["not queued"]


def test_a_client_masks_with_fresh_masks(connection_type: Maker) -> None:
    """Section 5.3: a new, unpredictable mask for each frame; section 5.1: none from a server."""
    client = connection_type(Role.CLIENT)
    frames = [client.encode(b"same payload") for _ in range(50)]
    client.ping(b"same payload")
    client.close()
    frames.append(client.data_to_send())
    masks = {header.mask for header in map(decode_header, frames) if header}
    assert len(masks) == 51
    assert None not in masks
    header = decode_header(connection_type(Role.SERVER).encode(b"same payload"))
    assert header is not None
    assert header.mask is None


@pytest.mark.parametrize(("role", "other"), ROLES)
def test_a_ping_is_answered_with_its_payload(connection_type: Maker, role: Role, other: Role) -> None:
    """R49."""
    ours, theirs = joined(connection_type, role, other)
    ours.ping(b"are you there")
    assert theirs.receive_data(ours.data_to_send()) == [Ping(b"are you there")]
    assert theirs.attention is True
    assert ours.receive_data(theirs.data_to_send()) == [Pong(b"are you there")]
    assert ours.data_to_send() == b""  # a pong is not answered
    theirs.pong(b"unasked")
    assert ours.receive_data(theirs.data_to_send()) == [Pong(b"unasked")]


def test_pings_without_end_do_not_fill_the_queue(connection_type: Maker, make_frame: MakeFrame) -> None:
    """Section 5.5.3: the most recent ping must be answered; the queue of answers is bounded."""
    server = connection_type(Role.SERVER)
    for number in range(1000):
        server.receive_data(make_frame(0x89, str(number).encode(), MASK))
    client = connection_type(Role.CLIENT)
    pongs = client.receive_data(server.data_to_send())
    assert len(pongs) == MAX_WAITING_PONGS
    assert pongs[-1] == Pong(b"999")
    server.receive_data(make_frame(0x89, b"again", MASK))
    assert client.receive_data(server.data_to_send()) == [Pong(b"again")]


def test_a_bounded_queue_keeps_what_is_not_a_pong(connection_type: Maker, make_frame: MakeFrame) -> None:
    server = connection_type(Role.SERVER)
    for number in range(MAX_WAITING_PONGS + 5):
        server.receive_data(make_frame(0x89, str(number).encode(), MASK))
    server.send_text("kept")
    for number in range(MAX_WAITING_PONGS + 5):
        server.receive_data(make_frame(0x89, str(number).encode(), MASK))
    events = connection_type(Role.CLIENT).receive_data(server.data_to_send())
    assert events.count("kept") == 1
    assert len(events) == 2 * MAX_WAITING_PONGS + 1


def test_a_pong_takes_no_place_but_a_pongs(connection_type: Maker, make_frame: MakeFrame) -> None:
    """Above the bound the newest takes the place of the one before, never of a ping or a message of ours."""
    kinds: list[tuple[Callable[[Connection], None], Any]] = [
        (lambda server: server.ping(b"ours"), Ping(b"ours")),
        (lambda server: server.pong(b"ours"), Pong(b"ours")),
        (lambda server: server.send_text("ours"), "ours"),
        (lambda server: server.send_fragment("ours", True), "ours"),
    ]
    for send, sent in kinds:
        server = connection_type(Role.SERVER)
        for number in range(MAX_WAITING_PONGS):
            server.receive_data(make_frame(0x89, str(number).encode(), MASK))
        send(server)
        server.receive_data(make_frame(0x89, b"last", MASK))
        events = connection_type(Role.CLIENT).receive_data(server.data_to_send())
        assert events[-2:] == [sent, Pong(b"last")]
        assert len(events) == MAX_WAITING_PONGS + 2


@pytest.mark.parametrize("later", [Close(4001, "later"), ProtocolError(1002, "later")])
@pytest.mark.parametrize("first", [Close(1001, "first"), ProtocolError(1007, "first")])
def test_the_first_reason_stays(connection_type: Maker, first: Any, later: Any) -> None:
    """Section 7.1.5: of the first close frame, or of the fault that ended the connection."""
    server = connection_type(Role.SERVER)
    server.obey([first])
    for happening in (lambda: server.obey([later]), server.receive_eof):
        happening()
        assert (server.close_code, server.close_reason) == (first.code, "first")
    (close,) = connection_type(Role.CLIENT).receive_data(server.data_to_send())
    assert close.code == first.code


@pytest.mark.parametrize(("role", "other"), ROLES)
def test_the_close_handshake(connection_type: Maker, role: Role, other: Role) -> None:
    """R47: code and reason are sent and answered."""
    ours, theirs = joined(connection_type, role, other)
    ours.close(4001, "bye")
    assert ours.state is State.CLOSING
    assert theirs.receive_data(ours.data_to_send()) == [Close(4001, "bye")]
    assert theirs.state is State.CLOSED
    assert (theirs.close_code, theirs.close_reason) == (4001, "bye")
    assert ours.receive_data(theirs.data_to_send()) == [Close(4001, "")]
    assert ours.state is State.CLOSED
    assert ours.close_code == 4001
    assert ours.data_to_send() == b""


@pytest.mark.parametrize(("role", "other"), ROLES)
def test_a_close_without_code_is_answered_without_code(
    connection_type: Maker, role: Role, other: Role
) -> None:
    """R46."""
    ours, theirs = joined(connection_type, role, other)
    ours.close(CloseCode.NO_STATUS_RCVD)
    assert theirs.receive_data(ours.data_to_send()) == [Close(1005, "")]
    answer = theirs.data_to_send()
    header = decode_header(answer)
    assert header is not None
    assert header.payload_bytes == 0
    assert ours.receive_data(answer) == [Close(1005, "")]


def test_close_frames_that_cross(connection_type: Maker) -> None:
    ours, theirs = joined(connection_type, *ROLES[0])
    ours.close(1000)
    theirs.close(1001)
    to_ours, to_theirs = theirs.data_to_send(), ours.data_to_send()
    assert ours.receive_data(to_ours) == [Close(1001, "")]
    assert theirs.receive_data(to_theirs) == [Close(1000, "")]
    assert ours.state is theirs.state is State.CLOSED
    assert ours.data_to_send() == theirs.data_to_send() == b""


def test_messages_still_arrive_while_closing(connection_type: Maker) -> None:
    ours, theirs = joined(connection_type, *ROLES[0])
    theirs.send_text("late")
    theirs.ping(b"late")
    ours.close()
    assert ours.receive_data(theirs.data_to_send()) == ["late", Ping(b"late")]
    theirs.receive_data(ours.data_to_send())
    assert ours.data_to_send() == b""  # no pong behind a close frame


@pytest.mark.parametrize("role", list(Role))
def test_a_fault_is_answered_with_its_code(connection_type: Maker, make_frame: MakeFrame, role: Role) -> None:
    """R24: the code of the fault is on the wire."""
    connection = connection_type(role)
    mask = masked_by(role)
    events = connection.receive_data(make_frame(0x81, b"good", mask) + make_frame(0x83, b"", mask))
    assert events[0] == "good"
    assert isinstance(events[1], ProtocolError)
    assert connection.state is State.CLOSED
    assert connection.close_code == 1002
    assert "RFC 6455 section 5.2" in connection.close_reason
    other = Role.CLIENT if role is Role.SERVER else Role.SERVER
    assert connection_type(other).receive_data(connection.data_to_send()) == [
        Close(1002, connection.close_reason)
    ]
    assert connection.receive_data(make_frame(0x81, b"unheard", mask)) == []
    assert connection.attention is False


def test_a_message_too_big_is_1009(connection_type: Maker, make_frame: MakeFrame) -> None:
    server = connection_type(Role.SERVER, max_message_bytes=10)
    (fault,) = server.receive_data(make_frame(0x82, bytes(11), MASK))
    assert isinstance(fault, MessageTooBig)
    assert connection_type(Role.CLIENT).receive_data(server.data_to_send())[0] == Close(1009, str(fault))


def test_a_fault_while_closing_sends_no_second_close(connection_type: Maker, make_frame: MakeFrame) -> None:
    """R48."""
    server = connection_type(Role.SERVER)
    server.close()
    server.data_to_send()
    server.receive_data(make_frame(0x83, b"", MASK))
    assert server.state is State.CLOSED
    assert server.data_to_send() == b""


@pytest.mark.parametrize("end", [b"\x03\xe8", None])
def test_what_came_before_the_end_can_be_answered(
    connection_type: Maker, make_frame: MakeFrame, end: bytes | None
) -> None:
    """Section 5.5.1: our close frame goes last, and after it nothing."""
    server, client = connection_type(Role.SERVER), connection_type(Role.CLIENT)
    last = make_frame(0x83, b"", MASK) if end is None else make_frame(0x88, end, MASK)
    events = server.receive_data(make_frame(0x89, b"p", MASK) + make_frame(0x81, b"question", MASK) + last)
    assert events[1] == "question"
    assert server.state is State.CLOSED
    server.send_text("answer")
    encoded = server.encode("another")
    received = client.receive_data(encoded + server.data_to_send())
    assert received[:3] == ["another", Pong(b"p"), "answer"]
    assert isinstance(received[3], Close)
    with pytest.raises(ConnectionClosed):
        server.send_text("too late")
    with pytest.raises(ConnectionClosed):
        server.encode("too late")


def test_the_tcp_connection_just_ends(connection_type: Maker) -> None:
    connection = connection_type(Role.SERVER)
    assert connection.receive_eof() == []
    assert connection.state is State.CLOSED
    assert connection.close_code == 1006
    assert connection.receive_data(b"\x81\x80abcd") == []
    assert connection.data_to_send() == b""
    assert connection.receive_eof() == []


def test_the_tcp_connection_ends_after_the_close(connection_type: Maker, make_frame: MakeFrame) -> None:
    connection = connection_type(Role.SERVER)
    connection.receive_data(make_frame(0x88, b"\x03\xe9gone", MASK))
    connection.receive_eof()
    assert (connection.close_code, connection.close_reason) == (1001, "gone")


@pytest.mark.parametrize("end", ["close", "eof"])
def test_nothing_is_sent_on_a_closed_connection(connection_type: Maker, end: str) -> None:
    connection = connection_type(Role.SERVER)
    if end == "close":
        connection.close()
    else:
        connection.receive_eof()
    calls: list[Callable[[], object]] = [
        lambda: connection.send_text("x"),
        lambda: connection.send_binary(b"x"),
        lambda: connection.encode("x"),
        connection.ping,
        connection.pong,
    ]
    for call in calls:
        with pytest.raises(ConnectionClosed, match="clos"):
            call()
    connection.data_to_send()
    connection.close()  # a second close is no mistake, and sends nothing
    assert connection.data_to_send() == b""


def test_the_callers_mistakes(connection_type: Maker) -> None:
    connection = connection_type(Role.CLIENT)
    with pytest.raises(TypeError, match="message must be str"):
        connection.send_text(b"x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="message must be bytes-like"):
        connection.send_binary("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        connection.send_binary(5)  # type: ignore[arg-type]
    for send in (connection.ping, connection.pong):
        with pytest.raises(ValueError, match="payload must be 125 bytes or less"):
            send(bytes(126))
        with pytest.raises(TypeError, match="payload must be bytes-like"):
            send("x")  # type: ignore[arg-type]
    for code in (0, 999, 1004, 1006, 1015, 1016, 2999, 5000):
        with pytest.raises(ValueError, match=f"code {code} may not be sent"):
            connection.close(code)
    with pytest.raises(ValueError, match="reason must be 123 bytes"):
        connection.close(1000, "é" * 62)
    with pytest.raises(ValueError, match="reason needs a code"):
        connection.close(1005, "why")
    assert connection.state is State.OPEN
    assert connection.data_to_send() == b""


def test_a_large_message_is_received_in_place(connection_type: Maker, make_frame: MakeFrame) -> None:
    server = connection_type(Role.SERVER)
    frame = make_frame(0x82, bytes(200_000), MASK) + make_frame(0x89, b"", MASK)
    assert server.receive_data(frame[:50_000]) == []
    assert server.unfinished
    at, events = 50_000, []
    while (place := server.receive_buffer()) is not None:
        piece = frame[at : at + len(place)]
        place[: len(piece)] = piece
        at += len(piece)
        events += server.buffer_received(len(piece))
    events += server.receive_data(frame[at:])
    assert events == [bytes(200_000), Ping(b"")]


def test_a_closed_connection_lends_nothing(connection_type: Maker, make_frame: MakeFrame) -> None:
    server = connection_type(Role.SERVER)
    server.receive_data(make_frame(0x82, bytes(200_000), MASK)[:100_000])
    assert server.receive_buffer() is not None
    server.receive_eof()
    assert server.receive_buffer() is None
    assert server.buffer_received(5) == []


@pytest.mark.parametrize(("role", "other"), ROLES)
@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.usefixtures("libraries")
def test_compression(connection_type: Maker, role: Role, other: Role, forget: bool) -> None:
    """R43: each message may be compressed or not."""
    agreement = deflate.Agreement(forget, forget, 15, 15, deflate.Options(threshold_bytes=100))
    ours, theirs = joined(connection_type, role, other, deflate=agreement)
    long, short = "".join(random.Random(1).choices("abcdefgh", k=400)) * 10, "word"
    sizes = []
    for message, compress, wanted in (
        (long, None, True),
        (long, None, True),
        (short, None, False),
        (short, True, True),
        (long, False, False),
        (long.encode(), True, True),
        (b"", True, True),
    ):
        frame = ours.encode(message, compress)
        header = decode_header(frame)
        assert header is not None
        assert bool(header.rsv & 4) is wanted
        assert theirs.receive_data(frame) == [message]
        sizes.append(len(frame))
    assert sizes[0] < len(long) / 10
    assert (sizes[1] < sizes[0]) is not forget  # the second one finds the first in the window


def test_without_deflate_a_wish_to_compress_is_ignored(connection_type: Maker) -> None:
    header = decode_header(connection_type(Role.SERVER).encode("x" * 10_000, True))
    assert header is not None
    assert header.rsv == 0


def test_the_table_of_moves_is_whole() -> None:
    """Every state is reached and left but CLOSED, and no move leads out of it."""
    assert set(MOVES.values()) == {State.CLOSING, State.CLOSED}
    assert {after for (before, _), after in MOVES.items() if before is State.CLOSED} == {State.CLOSED}
    assert {before for before, _ in MOVES} == set(State)


def test_a_source_of_random_bytes_that_gives_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaced by a program's own: the store of masks must not read beyond what came."""
    codec = pytest.importorskip("wsframe._codec", reason="a WSFRAME_PURE=1 build has no compiled core")
    monkeypatch.setattr(os, "urandom", lambda size: bytes(4))
    encoder = codec.Encoder(Role.CLIENT)

    def until_no_mask_is_in_store() -> None:
        for _ in range(1025):
            encoder.encode(b"")

    with pytest.raises(OSError, match="another number of bytes"):
        until_no_mask_is_in_store()
