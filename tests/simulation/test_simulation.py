"""The simulated cluster: a few seeds, the same again, and that a planted fault of each kind is found.

It must not need the long runs: those are for `make simulate`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import simulate
import simulated_transports
from invariants import EVERYBODY, SURELY_SECONDS, Ledger, Life, Trouble
from python_server.serve.recovery_handover import RecoveryHandover
from python_server.serve.worker import WorkerState
from python_server.socketio.adapter import Adapter
from python_server.socketio.cluster.port import Envelope
from python_server.socketio.recovery.awaited import AwaitedEvents
from python_server.socketio.recovery.log import RecoveryLog
from python_server.socketio.recovery.stream_log import StreamLog
from python_server.workers.peers import GREETING_SECONDS
from simulated_clients import Client
from simulated_cluster import Process, starting

COMMAND = Path(simulate.__file__)


def test_seeds_keep_every_promise() -> None:
    happened = simulate.Counter[str]()
    for seed in range(1, 7):
        ledger = simulate.play(seed)
        assert ledger.broken == []
        happened += ledger.happened
    assert min(happened[name] for name in ("cut", "kill", "roll", "recovered", "received", "answers")) > 0


def test_a_seed_does_the_same_again() -> None:
    """In one process and in another: the names of sets have an order of their own in each."""
    first, again, other = (simulate.play(seed) for seed in (3, 3, 4))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    command = [sys.executable, str(COMMAND), "3", "--fingerprint"]
    told = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in "ab"]
    assert {each.splitlines()[0] for each in told} == {f"3 {first.fingerprint}"}


def broken_by(seeds: Iterable[int], *words: str) -> bool:
    """Is a promise of that kind broken in one of them?"""
    return any(sentence.startswith(words) for seed in seeds for sentence in simulate.play(seed).broken)


class Spoiled:
    """Envelopes on their way to the clients of one worker, of which each tenth is treated otherwise."""

    def __init__(self, change: Callable[[Spoiled, Envelope], list[Envelope]]) -> None:
        self.change = change
        self.count = 0
        self.kept: list[Envelope] = []
        self.deliver = Adapter.deliver

    def __call__(self, adapter: Adapter, envelope: Envelope) -> int:
        self.count += 1
        passed = self.change(self, envelope) if self.count % 10 == 0 else [*self.kept, envelope]
        if self.count % 10:
            self.kept.clear()
        return sum(self.deliver(adapter, each) for each in passed[::-1])


def lose(spoiled: Spoiled, envelope: Envelope) -> list[Envelope]:
    return []


def double(spoiled: Spoiled, envelope: Envelope) -> list[Envelope]:
    return [envelope, envelope]


def swap(spoiled: Spoiled, envelope: Envelope) -> list[Envelope]:
    spoiled.kept.append(envelope)  # goes behind the next one
    return []


@pytest.mark.parametrize(
    ("change", "words"),
    [(lose, ("hole", "lost")), (double, ("doubled",)), (swap, ("overtaken", "hole"))],
)
def test_a_planted_fault_is_found(
    change: Callable[[Spoiled, Envelope], list[Envelope]],
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoiled = Spoiled(change)
    monkeypatch.setattr(Adapter, "deliver", lambda self, envelope: spoiled(self, envelope))
    assert broken_by(range(1, 3), *words)


def test_a_planted_hole_in_a_recovery_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    missed = RecoveryLog._missed
    monkeypatch.setattr(RecoveryLog, "_missed", lambda *args: missed(*args)[1:])
    assert broken_by(range(1, 20), "hole", "lost")


def test_a_planted_loss_of_who_may_come_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecoveryHandover, "hand_over", lambda self, *given: None)
    assert broken_by(range(1, 20), "forgotten")


# Of machines that share a stream, with many returns.
STREAM_SEEDS = (78, 31, 151, 28, 66)
MOVING_SEEDS = (*STREAM_SEEDS, 26, 121, 163, 24, 14, 71)


def test_a_planted_hole_in_what_a_stream_gives_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    missed = StreamLog.missed

    def without_first(*args: Any) -> Any:
        found = missed(*args)
        return found[1:] if isinstance(found, list) else found

    monkeypatch.setattr(StreamLog, "missed", without_first)
    assert broken_by(STREAM_SEEDS, "hole", "lost")


@pytest.mark.parametrize(
    ("where", "name", "does"),
    [
        pytest.param(AwaitedEvents, "add", lambda *args: None, id="what a client brought along is not known"),
        pytest.param(
            StreamLog, "_lacks", lambda *args: False, id="what stood before a worker began is not read"
        ),
    ],
)
def test_a_planted_fault_between_machines_is_found(
    where: type, name: str, does: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, does)
    assert broken_by(MOVING_SEEDS, "hole", "lost", "doubled", "overtaken", "forgotten")


@contextmanager
def stopped_before_its_sibling_has_begun(folder: Path) -> Iterator[tuple[simulate.World, Process]]:
    """One of two workers has a client that has heard something, and is told to end; the other one loads."""
    ledger = Ledger()
    with simulate.watched(ledger, lambda: 0.0):
        world = simulate.World(1, folder, ledger)
        (host,) = world.hosts
        with starting(world.hosts):
            try:
                host.begin()
                world.until(lambda: bool(host.serving()), "a worker serves")
                (first,) = host.serving()
                client = Client("c0", "websocket", world.network, host.name, [host.path], ledger)
                world.clients.append(client)
                world.until(lambda: client.joined, "it is in")
                client.say(EVERYBODY)
                world.until(lambda: ledger.happened["received"] > 0, "it has heard something")
                assert len(host.serving()) == 1 < len(host.processes)
                first.send_signal(signal.SIGTERM)
                yield world, first
            finally:
                world.close()


def test_a_worker_that_is_stopped_alone_waits_for_a_sibling_that_begins(tmp_path: Path) -> None:
    with stopped_before_its_sibling_has_begun(tmp_path) as (world, first):
        world.until(lambda: first.poll() is not None, "it ends")
        world.network.calm = True
        world._settle()
        assert world.ledger.broken == []
        assert (world.ledger.happened["recovered"], world.ledger.happened["not recovered"]) == (1, 0)


def test_it_waits_no_longer_than_for_what_it_hands_over(tmp_path: Path) -> None:
    with stopped_before_its_sibling_has_begun(tmp_path) as (world, first):
        worker, told_at = first.worker, world.machine.now
        assert worker is not None
        assert worker.membership is not None
        for link in worker.membership.siblings._links.values():
            world.machine.held[link._descriptor] = told_at + 60.0
        world.until(lambda: not first.stays(), "it takes nobody in any more")
        assert world.machine.now - told_at == pytest.approx(GREETING_SECONDS, abs=0.1)
        assert worker._state is WorkerState.STOPPING


def life_in(ledger: Ledger) -> Life:
    life = Life("c", 1, "h")
    life.maybe.add(EVERYBODY)
    life.held[EVERYBODY] = ledger.next_place()
    return life


def test_each_promise_has_its_sentence() -> None:
    """What a simulated cluster does not do by itself, told by hand."""
    ledger = Ledger()
    life = life_in(ledger)
    for room in (EVERYBODY, "red", EVERYBODY, EVERYBODY):
        ledger.emit("w", room, "h", 1.0)
    ledger.receive(life, "w", 0, EVERYBODY)
    assert ledger.broken == []
    ledger.receive(life, "w", 1, "red")
    ledger.receive(life, "w", 3, EVERYBODY)
    ledger.receive(life, "w", 3, EVERYBODY)
    ledger.receive(life, "w", 2, EVERYBODY)
    ledger.receive(life, "w", 4, EVERYBODY)
    ledger.hear("c", 1, 7)
    ledger.hear("c", 1, 6)
    ledger.hear("c", 2, 7)
    ledger.acknowledge("c", 8, 8)
    ledger.acknowledge("c", 7, 6)
    ledger.answer("c", 1, 2)
    ledger.answer("c", 1, 1)
    ledger.emit("w", EVERYBODY, "h", 1.0)
    ledger.close(life)
    ledger.come_back(life, False, None, 1.0, 2.0)
    ledger.come_back(life, False, "offset", 1.0, 1.0 + SURELY_SECONDS)
    ledger.come_back(life, False, "offset", 1.0, 2.0)
    ledger.remember(life, 2, 2)
    ledger.remember(life, 2, 1)
    kinds = [sentence.partition(":")[0] for sentence in ledger.broken]
    assert kinds == [
        "stray", "hole", "doubled", "overtaken", "invented",
        "overtaken", "doubled", "lost", "wrong", "wrong", "doubled", "lost", "forgotten",
        "emptied",
    ]  # fmt: skip


def test_what_a_speaker_knows_to_be_told_is_not_heard_behind_what_it_said_later() -> None:
    """At two workers, each of which keeps its own order; what was never acknowledged may come late."""
    ledger = Ledger()
    life = life_in(ledger)
    for number in (1, 2):
        ledger.emit("v", EVERYBODY, "h", 1.0, ("ann", number))
        ledger.hear("ann", 1, number)
    ledger.acknowledge("ann", 2, 2)
    ledger.emit("w", EVERYBODY, "h", 2.0, ("ann", 3))
    ledger.receive(life, "w", 0, EVERYBODY)
    ledger.receive(life, "v", 0, EVERYBODY)
    assert ledger.broken == []
    ledger.receive(life, "v", 1, EVERYBODY)
    assert ledger.broken == ["late: c.1 got v/1, which is ann's 2, behind its 3"]


def test_a_session_that_its_client_has_left_in_silence_makes_no_new_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else its refusal would end the client's next connection, and what comes by both would come twice."""
    answered: list[Callable[[int, str], None]] = []
    later: list[Callable[[], None]] = []
    heard: list[str] = []

    class Requests(SimpleNamespace):
        def ask(self, data: bytes, then: Callable[[int, str], None]) -> None:
            answered.append(then)

    requests = lambda *given: Requests(busy=False, wire=None)  # noqa: E731
    monkeypatch.setattr(simulated_transports, "Request", requests)
    network: Any = SimpleNamespace(loop=SimpleNamespace(call_later=lambda seconds, then: later.append(then)))
    client: Any = SimpleNamespace(packet=heard.append, dropped=lambda: heard.append("dropped"))
    polling = simulated_transports.Polling(network, "path", False, client)
    answered[0](200, '0{"sid":"s"}')
    answered[1](200, "6")
    polling.forget()
    later[0]()
    assert (len(answered), heard) == (2, ['0{"sid":"s"}', "6"])


