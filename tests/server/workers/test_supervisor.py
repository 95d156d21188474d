"""How many workers there are, who replaces whom, how long is waited (supervisor.py).

It must not know processes: the workers here are objects, and time is a number.
"""

from collections.abc import Callable
from typing import Any

import pytest

from python_server.net.scoreboard import WORKERS_MAX_COUNT, Row
from python_server.net.system import REAL
from python_server.observe import log as observe
from python_server.settings import Settings
from python_server.workers import link_messages
from python_server.workers import supervisor as module
from python_server.workers.peers import MessageKind
from python_server.workers.process import ALIVE, Life
from python_server.workers.supervisor import Phase, Supervisor
from told_time import Clock


class LoopClock(Clock):
    """The loop's words about time."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = False

    def call_soon(self, function: Callable[[], Any]) -> None:
        self.call_later(0, function)

    def stop(self) -> None:
        self.stopped = True


class FakeChild:
    """A worker without a process: the test says when it serves and when it ends."""

    born: list["FakeChild"] = []
    refuse = False

    def __init__(
        self,
        loop: LoopClock,
        slot: Any,
        others: Any,
        listening: Any,
        heard: Callable[["FakeChild", int, bytes], None],
        report: Any,
        replaces: "FakeChild | None",
    ) -> None:
        if FakeChild.refuse:
            raise OSError("no processes left")
        self.index, self.row, self.slot, self.replaces = slot.index, slot.row, slot, replaces
        self.together = slot.together
        self.name = f"worker {self.index}"
        self.life = Life.STARTING
        self.deadline: Any = None
        self.served_from = loop.now
        self.told: list[tuple[MessageKind, dict[str, Any]]] = []
        self.killed_count = 0
        self.code: int | None = None
        self.siblings = [other.index for other in others]
        self._heard = heard
        FakeChild.born.append(self)

    def tell(self, kind: MessageKind, word: Any = None) -> None:
        self.told.append((kind, word))

    def serves(self, now: float) -> None:
        self.move(Life.SERVING)
        self.served_from = now

    def drain(self, successor: int | None) -> None:
        self.move(Life.DRAINING)
        self.told.append((MessageKind.DRAIN, successor))

    def quit(self) -> None:
        self.move(Life.KILLED)

    def kill(self) -> None:
        if self.life is not Life.KILLED:
            self.move(Life.KILLED)
        self.killed_count += 1

    def ended(self) -> int | None:
        return self.code

    def reap(self) -> None:
        assert self.killed_count or self.code is not None
        if self.deadline is not None:
            self.deadline.cancel()
        self.move(Life.GONE)

    def move(self, life: Life) -> None:
        self.life = self.life.to(life)

    def say(self, kind: MessageKind, word: Any = None) -> None:
        self._heard(self, kind, link_messages.encode(word))

    def ready(self, version: int = link_messages.VERSION) -> None:
        self.say(MessageKind.READY, link_messages.Ready(version))

    @property
    def held_back(self) -> bool:
        return self.slot.together and (MessageKind.ACCEPT, None) not in self.told


class Bench:
    def __init__(self, count: int, timeout_seconds: float = 0) -> None:
        self.clock = LoopClock()
        self.news: list[str] = []
        loop: Any = self.clock
        self.workers = Supervisor(
            loop,
            REAL,
            Settings(
                workers_count=count, graceful_timeout_seconds=30, worker_timeout_seconds=timeout_seconds
            ),
            [],
            {},
            lambda: self.news.append("serving"),
            lambda: self.news.append("rolled"),
        )
        self.workers.begin()
        self.clock.advance(0)

    @property
    def living(self) -> list[int]:
        return [child.index for child in FakeChild.born if child.life in ALIVE]

    def ready(self, *indexes: int) -> None:
        for index in indexes:
            child(index).ready()
            self.clock.advance(0)

    def end(self, index: int, code: int = 0) -> None:
        child(index).code = code
        self.workers.reap()
        self.clock.advance(0)

    def serve(self, count: int) -> "Bench":
        self.ready(*range(1, count + 1))
        return self


def child(index: int) -> FakeChild:
    return FakeChild.born[index - 1]


@pytest.fixture(autouse=True)
def fake_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WorkerProcess", FakeChild)
    FakeChild.born = []
    FakeChild.refuse = False


def test_the_first_alone_then_the_others_and_together_they_take_whoever_comes() -> None:
    bench = Bench(3)
    assert bench.living == [1]
    bench.ready(1)
    assert bench.news == ["serving"]
    assert bench.workers.phase is Phase.SERVING
    assert bench.living == [1, 2, 3]
    assert [child(index).siblings for index in (1, 2, 3)] == [[], [1], [1, 2]]
    assert child(3).slot.serving == {1}
    bench.ready(3)
    assert all(child(index).held_back for index in (1, 2, 3))
    bench.ready(2)
    assert not any(child(index).held_back for index in (1, 2, 3))
    bench.workers.change_count(1)
    assert not child(4).slot.together  # the others take whoever comes: nobody waits for it
    assert bench.news == ["serving"]


def test_an_order_is_heard_between_the_starts_of_two_workers() -> None:
    """Each turn of the loop hears what signals ask, and starts one."""
    bench = Bench(200)
    child(1).ready()
    assert bench.living == [1, 2]
    bench.workers.stop()
    bench.clock.advance(60)
    assert len(FakeChild.born) == 2


def test_one_worker_waits_for_nobody() -> None:
    bench = Bench(1).serve(1)
    assert not child(1).slot.together
    bench.workers.change_count(1)
    assert not child(2).slot.together
    bench.clock.advance(60)
    assert bench.living == [1, 2]


@pytest.mark.parametrize(("took", "waits"), [(0, 10), (5, 10), (20, 20), (90, 30)])
def test_one_that_does_not_load_is_waited_for_as_long_as_the_first_took(took: float, waits: float) -> None:
    bench = Bench(3)
    bench.clock.advance(took)
    bench.ready(1, 2)
    bench.clock.advance(waits - 0.1)
    assert child(1).held_back
    bench.clock.advance(0.2)
    assert not child(1).held_back
    assert not child(2).held_back
    assert child(3).held_back
    bench.ready(3)
    assert not child(3).held_back
    assert [child(index).told.count((MessageKind.ACCEPT, None)) for index in (1, 2, 3)] == [1, 1, 1]


def test_one_that_cannot_be_loaded_holds_nobody_and_is_tried_again() -> None:
    bench = Bench(3)
    bench.ready(1, 2)
    bench.end(3, 1)
    assert not child(1).held_back
    assert not child(2).held_back
    bench.clock.advance(0.11)
    assert bench.living == [1, 2, 4]
    assert not child(4).slot.together


def test_a_system_without_more_processes_holds_nobody() -> None:
    bench = Bench(3)
    FakeChild.refuse = True
    bench.ready(1)
    assert not child(1).held_back


def test_a_worker_that_still_loaded_when_it_was_to_end_is_no_surprise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It dies of our own signal, which it cannot obey yet."""
    caplog.set_level("INFO", observe.LOGGER.name)
    bench = Bench(3).serve(1)
    bench.workers.stop()
    bench.end(2, -15)
    bench.end(3, -9)
    assert [record.levelname for record in caplog.records if "ended" in record.message] == ["INFO", "WARNING"]


