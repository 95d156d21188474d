"""Counts nothing itself: an event that says which process has handled it.

It must not know who counts.
"""

import os

from flask import Flask

from python_server import SocketIO

app = Flask(__name__)
socketio = SocketIO(app)


@app.get("/")
def which() -> str:
    return f"{os.getpid()} "


@socketio.on("count")
def count() -> int:
    return os.getpid()
