"""Results, flags, semaphores and queues of the stand-ins, between real threads.

It must not know greenlets, nor the modules that these words stand in.
"""

import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from python_server.drop_in.events import (
    AsyncResult,
    Empty,
    Flag,
    Full,
    LifoQueue,
    PriorityQueue,
    Queue,
    Semaphore,
    SentEvent,
)
from python_server.drop_in.waiting import Timeout

PATIENCE_SECONDS = 60


def beside(function: Callable[..., object], *arguments: object) -> list[object]:
    """What the function returns, or raises, in a thread of its own, once it has ended."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(function(*arguments))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return found


def test_a_result_comes_once_and_reaches_all() -> None:
    result = AsyncResult()
    linked: list[object] = []
    result.rawlink(lambda done: linked.append(done.value))
    assert not result.ready()
    with pytest.raises(Timeout):
        result.get(timeout=0)
    with pytest.raises(Timeout):
        result.get(block=False)
    assert result.wait(0) is None
    threading.Timer(0, result.set, ["value"]).start()
    assert result.get(timeout=PATIENCE_SECONDS) == "value"
    assert result.successful()
    result.rawlink(lambda done: linked.append("late"))
    assert linked == ["value", "late"]


def test_an_error_is_raised_where_the_result_is_taken() -> None:
    result, copy = AsyncResult(), AsyncResult()
    result.set_exception(LookupError)
    assert isinstance(beside(result.get)[0], LookupError)
    assert not result.successful()
    assert result.wait() is None
    copy(result)
    assert copy.exception is result.exception


def test_an_event_of_eventlet_is_sent_once() -> None:
    event = SentEvent()
    assert event.wait(0) is None
    event.send(7)
    assert event.wait() == 7
    with pytest.raises(AssertionError, match="already-triggered"):
        event.send(8)
    event.reset()
    assert not event.ready()
    event.send_exception(LookupError, LookupError("word"))
    with pytest.raises(LookupError, match="word"):
        event.wait()
    event.reset()
    event.send_exception(KeyError("k"))
    with pytest.raises(KeyError):
        event.wait()


def test_a_flag() -> None:
    flag = Flag()
    assert not flag.wait(0)
    threading.Timer(0, flag.set).start()
    assert flag.wait(PATIENCE_SECONDS)
    assert flag.is_set()
    assert flag.isSet()
    flag.clear()
    assert not flag.ready()


def test_a_semaphore_lets_so_many_in() -> None:
    semaphore = Semaphore(2)
    with semaphore, semaphore:
        assert semaphore.locked()
        assert not semaphore.acquire(blocking=False)
        assert not semaphore.acquire(timeout=0)
        threading.Timer(0, semaphore.release).start()
        assert semaphore.acquire(timeout=-1)
        semaphore.release()
    assert semaphore.counter == 3


@pytest.mark.parametrize("kind", [Queue, PriorityQueue, LifoQueue])
def test_queues_are_the_librarys_with_its_errors(kind: Any) -> None:
    waiting = kind(2)
    waiting.put(1)
    waiting.put_nowait(2)
    with pytest.raises(queue.Full):
        waiting.put(3, block=False)
    with pytest.raises(Full):
        waiting.put(3, timeout=0)
    threading.Timer(0, waiting.get).start()
    waiting.put(3, timeout=PATIENCE_SECONDS)
    assert len(waiting) == 2
    assert waiting
    waiting.get()
    waiting.get_nowait()
    with pytest.raises(queue.Empty):
        waiting.get(timeout=0)
    with pytest.raises(Empty):
        waiting.get_nowait()
    threading.Timer(0, waiting.put, [4]).start()
    assert waiting.get(timeout=PATIENCE_SECONDS) == 4


def test_orders() -> None:
    assert [*Queue(items=[2, 1, 3, StopIteration])] == [2, 1, 3]
    stack, heap = LifoQueue(items=[2, 1, 3]), PriorityQueue(items=[2, 1, 3])
    assert [stack.get() for _ in range(3)] == [3, 1, 2]
    assert [heap.get() for _ in range(3)] == [1, 2, 3]


def test_join_waits_until_all_is_done() -> None:
    waiting = Queue()
    waiting.put(1)
    assert not waiting.join(0)
    threading.Timer(0, waiting.task_done).start()
    assert waiting.join(PATIENCE_SECONDS)
