"""What a worker is given: into a process and out of its environment (seat.py).

It must not know the supervisor.
"""

import os
import subprocess
import sys

import pytest

from python_server.net.link import pair
from python_server.net.scoreboard import Board, Row
from python_server.workers.spawn import WORKER_VARIABLE, Seat, is_worker, take_seat

CHILD = """
import os, subprocess, sys
from python_server.workers.spawn import is_worker, take_seat
from python_server.net.scoreboard import Row
assert is_worker(os.environ)
below = subprocess.run([sys.executable, "-c",
    "import os; from python_server.workers.spawn import is_worker, take_seat;"
    "assert not is_worker(os.environ); assert take_seat(os.environ) is None"])
assert below.returncode == 0  # it has the variable, and none of the descriptors
seat = take_seat(os.environ)
assert not is_worker(os.environ)
Row(seat.board, seat.row).count(7)
seat.control.send(b"control")
seat.siblings[3].send(b"sibling")
print(seat.index, seat.host_id, sorted(seat.serving), seat.successors, sorted(seat.named))
print([os.get_inheritable(number) for number in seat.descriptors()])
"""


def test_a_seat_travels_into_a_new_process() -> None:
    control, sibling, named = pair(), pair(), pair()
    board = Board()
    row = board.claim()
    seat = Seat(
        5,
        row,
        "abc",
        board,
        control[1],
        {3: sibling[1]},
        frozenset({3}),
        {1: 3, 2: 3},
        {"more": named[1]},
    )
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**os.environ, WORKER_VARIABLE: seat.to_text()},
        pass_fds=seat.descriptors(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["5 abc [3] {1: 3, 2: 3} ['more']", str([False] * 4)]
    assert control[0].recv(100) == b"control"
    assert sibling[0].recv(100) == b"sibling"
    assert board.connections_count(row) == 7
    assert Row(board, row).allowance() < 0
    for sock in (*control, *sibling, *named):
        sock.close()
    board.close()


@pytest.mark.parametrize("environment", [{}, {WORKER_VARIABLE: ""}])
def test_a_process_without_a_seat_is_no_worker(environment: dict[str, str]) -> None:
    assert not is_worker(environment)
    assert take_seat(environment) is None
