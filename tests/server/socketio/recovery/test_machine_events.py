"""Events of one machine on their way into the stream (machine_events.py).

It must not know the log: positions are numbers.
"""

import pytest

from python_server.socketio.recovery.machine_events import MachineEvents


@pytest.fixture
def events() -> MachineEvents:
    events = MachineEvents("self")
    for position, name in enumerate(("aaaa1", "aaaa2", "bbbb1", "aaaa3")):
        events.add(name, position)
    return events


def test_what_is_heard_has_no_place_yet(events: MachineEvents) -> None:
    assert "aaaa1" in events
    assert "aaaa4" not in events
    assert events.is_unplaced("aaaa1")
    assert events.known_place("aaaa1") == 0
    assert events.first_unplaced(9) == 0


def test_it_gets_its_place_once(events: MachineEvents) -> None:
    events.place("aaaa1", 5)
    events.place("aaaa1", 8)
    assert events.known_place("aaaa1") == 5
    assert not events.is_unplaced("aaaa1")
    assert "aaaa1" in events
    assert events.first_unplaced(9) == 1


def test_what_is_not_heard_gets_none(events: MachineEvents) -> None:
    events.place("aaaa9", 5)
    assert "aaaa9" not in events
    assert events.is_unplaced("aaaa3")


def test_what_was_said_before_goes_with_it(events: MachineEvents) -> None:
    """The broker has dropped it: it will never be in the stream."""
    events.place("aaaa2", 5)
    assert events.known_place("aaaa1") == 5
    assert events.first_unplaced(9) == 2
    events.place("bbbb1", 6)
    events.place("aaaa3", 7)
    assert events.first_unplaced(9) == 9


def test_all_was_heard(events: MachineEvents) -> None:
    assert events.all_heard({"aaaa1": 2, "bbbb1": 3, "aaaa3": 4}, 1) is True
    assert events.all_heard({"aaaa3": 4, "aaaa4": 5}, 1) is False
    assert events.all_heard({}, 1) is True


def test_what_was_said_before_siblings_knew_us_is_not_waited_for(events: MachineEvents) -> None:
    assert events.all_heard({"cccc1": 4, "aaaa1": 5}, 4) is True
    assert events.all_heard({"cccc1": 4, "cccc2": 5}, 4) is False


def test_what_does_not_come_before_what_was_said_later_never_comes(events: MachineEvents) -> None:
    assert events.all_heard({"aaaa15": 4, "aaaa3": 5}, 1) is None
    assert events.all_heard({"bbbb15": 4, "aaaa3": 5}, 1) is False  # another's
    assert events.all_heard({"aaaa15": 4, "aaaa3": 5, "aaaa16": 6}, 1) is False  # the last one may come still


def test_a_lower_number_does_not_say_that_it_was_heard(events: MachineEvents) -> None:
    """Threads name what they say before they say it."""
    assert events.all_heard({"aaaa0": 4}, 1) is False


def test_what_was_said_again_after_it_was_forgotten_is_not_waited_for(events: MachineEvents) -> None:
    events.place("aaaa2", 5)
    events.sweep(2)
    assert "aaaa2" not in events
    assert events.all_heard({"aaaa1": 8, "aaaa2": 9, "aaaa3": 10}, 1) is True


def test_what_is_forgotten_before_the_stream_has_told_of_it_is_in_doubt(events: MachineEvents) -> None:
    """A lower one may have been dropped on its way."""
    events.sweep(9)
    assert events.all_heard({"aaaa0": 5}, 1) is None
    assert events.all_heard({"aaaa3": 5}, 1) is None
    assert events.all_heard({"aaaa4": 5}, 1) is False


def test_a_process_has_heard_what_it_said_itself(events: MachineEvents) -> None:
    assert events.all_heard({"self1": 5}, 1) is True


def test_a_sweep_leaves_nothing_behind(events: MachineEvents) -> None:
    events.place("aaaa2", 5)
    events.sweep(9)
    assert (events._unplaced, events._placed) == ({}, {})
    for tag in ("aaaa", "bbbb"):
        events.forget(tag)
    assert (events._forgotten, events._doubted) == ({}, {})
