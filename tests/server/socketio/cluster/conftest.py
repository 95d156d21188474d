"""Several workers' hubs joined in one process, each with clients, jobs and a clock of its own.

It must not know how they are joined: a `Joint` gives each its backplane and carries what is under way.
"""

import itertools
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import pytest
import redis

from joined_peers import joined
from python_server.engineio.session_ids import SessionIds
from python_server.net.loop import Loop
from python_server.socketio.cluster.broker.backplane import BrokerBackplane, BrokerServices
from python_server.socketio.cluster.broker.leader import Lead, Place
from python_server.socketio.cluster.broker.messages import AnsweredQuestion
from python_server.socketio.cluster.pipe_backplane import PipeBackplane
from python_server.socketio.cluster.port import Backplane, BrokerOptions, NoBackplane
from python_server.socketio.recovery.event_names import ForeignEventNames
from python_server.socketio.recovery.log import RecoveryLog
from python_server.workers.peers import Peers


class Joint(Protocol):
    """What joins the workers of a cluster; a test file of a backplane brings its own.

    Attributes:
        name: the test's id. reported, complaints: what any worker would have logged.
    """

    name: str
    reported: list[str]
    complaints: Counter[str]

    def backplane(self, index: int, world: Any) -> Backplane: ...
    def pump(self) -> None:
        """Carry one step further what is under way; when called often enough, all of it."""

    def lose(self, index: int) -> None:
        """The worker is gone at once, as if killed."""

    def close(self) -> None: ...


class Pipes:
    """The workers of one machine on one loop.

    Args:
        logs: of the workers that keep what is said, by index; filled by the test as the workers are made.
    """

    name = "pipes"

    def __init__(
        self,
        workers_count: int,
        max_queued_bytes: int = 1_000_000,
        logs: dict[int, RecoveryLog | None] | None = None,
    ) -> None:
        self._logs = {} if logs is None else logs
        self.reported: list[str] = []
        self.complaints: Counter[str] = Counter()
        self.loop = Loop(self._report)
        self.siblings = [
            Peers(
                self.loop,
                index,
                self._report,
                self.complain,
                max_queued_bytes=max_queued_bytes,
            )
            for index in range(workers_count)
        ]
        joined(*self.siblings)
        self.pump()

    def _report(self, what: str, error: BaseException) -> None:
        self.reported.append(f"{what}: {error!r}")

    def complain(self, kind: str, message: str) -> None:
        self.complaints[kind] += 1

    def backplane(self, index: int, world: Any) -> Backplane:
        siblings, log = self.siblings[index], self._logs.get(index)
        return PipeBackplane(siblings, "/socket.io/", world.call_later, self.complain, log)

    def pump(self) -> None:
        for _ in range(4):
            self.loop.run_once(0)

    def lose(self, index: int) -> None:
        self.siblings[index].close()

    def close(self) -> None:
        for each in self.siblings:
            each.close()
        self.pump()
        self.loop.close()


