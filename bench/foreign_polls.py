"""What a poll costs that comes to another machine than its session: `python bench/foreign_polls.py`.

It must not know the server's insides. Two machines of one worker share a redis-server and pass requests
on to each other (--cluster-listen). Sessions live on the first. Their posts and polls go to the first (local)
and to the second (foreign) in turn: the time of one alone, and the CPU of both machines for many at once.
Then polls are parked at the second. The goals: 0.5 ms at the median, twice the CPU; for a parked one no
thread and 16 KiB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "common"))
from own_ports import port_of_its_own

APPLICATION = """
import os
from python_server import Server, WSGIApp
server = Server(message_queue=os.environ["BROKER"], ping_interval=3600)

@server.on("echo", inline=True)
def echo(sid, number):
    return number

app = WSGIApp(server, lambda environ, start: [start("200 OK", []), b""][1:])
"""
SECRET = "of both machines"
LENGTH = re.compile(rb"Content-Length: (\d+)")
SESSIONS_COUNT = 20
SETTLE_SECONDS = 2.0
GOAL_SECONDS, GOAL_CPU, GOAL_BYTES = 0.5e-3, 2.0, 16 * 1024


class Machine:
    """One server, once it serves."""

    def __init__(self, stack: ExitStack, folder: str, broker: str, tag: str) -> None:
        address = f"127.0.0.1:{port_of_its_own()}"
        options = ["--cluster-listen", address, "--cluster-secret", SECRET, "--machine-tag", tag]
        command = [sys.executable, "-m", "python_server", "application:app", "--port", "0", "--no-access-log"]
        self.process = subprocess.Popen(
            [*command, *options],
            cwd=folder,
            env=os.environ | {"BROKER": broker},
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(self.process.wait)
        stack.callback(self.process.terminate)
        assert self.process.stderr is not None
        place: tuple[str, int] | None = None
        for line in self.process.stderr:
            if match := re.search(r"http://([\d.]+):(\d+)", line):
                place = match[1], int(match[2])
            if "joined the broker" in line:
                break
        assert place is not None, "the server ended"
        self.place: tuple[str, int] = place

    @property
    def cpu_seconds(self) -> float:
        """Of its threads, to the nanosecond."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9

    @property
    def status(self) -> tuple[int, int]:
        """(resident bytes, threads)."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = {name: int(re.search(rf"{name}:\s+(\d+)", text)[1]) for name in ("VmRSS", "Threads")}  # type: ignore[index]
        return found["VmRSS"] * 1024, found["Threads"]


class Asker:
    """One kept connection, on which a request is sent and its answer read apart."""

    def __init__(self, machine: Machine) -> None:
        self._socket = socket.create_connection(machine.place)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, method: str, sid: str = "", body: str = "") -> None:
        query = "EIO=4&transport=polling" + (f"&sid={sid}" if sid else "")
        length = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
        head = f"{method} /socket.io/?{query} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n"
        self._socket.sendall((head + body).encode())

    def receive(self) -> str:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._piece()
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), received
        length = int(LENGTH.search(head)[1])  # type: ignore[index]
        while len(body) < length:
            body += self._piece()
        return body.decode()

    def _piece(self) -> bytes:
        piece = self._socket.recv(65_536)
        assert piece, "the connection has ended"
        return piece

    def ask(self, method: str, sid: str = "", body: str = "") -> str:
        self.send(method, sid, body)
        return self.receive()


def begin(asker: Asker) -> str:
    """A session that has joined; its id."""
    sid = str(json.loads(asker.ask("GET")[1:])["sid"])
    asker.ask("POST", sid, "40")
    asker.ask("GET", sid)
    return sid


def alone(askers: dict[str, Asker], sid: str, rounds: int) -> dict[str, list[float]]:
    """The seconds of one poll that finds what it asks for."""
    seconds: dict[str, list[float]] = {name: [] for name in askers}
    for number in range(rounds):
        for name, asker in askers.items():
            asker.ask("POST", sid, f'42{number}["echo",{number}]')
            began = time.perf_counter()
            asker.ask("GET", sid)
            seconds[name].append(time.perf_counter() - began)
    return seconds


def together(
    crowds: dict[str, list[Asker]], sids: list[str], rounds: int, both: list[Machine]
) -> dict[str, float]:
    """The CPU seconds of both machines for each request, of as many at once as there are sessions."""
    spent = dict.fromkeys(crowds, 0.0)
    for number in range(rounds):
        for name, crowd in crowds.items():
            before = sum(machine.cpu_seconds for machine in both)
            for method, body in (("POST", f'42{number}["echo",{number}]'), ("GET", "")):
                for asker, sid in zip(crowd, sids, strict=True):
                    asker.send(method, sid, body)
                for asker in crowd:
                    asker.receive()
            spent[name] += sum(machine.cpu_seconds for machine in both) - before
    return {name: seconds / (2 * rounds * len(sids)) for name, seconds in spent.items()}


def park(home: Machine, other: Machine, count: int) -> tuple[float, int]:
    """(bytes of a parked poll on both machines, threads that came with them all)."""
    asker = Asker(home)
    sids = [begin(asker) for _ in range(count)]
    time.sleep(SETTLE_SECONDS)
    before = [machine.status for machine in (home, other)]
    parked = []
    for sid in sids:
        parked.append(Asker(other))
        parked[-1].send("GET", sid)
    time.sleep(SETTLE_SECONDS)
    asker.ask("POST", sids[-1], '420["echo",7]')
    assert parked[-1].receive() == "430[7]"  # all before it are there
    after = [machine.status for machine in (home, other)]
    nbytes = sum(new[0] - old[0] for new, old in zip(after, before, strict=True))
    return nbytes / count, sum(new[1] - old[1] for new, old in zip(after, before, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="A poll at another machine than its session's")
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--parked", type=int, default=10_000)
    given = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        (Path(folder) / "application.py").write_text(APPLICATION)
        port = port_of_its_own()
        broker = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        stack.callback(broker.wait)
        stack.callback(broker.terminate)
        home, other = (Machine(stack, folder, f"redis://127.0.0.1:{port}/0", tag) for tag in ("m1", "m2"))
        askers = {"local": Asker(home), "foreign": Asker(other)}
        sids = [begin(askers["local"]) for _ in range(SESSIONS_COUNT)]
        crowds = {
            name: [Asker(machine) for _ in sids] for name, machine in (("local", home), ("foreign", other))
        }
        for count in (given.rounds // 10, given.rounds):  # the first to warm up
            seconds = alone(askers, sids[0], count)
            cpu = together(crowds, sids, count, [home, other])
        nbytes, threads_count = park(home, other, given.parked)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, taken in seconds.items():
        p99 = statistics.quantiles(taken, n=100)[98]
        times = f"median {medians[name] * 1e6:5.0f} us, p99 {p99 * 1e6:6.0f} us"
        print(f"{name:8} {times}, {cpu[name] * 1e6:5.1f} us of CPU")
    price, ratio = medians["foreign"] - medians["local"], cpu["foreign"] / cpu["local"]
    print(f"a foreign poll takes {price * 1e6:.0f} us longer (goal: {GOAL_SECONDS * 1e6:.0f})")
    print(f"and {ratio:.2f} times the CPU (goal: {GOAL_CPU})")
    each = f"{nbytes / 1024:.1f} KiB each (goal: {GOAL_BYTES // 1024})"
    print(f"{given.parked} parked: {each}, {threads_count} threads more")
    raise SystemExit(price > GOAL_SECONDS or ratio > GOAL_CPU or nbytes > GOAL_BYTES or threads_count > 0)


if __name__ == "__main__":
    main()
