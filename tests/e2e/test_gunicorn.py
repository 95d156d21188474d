"""gunicorn with our worker class, as its users start it: settings, hooks, logs, signals of gunicorn's own.

It must not know our worker's code; what holds under our own supervisor as well stands in test_deploys.py.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asked_workers import Load, alive, ask, imported, wait_gone, workers_of
from ordered_clients import OrderedClient, PatientClient
from python_server.control.places import servers
from running_program import PATIENCE_SECONDS, RunningProgram

APPS = Path(__file__).parent / "apps"
PROGRAMS = Path(__file__).parent / "programs"
GUNICORN = [str(Path(sys.executable).with_name("gunicorn")), "-k", "python_server.GunicornWorker"]
LINUX = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads /proc")
HOOKS = """
control_socket_disable = True
statsd_host = "127.0.0.1:{port}"
access_log_format = '%(h)s|%(m)s|%(U)s|%(q)s|%(H)s|%(s)s|%(B)s|%(f)s|%(a)s|%({{x-mark}}i)s|'


def post_fork(server, worker):
    worker.log.info("hook post_fork age %s", worker.age)


def post_worker_init(worker):
    worker.log.info("hook post_worker_init")
    worker.log.info("worker (process %s) serves", worker.pid)


def pre_request(worker, req):
    worker.log.info("hook pre_request %s %s", req.method, req.uri)


def post_request(worker, req, environ, resp):
    worker.log.info("hook post_request %s %s %s", req.path, environ["QUERY_STRING"], resp.status)


def worker_int(worker):
    worker.log.info("hook worker_int")


def worker_abort(worker):
    worker.log.info("hook worker_abort")


def worker_exit(server, worker):
    worker.log.info("hook worker_exit")


def child_exit(server, worker):
    server.log.info("hook child_exit")
"""
Start = Callable[..., Any]


@pytest.fixture(scope="module")
def counts() -> Iterator[socket.socket]:
    """Where a statsd would listen."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE_SECONDS)
        yield sock


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    os.mkfifo(place / "hold")
    return place


@pytest.fixture(scope="module")
def hooked(serve: Start, place: Path, counts: socket.socket) -> Any:
    """One worker with everything: several addresses, hooks, a log format, statsd, limits."""
    (place / "hooks.py").write_text(HOOKS.format(port=counts.getsockname()[1]))
    arguments = ["--workers", "1", "-c", str(place / "hooks.py"), "--limit-request-line", "300"]
    for address in ("127.0.0.1:0", "127.0.0.1:0", f"unix:{place}/unix"):
        arguments += ["--bind", address]
    environment = {"WORKERS_PLACE": str(place), "WSFRAME_EVENT_THREADS": "1"}
    server = serve(APPS, "workers_app:app", *arguments, supervisor="gunicorn", env=environment)
    server.wait_serving(1)
    return server


class UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


def fetch(connection: http.client.HTTPConnection, target: str, **fields: str) -> tuple[int, bytes]:
    with contextlib.closing(connection):
        connection.request("GET", target, headers={name.replace("_", "-"): v for name, v in fields.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()


def connection_to(server: Any) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE_SECONDS)


def test_every_address_is_served(hooked: Any, place: Path) -> None:
    found = re.findall(r"http://(127\.0\.0\.1:\d+)", hooked.log)
    assert len(set(found)) == 2
    for address in set(found):
        assert fetch(http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS), "/")[0] == 200
    assert fetch(UnixConnection(str(place / "unix")), "/", Host="localhost")[0] == 200


def test_the_access_log_has_gunicorns_atoms(hooked: Any) -> None:
    fields = {"X_Mark": "blue", "Referer": "http://there/", "User_Agent": "a browser"}
    status, body = fetch(connection_to(hooked), "/page?a=1", **fields)
    said = f"127.0.0.1|GET|/page|a=1|HTTP/1.1|{status}|{len(body)}|http://there/|a browser|blue|"
    hooked.wait_for(said)


def test_answers_are_counted_by_statsd(hooked: Any, counts: socket.socket) -> None:
    fetch(connection_to(hooked), "/")
    told = ""
    while not ("gunicorn.requests:1" in told and "gunicorn.request.status.200:1" in told):
        told += counts.recv(1000).decode() + "\n"
    assert "gunicorn.request.duration:" in told


def test_a_request_line_above_gunicorns_limit_is_refused(hooked: Any) -> None:
    assert fetch(connection_to(hooked), "/" + "a" * 200)[0] == 200
    assert fetch(connection_to(hooked), "/" + "a" * 400)[0] == 414


