"""A connection as frames: what comes is handed out, what goes waits while the other end takes nothing.

It must not know what a frame says.
"""

from typing import Any

import pytest

from joined_ends import End
from python_server.machines.stream import CLOSED, FrameStream
from python_server.machines.words import About, FrameReader, Kind, WordsError, frame


class Heard:
    def __init__(self) -> None:
        self.transport = End()
        self.taken: list[tuple[int, bytes]] = []
        self.lost: list[str] = []
        self.refuses = False
        self.stream = FrameStream(self.transport, self.take, self.lost.append)
        self.stream.begin()

    def take(self, kind: int, payload: bytes) -> None:
        self.taken.append((kind, payload))
        if self.refuses:
            raise WordsError("not now")


@pytest.fixture
def heard() -> Heard:
    return Heard()


def frames_in(data: Any) -> list[tuple[int, bytes]]:
    reader = FrameReader()
    reader.receive(data)
    return list(iter(reader.next, None))  # type: ignore[arg-type]


def test_frames_are_handed_out_in_order(heard: Heard) -> None:
    data = frame(Kind.PING) + frame(Kind.CUT, About(1)) + frame(Kind.PONG)
    heard.transport.receive(data[:7])
    heard.transport.receive(data[7:])
    assert [kind for kind, _ in heard.taken] == [Kind.PING, Kind.CUT, Kind.PONG]
    assert heard.stream.received_count == 2
    assert heard.stream.receive_buffer() is None


def test_what_is_wrong_ends_the_connection_and_nothing_is_taken_behind_it(heard: Heard) -> None:
    heard.refuses = True
    heard.transport.receive(frame(Kind.PING) * 3)
    assert len(heard.taken) == 1
    assert heard.transport.ended == "not now"
    heard.stream.connection_lost("not now")
    heard.stream.connection_lost("again")
    assert heard.lost == ["not now"]
    heard.stream.send(Kind.PING)
    assert heard.transport.written == b""


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 5, b"\x16\x03\x01\x02\x00\x01"])
def test_what_is_no_frame_ends_it(heard: Heard, data: bytes) -> None:
    heard.transport.receive(data)
    assert heard.transport.ended is not None
    assert heard.transport.ended.startswith("a frame of ")
    assert heard.taken == []


def test_the_end_of_the_other_one_is_the_end(heard: Heard) -> None:
    heard.transport.receive(b"")
    assert heard.transport.ended == CLOSED


def test_one_that_is_given_on_takes_no_further_frame(heard: Heard) -> None:
    heard.stream.take = lambda kind, payload: heard.stream.release() and None
    heard.transport.receive(frame(Kind.PING) + b"and what follows")
    assert heard.stream.reader.take_rest() == b"and what follows"
    heard.stream.connection_lost("it has ended elsewhere")
    assert heard.lost == []
    heard.stream.send(Kind.PING)
    assert heard.transport.written == b""


def test_large_frames_wait_while_the_other_end_takes_nothing(heard: Heard) -> None:
    stream, transport = heard.stream, heard.transport
    stream.send_in_turn(1, Kind.FORGET, About(1))
    transport.blocked = True
    for number in (2, 3, 4):
        stream.send_in_turn(number, Kind.FORGET, About(number))
    stream.send(Kind.PING)
    one = frame(Kind.FORGET, About(1))
    assert bytes(transport.written) == one + frame(Kind.PING)
    assert stream.queued_bytes == len(one) * 4 + 5
    assert stream.held.pop(3)
    stream.write_blocked(True)
    assert list(stream.held) == [2, 4]
    transport.unblock()
    assert stream.held == {}
    said = [payload for kind, payload in frames_in(transport.written) if kind == Kind.FORGET]
    assert said == [frame(Kind.FORGET, About(number))[5:] for number in (1, 2, 4)]


def test_frames_that_wait_leave_one_by_one_as_room_comes(heard: Heard) -> None:
    stream, transport = heard.stream, heard.transport
    transport.blocked = True
    for number in (1, 2):
        stream.send_in_turn(number, Kind.FORGET, About(number))
    write = transport.write

    def fills(data: Any) -> None:
        write(data)
        transport.blocked = True

    transport.write = fills  # type: ignore[method-assign]
    transport.unblock()
    assert list(stream.held) == [2]
    stream.send_in_turn(3, Kind.FORGET, About(3))  # behind what waits
    transport.unblock()
    assert list(stream.held) == [3]
    stream.connection_lost("over")
    assert stream.held == {}
