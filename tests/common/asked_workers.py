"""Who answers at a server with several workers, told by tests/e2e/apps/workers_app.py.

It must not know who has started the workers, or watches them.
"""

import contextlib
import http.client
import os
import select
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 60.0
CONNECTIONS_MAX_COUNT = 300


def address(server: Any) -> tuple[str, int]:
    host, port = server.url.removeprefix("http://").split(":")
    return host, int(port)


def open_connection(server: Any) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(*address(server), timeout=PATIENCE_SECONDS)


def ask(server: Any, path: str = "/") -> int:
    """The process that answers a new connection."""
    with contextlib.closing(open_connection(server)) as connection:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        assert answer.status == 200
        return int(answer.read().split()[0])


def workers_of(server: Any, count: int, path: str = "/") -> set[int]:
    """The processes that share out a number of connections large enough to reach each of `count`."""
    with contextlib.ExitStack() as stack:
        pids: set[int] = set()
        for number in range(CONNECTIONS_MAX_COUNT):
            if number >= count * 10 and len(pids) >= count:
                break
            connection = stack.enter_context(contextlib.closing(open_connection(server)))
            connection.request("GET", path)
            pids.add(int(connection.getresponse().read().split()[0]))
    return pids


def imported(place: Path) -> list[int]:
    return [int(line) for line in (place / "imports").read_text().split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_gone(*pids: int) -> None:
    """Until each of these processes, not ours to wait for, has ended."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([descriptor], [], [], PATIENCE_SECONDS)[0], f"process {pid} goes on"
        finally:
            os.close(descriptor)


def descriptors(server: Any, pid: int) -> int:
    """How many are open, once no client's connection is among them any more (proc_net_tcp(5))."""
    port = f":{address(server)[1]:04X}"
    patience = time.monotonic() + PATIENCE_SECONDS
    while True:
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        clients = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(port) and line[3] != "0A"}
        links = []
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(str(path.readlink()))
        if not clients & set(links):
            return len(links)
        assert time.monotonic() < patience, f"connections of worker {pid} are never forgotten"


class Load:
    """Clients that open connection after connection; every fault is kept."""

    def __init__(self, server: Any, clients_count: int = 4, path: str = "/") -> None:
        self.faults: list[BaseException] = []
        self.answers: Counter[int] = Counter()
        self._server, self._path = server, path
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(clients_count)]

    def _work(self) -> None:
        # Not as fast as can be: the workers that start meanwhile need a processor.
        while not self._over.wait(0.01):
            try:
                self.answers[ask(self._server, self._path)] += 1
            except Exception as error:
                self.faults.append(error)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
