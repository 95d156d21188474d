"""Every optional package in turn is not there: one line says what to install, or the program goes on without.

It must not know where a package is imported: the process that is started has a finder that skips it.
"""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from python_server import SERVER_MODULES
from running_program import run_to_its_end

ROOT = Path(__file__).resolve().parents[2]
GOOD = "The configuration is good."
# Python imports a module of this name at each start, that of workers and checks as well.
HIDING = """\
import os
from importlib.machinery import PathFinder

hidden, found = os.environ["HIDDEN_PACKAGES"].split(), PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in hidden else found(name, *rest)
"""
PLAIN = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'served']\n"
FLASK = "from flask import Flask\napp = Flask(__name__)\n"
EVENTS = f"from python_server import SocketIO\n{FLASK}SocketIO(app)\n"
QUEUE = "from python_server import Server, WSGIApp\napp = WSGIApp(Server(message_queue='{}://127.0.0.1:1'))\n"
MADE = f"{QUEUE.partition('app = ')[0]}def create_app():\n    return {QUEUE.partition('app = ')[2]}"
RAISED = "importing 'shop' raised {}: "
NO_FLASK = RAISED.format("ModuleNotFoundError") + "No module named 'flask'; pip install \"wsframe[flask]\""
NO_CLASS = RAISED.format("ModuleNotFoundError") + (
    'python_server.SocketIO needs Flask, which is not installed: pip install "wsframe[flask]"'
)
NO_BROKER = "BrokerError: message_queue {0}:// needs packages that are not installed: pip install {0} hiredis"
NO_KOMBU = (
    "importing 'shop' raised BrokerError: message_queue amqp:// needs packages that are not installed: "
    "pip install kombu"
)
NO_REDIS, NO_VALKEY = (f"importing 'shop' raised {NO_BROKER.format(name)}" for name in ("redis", "valkey"))

# (extra, what is not there, application, options, what is said of it)
NEEDED = [
    ("flask", "flask werkzeug", FLASK, [], NO_FLASK),
    ("flask", "flask werkzeug", EVENTS, [], NO_CLASS),
    ("flask", "flask werkzeug", FLASK, ["--workers", "2"], NO_FLASK),
    ("redis", "redis", QUEUE.format("redis"), [], NO_REDIS),
    ("redis", "hiredis", QUEUE.format("redis"), [], NO_REDIS),
    ("redis", "hiredis", MADE.format("redis"), [], f"shop:create_app() raised {NO_BROKER.format('redis')}"),
    ("valkey", "valkey", QUEUE.format("valkey"), [], NO_VALKEY),
    ("valkey", "hiredis", QUEUE.format("valkey"), [], NO_VALKEY),
    ("amqp", "kombu", QUEUE.format("amqp"), [], NO_KOMBU),
    (
        "metrics",
        "prometheus_client",
        PLAIN,
        ["--metrics", "127.0.0.1:0"],
        '--metrics needs prometheus-client: pip install "wsframe[metrics]"',
    ),
    (
        "otel",
        "opentelemetry",
        PLAIN,
        ["--tracing"],
        '--tracing needs opentelemetry-api: pip install "wsframe[otel]"',
    ),
    (
        None,
        "flask werkzeug",
        PLAIN,
        ["--debug"],
        "--debug needs Werkzeug's debugger: pip install werkzeug (Flask brings it)",
    ),
]
COMMANDS = {"top": ("rich", '`wsframe top` draws with rich: pip install "wsframe[top]"')}
GOES_ON = {"reload": "watchfiles", "zlib-ng": "zlib_ng", "isal": "isal"}
SERVER = 'needs {}, not installed here: pip install "wsframe[server]" [missing-package]'
START = "import sys, wsframe_start; sys.argv[1:] = ['{}']; wsframe_start.main()"