def test_who_was_lost_before_its_worker_knew_where_it_hears_the_stream_may_be_new() -> None:
    """That one alone."""
    ledger, life = Ledger(), Life("c", 1, "a")
    ledger.streams = True
    ledger.lost_early.add("early")
    ledger.come_back(life, False, "offset", 1.0, 2.0, "early")
    assert (ledger.broken, ledger.happened["lost early, and new"]) == ([], 1)
    ledger.come_back(life, False, "offset", 1.0, 2.0, "late")
    assert [sentence.split(":")[0] for sentence in ledger.broken] == ["forgotten"]


def test_what_is_said_beside_a_trouble_is_owed_to_nobody_elsewhere() -> None:
    ledger = Ledger()
    life = life_in(ledger)
    ledger.troubles.append(Trouble("other", 2.0, 3.0))
    for moment in (1.0, 2.5):
        ledger.emit("w", EVERYBODY, "other", moment)
    ledger.close(life)
    assert ledger.broken == ["lost: c.1 never got w/0"]


def test_what_died_with_its_worker_is_owed_to_nobody() -> None:
    ledger = Ledger()
    life = life_in(ledger)
    ledger.emit("w", EVERYBODY, "h", 1.0)
    ledger.emit("w", EVERYBODY, "h", 1.0)
    ledger.unsafe("w", 1)
    ledger.receive(life, "w", 0, EVERYBODY)
    ledger.close(life)
    assert ledger.broken == []


def test_a_run_in_which_nothing_happened_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.verdict(simulate.WANTED_FROM_COUNT, [], simulate.Counter(received=5)) == 1
    assert "never happened: websocket, polling" in capsys.readouterr().out
    assert simulate.verdict(0, [], simulate.Counter()) == 1
    assert simulate.verdict(simulate.WANTED_FROM_COUNT, [], simulate.Counter(simulate.WANTED)) == 0
    assert simulate.verdict(1, [7], simulate.Counter()) == 1
