"""serve(): in this very process, whose signals the tests send to themselves once it listens.

It must not know protocols; several workers are started as real processes.
"""

import atexit
import json
import logging
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from time import monotonic
from typing import Any

import flask
import pytest

from own_ports import port_of_its_own
from python_server import SocketIO, WebSocketApplication
from python_server.net.link import encode, pair
from python_server.net.scoreboard import Scoreboard
from python_server.net.sockets import BindError, InheritedDescriptor, TCPAddress, UnixAddress
from python_server.observe import log, log_config, masking
from python_server.serve import serve as module
from python_server.serve.mounts import Site
from python_server.serve.pid_file import pid_file
from python_server.serve.reexec import CLIENTS, Reexec, ReexecState
from python_server.serve.serve import (
    addresses_of,
    bind,
    check_listening,
    is_supervisor,
    public_address,
    serve,
    set_up_logs,
    supervise,
)
from python_server.serve.wiring import Pools
from python_server.serve.worker import Worker
from python_server.settings import Settings, TLSSettings
from python_server.workers import link_messages
from python_server.workers.peers import MessageKind
from python_server.workers.spawn import INHERITED_VARIABLE, WORKER_VARIABLE, WorkerSlot
from told_time import Clock
from wsframe import IMPLEMENTATION

Started = Callable[[str], None]


def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


def settings(**values: Any) -> Settings:
    return Settings(port=0, control_socket="none", **values)


def sends(*numbers: int) -> Started:
    """What sends these signals to this process, once it listens."""

    def started(url: str) -> None:
        for number in numbers:
            signal.raise_signal(number)

    return started


