"""Connection where something goes wrong on our own side, and what leaves it frame by frame.

It must not test a peer's faults: those are test_connection.py's and the table of frames'.
"""

from __future__ import annotations

import array
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from wsframe import (
    Close,
    Connection,
    ConnectionClosed,
    Ping,
    Pong,
    ProtocolError,
    Role,
    State,
    decode_header,
    deflate,
)

MakeFrame = Callable[[int, bytes, bytes | None], bytes]
Maker = type[Connection]
MASK = b"\x0a\x0b\x0c\x0d"
COMPRESSED = 0xC1


def headers_of(stream: bytes) -> list[Any]:
    """The headers of all frames of a stream."""
    found, at = [], 0
    while at < len(stream):
        header = decode_header(stream, at)
        assert header is not None
        found.append(header)
        at += header.header_bytes + header.payload_bytes
    return found


def heard(stream: bytes, maker: Maker, role: Role = Role.CLIENT) -> list[Any]:
    return maker(role).receive_data(stream)


# --- exceptions of ours -----------------------------------------------------------------------------


@pytest.fixture
def broken_inflate(monkeypatch: pytest.MonkeyPatch) -> type[Exception]:
    def inflate(self: object, chunk: bytes | None, last: bool, max_bytes: int) -> bytes:
        raise MemoryError

    monkeypatch.setattr(deflate.MessageDeflate, "inflate", inflate)
    return MemoryError


def ended_by_ourselves(connection: Connection, maker: Maker) -> None:
    """Code 1011 of section 7.4.1; the peer is told, and nothing more is heard."""
    assert connection.state is State.CLOSED
    assert connection.close_code == 1011
    assert not connection.unfinished
    assert connection.receive_buffer() is None
    (*_, close) = heard(connection.data_to_send(), maker)
    assert close == Close(1011, connection.close_reason)


def test_an_exception_closes_the_connection(
    connection_type: Maker, make_frame: MakeFrame, broken_inflate: type[Exception]
) -> None:
    connection = connection_type(Role.SERVER, deflate=deflate.Agreement())
    with pytest.raises(broken_inflate):
        connection.receive_data(make_frame(COMPRESSED, b"x", MASK))
    ended_by_ourselves(connection, connection_type)
    assert connection.receive_data(make_frame(0x81, b"unheard", MASK)) == []
    assert connection.buffer_received(5) == []


def test_what_came_before_an_exception_is_delivered_and_can_be_answered(
    connection_type: Maker, make_frame: MakeFrame, broken_inflate: type[Exception]
) -> None:
    connection = connection_type(Role.SERVER, deflate=deflate.Agreement())
    before = make_frame(0x81, b"first", MASK) + make_frame(0x89, b"p", MASK)
    events = connection.receive_data(before + make_frame(COMPRESSED, b"x", MASK) + before)
    assert events == ["first", Ping(b"p")]
    assert connection.attention
    connection.send_text("answer")
    client = connection_type(Role.CLIENT)
    assert client.receive_data(connection.data_to_send()) == [
        Pong(b"p"),
        "answer",
        Close(1011, connection.close_reason),
    ]
    assert (connection.state, connection.close_code) == (State.CLOSED, 1011)
    with pytest.raises(broken_inflate):
        connection.receive_data(b"")
    assert connection.receive_data(before) == []


def test_who_feeds_the_decoder_learns_it_from_obey(
    connection_type: Maker, make_frame: MakeFrame, broken_inflate: type[Exception]
) -> None:
    connection = connection_type(Role.SERVER, deflate=deflate.Agreement())
    frames = make_frame(0x81, b"first", MASK) + make_frame(COMPRESSED, b"x", MASK)
    events = connection.decoder.receive(frames)
    assert (events, connection.decoder.attention) == (["first"], True)
    connection.obey(events)
    ended_by_ourselves(connection, connection_type)


def test_a_connection_that_closes_tells_no_second_time(
    connection_type: Maker, make_frame: MakeFrame, broken_inflate: type[Exception]
) -> None:
    """Section 5.5.1: an endpoint sends one close frame, whatever fails behind it."""
    connection = connection_type(Role.SERVER, deflate=deflate.Agreement())
    connection.close(1001, "bye")
    with pytest.raises(broken_inflate):
        connection.receive_data(make_frame(COMPRESSED, b"x", MASK))
    assert connection.state is State.CLOSED
    assert heard(connection.data_to_send(), connection_type) == [Close(1001, "bye")]


