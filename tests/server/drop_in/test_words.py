"""Words beside greenlets: patching, what drivers of databases wait with.

It must not know where a program finds them.
"""

import socket
import threading
from collections.abc import Iterator

import pytest

from python_server.drop_in.waiting import Timeout
from python_server.drop_in.words import trampoline, wait_read, wait_write
from python_server.net.turn import PROGRAM, Turn, run_in_turn

PATIENCE_SECONDS = 60


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def test_a_descriptor_is_waited_for_while_others_run(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    PROGRAM.turn = Turn(print, runnable=lambda native_id: True)
    try:
        with PROGRAM.turn.held():
            threading.Thread(target=run_in_turn, args=(lambda: right.send(b"x"),)).start()
            wait_read(left.fileno(), PATIENCE_SECONDS)
            wait_write(left.fileno(), PATIENCE_SECONDS)
    finally:
        PROGRAM.turn = None
    assert left.recv(1) == b"x"


def test_a_descriptor_that_does_not_come(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(TimeoutError):
        wait_read(pair[0].fileno(), 0.001)
    with pytest.raises(Timeout):
        trampoline(pair[0].fileno(), read=True, timeout=0.001)
