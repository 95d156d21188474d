"""A cluster under chance, seed by seed: python tests/simulation/simulate.py 1-200 (make simulate).

It must not know how workers, clients or connections work; it chooses what happens to them and when.
"""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest.mock import patch

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parent / "common")]

from invariants import Ledger, Trouble  # noqa: E402
from python_server.net.system import open_descriptors_count  # noqa: E402
from python_server.observe import log  # noqa: E402
from python_server.observe.counters import Counters  # noqa: E402
from python_server.socketio.client import Socket  # noqa: E402
from python_server.socketio.cluster.port import Room  # noqa: E402
from python_server.socketio.recovery.log import RecoveryLog  # noqa: E402
from python_server.socketio.recovery.stream_restore import StreamRestorer  # noqa: E402
from simulated_broker import Broker  # noqa: E402
from simulated_clients import Client  # noqa: E402
from simulated_cluster import ON_ITS_WAY_SECONDS, RECOVERY_SECONDS, Host, Process, starting  # noqa: E402
from simulated_machine import Machine, Stuck  # noqa: E402
from simulated_network import Network  # noqa: E402

KINDS = ("websocket", "polling", "upgrade")
SETTLE_SECONDS = 60.0
QUIET_SECONDS = 8.0
PAUSE_SECONDS = 2.5  # between two faults, at most
LINK_SECONDS = 3.0  # that a link to a sibling stands still, at most; a lookup allows for 5 (COMPARE_SECONDS)
BROKER_BACK_SECONDS = 12.0  # until everybody is connected again
STEPS_MAX_COUNT = 20_000  # in one moment: somebody turns for nothing


