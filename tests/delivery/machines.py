"""Numbered events both ways at two machines in network namespaces, while Redis, machines and links fail.

It must not know how a fault is done, or what a client does on the wire.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "common")]

from deliveries import TRACEBACK, Run, finished  # noqa: E402
from delivery_checker import Checker  # noqa: E402
from light_clients import Talk  # noqa: E402
from machine_site import Site  # noqa: E402
from official_clients import KeepingClients, missing  # noqa: E402

from network_spaces import Spaces, missing_network, space_of  # noqa: E402

MACHINES_COUNT = 2
LIGHT_WAYS = ["polling", "polling", "upgrade", "upgrade"]
OFFICIAL_WAYS = ("polling", "upgrade") * 4
RETRIES_COUNT = 1_000_000
# Events on the way to the slowest client: it begins anew if there are too many more (SENT_MAX_COUNT).
BEHIND_MAX_COUNT = 200
TRIES_COUNT = 200  # requests after which all come anew, if a machine has not passed on and been passed to
ROOM = "of all"
REPORT = HERE.parents[1] / "build" / "delivery" / "machines.json"
INTERRUPTED = 1


def faults_of(rounds: int) -> list[str]:
    """Each once in a round; the machines take turns."""
    faults = []
    for number in range(rounds):
        one, other = number % 2 + 1, (number + 1) % 2 + 1
        network = ("links", "links,front")[number % 2]
        faults += ["redis", f"drain {one}", f"kill {other}", f"cut {one} {network}"]
    return faults


class MachinesRun(Run):
    """One run: the light clients are told to all, the official ones keep numbers of their own as well."""

    server: Site  # type: ignore[assignment]
    official: KeepingClients

    def __init__(self, spaces: Spaces, events: int, rounds: int, seed: int) -> None:
        self._spaces = spaces
        self._returns: list[tuple[str, int, int]] = []  # what had come back when a fault began
        # A machine's fault, and what was passed on since the one before it.
        self._spans: list[tuple[str, int, int, int]] = []
        self._since = 0
        self._written: dict[int, dict[str, int]] = {}
        super().__init__(events, 0, faults_of(rounds), seed)

    def _prepare(self) -> None:
        self._ways = LIGHT_WAYS
        self._rooms = [ROOM] * (len(LIGHT_WAYS) + len(OFFICIAL_WAYS))
        self.checker = Checker([{room, "everybody"} for room in self._rooms], across_machines=True)
        self.talk = Talk(self.checker)
        self.server = Site(self._spaces)
        self.official = KeepingClients(len(LIGHT_WAYS), ROOM, self.talk, OFFICIAL_WAYS, RETRIES_COUNT)

    def _look(self) -> None:
        self.talk.holds = self.checker.most_behind() > BEHIND_MAX_COUNT

    async def _story(self) -> None:
        await self._until(lambda: not self._waits(), "the connections")
        self.talk.talking = True
        share = self._events // (len(self._faults) + 1)
        for fault in self._faults:
            self._since = len(self.server.passed_on)
            said, begun = self.checker.counts["said"], self._acknowledged()
            self.talk.quota = said + share // 2
            await self._spoken(begun + share // 2, f"the events before the {fault}")
            await self._play_both_roles(fault)
            self.talk.quota = max(said, self.checker.counts["said"] - share // 2) + share  # during the fault
            await self._do(fault)
            await self._scatter(fault)
        self.talk.quota = max(self._events, self.checker.counts["said"] + share)
        await self._spoken(self._events, "the events after all faults")
        self._note("end")
        await self._fall_silent()

    async def _do(self, fault: str) -> None:
        self._note(fault)
        what, *words = fault.split()
        if words:
            self._spans.append((what, int(words[0]), self._since, len(self.server.passed_on)))
        if what == "redis":
            await self.server.restart_redis()
        elif what == "drain":
            await self.server.drain(int(words[0]))
        elif what == "kill":
            self.checker.died()
            await self.server.kill(int(words[0]))
        else:
            await self.server.cut(int(words[0]), *words[1].split(","))

    async def _play_both_roles(self, fault: str) -> None:
        """Until the machine of the fault has passed on, and others to it; if it does not, all come anew."""
        site, number = self.server, fault.split()[1:2]
        if not number:
            return
        site.look()
        while not all(site.roles(int(number[0]), self._since)):
            last = site.requests_count + TRIES_COUNT

            def is_seen(last: int = last) -> bool:
                site.look()
                return site.requests_count >= last or all(site.roles(int(number[0]), self._since))

            await self._until(is_seen, f"both roles before the {fault}")
            if not all(site.roles(int(number[0]), self._since)):
                await self._scatter(f"wrong turns before the {fault}")

    async def _scatter(self, fault: str) -> None:
        """So that each machine has clients of its own and passes on for others when the next fault comes.

        nginx sends nothing to a machine that was away for ten seconds more: until it does.
        """
        site = self.server
        site.look()
        answered = Counter(site.answered)

        def all_answer() -> bool:
            site.look()
            return all(site.answered[each.number] > answered[each.number] for each in site.machines)

        await self._until(all_answer, f"an answer of each machine after the {fault}")
        await self._until(lambda: self.official.are_connected, f"the return of all after the {fault}")
        self._note(f"new turns after the {fault}")
        returns = self._returns_of_officials()
        self.official.scatter()
        await self._until(
            lambda: all(
                now > before for now, before in zip(self._returns_of_officials(), returns, strict=True)
            ),
            "new turns",
        )

    def _returns_of_officials(self) -> list[int]:
        listeners = self.checker.listeners
        return [listeners[name].recoveries + listeners[name].beginnings for name in self.official.names]

    def _settle(self) -> None:
        """What a killed process had not written is lost with it; what is kept is what was said, in order."""
        self._written = self.server.in_the_stream(self.server.killed_pids)
        for pid, places in self._written.items():
            self.checker.lost_with(pid, places)
        findings = self.official.findings
        for name, last in self.official.kept.items():
            if (numbers := self.server.kept(name)) != [*range(1, last + 1)]:
                wrong = next((pair for pair in enumerate(numbers, 1) if pair[0] != pair[1]), None)
                findings.append(
                    f"client {name}: {last} acknowledged, {len(numbers)} kept, first wrong: {wrong}"
                )

    def _note(self, what: str) -> None:
        listeners = self.checker.listeners
        self._returns.append(
            (what, sum(each.recoveries for each in listeners), sum(each.beginnings for each in listeners))
        )

    def _needed(self, status: int | None) -> dict[str, Any]:
        counts, listeners, site = self.checker.counts, self.checker.listeners, self.server
        passed = site.passed()
        by_way = {
            way: [
                listeners[name]
                for name, each in zip(self.official.names, OFFICIAL_WAYS, strict=True)
                if each == way
            ]
            for way in set(OFFICIAL_WAYS)
        }
        waited, leaked = site.met_by_cuts()
        one, other = (machine.pids for machine in site.machines) if site.machines else (set(), set())
        told = self.checker.processes
        return {
            **{
                f"{kind} at machine {relay} for machine {home}": passed[
                    f"{kind} at machine {relay} for machine {home}"
                ]
                for kind in ("poll", "post")
                for relay, home in ((1, 2), (2, 1))
            },
            "a WebSocket for another machine": any(what.startswith("WebSocket") for what in passed),
            **{
                f"passing on by machine {number} and to it before its {what} ({turn})": all(
                    site.roles(number, *span)
                )
                for turn, (what, number, *span) in enumerate(self._spans, 1)
            },
            **{f"a recovery by {way}": sum(each.recoveries for each in by_way[way]) for way in by_way},
            "each fault": sum(site.faults.values()) == len(self._faults),
            "an event at each client": min(each.heard_count for each in listeners),
            "a number kept of each client": min(self.official.kept.values()),
            "a number that was sent again": self.talk.counts["resent"],
            f"{self._events} events acknowledged": counts["acknowledged"] >= self._events,
            "a request that waited for the end of a cut": waited,
            "a cut that let nothing pass": not leaked,
            # Of its two workers one may never have had a client that speaks.
            "an event in the stream of a killed process": any(self._written.values()),
            "a process of each machine that told something": told & one and told & other,
            "a machine for each process that told something": told <= one | other,
            "another process for each worker": not one & other,
            "a network of its own for each machine": len(
                {space_of(), *(machine.network for machine in site.machines)}
            )
            == MACHINES_COUNT + 1,
            "a number in its place": not self.official.findings,
            "an exit with status 0": status == 0,
            "a log without traceback": site.log and TRACEBACK not in site.log,
        }

    def report(self) -> dict[str, Any]:
        listeners, site = self.checker.listeners, self.server
        ways = [*LIGHT_WAYS, *(f"official {way}" for way in OFFICIAL_WAYS)]
        waited, leaked = site.met_by_cuts()
        return {
            **super().report(),
            **{
                f"recovered and anew, {way}": [
                    sum(listeners[name].recoveries for name, each in enumerate(ways) if each == way),
                    sum(listeners[name].beginnings - 1 for name, each in enumerate(ways) if each == way),
                ]
                for way in dict.fromkeys(ways)
            },
            **{f"passed on: {what}": count for what, count in sorted(site.passed().items())},
            **{
                f"recovered and anew, from the {what} on": [later[1] - recovered, later[2] - anew]
                for (what, recovered, anew), later in zip(self._returns, self._returns[1:], strict=False)
            },
            **{
                f"passed on by machine {number}, and to it, before its {what} ({turn})": site.roles(
                    number, *span
                )
                for turn, (what, number, *span) in enumerate(self._spans, 1)
            },
            "requests that waited for the end of a cut": waited,
            "requests that passed within it": leaked,
            "numbers": self.official.findings,
        }


def inside(options: argparse.Namespace) -> int:
    """The run, in the site's namespace."""
    spaces = Spaces(options.spaces, MACHINES_COUNT)
    run = MachinesRun(spaces, options.events, options.rounds, options.seed)
    return int(finished(run, options.report))


def around(arguments: list[str]) -> int:
    """Make the namespaces, have the run there, and remove them whatever happens."""
    with Spaces(f"wsframe-{os.getpid()}", MACHINES_COUNT) as spaces:
        command = [sys.executable, __file__, *arguments, "--spaces", spaces.site.removesuffix("-site")]
        # A session of its own: Ctrl+C comes to it once, from here.
        run = subprocess.Popen(["ip", "netns", "exec", spaces.site, *command], start_new_session=True)
        status = None
        while status is None:
            try:
                status = run.wait()
            except KeyboardInterrupt:
                run.send_signal(signal.SIGINT)
        if left_count := spaces.remove():
            print(f"{left_count} processes had to be killed after the run")
            return 1
    return INTERRUPTED if status < 0 else status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="acknowledged ones, told to all clients")
    parser.add_argument("--rounds", type=int, default=2, help="of faults: in each all of them once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--spaces", help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.spaces:
        return inside(options)
    if needs := missing() or missing_network():
        print(f"cannot be run here: {needs}")
        return 3
    with contextlib.suppress(KeyboardInterrupt):
        return around(sys.argv[1:])
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
