"""What a broadcast costs the worker: to streams of a room, and to as many WebSocket sessions in one.

It must not know how either is sent. Rounds alternate in one server; what is told is the quotient of the CPU
times, of its median and quartiles. With --open: how many streams one worker of 40 threads holds at once.

    python bench/event_streams.py [--clients 200] [--events 200] [--rounds 15] [--recovery] [--open 5000]
"""

import argparse
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

APPLICATION = """
import time
from flask import Flask
from python_server import SocketIO, join_room

app = Flask(__name__)
socketio = SocketIO(app, connection_state_recovery=RECOVERY)

@socketio.on("connect")
def connect(auth):
    join_room("sessions")

@app.get("/listen")
def listen():
    return socketio.stream("streams")

@app.get("/say/<room>/<int:count>/<word>")
def say(room, count, word):
    for number in range(count):
        socketio.emit("said", {"number": number, "text": "x" * 100}, to=room)
    socketio.emit("said", word, to=room)
    return ""

@app.get("/cpu")
def cpu():
    return repr(time.process_time())
"""
STREAM = b"GET /listen HTTP/1.1\r\nHost: localhost\r\n\r\n"
SESSION = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
JOIN = b"\x81\x82\0\0\0\x0040"  # a masked frame whose key is zero
RECEIVE_BYTES = 262_144


class Clients:
    """Connections that only read, in one selector."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self.count = 0

    def open(self, request: bytes, then: bytes, sign: bytes) -> None:
        sock = socket.create_connection(("127.0.0.1", self._port))
        sock.sendall(request)
        got = b""
        while b"\r\n\r\n" not in got:
            got += sock.recv(RECEIVE_BYTES)
        sock.sendall(then)
        while sign not in got:
            got += sock.recv(RECEIVE_BYTES)
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, [b""])
        self.count += 1

    def read_until(self, word: bytes) -> None:
        """Everybody has got it."""
        left_count = self.count
        while left_count:
            for key, _ in self._selector.select():
                data = key.data[0] + key.fileobj.recv(RECEIVE_BYTES)  # type: ignore[union-attr]
                left_count -= word in data
                key.data[0] = data[-64:] if word not in data else b""


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        return str(answer.read().decode())


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("--clients", 200), ("--events", 200), ("--rounds", 15), ("--open", 0)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--recovery", action="store_true")
    asked = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "told.py").write_text(APPLICATION.replace("RECOVERY", str(asked.recovery)))
        arguments = ["told:app", "--bind", f"127.0.0.1:{port}", "--threads", "40", "--no-access-log"]
        server = subprocess.Popen([sys.executable, "-m", "python_server", *arguments], cwd=folder)
        try:
            while True:
                try:
                    get(port, "/cpu")
                    break
                except OSError:
                    time.sleep(0.05)
            if asked.open:
                hold(port, asked.open, server.pid)
            else:
                compare(port, asked)
        finally:
            server.terminate()
            server.wait()


def compare(port: int, asked: argparse.Namespace) -> None:
    groups = {"streams": Clients(port), "sessions": Clients(port)}
    for _ in range(asked.clients):
        groups["streams"].open(STREAM, b"", b"retry")
        groups["sessions"].open(SESSION, JOIN, b'"sid"')
    time.sleep(1.0)  # connect handlers
    spent: dict[str, list[float]] = {name: [] for name in groups}
    for number in range(2 * asked.rounds):
        name = [*groups][number % 2]
        before = float(get(port, "/cpu"))
        get(port, f"/say/{name}/{asked.events}/done{number}.")
        groups[name].read_until(f"done{number}.".encode())
        spent[name].append(float(get(port, "/cpu")) - before)
    for name, seconds in spent.items():
        each = statistics.median(seconds) / (asked.events * asked.clients)
        print(f"{name}: {each * 1e6:.2f} us of CPU for each event and client")
    quotients = [one / other for one, other in zip(spent["streams"], spent["sessions"], strict=True)]
    low, middle, high = statistics.quantiles(quotients, n=4)
    print(f"streams / sessions: {middle:.2f} ({low:.2f} to {high:.2f}), {asked.rounds} rounds")


def hold(port: int, count: int, process: int) -> None:
    clients = Clients(port)
    before = resident_kib(process)
    began = time.monotonic()
    for _ in range(count):
        clients.open(STREAM, b"", b"retry")
    opened = time.monotonic() - began
    grown_kib = (resident_kib(process) - before) / count
    began = time.monotonic()
    get(port, "/say/streams/0/done.")
    clients.read_until(b"done.")
    print(
        f"{count} streams: opened in {opened:.1f} s, {grown_kib:.1f} KiB each, "
        f"one event reached all in {time.monotonic() - began:.2f} s"
    )


def resident_kib(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


if __name__ == "__main__":
    main()
