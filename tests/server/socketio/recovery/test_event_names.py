"""Names of events: one for each, in the order of whoever gives them (socketio/recovery/event_names.py).

It must not know logs or clients.
"""

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.event_names import (
    TAG_BYTES,
    TAG_CHARACTERS,
    EventNames,
    ForeignEventNames,
    sender_and_number,
    series_and_number,
)
from python_server.socketio.recovery.record import HeardEvent, merged


def test_every_name_is_another_and_its_number_rises() -> None:
    givers = [EventNames() for _ in range(3)]
    names = [giver.make() for _ in range(20) for giver in givers]
    assert len(set(names)) == 60
    for place, giver in enumerate(givers):
        assert [sender_and_number(name) for name in names[place::3]] == [
            (giver.tag, number) for number in range(20)
        ]


def test_a_name_of_another_kind_of_server_has_no_number() -> None:
    assert sender_and_number("abcdefgh-not-hex") == ("abcdefgh", 0)


def test_no_two_workers_of_a_thousand_machines_share_a_tag() -> None:
    """Events of one name are one event: that of the second is taken for the first's, and lost."""
    workers_count = 1_000 * 16
    assert workers_count**2 / 2 / 2 ** (8 * TAG_BYTES) < 1e-6
    assert len(EventNames().tag) == TAG_CHARACTERS


def test_workers_that_pass_on_in_turn_name_one_series() -> None:
    elder, younger = ForeignEventNames(lambda: 1.0), ForeignEventNames(lambda: 2.0)
    names = [elder.make(True), elder.make(True), younger.make(True), younger.make(True)]
    placed = [series_and_number(name) for name in names]
    assert len({series for series, _ in placed}) == 1
    assert len(set(placed)) == 4
    assert placed == sorted(placed)
    assert len({sender_and_number(name)[0] for name in names}) == 2


def test_who_passes_on_again_numbers_behind_whoever_did_meanwhile() -> None:
    now = 1.0
    one, other = ForeignEventNames(lambda: now), ForeignEventNames(lambda: now)
    first = one.make(True)
    for now, giver in ((2.0, other), (3.0, one)):  # noqa: B007
        giver.begin_series()
    numbers = [series_and_number(name)[1] for name in (first, other.make(True), one.make(True))]
    assert numbers == sorted(numbers)


def test_what_each_worker_hears_itself_is_in_no_order_with_that_of_others() -> None:
    names = [ForeignEventNames(lambda: 1.0).make(False) for _ in range(2)]
    assert len({series_and_number(name)[0] for name in names}) == 2


def heard(*names: str) -> list[HeardEvent]:
    return [(0.0, Envelope("/", None, (), Prepared(["42x"]), name)) for name in names]


def test_what_two_passed_on_in_turn_is_put_in_order() -> None:
    """Whoever knew of which: the log that tells of the elder one may be asked last."""
    elder, younger, own = ForeignEventNames(lambda: 1.0), ForeignEventNames(lambda: 2.0), EventNames()
    first, second = elder.make(True), elder.make(True)
    third, said = younger.make(True), own.make()
    events = merged(heard(said, third), heard(first, second))
    assert [envelope.offset for _, envelope in events] == [said, first, second, third]
