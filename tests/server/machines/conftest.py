"""Two machines, for each test of them together.

It must not know what a test says to them.
"""

from collections.abc import Iterator

import pytest

from machine_world import World


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()
    assert world.faults == []
