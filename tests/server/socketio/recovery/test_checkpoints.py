"""What is found by halving is what a look at all of them would find (checkpoints.py).

It must not know logs.
"""

from hypothesis import given
from hypothesis import strategies as st

from python_server.socketio.recovery.checkpoints import Checkpoint, Checkpoints

STEPS = st.lists(st.tuples(*[st.integers(0, 2)] * 4), max_size=12)


@given(STEPS, st.integers(-1, 30))
def test_against_all_of_them(steps: list[tuple[int, int, int, int]], asked: int) -> None:
    """Of positions that the log still keeps; a place may be one that it has forgotten."""
    places, everything = Checkpoints(), list[Checkpoint]()
    place = first = end = 1
    oldest = 0
    for more_place, more_first, more_end, more_oldest in steps:
        place, end = place + more_place, end + more_end
        first, oldest = min(end, first + more_first), min(end, oldest + more_oldest)
        places.note(place, first, end, oldest)
        if not everything or everything[-1][1:] != (first, end):
            everything.append(Checkpoint(place, first, end))
    behind = max((each.first for each in everything if each.place <= asked), default=None)
    assert places.first_behind(asked) in (behind, None)
    assert places.first_behind(asked) == behind or behind is None or behind <= oldest
    if asked >= oldest:
        assert places.since(asked) == next((each for each in everything if each.first >= asked), None)
        before = max((each.place for each in everything if each.end <= asked), default=0)
        assert places.place_before(asked) == before


def test_no_more_are_kept_than_the_log_keeps_events() -> None:
    places = Checkpoints()
    for number in range(500):
        places.note(number, max(0, number - 5), number, oldest=number - 100)
    assert len(places) == 101
