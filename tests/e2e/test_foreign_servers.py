"""Our SocketIO under somebody else's WSGI server: HTTP works, Socket.IO says what it needs.

It must not know our server: gunicorn's and Flask's own run it.
"""

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

APPS = Path(__file__).parent / "apps"
PATIENCE_SECONDS = 60.0
COMMANDS = {
    "gunicorn": ["-m", "gunicorn", "--bind", "127.0.0.1:0", "--no-control-socket", "client_app:app"],
    "flask run": ["-m", "flask", "--app", "client_app:app", "run", "--port", "0"],
}


@pytest.fixture(params=COMMANDS, ids=str)
def foreign(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[str]]]:
    """(URL, lines of the log) of a foreign server."""
    process = subprocess.Popen(
        [sys.executable, *COMMANDS[request.param]],
        cwd=APPS,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    url = ""
    while not url:
        line = process.stdout.readline()
        assert line, "".join(lines)
        lines.append(line)
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        url = found.group(0) if found else ""
    yield url, lines
    process.send_signal(signal.SIGTERM)
    lines += process.stdout.readlines()
    process.wait(PATIENCE_SECONDS)
    process.stdout.close()
    warnings = [line for line in lines if "python -m python_server module:app" in line]
    assert len(warnings) == 1, "".join(lines)


def test_http_passes_and_socketio_is_answered_501(foreign: tuple[str, list[str]]) -> None:
    url, _ = foreign
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{url}/socket.io/?EIO=4&transport=polling", timeout=PATIENCE_SECONDS)
    assert refused.value.code == 501
    assert b"python -m python_server module:app" in refused.value.read()
    with pytest.raises(urllib.error.HTTPError) as missing:  # the application's own answer
        urllib.request.urlopen(f"{url}/nothing-there", timeout=PATIENCE_SECONDS)
    assert missing.value.code == 404
    for answer in (refused.value, missing.value):
        answer.close()
