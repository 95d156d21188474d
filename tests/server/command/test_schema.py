"""`wsframe schema`: which application it reads, what it prints or writes, and its refusals, each one line.

It must not know what an event's schema is.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from python_server.command.cli import main

SHOP = """
from flask import Flask
from python_server import SocketIO
app = Flask(__name__)
socketio = SocketIO(app)
socketio.emits("told", str)
def create_app():
    return app
"""
TWO = """
from python_server.api.python_socketio import Server, WSGIApp
first, second = Server(), Server()
first.emits("one", int)
second.emits("two", int)
app = WSGIApp(first, WSGIApp(second, socketio_path="other"))
"""


@pytest.fixture(autouse=True)
def fresh_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    before = {*sys.modules}
    yield
    for name in {*sys.modules} - before:
        del sys.modules[name]


def run(folder: Path, program: str, *words: str, target: str = "schema_shop:app") -> Result:
    (folder / "schema_shop.py").write_text(program)
    return CliRunner().invoke(main, ["schema", target, "--app-dir", str(folder), *words], prog_name="wsframe")


@pytest.mark.parametrize(
    ("words", "target"),
    [((), "schema_shop:app"), ((), "schema_shop"), (("--factory",), "schema_shop:create_app")],
)
def test_asyncapi_is_printed(tmp_path: Path, words: tuple[str, ...], target: str) -> None:
    done = run(tmp_path, SHOP, *words, "--api-version", "3.1", target=target)
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["info"] == {"title": target, "version": "3.1"}
    assert list(told["channels"]["root"]["messages"]) == ["told"]


def test_typescript_is_written_into_a_file(tmp_path: Path) -> None:
    file = tmp_path / "events.ts"
    done = run(tmp_path, SHOP, "--typescript", "-o", str(file))
    assert (done.exit_code, done.output) == (0, "")
    assert "export interface ServerToClientEvents {\n  told: (value: string) => void;\n}" in file.read_text()


def test_one_of_several_servers(tmp_path: Path) -> None:
    for path, name in (("/socket.io/", "one"), ("other", "two")):
        told = json.loads(run(tmp_path, TWO, "--path", path).stdout)
        assert list(told["channels"]["root"]["messages"]) == [name]


NO_SERVER = "schema_shop:app has no Socket.IO server of python_server [no-events]"
NO_EVENTS = "the application has no events: no handler, and nothing declared by emits() [no-events]"
SEVERAL = "name one Socket.IO server of schema_shop:app: --path /socket.io/, --path /other/ [no-events]"
FAILED = "importing 'schema_shop' raised ValueError: broken [application-failed]"


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        (SHOP, ("--factory",), "leave --factory out"),
        ("raise ValueError('broken')", (), FAILED),
        ("app = lambda environ, start: []", (), NO_SERVER),
        (SHOP.replace("socketio.emits", "print"), (), NO_EVENTS),
        (SHOP.replace("str)", "complex)"), (), "event 'told' of '/': "),
        (TWO, (), SEVERAL),
        (TWO, ("--path", "/third"), SEVERAL),
        (SHOP.replace("SocketIO(app)", "SocketIO(app, message_queue='nosuch://')"), (), "nosuch"),
    ],
)
def test_refusals(tmp_path: Path, program: str, words: tuple[str, ...], said: str) -> None:
    file = tmp_path / "events.json"
    done = run(tmp_path, program, *words, "-o", str(file))
    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert said in line
    assert not file.exists()


def test_no_such_module(tmp_path: Path) -> None:
    done = run(tmp_path, SHOP, target="schema_shup:app")
    assert done.exit_code == 1
    assert "did you mean schema_shop:app? [no-module]" in done.stderr
