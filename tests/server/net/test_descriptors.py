"""The soft limit of descriptors, raised in processes of their own, and what of it is for connections.

It must not know a server, or the limits of this machine.
"""

import json
import subprocess
import sys
from typing import Any

import pytest

from python_server.net import descriptors

resource = pytest.importorskip("resource")

PROGRAM = """
import json, os, resource, sys
from python_server.net.descriptors import allow_descriptors

def soft():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

soft_before, hard, connections = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft_before, hard))
said = []
allow_descriptors(connections, said.append)
receive, send = os.pipe()
child = os.fork()
if child == 0:
    os.write(send, b"%d" % soft())
    os._exit(0)
os.waitpid(child, 0)
print(json.dumps([soft(), int(os.read(receive, 99)), said]))
"""


def run(soft: int, hard: int, connections_count: int | None) -> Any:
    """The soft limit afterwards, that of a forked child, and what was said."""
    given = json.dumps([soft, hard, connections_count])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, given], capture_output=True, text=True, check=True, cwd="/"
    )
    return json.loads(done.stdout)


def test_it_is_raised_to_the_hard_limit_and_a_forked_child_has_the_former_one() -> None:
    assert run(64, 1000, None) == [1000, 64, []]


def test_it_is_raised_to_what_the_connections_need() -> None:
    assert run(64, 1000, 100) == [356, 64, []]


def test_a_limit_that_is_high_enough_is_left_alone() -> None:
    assert run(500, 1000, 100) == [500, 500, []]


def test_a_hard_limit_that_is_too_low_is_named_with_the_option() -> None:
    soft, child, said = run(64, 1000, 5000)
    assert (soft, child) == (1000, 64)
    (sentence,) = said
    assert "--limit-concurrency 5000 needs 5256 descriptors, the hard limit allows 1000" in sentence


@pytest.fixture(autouse=True)
def all_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "WATCHED_MAX_COUNT", None)


@pytest.mark.parametrize(
    ("soft", "connections"), [(1024, 896), (65_536, 57_344), (1, 1), (resource.RLIM_INFINITY, None)]
)
def test_an_eighth_is_left(monkeypatch: pytest.MonkeyPatch, soft: int, connections: int | None) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, resource.RLIM_INFINITY))
    assert descriptors.connections_max_count() == connections


def test_a_system_without_such_limits_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "resource", None)
    assert descriptors.connections_max_count() is None


@pytest.mark.parametrize("soft", [resource.RLIM_INFINITY, 65_536, 1024])
def test_what_select_watches_bounds_connections(monkeypatch: pytest.MonkeyPatch, soft: int) -> None:
    """No connection is taken that nothing can watch: it waits, as at any other limit."""
    monkeypatch.setattr(descriptors, "WATCHED_MAX_COUNT", 1024)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, resource.RLIM_INFINITY))
    assert descriptors.connections_max_count() == 896


@pytest.mark.parametrize("module", [resource, None])
def test_more_connections_than_select_watches_are_named_with_the_option(
    monkeypatch: pytest.MonkeyPatch, module: object
) -> None:
    """And the limit is not raised beyond: accepting fails first, which a listener knows to wait for."""
    monkeypatch.setattr(descriptors, "WATCHED_MAX_COUNT", 512)
    monkeypatch.setattr(descriptors, "resource", module)
    limits: list[int] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 65_536))
    monkeypatch.setattr(resource, "setrlimit", lambda which, both: limits.append(both[0]))
    monkeypatch.setattr(descriptors, "in_children", lambda function: None)
    said: list[str] = []
    descriptors.allow_descriptors(5000, said.append)
    assert said == [
        "--limit-concurrency 5000 needs 5256 descriptors, this system's select watches 512: "
        "further connections will wait"
    ]
    assert limits == ([] if module is None else [512])
