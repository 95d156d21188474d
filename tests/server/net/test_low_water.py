"""When a large payload wakes the loop (net/low_water.py), over real sockets and a loop turned by hand.

It must not know frames: its handler awaits a number of bytes. Nor the clock: what is late is late at once.
"""

import fcntl
import os
import socket
import struct
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from python_server.net import low_water
from python_server.net.loop import Loop
from python_server.net.system import REAL
from python_server.net.transport import Transport
from python_server.settings import TransportSettings

PAYLOAD_BYTES = 4 << 20
RESET = struct.pack("ii", 1, 0)


class Awaiting:
    """A handler of payloads of PAYLOAD_BYTES each, received into place once they have begun."""

    def __init__(self) -> None:
        self.storage = bytearray(PAYLOAD_BYTES)
        self.filled = 0
        self.pieces: list[int] = []
        self.whole: list[bytes] = []
        self.lost: list[str] = []

    def receive_buffer(self) -> memoryview | None:
        return memoryview(self.storage)[self.filled :] if self.filled else None

    def data_received(self, buffer: Any, nbytes: int) -> None:
        self.pieces.append(nbytes)
        if type(buffer) is not memoryview:
            self.storage[self.filled : self.filled + nbytes] = buffer[:nbytes]
        self.filled += nbytes
        if self.filled >= PAYLOAD_BYTES:
            self.whole.append(bytes(self.storage))
            self.filled = 0

    def write_blocked(self, blocked: bool) -> None: ...

    def connection_lost(self, reason: str) -> None:
        self.lost.append(reason)


class Meeting:
    """Both ends of a connection, and the loop of ours, whose clock stands still."""

    def __init__(self, ours: socket.socket, peer: socket.socket) -> None:
        self.reported: list[str] = []
        system = replace(REAL, monotonic=lambda: 100.0)
        self.loop = Loop(lambda what, error: self.reported.append(f"{what}: {error}"), system=system)
        self.ours, self.peer = ours, peer
        self.sent_bytes = 0
        ours.setblocking(False)
        self.handler = Awaiting()
        self.transport = Transport(self.loop, ours, self.loop._report, TransportSettings())
        self.transport.set_handler(self.handler)

    def send(self, data: bytes) -> list[int]:
        """The pieces that this made, once all has come to our end and the loop has nothing to do."""
        before = len(self.handler.pieces)
        self.peer.setblocking(False)
        view = memoryview(data)
        self.sent_bytes += len(view)
        while True:
            if view:
                try:
                    view = view[self.peer.send(view) :]
                except BlockingIOError:
                    pass
            seen, is_here = len(self.handler.pieces), self.has_come()
            self.loop.run_once(0)
            if is_here and len(self.handler.pieces) == seen:
                return self.handler.pieces[before:]

    def has_come(self) -> bool:
        """Has the system delivered all that was sent? A send of TCP returns before that."""
        if self.handler.lost:
            return True
        (waiting_bytes,) = struct.unpack("i", fcntl.ioctl(self.ours, termios.FIONREAD, bytes(4)))
        return bool(sum(self.handler.pieces) + waiting_bytes == self.sent_bytes)

    def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self.loop.run_once(5)

    @property
    def mark_bytes(self) -> int:
        return self.ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


@pytest.fixture
def meet() -> Iterator[Callable[..., Meeting]]:
    made: list[Meeting] = []

    def make(*, tcp: bool = True) -> Meeting:
        if tcp:
            with socket.create_server(("127.0.0.1", 0)) as server:
                peer = socket.create_connection(server.getsockname())
                ours, _ = server.accept()
        else:
            ours, peer = socket.socketpair()
        made.append(Meeting(ours, peer))
        return made[-1]

    yield make
    for meeting in made:
        meeting.transport.close("test over")
        meeting.loop.run_once(0)
        meeting.peer.close()
        meeting.loop.close()
        assert not meeting.reported


linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="when a poll obeys the mark is the system's"
)


