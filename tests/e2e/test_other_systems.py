"""Other systems, as far as this one can be made to lack what they lack: modules, tests of the net, a server.

It must not need another system; `.github/workflows/tests.yml` has the real ones run `smoke.py`.
"""

import http.client
import os
import re
import resource
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
COMMON = TESTS / "common"
SYSTEMS = ("poll", "select", "windows")
# Those of `net/` that turn on a poller; `make test` has no time for the others twice more.
POLLED = ("transport", "listener", "low_water", "link", "tls")
# Of these what OpenSSL computes for seconds, with a poller or without; on other pollers it is extended.
COMPUTING = "key_updates"
IMPORTS = """
import importlib, pkgutil, sys
from other_system import take_away
take_away(sys.argv[1])
import python_server
for module in pkgutil.walk_packages(python_server.__path__, "python_server."):
    if not module.name.startswith("python_server.gunicorn") and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        print(module.name)
"""
APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "6")])
    return [b"served"]
"""


def run(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(COMMON), **more}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1200)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_server_serves_and_stops(system: str) -> None:
    done = run(str(TESTS / "smoke.py"), system)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("served")


def test_every_module_is_imported_on_windows() -> None:
    done = run("-c", IMPORTS, "windows")
    assert done.returncode == 0, done.stderr
    assert {"python_server.command.cli", "python_server.serve.reloader"} <= set(done.stdout.split())


@pytest.mark.parametrize("system", ["poll", "select"])
def test_the_net_stands_on_every_poller(system: str, pytestconfig: pytest.Config) -> None:
    files = [str(TESTS / "server" / "net" / f"test_{name}.py") for name in POLLED]
    plugins = ("-p", "other_system", "-p", "no:cacheprovider", "-n", "0")
    chosen = () if pytestconfig.getoption("--extended") else ("-k", f"not ({COMPUTING})")
    done = run("-P", "-m", "pytest", "-q", *plugins, *chosen, *files, OTHER_SYSTEM=system)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (["--workers", "2"], "several workers need a UNIX system: leave --workers and --max-requests out"),
        (["--workers", "2", "--check-config"], "several workers need a UNIX system"),
        (["--uds", "a.sock"], "cannot listen on unix:a.sock: this system has no UNIX sockets"),
        (
            ["--control-socket", "a.sock"],
            "--control-socket 'a.sock': cannot listen on unix:a.sock: this system has",
        ),
        (["--reuse-port", "--port", "0"], "this system has no SO_REUSEPORT"),
    ],
)
def test_what_windows_lacks_is_refused_in_one_line(tmp_path: Path, typed: list[str], answer: str) -> None:
    (tmp_path / "page.py").write_text(APP)
    command = ("-m", "python_server", "page:app", "--app-dir", str(tmp_path), *typed)
    done = run(str(COMMON / "other_system.py"), "windows", *command)
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert answer in line


CLIENTS_COUNT = 1100  # above select's 1,024


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * CLIENTS_COUNT), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_clients_than_select_watches_end_none_of_the_others(
    tmp_path: Path, many_descriptors: None
) -> None:
    (tmp_path / "page.py").write_text(APP)
    command = [sys.executable, str(COMMON / "other_system.py"), "select", "-m", "python_server", "page:app"]
    options = ["--port", "0", "--limit-concurrency", "3000", "--no-access-log"]
    server = subprocess.Popen([*command, *options], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        warning = server.stderr.readline()
        assert "--limit-concurrency 3000 needs 3256 descriptors, this system's select watches 1024" in warning
        port = int(re.search(r"127\.0\.0\.1:(\d+)", server.stderr.readline())[1])  # type: ignore[index]
        with ExitStack() as clients:
            first = clients.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)))
            assert answer_of(first) == b"served"
            for _ in range(CLIENTS_COUNT):
                last = clients.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            assert last.recv(1) == b""  # by then all have been accepted
            assert answer_of(first) == b"served"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as response:
            assert response.read() == b"served"
    finally:
        server.terminate()
        said = server.communicate(timeout=60)[1]
    assert server.returncode == 0
    assert "Traceback" not in said


def answer_of(connection: http.client.HTTPConnection) -> bytes:
    connection.request("GET", "/")
    return connection.getresponse().read()
