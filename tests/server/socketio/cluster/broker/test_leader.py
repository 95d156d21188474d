"""Who passes on what a channel brings: every interleaving of words leaves one who does, and keeps the order.

It must not know brokers: the channel here is a list, each way between two workers another, and each is read
at a pace of its own.
"""

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

import pytest

from batches import in_batches
from python_server.net.loop import Timer
from python_server.socketio.cluster.broker.leader import Lead, Leadership, Place, Word


class Worker:
    """One worker, who reads the channel and what others pass on to it when the test says so.

    Attributes:
        passed_on: what it took from the channel and passed on. delivered: what its clients have heard.
    """

    def __init__(self, index: int, stream: list[str], leads: bool) -> None:
        self.leads = leads
        self.succeeds = False
        self.stream = stream
        self.position: int | None = None
        self.passed_on: list[str] = []
        self.delivered: list[str] = []
        self.others: list[Worker] = []
        # From each other worker: a message, or what answers that all before it has been read.
        self.ways: dict[Worker, deque[str | Callable[[], None]]] = {}
        self.place = Place("host", index, lambda: self.leads, succeeds=lambda: self.succeeds)
        self.timers: list[Timer] = []
        self.leading = Leadership(
            self.place, self._listen, self._say, self._settle, self._ask, self._release, self._call_later
        )

    def _call_later(self, seconds: float, function: Callable[[], object]) -> Timer:
        self.timers.append(Timer(seconds, function))
        return self.timers[-1]

    def _listen(self, listens: bool) -> None:
        self.position = len(self.stream) if listens else None

    def _say(self, word: Word, successor: str | None) -> None:
        self.stream.append(f"{word.name} {self.place.name} {successor}")

    def _settle(self) -> None:
        waiting = set(self.others)

        def answered(other: Worker) -> None:
            waiting.discard(other)
            if not waiting:
                self.leading.settled()

        for other in self.others:
            other.ways[self].append(partial(answered, other))
        if not waiting:
            self.leading.settled()

    def _ask(self, behind: list[str], relieved: Callable[[], None]) -> None:
        """Of each other, on its way; the answers come back on ours."""
        waiting = set(self.others)

        def answered(other: Worker) -> None:
            waiting.discard(other)
            if not waiting:
                relieved()

        for other in self.others:
            reply = partial(self.ways[other].append, partial(answered, other))
            other.ways[self].append(partial(other.leading.answer, self.place.name, behind, reply))
        if not waiting:
            relieved()

    def _release(self, held: list[str]) -> None:
        for said in held:
            self._take(said)

    def read(self) -> None:
        """The next of the stream."""
        if self.position is None or self.position >= len(self.stream):
            return
        said = self.stream[self.position]
        self.position += 1
        self._take(said)

    def _take(self, said: str) -> None:
        if not said.startswith("LEFT ") and self.leading.holds(said):
            if said.startswith("LEAD "):
                self.leading.foresee(said.split()[1])
            return
        if said.startswith(("LEAD ", "LEFT ")):
            word, name, successor = said.split()
            self.leading.heard(Word[word], name, successor)
        elif self.leading.passes_on:
            self.passed_on.append(said)
            self.delivered.append(said)
            for other in self.others:
                other.ways[self].append(said)

    def lead(self) -> None:
        """It is the only one that wants to, and the channel is there."""
        self.leading.look()
        self.leading.subscribed()
        self.read()
        for other in self.others:
            other.read_way(self)
            self.read_way(other)
        assert self.leading.state is Lead.LEADING

    def read_way(self, other: "Worker") -> None:
        """The next that another worker has sent."""
        if self.ways[other]:
            said = self.ways[other].popleft()
            if isinstance(said, str):
                self.delivered.append(said)
            else:
                said()


def machine(*workers: Worker) -> tuple[Worker, ...]:
    """Each with a way from every other."""
    for worker in workers:
        worker.others = [other for other in workers if other is not worker]
        worker.ways = {other: deque() for other in worker.others}
    return workers


