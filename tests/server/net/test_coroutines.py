"""Coroutines on the asyncio thread: results, contexts, faults, its end (coroutines.py).

It must not know the faces that offer them.
"""

import asyncio
import contextvars
import queue
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from python_server.net import coroutines
from python_server.net.coroutines import AsyncRunner
from python_server.net.tasks import check_waiting


class Ends:
    """What coroutines ended with, told on the asyncio thread."""

    def __init__(self) -> None:
        self._ends: queue.Queue[Any] = queue.Queue()

    def __call__(self, result: Callable[[], Any]) -> None:
        self._ends.put(result)

    def next(self) -> Any:
        try:
            return self._ends.get()()
        except BaseException as error:
            return type(error).__name__, str(error)


@pytest.fixture
def runner() -> Iterator[AsyncRunner]:
    runner = AsyncRunner()
    yield runner
    runner.close()


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


async def answer(value: Any) -> Any:
    await asyncio.sleep(0)
    if isinstance(value, BaseException):
        raise value
    return value, variable.get("nothing")


def test_a_coroutines_result_comes_back_and_it_sees_the_callers_variables(runner: AsyncRunner) -> None:
    variable.set("seen")
    assert runner.run(answer(1)) == (1, "seen")
    with pytest.raises(LookupError, match="broken"):
        runner.run(answer(LookupError("broken")))
    own = contextvars.Context()
    own.run(variable.set, "its own")
    ends = Ends()
    runner.start(answer(2), own, ends)
    assert ends.next() == (2, "its own")
    runner.start(answer(LookupError("broken")), contextvars.Context(), ends)
    assert ends.next() == ("LookupError", "broken")


def test_a_coroutine_that_ends_the_process_does_not_end_the_others(runner: AsyncRunner) -> None:
    ends = Ends()
    for kind in (SystemExit, KeyboardInterrupt):
        runner.start(answer(kind("out")), contextvars.Context(), ends)
        assert ends.next() == (kind.__name__, "out")
        assert runner.run(answer(3))[0] == 3


def test_the_asyncio_thread_never_waits_for_itself(runner: AsyncRunner) -> None:
    async def waits() -> Any:
        with pytest.raises(RuntimeError, match="cannot wait for itself"):
            runner.run(answer(1))
        with pytest.raises(RuntimeError, match=r"call\(\) would stop every async def handler"):
            check_waiting("call()")

    runner.run(waits())
    check_waiting("call()")


def test_where_no_thread_can_start_the_coroutine_is_told_and_the_next_one_tries_again(
    runner: AsyncRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(**options: Any) -> Any:
        raise RuntimeError("can't start new thread")

    ends = Ends()
    with monkeypatch.context() as patched:
        patched.setattr(coroutines, "Thread", no_thread)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            runner.run(answer(1))
        runner.start(answer(1), contextvars.Context(), ends)
        assert ends.next() == ("RuntimeError", "can't start new thread")
    assert runner.run(answer(1))[0] == 1


def test_a_stop_cancels_what_runs(runner: AsyncRunner) -> None:
    ends = Ends()
    runner.start(asyncio.sleep(3600), contextvars.Context(), ends)
    runner.close()
    assert ends.next() == ("RuntimeError", "the coroutine was cancelled")
    runner.close()
