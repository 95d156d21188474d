"""What `run()` does before it serves: options, a debugger that others reach, the hosts that may be asked for.

It must not know sockets: nothing is served.
"""

import ssl
from pathlib import Path
from typing import Any

import flask
import pytest
from werkzeug.debug import DebuggedApplication
from werkzeug.test import Client, EnvironBuilder

from python_server import SocketIO
from python_server.api.flask_socketio import run as module
from python_server.connection.arrival import KEY
from python_server.wsgi.handshake_middleware import through_middleware


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    settings: list[Any] = []
    monkeypatch.delenv("FLASK_RUN_FROM_CLI", raising=False)
    monkeypatch.setattr(module, "serve", lambda site, chosen: settings.append(chosen))
    return settings


@pytest.mark.parametrize(
    ("host", "debug", "warned"),
    [
        ("0.0.0.0", True, True),
        ("::", True, True),
        ("127.0.0.1", True, False),
        (None, True, False),
        ("0.0.0.0", False, False),
    ],
)
def test_run_warns_of_a_debugger_that_others_reach(
    served: list[Any], caplog: pytest.LogCaptureFixture, host: str | None, debug: bool, warned: bool
) -> None:
    app = flask.Flask(__name__)
    SocketIO(app).run(app, host=host, debug=debug, use_reloader=False)
    assert len(served) == 1
    assert ("other machines may read tracebacks" in caplog.text) is warned


def test_flasks_trusted_hosts_are_the_servers(served: list[Any]) -> None:
    app = flask.Flask(__name__)
    app.config["TRUSTED_HOSTS"] = ["shop.test", ".here.test"]
    SocketIO(app).run(app)
    SocketIO(other := flask.Flask(__name__)).run(other)
    assert [settings.allowed_hosts for settings in served] == ["shop.test,.here.test", ""]


def test_run_refuses_what_it_does_not_know(app: flask.Flask, socketio: SocketIO) -> None:
    with pytest.raises(TypeError, match=r"run\(\) has no option 'prot'"):
        socketio.run(app, prot=1)


