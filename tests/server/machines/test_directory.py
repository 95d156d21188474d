"""Where machines are, with a told clock and a broker that answers when a test says so.

It must not know how a broker is spoken to.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from python_server.machines.directory import (
    AGAIN_SECONDS,
    ANNOUNCE_SECONDS,
    ANSWER_SECONDS,
    ENTRY_PURPOSE,
    ENTRY_SECONDS,
    KNOWN_MAX_COUNT,
    SEARCHES_MAX_COUNT,
    SEARCHES_PER_SECOND_COUNT,
    Directory,
    MachineEntry,
)
from python_server.machines.proof import sign
from told_time import Clock

SECRET = b"of all machines"


def entry(tag: str = "m2", workers: tuple[int, ...] = (1, 2), port: int = 7000) -> MachineEntry:
    return MachineEntry(1, tag, "192.0.2.2", port, "machine-2", workers)


class Broker:
    """Keeps what is put; a `get` waits until `answer`."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.put_for: list[tuple[str, int]] = []
        self.asked: list[tuple[str, Callable[[bool, bytes | None], None]]] = []

    def put(self, key: str, value: bytes, seconds: int) -> None:
        self.values[key] = value
        self.put_for.append((key, seconds))

    def get(self, key: str, told: Callable[[bool, bytes | None], None]) -> None:
        self.asked.append((key, told))

    def answer(self, *, away: bool = False) -> None:
        asked, self.asked = self.asked, []
        for key, told in asked:
            told(not away, None if away else self.values.get(key))


class Found:
    def __init__(self, own: Any = lambda: None) -> None:
        self.clock = Clock()
        self.broker = Broker()
        self.complaints: list[str] = []
        self.found: list[MachineEntry | None] = []
        self.directory = Directory(
            self.broker,
            SECRET,
            own,
            self.clock.call_later,
            lambda: self.clock.now,
            lambda kind, sentence: self.complaints.append(kind),
        )

    def know(self, *entries: MachineEntry) -> None:
        for each in entries:
            data = msgspec.msgpack.encode(each)
            self.broker.values[each.tag] = sign(SECRET, ENTRY_PURPOSE, data)

    def find(self, tag: str = "m2", worker: int = 1) -> None:
        self.directory.find(tag, worker, self.found.append)


@pytest.fixture
def found() -> Found:
    return Found()


# Of us


def test_an_entry_is_written_again_long_before_it_expires() -> None:
    told = Found(entry)
    told.directory.announce()
    told.clock.advance(ANNOUNCE_SECONDS * 3.5)
    assert told.broker.put_for == [("m2", ENTRY_SECONDS)] * 4
    assert ANNOUNCE_SECONDS * 3 <= ENTRY_SECONDS
    other = Found()
    other.broker.values = told.broker.values
    other.find()
    other.broker.answer()
    assert other.found == [entry()]


def test_workers_that_come_and_go_are_told_at_once_and_once() -> None:
    workers = [(1,)]
    told = Found(lambda: entry(workers=workers[0]))
    told.directory.announce()
    told.directory.changed()
    assert len(told.broker.put_for) == 1
    workers[0] = (1, 2)
    told.directory.changed()
    told.directory.changed()
    assert len(told.broker.put_for) == 2
    told.clock.advance(ANNOUNCE_SECONDS)
    assert len(told.broker.put_for) == 3


def test_one_worker_writes_for_all_and_the_next_one_when_it_has_gone() -> None:
    leads = [False]
    told = Found(lambda: entry() if leads[0] else None)
    told.directory.announce()
    told.directory.changed()
    told.clock.advance(ANNOUNCE_SECONDS * 2)
    assert told.broker.put_for == []
    leads[0] = True
    told.directory.changed()
    assert told.broker.put_for == [("m2", ENTRY_SECONDS)]


def test_a_directory_that_is_closed_says_and_asks_nothing_more() -> None:
    told = Found(entry)
    told.directory.close()
    told.directory.announce()
    told.directory.changed()
    told.find()
    assert (told.broker.put_for, told.broker.asked, told.found) == ([], [], [None])
    told = Found(entry)
    told.directory.announce()
    told.find()
    told.find("m3")
    told.broker.values = {}
    told.know(entry("m3", workers=(2,)))
    told.broker.answer()  # the second search of m3 waits
    told.find("m4")
    told.directory.close()
    assert not told.clock.waits
    told.broker.answer()
    assert told.found == [None]


# Of others


def test_a_machine_is_found_and_asked_for_each_time(found: Found) -> None:
    found.know(entry())
    for port in (7000, 7001):
        found.know(entry(port=port))
        found.find()
        found.broker.answer()
        assert found.found.pop() == entry(port=port)
    assert not found.clock.waits


def test_who_is_not_there_is_not_found(found: Found) -> None:
    found.find()
    found.broker.answer()
    assert found.found == [None]


def test_all_who_look_for_a_machine_share_one_question(found: Found) -> None:
    found.know(entry())
    for worker in (1, 2, 1):
        found.find(worker=worker)
    assert len(found.broker.asked) == 1
    found.broker.answer()
    assert found.found == [entry()] * 3


def test_a_worker_that_has_just_begun_is_looked_for_once_more_and_keeps_nobody_waiting(found: Found) -> None:
    found.know(entry())
    found.find(worker=3)
    found.find(worker=1)
    found.broker.answer()
    assert found.found == [entry()]
    found.know(entry(workers=(1, 2, 3)))
    found.find(worker=2)  # shares the second question
    found.clock.advance(AGAIN_SECONDS)
    found.broker.answer()
    assert found.found == [entry(), entry(workers=(1, 2, 3)), entry(workers=(1, 2, 3))]
    found.find(worker=9)
    found.broker.answer()
    found.clock.advance(AGAIN_SECONDS)
    assert found.found[3:] == []
    found.broker.answer()
    assert found.found[3:] == [None]
    assert not found.clock.waits


