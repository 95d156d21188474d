"""Metrics and health of real servers, read by a real Prometheus, while workers are killed and stopped.

It must not know how figures are kept.
"""

import contextlib
import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from asked_workers import PATIENCE_SECONDS, address, ask
from outside_tools import outside_tool
from own_ports import port_of_its_own
from prometheus_server import Prometheus, get

APPS = Path(__file__).parent / "apps"
EVENTS = "wsframe_events_received_total"
OWN_EVENTS = "wsframe_worker_events_received_total"
CLIENTS_COUNT = 12
CROWD_COUNT = 1_000
SERVE = [sys.executable, "-m", "python_server", "metrics_app:app", "--port", "0"]


def samples(port: int) -> dict[tuple[str, ...], float]:
    """By name and the labels' values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(get(port, "/metrics")[1])
        for sample in family.samples
    }


def listener(port: int) -> int:
    """The process that listens there."""
    (inode,) = re.findall(rf":{port:04X} 0+:0000 0A (?:\S+ +){{5}}(\d+)", Path("/proc/net/tcp").read_text())
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(descriptor) == f"socket:[{inode}]":
                return int(descriptor.parts[2])
    raise AssertionError(f"nobody listens on {port}")


def until(found: Callable[[], Any]) -> Any:
    """What is found, as soon as it is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := found()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return value


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[int], Prometheus]]:
    with contextlib.ExitStack() as stack:

        def start(port: int) -> Prometheus:
            return stack.enter_context(contextlib.closing(Prometheus(tmp_path, port)))

        yield start


class Client:
    """One on a WebSocket, by the protocol's own words."""

    def __init__(self, url: str, until_end: contextlib.ExitStack) -> None:
        place = f"{url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
        opened = connect(place, open_timeout=PATIENCE_SECONDS, close_timeout=1)
        self._websocket = until_end.enter_context(opened)
        self._hear("0")
        self._websocket.send("40")
        self._hear("40")

    def _hear(self, begin: str) -> str:
        while True:
            heard = str(self._websocket.recv(PATIENCE_SECONDS))
            if heard == "2":
                self._websocket.send("3")
            elif heard.startswith(begin):
                return heard.removeprefix(begin)

    def count(self) -> int:
        """The process that has handled the event."""
        self._websocket.send('421["count"]')
        return int(json.loads(self._hear("431"))[0])


class Generator:
    """Clients that emit as fast as each event is acknowledged, and count.

    Attributes:
        sent: events. acked: the process of each answer. homes: how many clients each process has.
    """

    def __init__(self, url: str) -> None:
        self.sent = 0
        self.acked: list[int] = []
        self._stopped = threading.Event()
        self._end = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._clients = [Client(url, self._end) for _ in range(CLIENTS_COUNT)]
        self.homes: Counter[int] = Counter(map(self._count, self._clients))
        self._threads = [threading.Thread(target=self._run, args=(each,)) for each in self._clients]

    def _count(self, client: Client) -> int:
        with self._lock:
            self.sent += 1
        process = client.count()
        with self._lock:
            self.acked.append(process)
        return process

    def _run(self, client: Client) -> None:
        with contextlib.suppress(ConnectionClosed):  # its worker is killed
            while not self._stopped.wait(0.005):
                self._count(client)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        self._end.close()

    def by_process(self) -> Counter[int]:
        return Counter(self.acked)


