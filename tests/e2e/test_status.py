"""The commands of an operator against real servers: status, top, dump, reload, stop.

It must not know how a worker is asked.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ordered_clients import SimpleClient
from running_program import RunningProgram

APPS = Path(__file__).resolve().parent / "apps"
WSFRAME = str(Path(sys.executable).parent / "wsframe")
# Of a machine that has far more to do: who answers at all has answered by then.
PATIENT = ("--timeout", "20")


def wsframe(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [WSFRAME, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**os.environ, **(env or {})},
    )


def port_of(server: Any) -> tuple[str, str]:
    return "--port", server.url.rpartition(":")[2]


def status_of(server: Any, *options: str) -> Any:
    done = wsframe("status", "--json", "--during", "0", *port_of(server), *(options or PATIENT))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def dump_of(server: Any) -> str:
    """Of all of its workers, once none is more than three seconds late."""
    while (done := wsframe("dump", "--stdout", *port_of(server))).returncode:
        assert server.is_alive, done.stderr
    return done.stdout


@pytest.fixture
def client() -> Iterator[SimpleClient]:
    client = SimpleClient()
    yield client
    client.disconnect()


def test_one_worker_with_its_events_rooms_and_threads(serve: Any, client: SimpleClient) -> None:
    server = serve(APPS, "operated_app:app")
    client.connect(server.url, transports=["websocket"])
    assert client.call("join", "readers") == "done"
    command = [WSFRAME, "status", "--json", "--during", "2", *PATIENT, *port_of(server)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        while running.poll() is None:
            client.call("work", 0.03)
        assert running.stdout is not None
        told = json.loads(running.stdout.read())
    [worker] = told["workers"]
    assert (worker["process"], worker["worker"]) == (server.pid, 1)
    assert (told["process"], worker["connections"], worker["sessions"]) == (server.pid, 1, 1)
    assert worker["events_per_second"] > 0
    assert 0.025 < worker["p50_seconds"] <= worker["p99_seconds"]
    assert worker["memory_bytes"] > 1_000_000
    assert worker["pools"]["event-threads"]["threads_count"] >= 1
    assert [(each["event"], each["namespace"]) for each in told["slowest_events"]] == [("work", "/")]
    assert told["biggest_rooms"] == [{"namespace": "/", "room": "readers", "clients": 1}]
    shown = wsframe("status", *port_of(server), *PATIENT).stdout
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert re.search(rf"^1 +{server.pid} +\d+s +1 +1 ", shown, re.MULTILINE)
    assert "1 clients  readers (/)" in shown


@pytest.fixture(scope="module")
def four(serve: Any) -> Any:
    server = serve(APPS, "operated_app:app", "--workers", "4", "--worker-timeout", "600")  # one stands still
    server.wait_serving(4)
    return server


def test_of_four_workers_the_one_that_stands_still_is_named(four: Any) -> None:
    server = four
    processes = [each["process"] for each in status_of(server)["workers"]]
    assert len({*processes, server.pid}) == 5
    os.kill(processes[1], signal.SIGSTOP)
    try:
        named: list[int] = []
        while named != [processes[1]]:  # on a busy machine others may not have answered by then
            told = status_of(server, "--timeout", "3")["workers"]
            named = [each["process"] for each in told if each.get("stands_still") == ""]
            assert processes[1] in named
        written = ""
        while written.count("has written it into its log") < 3:
            dumped = wsframe("dump", *port_of(server))
            assert dumped.returncode == 1
            assert f"`kill -ABRT {processes[1]}`" in dumped.stderr
            written = dumped.stdout
        assert written.count("has written it into its log") == 3
    finally:
        os.kill(processes[1], signal.SIGCONT)
    assert all("stands_still" not in each for each in status_of(server)["workers"])


def test_a_loop_that_a_handler_holds_up_is_seen(serve: Any, client: SimpleClient, tmp_path: Path) -> None:
    server = serve(APPS, "operated_app:app")
    client.connect(server.url, transports=["websocket"])
    client.emit("hold", str(tmp_path / "go on"))
    told: dict[str, Any] = {}
    while "stands_still" not in told:  # the event is on its way
        [told] = status_of(server, "--timeout", "2")["workers"]
    assert re.search(r"operated_app\.py:\d+ in hold$", told["stands_still"])
    dumped = dump_of(server)
    assert "in hold\n    time.sleep(0.01)" in dumped
    assert "pool of --event-threads: " in dumped
    (tmp_path / "go on").touch()
    server.wait_for("where all threads stand, as `wsframe dump` asks")
    server.wait_for("in hold\n    time.sleep(0.01)")


def test_found_from_a_login_shell_though_it_only_listens_on_a_path(tmp_path: Path) -> None:
    """A service has no XDG_RUNTIME_DIR and perhaps other folders for temporary files than a login shell."""
    path = tmp_path / "shop.sock"
    command = [sys.executable, "-m", "python_server", "operated_app:app", "--uds", str(path)]
    server = RunningProgram(command, APPS, {"XDG_RUNTIME_DIR": "", "TMPDIR": "/tmp"})
    shell = {"XDG_RUNTIME_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    chosen = ("--bind", f"unix:{path}")
    try:
        server.wait_for("listening on")
        told = json.loads(wsframe("status", "--json", *PATIENT, *chosen, env=shell).stdout)
        assert told["addresses"] == [f"unix:{path}"]
        assert [each["process"] for each in told["workers"]] == [server.pid]
        assert wsframe("emit", "news", *chosen, env=shell).returncode == 0
        assert f"process {server.pid} reloads" in wsframe("reload", *chosen, env=shell).stdout
        server.wait_for("listening on", 2)
        told = json.loads(wsframe("status", "--json", *PATIENT, *chosen, env=shell).stdout)
        assert told["process"] == server.pid  # the same, with the new code
        ended = wsframe("stop", *chosen, env=shell)
        assert (ended.returncode, ended.stdout) == (0, f"process {server.pid} has ended\n")
        again = wsframe("stop", *chosen, env=shell)
        assert again.returncode == 1
        assert re.search(
            r"no server of this user \(uid \d+\) has --bind .*\[no-running-server\]$", again.stderr
        )
    finally:
        server.signal(signal.SIGKILL)
        server.wait()


def test_of_several_servers_one_is_to_be_named(serve: Any) -> None:
    servers = [serve(APPS, "operated_app:app") for _ in range(2)]
    done = wsframe("reload")
    assert done.returncode == 1
    assert done.stderr.endswith("[several-servers]\n")
    for server in servers:
        address = server.url.removeprefix("http://")
        assert f"{' '.join(port_of(server))} (process {server.pid}, {address})" in done.stderr
    assert all("reload" not in server.log for server in servers)


def test_gunicorn_is_seen_reloaded_and_stopped(launch: Any) -> None:
    server = launch(APPS, "operated_app:app", "-w", "2", supervisor="gunicorn")
    while len(status_of(server)["workers"]) < 2:  # the first one serves while the second one loads
        pass
    told = status_of(server)
    assert told["process"] == server.pid
    assert wsframe("reload", *port_of(server)).returncode == 0
    server.wait_for("Handling signal: hup")
    ended = wsframe("stop", *port_of(server))
    assert ended.stdout == f"process {server.pid} has ended\n"


def test_a_fatal_signal_leaves_the_stacks_in_the_log(launch: Any, tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    server = launch(APPS, "operated_app:app", "--workers", "2", "--error-log", str(log))
    [first, *_] = status_of(server)["workers"]
    os.kill(first["process"], signal.SIGSEGV)
    while "Fatal Python error: Segmentation fault" not in log.read_text():
        assert server.is_alive
    while "run_once" not in log.read_text():
        assert server.is_alive


@pytest.mark.parametrize("interrupts", [False, True], ids=["q", "Ctrl+C"])
def test_top_in_a_terminal_of_80_by_24(four: Any, interrupts: bool) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    terminal = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""}
    command = [WSFRAME, "top", *port_of(four)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=terminal) as top:
        os.close(theirs)
        seen = b""
        while seen.count(b"PROCESS") < 2:  # drawn, and drawn anew
            assert select.select([ours], [], [], 60)[0], seen
            seen += os.read(ours, 65_536)
        if interrupts:
            top.send_signal(signal.SIGINT)
        else:
            os.write(ours, b"xq")
        with suppress(OSError):  # the end of a terminal that nobody holds any more
            while piece := os.read(ours, 65_536):
                seen += piece
        top.wait()
        assert top.returncode == 0
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    text = re.sub(r" *\r*\n", "\n", text)
    [screen] = re.findall(r"process \d+, 127.*?slow clients\n  none", text, re.DOTALL)[:1]
    lines = screen.split("\n")
    assert len(lines) <= 24
    assert all(len(line.rstrip()) <= 80 for line in lines)
    for each in status_of(four)["workers"]:
        assert str(each["process"]) in screen
