"""Numbered events both ways while connections are cut and workers end: none acknowledged is lost or doubled.

It must not know what a client does on the wire, or what is a fault: its clients and its checker do.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "common")]

from delivery_checker import Checker  # noqa: E402
from light_clients import CUTS, WAYS, LightClient, Talk  # noqa: E402
from official_clients import OfficialClients, missing  # noqa: E402

from asked_workers import alive  # noqa: E402
from python_server.socketio.recovery.restore import FETCH_SECONDS  # noqa: E402
from running_program import RunningProgram  # noqa: E402

WORKERS_COUNT = 3
ROOMS_COUNT = 8
LIGHT_COUNT = 24
OFFICIAL_ROOM = "official"
TICK_SECONDS = 0.02
PATIENCE_SECONDS = 60.0
START_SECONDS = 600.0  # of a few workers, on a machine with far more to do
REPORT = HERE.parents[1] / "build" / "delivery" / "report.json"
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
SERVES = re.compile(r"worker \d+ \(process (\d+)\) serves")
STANDS_STILL = "stands still: clients it loses may start anew"
KILLED = "has not ended in time: killed"  # by the supervisor, on a machine that is far too slow
# A client began anew, as it was away for longer than the log of events holds; not each has a line of its own.
FORGOTTEN = re.compile(r"recovery log does not reach back .*?\(max_bytes\)(?: \(and (\d+) more)?")
TRACEBACK = "Traceback (most recent call last)"


class Server:
    """`python -m python_server` with several workers, and its faults."""

    def __init__(self) -> None:
        self.program: RunningProgram | None = None
        self.faults: Counter[str] = Counter()

    async def start(self) -> str:
        place = ("--host", "127.0.0.1", "--port", "0", "--workers", str(WORKERS_COUNT), "--no-access-log")
        command = [sys.executable, "-m", "python_server", "delivery_app:app", *place]
        self.program = RunningProgram(command, HERE)
        await self._serving(WORKERS_COUNT)
        return self.program.find(ADDRESS)[0]

    @property
    def log(self) -> str:
        return self.program.log if self.program is not None else ""

    @property
    def is_alive(self) -> bool:
        return self.program is not None and self.program.is_alive

    @property
    def _pids(self) -> list[int]:
        """Of every worker that has ever served."""
        return [int(pid) for pid in SERVES.findall(self.log)]

    async def _serving(self, count: int) -> None:
        """Until so many workers have come, since the start."""
        await self._until(lambda: len(self._pids) >= count, f"{count} workers")

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        begun = time.monotonic()
        while not condition():
            assert self.program is not None
            if not self.program.is_alive or time.monotonic() - begun > START_SECONDS:
                raise AssertionError(f"waited in vain for {what}:\n{self.log}")
            await asyncio.sleep(TICK_SECONDS)

    async def roll(self) -> None:
        """HUP: all workers are replaced."""
        assert self.program is not None
        old = self._pids
        self.program.signal(signal.SIGHUP)
        await self._serving(len(old) + WORKERS_COUNT)
        await self._until(lambda: not any(map(alive, old)), "the end of the old workers")
        self.faults["rolled"] += 1

    async def kill(self, random: Random, died: Callable[[int], None]) -> None:
        """SIGKILL to one worker, of which `died` is told, until there is another one."""
        pids = self._pids
        victim = random.choice(sorted(filter(alive, pids)))
        died(victim)
        os.kill(victim, signal.SIGKILL)
        await self._serving(len(pids) + 1)
        self.faults["killed"] += 1

    def stop(self) -> int | None:
        """Its exit status."""
        return None if self.program is None else self.program.stop()


class Run:
    """One run: its server, its clients, and the story of their faults."""

    def __init__(self, events: int, cuts: int, faults: list[str], seed: int) -> None:
        self._events, self._cuts, self._faults, self._random = events, cuts, faults, Random(seed)
        self.seed = seed
        self.clients: list[LightClient] = []
        self.problems: list[str] = []
        self.seconds = 0.0
        self._begun = time.monotonic()
        self._prepare()

    def _prepare(self) -> None:
        """Who takes part: light clients by their ways, official ones behind them; nothing starts yet."""
        self._ways = [WAYS[name // ROOMS_COUNT % len(WAYS)] for name in range(LIGHT_COUNT + 1)]
        rooms = [f"room {number % ROOMS_COUNT}" for number in range(LIGHT_COUNT)] + [OFFICIAL_ROOM] * (
            1 + len(WAYS)
        )
        self._rooms = rooms
        self.checker = Checker([{room, "everybody"} for room in rooms])
        self.talk = Talk(self.checker)
        self.server = Server()
        self.official = OfficialClients(LIGHT_COUNT + 1, OFFICIAL_ROOM, self.talk)

    async def go(self) -> None:
        url = await self.server.start()
        for name, way in enumerate(self._ways):
            own = Random(self._random.random())
            self.clients.append(LightClient(name, way, self._rooms[name], url, self.talk, own))
        async with asyncio.TaskGroup() as lives:
            for client in self.clients:
                lives.create_task(client.live())
            lives.create_task(self.official.live(url))
            helpers = [lives.create_task(each) for each in (self._tick(), self._cut_now_and_then())]
            await self._story()
            self.seconds = time.monotonic() - self._begun
            for helper in helpers:
                helper.cancel()
            for client in self.clients:
                client.leave()
            self.official.leave()

    async def _story(self) -> None:
        await self._until(lambda: not self._waits(), "the connections")
        self.talk.talking = True
        steps_count = len(self._faults) + 1
        for step, fault in enumerate([*self._faults, "end"]):
            self.talk.quota = self._events * (step + 1) // steps_count
            await self._spoken(
                self._events * (2 * step + 1) // (2 * steps_count), f"the events before the {fault}"
            )
            if fault != "end":
                await self._do(fault)
            await self._spoken(self.talk.quota, f"the events after the {fault}")
        await self._fall_silent()

    async def _fall_silent(self) -> None:
        self.talk.talking = False
        await self._until(lambda: not self._waits(), "the last acknowledgements")
        self._settle()
        await self._until(lambda: not self._waits() and not self.checker.waits(), "the last events")

    async def _do(self, fault: str) -> None:
        if fault == "roll":
            await self.server.roll()
        elif fault == "kill":
            await self.server.kill(self._random, self.checker.died)

    def _settle(self) -> None:
        """Nothing is said any more: what cannot be owed is found out."""

    async def _spoken(self, count: int, what: str) -> None:
        await self._until(lambda: self._acknowledged() >= count, what)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        """Until it is true; when nothing is heard any more, that is a problem, and the checker says whose."""
        heard, since = -1, time.monotonic()
        while not condition():
            await asyncio.sleep(TICK_SECONDS)
            if not self.server.is_alive:
                raise AssertionError(f"the server has ended:\n{self.server.log}")
            now = sum(each.heard_count for each in self.checker.listeners)
            if now != heard:
                heard, since = now, time.monotonic()
            elif time.monotonic() - since > PATIENCE_SECONDS:
                self.problems.append(f"{PATIENCE_SECONDS:g} s without an event, waiting for {what}")
                break
        print(
            f"{time.monotonic() - self._begun:6.1f} s: {what}; {self._acknowledged()} acknowledged",
            flush=True,
        )

    def _acknowledged(self) -> int:
        return self.checker.counts["acknowledged"]

    def _waits(self) -> bool:
        return self.official.waits or any(client.waits for client in self.clients)

    def _look(self) -> None:
        """In each tick: may all go on at full speed?"""

    async def _tick(self) -> None:
        while True:
            self._look()
            for each in (*self.clients, self.official):
                each.tick()
            await asyncio.sleep(TICK_SECONDS)

    async def _cut_now_and_then(self) -> None:
        """Spread over the events, each at a random client."""
        async with asyncio.TaskGroup() as cuts:
            for number in range(self._cuts):
                while self._acknowledged() < self._events * (number + 1) // (self._cuts + 1):
                    await asyncio.sleep(TICK_SECONDS / 4)
                name = self._random.randrange(len(self._rooms))
                if name in self.official.names:
                    self.official.cut(name)
                else:
                    cuts.create_task(self.clients[name].cut(self._random.choice(CUTS)))

    def end(self) -> None:
        """The server ends; whatever has not happened in this run is a problem, and so is what was found."""
        if self.seconds:  # else what is on its way is no loss
            self.checker.finish()
        needed = self._needed(self.server.stop())
        self.problems += [f"there was not {what}" for what, count in needed.items() if not count]
        if self.checker.disordered:
            self.problems.append("events were heard twice or out of order")

    def _needed(self, status: int | None) -> dict[str, Any]:
        """What must have been, and whether it was; `status` is that of the server's exit."""
        counts, listeners = self.checker.counts, self.checker.listeners
        official = [listeners[name] for name in self.official.names]
        return {
            **{f"cut: {how}": self.talk.counts[f"cut: {how}"] for how in (*CUTS, "official client")},
            "a recovery": sum(each.recoveries for each in listeners),
            "a recovery of an official client": sum(each.recoveries for each in official),
            "an event at each client": min(each.heard_count for each in listeners),
            "an upgrade": self.talk.counts["upgrades"],
            f"{self._events} events acknowledged": counts["acknowledged"] >= self._events,
            **{f"workers {what}": self.server.faults[what] for what in ("rolled", "killed")},
            "a client that was told to begin anew": any(each.beginnings > 1 for each in listeners),
            "an exit with status 0": status == 0,
            "a log without traceback": self.server.log and TRACEBACK not in self.server.log,
            # An answer that took so long shows a worker that a returning client did not wait for.
            "a worker's death before a client began anew": counts["anew without a death"]
            <= forgotten_count(self.server.log)
            or self.talk.longest_wait_seconds >= FETCH_SECONDS
            or any(each in self.server.log for each in (STANDS_STILL, KILLED)),
        }

    def _heard_by(self, way: str) -> Iterator[int]:
        return (self.checker.listeners[each.name].heard_count for each in self.clients if each.way == way)

    def report(self) -> dict[str, Any]:
        listeners = self.checker.listeners
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "clients": len(listeners),
            **self.checker.counts,
            "heard": sum(each.heard_count for each in listeners),
            **{f"heard by {way}": sum(self._heard_by(way)) for way in WAYS},
            "heard by official clients": sum(listeners[name].heard_count for name in self.official.names),
            "returns recovered": sum(each.recoveries for each in listeners),
            "returns anew": sum(each.beginnings - 1 for each in listeners),
            **self.talk.counts,
            **{f"workers {what}": count for what, count in self.server.faults.items()},
            "longest wait": round(self.talk.longest_wait_seconds, 1),
            "waits": self.talk.longest_waits,
            "findings": self.checker.findings,
            "twice, or out of order": self.checker.disordered,
            "their clients": [
                f"client {each.name}, {each.way}, {each.room}: {'; '.join(each.history)}"
                for each in self.clients
                if each.name in self.checker.suspects
            ],
            "anew, as the server says, since the log is too short": forgotten_count(self.server.log),
            "workers that stood still": self.server.log.count(STANDS_STILL),
            "problems": self.problems,
        }


