"""Messages that wait for a worker which asks for them (net/message_queue.py).

It must not know WebSockets; nothing here waits.
"""

import pytest

from python_server.net.message_queue import MessageQueue


@pytest.mark.parametrize(("count", "size"), [(4, 1), (1, 100), (2, 50)])
def test_the_producer_pauses_at_a_bound_and_goes_on_at_half_of_both(count: int, size: int) -> None:
    queue = MessageQueue(4, 100)
    assert [queue.offer(bytes(size)) for _ in range(count)] == [False] * (count - 1) + [True]
    assert not queue.low
    taken = 0
    while not queue.low:
        assert queue.get() == bytes(size)
        taken += 1
    assert taken == (count + 1) // 2
    for _ in range(count - taken):
        queue.get()
    assert queue.low
    assert [queue.offer(bytes(size)) for _ in range(count)] == [False] * (count - 1) + [
        True
    ]  # nothing is left


def test_after_the_end_there_is_what_came_before_and_then_none() -> None:
    queue = MessageQueue(4, 100)
    queue.offer("a")
    queue.end()
    assert [queue.get(), queue.get(), queue.get()] == ["a", None, None]


def test_nothing_in_time() -> None:
    with pytest.raises(TimeoutError, match="no message within 0 s"):
        MessageQueue(4, 100).get(0)
