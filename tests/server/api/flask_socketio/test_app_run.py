"""`app.run()` once a SocketIO is bound: Flask's words, what comes of them, whose `run` is replaced.

It must not know sockets: nothing is served. Real processes stand in tests/e2e/test_flask_command.py.
"""

import inspect
from typing import Any

import flask
import pytest
from werkzeug.debug import DebuggedApplication

from python_server import SocketIO
from python_server.api.flask_socketio import app_run
from python_server.api.flask_socketio import run as module
from python_server.net.sockets import BindError


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What would be served, and how."""
    found: list[tuple[Any, Any]] = []
    for name in ("FLASK_RUN_FROM_CLI", "FLASK_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "serve", lambda site, settings: found.append((site, settings)))
    return found


def bound(**config: object) -> flask.Flask:
    app = flask.Flask(__name__)
    app.config.update(config)
    SocketIO(app)
    return app


def test_it_is_the_applications_and_reads_as_flasks() -> None:
    app, plain = bound(), flask.Flask(__name__)
    assert list(inspect.signature(app.run).parameters) == list(inspect.signature(plain.run).parameters)
    assert plain.run.__func__ is flask.Flask.run  # type: ignore[attr-defined]


def test_a_class_with_a_run_of_its_own_keeps_it() -> None:
    class Shop(flask.Flask):
        def run(self, *args: object, **options: object) -> None:
            self.ran = (args, options)

    SocketIO(app := Shop(__name__))
    app.run("here", 5, debug=True)
    assert app.ran == (("here", 5), {"debug": True})


def test_a_class_that_adds_to_flask_is_served(sites: list[Any]) -> None:
    SocketIO(app := type("Shop", (flask.Flask,), {})(__name__))
    app.run()
    assert len(sites) == 1


@pytest.mark.parametrize(
    ("config", "words", "host", "port"),
    [
        ({}, {}, "127.0.0.1", 5000),
        ({}, {"host": "0.0.0.0", "port": 0}, "0.0.0.0", 0),
        ({}, {"host": "", "port": ""}, "127.0.0.1", 5000),
        ({"SERVER_NAME": "shop.test:81"}, {}, "shop.test", 81),
        ({"SERVER_NAME": "shop.test"}, {"port": "7"}, "shop.test", 7),
        ({"SERVER_NAME": "shop.test:81"}, {"host": "::1", "port": 9}, "::1", 9),
    ],
)
def test_where_it_listens(
    sites: list[Any], config: dict[str, str], words: dict[str, Any], host: str, port: int
) -> None:
    bound(**config).run(**words)
    assert [(settings.host, settings.port) for _, settings in sites] == [(host, port)]


@pytest.mark.parametrize(
    ("variable", "words", "debug"),
    [
        (None, {}, False),
        ("1", {}, True),
        ("1", {"debug": False}, False),
        ("1", {"load_dotenv": False}, False),
        ("0", {"debug": True}, True),
    ],
)
def test_when_it_debugs(
    sites: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str | None,
    words: dict[str, Any],
    debug: bool,
) -> None:
    app = bound()
    if variable is not None:
        monkeypatch.setenv("FLASK_DEBUG", variable)
    app.run(**words, use_reloader=False)
    ((site, settings),) = sites
    assert (app.debug, isinstance(site.application, DebuggedApplication)) == (debug, debug)
    assert settings.access_log == "-"
    assert f" * Debug mode: {'on' if debug else 'off'}\n" in capsys.readouterr().out


def test_what_werkzeugs_server_can_be_told(sites: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    app = bound()
    app.run(threaded=True, use_reloader=False, use_debugger=False, use_evalex=False)
    app.run(threaded=False, host="unix:///run/shop")
    assert caplog.text == ""
    app.run(use_debugger=True, use_evalex=False, host="shop.test")
    assert "debugging on shop.test:5000: other machines may read tracebacks" in caplog.text
    (first, threaded), (_, alone), (debugged, _) = sites
    assert first.application is app
    assert (threaded.wsgi_threads_count, threaded.binds) == (40, ())
    assert (alone.wsgi_threads_count, alone.event_threads_count, alone.binds) == (1, 1, ("unix:///run/shop",))
    assert not debugged.application.evalex
    assert "shop.test" in debugged.application.trusted_hosts
    assert not app.debug  # as with Flask, whose debugger then sees what middleware raises
    app.run(processes=2, request_handler=object)
    assert "run() ignores processes, request_handler: only other servers" in caplog.text
    with pytest.raises(TypeError, match=r"run\(\) has no option 'prot'"):
        app.run(prot=1)


def test_what_is_in_the_way_is_one_sentence(sites: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(site: object, settings: object) -> None:
        raise BindError("cannot listen on it")

    monkeypatch.setattr(module, "serve", serve)
    with pytest.raises(SystemExit, match="Error: cannot listen on it"):
        bound().run()


def test_it_does_nothing_under_flasks_command_line(
    sites: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    bound().run(port=1)
    assert sites == []
    assert "Ignoring a call to 'app.run()'" in capsys.readouterr().out


def test_routes_may_be_added_when_it_has_ended(sites: list[Any]) -> None:
    app = bound()
    app.test_client().get("/")
    app.run()
    app.add_url_rule("/late", view_func=lambda: "late")
    assert app.test_client().get("/late").text == "late"


def test_two_of_an_application_are_one_run(sites: list[Any]) -> None:
    app = bound()
    SocketIO(app, path="/second")
    app.run()
    ((site, _),) = sites
    assert sorted(mount.path for mount in site.mounts) == ["/second/", "/socket.io/"]
    assert app.run.__func__ is app_run.run  # type: ignore[attr-defined]
