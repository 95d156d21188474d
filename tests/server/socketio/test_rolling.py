"""Clients through rolling restarts: workers are born, greet, drain, end; what is said waits to be let go.

It must not know sockets or processes; chance is seeded, and the clock moves when it is told to.
"""

import json
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from event_source import Ear
from python_server.engineio.options import EngineOptions
from python_server.engineio.packet import decode_payload
from python_server.engineio.session import DisconnectReason, Session
from python_server.engineio.session_ids import SessionIds
from python_server.net.link import HEADER, LinkState, encode
from python_server.serve.mounts import Mount
from python_server.serve.recovery_handover import RecoveryHandover
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster.pipe_backplane import PipeBackplane
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.restore import SETTLE_SECONDS
from python_server.workers import link_messages
from python_server.workers import peers as siblings_room
from python_server.workers.peers import GREETING_SECONDS, MessageKind, Peers

PATH = "/socket.io/"
SEPARATOR = "\x1e"
WORKERS_COUNT = 3
WORKERS_MAX_COUNT = 8
PEOPLE_COUNT = 5
ROOMS = ("blue", "red")


class End:
    """One end of a link, in the place of a socket: what was sent stays on its way until it is let go."""

    def __init__(self) -> None:
        self.other: End
        self.coming: deque[tuple[bytes, End | None]] = deque()
        self.closed = False
        self.link: FakeLink | None = None


def wire() -> tuple[End, End]:
    first, second = End(), End()
    first.other, second.other = second, first
    return first, second


class FakeLink:
    """The words of `net.link.Link` over such an end."""

    def __init__(
        self,
        loop: Any,
        sock: End,
        received: Callable[[int, bytes, Any], None],
        lost: Callable[[], None],
        report: Callable[[str, BaseException], None],
        max_queued_bytes: int = 0,
    ) -> None:
        self.end, self.received, self.lost = sock, received, lost
        self.queued_bytes = 0
        sock.link = self

    def send(self, kind: int, *pieces: Any, descriptor: int | None = None) -> bool:
        return self.send_encoded(encode(kind, *pieces))

    def send_encoded(self, frame: list[Any]) -> bool:
        if self.end.closed or self.end.other.closed:
            return False
        self.end.other.coming.append((b"".join(frame), None))
        return True

    def close(self) -> None:
        self.end.closed = True

    @property
    def state(self) -> LinkState:
        return LinkState.DEAF if self.end.closed or self.end.other.closed else LinkState.OPEN

    @property
    def ready(self) -> bool:
        """May something arrive, or the end of it?"""
        return not self.end.closed and bool(self.end.coming or self.end.other.closed)

    def step(self) -> None:
        """The next message arrives, or the end."""
        if not self.end.coming:
            self.end.closed = True
            self.lost()
            return
        frame, end = self.end.coming.popleft()
        kind, _, size_bytes = HEADER.unpack_from(frame)
        payload = frame[HEADER.size :]
        assert len(payload) == size_bytes
        self.received(kind, payload, end)


