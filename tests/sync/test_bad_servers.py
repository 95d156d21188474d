"""Servers that stop at any byte, go, half-close, flood or lie: a time-out or a typed error, nothing grows.

It must not wait for a time to pass: who stops has stopped before the client begins.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from batches import in_batches
from hand_made_server import FRAMES, LONG, SOON, Answering, answer, opened, what_came
from wsframe import Close, Opcode, Ping, ProtocolError, deflate, encode_frame
from wsframe.connection import Connection
from wsframe.sync import ConcurrencyError, ConnectionClosedError, InvalidHandshake, InvalidMessage


@contextmanager
def new_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def stops(theirs: socket.socket) -> None:
    """It says nothing more."""


def half_closes(theirs: socket.socket) -> None:
    theirs.shutdown(socket.SHUT_WR)


def goes(theirs: socket.socket) -> None:
    theirs.close()


HEAD_BYTES = 129


@in_batches("cut", range(HEAD_BYTES), 43)
@pytest.mark.parametrize("ends", [stops, half_closes, goes])
def test_within_the_head(fixed_key: None, cut: int, ends: Callable[[socket.socket], None]) -> None:
    head = answer()
    assert len(head) == HEAD_BYTES
    error = TimeoutError if ends is stops else (InvalidMessage, ConnectionError)
    with new_pair() as (ours, theirs):
        theirs.sendall(head[:cut])
        ends(theirs)
        with pytest.raises(error):
            opened(ours, open_timeout=SOON if ends is stops else LONG)
        assert ours.fileno() == -1


EXTENSION = "permessage-deflate; server_no_context_takeover"
CUTS = [(name, cut) for name, frame in FRAMES.items() for cut in range(min(len(frame), 24))]


@in_batches("place", CUTS, 35)
@pytest.mark.parametrize("ends", [stops, half_closes, goes])
def test_within_a_frame(
    fixed_key: None, place: tuple[str, int], ends: Callable[[socket.socket], None]
) -> None:
    with new_pair() as (ours, theirs):
        ends_within(ours, theirs, place, ends)


def ends_within(
    ours: socket.socket, theirs: socket.socket, place: tuple[str, int], ends: Callable[[socket.socket], None]
) -> None:
    name, cut = place
    theirs.sendall(answer() + encode_frame(Opcode.TEXT, "whole") + FRAMES[name][:cut])
    websocket = opened(ours)
    ends(theirs)
    assert websocket.recv(timeout=LONG) == "whole"
    if ends is stops:
        for seconds in (0, SOON):
            with pytest.raises(TimeoutError):
                websocket.recv(timeout=seconds)
        websocket.send("said", timeout=LONG)
        assert websocket.ping(timeout=LONG).wait(SOON) is False
        websocket.close()
    with pytest.raises(ConnectionClosedError) as told:
        websocket.recv(timeout=LONG)
    assert told.value.rcvd is None
    assert told.value.code == 1006
    assert (told.value.sent is None) is (ends is not stops)
    with pytest.raises(ConnectionClosedError):
        websocket.send("too late")
    assert ours.fileno() == -1


def test_a_close_frame_whole_and_no_end_of_tcp(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(answer() + FRAMES["text"] + FRAMES["close"])
    websocket = opened(ours)
    assert list(websocket) == ["Grüße"]
    assert websocket.close_reason == "bye"
    assert ours.fileno() == -1


def test_half_closed_after_a_whole_message(pair: tuple[socket.socket, socket.socket]) -> None:
    """What came is received; sending then fails, since the connection is seen to be over."""
    ours, theirs = pair
    theirs.sendall(answer() + FRAMES["text"] * 3)
    theirs.shutdown(socket.SHUT_WR)
    websocket = opened(ours)
    with pytest.raises(ConnectionClosedError):
        websocket.send("into nothing")
    assert [websocket.recv() for _ in range(3)] == ["Grüße"] * 3
    with pytest.raises(ConnectionClosedError):
        websocket.recv()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"Upgrade": "h2c"}, "Upgrade"),
        ({"Connection": "close"}, "Connection"),
        ({"Sec-WebSocket-Accept": "x"}, "does not fit"),
        ({"Sec-WebSocket-Protocol": "chat"}, "not offered"),
        ({"Sec-WebSocket-Extensions": "permessage-deflate"}, "not offered"),
        ({"Sec-WebSocket-Extensions": ";"}, "malformed"),
    ],
)
def test_an_answer_that_does_not_fit(
    pair: tuple[socket.socket, socket.socket], wrong: dict[str, str], words: str
) -> None:
    ours, theirs = pair
    theirs.sendall(answer(**wrong))
    with pytest.raises(InvalidHandshake, match=words):
        opened(ours)
    assert ours.fileno() == -1


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x7f" + (2**62).to_bytes(8, "big") + b"x", 1009),  # announces more than is allowed
        (b"\x81\x7f" + (2**63).to_bytes(8, "big"), 1002),  # the top bit
        (b"\x81\x7e\x00\x01x", 1002),  # not the shortest form
        (b"\x81\x81\x00\x00\x00\x00x", 1002),  # masked
        (b"\xc1\x01x", 1002),  # compressed, and nobody agreed
        (b"\x83\x00", 1002),
        (b"\x80\x00", 1002),
        (b"\x81\x01\xff", 1007),
        (b"\x88\x01x", 1002),
        (b"\x88\x02\x03\xed", 1002),  # 1005 on the wire
    ],
)
def test_frames_that_break_the_protocol(
    pair: tuple[socket.socket, socket.socket], frame: bytes, code: int
) -> None:
    ours, theirs = pair
    theirs.sendall(answer() + FRAMES["text"] + frame)
    websocket = opened(ours)
    assert websocket.recv() == "Grüße"
    with pytest.raises(ConnectionClosedError) as told:
        websocket.recv()
    assert told.value.sent is not None
    assert told.value.sent.code == code
    assert told.value.rcvd is None
    assert isinstance(told.value.__cause__, ProtocolError)


@pytest.mark.parametrize(("max_fragments", "code"), [(2, 1000), (1, 1009)])
def test_a_message_of_too_many_fragments(
    pair: tuple[socket.socket, socket.socket], max_fragments: int, code: int
) -> None:
    ours, theirs = pair
    theirs.sendall(answer() + FRAMES["fragments"] + FRAMES["close"])
    websocket = opened(ours, max_fragments=max_fragments)
    with suppress(ConnectionClosedError):
        assert websocket.recv() == "ab"
    assert websocket.close_code == code


def test_a_length_that_is_a_lie_takes_no_memory(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(answer() + b"\x82\x7f" + (2**61).to_bytes(8, "big") + bytes(1000))
    websocket = opened(ours, max_size=None)
    tracemalloc.start()
    with pytest.raises(TimeoutError):
        websocket.recv(timeout=SOON)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    websocket.close()


@pytest.fixture
def flooded(pair: tuple[socket.socket, socket.socket]) -> Iterator[Callable[[bytes], socket.socket]]:
    """A server that repeats something without end, and reads nothing; our end of the connection."""
    ours, theirs = pair
    threads = []

    def flood(piece: bytes) -> socket.socket:
        def repeat() -> None:
            with suppress(OSError):
                while True:
                    theirs.sendall(piece * 1000)

        threads.append(threading.Thread(target=repeat))
        threads[0].start()
        return ours

    yield flood
    ours.close()
    threads[0].join(LONG)
    assert not threads[0].is_alive()


@pytest.mark.parametrize("piece", [b"x", b"A: b\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_flood_of_heads(flooded: Callable[[bytes], socket.socket], piece: bytes) -> None:
    with pytest.raises(InvalidMessage):
        opened(flooded(piece))


@pytest.mark.parametrize("name", ["ping", "pong", "fragments"])
def test_a_flood_that_is_no_message(
    pair: tuple[socket.socket, socket.socket], flooded: Callable[[bytes], socket.socket], name: str
) -> None:
    """Pings whose answers nobody reads, pongs that nobody asked for, a message without end."""
    pieces = {
        "ping": FRAMES["ping"],
        "pong": encode_frame(Opcode.PONG, b"x"),
        "fragments": encode_frame(Opcode.CONTINUATION, b"", fin=False),
    }
    pair[1].sendall(answer() + (encode_frame(Opcode.TEXT, b"", fin=False) if name == "fragments" else b""))
    websocket = opened(flooded(pieces[name]))
    tracemalloc.start()
    with pytest.raises(ConnectionClosedError if name == "fragments" else TimeoutError) as told:
        websocket.recv(timeout=LONG if name == "fragments" else 0.05)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000  # the events of one receive
    tracemalloc.stop()
    if name == "fragments":
        assert told.value.sent.code == 1009  # type: ignore[attr-defined]
    websocket.close()
    with pytest.raises(ConnectionClosedError):
        websocket.send("too late")


@pytest.mark.skipif(sys.platform == "win32", reason="a descriptor is passed to a process")
def test_a_flood_of_a_server_that_reads_no_more(pair: tuple[socket.socket, socket.socket]) -> None:
    """Sending fails: what it said before, perhaps why, is looked for, but not without end.

    The server is a process of its own, faster than we are.
    """
    ours, theirs = pair
    theirs.sendall(answer())
    websocket = opened(ours)
    theirs.shutdown(socket.SHUT_RD)
    flood = "import socket, sys\ns = socket.socket(fileno=int(sys.argv[1]))\n"
    flood += "while True: s.sendall(b'\\x8a\\1x' * 30_000)"
    command = [sys.executable, "-c", flood, str(theirs.fileno())]
    with subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL) as process:
        theirs.close()
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=SOON)
        with pytest.raises(ConnectionClosedError) as told:
            websocket.send("into nothing")
        assert isinstance(told.value.__cause__, BrokenPipeError)
        assert process.wait() != 0


@pytest.mark.parametrize("name", ["ping", "pong"])
def test_a_flood_keeps_no_other_thread_waiting(
    pair: tuple[socket.socket, socket.socket], flooded: Callable[[bytes], socket.socket], name: str
) -> None:
    """One thread receives without a pause; another can send and close."""
    pair[1].sendall(answer())
    websocket = opened(flooded(encode_frame(Opcode[name.upper()], b"x")))

    def receive() -> None:
        with suppress(ConnectionClosedError):
            websocket.recv()

    def send_and_close() -> None:
        for _ in range(3):
            websocket.send("while they come")
        websocket.close()

    receiver, sender = (threading.Thread(target=target, daemon=True) for target in (receive, send_and_close))
    receiver.start()
    while not websocket._lock.locked():  # type: ignore[attr-defined]
        pass
    sender.start()
    sender.join(LONG)
    assert not sender.is_alive()
    receiver.join(LONG)
    assert not receiver.is_alive()


@pytest.mark.parametrize("seconds", [float("inf"), 1e300, 1e8])
def test_times_longer_than_the_system_can_wait(
    pair: tuple[socket.socket, socket.socket], seconds: float
) -> None:
    ours, theirs = pair

    def reply(server: Connection, event: object) -> None:
        if isinstance(event, Ping):
            server.send_text("at last")

    thread = Answering(theirs, reply)
    thread.start()
    websocket = opened(ours, open_timeout=seconds, ping_interval=None)
    threading.Timer(SOON, websocket.ping).start()  # while the other waits, or before
    assert websocket.recv(timeout=seconds) == "at last"
    websocket.close()
    thread.join(LONG)


def test_a_flood_of_messages_waits_outside(
    pair: tuple[socket.socket, socket.socket], flooded: Callable[[bytes], socket.socket]
) -> None:
    pair[1].sendall(answer())
    ours = flooded(encode_frame(Opcode.BINARY, bytes(60_000)))
    websocket = opened(ours, max_queue=4)
    for _ in range(100):
        websocket.recv(timeout=LONG)
    for _ in range(3):
        websocket.send("while they come", timeout=LONG)
    assert websocket.ping(timeout=LONG).wait(SOON) is False
    waiting = websocket._driver.messages
    assert 1 <= len(waiting) <= 6
    with pytest.raises(TimeoutError):  # nobody reads what we send
        websocket.send(bytes(10_000_000), timeout=SOON)
    for _ in range(len(waiting)):
        assert len(websocket.recv()) == 60_000
    with pytest.raises(ConnectionClosedError):
        websocket.recv()


def test_a_flood_of_messages_while_we_close(
    pair: tuple[socket.socket, socket.socket], flooded: Callable[[bytes], socket.socket]
) -> None:
    pair[1].sendall(answer())
    websocket = opened(flooded(encode_frame(Opcode.BINARY, bytes(1000))), close_timeout=0.05)
    websocket.close()
    with suppress(ConnectionClosedError):
        for count in range(1000):
            assert len(websocket.recv()) == 1000
            assert count < 100


def test_silence_is_asked_and_given_up(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(answer())
    websocket = opened(ours, ping_interval=SOON, ping_timeout=SOON)
    with pytest.raises(ConnectionClosedError) as told:
        websocket.recv()
    assert told.value.sent is not None
    assert (told.value.sent.code, told.value.sent.reason) == (1011, "keepalive ping timeout")
    assert isinstance(told.value.__cause__, TimeoutError)


@pytest.mark.parametrize("ping_timeout", [LONG, None])
def test_silence_that_answers_is_waited_for(
    pair: tuple[socket.socket, socket.socket], ping_timeout: float | None
) -> None:
    ours, theirs = pair
    pings: list[bytes] = []

    def count(server: Connection, event: object) -> None:
        if isinstance(event, Ping):
            pings.append(event.payload)
            if len(pings) == 5:
                server.send_text("at last")

    thread = Answering(theirs, count)
    thread.start()
    websocket = opened(ours, ping_interval=SOON, ping_timeout=ping_timeout)
    assert websocket.recv() == "at last"
    websocket.close()
    thread.join(LONG)
    assert len(pings) >= 5


def test_silence_that_is_never_given_up(pair: tuple[socket.socket, socket.socket]) -> None:
    """It is asked once; the time of `recv` ends it."""
    ours, theirs = pair
    theirs.sendall(answer())
    websocket = opened(ours, ping_interval=SOON, ping_timeout=None)
    with pytest.raises(TimeoutError):
        websocket.recv(timeout=0.05)
    websocket.close()
    assert [type(event) for event in what_came(theirs)] == [Ping, Close]


def test_the_same_ping_twice(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(answer())
    websocket = opened(ours)
    websocket.ping("one")
    with pytest.raises(ConcurrencyError):
        websocket.ping(b"one")
    websocket.close()
    assert [type(event) for event in what_came(theirs)] == [Ping, Close]


def test_no_memory_for_a_message(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the server's fault: the program is told why, and the server 1011."""

    def fail(*words: object) -> None:
        raise MemoryError

    monkeypatch.setattr(deflate.MessageDeflate, "inflate", fail)
    ours, theirs = pair
    theirs.sendall(answer(**{"Sec-WebSocket-Extensions": EXTENSION}))
    websocket = opened(ours, compression="deflate")
    theirs.sendall(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00")
    with pytest.raises(MemoryError):
        websocket.recv()
    with pytest.raises(ConnectionClosedError) as told:
        websocket.recv()
    assert isinstance(told.value.__cause__, MemoryError)
    assert [event.code for event in what_came(theirs)] == [1011]


def test_without_pings(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(answer())
    websocket = opened(ours, ping_interval=None)
    with pytest.raises(TimeoutError):
        websocket.recv(timeout=SOON)
    websocket.close()


def test_a_server_that_says_why_and_goes(pair: tuple[socket.socket, socket.socket]) -> None:
    """Sending fails, and what it said before is still read."""
    ours, theirs = pair
    theirs.sendall(answer())
    websocket = opened(ours)
    theirs.sendall(FRAMES["text"] + encode_frame(Opcode.CLOSE, b"\x0f\xa0full"))
    theirs.close()
    with pytest.raises(ConnectionClosedError) as told:
        websocket.send("into nothing", timeout=LONG)
    assert told.value.rcvd is not None
    assert (told.value.rcvd.code, told.value.rcvd.reason) == (4000, "full")
    assert websocket.recv() == "Grüße"
