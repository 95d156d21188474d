"""Clients that come back to another process: nothing lost, doubled, reordered (restore.py).

It must not know sockets or processes; what passes between the hubs waits until a test lets it go.
"""

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from brought import brought
from python_server.engineio.session import DisconnectReason
from python_server.engineio.session_ids import SessionIds
from python_server.socketio.broadcast import BroadcastOptions
from python_server.socketio.cluster.port import LongAnswer, PeerRequest, Question, QuestionKind
from python_server.socketio.recovery import record
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.record import (
    HeardEvent,
    RecoveryRecord,
    decoder,
    encode,
    travelling,
    travelling_event,
)
from python_server.socketio.recovery.restore import (
    COMPARE_SECONDS,
    FETCH_SECONDS,
    SETTLE_SECONDS,
    SWEEP_SECONDS,
    TAKEN_SECONDS,
)
from returning_person import Person

decode_events = decoder(list[HeardEvent])


class End:
    """One hub's place in a mesh whose every direction is a queue of its own (the Backplane port)."""

    alone = False

    def __init__(self, mesh: "Mesh", index: int) -> None:
        self.mesh, self.index = mesh, index
        self.receiver: Any = None

    def start(self, receiver: Any) -> None:
        self.receiver = receiver

    def publish(self, message: Any) -> None:
        for other in self.mesh.living:
            if other != self.index:
                end = self.mesh.ends[other]
                self.mesh.put(self.index, other, lambda end=end: end.receiver.receive(message))

    def request(self, request: PeerRequest) -> None:
        asked = [other for other in self.mesh.living if other != self.index]
        waiting, has_ended = set(asked), False

        def end() -> None:
            nonlocal has_ended
            if not has_ended:
                has_ended = True
                request.ended(len(waiting))

        def settle(other: int) -> None:
            waiting.discard(other)
            if not waiting:
                end()

        def answer(other: int) -> None:
            def arrive(told: bytes, last: bool) -> None:
                if not has_ended:
                    request.heard(msgspec.msgpack.decode(told))
                    if last:
                        settle(other)

            def reply(part: Any, last: bool = True) -> None:
                parts = [*part.parts] if isinstance(part, LongAnswer) else [part]
                for place, each in enumerate(parts, 1):
                    told = msgspec.msgpack.encode(each)
                    self.mesh.put(other, self.index, partial(arrive, told, last and place == len(parts)))
                if isinstance(part, LongAnswer):
                    part.ended()

            self.mesh.ends[other].receiver.answer(request.question, reply)

        for other in asked:
            self.mesh.put(self.index, other, lambda other=other: answer(other))
        if not asked:
            end()
        elif request.timeout_seconds is not None:
            self.mesh[self.index].call_later(request.timeout_seconds, end)

    def close(self) -> None:
        pass