def paces(workers: Iterable[Worker]) -> list[Callable[[], None]]:
    """Every step that a worker may take by itself."""
    steps: list[Callable[[], None]] = []
    for worker in workers:
        steps.append(worker.read)
        steps += [partial(worker.read_way, other) for other in worker.others]
    return steps


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


def test_nobody_s_word_is_waited_for_where_nobody_may_lead_any_more() -> None:
    """What was passed on is waited for all the same."""
    stream: list[str] = []
    old, new = machine(Worker(1, stream, True), Worker(2, stream, False))
    may_hand_over = True
    old.leading.place = Place("host", 1, lambda: old.leads, may_hand_over=lambda: may_hand_over)
    old.lead()
    old.leads = False
    old.leading.look()
    assert old.leading.leaves
    may_hand_over = False
    assert not old.leading.leaves
    stream.append("LEAD host.2 None")
    old.read()
    assert old.leading.state is Lead.HANDING
    assert old.leading.leaves
    new.read_way(old)
    new.read_way(old)
    assert not old.leading.leaves


def handed_over(order: str) -> tuple[list[str], Lead, Lead]:
    """What was passed on, and the states of the two at the end."""
    stream: list[str] = []
    old, new = Worker(1, stream, True), Worker(2, stream, False)
    old.lead()
    old.leads, new.leads, new.succeeds = False, True, True
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
    return old.passed_on + new.passed_on, old.leading.state, new.leading.state


# When the old leader (o) and the new one (n) read, when a message comes (m), and when the broker has
# confirmed the new one's subscription (s).
ORDERS = sorted({"".join(order) for order in itertools.permutations("mmmsoonn")})


@pytest.mark.parametrize("start", sorted({order[:2] for order in ORDERS}))
def test_a_hand_over_loses_and_doubles_nothing(start: str) -> None:
    for order in ORDERS:
        if order.startswith(start):
            assert handed_over(order) == (["0", "1", "2", "3"], Lead.IDLE, Lead.LEADING), order


@in_batches("seed", range(300), 30)
def test_nothing_overtakes_what_the_predecessor_passes_on(seed: int) -> None:
    """Over two hand-overs, each worker's clients hear everything once, in the order of the channel."""
    chance = random.Random(seed)
    stream: list[str] = []
    first, second, third, _ = workers = machine(*(Worker(index, stream, index == 1) for index in range(1, 5)))
    first.lead()
    numbers = itertools.count()

    def speak() -> None:
        stream.append(str(next(numbers)))

    def succeed(old: Worker, new: Worker) -> None:
        old.leads, new.leads, new.succeeds = False, True, True
        for worker in chance.sample([old, new], 2):
            worker.leading.look()

    happenings = deque([partial(succeed, first, second), second.leading.subscribed])
    happenings += [partial(succeed, second, third), third.leading.subscribed]
    while happenings or any(worker.leading.leaves for worker in workers):
        steps = [*paces(workers), speak]
        if happenings:
            steps.append(happenings[0])
        step = chance.choice(steps)
        step()
        if happenings and step is happenings[0]:
            happenings.popleft()
    speak()
    for _ in range(4 * len(stream)):
        for step in paces(workers):
            step()
    assert [worker.leading.state for worker in workers] == [Lead.IDLE, Lead.IDLE, Lead.LEADING, Lead.IDLE]
    everything = [str(number) for number in range(next(numbers))]
    assert [worker.delivered for worker in workers] == [everything] * 4


def test_a_successor_goes_on_without_a_predecessor_that_dies_or_stands_still() -> None:
    stream: list[str] = []
    for ending in ("gone", "still"):
        successor = Worker(2, stream, True)
        successor.succeeds = True
        successor.leading.look()
        successor.leading.subscribed()
        stream.append(ending)
        for _ in range(3):
            successor.read()
        assert (successor.leading.state, successor.passed_on) == (Lead.WAITING, [])
        if ending == "gone":
            successor.succeeds = False
            successor.leading.look()
        else:
            successor.leading.go_on()  # its time is over
        assert successor.leading.state is Lead.LEADING
        assert successor.passed_on == [ending]


