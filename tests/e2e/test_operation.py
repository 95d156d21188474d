"""Starting, configuring, logging and stopping the server, as somebody who runs it does.

Rows of the servers' table: R2 R15 R55 R57 R58 R59 R60 R70. It must not know the server's code.
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
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60.0
# Who asks again while the server stops may be late.
GRACE = ("--set", f"idle_grace_seconds={PATIENCE_SECONDS}", "--timeout-graceful", str(PATIENCE_SECONDS))


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
        return bytes(answer.read())


def run(*arguments: str, cwd: Path = APPS, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run the command to its end; (exit code, everything it said)."""
    done = subprocess.run(
        [sys.executable, "-m", "python_server", *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def wait_logged(log: Path, text: str) -> None:
    """A line is written beside the answer that it tells of, maybe after it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while text not in log.read_text():
        assert time.monotonic() < deadline, f"{text} was not written"
        time.sleep(0.01)


# Stopping


def test_r58_a_running_request_is_answered_before_the_end(serve: Callable[..., Any]) -> None:
    server = serve(APPS, "slow_app:app", *GRACE)
    host, port = server.url.removeprefix("http://").split(":")
    waiting = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_SECONDS)
    waiting.request("GET", "/wait")
    kept = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_SECONDS)
    kept.request("GET", "/first")
    assert kept.getresponse().read() == b"/first \n"
    server.signal(signal.SIGTERM)
    server.wait_for("stopping")
    # What comes on a kept connection while the server stops is still answered, and told to be the last.
    kept.request("GET", "/open")
    answer = kept.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (200, "close")
    answer.read()
    answer = waiting.getresponse()
    assert answer.read() == b"/wait \n"
    assert answer.getheader("Connection") == "close"
    assert server.wait() == 0
    for connection in (waiting, kept):
        connection.close()


def test_no_request_is_lost_when_it_stops_under_load(serve: Callable[..., Any]) -> None:
    server = serve(APPS, "slow_app:app", "--no-access-log", *GRACE)
    host, port = server.url.removeprefix("http://").split(":")
    lost: list[str] = []
    answered = threading.Semaphore(0)

    def client() -> None:
        """Ask on one kept connection until the server says it is the last answer."""
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_SECONDS)
        try:
            while True:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read()
                answered.release()
                if body != b"/ \n":
                    lost.append(repr(body))
                if answer.getheader("Connection") == "close":
                    return
        except OSError as error:
            lost.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads:
        thread.start()
    for _ in range(500):
        assert answered.acquire(timeout=PATIENCE_SECONDS)
    server.signal(signal.SIGTERM)
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert lost == []
    assert server.wait() == 0


def test_websockets_are_told_1001(serve: Callable[..., Any], tmp_path: Path) -> None:
    server = serve(tmp_path)
    with connect(server.url.replace("http", "ws") + "/echo", open_timeout=PATIENCE_SECONDS) as ws:
        ws.send("a")
        assert ws.recv(timeout=PATIENCE_SECONDS) == "a"
        server.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            ws.recv(timeout=PATIENCE_SECONDS)
        assert ws.close_code == 1001
    assert server.wait() == 0


@pytest.mark.parametrize(
    "signals", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT, signal.SIGINT], [signal.SIGQUIT]], ids=str
)
def test_a_second_signal_forces_the_end(serve: Callable[..., Any], signals: list[signal.Signals]) -> None:
    server = serve(APPS, "slow_app:app")
    host, port = server.url.removeprefix("http://").split(":")
    waiting = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_SECONDS)
    waiting.request("GET", "/wait")
    get(server.url + "/x")  # the waiting request has been read by now
    for number in signals:
        server.signal(number)
        if number != signal.SIGQUIT:
            server.wait_for("stopping")  # two signals at the same moment would arrive as one
    with pytest.raises(OSError):  # noqa: PT011 - cut off: reset, or closed without an answer
        waiting.getresponse()
    waiting.close()
    assert server.wait() == 0


def test_the_timeout_cuts_what_does_not_end(serve: Callable[..., Any]) -> None:
    server = serve(APPS, "slow_app:app", "--timeout-graceful", "0.3")
    host, port = server.url.removeprefix("http://").split(":")
    waiting = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_SECONDS)
    waiting.request("GET", "/wait")
    get(server.url + "/x")
    server.signal(signal.SIGTERM)
    with pytest.raises(OSError):  # noqa: PT011
        waiting.getresponse()
    waiting.close()
    assert server.wait() == 0


# Configuration


def test_r60_the_start_line_names_the_real_port(serve: Callable[..., Any]) -> None:
    server = serve(APPS, "slow_app:app")
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d+", server.url)
    assert server.log.count("listening on") == 1


def test_the_command_line_beats_the_environment_and_that_a_toml_file(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text('target = "slow_app:app"\nlimit-body = 5\nthreads = "many"\n')
    status, said = run("--check-config", "--config", str(config))
    assert (status, "many" in said) == (2, True)
    config.write_text('target = "slow_app:app"\nthreads = 3\nws_max_size = 10\n')
    assert run("--check-config", "--config", str(config)) == (0, "The configuration is good.\n")
    status, said = run("--check-config", "--config", str(config), env={"WSFRAME_THREADS": "none"})
    assert (status, "none" in said) == (2, True)
    status, said = run(
        "--check-config", "--config", str(config), "--threads", "2", env={"WSFRAME_THREADS": "0"}
    )
    assert status == 0, said
    config.write_text("nothing-like-it = 1\n")
    status, said = run("--config", str(config))
    assert (status, "there is no option 'nothing-like-it'" in said) == (2, True)
    config.write_text("= 1\n")
    status, said = run("--config", str(config))
    assert (status, "is not TOML" in said) == (2, True)
    status, said = run("--config", str(tmp_path / "missing"))
    assert (status, "No such file" in said) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["slow_app:create_app", "--factory"], 0, "The configuration is good."),
        (["slow_app:nothing"], 1, "no attribute 'nothing'"),
        (["slow_app:asgi"], 1, "is an ASGI application; this server runs WSGI"),
        (["slow_app:foreign"], 1, "async_mode='gevent'"),
        (["slow_app:app", "--access-log-format", "%(z)s"], 2, "unknown atom"),
        (["slow_app:app", "--env-file", "/nothing/there"], 1, "No such file"),
    ],
)
def test_check_config(arguments: list[str], status: int, words: str) -> None:
    found, said = run(*arguments, "--check-config")
    assert (found, words in said) == (status, True), said


def test_an_env_file_fills_the_environment(serve: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# settings\nexport SLOW_APP='from the file'\n\n")
    server = serve(APPS, "slow_app:app", "--env-file", str(tmp_path / "env"))
    assert get(server.url + "/") == b"/ from the file\n"
    (tmp_path / "bad").write_text("no equals sign\n")
    status, said = run("slow_app:app", "--env-file", str(tmp_path / "bad"))
    assert (status, "line 1: expected NAME=value" in said) == (1, True)


def test_the_pid_file_lives_as_long_as_the_server(serve: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "server.pid"
    server = serve(APPS, "slow_app:app", "--pid", str(path))
    os.kill(int(path.read_text()), 0)
    assert server.stop() == 0
    assert not path.exists()
    status, said = run("slow_app:app", "--port", "0", "--pid", str(tmp_path / "no" / "such"))
    assert (status, "cannot write the process id" in said) == (1, True)


# Logs


def test_log_files_and_formats(serve: Callable[..., Any], tmp_path: Path) -> None:
    log, errors = tmp_path / "access.log", tmp_path / "error.log"
    server = serve(
        APPS,
        "slow_app:app",
        "--access-log",
        str(log),
        "--error-log",
        str(errors),
        "--access-log-format",
        '%(m)s %(U)s?%(q)s %(s)s %(b)s "%(a)s"',
    )
    request = urllib.request.Request(server.url + "/a?b=1", headers={"User-Agent": 'a"b'})
    urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()
    wait_logged(log, "GET /a")
    log.rename(tmp_path / "access.log.1")
    server.signal(signal.SIGUSR1)
    get(server.url + "/second")
    assert server.stop() == 0
    assert (tmp_path / "access.log.1").read_text() == 'GET /a?b=1 200 4 "a\\x22b"\n'
    assert log.read_text().startswith("GET /second? 200 ")
    assert "stopped" in errors.read_text()


@pytest.mark.parametrize("arguments", [(), ("--reload",)], ids=["alone", "reloader"])
def test_signals_that_other_servers_know_harm_nobody(
    serve: Callable[..., Any], arguments: tuple[str, ...]
) -> None:
    server = serve(APPS, "slow_app:app", *arguments)
    for name in ("SIGUSR2", "SIGTTIN", "SIGTTOU"):
        server.signal(signal.Signals[name])
        server.wait_for(f"{name} is ignored")
        assert get(server.url + "/after") == b"/after \n"
    if arguments:  # files tell the reloader of new code
        server.signal(signal.SIGHUP)
        server.wait_for("the code is not reloaded")
    server.signal(signal.SIGWINCH)
    assert get(server.url + "/after") == b"/after \n"
    assert server.stop() == 0


NEW_CODE = """
import atexit
import sys

# In one write: others write as well.
atexit.register(lambda: print(f"left {VERSION}", file=sys.stderr, flush=True))

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "3")])
    return [VERSION]
