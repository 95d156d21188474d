"""Two machines that share a stream, their pipes and their clients, as a model that drives the logs alone.

It must not know sockets or processes; every way is as slow as a test likes.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from python_server.engineio.packet import Prepared
from python_server.socketio.cluster.port import Envelope, StreamBegun, StreamMarks
from python_server.socketio.recovery.stream_log import SIBLING_SECONDS, LeftRoom, Reach, StreamLog
from python_server.socketio.recovery.stream_record import VERSION, StreamRecord, sign, verify

WORKERS = 2  # of each of two machines


class Worker:
    """A log, its clients, what it has to say to the stream and to each sibling."""

    def __init__(self, model: "Model", machine: int) -> None:
        self.model, self.machine = model, machine
        self.log = StreamLog(1000.0, model.max_bytes)
        self.log.is_private = lambda envelope: (
            envelope.rooms is not None and all(room in self.clients for room in envelope.rooms)
        )
        self.clients: dict[str, Client] = {}
        self.outbox: deque[Envelope] = deque()
        self.pipes: dict[Worker, deque[Any]] = {}  # to those whom it knows
        self.said: list[Envelope] = []
        self.private: set[str] = set()
        self.heard: set[str] = set()
        self.last = ""
        self.dead = False
        self.held: deque[Envelope] = deque()  # named by a thread, which is late
        self.dropped: set[str] = set()  # by a sibling whose pipe was full
        self.asked: list[Worker] = []  # which are to tell it what they had said before they knew it
        self.told: list[Any] = []

    def emit(self, rooms: Any, excepted: Any = (), held: bool = False) -> None:
        name = self.log.next_offset()
        envelope = Envelope("/", rooms, excepted, Prepared([name]), name)
        if held:
            self.held.append(envelope)
        else:
            self.post(envelope)

    def post(self, envelope: Envelope) -> None:
        name = str(envelope.offset)
        self.said.append(envelope)
        private = self.log.is_private(envelope)
        self.log.append(envelope, self.model.now)
        self.deliver(envelope)
        if private:
            self.private.add(name)
        else:
            self.last = name
            self.tell(envelope)
            self.outbox.append(envelope)

    def tell(self, message: Any) -> None:
        for pipe in self.pipes.values():
            pipe.append(message)

    def receive(self, message: Any) -> None:
        if isinstance(message, Envelope):
            heard = self.log.hear(message, self.model.now)
            if heard is not None:
                self.deliver(heard)
        elif isinstance(message, tuple):
            self.told.append(message)
            if len(self.told) == len(self.asked):
                place, last = max(place for place, _ in self.told), [last for _, last in self.told if last]
                self.log.reached(StreamBegun(place, last), self.model.now)
        else:
            self.log.reached(message, self.model.now)

    def deliver(self, envelope: Envelope) -> None:
        self.heard.add(str(envelope.offset))
        for client in self.clients.values():
            if (envelope.rooms is None or any(room in client.rooms for room in envelope.rooms)) and not any(
                room in client.rooms for room in envelope.excepted
            ):
                client.send(str(envelope.offset))


@dataclass(eq=False)
class Client:
    """As the official one: it keeps its offset, and what it has got."""

    sid: str
    worker: Worker | None = None
    record: StreamRecord | None = None
    stored: bytes | None = None
    rooms: dict[Any, int] = field(default_factory=dict)
    entered: dict[Any, int] = field(default_factory=dict)
    left: list[LeftRoom] = field(default_factory=list)
    joined_position: int = 0
    holes_count: int = 0
    last_offset: str | None = None
    offset: str | None = None
    coming: deque[str] = field(default_factory=deque)
    got: list[str] = field(default_factory=list)
    sent: set[str] = field(default_factory=set)
    unowed: set[str] = field(default_factory=set)
    goal: Worker | None = None
    news_count: int = 0
    returns_count: int = 0

    def send(self, name: str) -> None:
        self.last_offset = name
        self.coming.append(name)
        self.sent.add(name)

    def take(self, count: int) -> None:
        for _ in range(min(count, len(self.coming))):
            self.offset = self.coming.popleft()
            self.got.append(self.offset)

    def come(self, worker: Worker, record: StreamRecord, rooms: list[Any]) -> None:
        position = worker.log.events.position
        self.worker, self.record, self.goal, self.stored = worker, record, None, None
        self.rooms = dict.fromkeys(rooms, position)
        self.entered, self.left = dict(self.rooms), []
        self.joined_position, self.holes_count = position, worker.log.holes_count
        worker.clients[self.sid] = self

    def begin(self, worker: Worker) -> None:
        """As a new client."""
        model = worker.model
        self.sid = f"sid{next(model.numbers)}"
        self.got, self.sent, self.last_offset, self.offset = [], set(), None, None
        self.coming.clear()
        self.unowed = worker.heard | worker.dropped
        self.news_count += 1
        self.come(worker, StreamRecord(VERSION, "/", self.sid, "P"), [self.sid, "fixed"])

    def move(self) -> None:
        assert self.worker is not None
        position = self.worker.log.events.position
        if "x" in self.rooms:
            del self.rooms["x"]
            self.left.append(LeftRoom("x", self.entered.pop("x"), position))
        else:
            self.rooms["x"] = self.entered["x"] = position

    def lose(self) -> None:
        worker, log = self.worker, self.worker.log  # type: ignore[union-attr]
        assert worker is not None
        assert self.record is not None
        self.coming.clear()
        del worker.clients[self.sid]
        self.worker, self.stored = None, None
        if worker.dead or self.holes_count != log.holes_count or not log.has_begun:
            return
        # A gap that the stream has not told yet: nobody can know.
        places = {str(envelope.offset): place for place, _, envelope in reversed(worker.model.stream)}
        self.unowed |= {name for name in worker.dropped if places.get(name, log.place + 1) > log.place}
        record = self.record
        record.rooms = [*self.rooms]
        log.snapshot(record, self.rooms, self.left, self.joined_position, self.last_offset)
        self.stored = sign(record, b"secret")

    def look(self) -> None:
        """Come back where it wants to go, as soon as that can be."""
        worker = self.goal
        if worker is None or worker.dead:
            return
        if self.stored is None:
            self.begin(worker)
            return
        log, model = worker.log, worker.model
        record = verify(self.stored, "P", b"secret")
        missed = log.missed(record, self.offset)
        for _ in range(3):
            if missed is Reach.EARLIER:
                begin, end = log.lacks
                entries = [
                    envelope._replace(place=place)
                    for place, _, envelope in model.stream
                    if begin < place <= end
                ]
                log.remember(begin, end, entries, model.now)
                missed = log.missed(record, self.offset)
        assert missed is not Reach.EARLIER
        if missed is Reach.LATER:
            return
        if isinstance(missed, Reach):
            self.begin(worker)
            return
        self.returns_count += 1
        self.last_offset = self.offset
        for envelope in missed:
            self.send(str(envelope.offset))
        log.take_over(record, missed, model.now)
        record.sent_last = [self.offset, *(envelope.offset for envelope in missed)]
        self.come(worker, record, record.rooms)


class Model:
    """Two machines, one stream."""

    def __init__(
        self, clients_count: int = 2, workers: int = WORKERS, max_bytes: int = 1_000_000, repeats: bool = True
    ) -> None:
        self.max_bytes, self.repeats = max_bytes, repeats
        self.now = 1000.0
        self.numbers = iter(range(10**9))
        self.stream: list[tuple[int, int, Envelope]] = []
        self.machines: list[list[Worker]] = [[Worker(self, m) for _ in range(workers)] for m in (0, 1)]
        self.begins = [1, 1]
        self.all = [worker for machine in self.machines for worker in machine]
        for machine in self.machines:
            for worker in machine:
                worker.pipes = {other: deque() for other in machine if other is not worker}
                worker.log.reached(StreamBegun(1), self.now)
                worker.log.reached(StreamMarks(1, 1), self.now)
        self.questions: deque[Any] = deque()
        self.clients = [Client("") for _ in range(clients_count)]
        for number, client in enumerate(self.clients):
            client.begin(self.all[number % len(self.all)])

    def flush(self, worker: Worker, count: int, answered: bool = True) -> None:
        """A worker's publisher adds to the stream; what is not answered will be added once more."""
        taken = [*worker.outbox][:count]
        for envelope in taken:
            self.stream.append((len(self.stream) + 2, worker.machine, envelope))
        if answered:
            for _ in taken:
                worker.outbox.popleft()

    def read(self, machine: int, count: int) -> None:
        """The leader reads on."""
        leader, begin = self.machines[machine][0], self.begins[machine]
        batch = [entry for entry in self.stream if entry[0] > begin][:count]
        if not batch:
            return
        own: dict[str, int] = {}
        foreign_count = 0
        for place, home, envelope in batch:
            if home == machine:
                own.setdefault(str(envelope.offset), place)
            else:
                placed = envelope._replace(place=place)
                leader.receive(placed)
                leader.tell(placed)
                foreign_count += 1
        end = self.begins[machine] = batch[-1][0]
        marks = StreamMarks(begin, end, own, foreign_count)
        leader.tell(marks)
        leader.receive(marks)

    def step(self, sender: Worker, receiver: Worker, count: int) -> None:
        pipe = sender.pipes.get(receiver, deque())
        for _ in range(min(count, len(pipe))):
            receiver.receive(pipe.popleft())

    def replace(self, machine: int) -> None:
        """The last worker dies, with what it had not said; another one is born."""
        former = self.machines[machine].pop()
        for client in [*former.clients.values()]:
            former.dead = True
            client.lose()
        former.dead = True
        self.all.remove(former)
        for other in self.machines[machine]:
            del other.pipes[former]
        young = Worker(self, machine)
        siblings = self.machines[machine]
        young.pipes = {other: deque() for other in siblings}
        siblings.append(young)
        self.all.append(young)
        for other in siblings[:-1]:
            other.pipes[young] = deque()
            young.asked.append(other)
            self.questions.append((other, young, other.last))
            young.heard.update(str(envelope.offset) for envelope in other.said)
        young.heard.update(
            str(envelope.offset) for at, _, envelope in self.stream if at <= self.begins[machine]
        )
        siblings[0].pipes[young].append(StreamMarks(self.begins[machine], self.begins[machine]))

    def answer(self) -> None:
        if self.questions:
            other, young, last = self.questions.popleft()
            self.flush(other, 10**9)
            if young in other.pipes:
                other.pipes[young].append((self.stream[-1][0] if self.stream else 1, last))

    def flow(self) -> None:
        for _ in range(3):
            while self.questions:
                self.answer()
            for worker in self.all:
                self.flush(worker, 10**9)
            for machine in (0, 1):
                self.read(machine, 10**9)
            for worker in self.all:
                for other in [*worker.pipes]:
                    self.step(worker, other, 10**9)
            for client in self.clients:
                client.look()

    def act(self, what: str, one: int, two: int) -> None:
        worker = self.all[one % len(self.all)]
        client = self.clients[one % len(self.clients)]
        if what == "emit":
            target = (None, ("fixed",), ("x",), (client.sid,))[two % 4]
            worker = self.all[(one // 2) % len(self.all)]
            worker.emit(target, ("x",) if two == 4 else ())
        elif what == "name":
            worker.emit((None, ("fixed",))[two % 2], held=True)
        elif what == "post" and worker.held:
            worker.post(worker.held.popleft())
        elif what == "drop":
            receiver = [*worker.pipes][two % len(worker.pipes)]
            pipe = worker.pipes[receiver]
            if pipe and isinstance(pipe[0], Envelope) and not pipe[0].place and receiver.log.has_begun:
                receiver.dropped.add(str(pipe.popleft().offset))
        elif what == "answer":
            self.answer()
        elif what == "flush":
            self.flush(worker, 1 + two, answered=two != 1 or not self.repeats)
        elif what == "read":
            self.read(one % 2, 1 + two)
        elif what == "pipe":
            self.step(worker, [*worker.pipes][two % len(worker.pipes)], 1 + two // 2)
        elif what == "take":
            client.take(1 + two)
        elif what == "lose" and client.worker is not None:
            client.lose()
        elif what == "lose" and (client.goal is None or client.goal.dead):
            client.goal = self.all[two % len(self.all)]
            client.look()
        elif what == "look":
            client.look()
        elif what == "move" and client.worker is not None:
            client.move()
        elif what == "wait":
            if two == one:  # nothing stays on its way for so long
                self.flow()
                self.now += SIBLING_SECONDS + 1.0
            worker.log.sweep(self.now)
        elif what == "replace" and one == two:
            self.replace(one % 2)

    def check(self) -> None:
        """Each has got, of each sender, all it is owed, in order."""
        for worker in self.all:
            while worker.held:
                worker.post(worker.held.popleft())
        self.flow()
        self.now += SIBLING_SECONDS + 1.0
        for client in self.clients:
            if client.worker is None and (client.goal is None or client.goal.dead):
                client.goal = self.all[0]
        self.flow()
        for client in self.clients:
            if client.worker is None:  # it waited too long
                client.begin(client.goal)
        for client in self.clients:
            assert client.worker is not None, "never came back"
            client.take(10**9)
            assert len(set(client.got)) == len(client.got), "doubled"
            for worker in self.all:
                self.check_sender(client, worker)

    def check_sender(self, client: Client, worker: Worker) -> None:
        assert client.worker is not None
        client.unowed |= client.worker.dropped
        names = [str(each.offset) for each in worker.said if each.offset not in client.unowed]
        got = [name for name in client.got if name in set(names)]
        owed = [name for name in names if name in client.sent or self.owes(client, worker, name)]
        assert got == [name for name in names if name in set(got)], "reordered"
        assert not set(owed) - set(got), "a hole"

    @staticmethod
    def owes(client: Client, worker: Worker, name: str) -> bool:
        envelope = next(each for each in worker.said if each.offset == name)
        rooms = {client.sid, "fixed"}
        return (
            name not in worker.private
            and not envelope.excepted
            and (envelope.rooms is None or not rooms.isdisjoint(envelope.rooms))
        )