class Mesh:
    """Hubs with recovery, and what is on its way between them."""

    def __init__(self, make_world: Any, count: int = 3) -> None:
        self.make_world = make_world
        self.living: list[int] = []
        self.ends: dict[int, End] = {}
        self.worlds: dict[int, Any] = {}
        self.queues: dict[tuple[int, int], deque[Callable[[], None]]] = {}
        self.sessions: list[Any] = []
        self.now = 1000.0
        for _ in range(count):
            self.born()

    def born(self) -> int:
        self.tick()
        index = len(self.ends) + 1
        end = self.ends[index] = End(self, index)
        world = self.worlds[index] = self.make_world(
            lambda world: end, SessionIds(index), recovery=RecoveryLog()
        )
        world.now = self.now
        world.hub.recovery.begin(self.now)
        self.living.append(index)
        return index

    def __getitem__(self, index: int) -> Any:
        return self.worlds[index]

    def put(self, sender: int, receiver: int, arrive: Callable[[], None]) -> None:
        self.queues.setdefault((sender, receiver), deque()).append(arrive)

    def step(self, sender: int, receiver: int) -> None:
        """One message arrives."""
        queue = self.queues.get((sender, receiver))
        if queue:
            self.tick()
            queue.popleft()()
            self.worlds[receiver].run()

    def flow(self, *pairs: tuple[int, int]) -> None:
        """Everything arrives, between these or everywhere."""
        while ready := [
            pair for pair, queue in self.queues.items() if queue and (not pairs or pair in pairs)
        ]:
            for pair in ready:
                self.step(*pair)

    def settle(self, former: int, home: int) -> None:
        """The former home answers, though others do not tell it that they have what was said there."""
        self.flow((home, former), (former, home))
        self.advance(SETTLE_SECONDS)
        self.flow((former, home))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for world in self.worlds.values():
            world.advance(seconds)

    def tick(self) -> None:
        """No two things happen in the same moment."""
        self.now += 0.0001
        for world in self.worlds.values():
            world.now = self.now

    def emit(self, index: int, name: str, **options: Any) -> None:
        self.tick()
        self.worlds[index].hub.emit(name, [], BroadcastOptions(**options))
        self.worlds[index].run()

    def hand_over(self, former: int, successor: int) -> None:
        """A worker drains: its sessions end, and its successor gets what it holds."""
        world = self.worlds[former]
        for session in self.sessions:
            if session.alive and session._handler is world.sessions:
                session.end(DisconnectReason.SERVER_SHUTTING_DOWN)
        world.run()
        now = world.now
        for log in world.hub.recovery.logs(now):
            clients = [travelling(client, lambda kind, said: None) for client in log.lost_clients()]
            self.worlds[successor].hub.recovery.keep(
                log.tag,
                decode_events(encode(list(map(travelling_event, log.entries())))),
                [brought(client) for client in clients],
                log.events.first,
                log.heard(now, {}),
            )
        self.living.remove(former)

    def arrived(self, peer: Any) -> None:
        self.sessions.append(peer.session)


@pytest.fixture
def mesh(make_world: Any) -> Mesh:
    return Mesh(make_world)


@pytest.fixture
def person(mesh: Mesh) -> Person:
    person = Person(mesh)
    person.connect(1)
    assert person.recovered == [False]
    return person


def test_a_client_comes_back_to_another_process(mesh: Mesh, person: Person) -> None:
    mesh.emit(1, "a")
    mesh.flow()
    person.lose()
    mesh.emit(2, "b")
    mesh.flow()
    mesh.emit(1, "c")
    mesh.flow()
    person.connect(3)
    assert not person.connected  # it waits for the answer
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert person.got == ["a", "b", "c"]
    mesh.emit(2, "d")
    mesh.flow()
    person.look()
    assert person.got == ["a", "b", "c", "d"]


def test_rooms_and_data_come_along(mesh: Mesh, person: Person) -> None:
    mesh[1].hub.join("/", person.sid, "news")
    mesh[1].hub.join("/", person.sid, 7)
    mesh[1].run()
    person.peer.socket.data = {"name": "Ann", "thing": object(), "list": [1, None, {"a": 0.5}]}
    person.lose()
    mesh.emit(2, "in", rooms=("news",))
    mesh.emit(2, "number", rooms=(7,))
    mesh.emit(2, "out", rooms=("sports",))
    mesh.flow()
    person.connect(2)
    mesh.flow()
    person.look()
    assert person.got == ["in", "number"]
    assert person.peer.socket.data == {"name": "Ann", "list": [1, None, {"a": 0.5}]}
    assert sorted(map(str, mesh[2].hub.rooms_of("/", person.sid))) == sorted([person.sid, "news", "7"])
    assert ["data['thing']" in said for said in mesh[1].complaints] == [True]


