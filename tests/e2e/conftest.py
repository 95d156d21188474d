"""Fixtures of the end-to-end tests: the real server process, node, a headless Chromium.

It must not know any application or any client: the tests name them.
"""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from joined_machines import Machines
from outside_tools import missing_tool, outside_tool
from python_server.serve import client_files
from running_program import RunningProgram

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
ARTIFACTS = REPOSITORY / "artifacts"

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
STRANGER = re.compile(r"^(?!data:|blob:|(?:http|ws)s?://127\.0\.0\.1:).*")
TRACEBACK = "Traceback (most recent call last)"
WERKZEUG = "WARNING: This is a development server."
INTENDED_EXCEPTION = "RuntimeError: raised on purpose"


class ServerProcess(RunningProgram):
    """One server started from the command line; its output is kept for the day a test fails."""

    ADDRESS = re.compile(r"https?://127\.0\.0\.1:(\d+)")
    ENDED, REPLACED = "has ended", "has answered its requests"

    def __init__(self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        # The application's own folder is the working directory: `python -m` then finds it by its module name,
        # and finds the installed python_server, not the source folder.
        super().__init__(self.command(arguments), folder, environment)
        self.url = ""
        self._error_log: Path | None = None
        if "--error-log" in arguments:
            self._error_log = Path(arguments[arguments.index("--error-log") + 1])
        self.intended_exceptions_count = 0
        self.intended_status = 0

    def command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "python_server", *arguments, "--host", "127.0.0.1", "--port", "0"]

    def wait_started(self) -> None:
        if self._error_log is None:
            self.url = self.find(self.ADDRESS)[0]
            return
        while (found := self.ADDRESS.search(self._logged())) is None:  # the start line is one of the log's
            assert self.is_alive, self.log
            time.sleep(0.01)
        self.url = found[0]

    def _logged(self) -> str:
        written = self._error_log
        return self.log + (written.read_text() if written is not None and written.exists() else "")

    def wait_serving(self, count: int) -> None:
        """Until so many workers have come, since the start, those that have ended among them."""
        self.wait_for(" serves", count)

    def wait_ended(self, count: int) -> None:
        self.wait_for(self.ENDED, count)

    def show(self) -> None:
        """pytest keeps it for the test that fails."""
        print(f"---- log of {self.url or 'a server that did not start'}\n{self.log}")


class ProgramProcess(ServerProcess):
    """A Python program that serves by itself: what stands behind `python` on the command line."""

    def command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, *arguments]


class GunicornProcess(ServerProcess):
    """The same application under gunicorn; options of our own supervisor are said in gunicorn's words."""

    ENDED, REPLACED = "Worker exiting", "Autorestarting worker"
    WORDS: ClassVar = {
        "--worker-timeout": ("--timeout",),
        "--timeout-graceful": ("--graceful-timeout",),
        "--ssl-certfile": ("--certfile",),
        "--ssl-keyfile": ("--keyfile",),
        "--error-log": ("--error-logfile",),
        "--no-access-log": (),
    }

    def command(self, arguments: tuple[str, ...]) -> list[str]:
        words = [word for given in arguments for word in self.WORDS.get(given, (given,))]
        logged = (
            []
            if {"--no-access-log", "--access-logfile"}.intersection(arguments)
            else ["--access-logfile", "-"]
        )
        bound = [] if "--bind" in arguments else ["--bind", "127.0.0.1:0"]
        program = str(Path(sys.executable).with_name("gunicorn"))
        ours = ["-k", "python_server.GunicornWorker", "-c", str(HERE / "peers" / "gunicorn_words.py")]
        return [program, *ours, *bound, *logged, *words]


SUPERVISORS = {"python_server": ServerProcess, "gunicorn": GunicornProcess}
Serve = Callable[..., ServerProcess]


def starter(running: list[ServerProcess]) -> Serve:
    """What `serve` and `launch` give to the tests; whom it has started stands in the list."""

    def start(
        folder: Path,
        *arguments: str,
        env: dict[str, str] | None = None,
        program: bool = False,
        supervisor: str = "python_server",
    ) -> ServerProcess:
        process = ProgramProcess if program else SUPERVISORS[supervisor]
        server = process(folder, arguments, env or {})
        running.append(server)
        server.wait_started()
        return server

    return start


def stopped(running: list[ServerProcess], number: signal.Signals) -> list[int | None]:
    """Their exit statuses: all are told before one is waited for."""
    for server in running:
        if server.is_alive:
            server.signal(number)
    statuses = [server.end() for server in running]
    for server in running:
        server.show()
    return statuses


@pytest.fixture(
    scope="module",
    params=["python_server", pytest.param("gunicorn", marks=pytest.mark.extended)],
)
def supervisor(request: pytest.FixtureRequest) -> str:
    """Whose workers a test has, in turn: serve(..., supervisor=supervisor)."""
    return str(request.param)


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """serve(folder, "module:app", ..., env={...}) starts a server; with program=True a program that serves.

    At the end each must stop cleanly on SIGTERM, and must have logged no exception but the intended ones.
    """
    running: list[ServerProcess] = []
    yield starter(running)
    statuses = stopped(running, signal.SIGTERM)
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
    yield starter(running)
    stopped(running, signal.SIGQUIT)  # which their workers hear of too


@pytest.fixture
def join(serve: Any) -> Iterator[Callable[[str], Machines]]:
    """join(URL): machines on a channel of that broker."""
    made: list[Machines] = []

    def make(url: str) -> Machines:
        made.append(Machines(serve, url))
        return made[-1]

    yield make
    for machines in made:
        machines.close()


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
def chromium(pytestconfig: pytest.Config) -> str:
    """The path of a Chromium; playwright only drives it and downloads none.

    Its headless shell, where it is installed: the same engine without the browser's own windows, for a
    third of the processor. With --extended, as in `make test-all`, the whole browser.
    """
    whole = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    shell = "chromium-headless-shell"
    return (
        outside_tool(*whole, shell) if pytestconfig.getoption("--extended") else outside_tool(shell, *whole)
    )


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator["Browser"]:
    """A headless Chromium. For one module only: its event loop must not run on under other tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def page_client() -> None:
    """The installed build has the Socket.IO client, which pages load from the server itself."""
    if not client_files.packed("socket.io.js"):
        missing_tool("this build has no Socket.IO client; run: make client, then make .venv/test-installed")


@pytest.fixture(scope="module")
def new_context(browser: "Browser") -> Iterator[Callable[..., "BrowserContext"]]:
    """new_context(...): a browser that has never been here; none of its requests may leave this machine."""
    strangers: list[str] = []

    def begin(**options: Any) -> "BrowserContext":
        context = browser.new_context(**options)
        context.on("request", lambda request: strangers.extend(STRANGER.findall(request.url)))
        return context

    yield begin
    assert strangers == []


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where screenshots are kept; git ignores it."""
    ARTIFACTS.mkdir(exist_ok=True)
    return ARTIFACTS
