"""Members with metadata over several processes: what is told of each, once, also after a kill.

It must not know sockets, rooms or processes; what passes between the members' tables a test lets go.
"""

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import msgspec
import pytest

from python_server.socketio.cluster.port import Command, CommandKind, Malformed, PeerRequest
from python_server.socketio.presence import BEAT_SECONDS, PART_COUNT, SILENT_SECONDS, Presence, PresenceStage
from python_server.socketio.services import HubServices
from socketio_world import WALL
from told_time import Clock

ANN, BOB = ("/", "red", "ann"), ("/", "red", "bob")


class Names:
    """Of sessions: each process has its own beginning."""

    def __init__(self, name: str) -> None:
        self.name = name

    def make(self) -> str:
        return self.name


class Process:
    """One process, and its place in the mesh (the Backplane port, and what it needs of a worker)."""

    def __init__(self, mesh: "Mesh", name: str, alone: bool = False) -> None:
        self.mesh, self.name, self.alone = mesh, name, alone
        self.names, self.backplane, self.is_stopped = Names(name), self, False
        self.call_later = lambda seconds, function: mesh.clock.call_later(
            seconds, partial(self.timer, function)
        )
        self.now = lambda: mesh.clock.now
        self.wall = lambda: WALL + mesh.clock.now
        self.told = mesh.told
        self.late: list[Callable[[], Any]] = []
        self.has_handlers = True
        self.presence = Presence(
            cast(HubServices, self),
            lambda *event: self.told.append((name, *event)),
            lambda: self.has_handlers,
        )

    def timer(self, function: Callable[[], Any]) -> None:
        if self.is_stopped:
            self.late.append(function)
        elif self in self.mesh.living:
            function()

    def publish(self, command: Command) -> None:
        for other in self.mesh.others(self):
            self.mesh.put(self, other, partial(other.presence.hear, command))
        self.mesh.published.append(command)

    def request(self, request: PeerRequest) -> None:
        waiting = set(self.mesh.others(self))
        self.mesh.asked_count += 1

        def settle(other: Process) -> None:
            if other in waiting:
                waiting.discard(other)
                if not waiting:
                    request.ended(0)

        def late() -> None:
            if waiting:
                count = len(waiting)
                waiting.clear()
                request.ended(count)

        def answer(other: Process) -> None:
            def reply(part: Any, last: bool = True) -> None:
                told = msgspec.msgpack.encode(part)
                self.mesh.put(other, self, lambda: request.heard(msgspec.msgpack.decode(told)))
                if last:
                    self.mesh.put(other, self, partial(settle, other))

            other.presence.answer(request.question, reply)

        self.mesh.on_kill.append(settle)
        for other in [*waiting]:
            self.mesh.put(self, other, partial(answer, other))
        if waiting:
            self.call_later(request.timeout_seconds, late)
        else:
            request.ended(0)

    def change(self, place: Any, sid: str, text: str | None) -> None:
        self.presence.changed(place, sid, text)