@pytest.mark.long
def test_prometheus_sums_what_was_sent_while_workers_are_killed_and_stopped(
    launch: Any, prometheus: Any
) -> None:
    port = port_of_its_own()
    server = launch(
        APPS, "metrics_app:app", "--workers", "4", "--no-access-log", "--metrics", f"127.0.0.1:{port}"
    )
    server.wait_serving(4)
    workers = {
        int(process): worker
        for worker, process in re.findall(r"worker (\d+) \(process (\d+)\) serves", server.log)
    }
    watch = prometheus(port)
    generator = Generator(server.url)
    until(lambda: watch.query(EVENTS))
    generator.start()
    (killed, _), (stopped, _) = generator.homes.most_common(2)
    before = generator.by_process()[killed]
    # What a worker has written down, which it does each second, is not lost with it.
    kept = until(lambda: (count := watch.query(OWN_EVENTS).get(workers[killed], 0.0)) > before and count)
    os.kill(killed, signal.SIGKILL)
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: watch.query("wsframe_worker_up").get(workers[stopped]) == 0)
    status, text = get(port, "/healthz")
    assert (status, text[:40]) == (
        503,
        f"worker {workers[stopped]} (process {stopped}) has stood still for"[:40],
    )
    assert get(port, "/readyz") == (200, "ok\n")
    assert ask(server) != stopped
    os.kill(stopped, signal.SIGCONT)
    generator.stop()
    acked = generator.by_process()
    own = {workers[process]: float(count) for process, count in acked.items() if process != killed}
    until(lambda: {**watch.query(OWN_EVENTS), **own} == watch.query(OWN_EVENTS))
    total = until(lambda: watch.query(EVENTS).get(""))
    assert sum(own.values()) + kept <= total <= generator.sent
    assert watch.query(f"resets({EVENTS}[5m])") == {"": 0.0}
    # No scrape has failed but for the one second that it has.
    assert watch.query("max_over_time((up == 0 and scrape_duration_seconds < 1)[5m:1s])") == {}
    assert watch.query("max_over_time(up[5m])") == {"": 1.0}
    until(lambda: watch.query("wsframe_workers_started_total").get("", 0) >= 5)
    written = get(port, "/metrics")[1]
    checked = subprocess.run(
        [outside_tool("promtool"), "check", "metrics"], input=written, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    until(lambda: get(port, "/healthz")[0] == 200)


def test_counters_do_not_fall_while_all_workers_are_replaced(launch: Any) -> None:
    port = port_of_its_own()
    server = launch(
        APPS, "metrics_app:app", "--workers", "2", "--no-access-log", "--metrics", f"127.0.0.1:{port}"
    )
    server.wait_serving(2)
    for _ in range(20):
        ask(server)
    server.signal(signal.SIGHUP)
    server.wait_for("rolling restart done")
    server.wait_ended(2)
    for _ in range(20):
        ask(server)
    until(lambda: samples(port)["wsframe_requests_total",] >= 40)
    found = samples(port)
    assert found["wsframe_requests_total",] == 40
    assert {labels[0] for name, *labels in found if name == "wsframe_worker_up"} == {"3", "4"}
    assert server.stop() == 0


def test_under_gunicorn_another_worker_takes_over(launch: Any) -> None:
    port = port_of_its_own()
    server = launch(
        APPS,
        "metrics_app:app",
        "--workers",
        "2",
        "--no-access-log",
        env={"WSFRAME_METRICS": f"127.0.0.1:{port}"},
        supervisor="gunicorn",
    )
    server.wait_for("metrics and health at")
    for _ in range(10):
        ask(server)
    until(lambda: len([name for name, *_ in samples(port) if name == "wsframe_worker_up"]) == 2)
    until(lambda: samples(port)["wsframe_requests_total",] == 10)
    os.kill(listener(port), signal.SIGKILL)
    server.wait_for("metrics and health at", 2)
    assert samples(port)["wsframe_requests_total",] == 10
    assert server.stop() == 0


def test_a_crowd_at_the_metrics_address_is_bounded_and_in_nobodys_way(launch: Any) -> None:
    port = port_of_its_own()
    server = launch(APPS, "metrics_app:app", "--no-access-log", "--metrics", f"127.0.0.1:{port}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * CROWD_COUNT + 100)), hard))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        stalled = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        stalled.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 50)
        for _ in range(CROWD_COUNT):
            each = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            each.sendall(b"\x16\x03\x01garbage\r\n\r\n")
        before = Path(f"/proc/{server.pid}/fd")
        assert len(list(before.iterdir())) < 200
        for _ in range(20):
            assert ask(server) == server.pid
    # What they sent is refused in turn, and then whoever scrapes is answered.
    until(lambda: samples(port)["wsframe_requests_total",] >= 20)
    server.wait_for("metrics address: 64 connections are open: new ones wait")
    assert server.stop() == 0


def test_health_is_answered_while_every_thread_is_busy(launch: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hold")
    server = launch(
        APPS, "workers_app:app", "--threads", "1", "--health", "--no-access-log",
        env={"WORKERS_PLACE": str(tmp_path)},
    )  # fmt: skip
    held = http.client.HTTPConnection(*address(server), timeout=PATIENCE_SECONDS)
    held.request("GET", "/hold")
    waiting = http.client.HTTPConnection(*address(server), timeout=PATIENCE_SECONDS)
    waiting.request("GET", "/")
    port = address(server)[1]
    for path in ("/healthz", "/readyz"):
        assert get(port, path) == (200, "ok\n")
    (tmp_path / "hold").write_text("go")
    assert held.getresponse().status == waiting.getresponse().status == 200
    held.close()
    waiting.close()
    assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_no_scrape_is_refused_while_a_process_takes_new_code(
    launch: Any, tmp_path: Path, workers: int
) -> None:
    """Its address is kept, as that of clients is: port 0 would be another one. So it is if workers come."""
    file = tmp_path / "wsframe.toml"
    file.touch()
    words = ["--config", str(file), "--metrics", "127.0.0.1:0", "--no-access-log"]
    server = launch(APPS, "metrics_app:app", *words)
    places = re.compile(r"metrics and health at 127\.0\.0\.1:(\d+)")
    port = int(server.find(places)[1])
    file.write_text(f"workers = {workers}\n")
    tried_count = 0
    server.signal(signal.SIGHUP)
    while tried_count < 2 or len(places.findall(server.log)) < 2:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS):  # never refused
            tried_count += 1
        assert server.is_alive, server.log
    assert places.findall(server.log) == [str(port)] * 2
    until(lambda: get(port, "/readyz")[0] == 200)
    assert samples(port)["wsframe_workers_started_total",] >= 1
    assert server.stop() == 0
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass


def test_an_address_in_use_does_not_end_a_server_that_reloads(launch: Any, tmp_path: Path) -> None:
    file = tmp_path / "wsframe.toml"
    file.touch()
    server = launch(APPS, "metrics_app:app", "--config", str(file), "--no-access-log")
    assert ask(server) == server.pid
    with socket.create_server(("127.0.0.1", 0)) as taken:
        file.write_text(f'metrics = "127.0.0.1:{taken.getsockname()[1]}"\n')
        server.signal(signal.SIGHUP)
        server.wait_for("the server goes on without metrics")
        assert ask(server) == server.pid
    assert server.stop() == 0


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_an_address_in_use_ends_the_start_in_one_line(workers: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [*SERVE, *workers, "--metrics", place]
        done = subprocess.run(
            command, cwd=APPS, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(rf"Error: --metrics: cannot listen on {place}: [^\n]+\n", done.stderr)
