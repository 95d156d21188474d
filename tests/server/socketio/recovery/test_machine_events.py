"""Events of one machine on their way into the stream (machine_events.py).

It must not know the log: positions are numbers.
"""

import pytest

from python_server.socketio.recovery.machine_events import MachineEvents


@pytest.fixture
def events() -> MachineEvents:
    events = MachineEvents("selfself")
    for position, name in enumerate(("aaaaaaaa1", "aaaaaaaa2", "bbbbbbbb1", "aaaaaaaa3")):
        events.add(name, position)
    return events


def test_what_is_heard_has_no_place_yet(events: MachineEvents) -> None:
    assert "aaaaaaaa1" in events
    assert "aaaaaaaa4" not in events
    assert events.is_unplaced("aaaaaaaa1")
    assert events.known_place("aaaaaaaa1") == 0
    assert events.first_unplaced(9) == 0


def test_it_gets_its_place_once(events: MachineEvents) -> None:
    events.place("aaaaaaaa1", 5)
    events.place("aaaaaaaa1", 8)
    assert events.known_place("aaaaaaaa1") == 5
    assert not events.is_unplaced("aaaaaaaa1")
    assert "aaaaaaaa1" in events
    assert events.first_unplaced(9) == 1


def test_what_is_not_heard_gets_none(events: MachineEvents) -> None:
    events.place("aaaaaaaa9", 5)
    assert "aaaaaaaa9" not in events
    assert events.is_unplaced("aaaaaaaa3")


def test_what_was_said_before_goes_with_it(events: MachineEvents) -> None:
    """The broker has dropped it: it will never be in the stream."""
    events.place("aaaaaaaa2", 5)
    assert events.known_place("aaaaaaaa1") == 5
    assert events.first_unplaced(9) == 2
    events.place("bbbbbbbb1", 6)
    events.place("aaaaaaaa3", 7)
    assert events.first_unplaced(9) == 9


def test_all_was_heard(events: MachineEvents) -> None:
    assert events.all_heard({"aaaaaaaa1": 2, "bbbbbbbb1": 3, "aaaaaaaa3": 4}, 1) is True
    assert events.all_heard({"aaaaaaaa3": 4, "aaaaaaaa4": 5}, 1) is False
    assert events.all_heard({}, 1) is True


def test_what_was_said_before_siblings_knew_us_is_not_waited_for(events: MachineEvents) -> None:
    assert events.all_heard({"cccccccc1": 4, "aaaaaaaa1": 5}, 4) is True
    assert events.all_heard({"cccccccc1": 4, "cccccccc2": 5}, 4) is False


def test_what_does_not_come_before_what_was_said_later_never_comes(events: MachineEvents) -> None:
    assert events.all_heard({"aaaaaaaa15": 4, "aaaaaaaa3": 5}, 1) is None
    assert events.all_heard({"bbbbbbbb15": 4, "aaaaaaaa3": 5}, 1) is False  # another's
    assert (
        events.all_heard({"aaaaaaaa15": 4, "aaaaaaaa3": 5, "aaaaaaaa16": 6}, 1) is False
    )  # the last one may come still


def test_a_lower_number_does_not_say_that_it_was_heard(events: MachineEvents) -> None:
    """Threads name what they say before they say it."""
    assert events.all_heard({"aaaaaaaa0": 4}, 1) is False


def test_what_was_said_again_after_it_was_forgotten_is_not_waited_for(events: MachineEvents) -> None:
    events.place("aaaaaaaa2", 5)
    events.sweep(2)
    assert "aaaaaaaa2" not in events
    assert events.all_heard({"aaaaaaaa1": 8, "aaaaaaaa2": 9, "aaaaaaaa3": 10}, 1) is True


def test_what_is_forgotten_before_the_stream_has_told_of_it_is_in_doubt(events: MachineEvents) -> None:
    """A lower one may have been dropped on its way."""
    events.sweep(9)
    assert events.all_heard({"aaaaaaaa0": 5}, 1) is None
    assert events.all_heard({"aaaaaaaa3": 5}, 1) is None
    assert events.all_heard({"aaaaaaaa4": 5}, 1) is False


def test_a_process_has_heard_what_it_said_itself(events: MachineEvents) -> None:
    assert events.all_heard({"selfself1": 5}, 1) is True


def test_a_sweep_leaves_nothing_behind(events: MachineEvents) -> None:
    events.place("aaaaaaaa2", 5)
    events.sweep(9)
    assert (events._unplaced, events._placed) == ({}, {})
    for tag in ("aaaaaaaa", "bbbbbbbb"):
        events.forget(tag)
    assert (events._forgotten, events._doubted) == ({}, {})