@in_batches("seed", range(300), 30)
def test_words_alone_decide_who_follows_whom(seed: int) -> None:
    """Whoever believes at a time that it should lead: a younger one does, and an elder comes late; or the two
    had not met. Each worker's clients hear everything once, in the order of the channel."""
    chance = random.Random(seed)
    stream: list[str] = []
    younger, elder, third = workers = machine(*(Worker(index, stream, index == 2) for index in (2, 1, 3)))
    numbers = itertools.count()

    def speak() -> None:
        stream.append(str(next(numbers)))

    def meet() -> None:
        younger.leads = False
        younger.leading.look()

    def come() -> None:
        elder.leads = True
        elder.leading.look()

    def follow() -> None:
        """The elder drains as soon as it has come."""
        elder.leads, third.leads = False, True
        for worker in chance.sample([elder, third], 2):
            worker.leading.look()

    first = [meet, come] if chance.random() < 0.7 else [come, meet]
    happenings = deque([younger.leading.subscribed, *first, elder.leading.subscribed])
    happenings += [follow, third.leading.subscribed]
    younger.leading.look()
    if chance.random() < 0.5:
        younger.leading.subscribed()
        speak()
        while younger.leading.state is not Lead.LEADING:
            chance.choice(paces(workers))()
    lasts = len(stream)
    for _ in range(3000):
        steps = [*paces(workers), speak, *list(happenings)[:1]]
        step = chance.choice(steps)
        step()
        if happenings and step is happenings[0]:
            happenings.popleft()
        if not happenings and third.leading.state is Lead.LEADING and not younger.leading.leaves:
            break
    for _ in range(4 * len(stream)):
        for step in paces(workers):
            step()
    assert lasts < len(stream)
    assert [worker.leading.state for worker in workers] == [Lead.IDLE, Lead.IDLE, Lead.LEADING]
    begun = next(at for at, said in enumerate(stream) if said.startswith("LEAD "))
    everything = [said for said in stream[begun:] if said.isdigit()]
    assert [worker.delivered for worker in workers] == [everything] * 3


@in_batches("seed", range(200), 40)
def test_a_channel_that_is_lost_takes_nothing_out_of_its_order(seed: int) -> None:
    """Three have said their words and wait for the one before; what they had heard by then is in order."""
    chance = random.Random(seed)
    stream: list[str] = []
    workers = machine(*(Worker(index, stream, index == 1) for index in range(1, 5)))
    workers[0].lead()
    numbers = itertools.count()
    stream.append(str(next(numbers)))
    for old, new in itertools.pairwise(workers):
        old.leads, new.leads = False, True
        old.leading.look()
        new.leading.look()
        new.leading.subscribed()
        for _ in range(chance.randrange(3)):
            stream.append(str(next(numbers)))
        for _ in range(chance.randrange(12)):
            chance.choice(paces(workers))()
    for worker in chance.sample(workers, 4):
        while worker.position is not None and worker.position < len(stream):
            worker.read()  # what had come by then
        worker.leading.lost()
    for _ in range(4 * len(stream)):
        for step in paces(workers):
            step()
    assert [worker.leading.state for worker in workers] == [*[Lead.IDLE] * 3, Lead.LEADING]
    everything = [str(number) for number in range(next(numbers))]
    assert [worker.delivered for worker in workers] == [everything] * 4
    stream.append("said since")  # a word may have been missed: none but the last one listens to it
    for worker in workers:
        worker.read()
    assert [worker.passed_on[-1:] == ["said since"] for worker in workers] == [False] * 3 + [True]


