"""The price of a hand-over: a poll for a session of another worker beside one for a session at hand.

It must not know the server's insides. Run: python bench/handover.py; the goal: the median of the foreign
poll less than 200 us above that of the local one. One kept connection asks; it stays with the worker that
served it last: a request for a session there is local, one for a session of the other worker is handed over.
"""

from __future__ import annotations

import http.client
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

APPS = Path(__file__).resolve().parents[1] / "tests" / "e2e" / "apps"
OPTIONS = ("--workers", "2", "--no-access-log", "--port", "0")
ROUNDS = 2_000
WARM_UP = 200
GOAL_SECONDS = 200e-6
SETTLE_SECONDS = 0.002  # until the handler has answered, so that a poll finds what it asks for


class Asker:
    """One kept connection."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=30)

    def ask(self, method: str, sid: str = "", body: str | None = None) -> str:
        path = "/socket.io/?EIO=4&transport=polling" + (f"&sid={sid}" if sid else "")
        self._connection.request(method, path, body)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
        return text

    def timed_poll(self, sid: str) -> float:
        start = time.perf_counter()
        text = self.ask("GET", sid)
        seconds = time.perf_counter() - start
        while "43" not in text:  # a ping was quicker than the handler
            text = self.ask("GET", sid)
        return seconds


def homes(address: tuple[str, int]) -> dict[str, tuple[Asker, str]]:
    """For each of the two workers a connection that it serves, and a session there."""
    found: dict[str, tuple[Asker, str]] = {}
    kept = []
    for _ in range(200):
        asker = Asker(address)
        kept.append(asker)
        sid = str(json.loads(asker.ask("GET")[1:])["sid"])
        home = sid.partition(".")[0]
        if home not in found:
            asker.ask("POST", sid, "40")
            asker.ask("GET", sid)
            found[home] = (asker, sid)
        if len(found) == 2:
            return found
    raise SystemExit("the system gives all connections to one worker")


def measure(address: tuple[str, int]) -> dict[str, list[float]]:
    (helper, sid), (_, other) = homes(address).values()
    asker = Asker(address)
    seconds: dict[str, list[float]] = {"local": [], "foreign": []}
    for number in range(ROUNDS + WARM_UP):
        for kind, before in (("local", sid), ("foreign", other)):
            helper.ask("POST", sid, f'42{number}["echo",0]')
            asker.ask("POST", before, "3")  # the connection is at the home of that session now
            time.sleep(SETTLE_SECONDS)
            taken = asker.timed_poll(sid)
            if number >= WARM_UP:
                seconds[kind].append(taken)
    return seconds


def main() -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "python_server", "homes_app:app", *OPTIONS],
        cwd=APPS,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        address, serving_count = None, 0
        while address is None or serving_count < 2:
            line = server.stderr.readline()
            assert line, "the server ended"
            serving_count += " serves" in line
            if match := re.search(r"http://([\d.]+):(\d+)", line):
                address = (match[1], int(match[2]))
        seconds = measure(address)
    finally:
        server.terminate()
        server.wait()
    medians = {kind: statistics.median(taken) for kind, taken in seconds.items()}
    for kind, taken in seconds.items():
        p99 = statistics.quantiles(taken, n=100)[98]
        print(f"{kind:8} median {medians[kind] * 1e6:5.0f} us, p99 {p99 * 1e6:6.0f} us, {len(taken)} polls")
    price = medians["foreign"] - medians["local"]
    print(f"a hand-over costs {price * 1e6:.0f} us (goal: below {GOAL_SECONDS * 1e6:.0f} us)")
    raise SystemExit(price >= GOAL_SECONDS)


if __name__ == "__main__":
    main()
