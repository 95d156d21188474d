"""Starts an installed server of one worker from the command line, and asks it by WSGI and Socket.IO.

It must not need anything but what `pip install wsframe[flask]` brings; it runs on every system.
"""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import wsframe

PROGRAM = """
from flask import Flask
from python_server import SocketIO

app = Flask(__name__)
socketio = SocketIO(app)

@app.get("/")
def home():
    return "served"

@socketio.on("ask")
def ask(data):
    return data
"""
STARTING_SECONDS = 60.0


def ask(url: str, body: bytes | None = None) -> str:
    with urllib.request.urlopen(url, body, timeout=30) as response:
        return str(response.read().decode())


def ask_first(url: str, server: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            return ask(url)
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def converse(polling: str) -> None:
    """A client of Engine.IO 4 over polling: connects, asks, and gets its acknowledgement."""
    opened = ask(polling)
    assert opened.startswith("0{"), opened
    session = f"{polling}&sid={json.loads(opened[1:])['sid']}"
    assert ask(session, b"40") == "ok"
    assert ask(session).startswith('40{"sid":')
    assert ask(session, b'421["ask",{"a":1}]') == "ok"
    assert ask(session) == '431[{"a":1}]'


def main(folder: Path) -> None:
    (folder / "smoke_app.py").write_text(PROGRAM)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "python_server", "smoke_app:app", "--port", str(port)]
    server = subprocess.Popen([*command, "--log-level", "warning", "--no-access-log"], cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}"
        assert ask_first(f"{url}/", server) == "served"
        converse(f"{url}/socket.io/?EIO=4&transport=polling")
    finally:
        server.terminate()
        code = server.wait(30)
    assert sys.platform == "win32" or code == 0, code


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        main(Path(place))
    print(f"served, {wsframe.IMPLEMENTATION} core")