class Mesh:
    def __init__(self) -> None:
        self.clock = Clock()
        self.told: list[tuple[Any, ...]] = []
        self.published: list[Command] = []
        self.living: list[Process] = []
        self.queues: dict[tuple[Process, Process], deque[Callable[[], Any]]] = {}
        self.on_kill: list[Callable[[Process], None]] = []
        self.asked_count = self.count = 0
        self.lossy = 0.0
        self.chance = random.Random(0)

    def born(self) -> Process:
        self.count += 1
        self.clock.now += 0.01
        self.living.append(Process(self, f"p{self.count}"))
        self.living[-1].presence.start()
        return self.living[-1]

    def others(self, process: Process) -> list[Process]:
        return [other for other in self.living if other is not process]

    def put(self, sender: Process, receiver: Process, act: Callable[[], Any]) -> None:
        if self.chance.random() >= self.lossy:
            self.queues.setdefault((sender, receiver), deque()).append(act)

    def ready(self) -> list[tuple[Process, Process]]:
        return [pair for pair, queue in self.queues.items() if queue and not pair[1].is_stopped]

    def step(self) -> bool:
        ready = self.ready()
        if ready:
            self.queues[self.chance.choice(ready)].popleft()()
        return bool(ready)

    def flow(self) -> None:
        while self.step():
            pass

    def kill(self, process: Process) -> None:
        """What it has said is on its way, and arrives."""
        self.living.remove(process)
        self.queues = {pair: queue for pair, queue in self.queues.items() if process is not pair[1]}
        for lost in self.on_kill:
            lost(process)

    def wait(self, seconds: float) -> None:
        """In small steps, and what passes meanwhile passes."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            self.flow()

    def events(self) -> list[tuple[Any, ...]]:
        """(kind, sid, metadata), and nothing twice."""
        found, self.told[:] = [(event[1], event[3], event[5]) for event in self.told], []
        return found


@pytest.fixture
def mesh() -> Mesh:
    return Mesh()


def test_one_process_alone_says_nothing_to_others_and_has_no_timer(mesh: Mesh) -> None:
    process = Process(mesh, "p", alone=True)
    mesh.living.append(process)
    process.change(ANN, "s1", "1")
    process.change(ANN, "s2", "1")
    process.change(ANN, "s2", "2")
    process.change(ANN, "s1", None)
    process.change(ANN, "s2", None)
    assert mesh.events() == [("join", "s1", "1"), ("update", "s2", "2"), ("leave", "s2", "2")]
    assert (mesh.published, mesh.clock.timers) == ([], [])
    process.presence.leave()
    process.change(ANN, "s1", "1")
    assert mesh.events() == [("join", "s1", "1")], "nobody else could tell it"


def test_who_has_none_asks_once_and_beats_not(mesh: Mesh) -> None:
    mesh.born(), mesh.born()
    mesh.wait(60)
    assert (mesh.asked_count, mesh.published) == (2, [])


def test_what_those_held_that_end_before_others_hear_of_them_is_told(mesh: Mesh) -> None:
    """As in a rolling restart: no change and no beat comes between the start of the new ones and the end."""
    old = [mesh.born(), mesh.born()]
    old[0].change(ANN, "a", "{}")
    old[1].change(BOB, "b", "{}")
    mesh.flow()
    mesh.events()
    mesh.born(), mesh.born()
    mesh.flow()
    for process in old:
        process.presence.leave()
        mesh.flow()
        mesh.kill(process)
    mesh.wait(3)
    assert sorted(mesh.events()) == [("leave", "a", "{}"), ("leave", "b", "{}")]


def test_clients_of_one_key_in_two_processes_are_one_member(mesh: Mesh) -> None:
    first, second = mesh.born(), mesh.born()
    first.change(ANN, "s1", "1")
    second.change(ANN, "s2", "1")  # at once: neither knows of the other
    mesh.flow()
    ((kind, _, text),) = mesh.events()
    assert (kind, text) == ("join", "1")
    first.change(ANN, "s1", None)
    second.change(ANN, "s2", None)
    mesh.flow()
    assert [event[0] for event in mesh.events()] == ["leave"]


def test_a_change_is_one_small_word(mesh: Mesh) -> None:
    first, second = mesh.born(), mesh.born()
    for number in range(1000):
        first.change(("/", "red", str(number)), str(number), "{}")
    mesh.flow()
    mesh.published.clear()
    second.change(ANN, "s1", '{"name":"Ann"}')
    mesh.flow()
    sizes = [len(msgspec.msgpack.encode(command)) for command in mesh.published if command.data[2] != "alive"]  # type: ignore[index]
    assert len(sizes) == 2, "that it is there, and that it was told"
    assert max(sizes) < 200


def test_a_process_that_begins_later_knows_what_there_is(mesh: Mesh) -> None:
    first = mesh.born()
    keys = [("/", "red", str(number)) for number in range(2 * PART_COUNT + 1)]
    for key in keys:
        first.change(key, key[2], "{}")
    late = mesh.born()
    late.change(keys[7], "other", "{}")
    mesh.flow()
    assert len(mesh.events()) == len(keys), "it was known"
    mesh.kill(first)
    mesh.wait(SILENT_SECONDS + BEAT_SECONDS + 1)
    assert [kind for kind, _, _ in mesh.events()] == ["leave"] * (len(keys) - 1)
    late.change(keys[7], "other", None)
    assert [kind for kind, _, _ in mesh.events()] == ["leave"]


@pytest.mark.parametrize("victim", [0, 1])
def test_what_a_killed_process_held_expires(mesh: Mesh, victim: int) -> None:
    processes = [mesh.born() for _ in range(3)]
    for number, process in enumerate(processes):
        process.change(ANN, f"a{number}", "{}")
        process.change(("/", "red", f"b{number}"), f"b{number}", "{}")
    mesh.flow()
    told = [(kind, sid[0]) for kind, sid, _ in mesh.events()]
    assert sorted(told) == [("join", "a"), *[("join", "b")] * 3]
    mesh.kill(processes[victim])
    mesh.wait(SILENT_SECONDS + BEAT_SECONDS + 1)
    assert mesh.events() == [("leave", f"b{victim}", "{}")], "the others have another client of that key"


def test_what_changes_while_nobody_tells_is_told_later(mesh: Mesh) -> None:
    oldest, second, third = (mesh.born() for _ in range(3))
    oldest.change(BOB, "b", "{}")
    second.change(ANN, "a", "1")
    mesh.flow()
    mesh.events()
    mesh.kill(oldest)
    second.change(ANN, "a", None)
    third.change(("/", "red", "eve"), "e", "{}")
    mesh.flow()
    assert mesh.events() == []
    mesh.wait(SILENT_SECONDS + BEAT_SECONDS + 1)
    assert sorted(mesh.events()) == [("join", "e", "{}"), ("leave", "a", "1"), ("leave", "b", "{}")]


def test_a_process_that_ends_says_so(mesh: Mesh) -> None:
    oldest, second = mesh.born(), mesh.born()
    oldest.change(ANN, "a", "{}")
    second.change(BOB, "b", "{}")
    mesh.flow()
    mesh.events()
    oldest.presence.leave()
    oldest.change(ANN, "a", None)
    mesh.wait(2)
    assert mesh.events() == [("leave", "a", "{}")]
    second.change(BOB, "b", None)
    assert mesh.events() == [("leave", "b", "{}")]


def test_words_that_were_lost_are_asked_for(mesh: Mesh) -> None:
    first, second = mesh.born(), mesh.born()
    second.change(ANN, "a", "{}")
    mesh.flow()
    mesh.lossy = 1.0
    second.change(BOB, "b", "{}")
    mesh.lossy = 0.0
    mesh.flow()
    mesh.wait(2 * BEAT_SECONDS)
    assert mesh.events() == [("join", "a", "{}"), ("join", "b", "{}")]
    assert first.presence._leads


def test_one_that_stood_still_is_not_told_for_the_others(mesh: Mesh) -> None:
    oldest, second, third = (mesh.born() for _ in range(3))
    for process, key in ((oldest, ANN), (second, BOB)):
        process.change(key, key[2], "{}")
    mesh.flow()
    mesh.events()
    oldest.is_stopped = True
    mesh.wait(SILENT_SECONDS + BEAT_SECONDS + 1)
    assert mesh.events() == [("leave", "ann", "{}")]
    third.change(("/", "red", "eve"), "eve", "{}")
    mesh.flow()
    assert mesh.events() == [("join", "eve", "{}")]
    oldest.is_stopped = False
    late, oldest.late = oldest.late, []
    for function in late:
        function()
    mesh.flow()
    mesh.wait(2 * SILENT_SECONDS)
    assert mesh.events() == [("join", "ann", "{}")], "it is there again, and all others always were"
    second.change(BOB, "bob", None)
    mesh.flow()
    assert mesh.events() == [("leave", "bob", "{}")]


def test_a_process_without_handlers_does_not_count(mesh: Mesh) -> None:
    oldest, second = mesh.born(), mesh.born()
    oldest.has_handlers = False
    second.change(ANN, "a", "{}")
    mesh.wait(20)
    assert mesh.events() == [("join", "a", "{}")]
    assert {command.data[0] for command in mesh.published} == {second.presence.name}  # type: ignore[index]


def test_a_word_that_is_none_is_refused(mesh: Mesh) -> None:
    first = mesh.born()
    for data in (None, 7, [], ["p9"], ["p9", "x", "here"]):
        with pytest.raises(Malformed):
            first.presence.hear(Command(CommandKind.PRESENCE, "/", "s", "r", data=data))
    assert (mesh.published, mesh.told) == ([], [])


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_all_is_told_and_in_the_end_is_true(mesh: Mesh, seed: int) -> None:
    """Processes come, end and are killed; words are late, seldom lost. Where none is killed and no word is
    lost, each thing is told once."""
    chance = mesh.chance = random.Random(seed)
    is_calm = seed % 3 == 0
    here: dict[Process, dict[str, str]] = {mesh.born(): {} for _ in range(3)}
    count = 0
    for _ in range(300):
        process, what = chance.choice(mesh.living), chance.random()
        mine = here[process]
        mesh.lossy = 0.01 if seed % 3 == 2 else 0.0
        if what < 0.35:
            count += 1
            mine[(sid := chance.choice("abc") + str(count))] = text = str(chance.randrange(3))
            process.change(("/", "red", sid[0]), sid, text)
        elif what < 0.65 and mine:
            del mine[(sid := chance.choice([*mine]))]
            process.change(("/", "red", sid[0]), sid, None)
        elif what < 0.7 and mine:
            mine[(sid := chance.choice([*mine]))] = text = str(chance.randrange(3))
            process.change(("/", "red", sid[0]), sid, text)
        elif 0.7 <= what < 0.715 and len(mesh.living) < 6:
            here[mesh.born()] = {}
        elif 0.72 <= what < 0.74 and len(mesh.living) > 2:
            if is_calm or chance.random() < 0.5:
                process.presence.leave()
                for sid in mine:
                    process.change(("/", "red", sid[0]), sid, None)
                mesh.flow()
            mesh.kill(process)
            del here[process]
        elif 0.74 <= what < 0.8:
            if seed % 3 != 2:  # what is said comes long before anybody gives up waiting for it
                mesh.flow()
            mesh.clock.advance(chance.choice((0.1, 1, BEAT_SECONDS)))
        for _ in range(chance.randrange(8)):
            mesh.step()
    mesh.lossy = 0.0
    mesh.flow()
    mesh.wait(4 * SILENT_SECONDS)
    held = {sid[0] for mine in here.values() for sid in mine}
    there: dict[str, str] = {}
    for kind, sid, text in mesh.events():
        if is_calm:
            assert (kind == "join") is (sid[0] not in there), "each once"
            assert kind != "update" or there[sid[0]] != text
        if kind == "leave":
            there.pop(sid[0], None)
        else:
            there[sid[0]] = text
    for process in mesh.living:
        known = {place[2] for place in process.presence._holders}
        assert known == held or process.presence._stage is PresenceStage.NEW
    assert seed % 3 == 2 or there.keys() == held
    texts = {(sid[0], text) for mine in here.values() for sid, text in mine.items()}
    assert not is_calm or texts.issuperset(there.items())