@pytest.mark.extended
def test_hooks_are_called(launch: Start, place: Path, counts: socket.socket, hooked: Any) -> None:
    fetch(connection_to(hooked), "/seen?b=2")
    hooked.wait_for("hook pre_request GET /seen?b=2")
    hooked.wait_for("hook post_request /seen b=2 200 OK")
    for name in ("post_fork age 1", "post_worker_init"):
        assert hooked.log.count(f"hook {name}") == 1
    environment = {"WORKERS_PLACE": str(place)}
    arguments = ("--workers", "1", "-c", str(place / "hooks.py"), "--no-access-log")
    server = launch(APPS, "workers_app:app", *arguments, supervisor="gunicorn", env=environment)
    server.wait_serving(1)
    os.kill(ask(server), signal.SIGABRT)
    server.wait_for("hook worker_abort")
    server.wait_for("hook child_exit")
    server.wait_serving(2)
    assert server.stop(signal.SIGQUIT) == 0
    assert server.log.count("hook worker_int") == 1
    assert server.log.count("hook worker_exit") == 2


# Settings that end it, or are named


def run_to_its_end(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*GUNICORN, "--bind", "127.0.0.1:0", "homes_app:app", *arguments],
        cwd=APPS,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["--proxy-protocol"], {}, "the PROXY protocol is not spoken"),
        (["--protocol", "uwsgi"], {}, "only HTTP is spoken"),
        ([], {"WSFRAME_EVENT_THREADS": "many"}, "'many' is not a valid"),
        ([], {"WSFRAME_EVENT_THREADS": "0"}, "--event-threads"),
    ],
    ids=["proxy", "protocol", "no number", "nought"],
)
def test_what_cannot_be_served_ends_it_with_a_sentence(
    arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    done = run_to_its_end(*arguments, **environment)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert done.stderr.count("Traceback") == 0, done.stderr


def test_settings_without_an_effect_are_named_and_those_of_the_environment_hold(launch: Start) -> None:
    arguments = ("--no-sendfile", "--header-map", "refuse", "--strip-header-spaces")
    environment = {"WSFRAME_LIMIT_BODY": "1000"}
    server = launch(APPS, "homes_app:app", *arguments, supervisor="gunicorn", env=environment)
    server.wait_serving(1)
    server.wait_for("header_map, sendfile, strip_header_spaces: these settings have no effect")
    connection = connection_to(server)
    for size, status in ((1000, 200), (1001, 413)):
        connection.request("POST", "/say/1", b"a" * size)
        answer = connection.getresponse()
        assert answer.read()
        assert answer.status == status
    connection.close()
    assert server.stop() == 0


# One worker


@pytest.mark.needs_node
def test_one_worker_alone_hands_its_clients_over_when_gunicorn_is_reloaded(launch: Start, node: str) -> None:
    server = launch(APPS, "homes_app:app", "--workers", "1", "--no-access-log", supervisor="gunicorn")
    with crowd(node, server, 5, 2, "recovered") as clients:
        for count, come in enumerate(("all have come", "all are back: 1"), 1):
            clients.wait_for(come)
            server.signal(signal.SIGHUP)
            server.wait_ended(count)
        assert clients.wait() == 0, clients.log
    assert server.stop() == 0


@pytest.mark.extended
@pytest.mark.needs_node
def test_one_worker_alone_waits_for_nobody_when_it_has_answered_its_requests(
    launch: Start, drive: Callable[..., None]
) -> None:
    """Its clients are told that they did not recover; nobody can come before it has ended."""
    options = ("--workers", "1", "--max-requests", "100", "--graceful-timeout", "900", "--no-access-log")
    server = launch(APPS, "homes_app:app", *options, supervisor="gunicorn")
    drive("crowd.mjs", server.url, "4", "2", "anew")
    server.wait_ended(2)


@pytest.mark.extended
def test_a_client_of_python_socketio_over_polling_comes_back(launch: Start) -> None:
    server = launch(APPS, "homes_app:app", "--workers", "1", "--no-access-log", supervisor="gunicorn")
    client = PatientClient(reconnection=True, reconnection_delay=0.01, reconnection_delay_max=0.1)
    came = threading.Semaphore(0)
    client.on("connect", came.release)
    client.connect(server.url, transports=["polling"])
    assert came.acquire(timeout=PATIENCE_SECONDS)
    server.signal(signal.SIGHUP)
    assert came.acquire(timeout=PATIENCE_SECONDS)
    client.disconnect()
    assert server.stop() == 0


@contextlib.contextmanager
def crowd(node: str, server: Any, count: int, returns: int, wanted: str) -> Iterator[RunningProgram]:
    driver = Path(__file__).parent / "drivers" / "crowd.mjs"
    program = RunningProgram([node, str(driver), server.url, str(count), str(returns), wanted], driver.parent)
    try:
        yield program
    finally:
        program.stop()
        print(program.log)


# Indexes


def index_of_a_session(server: Any) -> int:
    status, body = fetch(connection_to(server), "/socket.io/?EIO=4&transport=polling")
    assert status == 200
    return int(str(json.loads(body[1:])["sid"]).partition(".")[0])


def test_the_index_of_a_killed_worker_is_given_to_nobody(launch: Start) -> None:
    """Not even when all are killed: sessions of the dead are nobody's."""
    server = launch(APPS, "homes_app:app", "--workers", "2", "--no-access-log", supervisor="gunicorn")
    server.wait_serving(2)
    assert index_of_a_session(server) in (1, 2)
    for killed in re.findall(r"process ([0-9]+)\) serves", server.log):
        os.kill(int(killed), signal.SIGKILL)
    server.wait_for("was sent SIGKILL", 2)
    server.wait_serving(4)
    assert index_of_a_session(server) in (3, 4)
    assert server.stop() == 0


# Signals of gunicorn's own


@pytest.mark.extended
@LINUX
@pytest.mark.needs_node
def test_an_upgrade_under_load_refuses_no_connection_and_loses_no_session(
    launch: Start, node: str, tmp_path: Path
) -> None:
    """USR2 starts another arbiter; both serve each other's sessions, whichever of them is ended."""
    options = ("--workers", "2", "--pid", str(tmp_path / "pid"), "--no-access-log")
    server = launch(APPS, "homes_app:app", *options, supervisor="gunicorn")
    server.wait_serving(2)
    old = workers_of(server, 2, "/pid")

    def upgrade(serving_count: int) -> int:
        server.signal(signal.SIGUSR2)
        server.wait_serving(serving_count)
        assert len(workers_of(server, 4, "/pid")) == 4
        return int((tmp_path / "pid.2").read_text())

    with contextlib.ExitStack() as stack, Load(server, 2, "/pid") as load:
        given_up = upgrade(4)
        stack.callback(end, given_up)
        clients = stack.enter_context(crowd(node, server, 8, 1, "recovered"))
        clients.wait_for("all have come")
        os.kill(given_up, signal.SIGTERM)
        while alive(given_up):  # until the old arbiter knows that
            pass
        assert workers_of(server, 2, "/pid") == old
        while server.pid not in [each.process for each in servers()]:
            pass  # commands find it again
        new = upgrade(6)
        stack.callback(end, new)
        server.signal(signal.SIGTERM)
        assert clients.wait() == 0, clients.log
        wait_gone(*old, server.pid)
        assert len(workers_of(server, 2, "/pid") - old) == 2
    assert load.faults == []


@pytest.mark.extended
@LINUX
def test_a_daemon_is_upgraded_as_gunicorns_page_says(place: Path) -> None:
    """USR2; WINCH ends the workers of the old one, QUIT the old one itself."""
    path, pid = place / "daemon", place / "daemon.pid"
    options = ["--daemon", "--bind", f"unix:{path}", "--pid", str(pid), "--error-logfile", str(place / "log")]
    environment = {**os.environ, "WORKERS_PLACE": str(place)}
    command = [*GUNICORN, "--no-control-socket", *options, "workers_app:app"]
    subprocess.run(command, cwd=APPS, env=environment, check=True, timeout=PATIENCE_SECONDS)

    def answering(besides: int = 0) -> int:
        """The process of a worker, once another one than that answers."""
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                worker = int(fetch(UnixConnection(str(path)), "/", Host="localhost")[1].split()[0])
                if worker != besides:
                    return worker

    with contextlib.ExitStack() as stack:
        first = answering()
        old = int(pid.read_text())
        stack.callback(end, old)
        os.kill(old, signal.SIGUSR2)
        second = answering(besides=first)
        new = int(Path(f"{pid}.2").read_text())
        stack.callback(end, new)
        os.kill(old, signal.SIGWINCH)
        wait_gone(first)
        assert answering() == second
        os.kill(old, signal.SIGQUIT)
        wait_gone(old)
        assert answering() == second
    assert "Traceback" not in (place / "log").read_text()


def end(arbiter: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(arbiter, signal.SIGTERM)
    wait_gone(arbiter)


@pytest.mark.extended
def test_moved_logs_are_opened_anew(tmp_path: Path) -> None:
    """And a socket that was inherited is served."""
    os.mkfifo(tmp_path / "hold")
    access, errors = tmp_path / "access.log", tmp_path / "errors.log"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.fileno()
        command = [*GUNICORN, "--no-control-socket", "--bind", f"fd://{number}", "-w", "2", "workers_app:app"]
        logs = ["--access-logfile", str(access), "--error-logfile", str(errors)]
        environment = {"WORKERS_PLACE": str(tmp_path)}
        program = RunningProgram([*command, *logs], APPS, environment, pass_fds=[number])
        try:
            address = "{}:{}".format(*listening.getsockname())
            fetch(http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS), "/before")
            while len(imported(tmp_path)) < 2 or "/before" not in access.read_text():
                fetch(http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS), "/before")
            access.rename(tmp_path / "access.1")
            errors.rename(tmp_path / "errors.1")
            program.signal(signal.SIGUSR1)
            while not (access.exists() and "/after" in access.read_text()):
                fetch(http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS), "/after")
            left, moved = imported(tmp_path), str(tmp_path / "errors.1")
            while left:  # each worker, at its own time
                fetch(http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS), "/after")
                opened = {each: [*map(os.path.realpath, Path(f"/proc/{each}/fd").iterdir())] for each in left}
                left = [each for each in left if moved in opened[each] or str(errors) not in opened[each]]
            assert program.stop() == 0
        finally:
            program.stop(signal.SIGQUIT)
    assert "Handling signal: usr1" not in errors.read_text()
    assert errors.read_text().count("Worker exiting") == 2
    assert "/before" in (tmp_path / "access.1").read_text()


