"""The checker of deliveries itself: each planted fault is found, and what is told to a client is no fault.

It must not know a server: what was heard stands here.
"""

import pytest
from delivery_checker import Checker

SPEAKER, LISTENER = 0, 1
FOUND = {
    "a loss": ([1, 2, 4], "missed places 3 to 3"),
    "a loss at the end": ([1, 2, 3], "missed places 4 to 4"),
    "a loss at the beginning": ([2, 3, 4], "missed 1 events of (7, 'room'), the first place 1"),
    "everything lost": ([], "missed 4 events of (7, 'room'), the first place 1"),
    "a duplicate": ([1, 2, 2, 3, 4], "heard place 2 of (7, 'room') after place 2"),
    "an old duplicate": ([1, 2, 3, 4, 1], "heard place 1 of (7, 'room') after place 4"),
    "a swap": ([1, 3, 2, 4], "heard place 2 of (7, 'room') after place 3"),
}


def told(count: int = 4, process: int = 7) -> Checker:
    """The speaker has said so many events, and was told that they were told."""
    checker = Checker([set(), {"room"}])
    checker.returned(SPEAKER, False)
    checker.returned(LISTENER, False)
    for place in range(1, count + 1):
        checker.acknowledged(SPEAKER, checker.said(SPEAKER), process, "room", place)
    return checker


def hear(checker: Checker, *places: int) -> None:
    for place in places:
        checker.heard(LISTENER, 7, "room", place, SPEAKER, place)


@pytest.mark.parametrize("recovered", [None, True], ids=["connected", "recovered"])
@pytest.mark.parametrize(("places", "finding"), FOUND.values(), ids=FOUND)
def test_a_planted_fault_is_found(places: list[int], finding: str, recovered: bool | None) -> None:
    checker = told()
    for count, place in enumerate(places):
        if count == 2 and recovered:
            checker.returned(LISTENER, True)
        hear(checker, place)
    checker.finish()
    assert finding in "\n".join(checker.findings + checker.disordered).replace("client 1 ", "")


def test_all_heard_once_and_in_order_is_no_finding() -> None:
    checker = told()
    hear(checker, 1, 2)
    assert checker.waits()
    checker.returned(LISTENER, True)
    hear(checker, 3, 4)
    assert not checker.waits()
    checker.finish()
    assert checker.findings == checker.disordered == []
    assert checker.counts["missed, and told so"] == 0


def test_a_client_that_begins_anew_may_have_missed_what_was_said_before() -> None:
    checker = told(3)
    hear(checker, 1)
    checker.returned(LISTENER, False)
    checker.acknowledged(SPEAKER, checker.said(SPEAKER), 7, "room", 4)
    hear(checker, 4)
    checker.finish()
    assert checker.findings == checker.disordered == []
    assert checker.counts["missed, and told so"] == 2


@pytest.mark.parametrize("heard", [[1], [1, 3]], ids=["at the end", "between"])
def test_a_client_that_begins_anew_must_hear_what_is_said_afterwards(heard: list[int]) -> None:
    checker = told(1)
    hear(checker, 1)
    checker.returned(LISTENER, False)
    for place in (2, 3):
        checker.acknowledged(SPEAKER, checker.said(SPEAKER), 7, "room", place)
    hear(checker, *heard[1:])
    checker.finish()
    assert "said after it had begun anew" in checker.findings[0]


def test_a_new_process_has_nothing_to_be_excused_for() -> None:
    """Its first places are missed by a client that was there: no return lies between."""
    checker = told()
    hear(checker, 1, 2, 3, 4)
    for place in (1, 2):
        checker.acknowledged(SPEAKER, checker.said(SPEAKER), 8, "room", place)
    checker.heard(LISTENER, 8, "room", 2, SPEAKER, 6)
    checker.finish()
    assert "missed 1 events of (8, 'room'), the first place 1" in checker.findings[0]