def test_a_broker_that_is_away_lets_what_was_known_count(found: Found) -> None:
    found.know(entry())
    found.find()
    found.broker.answer()
    for worker in (1, 3):
        found.find(worker=worker)
        found.broker.answer(away=True)
    found.find(worker=2)
    found.clock.advance(ANSWER_SECONDS)
    assert found.found == [entry(), entry(), None, entry()]
    found.find("m9")
    found.clock.advance(ANSWER_SECONDS)
    assert found.found[4:] == [None]
    found.broker.answer()  # late: nobody waits any more
    assert len(found.found) == 5
    del found.broker.values["m2"]
    found.find()
    found.broker.answer()  # it says itself that there is none
    found.find()
    found.broker.answer(away=True)
    assert found.found[5:] == [None, None]


def test_an_answer_to_the_first_question_does_not_answer_the_next_one(found: Found) -> None:
    found.know(entry(port=1))
    found.find()
    found.clock.advance(ANSWER_SECONDS)
    late = found.broker.asked.pop()
    found.find()
    late[1](True, found.broker.values["m2"])
    assert found.found == [None]
    found.know(entry(port=2))
    found.broker.answer()
    assert found.found == [None, entry(port=2)]


def test_a_later_release_adds_fields_and_its_machine_is_found(found: Found) -> None:
    data = msgspec.msgpack.encode([2, "m2", "192.0.2.2", 7000, "machine-2", [1], "new", {"and": "more"}])
    found.broker.values["m2"] = sign(SECRET, ENTRY_PURPOSE, data)
    found.find()
    found.broker.answer()
    assert found.found == [MachineEntry(2, "m2", "192.0.2.2", 7000, "machine-2", (1,))]


def signed(data: bytes, secret: bytes = SECRET, purpose: bytes = ENTRY_PURPOSE) -> bytes:
    return sign(secret, purpose, data)


GOOD = msgspec.msgpack.encode(entry())
FORGED = {
    "unsigned": GOOD,
    "nothing": b"",
    "another secret": signed(GOOD, b"another"),
    "another purpose": signed(GOOD, purpose=b"wsframe cluster link 1"),
    "changed": signed(GOOD)[:-1] + b"\x09",
    "of another machine": signed(msgspec.msgpack.encode(entry("m3"))),
    "no entry": signed(b"\xc0"),
    "too short": signed(msgspec.msgpack.encode([1, "m2"])),
    "too deep": signed(b"\x91" * 100_000),
    "no text": signed(b"\x96\x01\xa2\xff\xff\xa1h\x01\xa1n\x90"),
}


@pytest.mark.parametrize("value", FORGED.values(), ids=FORGED)
def test_an_entry_that_nobody_of_us_has_written_is_refused(found: Found, value: bytes) -> None:
    found.know(entry())
    found.find()
    found.broker.answer()
    found.broker.values["m2"] = value
    found.find()
    found.broker.answer()
    assert found.found == [entry(), None]
    assert found.complaints == ["cluster entry"]


def test_made_up_machines_are_looked_for_within_bounds_and_known_ones_are_found_all_the_while(
    found: Found,
) -> None:
    """A thousand in a second, while the broker answers at once; an honest client among them."""
    found.know(entry())
    found.find()
    found.broker.answer()
    asked = 0
    for n in range(1000):
        found.find(f"unknown{n}")
        asked += len(found.broker.asked)
        found.broker.answer()
        found.find(worker=2)
        asked += len(found.broker.asked)
        found.broker.answer()
        found.clock.advance(0.001)
    assert found.found[2::2] == [entry()] * 1000
    assert found.found[1::2] == [None] * 1000
    assert asked <= SEARCHES_PER_SECOND_COUNT + 1
    assert set(found.complaints) == {"cluster searches"}
    found.clock.advance(1.0)
    found.know(entry("m3"))
    found.find("m3")
    found.broker.answer()
    assert found.found[-1] == entry("m3")


def test_a_broker_that_answers_nothing_is_owed_no_more_than_so_many_answers(found: Found) -> None:
    found.know(entry())
    found.find()
    found.broker.answer()
    for n in range(SEARCHES_MAX_COUNT + 5):
        found.find(f"unknown{n}")
        found.clock.advance(2.0)
    assert len(found.broker.asked) == SEARCHES_MAX_COUNT
    found.find()
    assert found.found[-1] == entry()
    found.broker.answer(away=True)
    found.find()
    assert len(found.broker.asked) == 1


def test_no_more_than_so_many_machines_are_remembered(found: Found) -> None:
    for n in range(KNOWN_MAX_COUNT + 3):
        found.know(entry(f"m{n}"))
        found.find(f"m{n}")
        found.broker.answer()
        found.clock.advance(1.0)
    for n, expected in ((0, None), (2, None), (3, entry("m3"))):
        found.find(f"m{n}")
        found.broker.answer(away=True)
        assert found.found[-1] == expected


def test_a_clock_that_jumps_forgets_no_question(found: Found) -> None:
    found.know(entry())
    found.find()
    found.clock.advance(3600.0)
    assert found.found == [None]
    found.broker.answer()
    found.find()
    found.broker.answer()
    assert found.found == [None, entry()]
