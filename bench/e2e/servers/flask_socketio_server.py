"""Flask-SocketIO: `flask_socketio_server.py PORT threading|gevent|eventlet`.
The same Flask application as ours_socketio.py; it must not know the load."""

import logging
import sys

# As a module (gunicorn, our command line) it is the stock program in threading mode.
mode = sys.argv[2] if __name__ == "__main__" else "threading"
if mode == "gevent":
    from gevent import monkey

    monkey.patch_all()
elif mode == "eventlet":
    import eventlet

    eventlet.monkey_patch()

# Patching comes first: whatever is imported before it keeps the blocking sockets.
from typing import Any  # noqa: E402

from flask import Flask  # noqa: E402
from flask_socketio import SocketIO, emit, join_room  # noqa: E402

app = Flask(__name__)
socketio = SocketIO(app, async_mode=mode)


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


logging.getLogger("werkzeug").setLevel(logging.ERROR)
if __name__ == "__main__":
    options = {"allow_unsafe_werkzeug": True} if mode == "threading" else {}
    socketio.run(app, host="127.0.0.1", port=int(sys.argv[1]), **options)