@pytest.mark.parametrize("places", [[1, 2], [1, 2, 4], [1, 2, 2]], ids=["its last", "a hole", "a duplicate"])
def test_what_a_killed_worker_told_last_may_be_lost_and_nothing_else_of_it(places: list[int]) -> None:
    checker = told()
    checker.died(7)
    hear(checker, *places)
    assert not checker.waits()
    checker.finish()
    assert bool(checker.findings + checker.disordered) == (places != [1, 2])
    assert checker.counts["lost with the killed worker"] == 4 - places[-1]


def test_an_event_that_is_handled_twice_is_found() -> None:
    checker = told()
    hear(checker, 1, 2, 3, 4)
    checker.heard(LISTENER, 7, "room", 5, SPEAKER, 2)
    assert "client 0 said 2, which was handled twice" in checker.findings[0]


@pytest.mark.parametrize("acknowledged", [True, False])
def test_an_acknowledged_event_that_another_process_tells_late_is_found(acknowledged: bool) -> None:
    """One whose connection ended before it was acknowledged has no promised place among those of the next."""
    checker = told()
    for number in (5, 6):
        assert checker.said(SPEAKER) == number
    hear(checker, 1, 2, 3, 4)
    if acknowledged:
        checker.acknowledged(SPEAKER, 5, 7, "room", 5)
    checker.heard(LISTENER, 8, "room", 1, SPEAKER, 6)
    hear(checker, 5)
    late = ["client 1 heard 5 of speaker 0, from (7, 'room'), after 6"]
    assert checker.disordered == (late if acknowledged else [])
    assert checker.counts["given up, and heard after a later one"] == (not acknowledged)


def test_an_event_that_nobody_said_or_that_changed_is_found() -> None:
    checker = told()
    checker.heard(LISTENER, 7, "room", 1, SPEAKER, 9)
    checker.heard(LISTENER, 7, "room", 5, SPEAKER, 9)
    assert "client 0 said 9: place 1 of (7, 'room'), which is (0, 1) as well" in checker.findings[0]
    assert "client 0 never said 9" in checker.findings[1]


def test_what_a_killed_process_had_told_nobody_outside_is_not_owed() -> None:
    checker = told(4)
    hear(checker, 1, 2)
    checker.lost_with(7, {"room": 2})
    assert not checker.waits()
    checker.finish()
    assert checker.findings == []
    assert checker.counts["lost with a killed process"] == 2
    assert checker.processes == {7}


def test_how_far_the_slowest_listener_is_behind() -> None:
    checker = Checker([{"room"}, {"room"}])
    for listener in (SPEAKER, LISTENER):
        checker.returned(listener, False)
    for place in range(1, 6):
        checker.heard(SPEAKER, 7, "room", place, SPEAKER, checker.said(SPEAKER))
    checker.heard(LISTENER, 7, "room", 1, SPEAKER, 1)
    assert checker.most_behind() == 4
    checker.returned(LISTENER, False)
    assert checker.most_behind() == 0


def test_what_a_killed_process_had_told_outside_is_owed() -> None:
    checker = told(4)
    hear(checker, 1, 2)
    checker.lost_with(7, {"room": 3})
    checker.lost_with(8, {})
    assert checker.waits()
    checker.finish()
    assert checker.findings == ["client 1 missed places 3 to 3 of (7, 'room') and was not told"]


@pytest.mark.parametrize("across_machines", [False, True])
def test_the_order_of_a_speaker_that_moves(across_machines: bool) -> None:
    """Within a machine it is the speaker's, between machines that of each process."""
    checker = Checker([set(), {"room"}], across_machines)
    for process, place in ((7, 1), (8, 1), (8, 2)):
        checker.acknowledged(SPEAKER, checker.said(SPEAKER), process, "room", place)
    checker.heard(LISTENER, 8, "room", 1, SPEAKER, 2)
    checker.heard(LISTENER, 7, "room", 1, SPEAKER, 1)
    assert bool(checker.disordered) is not across_machines
    checker.heard(LISTENER, 8, "room", 2, SPEAKER, 3)
    checker.heard(LISTENER, 8, "room", 2, SPEAKER, 3)
    assert len(checker.disordered) == 2 - across_machines
