"""Chunks and messages between the loop and one worker (net/bounded_queue.py).

It must not know requests, WebSockets; threads are real, and each test ends when the other side has spoken.
"""

from collections.abc import Callable
from threading import Thread

import pytest

from python_server.net.bounded_queue import BoundedQueue, StreamBroken


def run(function: Callable[[], object]) -> tuple[Thread, list[object]]:
    """Start `function` in a thread; its value or exception comes in the list."""
    outcome: list[object] = []

    def body() -> None:
        try:
            outcome.append(function())
        except Exception as error:
            outcome.append(error)

    thread = Thread(target=body, daemon=True)
    thread.start()
    return thread, outcome


def test_loop_to_worker_in_order_then_the_end() -> None:
    queue: BoundedQueue[bytes] = BoundedQueue(4)
    assert not queue.offer(b"abcd")
    assert queue.offer(b"e")
    assert queue.held_bytes == 5
    queue.end()
    assert [queue.get(), queue.get(), queue.get(), queue.get()] == [b"abcd", b"e", None, None]
    assert queue.held_bytes == 0


def test_worker_to_loop_says_when_the_loop_must_be_told() -> None:
    queue: BoundedQueue[bytes] = BoundedQueue(4)
    assert queue.take() is None
    assert queue.put(b"a")
    assert not queue.put(b"b")
    assert queue.take() == b"a"
    assert queue.take() == b"b"
    assert queue.take() is None
    assert queue.put(b"c")
    queue.end()
    assert not queue.ended
    assert queue.take() == b"c"
    assert queue.take() is None
    assert queue.ended


def test_a_worker_waits_for_room_and_goes_on() -> None:
    queue: BoundedQueue[bytes] = BoundedQueue(2)
    queue.put(b"abc")
    thread, outcome = run(lambda: queue.put(b"d"))
    taken = bytearray()
    while len(taken) < 4:
        taken += queue.take() or b""
    thread.join(60)
    assert bytes(taken) == b"abcd"
    assert len(outcome) == 1


def test_a_worker_waits_for_bytes() -> None:
    queue: BoundedQueue[bytes] = BoundedQueue(2)
    thread, outcome = run(queue.get)
    queue.offer(b"x")
    thread.join(60)
    assert outcome == [b"x"]


@pytest.mark.parametrize("waits", ["get", "put"])
def test_a_broken_stream_frees_the_worker_r2(waits: str) -> None:
    queue: BoundedQueue[bytes] = BoundedQueue(0)
    if waits == "put":
        queue.put(b"x")
    thread, outcome = run(queue.get if waits == "get" else lambda: queue.put(b"y"))
    queue.break_off("client left")
    queue.break_off("told twice: the first reason stands")
    thread.join(60)
    assert type(outcome[0]) is StreamBroken
    assert str(outcome[0]) == "client left"
    assert queue.held_bytes == 0
    with pytest.raises(StreamBroken):
        queue.put(b"later")
    with pytest.raises(StreamBroken):
        queue.get()


def test_get_gives_up_in_time() -> None:
    with pytest.raises(TimeoutError, match="no message within 0 s"):
        BoundedQueue(1).get(0)


@pytest.mark.parametrize(("count", "size"), [(4, 1), (1, 101), (3, 34)])
def test_the_producer_pauses_at_a_bound_and_goes_on_at_half_of_both(count: int, size: int) -> None:
    queue: BoundedQueue[bytes] = BoundedQueue(100, 4)
    assert [queue.offer(bytes(size)) for _ in range(count)] == [False] * (count - 1) + [True]
    assert not queue.low
    taken = 0
    while not queue.low:
        assert queue.get() == bytes(size)
        taken += 1
    assert taken == (count + 1) // 2
    for _ in range(count - taken):
        queue.get()
    assert [queue.offer(bytes(size)) for _ in range(count)] == [False] * (count - 1) + [
        True
    ]  # nothing is left


def test_an_empty_message_is_one() -> None:
    queue: BoundedQueue[str] = BoundedQueue(100, 4)
    queue.offer("")
    queue.end()
    assert not queue.ended
    assert [queue.get(), queue.get()] == ["", None]
