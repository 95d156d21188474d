"""In which order the tests are given to several workers, so that the processors of a run are never idle.

It must not know any test: `long` marks those of ten seconds, folders tell what waits from what computes.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, groupby

import pytest

# Tests of one process that wait for nothing: a few milliseconds each.
COMPUTING = ("tests/server/", "tests/wsframe/", "tests/conformance/http/")
# Of each worker's share, the part in which what waits stands between what computes. Only short tests come
# after it: whoever has no more takes some of them, so all workers end together.
MIXED_PART = 0.8

Module = list[pytest.Item]


def modules_of(items: Iterable[pytest.Item]) -> list[Module]:
    """The tests of a module stay together: they share its servers."""
    return [list(module) for _, module in groupby(items, lambda item: item.nodeid.partition("::")[0])]


def share_sizes(count: int, worker_count: int) -> list[int]:
    """How many xdist's `--dist worksteal` gives to each worker at first, from the list's beginning on."""
    sizes: list[int] = []
    for worker in range(worker_count):
        sizes.append((count - sum(sizes)) // (worker_count - worker))
    return sizes


def mixed(waiting: list[Module], computing: list[Module]) -> Iterator[pytest.Item]:
    """Both in their order; each module of what waits comes where its part of what computes is done."""
    count = sum(map(len, computing)) * MIXED_PART
    done_count, begun_count = 0, 0
    for module in computing:
        done_count += len(module)
        while begun_count < len(waiting) and count * begun_count < done_count * len(waiting):
            yield from waiting[begun_count]
            begun_count += 1
        yield from module
    yield from chain.from_iterable(waiting[begun_count:])


def in_shares(items: list[pytest.Item], worker_count: int) -> list[pytest.Item]:
    """Each worker's share begins with as many long ones as another's, and holds as many modules that wait."""
    long: list[pytest.Item] = []
    short: list[pytest.Item] = []
    for item in items:
        (short if item.get_closest_marker("long") is None else long).append(item)
    if worker_count == 1:
        return long + short
    sizes = share_sizes(len(items), worker_count)
    waiting: list[Module] = []
    computing: list[pytest.Item] = []
    for module in modules_of(short):
        if module[0].nodeid.startswith(COMPUTING):
            computing.extend(module)
        else:
            waiting.append(module)
    ordered: list[pytest.Item] = []
    for worker, size in enumerate(sizes):
        first, turns = long[worker::worker_count], waiting[worker::worker_count]
        room = max(0, size - len(first) - sum(map(len, turns)))
        rest, computing = computing[:room], computing[room:]
        ordered.extend(first)
        ordered.extend(mixed(turns, modules_of(rest)))
    return ordered + computing
