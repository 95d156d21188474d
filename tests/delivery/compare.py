"""How many broadcasts arrive while a server is replaced and connections are cut: at ours and at others.

It must not know how a client counts: `compared/clients.mjs` does, with the official client.
"""

import argparse
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent / "common"), str(ROOT / "bench" / "e2e")]

import environment  # noqa: E402
from deliveries import SERVES  # noqa: E402
from official_clients import PACKAGES, missing  # noqa: E402

from asked_workers import alive  # noqa: E402
from own_ports import port_of_its_own  # noqa: E402
from running_program import RunningProgram  # noqa: E402

COMPARED = HERE / "compared"
CLIENTS_COUNT, EVENTS_COUNT, EACH_MILLISECONDS = 50, 600, 20
CUT_SHARE = 0.1
WORKERS_COUNT = 2
NODE_PACKAGES = ROOT / "bench" / "e2e" / "node_modules"
OURS = (sys.executable, "-m", "python_server", "ours_app:app", "--host", "127.0.0.1", "--no-access-log")


@dataclass(frozen=True, slots=True)
class Compared:
    """A server: its row's name, how a deploy is done, its command with {port}, its environment."""

    name: str
    deploy: Callable[["Site"], None]
    command: tuple[str, ...]
    environment: dict[str, str]


class Site:
    """A server that runs on one port, and can be replaced."""

    def __init__(self, compared: Compared) -> None:
        self._compared = compared
        self._port = port_of_its_own()
        self.url = f"http://127.0.0.1:{self._port}"
        self.program = self._start()

    def _start(self) -> RunningProgram:
        command = [word.replace("{port}", str(self._port)) for word in self._compared.command]
        program = RunningProgram(command, COMPARED, self._compared.environment)
        while not self._answers(program):
            time.sleep(0.02)
        return program

    def _answers(self, program: RunningProgram) -> bool:
        if not program.is_alive:
            raise SystemExit(f"{self._compared.name} has ended:\n{program.log}")
        if self._compared.deploy is Site.roll:
            return len(SERVES.findall(program.log)) >= WORKERS_COUNT
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def roll(self) -> None:
        """HUP to the supervisor, until all workers are new ones."""
        old = [int(pid) for pid in SERVES.findall(self.program.log)]
        self.program.signal(signal.SIGHUP)
        self.program.wait_for(" serves", len(old) + WORKERS_COUNT)
        while any(map(alive, old)):
            time.sleep(0.02)

    def restart(self) -> None:
        """SIGTERM to the process, and the same command again, on the same port."""
        self.program.stop()
        self.program = self._start()

    def deploy(self) -> None:
        self._compared.deploy(self)


def ours(recovery: bool) -> Compared:
    command = (*OURS, "--port", "{port}", "--workers", str(WORKERS_COUNT))
    name = f"here, {WORKERS_COUNT} workers" + (", recovery" if recovery else "")
    return Compared(name, Site.roll, command, {"RECOVERY": str(int(recovery))})


def node(recovery: bool) -> Compared:
    command = ("node", "node_site.cjs", str(NODE_PACKAGES), "{port}", str(int(recovery)))
    return Compared("Node's socket.io" + (", recovery" if recovery else ""), Site.restart, command, {})


def flask_socketio(mode: str) -> Compared:
    command = (str(environment.PYTHON), "flask_site.py", "{port}", mode)
    return Compared(f"Flask-SocketIO, {mode}", Site.restart, command, {})


NEEDED = re.compile("Flask|gevent|simple-websocket|node-socketio")
ALL = [
    *(server(recovery) for server in (ours, node) for recovery in (True, False)),
    *(flask_socketio(mode) for mode in ("gevent", "threading")),
]


def counted(compared: Compared, seed: int) -> dict[str, dict[str, int]]:
    """Of each phase: the counts of `clients.mjs`."""
    site = Site(compared)
    numbers = (CLIENTS_COUNT, EVENTS_COUNT, int(CLIENTS_COUNT * CUT_SHARE), EACH_MILLISECONDS, seed)
    command = ["node", str(COMPARED / "clients.mjs"), str(PACKAGES), site.url, *map(str, numbers)]
    clients = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert clients.stdin is not None
    assert clients.stdout is not None
    try:
        for line in clients.stdout:
            if line == "replace\n":
                site.deploy()
                clients.stdin.write("replaced\n")
                clients.stdin.flush()
            elif line.startswith("{"):
                phases: dict[str, dict[str, int]] = json.loads(line)
                return phases
        raise SystemExit(f"{compared.name}: no result; the end of its log:\n{site.program.log[-2000:]}")
    finally:
        clients.kill()
        clients.wait()
        clients.stdin.close()
        clients.stdout.close()
        site.program.stop()


def row(name: str, phases: dict[str, Counter[str]]) -> str:
    cells: list[Any] = [name]
    for counts in phases.values():
        percent = f"{100 * counts['once'] / counts['due']:.3f}"
        returns, wrong = counts["returns"], counts["doubled"] + counts["late"]
        lost = f"{counts['missed'] / returns:.1f}" if returns else "-"
        cells += [f"{percent} %", lost, f"{counts['recovered']} of {returns}", wrong]
    return f"| {' | '.join(map(str, cells))} |"


HEAD = """\
| server | deploy: once and in order | missed per return | recovered | twice or late \
| 10 % cut: once and in order | missed per return | recovered | twice or late |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", action="append", help="its row's name; again for each; all without it")
    parser.add_argument("--rounds", type=int, default=3, help="of all in turn; their counts are added up")
    parser.add_argument("--seed", type=int, default=1, help="of the first round's cuts")
    options = parser.parse_args()
    names = options.server or [each.name for each in ALL]
    chosen = [each for each in ALL if each.name in names]
    if len(chosen) < len(names):
        print(f"there are: {'; '.join(each.name for each in ALL)}")
        return 3
    peers = any(each.deploy is Site.restart for each in chosen)
    troubles = environment.install_peers() if peers else []
    if needs := missing() or [each for each in troubles if NEEDED.search(each)]:
        print(f"missing: {needs}")
        return 3
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    totals: dict[str, dict[str, Counter[str]]] = {}
    problems = ["interrupted"]
    try:
        for seed in range(options.seed, options.seed + options.rounds):
            for compared in chosen:
                phases = counted(compared, seed)
                print(compared.name, json.dumps(phases), flush=True)
                total = totals.setdefault(compared.name, {})
                for phase, counts in phases.items():
                    total.setdefault(phase, Counter()).update(counts)
        problems.clear()
    except KeyboardInterrupt:
        pass  # what was counted is shown
    print(HEAD, *(row(name, phases) for name, phases in totals.items()), sep="\n")
    idle = [name for name, phases in totals.items() if not all(each["returns"] for each in phases.values())]
    problems += [f"{name}: nobody had to return" for name in idle]
    print(*problems, sep="\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
