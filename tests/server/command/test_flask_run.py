"""What `flask run` takes over: whatever of ours an application carries, and nothing else.

It must not know sockets: nothing is served. Real processes stand in tests/e2e/test_flask_command.py.
"""

import sys
from typing import Any

import flask
import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup, run_command
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from python_server import Resource, SocketIO, WebSocketApplication, WSGIApp
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
