"""Our server under Flask: `python -m python_server servers/ours_socketio:app`.
The same application as flask_socketio_server.py; it must not know the load."""

from typing import Any

from flask import Flask

from python_server import SocketIO, emit, join_room

app = Flask(__name__)
socketio = SocketIO(app)


@socketio.on("echo")
def echo(message: Any) -> None:
    emit("echo", message)


@socketio.on("echo_ack")
def echo_ack(message: Any) -> Any:
    return message


@socketio.on("join")
def join() -> str:
    join_room("players")
    return "joined"


@socketio.on("say")
def say(message: Any) -> None:
    emit("news", message, to="players")
