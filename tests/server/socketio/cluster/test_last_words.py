"""What a worker that has gone had said to some of the others: they say it to each other (last_words.py).

It must not know links, clients, or how an event is written; what is on its way comes when a test lets it.
"""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from random import Random

import pytest

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster import last_words
from python_server.socketio.cluster.last_words import HowFar, LastWords
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.event_names import TAG_CHARACTERS, sender_and_number

TAG = "speaker_"


def name(number: int, tag: str = TAG) -> str:
    return f"{tag}{number:x}"


def event(offset: str) -> Envelope:
    return Envelope("/", None, (), Prepared([offset]), offset)


class Heard:
    """One survivor: what it has heard, in order; what it sends waits in the queues of the others."""

    def __init__(self, town: "Survivors", index: int) -> None:
        self.town, self.index = town, index
        self.heard: list[str] = []
        self.looks_count = 0
        self.words = LastWords(self, self.living, self.tell, self.send, self.look)

    def living(self) -> list[int]:
        return [other for other in self.town.seen[self.index] if other != self.index]

    @property
    def events(self) -> "Heard":
        return self

    def last_names(self, tags: Iterable[str]) -> dict[str, str]:
        last = {offset[:TAG_CHARACTERS]: offset for offset in self.heard}
        return {tag: last[tag] for tag in tags if tag in last}

    def behind(self, offset: str) -> list[Envelope]:
        tag, number = sender_and_number(offset)
        return [
            event(each) for each in self.heard if each.startswith(tag) and sender_and_number(each)[1] > number
        ]

    def hear(self, sender: int, offset: str) -> None:
        if self.words.is_new(sender, offset):
            self.heard.append(offset)

    def tell(self, to: int, word: HowFar) -> None:
        self.town.put(self.index, to, lambda there: there.words.told(self.index, word))

    def send(self, to: int, envelopes: list[Envelope], word: HowFar) -> None:
        for envelope in envelopes:
            offset = str(envelope.offset)
            self.town.put(self.index, to, lambda there, offset=offset: there.hear(self.index, offset))
        self.tell(to, word)

    def look(self) -> None:
        self.looks_count += 1


class Survivors:
    """All workers; a queue for each direction between two, which ends when its sender has died."""

    def __init__(self, count: int, make: type[Heard] = Heard) -> None:
        self.queues: dict[tuple[int, int], deque[Callable[[Heard], None]]] = {}
        self.seen = {index: list(range(count)) for index in range(count)}  # whom each has not lost yet
        self.dead: set[int] = set()
        self.all = {index: make(self, index) for index in range(count)}

    @property
    def living(self) -> list[Heard]:
        return [each for index, each in self.all.items() if index not in self.dead]

    def put(self, sender: int, to: int, what: Callable[[Heard], None]) -> None:
        if sender not in self.dead and to not in self.dead:
            self.queues.setdefault((sender, to), deque()).append(what)

    def say(self, sender: int, offset: str) -> None:
        for other in self.all:
            if other != sender:
                self.put(sender, other, lambda there: there.hear(sender, offset))

    def die(self, index: int) -> None:
        self.dead.add(index)

    def moves(self) -> list[Callable[[], None]]:
        found: list[Callable[[], None]] = []
        for each in self.living:
            for sender in self.seen[each.index]:
                if self.queues.get((sender, each.index)):
                    found.append(partial(self.arrive, sender, each))
                elif sender in self.dead:
                    found.append(partial(self.end, sender, each))
        return found

    def arrive(self, sender: int, there: Heard) -> None:
        self.queues[sender, there.index].popleft()(there)

    def end(self, sender: int, there: Heard) -> None:
        self.seen[there.index].remove(sender)
        there.words.gone(sender)

    def settle(self, chance: Random | None = None, look: Callable[[], None] = lambda: None) -> None:
        while moves := self.moves():
            (chance.choice(moves) if chance else moves[0])()
            look()


def one_has_not_heard(count: int) -> Survivors:
    """The first of so many is killed, when its second event has not left for the next one."""
    town = Survivors(count)
    town.say(0, name(0))
    town.settle()
    town.say(0, name(1))
    town.queues[0, 1].clear()
    town.die(0)
    return town


def test_who_has_heard_less_gets_the_rest_in_order() -> None:
    town = Survivors(3)
    for number in range(5):
        town.say(0, name(number))
    behind = town.queues[0, 1]
    while len(behind) > 2:
        behind.pop()  # it stood in the queue of the one that was killed
    town.die(0)
    town.settle()
    assert [each.heard for each in town.living] == [[name(number) for number in range(5)]] * 2
    assert not any(each.words.awaited for each in town.living)
    assert all(each.looks_count for each in town.living)


