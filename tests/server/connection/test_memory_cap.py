"""Who is ended when all clients together keep too much waiting (connection/memory_cap.py).

It must not know connections: a holder is a number of bytes.
"""

import pytest

from python_server.connection.memory_cap import end_largest


class Holder:
    def __init__(self, held_bytes: int) -> None:
        self.held_bytes = held_bytes
        self.ended: str | None = None

    def end(self, reason: str) -> None:
        self.ended = reason


@pytest.mark.parametrize(
    ("held", "max_bytes", "ended"),
    [
        ([], 10, []),
        ([5, 5], 10, []),
        ([5, 6], 10, [6]),
        ([11], 10, [11]),
        ([1, 50, 2, 60, 3], 10, [50, 60]),
        ([4, 4, 4], 10, [4]),
        ([1] * 20, 10, [1] * 10),
    ],
)
def test_the_largest_are_ended_until_the_rest_fits(held: list[int], max_bytes: int, ended: list[int]) -> None:
    holders = [Holder(held_bytes) for held_bytes in held]
    said: list[str] = []
    end_largest(
        max_bytes,
        [(holder.held_bytes, holder.end) for holder in holders],
        "slow",
        lambda kind, message: said.append(message),
    )
    assert sorted(holder.held_bytes for holder in holders if holder.ended == "slow") == ended
    assert sum(holder.held_bytes for holder in holders if holder.ended is None) <= max_bytes
    assert len(said) == bool(ended)
    assert all("--limit-memory" in message for message in said)
