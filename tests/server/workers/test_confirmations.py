"""Who has gone, and who has noticed (workers/confirmations.py). It must not know links."""

from itertools import permutations

from python_server.workers.confirmations import EARLY_MAX_COUNT, Confirmations


def test_all_others_are_to_notice_in_any_order() -> None:
    for steps in permutations(["we", 2, 3]):
        noticed = Confirmations()
        for place, step in enumerate(steps):
            if step == "we":
                noticed.expect(1, (2, 3))
                noticed.lost(1)
            else:
                noticed.confirmed(1, int(step))
            assert noticed.awaited == ("we" in steps[: place + 1] and place < 2)


def test_who_goes_as_well_is_not_waited_for() -> None:
    noticed = Confirmations()
    noticed.expect(1, (2, 3))
    noticed.lost(1)
    noticed.confirmed(1, 2)
    noticed.expect(3, (2,))
    noticed.lost(3)
    assert noticed.awaited
    noticed.confirmed(3, 2)
    assert not noticed.awaited


def test_the_last_one_waits_for_nobody() -> None:
    noticed = Confirmations()
    noticed.expect(1, ())
    noticed.lost(1)
    assert not noticed.awaited


def test_words_on_strangers_are_bounded() -> None:
    noticed = Confirmations()
    for index in range(2 * EARLY_MAX_COUNT):
        noticed.confirmed(index, 1)
    assert len(noticed._early) == EARLY_MAX_COUNT
