"""The soak: two machines joined by Redis, good and bad traffic at once, faults on a schedule, and a verdict.

It must not know what is good (judge.py) or how clients and abusers speak (good.py, good.mjs, abuse.py).
Record and logs stay in build/soak. Exit status: 0, 1 with findings, 2 without a tool, 130 when interrupted.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import judge
import measure
import trustme
from machines import BROKER, HERE, WORKERS, Broker, Child, Machine, until

# Idle threads of the pools end after 60 s, sessions that were left after 20 s.
DRAIN_SECONDS = 66.0
ACK_SECONDS = 60.0  # without one, on a connection that lives, an event counts as not acknowledged
PLANTS = ("memory", "descriptor", "thread", "traceback", "double", "loss", "silence")


class Soak:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.folder: Path = arguments.folder
        self.random = random.Random(arguments.seed)
        self.children: list[Child] = []
        self.machines: list[Machine] = []
        self.record: dict[str, Any] = {
            "seed": arguments.seed,
            "seconds": arguments.minutes * 60,
            "plant": arguments.plant,
            "workers": WORKERS,
            "started": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            "load": [os.getloadavg()[0]],
            "phases": {},
            "faults": [],
            "samples": [],
            "roles": {},
            "problems": [],
            "certificates": [],
            "processor_seconds": {},
        }
        self._sampling = threading.Event()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
        begun = time.time()
        try:
            yield
        finally:
            self.record["phases"][name] = [begun, time.time()]

    def sample(self) -> None:
        """Once a second, until the machines are told to end."""
        while not self._sampling.wait(1.0):
            now = time.time()
            for machine in self.machines:
                for pid in [machine.pid, *machine.workers()]:
                    role = "supervisor" if pid == machine.pid else "worker"
                    self.record["roles"].setdefault(str(pid), [machine.name, role])
                    if (seen := measure.look_at(pid, now)) is not None:
                        self.record["samples"].append(list(seen))

    def start(self) -> None:
        self.broker = Broker(self.folder)
        plant = ",".join(self.arguments.plant)
        for name, authority in (("plain", None), ("secure", trustme.CA())):
            self.machines.append(Machine(name, self.broker, plant, authority))
        for machine in self.machines:
            until(lambda machine=machine: machine.child.says("") and machine.is_settled(), machine.name)
        threading.Thread(target=self.sample, daemon=True).start()

    def generator(self, name: str, program: list[Any], **config: Any) -> Child:
        path = self.folder / f"{name}.config.json"
        config |= {"report": str(self.folder / f"{name}.report.json"), "patience_seconds": ACK_SECONDS}
        config |= {"pause_seconds": 0.5, "last_words_seconds": 5, "seed": self.arguments.seed}
        path.write_text(json.dumps(config))
        self.children.append(Child(self.folder, name, [*program, path]))
        return self.children[-1]

    def good_clients(self) -> list[Child]:
        """Of each library, on each machine, over each transport, and over both."""
        started = []
        transports = (["polling"], ["websocket"], ["polling", "websocket"])
        for name, program, times in (
            ("python", [sys.executable, HERE / "good.py"], 1),
            ("node", ["node", HERE / "good.mjs"], 2),
        ):
            clients = [
                {"name": f"{name}{number}", "url": machine.url, "machine": machine.place, "transports": ways}
                for number, (machine, ways) in enumerate(
                    [(machine, ways) for machine in self.machines for ways in transports * times]
                )
            ]
            started.append(self.generator(f"good-{name}", program, clients=clients))
        for child in started:
            until(lambda child=child: child.says("ready"), f"the clients of {child.name}")
        return started

    # The faults: each returns when all is well again.

    def kill(self, machine: Machine) -> None:
        """The youngest worker: another lives long enough to be measured."""
        before, victim = machine.started_count(), machine.workers()[-1]
        os.kill(victim, signal.SIGKILL)
        until(lambda: machine.started_count() > before and machine.is_settled(), "another worker")

    def roll(self, machine: Machine) -> None:
        before, old = machine.started_count(), set(machine.workers())
        os.kill(machine.pid, signal.SIGHUP)
        until(
            lambda: (
                machine.started_count() >= before + WORKERS
                and not old & set(machine.workers())
                and machine.is_settled()
            ),
            "new workers",
        )

    def renew(self, machine: Machine) -> None:
        """A new certificate, and a rolling restart that puts it to use; nobody loses a connection for it."""
        before = machine.served_certificate()
        machine.renew()
        self.roll(machine)
        self.record["certificates"].append([before, machine.served_certificate()])

    def restart_broker(self, _: Machine) -> None:
        self.broker.child.end(signal.SIGKILL)
        gone = [0.0] * WORKERS
        for machine in self.machines:
            until(lambda machine=machine: machine.metric(BROKER) == gone, "all without broker")
        self.broker.start()
        for machine in self.machines:
            until(machine.is_settled, "all with the broker again")

    def fault(self, kind: str, machine: Machine) -> None:
        faults = {
            "worker killed": self.kill,
            "workers rolled": self.roll,
            "certificate renewed": self.renew,
            "broker restarted": self.restart_broker,
        }
        begun = time.time()
        try:
            faults[kind](machine)
        except TimeoutError as error:
            self.record["problems"].append(f"{kind} on {machine.name}: {error}")
        told = {"kind": kind, "machine": machine.name, "at": begun, "settled": time.time()}
        self.record["faults"].append(told)
        print(
            f"{time.strftime('%H:%M:%S')}   {kind}, {machine.name}: {time.time() - begun:.1f} s", flush=True
        )

    def faults_until(self, end: float) -> None:
        """All of them at least once. In the long form only kills and the broker's in the middle, so that the
        older worker of each machine lives long enough for a slope.
        """
        plain, secure = self.machines
        light = [("worker killed", plain), ("broker restarted", plain), ("worker killed", secure)]
        whole = [("workers rolled", plain), ("certificate renewed", secure), *light]
        is_long = self.record["seconds"] >= judge.LONG_SECONDS
        begun = time.time()
        plan = list(whole)
        while time.time() < end or len(self.record["faults"]) < len(whole):
            self.fault(*plan.pop(0))
            time.sleep(self.random.uniform(20, 50) if is_long else self.random.uniform(2, 4))
            if not plan:
                in_middle = is_long and (time.time() - begun) < 0.85 * (end - begun)
                plan = list(light if in_middle else whole)

    def run(self) -> None:
        seconds = self.record["seconds"]
        with self.phase("start"):
            self.start()
        with self.phase("idle"):
            time.sleep(4)
        quiet_seconds = min(max(seconds * 0.1, 15), 120)
        with self.phase("good clients come"):
            good = self.good_clients()
        end = time.time() + seconds - DRAIN_SECONDS
        with self.phase("warm-up"):
            time.sleep(quiet_seconds / 2)
        with self.phase("quiet"):
            time.sleep(quiet_seconds)
        abuse = self.generator(
            "abuse", [sys.executable, HERE / "abuse.py"], machines=[each.place for each in self.machines]
        )
        with self.phase("abuse"):
            until(lambda: abuse.says("ready"), "the abusers")
            time.sleep(quiet_seconds)
        with self.phase("faults"):
            self.faults_until(end)
        for child in self.children:
            self.record["processor_seconds"][child.name] = measure.processor_seconds(child.process.pid)
        with self.phase("traffic ends"):
            for child in (abuse, *good):
                if (status := child.end(None)) != 0:
                    self.record["problems"].append(f"{child.name} ended with {status}: see {child.log}")
        with self.phase("drain"):
            time.sleep(DRAIN_SECONDS)

    def stop(self) -> None:
        """Everything that was started, whatever has happened."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self._sampling.set()
        for child in self.children:
            if child.process.poll() is None:
                child.end(None, 15)
        groups = [machine.pid for machine in self.machines]
        for machine in self.machines:
            if (status := machine.child.end(signal.SIGTERM)) != 0:
                self.record["problems"].append(f"the server {machine.name} ended with {status} at SIGTERM")
        for child in Child.started:
            child.end(signal.SIGKILL)
        self.record["left_processes"] = [group for group in groups if measure.group_lives(group)]
        self.record["load"].append(os.getloadavg()[0])

    def collect(self) -> None:
        """What all have written."""
        for name in ("good-python", "good-node", "abuse"):
            path = self.folder / f"{name}.report.json"
            self.record[name] = json.loads(path.read_text()) if path.exists() else None
        told = [line for path in self.folder.glob("told.*") for line in path.read_text().splitlines()]
        lives = [line for path in self.folder.glob("live.*") for line in path.read_text().splitlines()]
        self.record["live"] = [[float(word) for word in line.split()] for line in lives]
        self.record["told"] = judge.stretches(told)
        self.record["tracebacks"] = [
            raised
            for machine in self.machines
            for raised in measure.tracebacks(
                machine.child.log.read_text(errors="replace"), "RuntimeError: raised on purpose"
            )
        ]
        (self.folder / "record.json").write_text(json.dumps(self.record))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="3 in CI; below 15 no slope and no p99")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--folder", type=Path, default=HERE.parents[1] / "build" / "soak")
    parser.add_argument(
        "--plant", choices=PLANTS, action="append", default=[], help="a fault in the application, to be found"
    )
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.resolve()
    missing = [name for name in ("redis-server", "node") if shutil.which(name) is None]
    if not (HERE.parent / "e2e/node_modules/socket.io-client").is_dir():
        missing.append("npm ci --prefix tests/e2e")
    if missing or not Path("/proc/self/fd").is_dir():
        print(f"the soak needs Linux's /proc and {', '.join(missing)}", file=sys.stderr)
        return 2
    shutil.rmtree(arguments.folder, ignore_errors=True)
    arguments.folder.mkdir(parents=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    soak = Soak(arguments)
    print(
        f"seed {arguments.seed}, {arguments.minutes:g} minutes, record and logs in {arguments.folder}",
        flush=True,
    )
    interrupted = False
    try:
        soak.run()
    except KeyboardInterrupt:
        interrupted = True
    except (RuntimeError, TimeoutError) as error:
        soak.record["problems"].append(str(error))
    finally:
        soak.stop()
        soak.collect()
    print(judge.table(soak.record))
    if interrupted:
        print(f"interrupted: what was found by now is in {arguments.folder}/record.json")
        return 130
    findings = judge.findings(soak.record)
    print("\n".join(f"FINDING {each}" for each in findings) or "no findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
