"""What counts as `async def`, and background tasks of every kind (tasks.py).

It must not know the faces that offer them.
"""

import asyncio
import functools
import inspect
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from python_server.net.tasks import (
    BackgroundTask,
    InlineMailbox,
    is_async,
    sleep,
)


async def asks(*values: Any) -> None:
    await asyncio.sleep(0)
    told.append(values)


def says(*values: Any) -> None:
    told.append(values)


class Asks:
    async def __call__(self, *values: Any) -> None:
        await asks(*values)

    async def method(self, *values: Any) -> None:
        await asks(*values)


class Says:
    def __call__(self, *values: Any) -> None:
        says(*values)


told: list[Any] = []
ASYNC: dict[str, Callable[..., Any]] = {
    "function": asks,
    "partial": functools.partial(asks),
    "object": Asks(),
    "partial of an object": functools.partial(functools.partial(Asks())),
    "method": Asks().method,
}
PLAIN: dict[str, Any] = {
    "function": says,
    "partial": functools.partial(says),
    "object": Says(),
    "class of objects that are called like one": Asks,
    "nothing": None,
}


@pytest.mark.parametrize("name", ASYNC)
def test_what_is_awaited(name: str) -> None:
    assert is_async(ASYNC[name])


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_not(name: str) -> None:
    assert not is_async(PLAIN[name])


@pytest.mark.skipif(not hasattr(inspect, "markcoroutinefunction"), reason="since CPython 3.12")
def test_what_is_marked_is_awaited() -> None:
    marked: Any = inspect.markcoroutinefunction(lambda *values: asks(*values))  # type: ignore[attr-defined]
    assert is_async(marked)
    assert is_async(functools.partial(marked))


@pytest.mark.parametrize("target", [*ASYNC.values(), says, functools.partial(says), Says()])
def test_a_background_task_of_any_kind_runs_to_its_end(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def deprecated(function: Any) -> bool:
        raise DeprecationWarning("slated for removal in Python 3.16")

    monkeypatch.setattr(asyncio, "iscoroutinefunction", deprecated)  # as CPython 3.14 with -W error
    told.clear()
    faults: list[BaseException] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = BackgroundTask(target, (1, 2), {}, lambda what, error: faults.append(error))
        task.start()
        task.join()
    assert faults == []
    assert told == [(1, 2)]


# Waits, and the mailbox of tests


def test_anybody_may_sleep() -> None:
    sleep()


def test_a_task_that_has_not_begun_cannot_be_joined() -> None:
    told: list[str] = []
    task = BackgroundTask(told.append, ("ran",), {}, lambda what, error: None)
    with pytest.raises(RuntimeError, match="starts when the server does"):
        task.join()
    task.start()
    task.join()
    assert not task.is_alive()
    assert told == ["ran"]


@pytest.mark.parametrize(("code", "reported"), [(None, 0), (0, 0), (3, 1)])
def test_a_task_that_leaves_with_a_code_has_a_fault(code: Any, reported: int) -> None:
    reports: list[str] = []
    task = BackgroundTask(sys.exit, (code,), {}, lambda what, error: reports.append(what))
    task.start()
    task.join()
    assert reports == ["background task exit"] * reported


def test_calls_of_other_threads_wait_for_the_mailboxs_owner() -> None:
    mailbox = InlineMailbox()
    said: list[str] = []
    thread = threading.Thread(
        target=lambda: mailbox.post_unless(lambda: True, said.append, "theirs", nbytes=1)
    )
    thread.start()
    thread.join()
    assert said == []
    mailbox.post(said.append, "ours")
    assert said == ["theirs", "ours"]
    assert (mailbox.on_loop(), mailbox.at_once()) == (True, True)
    adopter = threading.Thread(target=mailbox.adopt)
    adopter.start()
    adopter.join()
    assert not mailbox.on_loop()
    mailbox.post(said.append, "posted")
    mailbox.drain()
    assert said[2:] == ["posted"]
