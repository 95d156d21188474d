"""One Flask-SocketIO application for tests of sessions among workers: who serves, echoes, a counted stream.

It must not know how many workers there are; each numbers what it says itself.
"""

import os
import threading
from typing import Any

import flask

from python_server import SocketIO, emit

app = flask.Flask(__name__)
socketio = SocketIO(app, cors_allowed_origins="*", connection_state_recovery=True)
speaking = threading.Lock()
said_count = 0


@socketio.on("where")
def where() -> int:
    return os.getpid()


@socketio.on("echo")
def echo(data: Any) -> Any:
    return data


@socketio.on("tell")
def tell(*words: Any) -> int:
    """Everybody; the ack says that it is told."""
    emit("told", words, broadcast=True)
    return os.getpid()


@app.route("/pid")
def pid() -> str:
    return str(os.getpid())


@app.route("/seen")
def seen() -> Any:
    """What the request looks like here."""
    return [os.getpid(), flask.request.remote_addr, flask.request.scheme]


@app.route("/say/<int:number>", methods=["POST"])
def say(number: int) -> str:
    """Tell everybody; `place` grows by one with each word of this process."""
    global said_count
    with speaking:
        said_count += 1
        socketio.emit("tick", {"number": number, "by": os.getpid(), "place": said_count})
    return str(os.getpid())