"""


def test_new_code_is_served_by_the_same_process(serve: Callable[..., Any], tmp_path: Path) -> None:
    def write(version: str) -> None:
        (tmp_path / "new_code.py").write_text(f"VERSION = {version}\n{NEW_CODE}")

    write('b"one"')
    path, pid = tmp_path / "socket", tmp_path / "pid"
    server = serve(
        tmp_path, "new_code:app", "--bind", "127.0.0.1:0", "--bind", f"unix:{path}", "--pid", str(pid)
    )
    process_id = pid.read_text()
    asked = threading.Event()
    answers: list[bytes] = []
    refused: list[str] = []

    def ask() -> None:
        while not asked.is_set() and not refused:
            try:
                answers.append(get(server.url))
            except (ConnectionResetError, http.client.RemoteDisconnected):
                pass  # it connected, and came to say nothing before the end of the idle grace (RFC 9112 9.5)
            except OSError as error:
                refused.append(repr(error))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        write("")  # a mistake: the old code goes on
        server.signal(signal.SIGHUP)
        server.wait_for("the old code goes on: Error: importing 'new_code' raised SyntaxError")
        write('b"two"')
        server.signal(signal.SIGHUP)
        server.wait_for("left b'one'")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while b"two" not in answers:
            assert not refused
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        asked.set()
        thread.join()
    assert not refused
    switch = answers.index(b"two")  # each request was answered, by the one or by the other
    assert set(answers[:switch]) == {b"one"}
    assert set(answers[switch:]) == {b"two"}
    assert pid.read_text() == process_id
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert server.stop() == 0
    assert not path.exists()
    assert not pid.exists()


def test_a_reloader_passes_signals_on(serve: Callable[..., Any], tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    server = serve(APPS, "slow_app:app", "--reload", "--access-log", str(log))
    get(server.url + "/first")
    wait_logged(log, "/first")
    log.rename(tmp_path / "access.log.1")
    server.signal(signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not log.exists() or "/next" not in log.read_text():  # until the signal has come through
        assert time.monotonic() < deadline
        get(server.url + "/next")
    assert "/first" in (tmp_path / "access.log.1").read_text()
    assert server.stop() == 0


def test_the_combined_format(serve: Callable[..., Any]) -> None:
    server = serve(APPS, "slow_app:app", "--access-log-format", "combined")
    request = urllib.request.Request(
        server.url + "/a", headers={"Referer": "http://x/", "User-Agent": "tester"}
    )
    urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()
    assert server.stop() == 0
    assert re.search(r'127\.0\.0\.1 - - \[.+\] "GET /a HTTP/1\.1" 200 4 "http://x/" "tester"\n', server.log)


# Debugging and reloading


def test_debug_shows_the_traceback_in_the_browser(serve: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "def app(environ, start_response):\n    raise LookupError('a word to find')\n"
    )
    server = serve(tmp_path, "failing:app", "--debug", "--error-log", str(tmp_path / "log"))
    with pytest.raises(urllib.error.HTTPError) as failed:
        get(server.url + "/")
    with failed.value as answer:
        page = answer.read()
    assert failed.value.code == 500
    assert b"a word to find" in page
    server.intended_exceptions_count = 1  # the debugger writes it to wsgi.errors as well
    assert b"Werkzeug" in page or b"debugger" in page.lower()


@pytest.mark.parametrize("variable", ["", "1"])
def test_debug_on_flask_shows_the_traceback_and_a_pin_that_opens_the_console(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    if variable:
        monkeypatch.setenv("FLASK_DEBUG", variable)
    (tmp_path / "page.py").write_text(
        "import flask\napp = flask.Flask(__name__)\n"
        "@app.route('/')\ndef index():\n    raise LookupError('a word to find')\n"
    )
    server = serve(tmp_path, "page:app", "--debug")
    with pytest.raises(urllib.error.HTTPError) as failed:
        get(server.url + "/")
    with failed.value as answer:
        page = answer.read().decode()
    assert "a word to find" in page
    server.intended_exceptions_count = 1  # the debugger writes it to wsgi.errors as well
    secret = re.search('SECRET = "([^"]+)"', page)
    assert secret is not None
    pin = server.find(re.compile(r"Debugger PIN: ([0-9-]+)\n"))
    address = f"{server.url}/?__debugger__=yes&cmd=pinauth&s={secret[1]}&pin="
    assert json.loads(get(address + "000-000-000"))["auth"] is False
    assert json.loads(get(address + pin[1]))["auth"] is True


def test_requests_for_other_hosts_are_refused(serve: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text(
        "import flask\nfrom python_server import SocketIO\napp = flask.Flask(__name__)\nSocketIO(app)\n"
        "@app.route('/')\ndef index():\n    return flask.request.host\n"
    )
    server = serve(tmp_path, "page:app", "--allowed-hosts", "shop.test,127.0.0.1")
    handshake = "/socket.io/?EIO=4&transport=polling"
    for host, status in (("shop.test", 200), ("evil.test", 400), ("127.0.0.1:1", 200)):
        for path in ("/", handshake):
            fields = {"Host": host, "Origin": f"http://{host}"}  # as a page of a rebound name says it
            connection = http.client.HTTPConnection(server.url.partition("//")[2], timeout=PATIENCE_SECONDS)
            connection.request("GET", path, headers=fields)
            answer = connection.getresponse()
            assert answer.status == status, (host, path)
            connection.close()
    server.wait_for("--allowed-hosts lacks it")


def test_r55_reload_keeps_the_port(serve: Callable[..., Any], tmp_path: Path) -> None:
    source = tmp_path / "site_under_change.py"
    text = (
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '1')])\n"
        "    return [b'1']\n"
    )
    source.write_text(text)
    server = serve(tmp_path, "site_under_change:app", "--reload")
    assert get(server.url + "/") == b"1"
    source.write_text(text + "def (\n")
    server.intended_exceptions_count = 1
    server.wait_for("importing 'site_under_change' raised SyntaxError")
    source.write_text(text.replace("b'1'", "b'2'"))
    server.wait_for("listening on", count=2)
    assert get(server.url + "/") == b"2"


# Embedding


def test_r39_r59_r61_a_server_inside_a_program() -> None:
    from python_server import WSGIServer
    from python_server.net.sockets import BindError

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    before = threading.active_count()
    with WSGIServer(("127.0.0.1", 0), app) as server:
        host, port = server.address
        assert get(f"http://{host}:{port}/") == b"ok"
        with pytest.raises(BindError, match="in use"):
            WSGIServer(f"127.0.0.1:{port}", app).start()
        with pytest.raises(RuntimeError, match="runs already"):
            server.start()
    with pytest.raises(OSError):  # noqa: PT011
        get(f"http://{host}:{port}/")
    server.stop()  # stopping twice does nothing
    with WSGIServer(0, app) as server:
        assert get(f"http://127.0.0.1:{server.address[1]}/") == b"ok"
    with WSGIServer(socket.create_server(("127.0.0.1", 0)), app) as server:  # any factory's socket will do
        assert get(f"http://127.0.0.1:{server.address[1]}/") == b"ok"
    with pytest.raises(RuntimeError, match="not bound"):
        _ = WSGIServer(0, app).address
    for bad in (None, ("a",), 1.5):
        with pytest.raises(TypeError):
            WSGIServer(bad, app)
    with pytest.raises(ValueError, match="host:port"):
        WSGIServer("nonsense", app)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while threading.active_count() - before > 2:  # pool threads end by themselves
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_r58_serve_forever_ends_when_it_is_stopped() -> None:
    from python_server import WSGIServer

    server = WSGIServer(("127.0.0.1", 0), lambda environ, start_response: [])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(RuntimeError):
            _ = server.address
            break
    server.stop()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="another process's limits are read on Linux")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_soft_limit_of_descriptors_is_raised(launch: Callable[..., Any], workers: int) -> None:
    import resource

    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, former[1]))
    try:
        server = launch(APPS, "slow_app:app", "--limit-concurrency", "200", "--workers", str(workers))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, former)

    def soft(pid: int) -> int:
        return int(resource.prlimit(pid, resource.RLIMIT_NOFILE)[0])

    if workers == 1:
        assert soft(server.pid) == 456
        return
    assert soft(server.pid) == 300  # the supervisor needs no more than it has
    server.wait_serving(2)
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    assert [soft(int(pid)) for pid in children.read_text().split()] == [456, 456]
