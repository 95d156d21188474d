"""Starts an installed server of one worker, asks it by WSGI, WebSocket and Socket.IO, stops it by Ctrl+C.

It must not need anything but what `pip install wsframe[flask]` brings; it runs on every system. `smoke.py
windows` (`select`, `poll`) has the server run on what that system would leave of this one.
"""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

from wsframe import IMPLEMENTATION, Connection, Role
from wsframe.handshake import check, request

PROGRAM = """
from flask import Flask, send_file
from python_server import Resource, SocketIO, WebSocketApplication

app = Flask(__name__)
socketio = SocketIO(app)

class Echo(WebSocketApplication):
    def on_message(self, ws, message):
        ws.send(message)

@app.get("/")
def home():
    return "served"

@app.get("/file")
def file():
    return send_file("file.bin")

@app.route("/blocking", websocket=True)
def blocking():
    from flask import request
    ws = request.environ["wsgi.websocket"]
    while (message := ws.receive()) is not None:
        ws.send(message)
    return ""

@socketio.on("ask")
def ask(data):
    return data

app.wsgi_app = Resource({"/echo": Echo()}, app.wsgi_app)
"""
STARTING_SECONDS = 60.0
SYSTEMS = Path(__file__).with_name("common") / "other_system.py"
LARGE = b"\0\xff" * (1 << 18)  # above what one receive takes, and what leaves in one piece


def ask_bytes(url: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(url, body, timeout=30) as response:
        return bytes(response.read())


def ask(url: str, body: bytes | None = None) -> str:
    return ask_bytes(url, body).decode()


def ask_first(url: str, server: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            return ask(url)
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Client:
    """A WebSocket in blocking words."""

    def __init__(self, port: int, resource: str) -> None:
        sent = request(resource, f"127.0.0.1:{port}")
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.headers)
        self._socket = socket.create_connection(("127.0.0.1", port), 30)
        self._socket.sendall(f"GET {resource} HTTP/1.1\r\n{head}\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):  # the first byte after it is a frame's
            answer += self._socket.recv(1)
        status, *lines = answer.decode().strip().split("\r\n")
        check(sent, int(status.split()[1]), [tuple(line.split(": ", 1)) for line in lines])  # type: ignore[misc]
        self._connection = Connection(Role.CLIENT)

    def send(self, message: str | bytes) -> None:
        self._socket.sendall(self._connection.encode(message))

    def ask(self, message: str | bytes) -> object:
        self.send(message)
        return self.answer()

    def answer(self) -> object:
        while True:
            for event in self._connection.receive_data(data := self._socket.recv(65_536)):
                return event
            assert data, "the connection has ended"

    def close(self) -> None:
        self._socket.close()


def echo(port: int, resource: str) -> None:
    """By events, or by a thread that blocks: small messages, and one that takes more than a send."""
    with closing(Client(port, resource)) as client:
        assert client.ask("hello") == "hello"
        assert client.ask(LARGE) == LARGE
        assert client.ask("again") == "again"


def converse(port: int) -> None:
    """A client of Engine.IO 4: over polling, upgraded, and on a WebSocket from its beginning."""
    polling = f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling"
    opened = ask(polling)
    assert opened.startswith("0{"), opened
    identity = json.loads(opened[1:])["sid"]
    session = f"{polling}&sid={identity}"
    assert ask(session, b"40") == "ok"
    assert ask(session).startswith('40{"sid":')
    assert ask(session, b'421["ask",{"a":1}]') == "ok"
    assert ask(session) == '431[{"a":1}]'
    with closing(Client(port, f"/socket.io/?EIO=4&transport=websocket&sid={identity}")) as client:
        assert client.ask("2probe") == "3probe"
        client.send("5")
        assert client.ask('422["ask",{"a":2}]') == '432[{"a":2}]'
    with closing(Client(port, "/socket.io/?EIO=4&transport=websocket")) as client:
        assert str(client.answer()).startswith("0{")
        assert str(client.ask("40")).startswith('40{"sid":')
        assert client.ask('423["ask",{"a":3}]') == '433[{"a":3}]'


def stop(server: "subprocess.Popen[bytes]") -> int:
    """As Ctrl+C does; on Windows as Ctrl+Break, since that can be sent to another process."""
    server.send_signal(signal.CTRL_BREAK_EVENT if sys.platform == "win32" else signal.SIGINT)
    return server.wait(30)


def main(folder: Path, system: str = "") -> None:
    (folder / "smoke_app.py").write_text(PROGRAM)
    (folder / "file.bin").write_bytes(LARGE)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    before = [str(SYSTEMS), system] if system else []
    command = [sys.executable, *before, "-m", "python_server", "smoke_app:app", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--log-level", "warning", "--no-access-log"],
        cwd=folder,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    try:
        url = f"http://127.0.0.1:{port}"
        assert ask_first(f"{url}/", server) == "served"
        assert ask_bytes(f"{url}/file") == LARGE
        echo(port, "/echo")
        echo(port, "/blocking")
        converse(port)
        code = stop(server)
    finally:
        server.kill()
        server.wait()
    assert code == 0, code


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        main(Path(place), *sys.argv[1:])
    print(f"served, {IMPLEMENTATION} core")
