"""Workers on one loop, for each test of them.

It must not know what a test says to them.
"""

from collections.abc import Iterator

import pytest

from worker_town import Town


@pytest.fixture
def town() -> Iterator[Town]:
    town = Town()
    yield town
    town.close()
    assert town.faults == []
