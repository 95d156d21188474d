"""What `run()` does before it serves: a debugger that others reach, the hosts that may be asked for.

It must not know sockets: nothing is served.
"""

from typing import Any

import flask
import pytest

from python_server import SocketIO
from python_server.api.flask_socketio import run as module


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
    with pytest.raises(ValueError, match=r"run\(port='x'\): it is a number from 0 to 65535"):
        SocketIO(app).run(app, port="x")  # type: ignore[arg-type]
