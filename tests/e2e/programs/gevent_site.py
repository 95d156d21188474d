"""For gunicorn with gevent-websocket's worker, as Procfiles have it; patched in the program as well.

It must not know which server runs it.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

import gevent  # noqa: E402
from flask import Flask, request  # noqa: E402
from flask_socketio import SocketIO, emit  # noqa: E402
from gevent.event import AsyncResult  # noqa: E402
from gevent.lock import BoundedSemaphore  # noqa: E402
from gevent.pool import Pool  # noqa: E402
from gevent.queue import Queue  # noqa: E402

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent")
lock = BoundedSemaphore(1)
total = 0


@app.route("/")
def index():
    return "gevent"


@socketio.on("add")
def add(number):
    global total
    with lock:
        before = total
        gevent.sleep(0.001)
        total = before + number
    emit("total", total)


@socketio.on("reset")
def reset():
    global total
    total = 0
    return total


@socketio.on("parallel")
def parallel(numbers):
    greenlets = [gevent.spawn(pow, number, 2) for number in numbers]
    gevent.joinall(greenlets, timeout=10)
    return [greenlet.value for greenlet in greenlets] + Pool(2).map(abs, [-1, -2])


@socketio.on("result")
def result():
    answer = AsyncResult()
    gevent.spawn_later(0.01, answer.set, "set later")
    return answer.get(timeout=10)


@socketio.on("queue")
def queue(items):
    waiting = Queue()

    def produce():
        for item in items:
            waiting.put(item)
        waiting.put(StopIteration)

    gevent.spawn(produce)
    for item in waiting:
        socketio.emit("item", item, to=request.sid)
    return "done"


@socketio.on("late")
def late():
    try:
        with gevent.Timeout(0.02):
            gevent.sleep(10)
    except gevent.Timeout as timeout:
        return type(timeout).__name__


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", 5000)))
