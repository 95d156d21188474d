"""How long a client's return to another machine takes, beside events: `python bench/recovery.py`.

It must not know the server's insides. Two machines of one worker share a redis-server; a client is cut off on
the one, events are said in its room, and it returns to the other, which serves an echo meanwhile. Measured is
the time from its CONNECT packet to the answer. The goal: the 99th of a hundred within 50 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "common"))
from own_ports import port_of_its_own

APPLICATION = """
import os
from python_server import Server, WSGIApp
server = Server(message_queue=os.environ["BROKER"], connection_state_recovery=True)

@server.event
def connect(sid, environ, auth=None):
    server.enter_room(sid, "all")

@server.event
def echo(sid, number):
    return number

@server.event
def say(sid, number):
    server.emit("said", number, room="all")
    return number

app = WSGIApp(server, lambda environ, start: [start("200 OK", []), b""][1:])
"""
RETURNS_COUNT = 300
MISSED_COUNT = 10
TICK_SECONDS = 0.005
ECHOERS_COUNT = 20
GOAL_SECONDS = 0.05


def machine(stack: ExitStack, folder: str, broker: str) -> str:
    """A server's address, once it serves."""
    command = [sys.executable, "-m", "python_server", "application:app", "--port", "0", "--no-access-log"]
    process = subprocess.Popen(
        command, cwd=folder, env=os.environ | {"BROKER": broker}, stderr=subprocess.PIPE, text=True
    )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.search(r"http://([\d.]+:\d+)", line):
            return match[1]
    raise SystemExit("the server ended")


class Client:
    """Socket.IO over a WebSocket; `pid` and `offset` as the official client keeps them."""

    def __init__(self, address: str, auth: dict[str, str]) -> None:
        self.way: ClientConnection = connect(
            f"ws://{address}/socket.io/?EIO=4&transport=websocket", compression=None
        )
        self.hear("0")
        self.offset = auth.get("offset")
        began = time.perf_counter()
        self.way.send("40" + json.dumps(auth))
        self.pid: str = json.loads(self.hear("40")[2:])["pid"]
        self.seconds = time.perf_counter() - began

    def hear(self, kind: str) -> str:
        """The next packet of that kind."""
        while not (packet := str(self.way.recv(60))).startswith(kind):
            if packet == "2":
                self.way.send("3")
        return packet

    def next(self) -> int:
        _, number, self.offset = json.loads(self.hear("42")[2:])
        return int(number)

    def ask(self, event: str, number: int) -> None:
        self.way.send(f'42{number}["{event}",{number}]')
        self.hear(f"43{number}[")


def echo(address: str, rate: float, over: threading.Event, counts: list[int]) -> None:
    """So many events a second, whatever is answered when."""
    ways = [Client(address, {}).way for _ in range(ECHOERS_COUNT)]

    def count(way: ClientConnection) -> None:
        for packet in way:
            if packet == "2":
                way.send("3")
            counts[0] += 1

    for way in ways:
        threading.Thread(target=count, args=(way,), daemon=True).start()
    began, sent = time.monotonic(), 0
    while not over.wait(TICK_SECONDS):
        due = int((time.monotonic() - began) * rate)
        for number in range(sent, due):
            ways[number % ECHOERS_COUNT].send(f'42{number}["echo",{number}]')
        sent = due
    counts[1] = sent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=2000.0, help="events a second beside the returns")
    rate = parser.parse_args().rate
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="recovery-"))
        (Path(folder) / "application.py").write_text(APPLICATION)
        port = port_of_its_own()
        redis = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        stack.callback(redis.wait)
        stack.callback(redis.terminate)
        broker = f"redis+streams://127.0.0.1:{port}/0"
        here, there = (machine(stack, folder, broker) for _ in "ab")
        speaker, over, counts = Client(there, {}), threading.Event(), [0, 0]
        load = threading.Thread(target=echo, args=(there, rate, over, counts))
        load.start()
        taken, recovered_count, number = [], 0, 0
        for _ in range(RETURNS_COUNT):
            client = Client(here, {})
            speaker.ask("say", number)
            while client.next() != number:
                pass
            client.way.socket.close()
            expected = list(range(number + 1, number + 1 + MISSED_COUNT))
            for each in expected:
                speaker.ask("say", each)
            back = Client(there, {"pid": client.pid, "offset": client.offset or ""})
            recovered_count += back.pid == client.pid
            taken.append(back.seconds)
            if back.pid == client.pid:
                missed = [back.next() for _ in expected]
                assert missed == expected, missed
            back.way.close()
            number += 1 + MISSED_COUNT
        over.set()
        load.join()
    p99 = statistics.quantiles(taken, n=100)[98]
    print(
        f"{recovered_count} of {RETURNS_COUNT} recovered, median {statistics.median(taken) * 1e3:.1f} ms, "
        f"p99 {p99 * 1e3:.1f} ms, beside {counts[1]} echoes with {counts[0]} answers "
        f"(goal: {GOAL_SECONDS * 1e3:g} ms)"
    )
    raise SystemExit(p99 > GOAL_SECONDS or recovered_count < RETURNS_COUNT)


if __name__ == "__main__":
    main()