def test_no_more_workers_than_there_are_rows_for() -> None:
    bench = Bench(2).serve(2)
    bench.workers.change_count(100_000)
    bench.clock.advance(0)
    assert len(bench.living) == WORKERS_MAX_COUNT
    for _ in range(3):  # their successors have rows as well; those of the third restart wait for some
        bench.workers.roll()
        bench.clock.advance(0)
    born_count = len(FakeChild.born)
    draining = [child.index for child in FakeChild.born if child.life is Life.DRAINING]
    for index in draining:
        bench.end(index)
    bench.clock.advance(20)
    assert len(FakeChild.born) > born_count
    assert len(bench.living) >= WORKERS_MAX_COUNT


def test_a_restart_ends_the_wait_for_a_start() -> None:
    bench = Bench(2)
    bench.ready(1)
    bench.workers.roll()
    assert not child(1).held_back
    assert child(2).life is Life.DRAINING  # it may have loaded the old code
    bench.end(2, -15)
    bench.ready(3, 4)
    assert not child(3).slot.together
    assert child(1).life is Life.DRAINING
    assert bench.living == [1, 3, 4]


@pytest.mark.parametrize(("code", "exit_code"), [(1, 1), (3, 3), (-9, 137), (0, 0)])
def test_a_first_worker_that_does_not_come_up_ends_everything(code: int, exit_code: int) -> None:
    bench = Bench(3)
    bench.end(1, code)
    bench.clock.advance(60)
    assert bench.clock.stopped
    assert bench.workers.exit_code == exit_code
    assert len(FakeChild.born) == 1


