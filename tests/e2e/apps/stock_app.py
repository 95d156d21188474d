"""An unmodified Flask-SocketIO program in threading mode.

It must not know which server runs it.
"""

from typing import Any

from flask import Flask, request
from flask_socketio import SocketIO, emit, join_room

app = Flask(__name__)
app.config["SECRET_KEY"] = "not a secret"
socketio = SocketIO(app)


@app.route("/")
def index() -> str:
    return str(socketio.async_mode)


@socketio.on("join")
def join(room: str) -> str:
    join_room(room)
    emit("joined", {"sid": request.sid}, to=room)  # type: ignore[attr-defined]
    return "in " + room


@socketio.on("echo")
def echo(*args: Any) -> tuple[Any, ...]:
    emit("echoed", args)
    return args
