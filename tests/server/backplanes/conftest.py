"""What the tests of several brokers share.

It must not know a broker: its connections are made by the test's own fixture.
"""

from collections.abc import Callable
from typing import Any

import pytest

from python_server.api.backplane_kit import CHANNEL


@pytest.fixture
def gathered_counts(connect: Any) -> Callable[[int, int], list[int]]:
    """gathered_counts(COUNT, NBYTES): so many messages of that size are sent; how many came at a time."""

    def send_and_receive(count: int, nbytes: int) -> list[int]:
        subscriber, publisher = connect("subscriber"), connect("publisher")
        subscriber.subscribe([CHANNEL])
        publisher.publish([(CHANNEL, b"x" * nbytes)] * count)
        counts: list[int] = []
        while sum(counts) < count:
            counts.append(len(subscriber.receive(5.0)))
        return counts

    return send_and_receive