def test_it_is_awaited_until_everybody_has_it() -> None:
    town = one_has_not_heard(3)
    asker = town.all[2]
    town.arrive(0, asker)
    town.end(0, asker)
    town.end(0, town.all[1])
    assert (asker.words.awaited, town.all[1].words.awaited) == (True, True)
    while asker.words.awaited:
        town.moves()[0]()
    assert town.all[1].heard == [name(0), name(1)]


def test_what_several_send_comes_once_and_later_repeats_too() -> None:
    town = one_has_not_heard(5)
    town.settle()
    assert [each.heard for each in town.living] == [[name(0), name(1)]] * 4
    town.all[1].hear(2, name(1))
    assert town.all[1].heard == [name(0), name(1)]


def test_events_of_a_sibling_that_lives_are_not_looked_at() -> None:
    here = Survivors(2).all[0]
    for offset in (name(5), name(5), name(3)):  # as it sends them
        assert here.words.is_new(1, offset)


def test_what_is_passed_on_of_other_machines_goes_on_at_the_next_worker() -> None:
    town = Survivors(3)
    town.say(0, name(7, "~passed_"))
    town.settle()
    town.say(0, name(8, "~passed_"))
    town.queues[0, 1].clear()
    town.die(0)
    town.settle()
    assert town.all[1].heard == [name(7, "~passed_")]
    assert town.all[2].heard == [name(7, "~passed_"), name(8, "~passed_")]
    assert not any(each.words.awaited for each in town.living)


def test_who_never_met_the_one_that_has_gone_says_so_once() -> None:
    town = Survivors(3)
    town.seen[1].remove(0)
    town.die(0)
    town.settle()
    assert not town.all[2].words.awaited
    assert not any(town.queues.values())


def test_a_log_that_has_forgotten_the_rest_keeps_nobody_waiting() -> None:
    class Forgetful(Heard):
        def behind(self, offset: str) -> list[Envelope]:
            return []

    town = Survivors(3, Forgetful)
    town.say(0, name(0))
    town.settle()
    town.say(0, name(1))
    town.queues[0, 1].clear()
    town.die(0)
    town.settle()
    assert town.all[1].heard == [name(0)]
    assert not any(each.words.awaited for each in town.living)


def test_the_dead_are_forgotten_above_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_words, "GONE_MAX_COUNT", 2)
    town = Survivors(6)
    for index in (5, 4, 3):
        town.say(index, name(0, f"speaker{index}"))
        town.settle()
        town.die(index)
        town.settle()
    kept = town.all[0].words
    assert [*kept._gone] == [4, 3]
    assert [*kept._gone_of] == ["speaker4", "speaker3"]
    assert not kept.awaited


@pytest.mark.parametrize("seed", range(150))
def test_in_whatever_order_it_comes_all_survivors_end_with_the_same(seed: int) -> None:
    """Several speak and die, with what stood in their queues; nobody says that all is heard before it is."""
    chance = Random(f"last words {seed}")
    town = Survivors(chance.choice((3, 4, 5)))
    said = dict.fromkeys(town.all, 0)
    mortal = [*town.all][: len(town.all) - 2]

    def hold() -> None:
        """Whoever awaits nothing: none of the others that it sees can still hear something of the dead."""
        for each in town.living:
            if each.words.awaited or any(dead in town.seen[each.index] for dead in town.dead):
                continue
            heard = [{*other.heard} for other in town.living]
            for dead in town.dead & said.keys():
                tag = f"speaker{dead}"
                known = [{offset for offset in one if offset.startswith(tag)} for one in heard]
                assert all(one == known[0] for one in known), (seed, dead)

    for speaker in town.all:  # everybody has heard everybody
        town.say(speaker, name(0, f"speaker{speaker}"))
    town.settle(chance)
    for _ in range(60):
        dice = chance.random()
        speakers = [each.index for each in town.living]
        if dice < 0.5:
            speaker = chance.choice(speakers)
            said[speaker] += 1
            town.say(speaker, name(said[speaker], f"speaker{speaker}"))
        elif dice < 0.95 and town.moves():
            chance.choice(town.moves())()
            hold()
        elif (dying := [index for index in mortal if index not in town.dead]) and chance.random() < 0.3:
            index = chance.choice(dying)
            for other in town.all:
                queue = town.queues.get((index, other), deque())
                for _ in range(chance.randint(0, len(queue))):
                    queue.pop()
            town.die(index)
    town.settle(chance, hold)
    for each in town.living:
        assert not each.words.awaited
        for tag in {offset[:TAG_CHARACTERS] for offset in each.heard}:
            its = [sender_and_number(offset)[1] for offset in each.heard if offset.startswith(tag)]
            assert its == sorted(set(its))
            if int(tag[-1]) not in town.dead:
                assert its == [*range(its[0], said[int(tag[-1])] + 1)]
    heard = [{*each.heard} for each in town.living]
    for dead in town.dead:
        known = [{offset for offset in one if offset.startswith(f"speaker{dead}")} for one in heard]
        assert all(one == known[0] for one in known)