class Worker:
    """A hub among siblings, with a loop that turns when it is told to."""

    def __init__(self, town: "Town", index: int, control: End) -> None:
        self.town, self.index = town, index
        self.accepting = self.draining = self.ended = self.begun = False
        self.siblings = Peers(
            self,  # type: ignore[arg-type]
            index,
            self.report,
            lambda kind, said: None,
        )
        self.control = FakeLink(self, control, self.told, lambda: None, self.report)
        self.log = RecoveryLog()
        self.world = town.make_world(self.backplane, SessionIds(index), recovery=self.log)
        if town.welcoming:
            self.world.on("connect")
        mount = Mount(PATH, self.world.hub, EngineOptions(), lambda facts, application: None)
        self.handover = RecoveryHandover(
            [mount], self.siblings, self.call_later, lambda: self.now, lambda kind, said: None
        )
        self.sessions: list[Session] = []

    def backplane(self, world: Any) -> PipeBackplane:
        world.now = self.town.now
        self.complaints = world.complaints
        return PipeBackplane(
            self.siblings,
            PATH,
            world.call_later,
            lambda kind, said: world.complaints.append(said),
            self.log,
        )

    def report(self, what: str, error: BaseException) -> None:
        raise error

    # The loop, as Peers and RecoveryHandover ask for it

    @property
    def now(self) -> float:
        return float(self.world.now)

    def call_later(self, seconds: float, function: Callable[[], Any]) -> Any:
        return self.world.call_later(seconds, function)

    def call_soon(self, function: Callable[[], Any]) -> None:
        self.world.call_later(0.0, function)

    # The life of a worker

    def begin(self) -> None:
        self.begun = True
        self.siblings.begin(self.accept)

    def accept(self) -> None:
        self.accepting = True
        self.control.send(MessageKind.READY)

    def told(self, kind: int, payload: bytes, descriptor: Any) -> None:
        if kind == MessageKind.DRAIN:
            self.drain(link_messages.decode(payload, type=link_messages.Drain).successor)
        else:
            self.siblings.told(kind, payload, descriptor)

    def drain(self, successor: int | None) -> None:
        """As the wiring of a worker does it."""
        self.accepting, self.draining = False, True
        self.siblings.announce_draining(successor)
        for session in self.sessions:
            session.end(DisconnectReason.SERVER_SHUTTING_DOWN)
        self.world.hub.streams.close()
        assert successor is not None
        self.handover.hand_over(successor)

    def end(self) -> None:
        self.ended = True
        self.world.hub.services.backplane.close()
        self.siblings.close()
        self.control.close()

    def open(self) -> Session:
        session = Session(
            "eio",
            self.world.sessions,
            None,
            lambda session, on: None,
            lambda session, reason: None,
            1_000_000,
        )
        self.sessions.append(session)
        self.world.sessions.session_opened(session)
        return session

    def say(self, name: str, rooms: tuple[str, ...] | None) -> None:
        self.world.hub.emit(name, [], to=BroadcastOptions(rooms=rooms))
        self.turn()

    def turn(self) -> None:
        """What handlers are to do waits for a thread."""
        self.world.drain()

    def work(self) -> None:
        self.world.jobs.waiting.popleft()()
        self.turn()

    # What may happen next

    def links(self) -> list[FakeLink]:
        return [link for link in (*self.siblings._links.values(), self.control) if link.ready]  # type: ignore[misc]

    def timers_due(self) -> bool:
        return any(timer.function and timer.when <= self.now for timer in self.world.timers)


class Town:
    """A supervisor, its workers, the links between them all, and who wanders among them."""

    def __init__(self, make_world: Any, chance: random.Random, *, welcoming: bool) -> None:
        self.make_world = make_world
        self.welcoming = welcoming  # has the application a connect handler?
        self.chance = chance
        self.now = 1000.0
        self.workers: list[Worker] = []
        self.controls: dict[int, End] = {}
        self.replacing: dict[Worker, Worker] = {}
        self.said: dict[int, list[str]] = {}
        for _ in range(WORKERS_COUNT):
            self.born()
        for worker in self.workers:
            worker.begin()
        self.settle()
        assert all(worker.accepting for worker in self.workers)

    # The supervisor

    def living(self) -> list[Worker]:
        return [worker for worker in self.workers if not worker.ended]

    def born(self, replaces: Worker | None = None) -> Worker:
        ours, theirs = wire()
        worker = Worker(self, len(self.workers) + 1, theirs)
        for other in self.living():
            first, second = wire()
            worker.siblings.join(other.index, first, serving=other.begun)  # type: ignore[arg-type]
            said = link_messages.encode(link_messages.NewWorker(worker.index))
            self.tell(other, MessageKind.HELLO, said, second)
        self.controls[worker.index] = ours
        self.workers.append(worker)
        if replaces is not None:
            self.replacing[worker] = replaces
        return worker

    def hear(self, worker: Worker) -> None:
        """The supervisor reads one word of a worker."""
        frame, _ = self.controls[worker.index].coming.popleft()
        kind, _, _ = HEADER.unpack_from(frame)
        former = self.replacing.pop(worker, None) if kind == MessageKind.READY else None
        if former is not None:
            self.tell(former, MessageKind.DRAIN, link_messages.encode(link_messages.Drain(worker.index)))

    def tell(self, worker: Worker, kind: MessageKind, payload: bytes, end: End | None = None) -> None:
        """`end`: goes with it, as a descriptor would."""
        link = self.controls[worker.index].other
        link.coming.append((b"".join(encode(kind, payload)), end))

    # Chance

    def tick(self, seconds: float = 0.0001) -> None:
        """No two things happen in the same moment."""
        self.now += seconds
        for worker in self.workers:
            worker.world.now = self.now

    def moves(self) -> list[Callable[[], None]]:
        """Everything that may happen next of what is on its way."""
        found: list[Callable[[], None]] = []
        for worker in self.living():
            found += [lambda link=link, worker=worker: self.arrive(worker, link) for link in worker.links()]
            if worker.timers_due():
                found.append(lambda worker=worker: worker.world.advance(0.0))
            if worker.world.jobs.waiting:
                found.append(worker.work)
            if self.controls[worker.index].coming:
                found.append(lambda worker=worker: self.hear(worker))
            if worker.draining and not worker.handover.busy:
                found.append(worker.end)
        return found

    def arrive(self, worker: Worker, link: FakeLink) -> None:
        link.step()
        worker.turn()

    def step(self) -> bool:
        moves = self.moves()
        if moves:
            self.tick()
            self.chance.choice(moves)()
        return bool(moves)

    def settle(self) -> None:
        """Until nothing is on its way."""
        while self.step():
            pass

    def say(self) -> None:
        """A worker that has begun to serve says something to everybody."""
        speakers = [worker for worker in self.living() if worker.accepting or worker.draining]
        worker = self.chance.choice(speakers)
        said = self.said.setdefault(worker.index, [])
        room = self.chance.choice(("", "", *ROOMS))
        said.append(f"{worker.index}:{len(said)}:{room}")
        self.speak(worker, said[-1], room)

    def speak(self, worker: Worker, name: str, room: str = "") -> None:
        self.tick()
        worker.say(name, (room,) if room else None)