@linux_only
def test_the_rest_of_a_large_payload_wakes_once(meet: Callable[..., Meeting]) -> None:
    meeting = meet()
    payload = os.urandom(PAYLOAD_BYTES)
    came = sum(meeting.send(payload[:200_000]))
    assert meeting.mark_bytes == low_water.MARK_MAX_BYTES
    assert meeting.send(payload[200_000:300_000]) == []
    rest = meeting.send(payload[300_000:])
    assert came + sum(rest) == PAYLOAD_BYTES
    assert len(rest) <= 4  # a full receive window wakes as well
    assert meeting.handler.whole == [payload]
    assert meeting.mark_bytes == 1
    assert meeting.send(b"small") == [5]


def test_without_the_option_payloads_arrive_as_they_come(
    meet: Callable[..., Meeting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(low_water, "SO_RCVLOWAT", None)
    meeting = meet()
    payload = os.urandom(PAYLOAD_BYTES)
    meeting.send(payload[:200_000])
    assert meeting.send(payload[200_000:300_000])
    meeting.send(payload[300_000:])
    assert meeting.handler.whole == [payload]


@linux_only
def test_who_is_slow_is_heard_piece_by_piece(
    meet: Callable[..., Meeting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the payload ends; the next one is given its time again."""
    monkeypatch.setattr(low_water, "MARK_MAX_SECONDS", 0.0)
    meeting = meet()
    meeting.send(bytes(200_000))
    for _ in range(3):
        assert meeting.send(bytes(100)) == [100]
    assert meeting.mark_bytes == 1
    assert meeting.send(bytes(100_000)) == [100_000]
    assert meeting.mark_bytes == 1
    meeting.send(bytes(PAYLOAD_BYTES - meeting.handler.filled))
    assert meeting.handler.whole == [bytes(PAYLOAD_BYTES)]
    monkeypatch.undo()
    meeting.send(bytes(200_000))
    assert meeting.mark_bytes == low_water.MARK_MAX_BYTES


def test_what_comes_in_small_pieces_sets_no_mark(meet: Callable[..., Meeting]) -> None:
    meeting = meet()
    for _ in range(10):
        assert sum(meeting.send(bytes(20_000))) == 20_000
        assert meeting.mark_bytes == 1


@pytest.mark.parametrize("tcp", [True, False], ids=["tcp", "unix"])
def test_payloads_arrive_whole_and_in_order(meet: Callable[..., Meeting], tcp: bool) -> None:
    meeting = meet(tcp=tcp)
    payloads = [os.urandom(PAYLOAD_BYTES) for _ in range(3)]
    for payload in payloads:
        meeting.send(payload)
    assert meeting.handler.whole == payloads


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "reset"])
def test_the_end_is_heard_before_the_mark_is_reached(meet: Callable[..., Meeting], reset: bool) -> None:
    meeting = meet()
    meeting.send(bytes(200_000))
    if reset:
        meeting.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        meeting.peer.close()
        meeting.until(lambda: meeting.handler.lost)
        assert len(meeting.handler.lost) == 1
    else:
        meeting.peer.send(b"rest")
        meeting.peer.shutdown(socket.SHUT_WR)
        meeting.until(lambda: meeting.handler.pieces[-1] == 0)
        assert meeting.handler.filled == 200_004


def test_who_has_no_room_for_the_rest_is_cut_off(meet: Callable[..., Meeting]) -> None:
    meeting = meet()

    def no_room() -> None:
        raise MemoryError("no room")

    meeting.transport._receive_buffer = no_room
    meeting.send(bytes(200_000))
    meeting.until(lambda: meeting.handler.lost)
    assert meeting.handler.lost == ["internal error"]
    assert meeting.reported == ["connection: no room"]
    meeting.reported.clear()


def test_an_end_of_our_own_leaves_no_timer(meet: Callable[..., Meeting]) -> None:
    meeting = meet()
    meeting.send(bytes(200_000))
    assert [timer for timer in meeting.loop._timers if timer.function is not None]
    meeting.transport.close("enough")
    meeting.loop.run_once(0)
    assert meeting.handler.lost == ["enough"]
    assert not [timer for timer in meeting.loop._timers if timer.function is not None]