@pytest.fixture
def lacking(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """lacking("redis"): the environment of a process that has no such package."""
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    return lambda names: {"PYTHONPATH": str(tmp_path), "HIDDEN_PACKAGES": names}


def run(folder: Path, environment: dict[str, str], *command: str) -> tuple[int, str]:
    return run_to_its_end([sys.executable, *command], folder, environment)


def test_every_extra_has_a_row() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    rows = {extra for extra, *_ in NEEDED if extra is not None}
    assert rows | COMMANDS.keys() | GOES_ON.keys() | {"server"} == project["optional-dependencies"].keys()
    required = {Requirement(text).name for text in project["optional-dependencies"]["server"]}
    assert required == set(SERVER_MODULES)


@pytest.mark.parametrize("name", SERVER_MODULES)
def test_a_command_names_what_of_the_server_is_missing(lacking: Any, tmp_path: Path, name: str) -> None:
    """Each of its packages in turn; test_bare_installation.py has none of them."""
    (tmp_path / "shop.py").write_text(PLAIN)
    for words, command in {
        "python -m python_server": ["-m", "python_server", "shop", "--check-config"],
        "wsframe status": ["-c", START.format("status")],
    }.items():
        assert run(tmp_path, lacking(name), *command) == (1, f"Error: {words} {SERVER.format(name)}\n")


@pytest.mark.parametrize("name", SERVER_MODULES)
def test_an_import_names_what_of_the_server_is_missing(lacking: Any, tmp_path: Path, name: str) -> None:
    for place, word in {"python_server": "WSGIServer", "python_server.gunicorn.worker": "Anything"}.items():
        status, log = run(tmp_path, lacking(name), "-c", f"from {place} import {word}")
        what = "python_server.gunicorn" if "gunicorn" in place else f"{place}.{word}"
        assert status == 1
        assert log.splitlines()[-1] == f"ModuleNotFoundError: {what} {SERVER.format(name)}"


@pytest.mark.parametrize(("extra", "names", "text", "options", "said"), NEEDED)
def test_one_line_says_what_to_install(
    lacking: Any, tmp_path: Path, extra: str | None, names: str, text: str, options: list[str], said: str
) -> None:
    (tmp_path / "shop.py").write_text(text)
    command = ["-m", "python_server", "shop", "--port", "0", *options, "--check-config"]
    status, log = run(tmp_path, lacking(names), *command)
    assert (status, log.splitlines()[-1]) == (1, f"Error: {said} [missing-package]")
    assert log.count("\nError: ") + log.startswith("Error: ") == 1
    status, log = run(tmp_path, lacking(""), *command)  # else the line above has another cause
    assert (status, log.splitlines()[-1]) == (0, GOOD)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_draws_with(lacking: Any, tmp_path: Path, name: str) -> None:
    names, said = COMMANDS[name]
    command = [
        "-c",
        f"import sys; sys.argv[1:] = ['{name}', '--port', '1']; import wsframe_start as w; w.main()",
    ]
    status, log = run(tmp_path, lacking(names), *command)
    assert (status, log) == (1, f"Error: {said} [missing-package]\n")
    assert said not in run(tmp_path, lacking(""), *command)[1]


def test_files_are_watched_without_watchfiles(
    lacking: Any, tmp_path: Path, launch: Callable[..., Any]
) -> None:
    (tmp_path / "shop.py").write_text(PLAIN)
    server = launch(tmp_path, "shop:app", "--reload", env=lacking(GOES_ON["reload"]))
    (tmp_path / "shop.py").write_text(PLAIN.replace("served", "served anew"))
    server.wait_for("shop.py changed: the server restarts")
    server.wait_for("listening on", 2)


@pytest.mark.parametrize(
    ("names", "used"),
    [
        ("", "isal zlib_ng"),
        ("isal", "zlib_ng zlib_ng"),
        ("zlib_ng", "isal zlib"),
        ("isal zlib_ng", "zlib zlib"),
    ],
)
def test_what_is_installed_compresses(lacking: Any, tmp_path: Path, names: str, used: str) -> None:
    asked = "from wsframe import deflate as d; print(d.DEFLATE_IMPLEMENTATION, d.INFLATE_IMPLEMENTATION)"
    assert run(tmp_path, lacking(names), "-c", asked) == (0, f"{used}\n")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("flask werkzeug redis hiredis valkey kombu rich watchfiles prometheus_client opentelemetry gunicorn",
         "from python_server import EngineServer, Emitter, Server, WebSocket, WSGIApp, WSGIServer, serve"),
        ("httptools click msgspec orjson flask python_server",
         "import wsframe, wsframe.deflate, wsframe.handshake"),
    ],
    ids=["python_server without an extra", "wsframe alone"],
)  # fmt: skip
def test_nothing_but_what_it_needs_is_imported(lacking: Any, tmp_path: Path, names: str, words: str) -> None:
    assert run(tmp_path, lacking(names), "-c", f"{words}; print('imported')") == (0, "imported\n")