def test_a_system_without_processes_ends_a_start_and_delays_a_restart() -> None:
    FakeChild.refuse = True
    bench = Bench(1)
    bench.clock.advance(0)
    assert (bench.clock.stopped, bench.workers.exit_code) == (True, 1)
    FakeChild.refuse = False
    bench = Bench(1).serve(1)
    FakeChild.refuse = True
    bench.end(1, 1)
    bench.clock.advance(5)
    assert bench.living == []
    FakeChild.refuse = False
    bench.clock.advance(10)
    assert bench.living == [2]


def test_the_wait_doubles_while_workers_die_and_a_proven_one_resets_it() -> None:
    bench = Bench(1).serve(1)
    bench.clock.advance(60)
    for index, seconds in enumerate([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10], 1):
        bench.end(index, 1)
        bench.clock.advance(seconds - 0.01)
        assert bench.living == []
        bench.clock.advance(0.02)
        assert bench.living == [index + 1]
    bench.ready(10)
    bench.clock.advance(10)
    bench.end(10, -11)
    bench.clock.advance(0.11)
    assert bench.living == [11]


def test_a_restart_replaces_one_after_the_other() -> None:
    bench = Bench(2).serve(2)
    bench.workers.roll()
    assert bench.living == [1, 2, 3]
    bench.ready(3)
    assert child(1).told[-1] == (MessageKind.DRAIN, 3)
    assert bench.living == [1, 2, 3, 4]  # the first still drains
    bench.end(1)
    bench.ready(4)
    bench.end(2)
    assert bench.living == [3, 4]
    assert bench.news == ["serving", "rolled"]


def test_a_failed_restart_keeps_the_old_and_the_next_one_works() -> None:
    bench = Bench(2).serve(2)
    bench.workers.roll()
    bench.end(3, 1)
    bench.clock.advance(60)
    assert bench.living == [1, 2]
    assert bench.news == ["serving", "rolled"]
    bench.workers.roll()
    bench.ready(4)
    assert child(1).life is Life.DRAINING


