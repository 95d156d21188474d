"""What every test stands on: the installed package, never the source folder by accident.

It must not know any single test.
"""

import gc
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import python_server
import wsframe
from import_shares import import_share
from outside_tools import outside_tool
from own_redis import RedisServer
from rows import RowsPage
from worker_shares import in_shares

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rows-page", action="store_true", help="run the tests that name rows; write docs/rows.md"
    )
    parser.addoption("--extended", action="store_true", help="run the tests marked `extended` as well")


def pytest_configure(config: pytest.Config) -> None:
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    if (named and not hasattr(config, "workerinput")) or config.getoption("--rows-page"):
        config.option.extended = True
    if config.getoption("--rows-page"):
        config.pluginmanager.register(RowsPage())
    for package in (wsframe, python_server):
        home = Path(str(package.__file__)).resolve()
        if home.is_relative_to(ROOT / "src") or home.is_relative_to(ROOT / "python_server"):
            raise pytest.UsageError(
                f"{package.__name__} comes from {home.parent}, not from an installed wheel: run `make test`"
            )


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Most objects of a run come here, and stay: no run of the collector looks at them, in no test either."""
    gc.disable()
    try:
        worker: dict[str, Any] = getattr(session.config, "workerinput", {})
        if worker and session.config.args_source is not pytest.Config.ArgsSource.ARGS:
            import_share(session.config, int(worker["workerid"].removeprefix("gw")), worker["workercount"])
        return (yield)
    finally:
        if hasattr(gc, "freeze"):  # PyPy has none
            gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long ones first: at the end of a run nobody waits for another's long one.

    Of several workers each gets some (`worker_shares`). A run of everything leaves the extended ones out,
    unless it is asked for them.
    """
    if not config.getoption("--extended"):
        kept: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        for item in items:
            (kept if item.get_closest_marker("extended") is None else left_out).append(item)
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    items[:] = in_shares(items, worker.get("workercount", 1))


def pytest_report_header() -> str:
    return f"wsframe: {wsframe.IMPLEMENTATION} core from {Path(str(wsframe.__file__)).parent}"


@pytest.fixture(scope="session")
def redis_program() -> str:
    """The path of redis-server; without it the tests that need it are skipped, in CI they fail."""
    return outside_tool("redis-server")


@pytest.fixture
def new_redis(redis_program: str) -> Iterator[Callable[..., RedisServer]]:
    """new_redis(*options): a broker for one test; settings=FILE, "--sentinel" makes it a sentinel."""
    servers: list[RedisServer] = []

    def start(*options: str, **places: Any) -> RedisServer:
        servers.append(RedisServer(redis_program, *options, **places))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def redis_server(redis_program: str) -> Iterator[RedisServer]:
    """A broker for the tests of one module, which never stop it."""
    server = RedisServer(redis_program)
    yield server
    server.close()


@pytest.fixture(scope="module")
def redis_on_disk(redis_program: str) -> Iterator[RedisServer]:
    """A broker for one module, which forgets nothing when a test stops and starts it."""
    server = RedisServer(redis_program, "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.close()
