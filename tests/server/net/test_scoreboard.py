"""The shared numbers of the workers (net/scoreboard.py).

It must not know workers: rows are claimed, beaten and counted by hand.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from time import monotonic

import pytest

from python_server.net import scoreboard as module
from python_server.net.scoreboard import Row, Scoreboard


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    """On a clock that stands still: no beat gets old."""
    board = Scoreboard(lambda: 100.0)
    yield board
    board.close()


def working(board: Scoreboard, connections_count: int) -> Row:
    row = Row(board, board.claim())
    row.beat()
    row.accept(True)
    row.count(connections_count)
    return row


def test_the_mean_is_of_those_that_accept_and_live(
    board: Scoreboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert board.mean() == 0
    first = working(board, 10)
    working(board, 30)
    assert board.mean() == 20
    third = working(board, 500)
    third.accept(False)
    assert board.mean() == 20
    third.accept(True)
    monkeypatch.setattr(module, "STALE_SECONDS", -1.0)
    assert board.mean() == 0
    monkeypatch.undo()
    first.count(20)
    assert board.mean() == pytest.approx(550 / 3)


def test_the_fewest_connections_are_those_of_a_worker_that_accepts(board: Scoreboard) -> None:
    assert board.counts() == []
    for count, accepts in ((7, True), (5, True), (1, False)):
        row = Row(board, board.claim())
        row.beat()
        row.count(count)
        row.accept(accepts)
    assert row.fewest_count() == 5


def test_an_allowance_leaves_connections_to_those_with_fewer(board: Scoreboard) -> None:
    first, second = working(board, 0), working(board, 0)
    assert first.allowance() == 2
    first.count(2)
    assert (first.allowance(), second.allowance()) == (1, 3)
    first.count(300)
    second.count(100)
    assert (first.allowance(), second.allowance()) == (-75, 125)


@pytest.mark.parametrize(
    ("counts", "excess"),
    [
        ([100, 0], 50),
        ([100, 100], 0),
        ([67, 67, 67, 0], 0),  # above, but others take what comes next
        ([200, 0, 0, 0], 150),
        ([9, 0], 0),  # too few to be worth a word
        ([0, 100], 0),
        ([100], 0),
    ],
)
def test_who_stands_far_above_the_mean_parts_with_what_is_above_it(
    board: Scoreboard, counts: list[int], excess: int
) -> None:
    rows = [working(board, count) for count in counts]
    assert rows[0].excess() == excess


def test_a_worker_that_holds_back_takes_a_few_and_then_none(board: Scoreboard) -> None:
    first, other = working(board, 0), working(board, 0)
    first.hold_back(True)
    allowed = []
    for count in range(6):
        first.count(count)
        allowed.append(first.allowance())
    assert allowed == [4, 3, 2, 1, None, None]
    assert other.allowance() == 4
    first.hold_back(False)
    assert first.allowance() == 0
    assert module.HELD_BACK_COUNT == 4


def test_rows_are_reused_and_holes_do_not_hide_the_rest(board: Scoreboard) -> None:
    rows = [board.claim() for _ in range(100)]
    for row in rows[:99]:
        board.clear(row)
    last = Row(board, rows[99])
    last.beat()
    last.accept(True)
    last.count(7)
    assert board.mean() == 7
    assert board.claim() == rows[0]
    board.clear(rows[99])
    assert board.mean() == 0


def test_a_full_board_says_so(board: Scoreboard) -> None:
    for _ in range(module.ROWS_COUNT - 1):
        board.claim()
    with pytest.raises(RuntimeError, match="rows of the board are in use"):
        board.claim()


def test_another_process_writes_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALE_SECONDS", 60.0)  # its end may be noticed late
    board = Scoreboard(monotonic)
    row = board.claim()
    assert board.beat_age_seconds(row) == float("inf")
    code = (
        "import sys; from time import monotonic; from python_server.net.scoreboard import Scoreboard, Row;"
        "row = Row(Scoreboard(monotonic, int(sys.argv[1])), int(sys.argv[2]));"
        "row.beat(); row.accept(True); row.count(41)"
    )
    command = [sys.executable, "-c", code, str(board.descriptor), str(row)]
    subprocess.run(command, check=True, pass_fds=[board.descriptor])
    assert board.connections_count(row) == 41
    assert board.mean() == 41
    assert 0 <= board.beat_age_seconds(row) < 60
    board.close()


def test_without_memfd_a_file_without_a_name_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    board = Scoreboard(lambda: 100.0)
    assert working(board, 3).allowance() == 2
    board.close()