def test_a_fault_in_a_lent_buffer_fails_the_connection(connection_type: Maker, make_frame: MakeFrame) -> None:
    connection = connection_type(Role.SERVER)
    stream = make_frame(0x81, b"a" * 60_000, MASK)
    assert connection.receive_data(stream[:30_000]) == []
    place = connection.receive_buffer()
    assert place is not None
    place[:] = b"\x00" * len(place)
    place[0] = 0xFF ^ MASK[(30_000 - 8) % 4]
    (fault,) = connection.buffer_received(len(place))
    assert isinstance(fault, ProtocolError)
    assert (connection.state, connection.close_code, fault.code) == (State.CLOSED, 1007, 1007)
    (close,) = heard(connection.data_to_send(), connection_type)
    assert close == Close(1007, fault.message)


def control_frames_by(maker: Maker, encode_control: Callable[..., bytes]) -> Maker:
    """A connection whose encoder makes control frames by this function, which gets the real one first."""

    class Encoder:
        def __init__(self, role: Role, **options: Any) -> None:
            real = maker.encoder_type(role, **options)
            self.open = True
            self.encode = real.encode
            self.encode_control = lambda *arguments: encode_control(real.encode_control, *arguments)

    class Made(maker):  # type: ignore[valid-type, misc]
        encoder_type = Encoder

    return Made


def without_answers(maker: Maker, error: type[BaseException]) -> Maker:
    def refused(*_: object) -> bytes:
        raise error

    return control_frames_by(maker, refused)


@pytest.mark.parametrize(
    ("end", "code"), [(b"\x03\xe8", 1000), (None, 1002), (b"", 1011)], ids=["close", "fault", "no end"]
)
def test_an_answer_that_cannot_be_made(
    connection_type: Maker, make_frame: MakeFrame, end: bytes | None, code: int
) -> None:
    """Not even a close frame is left; the messages are, and the first reason for the end."""
    connection = without_answers(connection_type, MemoryError)(Role.SERVER)
    stream = make_frame(0x81, b"first", MASK)
    if end == b"":
        stream += make_frame(0x89, b"p", MASK)
    else:
        stream += make_frame(0x83, b"", MASK) if end is None else make_frame(0x88, end, MASK)
    first, what = connection.receive_data(stream)
    assert first == "first"
    assert isinstance(what, Ping if end == b"" else ProtocolError if end is None else Close)
    assert (connection.state, connection.close_code) == (State.CLOSED, code)
    assert connection.data_to_send() == b""
    with pytest.raises(MemoryError):
        connection.receive_data(b"")
    assert connection.receive_data(stream) == []


def test_what_stops_the_program_does_not_wait(connection_type: Maker, make_frame: MakeFrame) -> None:
    connection = without_answers(connection_type, KeyboardInterrupt)(Role.SERVER)
    connection.decoder.receive(b"")
    with pytest.raises(KeyboardInterrupt):
        connection.obey([Ping(b"p")])
    assert connection.state is State.CLOSED


def test_what_stops_the_program_once_leaves_a_close_frame(connection_type: Maker) -> None:
    """As a signal's handler raises it: the answer that tells why can be made."""
    interrupts = [KeyboardInterrupt]

    def interrupted(encode_control: Callable[..., bytes], *arguments: Any) -> bytes:
        if interrupts:
            raise interrupts.pop()
        return encode_control(*arguments)

    connection = control_frames_by(connection_type, interrupted)(Role.SERVER)
    with pytest.raises(KeyboardInterrupt):
        connection.obey([Ping(b"p")])
    ended_by_ourselves(connection, connection_type)


@pytest.mark.parametrize("agreed", [None, deflate.Agreement()])
def test_a_callers_mistake_ends_nothing(
    connection_type: Maker, make_frame: MakeFrame, agreed: deflate.Agreement | None
) -> None:
    connection = connection_type(Role.SERVER, deflate=agreed)
    for wrong in (None, "text", 5):
        with pytest.raises(TypeError):
            connection.receive_data(wrong)  # type: ignore[arg-type]
    assert connection.receive_data(make_frame(0x81, b"heard", MASK)) == ["heard"]