@pytest.fixture(autouse=True)
def _as_before(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a server changes of its process."""
    limits, interval = resource.getrlimit(resource.RLIMIT_NOFILE), sys.getswitchinterval()
    wrapped = signal.signal(signal.SIGINT, signal.default_int_handler)  # by clients of other tests
    handlers = {number: signal.getsignal(number) for number in range(1, signal.NSIG)}
    levels = log.LOGGER.level, log.ACCESS.level
    for logger in (log.LOGGER, log.ACCESS):
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.INFO)
    yield
    assert handlers == {number: signal.getsignal(number) for number in range(1, signal.NSIG)}
    signal.signal(signal.SIGINT, wrapped)
    for logger, level in zip((log.LOGGER, log.ACCESS), levels, strict=True):
        logger.setLevel(level)
    sys.setswitchinterval(interval)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


# One worker


def test_it_says_where_it_serves_and_stops_at_a_signal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pid_file = tmp_path / "pid"
    told: list[tuple[str, str]] = []

    def started(url: str) -> None:
        told.append((url, pid_file.read_text()))
        signal.raise_signal(signal.SIGTERM)

    serve(Site(page), settings(pid_file=str(pid_file)), started)
    ((url, written),) = told
    assert url.startswith("http://127.0.0.1:")
    assert written == f"{os.getpid()}\n"
    assert not pid_file.exists()
    version = metadata.version("wsframe")
    assert [record.message for record in caplog.records] == [
        f"python_server/{version} ({IMPLEMENTATION} codec), 1 worker with 40 threads for requests, 256 for "
        f"events: listening on {url} (process {os.getpid()}; stop with Ctrl+C)",
        "stopping: what runs may end; a second signal cuts it off",
        "stopped",
    ]
    assert capsys.readouterr() == ("", "")


def test_the_start_line_names_what_clients_may_connect_to(caplog: pytest.LogCaptureFixture) -> None:
    app: Any = flask.Flask(__name__)
    SocketIO(app)
    site = Site(page, list(app.wsframe_mounts))
    site.websockets |= {"/echo": WebSocketApplication(), re.compile("/rooms/.*"): WebSocketApplication()}
    serve(site, settings(wsgi_threads_count=3), sends(signal.SIGTERM))
    line = caplog.records[0].message
    assert " with 3 threads for requests, 256 for events, " in line
    assert ", Socket.IO at /socket.io/, WebSockets at /echo, /rooms/.*: listening on http" in line


def answer(address: tuple[str, int], request: str) -> dict[str, str]:
    """The fields of an answer, and its status as "status"."""
    with socket.create_connection(address) as client:
        client.sendall(request.replace("\n", "\r\n").encode())
        received = b""
        while b"\r\n\r\n" not in received and (piece := client.recv(65_536)):
            received += piece
        status, *fields = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return {"status": status.split()[1]} | dict(field.split(": ", 1) for field in fields)


KEY = "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
REQUESTS = {
    "200": "GET / HTTP/1.1\nHost: a\n\n",
    "501": "GET / HTTP/1.1\nHost: a\nTransfer-Encoding: odd\n\n",
    "400": "GET /socket.io/?EIO=4&transport=odd HTTP/1.1\nHost: a\n\n",
    "101": f"GET /echo HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\n{KEY}\n\n",
}


def test_fields_of_the_operator_stand_in_every_answer() -> None:
    """Of the application, of the parser, of Engine.IO, of a WebSocket."""
    app: Any = flask.Flask(__name__)
    SocketIO(app)
    site = Site(page, list(app.wsframe_mounts))
    site.websockets["/echo"] = WebSocketApplication()
    got: dict[str, dict[str, str]] = {}

    def ask(url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        try:
            got.update({code: answer((host, int(port)), request) for code, request in REQUESTS.items()})
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def started(url: str) -> None:
        client = threading.Thread(target=ask, args=(url,))
        clients.append(client)
        client.start()

    clients: list[threading.Thread] = []
    fields = ("X-Frame-Options: DENY", "Referrer-Policy: same-origin")
    serve(site, settings(headers=fields, server_header=False, idle_grace_seconds=0.0), started)
    clients[0].join()
    assert got.keys() == REQUESTS.keys()
    for code, found in got.items():
        assert found["status"] == code
        assert (found["X-Frame-Options"], found["Referrer-Policy"]) == ("DENY", "same-origin")
        assert "Server" not in found


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGTERM), (signal.SIGQUIT,)])
def test_a_second_signal_or_quit_cuts_off_what_runs(numbers: Sequence[int]) -> None:
    """With the first alone the request, which never ends, would have a quarter of an hour."""
    clients: list[socket.socket] = []

    def started(url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        clients.append(socket.create_connection((host, int(port))))
        clients[0].send(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\n")
        sends(*numbers)(url)

    began = monotonic()
    serve(Site(page), settings(graceful_timeout_seconds=900.0), started)
    assert monotonic() - began < 900.0
    clients[0].close()


def test_who_ends_to_execute_itself_stops_at_a_signal_that_its_loop_no_longer_hears(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, close, before = Worker.run, Pools.close, signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr(os, "execve", lambda *arguments: None)
    reexec = Reexec()
    atexit.unregister(reexec._execute)

    def loaded(worker: Worker) -> None:
        reexec._state = ReexecState.ENDING
        worker.stop()
        run(worker)

    def told_late(pools: Pools) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        close(pools)

    monkeypatch.setattr(Worker, "run", loaded)
    monkeypatch.setattr(Pools, "close", told_late)
    serve(Site(page), settings(), reexec=reexec)
    afterwards = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, before)
    assert afterwards == reexec.note  # by itself the signal would end the process, which has not executed yet
    for sock in reexec._kept[CLIENTS]:
        sock.close()
    assert not reexec.ending


def test_orders_that_one_worker_does_not_know_are_said_and_logs_are_opened_anew(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    written = tmp_path / "log"

    def started(url: str) -> None:
        written.rename(tmp_path / "moved")
        sends(
            signal.SIGUSR1,
            signal.SIGHUP,
            signal.SIGUSR2,
            signal.SIGTTIN,
            signal.SIGTTOU,
            signal.SIGWINCH,
            signal.SIGTERM,
        )(url)

    serve(Site(page), settings(error_log=str(written)), started)
    for handler in log.LOGGER.handlers:
        handler.flush()
    # The start line may stand in the file that has moved.
    lines = [line for line in written.read_text().splitlines() if "listening on" not in line]
    assert [line.partition("] ")[2] for line in lines] == [
        f"INFO {module.CODE_STAYS}",
        f"WARNING {module.NO_SECOND_SERVER}",
        "WARNING SIGTTIN is ignored: it changes the number of workers where there are several (--workers)",
        "WARNING SIGTTOU is ignored: it changes the number of workers where there are several (--workers)",
        "INFO stopping: what runs may end; a second signal cuts it off",
        "INFO stopped",
    ]


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        serve(Site(page), settings(), sends(signal.SIGHUP, signal.SIGTERM))
        states = [manager.recv(1_000).partition(b"\n")[0] for _ in range(4)]
    assert states == [b"READY=1", b"RELOADING=1", b"READY=1", b"STOPPING=1"]


def test_a_watchdog_hears_that_we_live_while_the_loops_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, asked = LoopClock(), list[float]()
    turns = True

    def turning(seconds: float) -> bool:
        asked.append(seconds)
        return turns

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        module._watch(loop, turning)  # type: ignore[arg-type]
        loop.advance(100)
        assert asked == []  # nobody waits for it
        monkeypatch.setenv("WATCHDOG_USEC", "20000000")
        module._watch(loop, turning)  # type: ignore[arg-type]
        loop.advance(0)
        assert manager.recv(100) == b"WATCHDOG=1"
        loop.advance(5)
        assert manager.recv(100) == b"WATCHDOG=1"
        turns = False
        loop.advance(5)
        assert asked == [10.0] * 3
        with pytest.raises(BlockingIOError):
            manager.recv(100)


class LoopClock(Clock):
    def call_soon(self, function: Callable[[], Any]) -> None:
        self.call_later(0, function)


def test_the_only_worker_tells_its_figures_and_its_health() -> None:
    port = port_of_its_own()
    got: dict[str, bytes] = {}

    def client(url: str) -> None:
        try:
            for name in (f"{url}/healthz", f"{url}/readyz", f"http://127.0.0.1:{port}/metrics"):
                with urllib.request.urlopen(name, timeout=60) as answer:
                    got[name.rpartition("/")[2]] = answer.read()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def started(url: str) -> None:
        threading.Thread(target=client, args=(url,)).start()

    serve(Site(page), settings(metrics=f"127.0.0.1:{port}", health=True, allowed_hosts="shop"), started)
    assert got["healthz"] == got["readyz"] == b"ok\n"
    assert b'wsframe_worker_up{worker="1"} 1.0' in got["metrics"]


def test_a_pid_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    where = tmp_path / "no folder" / "pid"
    with pytest.raises(BindError, match="cannot write the process id to"):
        serve(Site(page), settings(pid_file=str(where)))


def test_a_second_server_with_the_same_pid_file_is_refused(tmp_path: Path) -> None:
    """It took the file away from the first, and removed it at its end."""
    path = tmp_path / "pid"
    command = [
        sys.executable,
        "-m",
        "python_server",
        "--port",
        "0",
        "--control-socket",
        "none",
        "--pid",
        path,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd="/") as first:
        try:
            assert first.stderr is not None
            assert "listening on" in first.stderr.readline()
            written = path.read_text()
            words = f"--pid {path} is another server's, process {first.pid}: stop"
            with pytest.raises(BindError, match=words):
                serve(Site(page), settings(pid_file=str(path)), sends(signal.SIGTERM))
            assert path.read_text() == written == f"{first.pid}\n"
        finally:
            first.terminate()
    assert not path.exists()
    path.write_text(written)  # of one that died
    serve(Site(page), settings(pid_file=str(path)), lambda url: sends(signal.SIGTERM)(path.read_text()))
    assert not path.exists()


def test_a_pid_file_that_somebody_else_has_made_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"

    def started(url: str) -> None:
        path.rename(tmp_path / "moved")
        path.write_text("another's")
        signal.raise_signal(signal.SIGTERM)

    serve(Site(page), settings(pid_file=str(path)), started)
    assert path.read_text() == "another's"


def test_whoever_reads_the_pid_file_may_send_signals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(*arguments: Any) -> Any:
        taken.append(signal.getsignal(signal.SIGHUP) is not before)
        return pid_file(*arguments)

    taken: list[bool] = []
    before = signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr(module, "pid_file", written)
    serve(Site(page), settings(pid_file=str(tmp_path / "pid")), sends(signal.SIGTERM))
    assert taken == [True]


# One of several workers


@pytest.fixture
def as_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """This process is a worker; given is the supervisor's end of its link."""
    (ours, theirs), board = pair(), Scoreboard(monotonic)
    listening = socket.create_server(("127.0.0.1", 0))
    slot = WorkerSlot(5, board.claim(), "host", board, theirs)

    def begin() -> Any:
        # Each process has descriptors of its own.
        slot.control, slot.board = theirs.dup(), Scoreboard(monotonic, os.dup(board.descriptor))
        monkeypatch.setenv(WORKER_VARIABLE, slot.to_text())
        monkeypatch.setenv(INHERITED_VARIABLE, str(os.dup(listening.fileno())))
        slot.control.detach()
        return ours

    yield begin
    for each in (ours, theirs, listening):
        each.close()
    board.close()


def test_a_worker_serves_until_its_supervisor_asks_it_to_drain(as_worker: Any) -> None:
    supervisor = as_worker()
    drain = link_messages.encode(link_messages.Drain(None))
    supervisor.send(b"".join(map(bytes, encode(MessageKind.DRAIN, drain))))
    serve(Site(page), settings(workers_count=2))
    said = supervisor.recv(1_000)
    assert encode(MessageKind.DRAINING)[0] in said
    assert WORKER_VARIABLE not in os.environ  # what it starts is no worker


# Several workers

PROGRAM = """
from python_server.serve.mounts import Site
from python_server.serve.serve import serve
from python_server.settings import Settings
def page(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
serve(Site(page), Settings(port=0, control_socket="none"))
"""


def test_several_workers_hear_every_order(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", PROGRAM])
    got: list[bytes] = []

    def started(url: str) -> None:
        with urllib.request.urlopen(url) as answer:
            got.append(answer.read())
        sends(
            signal.SIGUSR1,
            signal.SIGUSR2,
            signal.SIGTTIN,
            signal.SIGTTOU,
            signal.SIGHUP,
            signal.SIGWINCH,
            signal.SIGTERM,
        )(url)

    serve(Site(page), settings(workers_count=1, max_requests_count=100), started)
    assert got == [b"ok"]
    said = [record.message for record in caplog.records if not record.message.startswith("worker ")]
    assert ", 1 worker with 40 threads for requests, 256 for events: listening on http" in said.pop(0)
    assert said[:2] == ["2 workers are wanted", "1 workers are wanted"]
    assert said[2].startswith("rolling restart of 1 workers")
    assert said[-1] == "stopped"


def test_quit_ends_several_workers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", PROGRAM])
    supervise(settings(workers_count=2), sends(signal.SIGQUIT))


def test_a_first_worker_that_does_not_come_up_gives_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(SystemExit) as ended:
        supervise(settings(workers_count=2))
    assert ended.value.code == 3
    assert "the first worker did not come up (exit code 3): stopping" in caplog.text


def test_several_workers_need_unix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNIX", False)
    with pytest.raises(BindError, match="several workers need a UNIX system"):
        supervise(settings(workers_count=2))


@pytest.mark.parametrize(
    ("values", "supervises"),
    [({}, False), ({"workers_count": 2}, True), ({"max_requests_count": 1}, True)],
)
def test_who_starts_workers(values: dict[str, int], supervises: bool) -> None:
    assert is_supervisor(settings(**values)) is supervises


# Where it listens


@pytest.mark.parametrize(
    ("values", "addresses"),
    [
        ({}, [TCPAddress("127.0.0.1", 0)]),
        ({"host": "[::1]"}, [TCPAddress("::1", 0)]),
        ({"host": "fe80::1%eth0"}, [TCPAddress("fe80::1%eth0", 0)]),
        (
            {"binds": ("[::1]:81", "unix:/run/s"), "fd": 3},
            [TCPAddress("::1", 81), UnixAddress("/run/s"), InheritedDescriptor(3)],
        ),
        ({"uds": "/run/s"}, [UnixAddress("/run/s")]),
    ],
)
def test_addresses(values: dict[str, Any], addresses: list[Any]) -> None:
    assert addresses_of(settings(**values)) == addresses


@pytest.mark.parametrize(
    ("binds", "public"),
    [
        (("127.0.0.1:80", "unix:/run/s"), None),
        (("127.0.0.1:80", "0.0.0.0:81"), TCPAddress("0.0.0.0", 81)),
    ],
)
def test_what_another_machine_may_reach(binds: tuple[str, ...], public: Any) -> None:
    assert public_address(settings(binds=binds)) == public


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "http://localhost", "unix:/run/s", "[::1]:80"])
def test_a_host_that_is_more_than_a_host(host: str) -> None:
    with pytest.raises(BindError, match=f"--host {re.escape(repr(host))} is more than a host: write --port"):
        addresses_of(settings(host=host))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"uds": "{}/no/s"}, "cannot listen on unix:{}/no/s: there is no folder {}/no"),
        ({"binds": ("unix:{}/no/s",)}, "cannot listen on unix:{}/no/s: there is no folder {}/no"),
        ({"uds": "{}/file"}, "cannot listen on unix:{}/file: a file there is not a socket"),
        ({"uds": ""}, "cannot listen on unix:: the path is empty"),
        (
            {"control_socket": "{}/no/c"},
            "--control-socket '{}/no/c': cannot listen on unix:{}/no/c: there is no",
        ),
        (
            {"pid_file": "{}/no/pid"},
            "cannot write the process id to {}/no/pid (--pid): No such file or directory",
        ),
        ({"pid_file": "{}"}, "cannot write the process id to {} (--pid): Is a directory"),
        ({"pid_file": ""}, "cannot write the process id to  (--pid): No such file or directory"),
    ],
)
def test_a_check_finds_a_place_where_no_file_can_be_made(
    tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    (tmp_path / "file").touch()

    def here(text: Any) -> Any:
        return text.replace("{}", str(tmp_path)) if isinstance(text, str) else tuple(map(here, text))

    with pytest.raises(BindError) as refused:
        check_listening(Settings(**{name: here(value) for name, value in values.items()}))
    assert here(words) in str(refused.value)


def test_a_check_leaves_no_pid_file_behind(tmp_path: Path) -> None:
    check_listening(settings(pid_file=str(tmp_path / "pid")))
    assert not list(tmp_path.iterdir())
    (tmp_path / "pid").write_text("1\n")
    check_listening(settings(pid_file=str(tmp_path / "pid")))
    assert (tmp_path / "pid").read_text() == "1\n"


def test_what_listening_needs_is_looked_at_before(tmp_path: Path) -> None:
    check_listening(settings())
    with pytest.raises(BindError):
        check_listening(settings(binds=("here:there",)))
    with pytest.raises(Exception, match="missing"):
        check_listening(settings(tls=TLSSettings(certfile=str(tmp_path / "missing"))))


def test_sockets_of_whoever_started_the_process_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    for sock in bound:
        sock.set_inheritable(True)
    addresses = [sock.getsockname() for sock in bound]
    monkeypatch.setenv(INHERITED_VARIABLE, ",".join(str(sock.detach()) for sock in bound))
    with bind(settings(), {}) as listening:
        assert [sock.getsockname() for sock in listening.sockets] == addresses
        assert not any(sock.get_inheritable() for sock in listening.sockets)


def test_logs_are_set_up_as_the_settings_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_secret_fields", set(masking._secret_fields))
    monkeypatch.setattr(masking, "_signs", masking._signs[:])
    monkeypatch.setattr(log_config, "_used", set())
    (tmp_path / "log.toml").write_text('[loggers.python_server]\nlevel = "WARNING"')
    asked = settings(
        log_config=str(tmp_path / "log.toml"),
        log_format="json",
        log_masked_fields=("pin",),
        error_log=str(tmp_path / "error"),
    )
    with log.restoring():
        set_up_logs(asked, None, "worker 1")
        log.say("the file's level is warning")
        log.warn("of /?pin=1234")
    (line,) = map(json.loads, (tmp_path / "error").read_text().splitlines())
    assert (line["message"], line["worker"]) == ("of /?pin=***", "worker 1")
