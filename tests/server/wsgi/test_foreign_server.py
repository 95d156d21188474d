"""What a mounted application says under another server: one sentence, in the answer and once in the log.

It must not know Flask, sockets.
"""

import logging
from typing import Any

import pytest

from python_server.wsgi.foreign_server import NEEDS_OWN_SERVER, RUNS_ITSELF, ForeignGuard

SENTENCE = (
    "its Socket.IO events need the server they came with: run `gunicorn -k python_server.GunicornWorker "
    "module:app` or `python -m python_server module:app`"
)


def ask(guard: ForeignGuard, path: str, software: str | None) -> tuple[list[str], list[bytes] | None]:
    """The status, if any, and the body."""
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        statuses.append(status)
        assert ("Content-Type", "text/plain; charset=utf-8") in headers

    environ = {"PATH_INFO": path} | ({} if software is None else {"SERVER_SOFTWARE": software})
    return statuses, guard.answer(environ, start_response)


@pytest.mark.parametrize(
    ("advice", "sentence"),
    [
        (NEEDS_OWN_SERVER, f"{SENTENCE} [other-server]"),
        (RUNS_ITSELF, f"{SENTENCE}, or call `socketio.run(app)` [other-server]"),
    ],
)
@pytest.mark.parametrize("software", ["gunicorn/26.0", "waitress", "Werkzeug/3.1", "Apache/2.4", "uvicorn"])
def test_the_answer_and_the_log_name_the_ways_out(
    caplog: pytest.LogCaptureFixture, software: str, advice: str, sentence: str
) -> None:
    guard = ForeignGuard("/socket.io/", advice)
    for _ in range(2):
        assert ask(guard, "/socket.io/", software) == (["501 Not Implemented"], [f"{sentence}\n".encode()])
        assert ask(guard, "/page", software) == ([], None)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, f"this application is served by {software}: {sentence}")
    ]


@pytest.mark.parametrize("software", [None, "", "python_server/1"])
def test_a_test_client_and_our_own_server_are_not_warned_of(
    caplog: pytest.LogCaptureFixture, software: str | None
) -> None:
    guard = ForeignGuard("/socket.io/", RUNS_ITSELF)
    assert ask(guard, "/page", software) == ([], None)
    assert ask(guard, "/socket.io/", software)[0] == ["501 Not Implemented"]
    assert caplog.text == ""
