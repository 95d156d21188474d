"""An application with the server it carries, which no socket reaches: the test client speaks with it.

It must not know any single test.
"""

import flask
import pytest

from python_server import SocketIO


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> flask.Flask:
    monkeypatch.delenv("FLASK_RUN_FROM_CLI", raising=False)  # what loading an application leaves behind
    app = flask.Flask(__name__)
    app.secret_key = "a key for tests"
    return app


@pytest.fixture
def socketio(app: flask.Flask) -> SocketIO:
    return SocketIO(app, namespaces=["/", "/other"])