@pytest.mark.parametrize(
    "word", [None, link_messages.Ready(link_messages.VERSION + 1)], ids=["older", "newer"]
)
def test_a_new_worker_of_another_version_is_killed_and_the_restart_given_up(
    word: link_messages.Ready | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The code beneath a running supervisor was replaced by some that does not look itself."""
    bench = Bench(2).serve(2)
    bench.workers.roll()
    child(3).say(MessageKind.READY, word)
    assert (child(3).life, child(3).killed_count) == (Life.KILLED, 1)
    bench.end(3, -9)
    bench.clock.advance(60)
    assert bench.living == [1, 2]
    assert bench.news == ["serving", "rolled"]
    version = 0 if word is None else word.version
    assert f"speaks version {version} of the workers' words, not {link_messages.VERSION}" in caplog.text
    bench.workers.roll()
    bench.ready(4)
    assert child(1).life is Life.DRAINING


def test_a_second_restart_passes_over_whoever_has_not_come_up() -> None:
    bench = Bench(2).serve(2)
    bench.workers.roll()
    bench.workers.roll()
    assert child(3).life is Life.DRAINING
    assert bench.living == [1, 2, 3, 4]
    bench.end(3, -15)
    bench.ready(4, 5)
    bench.end(1)
    bench.end(2)
    assert bench.living == [4, 5]
    assert bench.news == ["serving", "rolled"]


def test_an_old_worker_that_dies_meanwhile_is_replaced_once() -> None:
    bench = Bench(2).serve(2)
    bench.workers.roll()
    bench.end(1, -9)
    bench.clock.advance(60)
    assert bench.living == [2, 3]
    bench.ready(3, 4)
    assert bench.living == [2, 3, 4]
    bench.end(2)
    assert bench.living == [3, 4]


def test_a_workers_wish_to_be_replaced_is_tried_until_it_works() -> None:
    bench = Bench(2).serve(2)
    child(2).say(MessageKind.REPLACE_ME)
    assert bench.living == [1, 2, 3]
    bench.end(3, 1)
    assert child(2).life is Life.SERVING
    bench.clock.advance(0.11)
    assert bench.living == [1, 2, 4]
    bench.ready(4)
    assert child(2).told[-1] == (MessageKind.DRAIN, 4)
    bench.end(2)
    assert bench.living == [1, 4]
    assert bench.news == ["serving"]  # that was no restart


def test_more_and_fewer() -> None:
    bench = Bench(2).serve(2)
    bench.workers.change_count(1)
    assert bench.living == [1, 2, 3]
    bench.workers.change_count(-1)  # the third has not come up: nobody goes before it has
    assert child(2).life is Life.SERVING
    bench.ready(3)
    assert child(3).told[-1] == (MessageKind.DRAIN, 1)
    for _ in range(3):
        bench.workers.change_count(-1)
    assert child(2).life is Life.DRAINING
    assert child(1).life is Life.SERVING


def test_a_worker_that_drains_by_itself_is_replaced_at_once() -> None:
    bench = Bench(2).serve(2)
    child(1).say(MessageKind.DRAINING)
    child(1).say(MessageKind.SUCCESSOR, link_messages.Succession(1, 2))
    assert bench.living == [1, 2, 3]
    bench.end(1)
    bench.workers.change_count(1)
    assert child(4).slot.successors == {1: 2}


def test_a_worker_that_drains_too_long_is_killed() -> None:
    bench = Bench(1).serve(1)
    bench.workers.roll()
    bench.ready(2)
    bench.clock.advance(34.9)
    assert child(1).life is Life.DRAINING
    bench.clock.advance(0.2)
    assert (child(1).life, child(1).killed_count) == (Life.KILLED, 1)
    bench.end(1, -9)
    assert bench.living == [2]


def test_stopping_waits_then_cuts_then_kills() -> None:
    bench = Bench(3).serve(2)
    bench.workers.stop()
    assert all(child(index).life is Life.DRAINING for index in (1, 2, 3))
    assert child(1).told[-1] == (MessageKind.DRAIN, None)
    bench.workers.stop()
    assert all(child(index).life is Life.KILLED for index in (1, 2, 3))
    assert child(1).killed_count == 0
    bench.workers.stop()
    assert child(1).killed_count == 1
    for index in (1, 2, 3):
        bench.end(index, -9)
    bench.clock.advance(0)
    assert bench.clock.stopped
    assert bench.workers.exit_code == 0
    bench.workers.stop()
    bench.workers.close()


def test_a_worker_may_stop_everything() -> None:
    bench = Bench(2).serve(2)
    child(2).say(MessageKind.STOP)
    assert bench.workers.phase is Phase.STOPPING
    child(1).say(MessageKind.STOP)  # not a second signal: nothing is cut off
    assert child(1).life is Life.DRAINING


def test_a_worker_that_does_not_beat_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(2, timeout_seconds=4).serve(2)
    ages = {child(1).row: 0.0, child(2).row: 0.0}
    monkeypatch.setattr(bench.workers._board, "beat_age_seconds", ages.__getitem__)
    bench.clock.advance(5)
    assert bench.living == [1, 2]
    ages[child(2).row] = 5.0
    bench.clock.advance(1.1)
    assert child(2).killed_count == 1
    ages[child(1).row] = 60.0
    bench.clock.now += 60  # the machine slept: nobody's fault
    bench.clock.advance(0.1)
    assert child(1).killed_count == 0


def test_all_turn_as_long_as_each_has_beaten_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(2)
    assert bench.workers.turning(1)  # none serves yet
    bench.serve(2)
    ages = {child(1).row: 0.5, child(2).row: 2.0}
    monkeypatch.setattr(bench.workers._board, "beat_age_seconds", ages.__getitem__)
    assert bench.workers.turning(3)
    assert not bench.workers.turning(1)
    child(2).drain(None)
    assert bench.workers.turning(1)


def test_logs_are_opened_anew_by_those_that_live() -> None:
    bench = Bench(2).serve(2)
    Row(bench.workers._board, child(1).row).beat()
    bench.workers.reopen_logs()
    assert [child(index).told[-1] for index in (1, 2)] == [(MessageKind.REOPEN_LOGS, None)] * 2
