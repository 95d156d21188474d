"""Fixtures of the end-to-end tests: the real server process, node, a headless Chromium.

It must not know any application or any client: the tests name them.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from outside_tools import missing_tool, outside_tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
ARTIFACTS = REPOSITORY / "artifacts"

START_SECONDS = 60.0
STOP_SECONDS = 60.0
DRIVER_SECONDS = 300.0
# Nothing but the pages under test: no sandbox in containers, no traffic of the browser's own.
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TRACEBACK = "Traceback (most recent call last)"
WERKZEUG = "WARNING: This is a development server."
INTENDED_EXCEPTION = "RuntimeError: raised on purpose"


class ServerProcess:
    """One server started from the command line; its output is kept for the day a test fails."""

    ADDRESS = re.compile(r"https?://127\.0\.0\.1:(\d+)")

    def __init__(self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.url = ""
        self._lines: list[str] = []
        self._started = threading.Event()
        self._spoke = threading.Condition()
        self.intended_exceptions_count = 0
        self.intended_status = 0
        # The application's own folder is the working directory: `python -m` then finds it by its module name,
        # and finds the installed python_server, not the source folder.
        self._process = subprocess.Popen(
            self.command(arguments),
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "python_server", *arguments, "--host", "127.0.0.1", "--port", "0"]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._spoke:
                self._lines.append(line)
                self._spoke.notify_all()
            address = self.ADDRESS.search(line)
            if address and not self.url:
                self.url = address.group(0)
                self._started.set()
        self._started.set()  # the output ended: either it runs already, or it never will

    def wait_started(self) -> None:
        in_time = self._started.wait(START_SECONDS)
        if not self.url:
            self.kill()
            why = "ended" if in_time else f"said nothing for {START_SECONDS:g} s"
            pytest.fail(f"the server {why} before it printed its address:\n{self.log}")

    def wait_for(self, text: str, count: int = 1) -> None:
        """Until `text` stands `count` times in the log."""
        with self._spoke:
            said = self._spoke.wait_for(lambda: self.log.count(text) >= count, START_SECONDS)
        assert said, f"{text!r} was not said {count} times:\n{self.log}"

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout_seconds: float = STOP_SECONDS) -> int:
        status = self._process.wait(timeout_seconds)
        self._close()
        return status

    def stop(self) -> int | None:
        """SIGTERM; the exit status, or None when the process had to be killed."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._close()

    def end(self) -> None:
        """Whatever state it is in: SIGQUIT, which its workers hear of too, then SIGKILL."""
        if self._process.poll() is None:
            self.signal(signal.SIGQUIT)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()
        print(f"---- log of {self.url or 'a server that did not start'}\n{self.log}")

    def _close(self) -> None:
        self._reader.join(STOP_SECONDS)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()


class ProgramProcess(ServerProcess):
    """A Python program that serves by itself: what stands behind `python` on the command line."""

    def command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, *arguments]


Serve = Callable[..., ServerProcess]


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """serve(folder, "module:app", ..., env={...}) starts a server; with program=True a program that serves.

    At the end each must stop cleanly on SIGTERM, and must have logged no exception but the intended ones.
    """
    running: list[ServerProcess] = []

    def start(
        folder: Path, *arguments: str, env: dict[str, str] | None = None, program: bool = False
    ) -> ServerProcess:
        server = (ProgramProcess if program else ServerProcess)(folder, arguments, env or {})
        running.append(server)
        server.wait_started()
        return server

    yield start
    statuses = [server.stop() for server in running]
    for server in running:  # shown by pytest only when something failed
        print(f"---- log of {server.url or 'a server that did not start'}\n{server.log}")
    intended_statuses = [server.intended_status for server in running]
    assert statuses == intended_statuses, f"exit statuses after SIGTERM (None: killed): {statuses}"
    for server in running:
        if WERKZEUG in server.log:
            continue  # another server: what it raises when a client leaves is not ours
        tracebacks, intended = (server.log.count(text) for text in (TRACEBACK, INTENDED_EXCEPTION))
        intended += server.intended_exceptions_count
        assert tracebacks == intended, (
            f"{tracebacks} exceptions in the log of {server.url}, {intended} intended"
        )


@pytest.fixture
def launch() -> Iterator[Serve]:
    """As `serve`, for tests that end the server themselves: what is left is ended, nothing is checked."""
    running: list[ServerProcess] = []

    def start(
        folder: Path, *arguments: str, env: dict[str, str] | None = None, program: bool = False
    ) -> ServerProcess:
        server = (ProgramProcess if program else ServerProcess)(folder, arguments, env or {})
        running.append(server)
        server.wait_started()
        return server

    yield start
    for server in running:
        server.end()


@pytest.fixture(scope="session")
def node() -> str:
    """The path of node, with the npm packages of this folder in place."""
    program = outside_tool("node")
    if not (HERE / "node_modules" / "socket.io-client").is_dir():
        missing_tool("the npm packages are missing; run: npm ci --prefix tests/e2e")
    return program


@pytest.fixture
def drive(node: str) -> Callable[..., None]:
    """drive("client4.mjs", ...) runs a driver script to its end; it must exit with 0."""

    def run(script: str, *arguments: str) -> None:
        command = [node, str(HERE / "drivers" / script), *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=HERE,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=DRIVER_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as expired:
            pytest.fail(
                f"{script} did not end within {DRIVER_SECONDS:g} s:\n{expired.stdout!r}\n{expired.stderr!r}"
            )
        print(done.stdout)
        assert done.returncode == 0, f"{script} {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"

    return run


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; playwright only drives it and downloads none."""
    return outside_tool("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator["Browser"]:
    """A headless Chromium. For one module only: its event loop must not run on under other tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def page_client() -> Path:
    """The Socket.IO client as the example's pages load it; the tests fetch nothing from the CDN."""
    script = REPOSITORY / "examples" / "math_duels" / "static" / "vendor" / "socket.io.min.js"
    if not script.is_file():
        missing_tool("the browser client is missing; run: npm ci --prefix tests/e2e, then fetch_client.sh")
    return script


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where screenshots are kept; git ignores it."""
    ARTIFACTS.mkdir(exist_ok=True)
    return ARTIFACTS
