"""The metrics address: who may be met there, what bounds it, who takes it over (serve/metrics_address.py).

It must not know what is counted.
"""

import builtins
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from own_ports import port_of_its_own
from python_server.http1.parser import Request
from python_server.monitoring.figures import Collected, Figures, Snapshot
from python_server.net.sockets import BindError, Listening, TCPAddress, UnixAddress, listen
from python_server.net.system import REAL
from python_server.serve import metrics_address as module
from python_server.serve.metrics_address import (
    AGAIN_SECONDS,
    ANSWERS_MAX_COUNT,
    LIMITS,
    MetricsAnswers,
    MetricsCandidate,
    check_metrics,
    metrics_address,
)
from python_server.serve.reexec import CLIENTS
from python_server.settings import Settings

WAIT_SECONDS = 60


def now(unready: str = "") -> Collected:
    return Collected([Snapshot(1, 10, REAL.monotonic(), unready, Figures())], Figures())


def get(port: int, path: str = "/metrics") -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=WAIT_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_it_is_served_on_a_thread_of_its_own_until_it_is_closed() -> None:
    port = port_of_its_own()
    with metrics_address(Settings(metrics=f"127.0.0.1:{port}")) as begin:
        begin(now)
        status, text = get(port)
        assert status == 200
        assert b'wsframe_worker_up{worker="1"} 1.0' in text
        assert get(port, "/healthz") == (200, b"ok\n")
        assert get(port, "/readyz") == (200, b"ok\n")
        assert get(port, "/elsewhere")[0] == 404
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass
    with metrics_address(Settings(metrics=f"127.0.0.1:{port}")):
        pass  # nothing of it is left


class Asked:
    """The answers of an address on a told clock. Writing one takes `takes` seconds."""

    def __init__(self) -> None:
        self.now, self.takes = 100.0, 0.0
        self.written: list[str] = []
        self.answers = MetricsAnswers(self._write, lambda: self.now)

    def _write(self, environ: Any, start_response: Any) -> list[bytes]:
        self.now += self.takes
        said = "{REQUEST_METHOD} {PATH_INFO}?{QUERY_STRING} {HTTP_ACCEPT}".format_map(environ)
        self.written.append(said)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [said.encode()]

    def ask(self, path: str, query: str = "", accept: str = "", method: str = "GET") -> bytes:
        said: list[bytes] = []
        request = Request(method, f"{path}?{query}", path, query, (1, 1), [], fields={"accept": accept})
        exchange: Any = SimpleNamespace(request=request, respond=lambda *answer: said.append(answer[2]))
        self.answers.answer(exchange)
        return said[0]


def test_a_flood_of_scrapes_costs_as_much_as_a_few() -> None:
    asked = Asked()
    openmetrics = "application/openmetrics-text"
    assert {asked.ask("/metrics", f"x={number}") for number in range(100)} == {b"GET /metrics? "}
    assert len(asked.written) == 1
    assert asked.ask("/healthz") == b"GET /healthz? "
    for version in ("0.0.1", "x", ""):
        said = asked.ask("/metrics", accept=f"{openmetrics}; version={version}")
        assert said == f"GET /metrics? {openmetrics}; version=1.0.0".encode()
    asked.ask("/metrics", "name[]=wsframe_sessions")
    assert len(asked.written) == 4
    asked.now += AGAIN_SECONDS
    asked.ask("/metrics")
    assert len(asked.written) == 5
    for number in range(100):
        asked.ask("/metrics", f"name[]={number}")
    assert len(asked.answers._said) <= ANSWERS_MAX_COUNT


def test_a_scrape_that_takes_long_is_kept_for_longer() -> None:
    asked = Asked()
    asked.takes = 1.0
    asked.ask("/metrics")
    asked.now += 3.9
    asked.ask("/metrics")
    assert len(asked.written) == 1
    asked.now += 0.2
    asked.ask("/metrics")
    assert len(asked.written) == 2


def test_a_head_is_answered_as_a_get_is() -> None:
    assert Asked().ask("/metrics", method="HEAD") == b"GET /metrics? "


def test_a_folder_of_snapshots_that_is_full_is_told() -> None:
    def full(environ: Any, start_response: Any) -> list[bytes]:
        raise OSError("no space left")

    asked = Asked()
    asked.answers._application = full
    assert asked.ask("/metrics") == b"no figures: no space left\n"


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=x", "text/plain; version=1e9"])
def test_no_field_of_a_scrape_is_too_odd(accept: str) -> None:
    """prometheus_client compares versions that are none."""
    port = port_of_its_own()
    with metrics_address(Settings(metrics=f"127.0.0.1:{port}")) as begin:
        begin(now)
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            assert b"wsframe_worker_up" in answer.read()


def test_a_socket_of_the_file_system_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics"
    with metrics_address(Settings(metrics=f"unix:{path}")) as begin:
        begin(lambda: now("the server stops"))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            said = b"".join(iter(lambda: client.recv(4096), b""))
        assert said.startswith(b"HTTP/1.1 503 ")
        assert said.endswith(b"\r\n\r\nthe server stops\n")
    assert not path.exists()


def test_the_port_that_the_system_chose_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "python_server")
    with metrics_address(Settings(metrics="127.0.0.1:0")) as begin:
        begin(now)
        (said,) = re.findall(r"metrics and health at 127.0.0.1:([1-9]\d*): ", caplog.text)
        assert get(int(said), "/readyz") == (200, b"ok\n")


def test_nobody_asked_for_it() -> None:
    with metrics_address(Settings()) as begin:
        begin(now)
    check_metrics(Settings())


