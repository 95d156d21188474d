"""`stream` where it cannot go on: under other servers, in Flask's test client, with what is no stream.

It must not know sockets; whole streams are in e2e/test_event_streams.
"""

from collections.abc import AsyncIterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import flask
import pytest

from python_server import Server, SocketIO


def test_a_test_client_of_flask_is_told() -> None:
    app = flask.Flask(__name__)
    app.testing = True
    socketio = SocketIO(app)
    app.add_url_rule("/room", view_func=lambda: socketio.stream("room"))
    with pytest.raises(RuntimeError, match="other-server"):
        app.test_client().get("/room")


def test_another_server_is_told() -> None:
    environ: dict[str, Any] = {"SERVER_SOFTWARE": "gunicorn/23"}
    setup_testing_defaults(environ)
    with pytest.raises(RuntimeError, match="other-server"):
        Server().stream(environ, lambda status, headers: None, "room")  # type: ignore[arg-type]


def test_an_async_generator_is_refused() -> None:
    async def values() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="async-handler"):
        Server().stream({}, lambda status, headers: None, values())  # type: ignore[arg-type]
