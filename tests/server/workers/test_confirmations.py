"""Who has gone, and who has noticed (workers/departures.py). It must not know links."""

from itertools import permutations

from python_server.workers.departures import EARLY_MAX_COUNT, Departures


def test_all_others_are_to_notice_in_any_order() -> None:
    for steps in permutations(["we", 2, 3]):
        departures = Departures()
        for place, step in enumerate(steps):
            if step == "we":
                departures.lost(1, (2, 3))
            else:
                departures.noticed(1, int(step))
            assert departures.unnoticed == ("we" in steps[: place + 1] and place < 2)


def test_who_goes_as_well_is_not_waited_for() -> None:
    departures = Departures()
    departures.lost(1, (2, 3))
    departures.noticed(1, 2)
    departures.lost(3, (2,))
    assert departures.unnoticed
    departures.noticed(3, 2)
    assert not departures.unnoticed


def test_the_last_one_waits_for_nobody() -> None:
    departures = Departures()
    departures.lost(1, ())
    assert not departures.unnoticed


def test_words_on_strangers_are_bounded() -> None:
    departures = Departures()
    for index in range(2 * EARLY_MAX_COUNT):
        departures.noticed(index, 1)
    assert len(departures._early) == EARLY_MAX_COUNT
