"""What many machines are asked to do, one thing at a time, and what each costs the broker and the machines.

It must not know what a table says. Each answer is held against what it must be: a wrong one raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from python_server.socketio.cluster.broker import backplane, messages, requests, stream
from python_server.socketio.cluster.port import PeerRequest, Question, QuestionKind
from python_server.socketio.rooms import QUESTION_SECONDS
from simulated_deployment import Deployment
from simulated_servers import EVERYBODY, CountedCodec, MachineServer, Member

PAD = "x" * 100  # of an event
CLIENTS_COUNT = 1_000  # of each machine, in one room
ROOM, ROOM_MACHINES_COUNT, ROOM_CLIENTS_COUNT = "few", 3, 5
MISSED_COUNT = 3
TIMES = 5  # each thing is done, by another machine each time
# Until the record of a connected client is saved (SAVE_SECONDS), and a cut is noticed.
SAVED_SECONDS = 6.0


@contextmanager
def counted_wire(counts: Counter[str]) -> Iterator[None]:
    """While this holds, what is written for the broker and read from it is counted."""

    def counting(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **names: Any) -> Any:
            counts[what] += 1
            return function(*args, **names)

        return call

    with ExitStack() as stack:
        for module, name in (
            (backplane, "write_emit"),
            (backplane, "write_command"),
            (requests, "write"),
            (messages, "read"),
            (messages, "_decoded"),
            (stream, "read"),
        ):
            what = "written" if name.startswith("write") else "read"
            stack.enter_context(patch.object(module, name, counting(what, getattr(module, name))))
        yield


@dataclass
class Workload:
    """Things done on one deployment.

    Attributes:
        rows: by what was done, the counts of one time: "in", "in bytes", "out bytes" of the broker, "written"
            and "read" (messages, by all machines together), "encoded" (events, for clients), "delivered".
    """

    deployment: Deployment
    wire: Counter[str]
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    crowds: dict[str, Member] = field(default_factory=dict)

    @property
    def servers(self) -> list[MachineServer]:
        return [*self.deployment.servers.values()]

    def _speakers(self) -> list[MachineServer]:
        servers = self.servers
        return [servers[number * len(servers) // TIMES] for number in range(TIMES)]

    def _counts(self) -> Counter[str]:
        counts = self.deployment.broker.traffic.counts + self.wire
        counts["encoded"] = CountedCodec.encoded_count
        counts["delivered"] = sum(each.crowd.delivered_count for each in self.crowds.values())
        return counts

    def _measured(self, what: str, times: int, do: Callable[[], None]) -> None:
        before = self._counts()
        do()
        self.deployment.settle()
        spent = self._counts()
        spent.subtract(before)
        names = ("in", "in bytes", "out bytes", "written", "read", "encoded", "delivered")
        self.rows[what] = {name: spent[name] / times for name in names}

    def _hold(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise AssertionError(f"{what}: {found!r:.300} instead of {wanted!r:.300}")

    def come(self) -> None:
        """On each machine a crowd in one room; on three of them some in another."""
        rooms: dict[Member, str] = {}
        for number, server in enumerate(self.servers):
            crowd = self.crowds[server.name] = Member(server, count=CLIENTS_COUNT, keeps=False)
            rooms[crowd] = EVERYBODY
            if number < ROOM_MACHINES_COUNT:
                few = self.crowds[f"{server.name} few"] = Member(server, count=ROOM_CLIENTS_COUNT)
                rooms[few] = ROOM
        self.deployment.settle()
        for crowd, room in rooms.items():
            crowd.look()
            crowd.server.enter(crowd, room)
        self.deployment.settle()

    # Events

    def say(self, what: str, room: str, reached_count: int) -> None:
        """One event after the other, by machines apart; so many clients get it."""

        def do() -> None:
            for server in self._speakers():
                server.emit(room, PAD)
                self.deployment.settle()

        self._measured(what, TIMES, do)
        self._hold(what, self.rows[what]["delivered"], reached_count)

    def say_together(self, what: str, count: int) -> None:
        """As many events at one moment, all to everybody; the counts of one of them."""

        def do() -> None:
            servers = self._speakers()
            for number in range(count):
                servers[number % TIMES].emit(EVERYBODY, PAD)

        self._measured(what, count, do)
        self._hold(what, self.rows[what]["delivered"], CLIENTS_COUNT * len(self.servers))

    def say_to_one(self, what: str) -> None:
        """To one client, by machines where it is not."""
        few = self.crowds[f"{self.servers[0].name} few"]
        speakers = [each for each in self._speakers() if each is not few.server] or [few.server]

        def do() -> None:
            for server in speakers:
                server.emit(few.sid, PAD)
                self.deployment.settle()

        self._measured(what, len(speakers), do)
        self._hold(what, self.rows[what]["delivered"], ROOM_CLIENTS_COUNT)

    # Questions

    def _ask(self, server: MachineServer, kind: QuestionKind, data: Any) -> list[Any]:
        found: list[Any] = []
        ended: list[int] = []
        request = PeerRequest(Question(kind, "/", data), found.append, ended.append, QUESTION_SECONDS)
        server.backplane.request(request)
        self.deployment.until(lambda: bool(ended))
        self._hold(f"{kind}, silent machines", ended, [0])
        return [each for part in found for each in part or ()]

    def members(self, what: str, room: str) -> None:
        """Who is in that room, asked of all other machines."""
        crowds = self.crowds.values()

        def do() -> None:
            for server in self._speakers():
                found = self._ask(server, QuestionKind.MEMBERS, room)
                sids = {each.sid for each in crowds if each.server is not server and each.sid}
                here = {sid for sid in sids if any(room == name for name in self._rooms_of(sid))}
                self._hold(what, sorted(found), sorted(here))

        self._measured(what, TIMES, do)

    def _rooms_of(self, sid: str) -> list[Any]:
        owner = next(each.server for each in self.crowds.values() if each.sid == sid)
        return owner.hub.adapters()["/"].rooms_of(sid)

    def rooms_of_one(self, what: str) -> None:
        """The rooms of a client of another machine."""
        few = self.crowds[f"{self.servers[0].name} few"]

        def do() -> None:
            for server in self._speakers()[1:]:
                found = self._ask(server, QuestionKind.ROOMS, few.sid)
                self._hold(what, found, [few.sid, ROOM])

        self._measured(what, TIMES - 1, do)

    # Machines

    def start_one(self, what: str) -> None:
        """One machine more."""

        def do() -> None:
            server = self.deployment.start()
            self.deployment.until(lambda: server.joined)

        self._measured(what, 1, do)

    def nothing(self, what: str, seconds: float) -> None:
        """Nothing is said for so long; the counts of one second."""

        def do() -> None:
            self.deployment.pass_seconds(seconds)

        self._measured(what, 1, do)
        self.rows[what] = {name: count / seconds for name, count in self.rows[what].items()}

    # Returns, where machines share a stream

    def returns(self, what: str, leave: Callable[[Member], None], is_saved: bool = True) -> None:
        """A client is lost on one machine, in a way of its own, and comes to another one: the counts of that,
        without what was said meanwhile. `is_saved`: it was there long enough for a record of it."""
        spent: Counter[str] = Counter()
        servers = self.servers
        times = min(TIMES, len(servers) // 2)
        for here, there in zip(servers[:times], servers[-times:], strict=True):
            client = Member(there)
            self.deployment.settle()
            client.look()
            there.enter(client, EVERYBODY)
            here.emit(EVERYBODY, PAD)
            self.deployment.settle()
            client.look()
            # What is saved of it, for the day its machine dies, is another thing.
            self.deployment.pass_seconds(SAVED_SECONDS if is_saved else 0.0)
            before = self._counts()
            leave(client)
            self.deployment.settle()
            spent.update(self._counts())
            spent.subtract(before)
            said = [(here.name, here.emit(EVERYBODY, PAD)) for _ in range(MISSED_COUNT)]
            self.deployment.settle()
            before = self._counts()
            back = Member(here, {"pid": client.pid, "offset": client.offset})
            self.deployment.until(lambda: back.look() or bool(back.sid))  # noqa: B023
            spent.update(self._counts())
            spent.subtract(before)
            self._hold(what, (back.pid, back.sid), (client.pid, client.sid))
            missed = said if leave is Member.lose or not there.alive else []
            client.look()
            self._hold(what, back.heard[-len(missed) :] if missed else [], missed)
            back.lose()
            self.deployment.settle()
        names = ("in", "in bytes", "out bytes", "written", "read", "encoded", "delivered")
        self.rows[what] = {name: spent[name] / times for name in names}


# What is done, and the page's words for it.
EVENT, ROOM_EVENT, ONE, TOGETHER = (
    "an event to everybody",
    "an event to a room on three machines",
    "an event to one client",
    "an event to everybody, 100 at once",
)
MEMBERS, ROOMS, START, IDLE = (
    "room_members of that room",
    "rooms of one client elsewhere",
    "a machine starts",
    "a second in which nothing is said",
)
RETURN, UNNOTICED, UNSAVED, KILLED = (
    "a client returns to another machine",
    "the same before its machine has noticed",
    "the same, and within its first five seconds",
    "the same after its machine was killed",
)
TOGETHER_COUNT = 100


def play(deployment: Deployment, idle_seconds: float = 10.0) -> dict[str, dict[str, float]]:
    """All that this kind of deployment can do; rows by what was done."""
    wire: Counter[str] = Counter()
    with counted_wire(wire):
        work = Workload(deployment, wire)
        work.come()
        count = len(work.servers)
        few = min(count, ROOM_MACHINES_COUNT) * ROOM_CLIENTS_COUNT
        work.say(ROOM_EVENT, ROOM, few)
        if not deployment.per_room:
            work.say(EVENT, EVERYBODY, CLIENTS_COUNT * count)
            work.say_together(TOGETHER, TOGETHER_COUNT)
            work.say_to_one(ONE)
            if not deployment.broker.streams:
                work.members(MEMBERS, ROOM)
                if count >= TIMES:
                    work.rooms_of_one(ROOMS)
            work.nothing(IDLE, idle_seconds)
            if deployment.broker.streams and count > 1:
                work.returns(RETURN, Member.lose)
                work.returns(UNNOTICED, lambda client: None)
                work.returns(UNSAVED, lambda client: None, is_saved=False)
                work.returns(KILLED, lambda client: deployment.kill(client.server))
            work.start_one(START)
    return work.rows