@dataclass
class World:
    """One seed's cluster, its clients, and what is done to them.

    Attributes:
        chosen: the kinds of faults that may happen.
    """

    seed: int
    folder: Path
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        self.machine = machine = Machine(self.seed)
        self.random = chance = machine.random
        workers_count = chance.choice((2, 2, 3, 4))
        self.network = Network(
            machine,
            machine.loop(),
            slow=chance.choice((0.0, 0.1, 0.4)),
            delay_seconds=chance.choice((0.05, 0.5, 2.0)),
            narrow=chance.random() < 0.3,
        )
        narrow = chance.random() < 0.3
        joined = chance.random() < 0.3
        self.ledger.per_room = joined and chance.random() < 0.3
        # By a chance of its own: without it a seed is what it was.
        own_chance = Random(f"streams {self.seed}").random()
        self.ledger.streams = joined and not self.ledger.per_room and own_chance < 0.5
        self.broker = (
            Broker(machine, self.network.loop, self.network, self.ledger.streams) if joined else None
        )
        if self.broker is not None:
            self.broker.answer_lost = self._answer_lost
        self.hosts = [
            Host(machine, self.ledger, name, self.folder, workers_count, self.broker, narrow)
            for name in ("ab" if joined else "a")
        ]
        self.clients: list[Client] = []
        self.faults: dict[str, tuple[int, Callable[[], bool]]] = {
            "cut": (8, self._cut),
            "cut and long away": (1, self._long_away),
            "silence": (2, self._silence),
            "slow reader": (3, self._slow_reader),
            "slow link": (4, self._slow_link),
            "roll": (3, self._roll),
            "kill": (1, self._kill),
            "stopped alone": (1, self._stop_one),
            "more or fewer": (1, self._change_count),
        }
        if self.broker is not None:
            self.faults["broker away"] = (1, self._broker_away)
        # Each seed has faults of its own: the rarer ones are seen without the others, too.
        self.chosen = [name for name in self.faults if chance.random() < 0.5] or ["cut"]

    # What happens

    def _joined(self) -> list[Client]:
        return [client for client in self.clients if client.joined]

    def _somebody(self, befall: Callable[[Client], object]) -> bool:
        """Something happens to one of those that have joined; False: there is none."""
        clients = self._joined()
        if clients:
            befall(self.random.choice(clients))
        return bool(clients)

    def _cut(self) -> bool:
        return self._somebody(Client.cut)

    def _long_away(self) -> bool:
        return self._somebody(lambda client: client.cut(RECOVERY_SECONDS * (0.5 + self.random.random())))

    def _silence(self) -> bool:
        return self._somebody(Client.fall_silent)

    def _slow_reader(self) -> bool:
        wires = [wire for client in self._joined() for wire in client.wires]
        if wires:
            self.random.choice(wires).hold(self.random.random() * 4)
        return bool(wires)

    def _slow_link(self) -> bool:
        links = [
            link
            for each in self._serving()
            if each.worker is not None and each.worker.membership is not None
            for link in each.worker.membership.siblings._links.values()
            if not self.machine.is_held(link._descriptor)
        ]
        for link in self.random.sample(links, self.random.randint(1, len(links)) if links else 0):
            self.machine.held[link._descriptor] = self.machine.now + self.random.random() * LINK_SECONDS
        return bool(links)

    def _serving(self) -> list[Process]:
        return [each for host in self.hosts for each in host.serving()]

    def _roll(self) -> bool:
        host = self.random.choice(self.hosts)
        host.order(host.supervisor.roll)
        return True

    def _kill(self) -> bool:
        processes = self._serving()
        if len(processes) > 1:
            self.random.choice(processes).kill()
        return len(processes) > 1

    def _stop_one(self) -> bool:
        """One that has a sibling to take over from it."""
        host = self.random.choice(self.hosts)
        staying = [each for each in host.serving() if each.stays()]
        if len(staying) > 1:
            self.random.choice(staying).send_signal(15)
        return len(staying) > 1

    def _change_count(self) -> bool:
        host = self.random.choice(self.hosts)
        change = self.random.choice((-1, 1))
        host.order(lambda: host.supervisor.change_count(change))
        return True

    def _broker_away(self) -> bool:
        broker = self.broker
        assert broker is not None
        if broker.away:
            return False
        now, seconds = self.machine.now, self.random.random() * 6

        def back() -> None:
            broker.away = False

        broker.leave()
        self.network.loop.call_later(seconds, back)
        self.ledger.troubles.append(
            Trouble("", now - ON_ITS_WAY_SECONDS, now + seconds + BROKER_BACK_SECONDS)
        )
        return True

    def _answer_lost(self) -> None:
        """A command is said again: a record that was taken by the first one is gone, and others come late."""
        now = self.machine.now
        self.ledger.happened["answer lost"] += 1
        self.ledger.troubles.append(Trouble("", now - ON_ITS_WAY_SECONDS, now + BROKER_BACK_SECONDS))

    def _something_happens(self) -> None:
        if self.network.calm:
            return
        weights = [self.faults[name][0] for name in self.chosen]
        name = self.random.choices(self.chosen, weights)[0]
        self.ledger.note(self.machine.now, "fault", name)
        if self.faults[name][1]():
            self.ledger.happened[name] += 1
        self._later()

    def _later(self) -> None:
        self.network.loop.call_later(self.random.random() * PAUSE_SECONDS, self._something_happens)

    # The run

    def until(self, done: Callable[[], bool], what: str, seconds: float = SETTLE_SECONDS) -> None:
        """Go on until it is so; a promise is broken when it never is."""
        end = self.machine.now + seconds
        while not done():
            if self.machine.now >= end:
                self.ledger.broken.append(f"stuck: {what} not within {seconds:g} s")
            if self.ledger.broken:
                return
            self._act()
            self.machine.pass_time(end - self.machine.now)

    def pass_seconds(self, seconds: float) -> None:
        end = self.machine.now + seconds
        while self.machine.now < end and not self.ledger.broken:
            self._act()
            self.machine.pass_time(end - self.machine.now)

    def _act(self) -> None:
        """Whatever can be done now, one after the other."""
        for _ in range(STEPS_MAX_COUNT):
            if not self.machine.step():
                return
            for host in self.hosts:
                host.look()
        raise Stuck(f"seed {self.seed}: {STEPS_MAX_COUNT} steps in no time")

    def play(self) -> None:
        chance = self.random
        for host in self.hosts:
            host.begin()
        self.until(lambda: all(host.serving() for host in self.hosts), "a worker serves")
        self.pass_seconds(chance.random() * 5)
        for number in range(chance.choice((2, 3, 4, 6))):
            host = chance.choice(self.hosts)
            kind = chance.choice(KINDS)
            self.ledger.happened[kind] += 1
            paths = [each.path for each in self.hosts] if self.ledger.streams else [host.path]
            self.clients.append(Client(f"c{number}", kind, self.network, host.name, paths, self.ledger))
        self._later()
        self.pass_seconds(10 + chance.random() * 30)
        self.network.calm = True
        self.ledger.happened["full pipe"] += self.network.full_count
        if not self.ledger.broken:
            self._settle()
        if not self.ledger.broken:
            self._end()

    def _settle(self) -> None:
        """No more faults: everybody comes back, and what was said last reaches everybody."""
        self.until(lambda: all(client.joined for client in self.clients), "everybody is back")
        # Who finds the broker away tries again some seconds later.
        self.until(self._is_said, "the broker has what was said")
        self.pass_seconds(QUIET_SECONDS)
        self.until(lambda: all(client.joined for client in self.clients), "everybody stays")
        for client in self.clients:
            if client.life is not None:
                self.ledger.close(client.life)

    def _is_said(self) -> bool:
        """Has every worker told the broker what it has to say?"""
        workers = [each.worker for each in self._serving() if each.worker is not None]
        return not any(broker._publisher.owes for each in workers for broker in each._cluster.brokers())

    def _end(self) -> None:
        """Everybody leaves: nothing is kept for anybody, and all workers end when they are told to."""
        for client in self.clients:
            client.leave()
        self.pass_seconds(3.0)
        for wire in [*self.network.wires]:
            wire.close()
        self.pass_seconds(RECOVERY_SECONDS + 12.0)
        for process in self._serving():
            self._hold_empty(process)
        for host in self.hosts:
            host.order(host.supervisor.stop)
        self.until(lambda: not any(host.processes for host in self.hosts), "the workers end")

    def _hold_empty(self, process: Process) -> None:
        worker = process.worker
        assert worker is not None
        kept = {"connections": len(worker._acceptor.channels)}
        for _, engine in worker._cluster.engines:
            kept["sessions"] = len(engine.sessions)
        for hub in worker._hubs.values():
            assert hub.recovery is not None
            assert hub.restorer is not None
            hub.recovery.sweep(worker.loop._monotonic())
            if isinstance(hub.recovery, RecoveryLog):
                kept["lost clients"] = hub.recovery.lost_count
                kept["kept logs"] = len(hub.recovery._kept_logs)
            elif self.broker is not None:
                kept["records"] = self.broker.stream.keys_count()
            kept["kept events"] = hub.recovery.events.size_bytes
            kept["lookups"] = len(hub.restorer._lookups)
            kept["sockets"] = len(hub.restorer.sockets)
        kept["waiters"] = len(worker.loop.mailbox.asked)
        if left := {name: number for name, number in kept.items() if number}:
            self.ledger.broken.append(f"kept: {process.origin} still holds {left}")

    def close(self) -> None:
        for wire in [*self.network.wires]:
            wire.close()
        for host in self.hosts:
            host.close()
        if self.broker is not None:
            self.broker.run_threads(lambda: not self.broker or not self.broker.threads())
        self.machine.loops.remove(self.network.loop)
        self.network.loop.close()


