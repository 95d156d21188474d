"""What is found by halving is what a look at all of them would find (checkpoints.py).

It must not know logs.
"""

from hypothesis import given
from hypothesis import strategies as st

from python_server.socketio.recovery.checkpoints import Checkpoint, Checkpoints

STEPS = st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=12)


@given(STEPS, st.integers(-1, 30))
def test_against_all_of_them(steps: list[tuple[int, int, int]], asked: int) -> None:
    places, everything = Checkpoints(), list[Checkpoint]()
    place = first = end = 1
    for more_place, more_first, more_end in steps:
        place, end = place + more_place, end + more_end
        first = min(end, first + more_first)
        places.note(place, first, end, oldest=0)
        if not everything or everything[-1][1:] != (first, end):
            everything.append(Checkpoint(place, first, end))
    assert places.since(asked) == next((each for each in everything if each.first >= asked), None)
    assert places.first_behind(asked) == max(
        (each.first for each in everything if each.place <= asked), default=None
    )
    assert places.place_before(asked) == max(
        (each.place for each in everything if each.end <= asked), default=0
    )
