"""Several workers' hubs joined in one process, each with clients, jobs and a clock of its own.

It must not know how they are joined: a `Joint` gives each its backplane and carries what is under way.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from python_server.engineio.sids import Names
from python_server.net.loop import Loop
from python_server.siblings import Siblings, joined
from python_server.socketio.backplane import Backplane
from python_server.socketio.pipe_backplane import PipeBackplane


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
    """The workers of one machine on one loop."""

    name = "pipes"

    def __init__(self, workers_count: int, max_queued_bytes: int = 1_000_000) -> None:
        self.reported: list[str] = []
        self.complaints: Counter[str] = Counter()
        self.loop = Loop(self._report)
        self.siblings = [
            Siblings(
                self.loop,
                index,
                "machine",
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
        return PipeBackplane(self.siblings[index], "/socket.io/", world.call_later, self.complain)

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
                names=Names(index),
                **{name: make() for name, make in options.items()},
            )
            world.hub.handlers.open.add("*")
            self.worlds.append(world)

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
JOINTS: list[Callable[..., Joint]] = [Pipes]


@pytest.fixture(params=JOINTS, ids=lambda joint: joint.name)
def make_cluster(request: Any, make_world: Any) -> Iterator[Many]:
    many = Many(request.param, make_world)
    yield many
    many.close()


@pytest.fixture
def cluster(make_cluster: Many) -> Iterator[Cluster]:
    """Three workers; nothing may be reported."""
    cluster = make_cluster(3)
    yield cluster
    assert cluster.unexpected == []


@pytest.fixture
def piped(make_world: Any) -> Iterator[Many]:
    many = Many(Pipes, make_world)
    yield many
    many.close()