def test_run_does_nothing_under_a_command_line(
    app: flask.Flask, socketio: SocketIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    socketio.run(app, port=1)  # would fail to listen, if it tried


def test_run_takes_the_peers_keywords_and_no_others(
    app: flask.Flask, socketio: SocketIO, served: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    known = {"allow_unsafe_werkzeug": True, "load_dotenv": False, "use_debugger": False, "ciphers": None}
    others = {
        "processes": 4,
        "passthrough_errors": True,
        "request_handler": object,
        "max_size": 9,
        "log": None,
    }
    socketio.run(app, **known, log_output=True)
    assert caplog.text == ""
    socketio.run(app, **known, **others)  # type: ignore[arg-type]
    assert "run() ignores log, max_size, passthrough_errors, processes, request_handler: only" in caplog.text
    assert len(served) == 2
    with pytest.raises(TypeError, match=r"run\(\) has no option 'prot': did you mean 'port'\?"):
        socketio.run(app, prot=1, processes=4)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"ssl_context is a pair .*, an ssl\.SSLContext or 'adhoc'"):
        socketio.run(app, ssl_context="cert.pem")


def test_a_context_of_ones_own_or_made_on_the_spot(served: list[Any]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    app = flask.Flask(__name__)
    SocketIO(app).run(app, ssl_context=context)
    SocketIO(app).run(app, ssl_context="adhoc")
    first, second = (settings.tls.context for settings in served)
    assert first is context
    assert isinstance(second, ssl.SSLContext)
    assert second.cert_store_stats()["x509"] == 0
    with pytest.raises(ValueError, match="with workers give files"):
        SocketIO(app).run(app, ssl_context="adhoc", workers=2)


def test_static_files_and_the_debugger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Werkzeug's words for what stands around the application."""
    sites: list[Any] = []
    monkeypatch.delenv("FLASK_RUN_FROM_CLI", raising=False)
    monkeypatch.setattr(module, "serve", lambda site, settings: sites.append(site))
    (tmp_path / "a.txt").write_text("a file")
    app = flask.Flask(__name__)
    app.add_url_rule("/", view_func=lambda: "a page")
    socketio = SocketIO(app)
    socketio.run(app, static_files={"/files": str(tmp_path)})
    socketio.run(app, debug=True, use_reloader=False)
    socketio.run(app, debug=True, use_reloader=False, use_debugger=False)
    client = Client(sites[0].application)
    for path, text in (("/files/a.txt", "a file"), ("/", "a page")):
        with client.get(path) as answer:
            assert answer.text == text
    assert len(sites[0].mounts) == 1
    assert isinstance(sites[1].application, DebuggedApplication)
    assert sites[2].application is app


@pytest.mark.parametrize("count", [0, -1, None, "3", 2.5, True])
def test_run_refuses_what_is_no_number_of_workers(app: flask.Flask, socketio: SocketIO, count: Any) -> None:
    with pytest.raises(ValueError, match=r"run\(workers=.*\): it is a number of processes, 1 to 512"):
        socketio.run(app, workers=count)


@pytest.mark.parametrize(("server_name", "port"), [(None, 5000), ("shop.test", 5000), ("shop.test:81", 81)])
def test_the_port_is_that_of_the_servers_name(served: list[Any], server_name: str | None, port: int) -> None:
    """R57."""
    app = flask.Flask(__name__)
    app.config["SERVER_NAME"] = server_name
    SocketIO(app).run(app)
    SocketIO(app).run(app, port=7)
    assert [settings.port for settings in served] == [port, 7]


def test_a_certificate_is_given_as_a_pair_or_by_its_files(served: list[Any]) -> None:
    app = flask.Flask(__name__)
    SocketIO(app).run(app, ssl_context=("cert.pem", "key.pem"), cert_reqs=2, ca_certs="ca.pem")
    SocketIO(app).run(app, certfile="cert.pem", keyfile="key.pem", ciphers="HIGH")
    first, second = (settings.tls for settings in served)
    assert (first.certfile, first.keyfile, second.certfile, second.keyfile) == ("cert.pem", "key.pem") * 2
    assert (first.cert_reqs, first.ca_certs, second.cert_reqs) == ("required", "ca.pem", "none")
    assert (first.ciphers, second.ciphers) == (None, "HIGH")


def test_the_reloader_is_told_what_to_watch(served: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    watching: list[Any] = []
    monkeypatch.setattr(module, "reloads", bool)
    monkeypatch.setattr(module, "run_reloading", lambda watched, settings: watching.append(watched))
    app = flask.Flask(__name__)
    with pytest.raises(SystemExit):
        SocketIO(app).run(app, use_reloader=True, reloader_options={"interval": 3, "reloader_type": "stat"})
    with pytest.raises(SystemExit):
        SocketIO(app).run(
            app, use_reloader=True, reloader_interval=4, reloader_type="stat", exclude_patterns=["*.tmp"]
        )
    assert served == []
    assert [(watched.interval_seconds, watched.polling) for watched in watching] == [(3.0, True), (4.0, True)]
    assert [watched.ignored for watched in watching] == [(), ("*.tmp",)]
    with pytest.raises(TypeError, match="reloader_options has no option 'intervall'"):
        SocketIO(app).run(app, reloader_options={"intervall": 3})


def mounted() -> flask.Flask:
    app = flask.Flask(__name__)
    app.add_url_rule("/", view_func=lambda: "a page")
    SocketIO(app, path="/ws")
    return app


def handshake(**fields: str) -> dict[str, Any]:
    return {**EnvironBuilder(path="/ws/").get_environ(), **fields}


def test_a_handshake_comes_through_middleware_to_the_mount() -> None:
    app = mounted()
    inner: Any = app.wsgi_app

    def middleware(environ: dict[str, Any], start_response: Any) -> Any:
        return inner({**environ, "REMOTE_USER": "ann"}, start_response)

    environ, refusal = through_middleware(middleware, handshake(HTTP_X_A="1"), inner)
    assert refusal is None
    assert (environ["REMOTE_USER"], environ["HTTP_X_A"]) == ("ann", "1")
    assert KEY not in environ


def test_what_middleware_answers_itself_is_the_refusal() -> None:
    closed: list[bool] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def middleware(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("403 Forbidden", [("X-Why", "no")])(b"not ")
        return Body([b"you"])

    given = handshake()
    environ, refusal = through_middleware(middleware, given, object())
    assert environ is given
    assert refusal is not None
    assert (refusal.status, refusal.headers, refusal.body) == ("403 Forbidden", [("X-Why", "no")], b"not you")
    assert closed == [True]
    _, silent = through_middleware(lambda environ, start_response: [], given, object())
    assert silent is not None
    assert silent.status == "500 Internal Server Error"


def test_pages_are_the_applications_and_a_second_mount_of_the_path_replaces_the_first() -> None:
    app = mounted()
    assert app.test_client().get("/").data == b"a page"
    refusal = app.test_client().get("/ws/")  # another server asked WSGI for it
    assert refusal.status_code == 501
    assert refusal.text == (
        "its Socket.IO events need the server they came with: run `gunicorn -k python_server.GunicornWorker "
        "module:app` or `python -m python_server module:app`, or call `socketio.run(app)` [other-server]\n"
    )
    SocketIO(app, path="/ws")
    second: Any = app.wsgi_app
    assert not isinstance(second.wsgi_app, module.Mounted)
    SocketIO(app, path="/other")
    assert [mount.path for mount in app.wsframe_mounts] == ["/ws/", "/other/"]  # type: ignore[attr-defined]


def test_trusted_hosts_are_read_as_werkzeug_reads_them(served: list[Any]) -> None:
    """One name instead of a list; ports that nobody looks at."""
    app = flask.Flask(__name__)
    for given in ("shop.test", ["shop.test:8000", "[::1]:5000", "[::1]"], "localhost:5000"):
        app.config["TRUSTED_HOSTS"] = given
        SocketIO(app).run(app)
    assert [settings.allowed_hosts for settings in served] == [
        "shop.test",
        "shop.test,[::1],[::1]",
        "localhost",
    ]


def test_a_port_may_be_the_environments_text(served: list[Any]) -> None:
    app = flask.Flask(__name__)
    SocketIO(app).run(app, port="8080")  # type: ignore[arg-type]
    assert [settings.port for settings in served] == [8080]
    with pytest.raises(ValueError, match=r"run\(port='x'\): a port is a number from 0 to 65535"):
        SocketIO(app).run(app, port="x")  # type: ignore[arg-type]