def test_garbage_stalls_and_crowds_leave_room_for_a_scrape() -> None:
    port = port_of_its_own()
    with metrics_address(Settings(metrics=f"127.0.0.1:{port}")) as begin:
        begin(now)
        assert LIMITS.connections_max_count is not None
        crowd = [
            socket.create_connection(("127.0.0.1", port)) for _ in range(LIMITS.connections_max_count - 4)
        ]
        crowd[0].sendall(os.urandom(2_000))
        crowd[1].sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")  # it never reads
        crowd[2].sendall(b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n")
        assert get(port)[0] == 200
        assert crowd[0].recv(100).startswith(b"HTTP/1.1 400 ")
        for each in crowd:
            each.close()


def test_an_address_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BindError) as refused, metrics_address(Settings(metrics=address)):
            pass
        check_metrics(Settings(metrics=address))  # perhaps by the server that is to be restarted
    assert str(refused.value).startswith(f"--metrics: cannot listen on {address}: ")


def test_a_server_that_only_reloads_goes_on_without(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(metrics=f"127.0.0.1:{taken.getsockname()[1]}")
        with metrics_address(settings, {CLIENTS: Listening()}) as begin:
            begin(now)
    assert re.search(
        r"^--metrics: cannot listen on .*; the server goes on without metrics$", caplog.messages[0]
    )


def test_what_this_process_listened_on_before_is_served_and_kept_again() -> None:
    """The port would not be the same one if it were bound anew."""
    kept = listen([TCPAddress("127.0.0.1", 0)], 5)
    port, told = kept.sockets[0].getsockname()[1], dict[str, Listening]()
    with socket.create_connection(("127.0.0.1", port)) as waiting:  # while nobody serves
        waiting.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        known = {CLIENTS: Listening(), "metrics 127.0.0.1:0": kept}
        with metrics_address(Settings(metrics="127.0.0.1:0"), known, told.__setitem__) as begin:
            begin(now)
            assert waiting.recv(99).startswith(b"HTTP/1.1 200 OK")
            assert get(port, "/healthz") == (200, b"ok\n")
    assert told == {"metrics 127.0.0.1:0": kept}


@pytest.mark.parametrize("metrics", [None, "127.0.0.1:0"])
def test_an_address_that_is_not_asked_for_any_more_is_closed(metrics: str | None, tmp_path: Path) -> None:
    path, clients = str(tmp_path / "m"), listen([TCPAddress("127.0.0.1", 0)], 5)
    known = {CLIENTS: clients, f"metrics unix:{path}": listen([UnixAddress(path)], 5)}
    with metrics_address(Settings(metrics=metrics), known) as begin:
        begin(now)
        assert not Path(path).exists()
        assert clients.sockets[0].fileno() > 0  # that is another's
    clients.close()


def test_an_address_that_is_kept_is_closed_where_the_package_has_gone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else scrapes would wait there for ever."""

    def gone() -> None:
        raise BindError("it is not installed")

    monkeypatch.setattr(module, "_make_application", gone)
    known = {CLIENTS: Listening(), "metrics 127.0.0.1:0": listen([TCPAddress("127.0.0.1", 0)], 5)}
    with metrics_address(Settings(metrics="127.0.0.1:0"), known):
        assert known["metrics 127.0.0.1:0"].sockets[0].fileno() < 0
    assert caplog.messages == ["it is not installed; the server goes on without metrics"]


@pytest.mark.parametrize("address", ["here:there", "unix:", "[::1"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(BindError, match=r"^--metrics: cannot listen on "):
        check_metrics(Settings(metrics=address))


def test_addresses_are_said_as_those_of_clients_are() -> None:
    assert module._address("127.0.0.1") == module._address(f"127.0.0.1:{module.PORT}")
    assert module._address("unix:/run/m") == UnixAddress("/run/m")


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original: Any = builtins.__import__

    def lacks(name: str, *more: Any) -> Any:
        if name == "prometheus_client":
            raise ModuleNotFoundError(name)
        return original(name, *more)

    monkeypatch.setattr(builtins, "__import__", lacks)
    monkeypatch.delitem(sys.modules, "python_server.monitoring.exposition", raising=False)
    with pytest.raises(BindError, match=r'pip install "wsframe\[metrics\]"'):
        check_metrics(Settings(metrics="127.0.0.1:1"))


OTHER = """
import sys, time
from python_server.serve.metrics_address import MetricsCandidate
from python_server.settings import Settings
candidate = MetricsCandidate(Settings(metrics=sys.argv[1]), sys.argv[2], 2)
candidate.look()
print("looked", flush=True)
sys.stdin.read()
"""


def test_of_several_processes_one_serves_and_another_takes_over(tmp_path: Path) -> None:
    port = port_of_its_own()
    settings = Settings(metrics=f"127.0.0.1:{port}")
    command = [sys.executable, "-c", OTHER, f"127.0.0.1:{port}", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"looked\n"
        assert get(port)[0] == 200
        ours = MetricsCandidate(settings, str(tmp_path), 1)
        ours.look()
        assert ours._serving is None
        other.kill()
    ours.look()
    assert get(port)[0] == 200
    ours.look()  # once is enough
    ours.close()
    MetricsCandidate(Settings(), str(tmp_path), 3).look()


def test_a_candidate_whose_address_is_in_use_says_so_once_and_tries_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ours = MetricsCandidate(Settings(metrics=f"127.0.0.1:{port}"), str(tmp_path), 1)
        ours.look()
        ours.look()
    said = [record.message for record in caplog.records if "tried again" in record.message]
    assert len(said) == 1
    ours.look()
    assert get(port)[0] == 200
    ours.close()
