"""What a check costs: the same events to two handlers of one server, one with annotated arguments.

It must not know how a check is made. Run: python bench/checked_events.py [PAIRS] [EVENTS]; the goal is 1.10.
The server's processor time is read before and after each half of a pair, whose order changes.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

APP = """
import msgspec
from flask import Flask
from python_server import SocketIO

class Said(msgspec.Struct):
    room: str
    text: str
    at: float = 0.0

app = Flask(__name__)
socketio = SocketIO(app)

@socketio.on("plain")
def plain(said):
    return None

@socketio.on("checked")
def checked(said: Said):
    return None
"""
SAID = {"room": "Kitchen", "text": "The kettle is on, who wants some tea?", "at": 1.5}


def processor_seconds(process: int) -> float:
    """Of all its threads."""
    stats = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(stat.read_text().split()[0]) for stat in stats) / 1e9


def half(client: ClientConnection, process: int, event: str, count: int) -> float:
    """Microseconds of the server's processor time for one event."""
    text, last = "42" + json.dumps([event, SAID]), "427" + json.dumps([event, SAID])
    before = processor_seconds(process)
    for _ in range(count):
        client.send(text)
    client.send(last)
    while not str(client.recv()).startswith("437"):
        pass
    return (processor_seconds(process) - before) / count * 1e6


def main(pairs: int = 15, count: int = 10_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "checked_app.py").write_text(APP)
        command = [sys.executable, "-m", "python_server", "checked_app:app", "--port", "0"]
        server = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        assert server.stderr is not None
        try:
            found = next(match for line in server.stderr if (match := re.search(r"http://(\S+:\d+)", line)))
            url = f"ws://{found[1]}/socket.io/?EIO=4&transport=websocket"
            with connect(url, compression=None, ping_interval=None) as client:
                client.recv()
                client.send("40")
                client.recv()
                for event in ("plain", "checked"):
                    half(client, server.pid, event, count)
                ratios = []
                for pair in range(pairs):
                    events = ("plain", "checked") if pair % 2 else ("checked", "plain")
                    took = {event: half(client, server.pid, event, count) for event in events}
                    ratios.append(took["checked"] / took["plain"])
                    print(f"plain {took['plain']:.2f} us, checked {took['checked']:.2f} us", flush=True)
            print(f"median of {pairs} pairs: {statistics.median(ratios):.3f}")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