class Machines:
    """Workers joined by a real broker, some of them of one machine and joined by pipes too."""

    name = "redis"
    workers_per_machine = 1
    FENCE_SECONDS = 30.0

    def __init__(self, workers_count: int, url: str, per_room: bool = False) -> None:
        per_machine = self.workers_per_machine
        self._options = BrokerOptions(url, f"test-{uuid.uuid4().hex}", per_room)
        self.backplanes: list[BrokerBackplane] = []
        self.said: list[str] = []
        self.pipes = [
            Pipes(min(per_machine, workers_count - first)) for first in range(0, workers_count, per_machine)
        ]
        self.hosts = [uuid.uuid4().hex for _ in self.pipes]
        self.reported: list[str] = []
        self.complaints: Counter[str] = Counter()
        # What the threads of each worker have posted, to be called by the test's thread.
        self._posted: list[deque[Any]] = [deque() for _ in range(workers_count)]
        self._fences: set[tuple[int, int | None]] = set()
        self._heard = threading.Condition()
        self._connection = redis.Redis.from_url(url)
        self._numbers = itertools.count(1)

    def complain(self, kind: str, message: str) -> None:
        self.complaints[kind] += 1

    def _post(self, index: int, function: Any, *args: Any, nbytes: int = 0) -> None:
        with self._heard:
            self._posted[index].append((function, args))
            for taken in args:
                if type(taken) is list:
                    self._fences.update(
                        (index, came.id) for came in taken if isinstance(came, AnsweredQuestion)
                    )
            self._heard.notify_all()

    def backplane(self, index: int, world: Any) -> Backplane:
        machine, place = divmod(index, self.workers_per_machine)
        pipes = self.pipes[machine]
        alone = self.workers_per_machine == 1
        inner = NoBackplane() if alone else pipes.backplane(place, world)
        siblings = pipes.siblings[place]
        names = ForeignEventNames(time.monotonic)
        services = BrokerServices(
            lambda *args, **options: self._post(index, *args, **options),
            world.call_later,
            self.complain,
            lambda what, error: self.reported.append(f"{what}: {error!r}"),
            self.said.append,
            self.said.append,
            lambda: world.hub.codec,
            lambda: None if world.hub.recovery is None else names.make,
            names.begin_series,
        )
        backplane = BrokerBackplane(
            self._options,
            inner,
            Place(self.hosts[machine], place, siblings.leader, succeeds=siblings.any_unnoticed),
            services,
        )
        siblings.on_changed(backplane.look)
        self._in_turn(backplane)
        self.backplanes.append(backplane)
        return backplane

    def _in_turn(self, backplane: Any) -> None:
        """What one worker says before another speaks reaches the broker before: the tests count on it."""
        publisher = backplane._publisher
        queue = publisher.publish

        def publish(*arguments: Any) -> None:
            queue(*arguments)
            if backplane._status.connected and not publisher.closed:
                assert publisher.flush(self.FENCE_SECONDS)

        publisher.publish = backplane._requests.publish = backplane._handler.publish = publish

    def pump(self) -> None:
        """All that was published before is heard by all when this returns; each machine has a leader."""
        self._pump()
        while any(self._unsettled(backplane) for backplane in self.backplanes):
            self._pump()

    @staticmethod
    def _unsettled(backplane: BrokerBackplane) -> bool:
        expected = {Lead.LEADING} if backplane._place.leads() else {Lead.IDLE, Lead.LEAVING}
        return not backplane._publisher.closed and backplane._leadership.state not in expected

    def _pump(self) -> None:
        for pipes in self.pipes:
            pipes.pump()
        self._drain()
        for backplane in self.backplanes:
            if not backplane._publisher.closed:
                assert backplane._publisher.flush(self.FENCE_SECONDS)
        fences = set()
        for index, backplane in enumerate(self.backplanes):
            if not backplane._subscriber.closed:
                number = -next(self._numbers)
                fences.add((index, number))
                while not self._connection.publish(backplane._channels.inbox, b'{"id":%d}' % number):
                    pass  # it has not subscribed yet
        with self._heard:
            assert self._heard.wait_for(lambda: fences <= self._fences, self.FENCE_SECONDS), self.said
            self._fences -= fences
        self._drain()

    def _drain(self) -> None:
        for posted in self._posted:
            while posted:
                function, args = posted.popleft()
                function(*args)

    def lose(self, index: int) -> None:
        backplane = self.backplanes[index]
        for link in (backplane._publisher, backplane._subscriber):
            link.close()
            link.join(self.FENCE_SECONDS)
        machine, place = divmod(index, self.workers_per_machine)
        self.pipes[machine].lose(place)

    def close(self) -> None:
        for backplane in self.backplanes:
            backplane.close()
            backplane._publisher.join(self.FENCE_SECONDS)
            backplane._subscriber.join(self.FENCE_SECONDS)
        for pipes in self.pipes:
            pipes.close()
            self.reported += pipes.reported
        self._connection.close()