@contextmanager
def watched(ledger: Ledger, now: Callable[[], float]) -> Iterator[None]:
    """What workers log goes to the ledger; a reported fault is a broken promise."""

    def fault(text: str, *words: object, exc_info: BaseException | None = None, **more: object) -> None:
        trace = "".join(traceback.format_exception(exc_info))
        ledger.broken.append(f"reported: {text % words}: {trace}")

    def complain(self: Counters, kind: str, sentence: str) -> None:
        ledger.happened[f"complaint: {kind}"] += 1
        ledger.note(now(), "complaint", kind)

    lose = StreamRestorer.lost

    def lost(self: StreamRestorer, socket: Socket, rooms: dict[Room, int]) -> None:
        if socket.recovery is not None and not self._log.has_begun:
            ledger.lost_early.add(socket.recovery.pid)
        lose(self, socket, rooms)

    with ExitStack() as stack:
        stack.enter_context(patch.object(StreamRestorer, "lost", lost))
        log.FAULTS.say_all()
        stack.enter_context(patch.object(log.LOGGER, "error", fault))
        stack.enter_context(patch.object(Counters, "complain", complain))
        for name in ("say", "warn"):
            stack.enter_context(patch.object(log, name, lambda text, *more: ledger.note(now(), "log", text)))
        yield


