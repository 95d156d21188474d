"""The order in which several workers get the tests: none is lost, long ones are first, modules stay whole.

It must not know how long a test takes.
"""

from itertools import groupby
from types import SimpleNamespace

import pytest
from xdist.scheduler import WorkStealingScheduling

from worker_shares import in_shares, share_sizes

COUNTS = (2, 3, 4, 5)
# The tests of each file: those that are marked long, and all others.
FILES = {
    "tests/conformance/test_peers.py": (1, 0),
    "tests/e2e/test_few.py": (0, 3),
    "tests/e2e/test_many.py": (2, 30),
    "tests/e2e/test_some.py": (5, 12),
    "tests/faults/test_one.py": (0, 1),
    "tests/server/net/test_quick.py": (0, 250),
    "tests/server/test_quicker.py": (1, 99),
    "tests/wsframe/test_quickest.py": (0, 400),
}


class Listener:
    """Of a worker what the scheduler needs: it remembers what it was given."""

    shutting_down = False

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.given: list[int] = []

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.given += numbers


@pytest.mark.parametrize("worker_count", COUNTS)
@pytest.mark.parametrize("count", [40, 43, 15_701])
def test_the_sizes_are_those_of_xdist(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, count: int, worker_count: int
) -> None:
    monkeypatch.setattr(request.config.option, "tx", ["popen"] * worker_count)
    scheduler = WorkStealingScheduling(request.config)
    workers = [Listener(f"gw{number}") for number in range(worker_count)]
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, [str(number) for number in range(count)])
    scheduler.schedule()
    assert [len(worker.given) for worker in workers] == share_sizes(count, worker_count)
    assert [number for worker in workers for number in worker.given] == list(range(count))


def made_tests(session: pytest.Session, name: str, long_count: int, count: int) -> list[pytest.Item]:
    module = pytest.Module.from_parent(session, path=session.config.rootpath / name)
    tests = [
        pytest.Function.from_parent(module, name=f"test_{number}", callobj=lambda: None)
        for number in range(long_count + count)
    ]
    for test in tests[:long_count]:
        test.add_marker("long")
    return list(tests)


@pytest.fixture(scope="module")
def items(request: pytest.FixtureRequest) -> list[pytest.Item]:
    return [item for name, counts in FILES.items() for item in made_tests(request.session, name, *counts)]


def shares(items: list[pytest.Item], worker_count: int) -> list[list[pytest.Item]]:
    """What each worker gets."""
    ordered = iter(in_shares(items, worker_count))
    return [[next(ordered) for _ in range(size)] for size in share_sizes(len(items), worker_count)]


def is_long(item: pytest.Item) -> bool:
    return item.get_closest_marker("long") is not None


@pytest.mark.parametrize("worker_count", COUNTS)
def test_each_test_is_given_once(items: list[pytest.Item], worker_count: int) -> None:
    for some in (items, items[:1], items[40:60], items[-300:]):  # a part may be all of one kind
        assert sorted(item.nodeid for item in in_shares(some, worker_count)) == sorted(
            item.nodeid for item in some
        )


@pytest.mark.parametrize("worker_count", COUNTS)
def test_the_long_ones_are_dealt_and_begin_each_share(items: list[pytest.Item], worker_count: int) -> None:
    counts = []
    for share in shares(items, worker_count):
        kinds = [(kind, len(list(group))) for kind, group in groupby(map(is_long, share))]
        assert [kind for kind, _ in kinds] == [True, False]
        counts.append(kinds[0][1])
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("worker_count", COUNTS)
def test_a_module_that_starts_servers_has_one_worker(items: list[pytest.Item], worker_count: int) -> None:
    """Its tests follow each other; and the end of each share is what computes."""
    for name in FILES:
        if not name.startswith(("tests/server/", "tests/wsframe/")):
            holders = [
                [place for place, item in enumerate(share) if item.path.match(name) and not is_long(item)]
                for share in shares(items, worker_count)
            ]
            places = next(filter(None, holders), [])
            assert len(list(filter(None, holders))) <= 1
            assert places == list(range(places[0], places[0] + len(places))) if places else True
    for share in shares(items, worker_count):
        assert {item.nodeid.split("/")[1] for item in share[-10:]} <= {"server", "wsframe"}
