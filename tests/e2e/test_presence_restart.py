"""Members with metadata through a rolling restart: each that went with its worker is told to have left, once.

It must not know the supervisor's code, or what workers say to each other.
"""

import re
import signal
import sys
from pathlib import Path

from ordered_clients import PatientClient
from running_program import RunningProgram

CLIENTS_COUNT = 8
APPLICATION = """
from flask import Flask
from python_server import SocketIO, join_room

app = Flask(__name__)
socketio = SocketIO(app)

@socketio.on("connect")
def connect(auth):
    join_room("lobby", meta={"name": auth["name"]})

@socketio.on_room_join()
def came(sid, room, meta):
    print(f"came {meta['name']}.")

@socketio.on_room_leave()
def went(sid, room, meta):
    print(f"went {meta['name']}.")
"""
# As `-m python_server`; no word that comes by the way brings the new workers what the old ones know.
QUIET = """
import runpy
from python_server.socketio import presence
presence.BEAT_SECONDS, presence.SETTLE_SECONDS = 600.0, 4.0
runpy.run_module("python_server", run_name="__main__", alter_sys=True)
"""


def test_who_goes_with_its_worker_has_left(tmp_path: Path) -> None:
    (tmp_path / "lobby.py").write_text(APPLICATION)
    (tmp_path / "quiet.py").write_text(QUIET)
    command = [sys.executable, "quiet.py", "lobby:app", "--workers", "2", "--bind", "127.0.0.1:0"]
    server = RunningProgram(command, tmp_path)
    clients = [PatientClient() for _ in range(CLIENTS_COUNT)]
    try:
        url = server.find(re.compile(r"http://127\.0\.0\.1:\d+"))[0]
        for number, client in enumerate(clients):
            client.connect(url, auth={"name": f"n{number}"}, transports=["websocket"])
        server.wait_for("came ", CLIENTS_COUNT)
        server.signal(signal.SIGHUP)
        server.wait_for("rolling restart done")
        server.wait_for("went ", CLIENTS_COUNT)
        assert sorted(re.findall(r"went (n\d+)\.", server.log)) == [f"n{n}" for n in range(CLIENTS_COUNT)]
    finally:
        for client in clients:
            client.close()
        server.stop()
