"""Two machines, each in a network namespace, with Redis and nginx before them; and their faults.

It must not know clients, or what a fault may cost them.
"""

import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson
import redis

from asked_workers import alive
from network_spaces import NETWORKS, SITE_ADDRESS, Spaces, space_of
from outside_tools import outside_tool
from own_nginx import Nginx
from page_blocks import blocks_of
from running_program import RunningProgram

HERE = Path(__file__).resolve().parent
WORKERS_COUNT = 2
PORT, LINK_PORT, REDIS_PORT = 8000, 7000, 6379
SECRET = "of all machines"
STREAM_MAX_COUNT = 10_000_000
CUT_SECONDS = 5.0
EDGE_SECONDS = 0.1  # of a cut: what is on its way then counts for neither side
TICK_SECONDS, START_SECONDS = 0.02, 600.0
SERVES = re.compile(r"worker \d+ \(process (\d+)\) serves")
JOINED, AGAIN = "joined the broker", "is there again"
READ_COUNT = 1000
LOG_FORMAT = "log_format passed '$msec $request_time $status $request_method $request_uri $upstream_addr';\n"
UPSTREAM = re.compile(rf"{re.escape(NETWORKS['front'])}\.(\d+):{PORT}")
HOME = re.compile(r"[?&]sid=m(\d+)\.")


class Passed(NamedTuple):
    """A request that went to another machine than its session's, as nginx has seen it."""

    relay: int
    home: int
    kind: str
    status: int
    began_at: float
    ended_at: float


class Machine:
    """`python -m python_server` with several workers in a namespace of its own, again and again."""

    def __init__(self, number: int, space: str) -> None:
        self.number, self._space = number, space
        self._former_logs: list[str] = []
        self.network = ""
        self.start()

    def start(self) -> None:
        front, links = (f"{prefix}.{self.number}" for prefix in NETWORKS.values())
        broker = f"redis+streams://{SITE_ADDRESS}:{REDIS_PORT}/0?maxlen={STREAM_MAX_COUNT}"
        options = {
            "host": front,
            "port": PORT,
            "workers": WORKERS_COUNT,
            "machine-tag": f"m{self.number}",
            "cluster-listen": f"{links}:{LINK_PORT}",
            "cluster-secret": SECRET,
            "control-socket": "none",
        }
        command = [
            "ip",
            "netns",
            "exec",
            self._space,
            sys.executable,
            "-m",
            "python_server",
            "machines_app:app",
        ]
        command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        environment = {"BROKER": broker, "STORE": f"redis://{SITE_ADDRESS}:{REDIS_PORT}/1"}
        self.program = RunningProgram(
            [*command, "--no-access-log"], HERE, environment, start_new_session=True
        )

    @property
    def is_serving(self) -> bool:
        """Do all of its workers serve? Then it is known which they are, and where."""
        workers = {int(pid) for pid in SERVES.findall(self.program.log)}
        if len(workers) < WORKERS_COUNT or JOINED not in self.program.log:
            return False
        networks = {space_of(pid) for pid in workers if alive(pid)}  # one may be replaced, where all is slow
        assert len(networks) == 1
        self.network = networks.pop()
        return True

    @property
    def pids(self) -> set[int]:
        """Of all workers that have ever served."""
        return {int(pid) for pid in SERVES.findall(self.log)}

    @property
    def log(self) -> str:
        return "".join([*self._former_logs, self.program.log])

    def has_ended(self) -> None:
        """Its program has: its last words are kept."""
        self._former_logs.append(f"{self.program.log}--- machine {self.number} has ended ---\n")


