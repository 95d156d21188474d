"""Places and the line before them: first come, first served, none lost (wsgi/upload_slots.py).

It must not know what waits.
"""

import random

from python_server.wsgi.upload_slots import UploadSlots


def test_first_come_first_served() -> None:
    started: list[int] = []
    places = UploadSlots(2, started.append)
    for job in range(5):
        places.ask(job)
    assert started == [0, 1]
    assert places.waiting_count == 3
    assert places.give_up(3)
    assert not places.give_up(3)
    assert not places.give_up(0)
    places.leave()
    places.leave()
    assert started == [0, 1, 2, 4]
    places.leave()
    places.leave()
    places.ask(5)
    assert started == [0, 1, 2, 4, 5]


def test_no_place_is_lost_or_given_twice() -> None:
    source = random.Random(4)
    holding: set[int] = set()
    line: list[int] = []

    def start(job: int) -> None:
        holding.add(job)
        if job in line:
            assert line.pop(0) == job

    places = UploadSlots(3, start)
    for job in range(2_000):
        choice = source.randrange(3)
        if choice == 0:
            line.append(job)
            places.ask(job)
        elif choice == 1 and holding:
            holding.discard(source.choice(sorted(holding)))
            places.leave()
        elif line:
            assert places.give_up(line.pop(source.randrange(len(line))))
        assert len(holding) <= 3
        assert places.waiting_count == len(line)
        assert not line or len(holding) == 3