def forgotten_count(log: str) -> int:
    """How many clients, by a server's log, began anew since what they had missed was more than is kept."""
    return sum(1 + int(more or 0) for more in FORGOTTEN.findall(log))


def finished(run: Run, path: Path) -> bool:
    """Was anything found in the run? It is done, ended and reported, whatever happens."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(run.go())
    except KeyboardInterrupt:
        run.problems.append("interrupted")
    except BaseException as error:
        run.problems.append(repr(error))
        raise
    finally:
        run.end()
        report = run.report()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + "\n")
        for name, value in report.items():
            print(
                f"{name}: {value}"
                if not isinstance(value, list)
                else "\n".join([f"{name}:", *map(str, value)])
            )
        path.with_suffix(".log").write_text(run.server.log)
    return bool(run.problems or run.checker.findings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--events", type=int, default=1_000_000, help="acknowledged ones, from clients to the server"
    )
    parser.add_argument(
        "--cuts", type=int, default=0, help="of TCP connections; 0: one in 250 events, at least 60"
    )
    parser.add_argument("--rolls", type=int, default=0, help="0: one in 100,000 events, at least two")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args()
    if needs := missing():
        print(f"the official clients are missing: {needs}")
        return 3
    rolls = options.rolls or max(2, options.events // 100_000)
    faults = ["roll"] * rolls
    faults.insert(rolls // 2, "kill")
    run = Run(options.events, options.cuts or max(60, options.events // 250), faults, options.seed)
    return finished(run, options.report)


if __name__ == "__main__":
    sys.exit(main())