class Site:
    """Everything that serves. To be used in the namespace of the site."""

    def __init__(self, spaces: Spaces) -> None:
        self._spaces = spaces
        self._folder = tempfile.TemporaryDirectory(prefix="machines-")
        self._programs: list[RunningProgram] = []
        self.machines: list[Machine] = []
        self.killed_pids: set[int] = set()
        self.faults: Counter[str] = Counter()
        self._cuts: list[tuple[float, float]] = []
        self.passed_on: list[Passed] = []  # requests, as far as nginx's log is read
        self.requests_count = 0
        self.answered: Counter[int] = Counter()  # requests with status 200, by machine
        self._nginx: Nginx | None = None
        self._log_position = 0

    # Its life

    async def start(self) -> str:
        """The URL of nginx."""
        for name in ("redis", "nginx"):
            (Path(self._folder.name) / name).mkdir()
        self._redis = self._start_redis()
        await self._until(lambda: "Ready to accept" in self._redis.log, "Redis")
        self.machines = [Machine(number, space) for number, space in self._spaces.machines.items()]
        await self._until(
            lambda: not [each for each in self.machines if not each.is_serving], "both machines"
        )
        self._nginx = await asyncio.to_thread(Nginx, Path(self._folder.name) / "nginx", self._blocks)
        self._programs.append(self._nginx)
        return f"http://127.0.0.1:{self._nginx.port}"

    def _start_redis(self) -> RunningProgram:
        kept = (
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
            "--dir",
            f"{self._folder.name}/redis",
        )
        place = ("--bind", SITE_ADDRESS, "--port", str(REDIS_PORT), "--protected-mode", "no")
        self._programs.append(
            RunningProgram([outside_tool("redis-server"), *place, *kept], Path(self._folder.name))
        )
        return self._programs[-1]

    def _blocks(self, port: int) -> str:
        """The page's, with the addresses of the machines, and a log of which machine got what."""
        (block,) = (each for each in blocks_of("docs/scaling.md", "nginx") if "machines_in_turn" in each)
        for machine in self.machines:
            block = block.replace(
                f"10.0.0.{machine.number}:8000", f"{NETWORKS['front']}.{machine.number}:{PORT}"
            )
        logged = f"listen 127.0.0.1:{port};\n    access_log {self._access_log} passed;"
        return LOG_FORMAT + block.replace("listen 80;", logged)

    @property
    def _access_log(self) -> Path:
        return Path(self._folder.name) / "nginx" / "access.log"

    @property
    def is_alive(self) -> bool:
        return bool(self._programs) and self._programs[-1].is_alive

    @property
    def log(self) -> str:
        parts = [(f"machine {machine.number}", machine.log) for machine in self.machines]
        if self._nginx is not None:
            parts.append(("nginx", self._nginx.log))
        return "".join(f"--- {name} ---\n{log}" for name, log in parts)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        begun = time.monotonic()
        while not condition():
            if time.monotonic() - begun > START_SECONDS:
                raise AssertionError(f"waited in vain for {what}:\n{self.log}")
            await asyncio.sleep(TICK_SECONDS)

    def stop(self) -> int | None:
        """0: all machines have ended in order."""
        statuses = [machine.program.stop() for machine in self.machines]
        self.look()
        for program in reversed(self._programs):
            program.stop(signal.SIGTERM)
        self._folder.cleanup()
        return next((status for status in statuses if status != 0), 0) if statuses else None

    # Its faults

    async def restart_redis(self) -> None:
        """SIGKILL, as in a crash, and the same again with what is in its file."""
        counts = [machine.log.count(AGAIN) for machine in self.machines]
        self._programs.remove(self._redis)
        await asyncio.to_thread(self._redis.kill)
        self._redis = self._start_redis()
        self._programs.insert(0, self._programs.pop())
        logs = zip(self.machines, counts, strict=True)
        for seen in [partial(self._says_again, machine, count) for machine, count in logs]:
            await self._until(seen, "the broker's return")
        self.faults["Redis restarted"] += 1

    @staticmethod
    def _says_again(machine: Machine, count: int) -> bool:
        return machine.log.count(AGAIN) > count

    async def drain(self, number: int) -> None:
        """SIGTERM to the supervisor, until all has ended; then it starts again."""
        machine = self.machines[number - 1]
        machine.program.signal(signal.SIGTERM)
        await self._until(lambda: not machine.program.is_alive, "the end of a machine")
        status = await asyncio.to_thread(machine.program.end)
        assert status == 0, f"machine {number} has ended with status {status}:\n{machine.log}"
        await self._again(machine)
        self.faults["machines drained"] += 1

    async def kill(self, number: int) -> None:
        """SIGKILL to all of its processes at once; then it starts again."""
        machine = self.machines[number - 1]
        assert machine.is_serving
        self.killed_pids |= {int(pid) for pid in SERVES.findall(machine.program.log)}
        os.killpg(machine.program.pid, signal.SIGKILL)
        await self._until(lambda: not any(map(alive, machine.pids)), "the end of killed processes")
        assert await asyncio.to_thread(machine.program.end) == -signal.SIGKILL
        await self._again(machine)
        self.faults["machines killed"] += 1

    async def _again(self, machine: Machine) -> None:
        machine.has_ended()
        machine.start()
        await self._until(lambda: machine.is_serving, f"machine {machine.number}, again")

    async def cut(self, number: int, *networks: str) -> None:
        """For five seconds nothing comes from a machine, or to it: there is no such port at the bridge."""
        for network in networks:
            self._spaces.cut(network, number)
        begun = time.time()
        await asyncio.sleep(CUT_SECONDS)
        self._cuts.append((begun, time.time()))
        for network in networks:
            self._spaces.join(network, number)
        self.faults[f"cuts of {' and '.join(networks)}"] += 1

    # What has been

    def look(self) -> None:
        """Read on in nginx's log."""
        if not self._access_log.exists():
            return
        with self._access_log.open() as log:
            log.seek(self._log_position)
            text = log.read()
        whole = text[: text.rfind("\n") + 1]
        self._log_position += len(whole.encode())
        for line in whole.splitlines():
            self.requests_count += 1
            self._note(*line.split(maxsplit=5))

    def _note(self, ended: str, seconds: str, status: str, method: str, uri: str, upstreams: str) -> None:
        relays, home = UPSTREAM.findall(upstreams), HOME.search(uri)
        if relays and status == "200":
            self.answered[int(relays[-1])] += 1
        if not relays or home is None or relays[-1] == home[1]:
            return
        kind = {"GET": "poll", "POST": "post"}.get(method, method)
        if "transport=websocket" in uri:
            kind = "WebSocket"
        began = float(ended) - float(seconds)
        self.passed_on.append(Passed(int(relays[-1]), int(home[1]), kind, int(status), began, float(ended)))

    def passed(self) -> Counter[str]:
        """How many requests of which kind were answered by way of which machine for which."""
        return Counter(
            f"{each.kind} at machine {each.relay} for machine {each.home}"
            for each in self.passed_on
            if each.status in (200, 101)
        )

    def roles(self, number: int, first: int, last: int | None = None) -> tuple[int, int]:
        """Of the requests passed on from one to another: those by that machine, and those to it."""
        answered = [each for each in self.passed_on[first:last] if each.status in (200, 101)]
        return sum(each.relay == number for each in answered), sum(each.home == number for each in answered)

    def met_by_cuts(self) -> tuple[int, int]:
        """Requests for another machine that waited until a cut was over, and those that passed within it."""
        waited = passed = 0
        for begun, ended in self._cuts:
            first, last = begun + EDGE_SECONDS, ended - EDGE_SECONDS
            for each in self.passed_on:
                if each.kind != "WebSocket" and each.began_at < last:
                    waited += each.ended_at > last
                    passed += each.began_at > first and each.ended_at < last and each.status == 200
        return waited, passed

    def in_the_stream(self, pids: set[int]) -> dict[int, dict[str, int]]:
        """Of each of these processes: the last place of each room that Redis has."""
        found: dict[int, dict[str, int]] = {pid: {} for pid in pids}
        with redis.Redis(SITE_ADDRESS, REDIS_PORT) as connection:
            (stream,) = connection.scan_iter(_type="stream")
            after = b"-"
            while entries := connection.xrange(stream, after, count=READ_COUNT):
                for _, fields in entries:
                    message = orjson.loads(fields[b"data"])
                    if message.get("event") == "told":
                        pid, room, place, *_ = message["data"][0]
                        if pid in pids:
                            found[pid][room] = max(place, found[pid].get(room, 0))
                after = b"(" + entries[-1][0]
        return found

    def kept(self, client: int) -> list[int]:
        """The client's own numbers, in the order in which they came."""
        with redis.Redis(SITE_ADDRESS, REDIS_PORT, db=1) as connection:
            return [int(number) for number in connection.lrange(f"kept {client}", 0, -1)]