class Mixed(Machines):
    """Two workers on each machine."""

    name = "pipes and redis"
    workers_per_machine = 2


class Cluster:
    """Worlds (see conftest), one per worker.

    Args:
        joint: joins them. make_world: makes one. options: of every hub.
    """

    def __init__(self, joint: Joint, make_world: Callable[..., Any], count: int, **options: Any) -> None:
        self.joint = joint
        self.worlds: list[Any] = []
        for index in range(count):
            world = make_world(
                make_backplane=lambda world, index=index: joint.backplane(index, world),
                names=SessionIds(index),
                **{name: make() for name, make in options.items()},
            )
            world.hub.handlers.allow("*")
            self.worlds.append(world)
        joint.pump()  # all have met before anybody speaks

    def settle(self, rounds: int = 6) -> None:
        """Until all that was said has been heard, answered, and its answers heard."""
        for _ in range(rounds):
            for world in self.worlds:
                world.run()
            self.joint.pump()
        for world in self.worlds:
            world.run()

    def ask(self, question: Callable[[], Any], meanwhile: Callable[[], Any] = lambda: None) -> Any:
        """`question()` on a thread of its own, while the workers go on; its result, or what it raised."""
        results: list[Any] = []

        def work() -> None:
            try:
                results.append((question(), None))
            except BaseException as error:
                results.append((None, error))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while not results:
            self.settle(1)
            meanwhile()
        thread.join()
        for world in self.worlds:
            world.run()  # what the thread said last
        value, error = results[0]
        if error is not None:
            raise error
        return value

    def advance(self, seconds: float) -> None:
        for world in self.worlds:
            world.advance(seconds)
        self.settle()

    @property
    def unexpected(self) -> list[Any]:
        """What was reported anywhere: a fault."""
        return [*self.joint.reported, *(error for world in self.worlds for _, error in world.reports)]


class Many:
    """Makes clusters and closes them."""

    def __init__(self, make_joint: Callable[..., Joint], make_world: Callable[..., Any]) -> None:
        self._make_joint = make_joint
        self._make_world = make_world
        self.made: list[Cluster] = []

    def __call__(self, count: int = 3, joint: dict[str, Any] | None = None, **options: Any) -> Cluster:
        cluster = Cluster(self._make_joint(count, **(joint or {})), self._make_world, count, **options)
        self.made.append(cluster)
        return cluster

    def close(self) -> None:
        while self.made:
            self.made.pop().joint.close()


# Every way of joining workers, to be held to the same tests.
JOINTS: list[Any] = [Pipes, Machines, Mixed]


@pytest.fixture(params=JOINTS, ids=lambda joint: joint.name)
def make_cluster(request: Any, make_world: Any) -> Iterator[Many]:
    joint = request.param
    if joint is not Pipes:
        joint = partial(joint, url=request.getfixturevalue("redis_server").url)
    many = Many(joint, make_world)
    yield many
    many.close()


@pytest.fixture
def cluster(make_cluster: Many) -> Iterator[Cluster]:
    """Three workers; nothing may be reported."""
    cluster = make_cluster(3)
    yield cluster
    assert cluster.unexpected == []


@pytest.fixture
def make_pipes() -> Iterator[Callable[[int], Pipes]]:
    made: list[Pipes] = []

    def make(workers_count: int) -> Pipes:
        made.append(Pipes(workers_count))
        return made[-1]

    yield make
    for pipes in made:
        pipes.close()


@pytest.fixture
def machines(redis_server: Any, make_world: Any) -> Iterator[Many]:
    many = Many(partial(Machines, url=redis_server.url), make_world)
    yield many
    many.close()


@pytest.fixture
def piped(make_world: Any) -> Iterator[Many]:
    many = Many(Pipes, make_world)
    yield many
    many.close()
