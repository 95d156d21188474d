"""Our SocketIO under somebody else's WSGI server: HTTP works, Socket.IO says what it needs.

It must not know our server: gunicorn's and Werkzeug's own run it.
"""

import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from running_program import RunningProgram

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60.0
COMMANDS = {
    "gunicorn": ["-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", "client_app:app"],
    "run_simple": [
        "-c",
        "import client_app, werkzeug.serving as w; w.run_simple('127.0.0.1', 0, client_app.app)",
    ],
}


@pytest.fixture(params=COMMANDS, ids=str)
def foreign(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a foreign server, which must say once what it cannot do."""
    program = RunningProgram([sys.executable, *COMMANDS[request.param]], APPS)
    yield program.find(re.compile(r"http://127\.0\.0\.1:\d+"))[0]
    program.stop()
    assert program.log.count("python -m python_server module:app") == 1, program.log


def test_http_passes_and_socketio_is_answered_501(foreign: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{foreign}/socket.io/?EIO=4&transport=polling", timeout=PATIENCE_SECONDS)
    assert refused.value.code == 501
    assert refused.value.read() == (
        b"its Socket.IO events need the server they came with: run `gunicorn -k python_server.GunicornWorker "
        b"module:app` or `python -m python_server module:app`, or call `socketio.run(app)` [other-server]\n"
    )
    with pytest.raises(urllib.error.HTTPError) as missing:  # the application's own answer
        urllib.request.urlopen(f"{foreign}/nothing-there", timeout=PATIENCE_SECONDS)
    assert missing.value.code == 404
    for answer in (refused.value, missing.value):
        answer.close()
