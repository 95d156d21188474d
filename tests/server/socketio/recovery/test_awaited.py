"""Events that clients have brought along, until they come (awaited.py).

It must not know logs; time is a number.
"""

import tracemalloc
from typing import Any

import pytest

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.awaited import AwaitedEvents


def said(name: str, excepted: tuple[str, ...] = ()) -> Envelope:
    return Envelope("/", None, excepted, Prepared(["x"]), name)


def excepted_of(awaited: AwaitedEvents, name: str) -> tuple[Any, ...]:
    return awaited.without_repeats(said(name)).excepted


@pytest.fixture
def awaited() -> AwaitedEvents:
    return AwaitedEvents()


def test_nobody_waits(awaited: AwaitedEvents) -> None:
    envelope = said("aaaaaaaa1")
    assert awaited.without_repeats(envelope) is envelope


def test_all_until_a_name_are_had(awaited: AwaitedEvents) -> None:
    awaited.add("S", ["aaaaaaaaa"], [], 10.0)
    assert [excepted_of(awaited, f"aaaaaaaa{number:x}") for number in (8, 9, 10, 11)] == [("S",)] * 3 + [()]


def test_others_are_had_one_by_one(awaited: AwaitedEvents) -> None:
    awaited.add("S", [], ["aaaaaaaa5", "aaaaaaaa3"], 10.0)
    assert [excepted_of(awaited, f"aaaaaaaa{number}") for number in (2, 3, 4, 5)] == [(), ("S",), (), ("S",)]


def test_of_one_process_some_are_had_in_row_and_others_ahead(awaited: AwaitedEvents) -> None:
    awaited.add("S", ["aaaaaaaa2"], ["aaaaaaaa4", "bbbbbbbb1"], 10.0)
    assert [excepted_of(awaited, f"aaaaaaaa{number}") for number in (2, 3, 4)] == [("S",), (), ("S",)]
    assert excepted_of(awaited, "bbbbbbbb1") == ("S",)
    assert excepted_of(awaited, "cccccccc1") == ()


def test_who_was_excepted_by_the_sender_still_is(awaited: AwaitedEvents) -> None:
    awaited.add("S", ["aaaaaaaa2"], [], 10.0)
    assert awaited.without_repeats(said("aaaaaaaa2", ("blue",))).excepted == ("blue", "S")


def test_several_wait_for_the_same(awaited: AwaitedEvents) -> None:
    awaited.add("S", ["aaaaaaaa2"], [], 10.0)
    awaited.add("T", ["aaaaaaaa4"], [], 10.0)
    assert [excepted_of(awaited, f"aaaaaaaa{number}") for number in (2, 3, 4)] == [("S", "T"), ("T",), ("T",)]


def test_the_last_of_them_ends_it(awaited: AwaitedEvents) -> None:
    awaited.add("S", ["aaaaaaaa2"], ["aaaaaaaa4"], 10.0)
    for number in (2, 3):
        excepted_of(awaited, f"aaaaaaaa{number}")
        assert awaited._awaited
    excepted_of(awaited, "aaaaaaaa4")
    assert awaited._awaited == {}


def test_what_its_sender_says_next_ends_it_as_well(awaited: AwaitedEvents) -> None:
    """The last one may have been for that client alone: it comes to nobody else."""
    awaited.add("S", ["aaaaaaaa2"], [], 10.0)
    assert excepted_of(awaited, "aaaaaaaa3") == ()
    assert awaited._awaited == {}


def test_who_comes_once_more_waits_for_what_it_has_then(awaited: AwaitedEvents) -> None:
    awaited.add("S", ["aaaaaaaa2"], [], 10.0)
    awaited.add("S", ["aaaaaaaa5"], [], 20.0)
    awaited.sweep(15.0)
    assert excepted_of(awaited, "aaaaaaaa5") == ("S",)


def test_it_is_awaited_for_a_time(awaited: AwaitedEvents) -> None:
    awaited.add("S", ["aaaaaaaa2"], [], 10.0)
    awaited.add("T", ["aaaaaaaa2", "bbbbbbbb2"], [], 20.0)
    awaited.sweep(10.0)
    assert excepted_of(awaited, "aaaaaaaa1") == ("T",)
    awaited.sweep(20.0)
    assert awaited._awaited == {}


def test_who_has_brought_nothing_leaves_nothing(awaited: AwaitedEvents) -> None:
    awaited.add("S", [], [], 10.0)
    assert awaited._awaited == {}


def test_many_clients_that_have_much_of_what_may_come_again(awaited: AwaitedEvents) -> None:
    """After the restart of a machine all its clients bring along what they were sent last."""
    names = [f"aaaaaaaa{number:x}" for number in range(10**6, 10**6 + 500)]
    awaited.add("S", [], names, 10.0)
    tracemalloc.start()
    try:
        for number in range(20):
            awaited.add(f"S{number}", [], names, 10.0)
        size_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert size_bytes < 20 * 6000
    assert excepted_of(awaited, names[100]) == ("S", *(f"S{number}" for number in range(20)))


def test_names_that_nobody_gives_are_not_awaited(awaited: AwaitedEvents) -> None:
    awaited.add("S", [], ["aaaaaaaa-1", "aaaaaaaa" + "f" * 40, "aaaaaaaa7"], 10.0)
    assert [excepted_of(awaited, f"aaaaaaaa{number}") for number in (6, 7)] == [(), ("S",)]
