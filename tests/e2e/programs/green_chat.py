"""A chat for eventlet: patched first, then imported, then run.

It must not know which server runs it.
"""

import eventlet

eventlet.monkey_patch()

import os  # noqa: E402
import time  # noqa: E402

from flask import Flask, request  # noqa: E402
from flask_socketio import SocketIO, emit, join_room  # noqa: E402

app = Flask(__name__)
app.config["SECRET_KEY"] = "secret!"
socketio = SocketIO(app, async_mode="eventlet", cors_allowed_origins="*", logger=False)
pool = eventlet.GreenPool(10)
jobs = eventlet.Queue()
online = {}


def worker():
    while True:
        sid, text = jobs.get()
        eventlet.sleep(0.01)
        socketio.emit("worked", {"text": text.upper()}, to=sid)


eventlet.spawn(worker)


@app.route("/")
def index():
    return "green"


@socketio.on("login")
def login(name):
    online[request.sid] = name
    join_room("online")
    emit("online", sorted(online.values()), to="online")


@socketio.on("job")
def job(text):
    jobs.put((request.sid, text))


@socketio.on("many")
def many(numbers):
    return list(pool.imap(lambda number: number * number, numbers))


@socketio.on("slow")
def slow():
    started = time.time()
    time.sleep(0.02)
    return time.time() - started >= 0.02


@socketio.on("timeout")
def timed_out():
    try:
        with eventlet.Timeout(0.02):
            eventlet.sleep(10)
    except eventlet.Timeout:
        return "timed out"


@socketio.on("event")
def wait_for_event():
    event = eventlet.event.Event()
    eventlet.spawn_after(0.01, event.send, "sent")
    return event.wait()


@socketio.on("disconnect")
def gone():
    if online.pop(request.sid, None):
        emit("online", sorted(online.values()), to="online")


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", 5000)))
