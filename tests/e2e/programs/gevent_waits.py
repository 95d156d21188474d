"""gevent, patched: loops that are killed, timeouts, and waits in the standard library.

It must not know which server runs it.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import socket  # noqa: E402
import subprocess  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
import urllib.request  # noqa: E402

import gevent  # noqa: E402
from flask import Flask, request  # noqa: E402
from flask_socketio import SocketIO, emit  # noqa: E402
from gevent.pool import Pool  # noqa: E402
from gevent.threadpool import ThreadPool  # noqa: E402

app = Flask(__name__)
socketio = SocketIO(app)
loops = {}
total = 0


@app.route("/slow")
def slow():
    time.sleep(0.05)
    return "slow page"


def loop(sleep, sid):
    socketio.emit("looping", to=sid)
    while True:
        sleep(0.01)


@socketio.on("loop")
def start_loop(by):
    sleep = {"server": socketio.sleep, "library": time.sleep, "gevent": gevent.sleep}[by]
    loops[request.sid] = gevent.spawn(loop, sleep, request.sid)


@socketio.on("end")
def end_loop():
    greenlet = loops.pop(request.sid)
    greenlet.kill()
    return [greenlet.dead, type(greenlet.value).__name__]


@socketio.on("late")
def late(by):
    sleep = {"server": socketio.sleep, "library": time.sleep}[by]
    with gevent.Timeout(0.02, False):
        sleep(10)
        return "in time"
    return "too late"


@socketio.on("page")
def page():
    """Counts beside the others that do, and waits for itself in between."""
    global total
    url = f"http://127.0.0.1:{os.environ.get('PORT', 5000)}/slow"
    text = urllib.request.urlopen(url).read().decode()
    total += 1
    return text


@socketio.on("process")
def process():
    return subprocess.check_output(["echo", "said by another"]).decode()


@socketio.on("thread")
def thread():
    came = threading.Event()
    left, right = socket.socketpair()
    answering = threading.Thread(target=lambda: (came.wait(), right.sendall(b"by a thread")))
    answering.start()
    came.set()
    text = left.recv(100).decode()
    answering.join()
    left.close()
    right.close()
    return text


@socketio.on("pools")
def pools():
    emit("pools", [Pool(2).apply(pow, (2, 5)), ThreadPool(2).spawn(pow, 2, 6).get()])


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", 5000)))
