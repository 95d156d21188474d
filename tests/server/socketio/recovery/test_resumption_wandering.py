"""Streams of rooms that wander between machines that share a stream lose, double and reorder nothing.

It must not know how a log or an id does it: the model of streams, pipes and machines says what each is owed.
"""

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.resumption import Hole, Resumption
from python_server.socketio.recovery.stream_restore import StreamRestorer
from stream_model import Client, Model, Worker
from stream_walks import OPTIONS, explore, often, toss

NAMES = often({"emit": 5, "flush": 3, "read": 3, "pipe": 6, "take": 3, "lose": 3, "look": 2})
RARE = ("wait", "replace", "drop", "answer", "answer")


class Services:
    """A clock, and what is to be looked at once more."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.later: list[Callable[[], None]] = []

    def now(self) -> float:
        return self.model.now

    def call_later(self, seconds: float, function: Callable[[], None]) -> Any:
        if seconds < 1.0:
            self.later.append(function)
        return SimpleNamespace(cancel=lambda: None)

    def between(self, begin: int, end: int, told: Callable[[list[Envelope]], None]) -> None:
        stream = self.model.stream
        told([each._replace(place=place) for place, _, each in stream if begin < place <= end])


def resumption_of(worker: Worker) -> tuple[Resumption, Services]:
    services: Any = Services(worker.model)
    restorer = StreamRestorer(worker.log, services, services, lambda socket: {})
    services.later.clear()
    return Resumption(services, worker.log, restorer), services


class Listener(Client):
    """An EventSource for the room "fixed", and for all: what it has got behind its last id comes again."""

    namespace, room = "/", "fixed"
    last_id: str | None
    sure_count: int
    waits: tuple[Worker, Resumption, Services] | None
    coming: deque[Any]

    def begin(self, worker: Worker) -> None:
        super().begin(worker)
        self.last_id, self.sure_count, self.waits = None, 0, None

    def go_live(self, worker: Worker) -> None:
        self.worker, self.goal, self.rooms = worker, None, {"fixed": 0}
        self.holes_count = worker.log.holes_count
        worker.clients[self.sid] = self
        self.coming.append((None, self.id_there()))

    def come(self, worker: Worker, record: Any, rooms: list[Any]) -> None:
        self.go_live(worker)

    def id_there(self) -> str:
        assert self.worker is not None
        return resumption_of(self.worker)[0].id_of("/", "fixed")

    def send(self, name: str) -> None:
        assert self.worker is not None
        if self.holes_count == self.worker.log.holes_count:  # else it was sent away
            self.coming.append((name, self.id_there()))
            self.sent.add(name)

    def take(self, count: int) -> None:
        for _ in range(min(count, len(self.coming))):
            name, id = self.coming.popleft()
            if name is not None:
                self.got.append(name)
            if id:
                self.last_id, self.sure_count = id, len(self.got)

    def lose(self) -> None:
        worker = self.worker
        assert worker is not None
        # A gap that the stream has not told yet: nobody can know.
        places = {str(envelope.offset): place for place, _, envelope in reversed(worker.model.stream)}
        behind = worker.log.place + 1
        self.unowed |= {name for name in worker.dropped if places.get(name, behind) >= behind}
        self.coming.clear()
        del self.got[self.sure_count :]
        del self.worker.clients[self.sid]
        self.worker = None

    def look(self) -> None:
        if self.worker is not None and self.holes_count != self.worker.log.holes_count:
            goal = self.worker
            self.take(10**9)
            self.lose()
            self.goal = goal
        worker = self.goal
        if worker is None or worker.dead:
            return
        if self.last_id is None:
            self.begin(worker)
        elif self.waits is not None and self.waits[0] is worker:
            later, self.waits[2].later = self.waits[2].later, []
            for look in later:
                look()
        else:
            self.waits = (worker, *resumption_of(worker))
            self.waits[1].find(self, lambda found: self.told(worker, found))  # type: ignore[arg-type]

    def told(self, worker: Worker, found: list[Envelope] | Hole) -> None:
        self.waits = None
        if isinstance(found, Hole):
            self.begin(worker)
            return
        self.returns_count += 1
        self.coming += [(str(each.offset), "") for each in found]
        self.sent.update(str(each.offset) for each in found)
        self.go_live(worker)

    def move(self) -> None:
        """It has one room."""


class Listened(Model):
    """With streams in the place of clients."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for worker in self.all:
            worker.clients.clear()
        self.clients = [Listener(""), Listener("")]
        for number, client in enumerate(self.clients):
            client.begin(self.all[number])
            client.take(1)  # its first id

    @staticmethod
    def owes(client: Client, worker: Worker, name: str) -> bool:
        envelope = next(each for each in worker.said if each.offset == name)
        return not envelope.excepted and (envelope.rooms is None or "fixed" in envelope.rooms)


@OPTIONS
def test_wandering_streams_lose_double_and_reorder_nothing(options: dict[str, Any]) -> None:
    explore(lambda: Listened(**options), [*NAMES, *RARE], 60)


def test_most_come_back_as_what_they_were() -> None:
    """Where nobody dies and nothing is dropped, all do."""
    returns_count = 0
    for model in toss(Listened, NAMES):
        assert [client.news_count for client in model.clients] == [1, 1]
        returns_count += sum(client.returns_count for client in model.clients)
    assert returns_count > 200
