"""The bounded stream between the loop and one worker (net/byte_queue.py).

It must not know requests; threads are real, and each test ends when the other side has spoken.
"""

from collections.abc import Callable
from threading import Thread

import pytest

from python_server.net.byte_queue import ByteQueue, StreamBroken


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
    queue = ByteQueue(4)
    assert not queue.offer(b"abcd")
    assert queue.offer(b"e")
    assert queue.held_bytes == 5
    queue.end()
    assert [queue.get(), queue.get(), queue.get(), queue.get()] == [b"abcd", b"e", b"", b""]
    assert queue.held_bytes == 0


def test_worker_to_loop_says_when_the_loop_must_be_told() -> None:
    queue = ByteQueue(4)
    assert queue.take() is None
    assert queue.put(b"a")
    assert not queue.put(b"b")
    assert queue.take() == b"a"
    assert queue.take() == b"b"
    assert queue.take() is None
    assert queue.put(b"c")
    queue.end()
    assert queue.take() == b"c"
    assert queue.take() == b""


def test_a_worker_waits_for_room_and_goes_on() -> None:
    queue = ByteQueue(2)
    queue.put(b"abc")
    thread, outcome = run(lambda: queue.put(b"d"))
    taken = bytearray()
    while len(taken) < 4:
        taken += queue.take() or b""
    thread.join(60)
    assert bytes(taken) == b"abcd"
    assert len(outcome) == 1


def test_a_worker_waits_for_bytes() -> None:
    queue = ByteQueue(2)
    thread, outcome = run(queue.get)
    queue.offer(b"x")
    thread.join(60)
    assert outcome == [b"x"]


@pytest.mark.parametrize("waits", ["get", "put"])
def test_a_broken_stream_frees_the_worker_r2(waits: str) -> None:
    queue = ByteQueue(0)
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
    with pytest.raises(TimeoutError):
        ByteQueue(1).get(0)