@pytest.mark.parametrize("agreed", [None, deflate.Agreement()])
@pytest.mark.parametrize("wrong", [5, True, [104, 105], None, 1.5])
def test_only_bytes_are_sent_as_bytes(
    connection_type: Maker, agreed: deflate.Agreement | None, wrong: Any
) -> None:
    """R43: Not what `bytes` makes of a number: so many zeros."""
    for role in Role:
        connection = connection_type(role, deflate=agreed)
        for send in (connection.send_binary, connection.encode, connection.encode_pieces):
            for compress in (None, True, False):
                with pytest.raises(TypeError):
                    send(wrong, compress)
        assert connection.data_to_send() == b""


def test_a_message_that_failed_is_not_referred_to(
    connection_type: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compressed payload whose frame cannot be made never leaves: the next begins with an empty window."""
    options = deflate.Options(client_no_context_takeover=False, threshold_bytes=1)
    agreed = deflate.Agreement(options=options)
    connection, peer = (
        connection_type(Role.CLIENT, deflate=agreed),
        connection_type(Role.SERVER, deflate=agreed),
    )
    assert peer.receive_data(connection.encode("before")) == ["before"]
    sent: list[str] = []

    def no_random_bytes(nbytes: int) -> bytes:
        raise OSError("no random bytes")

    def until_no_mask_is_in_store() -> None:
        for number in range(
            1025
        ):  # no two alike: the peer has nothing that the failed one could be taken for
            sent.append(random.Random(number).randbytes(100).hex())
            assert peer.receive_data(connection.encode(sent[-1])) == sent[-1:]

    with monkeypatch.context() as patched:
        patched.setattr(os, "urandom", no_random_bytes)
        with pytest.raises(OSError, match="no random bytes"):
            until_no_mask_is_in_store()
    assert peer.receive_data(connection.encode(sent[-1])) == sent[-1:]


def test_a_message_that_finds_no_place_is_not_referred_to(connection_type: Maker) -> None:
    """Nor one whose frame is made and cannot be queued."""
    options = deflate.Options(server_no_context_takeover=False, threshold_bytes=1)
    agreed = deflate.Agreement(options=options)
    connection = connection_type(Role.SERVER, deflate=agreed)
    peer = connection_type(Role.CLIENT, deflate=agreed)
    text = "a text that repeats, " * 20

    class Full(list[bytes]):
        def append(self, frame: bytes) -> None:
            raise MemoryError

    connection._queue = Full()
    with pytest.raises(MemoryError):
        connection.send_text(text)
    connection._queue = []
    connection.send_text(text)
    assert peer.receive_data(connection.data_to_send()) == [text]
    plain = connection_type(Role.SERVER)
    plain._queue = Full()
    with pytest.raises(MemoryError):
        plain.send_text(text)
    assert plain.state is State.OPEN


# --- after the end of TCP ---------------------------------------------------------------------------


def test_what_was_received_before_the_end_may_be_obeyed_after_it(
    connection_type: Maker, make_frame: MakeFrame
) -> None:
    """Section 7.1.5: the code of the first close frame received, or 1006 when there was none."""
    for last, code, reason in ((b"\x03\xe9gone", 1001, "gone"), (None, 1002, None)):
        connection = connection_type(Role.SERVER)
        frame = make_frame(0x83, b"", MASK) if last is None else make_frame(0x88, last, MASK)
        events = connection.decoder.receive(make_frame(0x89, b"p", MASK) + frame)
        connection.receive_eof()
        assert connection.close_code == 1006
        connection.obey(events)
        connection.obey(events)
        assert (connection.state, connection.close_code) == (State.CLOSED, code)
        assert reason is None or connection.close_reason == reason
        assert connection.data_to_send() == b""


def test_the_end_of_tcp_is_the_decoders_end(connection_type: Maker, make_frame: MakeFrame) -> None:
    connection = connection_type(Role.SERVER)
    connection.receive_eof()
    events = connection.decoder.receive(make_frame(0x88, b"\x03\xe8", MASK))
    assert events == []
    connection.obey(events)
    assert connection.close_code == 1006


# --- frame by frame ---------------------------------------------------------------------------------


def test_a_clients_control_frames_have_fresh_masks(connection_type: Maker, make_frame: MakeFrame) -> None:
    """Section 5.3: each of them, the pongs and closes that answer as well."""
    masks = []
    for number in range(20):
        client = connection_type(Role.CLIENT)
        client.ping(b"ping")
        client.pong(b"pong")
        client.receive_data(make_frame(0x89, b"ping", None))
        if number % 3 == 0:
            client.close()
        else:
            client.receive_data(make_frame(0x88 if number % 3 == 1 else 0x83, b"", None))
        frames = headers_of(client.data_to_send())
        assert [header.opcode for header in frames] == [9, 10, 10, 8]
        masks += [header.mask for header in frames]
    assert len(set(masks)) == len(masks) == 80
    assert None not in masks


@pytest.mark.parametrize("role", list(Role))
def test_no_pong_follows_our_close(connection_type: Maker, make_frame: MakeFrame, role: Role) -> None:
    """R48."""
    connection = connection_type(role)
    mask = MASK if role is Role.SERVER else None
    connection.receive_data(make_frame(0x89, b"before", mask))
    connection.close(1001)
    events = connection.receive_data(make_frame(0x89, b"after", mask) + make_frame(0x81, b"late", mask))
    assert events == [Ping(b"after"), "late"]
    assert [header.opcode for header in headers_of(connection.data_to_send())] == [10, 8]
    connection.receive_data(make_frame(0x89, b"later", mask))
    assert connection.data_to_send() == b""


@pytest.mark.parametrize("first", [0x88, 0x83])
def test_a_close_frame_can_be_kept_back(connection_type: Maker, make_frame: MakeFrame, first: int) -> None:
    """`closing=False`: pongs may leave before the answers to messages, our close frame goes last."""
    server = connection_type(Role.SERVER)
    payload = b"\x03\xe8" if first == 0x88 else b""
    server.receive_data(make_frame(0x89, b"p", MASK) + make_frame(first, payload, MASK))
    assert heard(server.data_to_send(closing=False), connection_type) == [Pong(b"p")]
    assert server.data_to_send(closing=False) == b""
    server.send_text("answer")
    assert heard(server.data_to_send(closing=False), connection_type) == ["answer"]
    (close,) = heard(server.data_to_send(), connection_type)
    assert close == Close(1000 if first == 0x88 else 1002, "" if first == 0x88 else server.close_reason)
    assert server.data_to_send() == b""


@pytest.mark.parametrize(
    "message",
    [
        *("", "text", "é" * 70, "ж" * 40_000),
        *(b"", b"x" * 126, b"y" * 70_000, bytearray(b"z" * 70_000)),
        memoryview(array.array("H", range(300))),
    ],
    ids=lambda message: f"{type(message).__name__} {len(message)}",
)
@pytest.mark.parametrize("agreed", [None, deflate.Agreement()])
@pytest.mark.parametrize("role", list(Role))
def test_pieces_are_one_frame(
    connection_type: Maker, role: Role, agreed: deflate.Agreement | None, message: Any
) -> None:
    """R44: a large payload is sent without a copy."""
    connection = connection_type(role, deflate=agreed)
    pieces = connection.encode_pieces(message)
    stream = b"".join(pieces)
    assert len(headers_of(stream)) == 1
    other = connection_type(Role(3 - role), deflate=agreed)
    assert other.receive_data(stream) == [message if isinstance(message, str) else bytes(message)]
    assert len(pieces) == (2 if role is Role.SERVER and agreed is None else 1)
    if len(pieces) == 2:
        assert stream == connection.encode(message)
        assert isinstance(message, str) or pieces[1] is message


@pytest.mark.parametrize("role", list(Role))
def test_pieces_leave_an_open_connection_only(
    connection_type: Maker, make_frame: MakeFrame, role: Role
) -> None:
    mask = MASK if role is Role.SERVER else None
    connection = connection_type(role)
    connection.receive_data(make_frame(0x88, b"", mask))
    assert connection.encode_pieces(b"an answer still")
    connection.data_to_send()
    with pytest.raises(ConnectionClosed):
        connection.encode_pieces(b"too late")
    for end in (Connection.close, Connection.receive_eof):
        connection = connection_type(role)
        end(connection)
        with pytest.raises(ConnectionClosed):
            connection.encode_pieces(b"too late")


def test_a_reason_of_ours_ends_with_a_whole_character(connection_type: Maker) -> None:
    """R47: Section 5.5.1: 123 bytes, of UTF-8."""
    for padding in range(4):
        server = connection_type(Role.SERVER)
        server.obey([ProtocolError(1002, "a" * padding + "€" * 60)])
        (close,) = heard(server.data_to_send(), connection_type)
        assert close == Close(1002, "a" * padding + "€" * ((123 - padding) // 3))
