"""Waits that a timeout or an error from outside ends, and what is said where they cannot.

It must not know what is waited for.
"""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from python_server.drop_in import importing, waiting
from python_server.drop_in.waiting import StartedTimeout, Timeout, current, sleep, wait_until, with_timeout
from python_server.net.threads import WORKER

FOREVER = 3600.0


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(importing.log, "warn", lines.append)
    importing._warn.cache_clear()
    return lines


def test_a_timeout_ends_a_sleep_and_a_wait() -> None:
    for wait in (lambda: sleep(FOREVER), lambda: wait_until(threading.Condition(), bool)):
        with pytest.raises(Timeout) as raised, Timeout(0.001) as timeout:
            wait()
        assert raised.value is timeout
        assert not timeout.pending


@pytest.mark.parametrize(
    ("exception", "kind"),
    [(LookupError, LookupError), (LookupError("x"), LookupError), (True, Timeout), (None, Timeout)],
)
def test_what_is_raised_instead(exception: object, kind: type[BaseException]) -> None:
    with pytest.raises(kind), Timeout(0.001, exception):  # type: ignore[arg-type]
        sleep(FOREVER)


def test_a_silent_one_ends_its_block_alone() -> None:
    reached = []
    with Timeout(FOREVER), StartedTimeout(0.001, False):
        sleep(FOREVER)
        reached.append("never")
    assert reached == []
    assert current().timeouts == []


def test_the_outer_one_ends_the_inner_block() -> None:
    with pytest.raises(Timeout) as raised, Timeout(0.001) as outer, Timeout(FOREVER, False):
        sleep(FOREVER)
    assert raised.value is outer


def test_none_never_comes(warned: list[str]) -> None:
    with Timeout(None):
        sleep(0.001)
        sleep(0)
    assert warned == []


def test_started_by_its_own_words() -> None:
    timeout = Timeout.start_new(0.001)
    assert timeout.pending
    assert Timeout.start_new(timeout) is timeout
    with pytest.raises(Timeout):
        sleep(FOREVER)
    timeout.close()
    eventlet = StartedTimeout(FOREVER)
    assert eventlet.pending
    assert str(eventlet) == f"{FOREVER} seconds"
    eventlet.cancel()
    assert not eventlet.pending


def test_who_waits_elsewhere_is_not_interrupted_and_it_is_said_once(warned: list[str]) -> None:
    for _ in range(2):
        with Timeout(0.0):
            sum(range(1000))
    assert len(warned) == 1
    assert "test_waiting.py" in warned[0]
    assert "has interrupted nothing" in warned[0]


def test_with_timeout() -> None:
    assert with_timeout(FOREVER, lambda a, b: a + b, 1, b=2) == 3
    assert with_timeout(0.001, sleep, FOREVER, timeout_value="late") == "late"
    with pytest.raises(Timeout):
        with_timeout(0.001, sleep, FOREVER)
    with pytest.raises(Timeout):  # another one
        with_timeout(FOREVER, with_timeout, 0.001, sleep, FOREVER)


def in_thread(wait: Callable[[], object]) -> tuple[threading.Thread, list[waiting.ThreadState], list[object]]:
    states: list[waiting.ThreadState] = []
    ended: list[object] = []

    def run() -> None:
        states.append(current())
        try:
            wait()
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not states or states[0].waits_on is None:
        threading.Event().wait(0.001)
    return thread, states, ended


def test_an_error_from_outside_ends_a_wait() -> None:
    thread, states, ended = in_thread(lambda: sleep(FOREVER))
    error = LookupError("thrown")
    states[0].throw(error)
    thread.join(60)
    assert ended == [error]


def test_an_error_waits_for_the_next_wait() -> None:
    current().throw(LookupError())
    with pytest.raises(LookupError):
        sleep(0)
    sleep(0)


def test_a_coroutine_may_not_wait() -> None:
    WORKER.coroutines = True
    try:
        with pytest.raises(RuntimeError, match="async def"):
            sleep(0.001)
    finally:
        WORKER.coroutines = False


@pytest.mark.parametrize(
    "arguments",
    [(0.02,), (1,), (), (5, False), (5, ValueError("x")), (5, None)],
    ids=lambda arguments: str(arguments),
)
def test_a_timeout_reads_as_gevents_does(arguments: tuple[Any, ...]) -> None:
    import gevent

    assert str(Timeout(*arguments)) == str(gevent.Timeout(*arguments))
