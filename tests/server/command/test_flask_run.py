"""What `flask run` takes over: whatever of ours an application carries, and nothing else.

It must not know sockets: nothing is served. Real processes stand in tests/e2e/test_flask_command.py.
"""

import os
import sys
from pathlib import Path
from typing import Any

import flask
import pytest
from click.testing import CliRunner
from flask.cli import CertParamType, FlaskGroup, run_command
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from python_server import Resource, SocketIO, WebSocketApplication, WSGIApp
from python_server.api.flask_socketio import app_run
from python_server.api.python_socketio import Server
from python_server.command import flask_run


def with_socketio(app: flask.Flask) -> None:
    SocketIO(app)


def with_socketio_behind_middleware(app: flask.Flask) -> None:
    SocketIO(app)
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {})  # type: ignore[method-assign]


def with_websockets(app: flask.Flask) -> None:
    app.wsgi_app = Resource({"/chat": WebSocketApplication()}, app.wsgi_app)  # type: ignore[method-assign]


def with_python_socketios_words(app: flask.Flask) -> None:
    app.wsgi_app = WSGIApp(Server(), app.wsgi_app)  # type: ignore[method-assign]


def with_nothing(app: flask.Flask) -> None:
    pass


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whose server was started."""
    names: list[str] = []
    monkeypatch.setattr(flask_run, "serve", lambda *args, **options: names.append("ours"))
    monkeypatch.setattr(flask_run, "run_flasks", lambda **options: names.append("Flask's"))
    for name in ("WERKZEUG_RUN_MAIN", "WSFRAME_RELOADER", "WSFRAME_DROP_IN", "FLASK_RUN_FROM_CLI"):
        monkeypatch.setenv(name, "")
    return names


def invoke(app: flask.Flask, *arguments: str) -> Any:
    return CliRunner().invoke(FlaskGroup(create_app=lambda: app), ["run", *arguments])


@pytest.mark.parametrize(
    ("prepare", "whose"),
    [
        (with_socketio, "ours"),
        (with_socketio_behind_middleware, "ours"),
        (with_websockets, "ours"),
        (with_python_socketios_words, "ours"),
        (with_nothing, "Flask's"),
    ],
)
def test_whose_server_an_application_gets(started: list[str], prepare: Any, whose: str) -> None:
    prepare(app := flask.Flask(__name__))
    assert invoke(app).exit_code == 0
    assert started == [whose]


def test_a_plain_application_does_not_wait_for_the_server(
    started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in flask_run.CARRIED:
        monkeypatch.delitem(sys.modules, name)
    assert invoke(flask.Flask(__name__)).exit_code == 0
    assert started == ["Flask's"]
    assert not set(flask_run.CARRIED) & sys.modules.keys()


def test_it_has_flasks_options(started: list[str]) -> None:
    """In whatever version of Flask: they are taken from its command."""
    assert flask_run.run.params == run_command.params
    assert flask_run.run.help == run_command.help
    assert run_command.callback is not flask_run.run.callback
    refused = invoke(flask.Flask(__name__), "--prot", "1")
    assert (refused.exit_code, started) == (2, [])


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        ((), {}, {"use_reloader": False, "use_debugger": False, "threaded": True}),
        (("--debug",), {}, {"use_reloader": True, "use_debugger": True}),
        (("--debug", "--no-reload"), {}, {"use_reloader": False, "use_debugger": True}),
        (("--reload", "--no-debugger"), {"FLASK_DEBUG": "1"}, {"use_reloader": True, "use_debugger": False}),
        (("-h", "::1", "-p", "7"), {}, {"host": "::1", "port": 7}),
        ((), {"FLASK_RUN_PORT": "8", "FLASK_RUN_HOST": "shop.test"}, {"host": "shop.test", "port": 8}),
        (("--without-threads", "--cert", "adhoc"), {}, {"threaded": False, "ssl_context": "adhoc"}),
        (("--cert", "c", "--key", "k"), {}, {"ssl_context": ("c", "k")}),
        (("--extra-files", "a:b"), {}, {"extra_files": ["a", "b"], "exclude_patterns": None}),
    ],
)
def test_flasks_options_become_those_of_run(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    variables: dict[str, str],
    expected: dict[str, Any],
) -> None:
    asked: list[dict[str, Any]] = []

    def serve(app: flask.Flask, host: str, port: int, **options: Any) -> None:
        asked.append({"host": host, "port": port, **options})

    monkeypatch.setattr(app_run, "serve_as_flask", serve)
    monkeypatch.setattr(CertParamType, "convert", lambda self, value, parameter, ctx: value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "k").touch()
    for name in ("FLASK_RUN_FROM_CLI", "FLASK_DEBUG"):
        monkeypatch.setenv(name, "")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with_socketio(app := flask.Flask(__name__))
    done = invoke(app, *arguments)
    assert done.exit_code == 0, done.output
    if "--key" in arguments:
        expected = {"ssl_context": ("c", str(tmp_path / "k"))}
    assert expected.items() <= asked[0].items()


@pytest.mark.parametrize(
    ("variables", "whose"),
    [
        ({}, []),
        ({"WERKZEUG_RUN_MAIN": "true"}, ["Flask's"]),
        ({"WERKZEUG_RUN_MAIN": "true", "WSFRAME_RELOADER": str(os.getppid())}, ["ours"]),
    ],
)
def test_one_that_cannot_be_loaded_waits_for_its_mend_under_a_reloader(
    started: list[str], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], whose: list[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    def create_app() -> flask.Flask:
        raise LookupError("a word to find")

    done = CliRunner().invoke(FlaskGroup(create_app=create_app), ["run"])
    assert isinstance(done.exception, LookupError) is (not whose)
    assert started == whose


def test_events_that_come_under_werkzeugs_reloader_are_announced(
    started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WERKZEUG_RUN_MAIN", "true")
    with_socketio(app := flask.Flask(__name__))
    assert "start 'flask run' again" in invoke(app).output
    assert started == ["Flask's"]


def test_drop_in_that_comes_too_late_is_refused(started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSFRAME_DROP_IN", "yes")
    monkeypatch.setitem(sys.modules, "eventlet", sys)
    refused = invoke(flask.Flask(__name__))
    assert (refused.exit_code, started) == (1, [])
    assert "Error: --drop-in comes too late: " in refused.output


def test_each_page_of_one_that_cannot_be_loaded_is_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_DEBUG", "1")
    error = LookupError("a word to find")
    client = flask_run.failing(error).test_client()
    depths = set()
    for _ in range(3):
        with pytest.raises(LookupError, match="a word to find") as raised:
            client.get("/any")
        depths.add(len(raised.traceback))
    assert len(depths) == 1  # the error does not remember who has asked before
