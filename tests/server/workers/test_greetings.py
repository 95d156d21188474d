"""When a newborn worker may serve (workers/greetings.py).

It must not know links; what would be sent to a newborn is kept.
"""

import pytest

from python_server.workers.greetings import RUMOURS_MAX_COUNT, Greetings


@pytest.fixture
def told() -> list[int]:
    """Newborns that were told that all has settled."""
    return []


@pytest.fixture
def old(told: list[int]) -> Greetings:
    """Worker 1 beside 2 and 3."""
    greetings = Greetings(told.append)
    greetings.begin(())
    return greetings


def test_a_newborn_is_told_when_everybody_knows_it(old: Greetings, told: list[int]) -> None:
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


def test_newborns_that_are_never_met_do_not_add_up(old: Greetings) -> None:
    for newborn in range(3 * RUMOURS_MAX_COUNT):
        old.confirmed(newborn, 2)
    assert len(old._rumours) == RUMOURS_MAX_COUNT


def test_a_newborn_waits_for_greetings_and_for_what_they_promise() -> None:
    newborn = Greetings(lambda index: None)
    for index in (1, 2, 3):
        newborn.expect(index)
    newborn.begin((5,))
    newborn.greeted(1, settles=True)
    newborn.greeted(2, settles=False)
    newborn.greeted(5, settles=True)
    newborn.greeted(7, settles=True)  # younger than we are: it waits for us
    assert newborn.awaited == {1, 3, 5}
    newborn.settled(1)
    newborn.lost(5)
    assert newborn.awaited == {3}
    newborn.give_up(3)
    assert newborn.awaited == frozenset()