# Programs


@pytest.mark.extended
def test_preloaded_once_and_served_by_all(launch: Start, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hold")
    options = ("--workers", "2", "--preload", "--no-access-log")
    environment = {"WORKERS_PLACE": str(tmp_path)}
    server = launch(APPS, "workers_app:app", *options, supervisor="gunicorn", env=environment)
    server.wait_serving(2)
    assert len(workers_of(server, 2)) == 2
    assert imported(tmp_path) == [server.pid]
    assert server.stop() == 0


@pytest.mark.extended
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["", "preload"])
def test_a_program_for_flask_socketio_runs_with_drop_in(launch: Start, preload: list[str]) -> None:
    arguments = ("eventlet_procfile:app", "--workers", "2", "--no-access-log", *preload)
    environment = {"WSFRAME_DROP_IN": "1", "PORT": "0"}
    server = launch(PROGRAMS, *arguments, supervisor="gunicorn", env=environment)
    server.wait_serving(2)
    clients = [OrderedClient() for _ in range(4)]
    heard: list[Any] = []
    for client in clients:
        client.on("said", heard.append)
        client.connect(server.url)
    clients[0].call("say", {"text": "hello"}, timeout=PATIENCE_SECONDS)
    for client in clients:
        client.close()
    assert heard == [{"text": "hello", "own": True}]
    server.wait_for("handlers run one at a time, as greenlets did", 2)
    assert server.stop() == 0


@pytest.mark.extended
@pytest.mark.skipif(os.geteuid() != 0, reason="changes the user")
def test_workers_of_another_user_meet(launch: Start) -> None:
    owner = ("--user", "65534", "--group", "65534")
    # Preloaded: another user may not be let into the folder of this Python.
    options = ("--workers", "2", *owner, "--preload", "--no-access-log")
    server = launch(APPS, "crew_app:app", *options, supervisor="gunicorn")
    server.wait_serving(2)
    clients: dict[int, Any] = {}
    with contextlib.ExitStack() as stack:
        while len(clients) < 2:
            client = OrderedClient()
            client.connect(server.url, transports=["websocket"])
            stack.callback(client.close)
            clients[client.call("where", timeout=PATIENCE_SECONDS)] = client
        first, second = clients.values()
        for pid in clients:
            assert os.stat(f"/proc/{pid}").st_uid == 65534
        everybody = first.call("members", timeout=PATIENCE_SECONDS)
        assert {first.get_sid(), second.get_sid()} <= set(everybody)
    assert server.stop() == 0
