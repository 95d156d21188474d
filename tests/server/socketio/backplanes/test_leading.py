"""Who passes on what a channel brings: every interleaving of words leaves one who does.

It must not know brokers: the channel here is a list that each worker reads at its own pace.
"""

import itertools

import pytest

from python_server.socketio.backplanes.leading import Lead, Leading, Place


class Worker:
    """One worker, who reads the stream when the test says so."""

    def __init__(self, index: int, stream: list[str], leads: bool) -> None:
        self.leads = leads
        self.stream = stream
        self.position: int | None = None
        self.passed_on: list[str] = []
        self.place = Place("host", index, lambda: self.leads)
        self.leading = Leading(self.place, self._subscribe, self._unsubscribe, self._say)

    def _subscribe(self) -> None:
        self.position = len(self.stream)

    def _unsubscribe(self) -> None:
        self.position = None

    def _say(self) -> None:
        self.stream.append(f"word {self.place.name}")

    def read(self) -> None:
        """The next of the stream."""
        if self.position is None or self.position >= len(self.stream):
            return
        said = self.stream[self.position]
        self.position += 1
        if said.startswith("word "):
            self.leading.word(said.removeprefix("word "))
        elif self.leading.passes_on:
            self.passed_on.append(said)


def test_a_worker_alone() -> None:
    stream: list[str] = []
    worker = Worker(0, stream, True)
    worker.leading.look()
    assert worker.leading.state is Lead.JOINING
    stream.append("too early")
    worker.leading.subscribed()
    stream.append("heard")
    for _ in range(5):
        worker.read()
    assert worker.passed_on == ["heard"]
    worker.leading.lost()
    assert worker.leading.passes_on


# When the old leader (o) and the new one (n) read, when a message comes (m), and when the broker has
# confirmed the new one's subscription (s).
@pytest.mark.parametrize("order", sorted(set(itertools.permutations("mmmsoonn"))), ids="".join)
def test_a_hand_over_loses_and_doubles_nothing(order: tuple[str, ...]) -> None:
    stream: list[str] = []
    old, new = Worker(1, stream, True), Worker(2, stream, False)
    old.leading.look()
    old.leading.subscribed()
    old.read()
    assert old.leading.state is Lead.LEADING
    old.leads, new.leads = False, True
    old.leading.look()
    new.leading.look()
    numbers = itertools.count()
    for step in order:
        if step == "m":
            stream.append(str(next(numbers)))
        elif step == "s":
            new.leading.subscribed()
        elif step == "o":
            old.read()
        else:
            new.read()
    stream.append(str(next(numbers)))
    for _ in range(20):
        old.read()
        new.read()
    assert old.passed_on + new.passed_on == ["0", "1", "2", "3"]
    assert (old.leading.state, new.leading.state) == (Lead.IDLE, Lead.LEADING)


def test_two_that_had_not_met_yet() -> None:
    """The elder goes on, the younger leaves."""
    stream: list[str] = []
    elder, younger = Worker(1, stream, True), Worker(2, stream, True)
    for worker in (elder, younger):
        worker.leading.look()
        worker.leading.subscribed()
    younger.leads = False
    for _ in range(10):
        elder.read()
        younger.read()
    assert (elder.leading.state, younger.leading.state) == (Lead.LEADING, Lead.IDLE)
    stream.append("x")
    elder.read()
    younger.read()
    assert (elder.passed_on, younger.passed_on) == (["x"], [])


def test_one_that_stops_draining_or_loses_the_channel() -> None:
    stream: list[str] = []
    worker = Worker(1, stream, True)
    worker.leading.look()
    worker.leads = False
    worker.leading.look()
    assert worker.leading.state is Lead.IDLE
    worker.leads = True
    worker.leading.look()
    worker.leading.subscribed()
    worker.read()
    worker.leads = False
    worker.leading.look()
    assert worker.leading.state is Lead.LEAVING
    worker.leads = True
    worker.leading.look()
    assert worker.leading.state is Lead.LEADING
    worker.leads = False
    worker.leading.look()
    worker.leading.lost()
    assert worker.leading.state is Lead.IDLE
    assert worker.position is None
