"""How a connection ends: answers to what came before a fault, and waits that are no longer than was asked.

It must not wait for a time to pass: a time is so short that it is over, or so long that the test would hang.
"""

from __future__ import annotations

import socket
import threading
from functools import partial

import pytest

from hand_made_server import FRAMES, LONG, SOON, answer, opened, what_came
from wsframe import Close, Opcode, Pong, encode_frame
from wsframe.sync import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

Pair = tuple[socket.socket, socket.socket]
FAULT = b"\xb3\x00"  # an opcode that there is not, and a bit that nobody agreed to


def codes(events: list[object]) -> list[object]:
    return [event.code if isinstance(event, Close) else event for event in events]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("together", [True, False])
def test_what_came_before_a_fault_is_answered(pair: Pair, count: int, together: bool) -> None:
    ours, theirs = pair
    good = FRAMES["ping"] + FRAMES["text"] * count
    theirs.sendall(answer() + good + FAULT * together)
    websocket = opened(ours, close_timeout=LONG)
    for number in range(count):
        message = websocket.recv()
        if not together and number == count - 1:
            theirs.sendall(FAULT)  # while the program thinks about its answer
        websocket.send(message)
        websocket.send(iter([message, message]))
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionClosedError) as told:
        websocket.recv(timeout=LONG)
    assert (told.value.rcvd, told.value.sent and told.value.sent.code) == (None, 1002)
    with pytest.raises(ConnectionClosedError):
        websocket.send("too late")
    assert codes(what_came(theirs)) == [Pong(b"12"), *["Grüße", "GrüßeGrüße"] * count, 1002]


def test_nothing_is_sent_behind_a_fault_when_there_is_nothing_to_answer(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(answer() + FRAMES["ping"] + FAULT)
    websocket = opened(ours)
    with pytest.raises(ConnectionClosedError):
        websocket.send("never sent")
    assert codes(what_came(theirs)) == [Pong(b"12"), 1002]


@pytest.mark.parametrize("word", ["close", "ping", "leave"])
def test_answers_end_with_any_other_call(pair: Pair, word: str) -> None:
    ours, theirs = pair
    theirs.sendall(answer() + FRAMES["text"] * 2 + FAULT)
    websocket = opened(ours)
    assert websocket.recv() == "Grüße"
    websocket.send("answered")
    if word == "close":
        websocket.close()
    elif word == "leave":
        websocket.__exit__(None, None, None)
    else:
        with pytest.raises(ConnectionClosedError):
            websocket.ping()
    with pytest.raises(ConnectionClosedError):
        websocket.send("too late")
    assert websocket.recv() == "Grüße"
    with pytest.raises(ConnectionClosedError):
        websocket.recv()
    assert codes(what_came(theirs)) == ["answered", 1002]


def test_answers_end_with_the_time_to_close(pair: Pair) -> None:
    """A program that never asks for more is told as well, and so is the server."""
    ours, theirs = pair
    theirs.sendall(answer() + FRAMES["text"] + FAULT)
    websocket = opened(ours)
    assert websocket.recv() == "Grüße"

    def send_on() -> None:
        while True:
            websocket.send(b"x")

    with pytest.raises(ConnectionClosedError) as told:
        send_on()
    assert told.value.sent is not None
    assert ours.fileno() == -1
    *answers, last = codes(what_came(theirs))
    assert (set(answers) <= {b"x"}, last) == (True, 1002)


def test_a_server_with_a_fault_that_does_not_read(pair: Pair) -> None:
    """An answer waits no longer than the closing may take, whatever its own time."""
    ours, theirs = pair
    theirs.sendall(answer() + FRAMES["text"] + FAULT)
    websocket = opened(ours)
    websocket.recv()
    with pytest.raises(ConnectionClosedError):
        websocket.send(bytes(50_000_000))
    assert ours.fileno() == -1


@pytest.mark.parametrize("last", [FAULT, FRAMES["close"]])
@pytest.mark.parametrize("call", ["recv", "send", "ping"])
def test_no_wait_is_longer_than_was_asked(pair: Pair, call: str, last: bytes) -> None:
    """Nor for the end of TCP, which the server keeps open: who closes waits for it."""
    ours, theirs = pair
    theirs.sendall(answer() + last)
    websocket = opened(ours, close_timeout=None)
    calls = {"recv": websocket.recv, "ping": websocket.ping, "send": partial(websocket.send, "")}
    for seconds in (0, SOON):
        with pytest.raises(ConnectionClosed):
            calls[call](timeout=seconds)
    assert ours.fileno() != -1
    theirs.shutdown(socket.SHUT_WR)
    websocket.close()
    assert ours.fileno() == -1
    kind = ConnectionClosedError if last is FAULT else ConnectionClosedOK
    with pytest.raises(kind):
        websocket.recv()


def test_a_fault_in_another_thread_s_hands(pair: Pair) -> None:
    """The thread that receives has nothing to answer: the one that sends is told."""
    ours, theirs = pair
    theirs.sendall(answer())
    websocket = opened(ours)
    told: list[ConnectionClosed] = []

    def listen() -> None:
        with pytest.raises(ConnectionClosedError) as error:
            websocket.recv()
        told.append(error.value)

    thread = threading.Thread(target=listen)
    thread.start()
    theirs.sendall(encode_frame(Opcode.PONG, b"") + FAULT)
    thread.join(LONG)
    assert told[0].sent is not None
    with pytest.raises(ConnectionClosedError):
        websocket.send("too late")
