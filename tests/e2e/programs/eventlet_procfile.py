"""A program for `gunicorn --worker-class eventlet -w 1 eventlet_procfile:app`, as Procfiles have it.

It must not know which server runs it.
"""

import eventlet

eventlet.monkey_patch()

import hashlib  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402

from flask import Flask, request, session  # noqa: E402
from flask_socketio import SocketIO, emit, join_room, leave_room  # noqa: E402

app = Flask(__name__)
app.config["SECRET_KEY"] = "not a secret"
socketio = SocketIO(app, async_mode="eventlet", cors_allowed_origins="*")
visits = 0
thread = None


def clock() -> None:
    """The package's own example of a background thread."""
    for count in range(1, 4):
        time.sleep(0.05)
        socketio.emit("clock", {"count": count}, to="watchers")


@app.route("/")
def index() -> str:
    session["seen"] = True
    return "chat"


@socketio.on("connect")
def connected() -> None:
    global visits
    visits += 1
    emit("welcome", {"visits": visits})


@socketio.on("watch")
def watch() -> str:
    global thread
    join_room("watchers")
    if thread is None:
        thread = socketio.start_background_task(clock)
    return "watching"


@socketio.on("say")
def say(data: dict[str, str]) -> None:
    emit("said", {"text": data["text"], "own": True}, to=request.sid)  # type: ignore[attr-defined]


@socketio.on("count")
def count_slowly() -> int:
    """Read, wait by nothing, write: right only where nobody runs in between."""
    global visits
    before = visits
    hashlib.sha256(bytes(12_000_000))  # here threads switch, and greenlets do not
    visits = before + 1
    return visits


@app.route("/count")
def count_on_a_page() -> str:
    return str(count_slowly())


@socketio.on("leave")
def leave() -> str:
    leave_room("watchers")
    return "left"


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "5000")))
