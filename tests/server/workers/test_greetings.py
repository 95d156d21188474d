"""When a new worker may serve (workers/greetings.py).

It must not know links; what would be sent to a new worker is kept.
"""

import pytest

from python_server.workers.confirmations import EARLY_MAX_COUNT
from python_server.workers.greetings import Greetings


@pytest.fixture
def told() -> list[int]:
    """New workers that were told that all has settled."""
    return []


@pytest.fixture
def old(told: list[int]) -> Greetings:
    """Worker 1 beside 2 and 3."""
    return Greetings(told.append)


def test_a_new_worker_is_told_when_everybody_knows_it(old: Greetings, told: list[int]) -> None:
    old.found(9, (2, 3))
    old.confirmed(9, 3)
    assert told == []
    old.confirmed(9, 2)
    assert told == [9]


def test_who_knew_it_before_us_is_not_waited_for(old: Greetings, told: list[int]) -> None:
    old.confirmed(9, 2)
    old.confirmed(9, 3)
    old.found(9, (2, 3))
    assert told == [9]


def test_one_that_dies_confirms_nothing_more(old: Greetings, told: list[int]) -> None:
    old.found(8, (2, 3))
    old.found(9, (2, 3))
    old.confirmed(9, 3)
    old.lost(8)
    old.lost(2)
    assert told == [9]
    old.found(10, (3,))
    old.confirmed(10, 3)
    assert told == [9, 10]


def test_where_nobody_served_before_it_nobody_is_waited_for(old: Greetings, told: list[int]) -> None:
    old.found(9, ())
    assert told == [9]


def test_new_workers_that_are_never_met_do_not_add_up(old: Greetings) -> None:
    for new_worker in range(3 * EARLY_MAX_COUNT):
        old.confirmed(new_worker, 2)
    assert len(old._known._early) == EARLY_MAX_COUNT


def test_a_new_worker_waits_for_greetings_and_for_what_they_promise() -> None:
    new_worker = Greetings(lambda index: None)
    for index in (1, 2, 3):
        new_worker.expect(index)
    new_worker.expect(5)
    new_worker.greeted(1, settles=True)
    new_worker.greeted(2, settles=False)
    new_worker.greeted(5, settles=True)
    new_worker.greeted(7, settles=True)  # younger than we are: it waits for us
    assert new_worker.awaited == {1, 3, 5}
    new_worker.settled(1)
    new_worker.lost(5)
    assert new_worker.awaited == {3}
    new_worker.give_up(3)
    assert new_worker.awaited == frozenset()