class Person:
    """The official client over long polling: it keeps pid and offset, and comes back when it is cut off."""

    def __init__(self, town: Town, room: str) -> None:
        self.town, self.room = town, room
        self.pid: str | None = None
        self.offset: str | None = None
        self.got: list[str] = []
        self.recovered: list[bool] = []
        self.session: Session | None = None
        self.coming: deque[str] = deque()  # answers of polls, on their way
        self.polling = self.greeted = self.answered = False

    def connect(self, worker: Worker | None = None) -> None:
        """The handshake, with whom it may be; CONNECT is a request of its own."""
        open_workers = [each for each in self.town.living() if each.accepting]
        self.worker = worker or self.town.chance.choice(open_workers)
        self.session = self.worker.open()
        self.coming = deque()
        self.polling = self.greeted = self.answered = False

    def moves(self) -> list[Callable[[], None]]:
        if self.session is None:
            return [self.connect]
        found: list[Callable[[], None]] = []
        if self.coming:
            found.append(self.take)
        elif not self.polling:
            found.append(self.poll)
        if not self.greeted:
            found.append(self.greet)
        return found

    def greet(self) -> None:
        assert self.session is not None
        if not self.session.alive:
            self.cut()
            return
        self.greeted = True
        auth = {} if self.pid is None else {"pid": self.pid}
        if self.offset is not None:
            auth["offset"] = self.offset
        self.session.receive_packets(decode_payload(f"40{json.dumps(auth)}".encode()), 10)
        self.worker.turn()

    def poll(self) -> None:
        assert self.session is not None
        if not self.session.alive:
            self.cut()
            return
        self.polling = True
        self.session.poll(self.coming.append)

    def take(self) -> None:
        """A poll's answer has come whole."""
        self.polling = False
        for packet in self.coming.popleft().split(SEPARATOR):
            if packet == "1":
                self.cut()
                return
            if packet.startswith("40"):
                pid = json.loads(packet[2:])["pid"]
                self.recovered.append(pid == self.pid)
                self.answered = True
                self.pid = pid
            elif packet.startswith("42"):
                name, self.offset = json.loads(packet[2:])
                self.got.append(name)

    def enter(self) -> None:
        """Its room, once, while nothing else happens."""
        assert self.session is not None
        (socket,) = self.session.context.sockets.values()
        self.worker.world.hub.join("/", socket.sid, self.room)
        self.worker.turn()

    def cut(self, *, noticed: bool = True) -> None:
        """The connection is gone, with what was on its way; `noticed`: the worker knows."""
        session, self.session = self.session, None
        self.coming.clear()
        if noticed and session is not None:
            session.end(DisconnectReason.TRANSPORT_ERROR)
            self.worker.turn()

    def settled(self) -> bool:
        return (
            self.session is not None
            and self.session.alive
            and self.polling
            and not self.coming
            and self.greeted
        )


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links whose messages wait, in the place of real ones."""
    monkeypatch.setattr(siblings_room, "Link", FakeLink)
    monkeypatch.setattr(siblings_room, "Socket", lambda fileno: fileno)


def make_town(make_world: Any, seed: int, people_count: int = PEOPLE_COUNT) -> tuple[Town, list[Person]]:
    town = Town(make_world, random.Random(seed), welcoming=seed % 2 == 1)
    people = [Person(town, town.chance.choice(ROOMS)) for _ in range(people_count)]
    for person in people:
        finish(town, person)
        person.enter()
    return town, people


def finish(town: Town, *people: Person) -> None:
    """Until everybody is connected and has what there is."""
    for _ in range(100_000):
        moves = [move for person in people if not person.settled() for move in person.moves()]
        if moves:
            town.tick()
            town.chance.choice(moves)()
        elif not town.step():
            if all(person.answered for person in people):
                return
            town.tick(0.005)  # somebody waits for a timer
    raise AssertionError("it does not come to rest")


def arrive(town: Town, sender: int, receiver: int, count: int = 1) -> None:
    """What one worker has sent to another arrives there, and no other message."""
    worker = town.workers[receiver - 1]
    for _ in range(count):
        town.tick()
        town.arrive(worker, worker.siblings._links[sender])  # type: ignore[arg-type]


def replace_first(town: Town) -> Worker:
    """A fourth worker is born, and has been told of by the supervisor; it takes over from the first."""
    new = town.born(town.workers[0])
    for worker in town.workers[:3]:
        worker.control.step()
    new.begin()
    return new


def test_an_event_on_its_way_to_one_that_drains_is_not_lost(make_world: Any) -> None:
    """It was said before its speaker knew the new one, and comes after the new one is greeted by all."""
    town, (person, *_) = make_town(make_world, 0, people_count=1)
    first, second, third = town.workers
    while person.worker is not first:
        person.cut()
        finish(town, person)
    new = replace_first(town)
    town.speak(second, "on its way to the first, not to the new one")
    for other in (second, third):
        arrive(town, 4, other.index)
        arrive(town, other.index, 4)
    arrive(town, 4, 1)
    arrive(town, 1, 4)
    town.settle()
    assert new.accepting
    assert first.ended
    person.poll()
    person.connect(new)
    finish(town, person)
    assert person.recovered[1:] == [True] * len(person.recovered[1:])
    assert person.got == ["on its way to the first, not to the new one"]


def test_two_that_are_born_at_once_know_each_other_before_they_serve(make_world: Any) -> None:
    """Neither served when the other was born: those who did say that there is one more to wait for."""
    town, _ = make_town(make_world, 0, people_count=0)
    old = (1, 2, 3)
    starting = [town.born(), town.born()]
    for worker in town.workers[:4]:
        while worker.control.ready:
            worker.control.step()
    for new in starting:
        new.begin()
    everything = [(sender, receiver) for sender in (*old, 4, 5) for receiver in (*old, 4, 5)]
    for _ in range(5):
        for sender, receiver in everything:
            if (sender, receiver) != (4, 5) and sender != receiver:
                worker = town.workers[receiver - 1]
                while worker.siblings._links[sender].ready:  # type: ignore[attr-defined]
                    arrive(town, sender, receiver)
        for new in starting:
            new.world.advance(0.0)
    assert starting[0].accepting
    assert not starting[1].accepting  # it does not know the other, who knows it
    town.settle()
    assert starting[1].accepting
    assert [new.siblings.living for new in starting] == [(1, 2, 3, 5), (1, 2, 3, 4)]


@pytest.mark.parametrize("seed", range(60))
def test_several_that_are_born_at_once_wait_for_nobody_in_vain(make_world: Any, seed: int) -> None:
    """Each is told by whoever heard of it from others before it heard of it itself."""
    town, _ = make_town(make_world, seed, people_count=0)
    starting = [town.born() for _ in range(3)]
    for new in starting:
        for _ in range(town.chance.randrange(40)):
            town.step()
        new.begin()
    town.settle()
    assert [new.accepting for new in starting] == [True] * 3
    assert not any("stands still" in said for worker in town.workers for said in worker.world.complaints)


def test_a_worker_that_starts_waits_for_siblings_that_are_slow(make_world: Any) -> None:
    """Neither would hear the other; a worker that stands still for good is not waited for so long."""
    town, _ = make_town(make_world, 0, people_count=0)
    new = replace_first(town)
    for other in (1, 2):
        arrive(town, 4, other)
        arrive(town, other, 4)
    town.tick(GREETING_SECONDS - 1.0)
    new.world.advance(0.0)
    assert not new.accepting
    town.tick(2.0)
    new.world.advance(0.0)
    assert new.accepting


def test_a_client_that_is_lost_while_others_are_asked_for_it_is_not_taken_from_them(make_world: Any) -> None:
    """It asks again from elsewhere, before the first answer has come."""
    town, (person, *_) = make_town(make_world, 0, people_count=1)
    home = person.worker
    one, other = (worker for worker in town.workers if worker is not home)
    town.speak(home, "missed")
    person.cut()
    person.connect(one)
    person.greet()
    person.cut()
    arrive(town, one.index, home.index)
    person.connect(other)
    person.greet()
    finish(town, person)
    assert person.recovered == [False, True]
    assert person.got == ["missed"]


def test_a_client_that_is_lost_while_its_connect_handler_runs_comes_back(make_world: Any) -> None:
    town, (person, *_) = make_town(make_world, 1, people_count=1)
    home = person.worker
    person.cut()
    town.speak(home, "missed")
    for _ in range(2):
        person.connect(home)
        person.greet()
        assert home.world.jobs.waiting  # its connect handler waits for a thread
        person.cut()
    finish(town, person)
    assert person.recovered == [False, True]
    assert person.got == ["missed"]


def test_of_two_records_of_a_client_the_later_one_counts(make_world: Any) -> None:
    """It is in a room since that its first home, which has not heard of its return, knows nothing of."""
    town, (person, *_) = make_town(make_world, 0, people_count=1)
    home = person.worker
    one, other = (worker for worker in town.workers if worker is not home)
    person.cut()
    person.connect(one)
    person.greet()
    for sender, receiver in ((one, home), (one, other), (home, one), (home, other)):
        arrive(town, sender.index, receiver.index)
    arrive(town, other.index, one.index)
    for sender, receiver in ((one, home), (other, home), (home, one)):  # all have what was said at home
        arrive(town, sender.index, receiver.index)
    person.room = "green"
    person.enter()
    town.speak(other, "to green", "green")
    person.cut()
    person.connect(other)
    person.greet()
    arrive(town, other.index, home.index, 2)
    town.tick(SETTLE_SECONDS)  # the one that it came to says nothing to its first home
    home.world.advance(0.0)
    arrive(town, home.index, other.index, 2)  # the older record comes first
    finish(town, person)
    assert person.got == ["to green"]


def kill(town: Town, victim: Worker, unsent_to: Worker) -> None:
    """It is gone at once, and with it what stood in its queue for one of the others."""
    unsent_to.siblings._links[victim.index].end.coming.clear()  # type: ignore[attr-defined]
    victim.end()


def test_what_a_killed_worker_had_said_to_one_sibling_alone_comes_to_all(make_world: Any) -> None:
    """Else who stays at the other one would never hear it, and who returns from there would hear it behind
    what its speaker said later, at a worker that lives."""
    town, people = make_town(make_world, 0, people_count=3)
    victim, behind, ahead = town.workers
    for person, worker in zip(people, (behind, behind, ahead), strict=True):
        person.cut()
        person.connect(worker)
        finish(town, person)
    town.speak(victim, "first words")
    finish(town, *people)
    town.settle()
    _, moves, _ = people
    town.speak(victim, "last words")
    arrive(town, victim.index, ahead.index)
    kill(town, victim, unsent_to=behind)
    town.settle()
    town.speak(ahead, "said later")
    finish(town, *people)
    moves.cut()
    moves.connect(ahead)
    finish(town, *people)
    assert [person.got[-2:] for person in people] == [["last words", "said later"]] * 3
    assert [person.got.count("last words") for person in people] == [1] * 3
    assert moves.recovered[-1]


def test_who_spoke_at_a_killed_worker_goes_on_when_all_have_heard_it(make_world: Any) -> None:
    town, (person, *_) = make_town(make_world, 0, people_count=1)
    victim = person.worker
    ahead, behind = (worker for worker in town.workers if worker is not victim)
    town.speak(victim, "first words")
    town.settle()
    town.speak(victim, "last words")
    arrive(town, victim.index, ahead.index)
    kill(town, victim, unsent_to=behind)
    arrive(town, victim.index, ahead.index)
    person.cut(noticed=False)
    person.connect(ahead)
    person.greet()
    while not person.answered:
        (person.take if person.coming else person.poll if not person.polling else town.step)()
    assert person.recovered == [False, False]  # the one that was killed knew it alone
    assert len(behind.log.entries()) == 2


# The others take four times as long: with `make test-all`. `make simulate`, in CI, rolls clusters of its own.
SEEDS = [*range(50), *(pytest.param(seed, marks=pytest.mark.extended) for seed in range(50, 200))]


@pytest.mark.parametrize("seed", SEEDS)
def test_rolling_restarts_lose_double_and_reorder_nothing(make_world: Any, seed: int) -> None:
    town, people = make_town(make_world, seed)
    chance = town.chance
    rolls = deque(town.workers)
    starting: list[Worker] = []
    for _ in range(600):
        dice = chance.random()
        if dice < 0.15:
            town.say()
        elif dice < 0.65:
            town.step()
        elif dice < 0.93:
            town.tick()
            chance.choice(chance.choice(people).moves() or [lambda: None])()
        elif dice < 0.95:
            person = chance.choice(people)
            if person.session is not None:
                town.tick()
                person.cut(noticed=chance.random() < 0.5)
        elif starting and chance.random() < 0.5:
            town.tick()
            starting.pop(chance.randrange(len(starting))).begin()
        elif rolls and not town.replacing and not any(worker.draining for worker in town.living()):
            starting.append(town.born(rolls.popleft()))
        elif len(town.workers) < WORKERS_MAX_COUNT and chance.random() < 0.3:
            starting.append(town.born())  # one more, beside those that replace others
    for worker in starting:
        worker.begin()
    finish(town, *people)
    for person in people:
        assert all(person.recovered[1:]), f"recovered: {person.recovered}"
        assert len(set(person.got)) == len(person.got), "doubled"
        for index, names in town.said.items():
            for_it = [name for name in names if name.split(":")[2] in ("", person.room)]
            assert [name for name in person.got if name.startswith(f"{index}:")] == for_it


class Wanderer(Ear):
    """A listener that is cut off, with what it had not taken, and comes back to any worker."""

    def __init__(self, town: Town, room: str) -> None:
        super().__init__(room or None)
        self.town = town
        self.worker: Worker | None = None

    def step(self) -> None:
        """It connects, or takes what has come."""
        self.town.tick()
        if self.worker is None:
            self.worker = self.town.chance.choice([each for each in self.town.living() if each.accepting])
            self.connect(self.worker.world.hub)
            return
        self.take()
        if self.exchange.finished or self.worker.ended:
            self.worker = None

    def lose(self) -> None:
        if self.worker is not None:
            self.worker = None
            self.cut()


@pytest.mark.parametrize("seed", SEEDS)
def test_listeners_miss_double_and_reorder_nothing(make_world: Any, seed: int) -> None:
    town, _ = make_town(make_world, seed, people_count=0)
    chance = town.chance
    ears = [Wanderer(town, room) for room in ("", *ROOMS, *ROOMS)]
    for ear in ears:
        ear.step()
        ear.take()  # its id: what was said before it came is not for it
    rolls, starting = deque(town.workers), deque[Worker]()
    for _ in range(600):
        dice = chance.random()
        if dice < 0.2:
            town.say()
        elif dice < 0.65:
            town.step()
        elif dice < 0.9:
            chance.choice(ears).step()
        elif dice < 0.95:
            chance.choice(ears).lose()
        elif starting and chance.random() < 0.5:
            town.tick()
            starting.popleft().begin()
        elif rolls and not town.replacing and not any(worker.draining for worker in town.living()):
            starting.append(town.born(rolls.popleft()))
    for worker in starting:
        worker.begin()
    for _ in range(4):  # to the end of what is told it, on to another one, until all is taken there
        town.settle()
        for ear in ears:
            ear.step()
    for ear in ears:
        heard = [name for name, _ in ear.heard]
        assert "hole" not in heard
        for index, said in town.said.items():
            expected = [name for name in said if name.split(":")[2] == (ear.room or "")]
            assert [name for name in heard if name.startswith(f"{index}:")] == expected