def test_a_client_that_has_missed_much_comes_in_parts(
    mesh: Mesh, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others pass on the link between two of them; the client waits for the last one while they come."""
    monkeypatch.setattr(record, "FOUND_COUNT", 3)
    names = [f"event {number}" for number in range(10)]
    person.lose()
    for name in names:
        mesh.emit(1, name)
    mesh.flow()
    home = mesh[1].hub.restorer
    person.connect(3, flow=False)
    mesh.flow((3, 1), (3, 2), (2, 3))
    mesh.flow((1, 2), (1, 3))
    mesh.flow((2, 1), (3, 1))  # all have what was said there
    assert (len(mesh.queues[1, 3]), home.answers_count) == (4, 0)
    for _ in range(3):
        mesh.step(1, 3)
        mesh.advance(COMPARE_SECONDS / 2)
    assert not person.peer.heard()
    mesh.flow()
    person.look()
    assert (person.recovered, person.got) == ([False, True], names)


def test_a_long_answer_that_breaks_off_is_no_answer(
    mesh: Mesh, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "FOUND_COUNT", 1)
    person.lose()
    for name in "abc":
        mesh.emit(1, name)
    mesh.flow()
    person.connect(3, flow=False)
    mesh.flow((3, 1), (3, 2), (2, 3))
    mesh.flow((1, 2), (1, 3))
    mesh.flow((2, 1), (3, 1))
    mesh.step(1, 3)
    mesh.queues[1, 3].clear()
    mesh.living.remove(1)
    mesh.flow()
    mesh.advance(FETCH_SECONDS)
    mesh.flow()
    person.look()
    assert (person.recovered, person.got) == ([False, False], [])


@pytest.mark.parametrize("there", [1, 2], ids=["where it was", "elsewhere"])
def test_who_was_away_for_longer_than_the_log_holds_begins_anew_and_the_log_says_so(
    mesh: Mesh, person: Person, there: int
) -> None:
    mesh.emit(1, "seen")
    mesh.flow()
    person.lose()
    for world in mesh.worlds.values():
        world.hub.recovery.events.total_max_bytes = 1000
    for number in range(10):
        mesh.emit(1, f"missed {number}")
    mesh.flow()
    person.connect(there)
    mesh.flow()
    person.look()
    assert person.recovered == [False, False]
    assert mesh[there].complaints == [
        "a client begins anew: the recovery log does not reach back to what it saw (max_bytes)"
    ]
    person.lose()
    person.auth = {"pid": SessionIds(1).make(), "offset": "x"}  # of nobody: another reason
    person.connect(there)
    mesh.flow()
    assert len(mesh[there].complaints) == 1


def test_binary_events_come_along(mesh: Mesh, person: Person) -> None:
    person.lose()
    mesh[1].hub.emit("bytes", [b"\x00\xff", {"deep": b"x"}])
    mesh[1].run()
    person.connect(2)
    mesh.flow()
    (_, event, *attachments) = person.peer.heard()
    assert event.startswith('52-["bytes",')
    assert attachments == [b"\x00\xff", b"x"]


def test_what_everybody_hears_later_comes_once(mesh: Mesh, person: Person) -> None:
    """The new home lags: an event it has not heard yet stands among the missed ones."""
    person.lose()
    mesh.emit(2, "late for 3")
    mesh.flow((2, 1))
    person.connect(3)
    mesh.flow((3, 1), (1, 3), (3, 2))
    mesh.step(2, 3)  # the event itself comes before 2's answer
    mesh.flow()
    mesh.advance(0.01)
    person.look()
    assert person.got == ["late for 3"]
    assert person.recovered == [False, True]


def test_what_the_former_home_has_not_heard_is_added(mesh: Mesh, person: Person) -> None:
    """The former home lags."""
    person.lose()
    mesh.emit(2, "late for 1")
    mesh.flow((2, 3))
    person.connect(3)
    mesh.settle(1, 3)
    mesh.advance(COMPARE_SECONDS)
    person.look()
    assert person.got == ["late for 1"]
    mesh.flow()
    person.look()
    assert person.got == ["late for 1"]


def test_a_speaker_is_back_once_all_others_have_what_it_said(mesh: Mesh, person: Person) -> None:
    """A third worker is behind the former home, not behind the new one: the listener there hears in order."""
    listener = Person(mesh)
    listener.connect(3)
    mesh.emit(1, "said at 1")
    person.lose()
    person.connect(2)
    mesh.flow((2, 1), (1, 2), (2, 3), (3, 2))
    person.look()
    assert not person.connected
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    mesh.emit(2, "said at 2")
    mesh.flow()
    listener.look()
    assert listener.got == ["said at 1", "said at 2"]


def test_a_speaker_does_not_wait_for_one_that_stands_still(mesh: Mesh, person: Person) -> None:
    person.lose()
    person.connect(2)
    mesh.flow((2, 1), (1, 2), (2, 3), (3, 2))
    person.look()
    assert not person.connected
    mesh.advance(SETTLE_SECONDS)
    mesh.flow((1, 2))
    person.look()
    assert person.recovered == [False, True]


def test_a_client_that_was_asked_for_may_come_back_to_its_former_home(mesh: Mesh, person: Person) -> None:
    """While that one waits with its answer: who asked gets none, and the client has missed nothing."""
    person.lose()
    person.connect(2)
    mesh.flow((2, 1), (1, 2))
    person.lose()
    person.connect(1)
    mesh.emit(2, "meanwhile")
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert person.got == ["meanwhile"]


@pytest.mark.parametrize("moves_count", [1, 2])
def test_what_was_said_before_a_client_began_at_a_young_home_is_not_told(
    mesh: Mesh, moves_count: int
) -> None:
    """The others have heard it lately, its home was not there yet: the client has not missed it."""
    mesh.emit(1, "before it began")
    mesh.flow()
    homes = [mesh.born() for _ in range(moves_count)]
    mesh.advance(1.5)
    person = Person(mesh)
    for home in [*homes, 2]:
        person.connect(home)
        mesh.flow()
        person.lose()
    mesh.emit(1, "missed")
    mesh.flow()
    person.connect(3)
    mesh.flow()
    person.look()
    assert person.recovered == [False, *[True] * (moves_count + 1)]
    assert person.got == ["missed"]


def test_what_was_said_as_its_home_began_is_not_told_to_a_client_that_came_later(mesh: Mesh) -> None:
    """The others have heard it a moment after that home began, which itself never will."""
    home = mesh.born()
    mesh.emit(1, "as it began")
    mesh.queues[1, home].clear()
    mesh.flow()
    mesh.advance(40.0)
    person = Person(mesh)
    person.connect(home)
    person.lose()
    mesh.emit(3, "missed")
    mesh.flow()
    person.connect(2)
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert person.got == ["missed"]


@pytest.mark.parametrize("spoken_since", [False, True])
def test_what_the_former_home_hears_much_later_is_added(
    mesh: Mesh, person: Person, spoken_since: bool
) -> None:
    """However long it lags behind: who takes the client over knows where it had stopped."""
    mesh.emit(2, "early")
    mesh.flow()
    mesh.emit(2, "late for 1")
    mesh.flow((2, 3))
    mesh.advance(30.0)
    if spoken_since:
        mesh.emit(3, "heard by all")
        mesh.flow((3, 1))
    person.lose()
    person.connect(3)
    mesh.flow((3, 1), (1, 3), (3, 2))
    mesh.advance(COMPARE_SECONDS)
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert sorted(person.got) == ["early", *["heard by all"] * spoken_since, "late for 1"]


def test_an_event_that_a_client_has_brought_along_does_not_come_again(mesh: Mesh, person: Person) -> None:
    """However late it is here: the client is not kept waiting for it, and misses nothing behind it."""
    person.lose()
    mesh.emit(2, "late for 3")
    mesh.flow((2, 1))
    person.connect(3)
    mesh.settle(1, 3)
    mesh.advance(COMPARE_SECONDS)  # 2 does not answer
    person.look()
    assert person.got == ["late for 3"]
    mesh.emit(1, "before it")
    mesh.flow((1, 3))
    mesh.flow()
    person.lose()  # it has seen the first one alone: what the log says of the others counts
    person.connect(3)
    mesh.flow()
    person.look()
    assert person.got == ["late for 3", "before it"]
    assert person.recovered == [False, True, True]


def test_what_a_client_missed_is_kept_when_it_is_lost_before_it_has_seen_it(
    mesh: Mesh, person: Person
) -> None:
    """Its connection has gone: whatever time passes from then on, it has not seen what it was sent."""
    person.lose()
    mesh.emit(1, "a")
    mesh.flow()
    person.connect(2)
    mesh.flow()
    mesh.advance(TAKEN_SECONDS - 1.0)
    person.lose(unseen=True)
    mesh.advance(2.0)
    person.connect(2)
    mesh.flow()
    person.look()
    assert person.got == ["a"]
    assert person.recovered == [False, True]


def test_what_a_client_has_seen_on_its_return_is_forgotten_in_time(mesh: Mesh, person: Person) -> None:
    mesh.emit(1, "a")
    person.lose(unseen=True)
    mesh.flow()
    person.connect(2)
    mesh.flow()
    record = person.peer.socket.recovery
    assert record.missed_elsewhere
    mesh.advance(TAKEN_SECONDS)
    assert record.missed_elsewhere == []


def test_events_for_one_client_alone_are_not_waited_for(mesh: Mesh, person: Person) -> None:
    """Its former home told nobody else: nobody else will hear of them."""
    mesh.living = [1]  # as a backplane that knows who is here
    mesh.emit(1, "for you", rooms=(person.sid,))
    mesh.living = [1, 2, 3]
    person.lose(unseen=True)
    person.connect(2)
    mesh.flow()
    person.look()
    assert person.got == ["for you"]


def test_a_connection_that_was_dead_without_notice_is_ended_at_its_home(mesh: Mesh, person: Person) -> None:
    former = person.peer
    mesh.emit(1, "into the void")
    person.connect(2)
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert person.got == ["into the void"]
    assert former.link.closed


def test_a_client_nobody_knows_is_new(mesh: Mesh, person: Person) -> None:
    person.auth = {"pid": SessionIds(2).make(), "offset": "x"}
    person.connect(3)
    mesh.flow()
    person.look()
    assert person.recovered == [False, False]


@pytest.mark.parametrize(
    "pid",
    ["", "nonsense", SessionIds().make(), SessionIds(1, "another").make()],
    ids=["empty", "nonsense", "of no worker", "of another machine"],
)
def test_nobody_is_asked_for_a_secret_that_is_not_of_this_machine(
    mesh: Mesh, person: Person, pid: str
) -> None:
    person.auth = {"pid": pid}
    person.connect(3)
    assert not any(mesh.queues.values())
    assert person.recovered == [False, False]


def test_nobody_of_another_machine_gets_our_clients(make_world: Any) -> None:
    """Its clock is another, so it could not tell what its own log adds."""
    told: list[Any] = []
    names = SessionIds(1, "this")
    world = make_world(None, names, recovery=RecoveryLog())
    for pid in (names.make(), SessionIds(1, "another").make()):
        world.hub.recovery.save(RecoveryRecord("/", "s", pid), world.now)
        question = Question(QuestionKind.FETCH, "/", {"pid": pid, "offset": None})
        world.hub.restorer.answer(question, lambda part, last=True: told.append(part))
    assert [part is None for part in told] == [False, True]


def test_an_event_that_was_seen_and_is_forgotten_is_no_recovery(mesh: Mesh, person: Person) -> None:
    mesh.emit(1, "a")
    mesh.flow()
    person.lose()
    person.auth["offset"] = "unheard of"
    person.connect(2)
    mesh.flow()
    person.look()
    assert person.recovered == [False, False]


def test_a_home_that_died_leaves_a_new_client(mesh: Mesh, person: Person) -> None:
    person.lose()
    mesh.living.remove(1)
    person.connect(2)
    mesh.flow()
    person.look()
    assert person.recovered == [False, False]


def test_a_client_that_leaves_while_others_are_asked_comes_back(mesh: Mesh, person: Person) -> None:
    person.lose()
    mesh.emit(1, "a")
    mesh.flow()
    person.connect(2)
    person.lose()
    mesh.flow()
    person.connect(3)
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert person.got == ["a"]


def test_a_client_that_leaves_while_it_is_asked_about_leaves_nothing_behind(
    mesh: Mesh, person: Person
) -> None:
    person.lose()
    mesh.living.remove(1)
    person.connect(2)
    person.lose()
    mesh.flow()
    assert mesh[2].hub.sockets() == []
    assert mesh[2].hub.restorer.sockets == {}


def test_a_successor_has_what_its_predecessor_held(mesh: Mesh, person: Person) -> None:
    mesh.emit(1, "a")
    mesh.flow()
    person.look()
    mesh.emit(1, "b")
    mesh.flow()
    mesh.hand_over(1, 2)
    mesh.emit(3, "c")
    mesh.flow()
    person.peer.heard()  # "b" is lost on the way
    person.connect(2)
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert person.got == ["a", "b", "c"]


def test_a_successor_answers_one_that_is_younger(mesh: Mesh, person: Person) -> None:
    """The one it comes back to was not born when the events were said."""
    mesh.hand_over(1, 2)
    mesh.emit(3, "a")
    mesh.flow()
    mesh.advance(20.0)
    young = mesh.born()
    mesh.emit(3, "b")
    mesh.flow()
    person.connect(young)
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert person.got == ["a", "b"]


def test_what_was_kept_is_passed_on(mesh: Mesh, person: Person) -> None:
    mesh.emit(3, "a")
    mesh.flow()
    mesh.hand_over(1, 2)
    person.look()
    mesh.emit(3, "b")
    mesh.flow()
    mesh.advance(20.0)
    young = mesh.born()
    mesh.hand_over(2, young)
    mesh.emit(3, "c")
    mesh.flow()
    person.connect(3)
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert person.got == ["a", "b", "c"]


@pytest.mark.parametrize("seed", range(60))
def test_wandering_clients_lose_double_and_reorder_nothing(make_world: Any, seed: int) -> None:
    """Events from everywhere, each direction as slow as it likes, people who are lost, workers that drain."""
    chance = random.Random(seed)
    mesh = Mesh(make_world)
    people = [Person(mesh) for _ in range(3)]
    for person in people:
        person.connect(chance.choice(mesh.living))
    mesh.flow()
    said: dict[int, list[str]] = {}
    for number in range(300):
        dice = chance.random()
        if dice < 0.45:
            index = chance.choice(mesh.living)
            said.setdefault(index, []).append(f"{index}:{number}")
            mesh.emit(index, f"{index}:{number}")
        elif dice < 0.85:
            waiting = [pair for pair, queue in mesh.queues.items() if queue]
            if waiting:
                mesh.step(*chance.choice(waiting))
        elif dice < 0.93:
            person = chance.choice(people)
            if person.connected:
                person.lose(unseen=chance.random() < 0.3)
            elif person.peer.session.alive:
                person.look()
            if not person.connected and not person.peer.session.alive:
                person.connect(chance.choice(mesh.living))
        elif dice < 0.97:
            mesh.advance(0.01)
        elif number % 3 == 0 and len(mesh.ends) < 8:
            young = mesh.born()
            former = mesh.living[0]
            mesh.flow()
            mesh.advance(0.01)
            for person in people:
                person.look()
            mesh.hand_over(former, young)
            for person in people:
                if not person.peer.session.alive:
                    person.connected = False
    for person in people:
        mesh.flow()
        mesh.advance(COMPARE_SECONDS)
        mesh.flow()
        person.look()
        if not person.peer.session.alive:
            person.connect(chance.choice(mesh.living))
        mesh.flow()
        mesh.advance(COMPARE_SECONDS)
        person.look()
        assert person.connected
    for person in people:
        if not all(person.recovered[1:]):
            continue  # told so: it knows that it may have missed something
        assert len(set(person.got)) == len(person.got), "doubled"
        for index, names in said.items():
            assert [name for name in person.got if name.startswith(f"{index}:")] == names
    assert sum(all(person.recovered[1:]) for person in people) >= 2, "hardly anybody came back"


def test_what_the_new_home_hears_much_later_comes_once(mesh: Mesh, person: Person) -> None:
    """However long it lags behind: the last event of a process that was heard says that all before were."""
    mesh.emit(2, "first")
    mesh.emit(2, "second")
    mesh.flow((2, 1))
    mesh.advance(30.0)
    person.lose()
    person.connect(3)
    mesh.flow((3, 1), (1, 3))
    mesh.advance(COMPARE_SECONDS)
    mesh.flow()
    mesh.emit(2, "third")
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert person.got == ["first", "second", "third"]


def test_what_a_home_that_has_gone_never_heard_comes_from_one_that_has_gone_after_it(
    mesh: Mesh, person: Person
) -> None:
    """Neither its new home was there then, nor has the last one lost a client."""
    mesh.emit(2, "early")
    mesh.flow()
    for name in ("first", "second"):
        mesh.emit(2, name)
        mesh.flow((2, 3))
        mesh.advance(8.0)
    person.lose()
    mesh.hand_over(1, 3)
    young = mesh.born()
    mesh.advance(20.0)
    mesh.hand_over(3, young)
    person.connect(young)
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert person.got == ["early", "first", "second"]


def test_a_server_that_falls_quiet_keeps_nothing_for_ever(mesh: Mesh, person: Person) -> None:
    log = mesh[1].hub.recovery
    mesh.emit(1, "the last one")
    person.lose()
    assert (log.lost_count, log.events.size_bytes > 0) == (1, True)
    mesh.advance(log.events.max_seconds + SWEEP_SECONDS)
    assert (log.lost_count, log.events.size_bytes) == (0, 0)


def test_what_a_young_process_has_heard_does_not_hide_what_was_said_before_it(
    mesh: Mesh, person: Person
) -> None:
    """The speaker has lost its client to one that hears it late; who keeps its record began only lately."""
    mesh.emit(2, "early")
    mesh.flow()
    person.lose()
    mesh.emit(2, "first")  # 1 never hears it
    young = mesh.born()
    mesh.hand_over(1, young)
    mesh.emit(2, "second")
    mesh.flow((2, young))
    person.connect(2)
    mesh.flow()
    mesh.emit(2, "third")
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert person.got == ["early", "first", "second", "third"]


@pytest.mark.parametrize("hears_all", [True, False])
def test_what_is_known_from_a_young_process_comes_once(mesh: Mesh, person: Person, hears_all: bool) -> None:
    """Its new home has heard neither that nor what was said before it; both are on their way, though they may
    not be where rooms have channels of their own."""
    mesh[3].hub.recovery.hears_all = hears_all
    mesh.emit(2, "early")
    mesh.flow()
    person.lose()
    mesh.emit(2, "first")
    young = mesh.born()
    mesh.hand_over(1, young)
    mesh.emit(2, "second")
    mesh.flow((2, young))
    person.connect(3)
    mesh.settle(young, 3)
    mesh.advance(COMPARE_SECONDS)
    person.look()
    assert person.got == ["early"] if hears_all else ["early", "second"]
    mesh.flow()
    mesh.emit(2, "third")
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    later = ["first", "second"] if hears_all else ["second", "first"]
    assert person.got == ["early", *later, "third"]


@pytest.mark.parametrize("way", ["asked", "handed over"])
def test_what_is_known_of_a_member_comes_along(mesh: Mesh, person: Person, way: str) -> None:
    mesh[1].hub.join("/", person.sid, "news", {"name": "Ann"}, "ann")
    mesh[1].run()
    person.lose()
    mesh.flow()
    assert mesh[1].hub._running.rooms.adapter("/").details_of("news") == []
    if way == "handed over":
        mesh.hand_over(1, 2)
    person.connect(3)
    mesh.flow()
    person.look()
    assert person.recovered == [False, True]
    assert mesh[3].hub._running.rooms.adapter("/").details_of("news") == [
        (person.sid, "ann", '{"name":"Ann"}')
    ]


@pytest.mark.parametrize("way", ["asked", "handed over"])
def test_credentials_end_wherever_the_client_comes_back(mesh: Mesh, person: Person, way: str) -> None:
    late = Person(mesh)
    late.connect(1)
    for each, seconds in ((person, 60), (late, 20)):
        mesh[1].hub.expire("/", each.sid, mesh[1].services.wall() + seconds)
    mesh[1].run()
    for each in (person, late):
        each.lose()
    mesh.emit(2, "missed")
    mesh.flow()
    if way == "handed over":
        mesh.hand_over(1, 2)
    mesh.advance(30)
    for each in (person, late):
        each.connect(3)
        mesh.flow()
        each.look()
    assert (person.recovered, person.got) == ([False, True], ["missed"])
    assert (late.recovered, late.got) == ([False, False], [])
    mesh.advance(30)
    person.look()
    assert person.got == ["missed", "closing"]
    assert late.sid in mesh[3].hub.adapters()["/"].members_of(None)
