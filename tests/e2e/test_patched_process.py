"""A monkey-patched process is refused in one sentence, whichever way the server is started.

It must not know how patching is recognised: real processes patch themselves with the real gevent.
"""

import subprocess
import sys
from pathlib import Path

import pytest

PATCH = "from gevent import monkey; monkey.patch_all()\n"
APPLICATION = """
from flask import Flask
from python_server import SocketIO
app = Flask(__name__)
socketio = SocketIO(app)
"""
SENTENCE = (
    "the process is monkey-patched by gevent: remove the patching, handlers run in ordinary threads here; "
    "or serve it as it stands with --drop-in [monkey-patched]"
)
COMMAND_LINE = """
import sys
from python_server.command.cli import main
sys.argv = ["wsframe", "serve", "program:app", "--port", "0"]
main()
"""


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (PATCH + APPLICATION + "socketio.run(app, port=0)\n", ["program.py"]),
        (PATCH + APPLICATION + "socketio.run(app, port=0, debug=True)\n", ["program.py"]),
        (PATCH + APPLICATION, ["-m", "python_server", "program:app", "--port", "0"]),
        (APPLICATION, ["-c", PATCH + COMMAND_LINE]),
        (
            PATCH + "from python_server import WSGIServer\nWSGIServer(('127.0.0.1', 0), print).start()\n",
            ["program.py"],
        ),
    ],
    ids=["run", "run with the reloader", "command line", "patched command line", "embedded"],
)
def test_a_process_patched_by_gevent_is_refused(tmp_path: Path, program: str, arguments: list[str]) -> None:
    pytest.importorskip("gevent")
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert SENTENCE in done.stderr
    assert done.stderr.count("\n") == 1 or "Traceback" in done.stderr  # one line, or where the call stands


def test_gevent_may_be_installed_and_imported(serve: object, tmp_path: Path) -> None:
    pytest.importorskip("gevent")
    (tmp_path / "program.py").write_text("import gevent.monkey\n" + APPLICATION)
    serve(tmp_path, "program:app")  # type: ignore[operator]