def play(seed: int, keeps_lines: bool = False) -> Ledger:
    """One seed from its beginning to its end; what was broken stands in the ledger."""
    gc.collect()  # what was left to the collector before must not end meanwhile
    before = open_descriptors_count(), threading.active_count()
    with tempfile.TemporaryDirectory(prefix="simulation-") as folder:
        ledger = Ledger()
        ledger.keeps_lines = keeps_lines
        moment: list[Callable[[], float]] = [lambda: 0.0]
        with watched(ledger, lambda: moment[0]()):
            world = World(seed, Path(folder), ledger)
            moment[0] = lambda: world.machine.now
            with starting(world.hosts), world.broker.installed() if world.broker else nullcontext():
                try:
                    world.play()
                except Exception:
                    ledger.broken.append(f"raised: {traceback.format_exc()}")
                finally:
                    broken = bool(ledger.broken)
                    try:
                        world.close()
                    except Exception:  # the rest of what was broken before
                        ledger.broken.append(f"raised: {traceback.format_exc()}")
    after = open_descriptors_count(), threading.active_count()
    if after != before and not broken:
        ledger.broken.append(f"left: (descriptors, threads) were {before} and are {after}")
    return ledger


# Each must have happened in a run of at least that many seeds.
WANTED = (
    *KINDS, "cut", "cut and long away", "silence", "slow reader", "slow link", "roll", "rolled", "kill",
    "stopped alone", "more or fewer", "broker away", "full pipe", "full link", "from another machine",
    "hand-over", "upgraded", "recovered", "not recovered", "complete lives", "answers",
    "acknowledged", "received", "recovered elsewhere", "answer lost",
)  # fmt: skip
WANTED_FROM_COUNT = 50


def verdict(done_count: int, broken: list[int], happened: Counter[str]) -> int:
    """The command's exit code: a run in which something never happened has proven nothing of it."""
    missing = [name for name in WANTED if not happened[name]] if done_count >= WANTED_FROM_COUNT else []
    if missing:
        print(f"nothing was proven, these never happened: {', '.join(missing)}")
    return 1 if broken or missing or not done_count else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", help="one, or a range: 7, 1-200")
    parser.add_argument("--lines", action="store_true", help="print the transcript")
    parser.add_argument("--fingerprint", action="store_true", help="print the transcript's hash")
    parser.add_argument("--keep-on", action="store_true", help="do not end at the tenth broken seed")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    happened: Counter[str] = Counter()
    broken: list[int] = []
    done_count = 0
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    interrupted = False
    try:
        for seed in range(int(first), int(last or first) + 1):
            ledger = play(seed, given.lines)
            done_count += 1
            happened += ledger.happened
            if given.fingerprint:
                print(seed, ledger.fingerprint)
            if given.lines:
                print("\n".join(ledger.lines))
            if ledger.broken:
                broken.append(seed)
                print(f"seed {seed}:", *ledger.broken[:5], sep="\n    ", flush=True)
            if len(broken) >= 10 and not given.keep_on:
                break
    except KeyboardInterrupt:
        print("interrupted")
        interrupted = True
    seconds = time.monotonic() - began
    print(f"{done_count} seeds in {seconds:.0f} s, {len(broken)} broken: {broken}")
    print(", ".join(f"{name} {count}" for name, count in sorted(happened.items())))
    return verdict(done_count, broken, happened) or int(interrupted)


if __name__ == "__main__":
    sys.exit(main())