def test_whose_word_was_missed_while_another_waited_is_followed_all_the_same() -> None:
    """It waits when the channel is lost, and hears it again behind the successor's word."""
    stream: list[str] = []
    first, second, third = machine(*(Worker(index, stream, index == 1) for index in (1, 2, 3)))
    first.lead()
    first.leads, second.leads = False, True
    for worker in (first, second):
        worker.leading.look()
    second.leading.subscribed()
    stream.append("0")
    second.read()
    second.read()
    second.leads, third.leads = False, True
    for worker in (second, third):
        worker.leading.look()
    for worker in (first, second):
        worker.leading.lost()
    third.leading.subscribed()
    stream.append("1")
    second.position = len(stream) - 1  # it is heard again from here on
    second.leading.subscribed()
    workers = (first, second, third)

    def go_on() -> None:
        for _ in range(50):
            for step in paces(workers):
                step()

    go_on()
    assert second.leading.state is Lead.WAITING  # of the two neither knows whose word was the first
    second.leading.go_on()  # the question's time is over
    go_on()
    assert [worker.leading.state for worker in workers] == [Lead.IDLE, Lead.IDLE, Lead.LEADING]
    assert [worker.delivered for worker in workers] == [["0", "1"]] * 3


def test_two_that_have_not_met_do_not_take_it_from_each_other_all_the_time() -> None:
    """Both believe that they lead; the one that has handed over waits for a while."""
    stream: list[str] = []
    elder, younger = workers = machine(Worker(1, stream, True), Worker(2, stream, True))
    for worker in workers:
        worker.leading.look()
        worker.leading.subscribed()

    def go_on() -> None:
        stream.append(str(len(stream)))
        for _ in range(50):
            for step in paces(workers):
                step()

    go_on()
    assert [said.split()[0] for said in stream if not said.isdigit()] == ["LEAD", "LEAD", "LEFT"]
    assert [worker.leading.state for worker in workers] == [Lead.IDLE, Lead.LEADING]
    (again,) = elder.timers[-1:]
    assert again.function == elder.leading.look
    younger.leads = False
    for worker in (younger, elder):
        worker.leading.look()
    elder.leading.subscribed()
    go_on()
    assert [worker.leading.state for worker in workers] == [Lead.LEADING, Lead.IDLE]
    numbers = [said for said in stream if said.isdigit()]
    assert [worker.delivered for worker in workers] == [numbers] * 2


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


def test_one_that_begins_to_leave_while_the_channel_is_away_passes_on_nothing_more() -> None:
    """Its successor's word may stand where it did not listen; that one passes on what follows."""
    stream: list[str] = []
    old, new = machine(Worker(0, stream, True), Worker(1, stream, False))
    old.lead()
    old.leading.lost()
    old.leads, new.leads, new.succeeds = False, True, True
    old.leading.look()
    new.leading.look()
    new.leading.subscribed()  # the channel is there again for the one, and then for the other
    old.position = len(stream)
    old.leading.subscribed()
    stream.append("said since")
    for worker in (old, new, new):
        worker.read()
    new.leading.go_on()  # its time is over
    assert (old.passed_on, new.passed_on) == ([], ["said since"])


def test_a_younger_leader_gives_way_to_an_elder_that_it_had_not_met() -> None:
    stream: list[str] = []
    elder, younger = machine(Worker(1, stream, False), Worker(2, stream, True))
    younger.lead()
    younger.leads, elder.leads = False, True
    elder.leading.look()
    elder.leading.subscribed()
    younger.read()
    assert younger.leading.state is Lead.HANDING
    elder.read_way(younger)
    assert younger.leading.state is Lead.IDLE
    for _ in range(3):
        elder.read()
    assert elder.leading.state is Lead.LEADING
    assert stream[-1].startswith("LEFT ")


def test_what_comes_too_late_changes_nothing() -> None:
    """The broker confirms a subscription again, or others have all that somebody passed on who leads on."""
    stream: list[str] = []
    worker = Worker(1, stream, True)
    worker.lead()
    said = list(stream)
    worker.leading.subscribed()
    worker.leading.settled()
    assert (worker.leading.state, stream) == (Lead.LEADING, said)
