"""An application in the face's words whose limits are small: each is reached by a test.

It must not know the tests: what a client's end was is told to whoever asks, and to the log.
"""

import logging
import threading

import flask

from python_server import SocketIO

app = flask.Flask(__name__)
socketio = SocketIO(
    app,
    max_http_buffer_size=10_000,
    max_queued_bytes=100_000,
    ping_interval=300,
)
log = logging.getLogger("python_server")
gate = threading.Event()


@socketio.on("disconnect")
def left(reason):
    log.warning("left: %s", reason)
    socketio.emit("left", [reason, flask.request.sid])


@socketio.on("echo")
def echo(data):
    return data


@socketio.on("limited", rate_limit="5/10s")
def limited():
    return None


@socketio.on("flood")
def flood(count):
    """More than a client that does not read may have waiting."""
    for _ in range(count):
        socketio.emit("heavy", "x" * 50_000, to=flask.request.sid)


@socketio.on("block", ordered=False)
def block():
    """Holds a thread until someone lets go."""
    socketio.emit("blocked", to=flask.request.sid)
    gate.wait(60)
    return "blocked"


@socketio.on("let go", inline=True)
def let_go():
    gate.set()
