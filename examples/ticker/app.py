"""Ticker: one background thread, as many readers as like.

It must not know the server: it runs on Flask-SocketIO too, with the import and the
page's <script> changed.
"""

import os
import random
import time
from threading import Lock

from flask import Flask, render_template

from python_server import SocketIO, emit

PERIOD_SECONDS = float(os.environ.get("TICKER_PERIOD_SECONDS", "1"))
HISTORY_COUNT = 60
PLACES = ("Harbour", "Hilltop", "Old Town")

app = Flask(__name__)
socketio = SocketIO(app)
lock = Lock()
thread = None
history = [{"at": time.time(), "degrees": {place: round(random.uniform(12, 18), 1) for place in PLACES}}]


@app.route("/")
def index():
    return render_template("ticker.html", places=PLACES, count=HISTORY_COUNT, period=PERIOD_SECONDS)


def measure():
    """The background thread of this process: a new temperature for every place, sent to everybody."""
    while True:
        socketio.sleep(PERIOD_SECONDS)
        last = history[-1]["degrees"]
        degrees = {place: round(last[place] + random.uniform(-0.6, 0.6), 1) for place in PLACES}
        history.append({"at": time.time(), "degrees": degrees})
        del history[:-HISTORY_COUNT]
        socketio.emit("reading", history[-1])


@socketio.on("connect")
def connect():
    global thread
    with lock:
        if thread is None:
            thread = socketio.start_background_task(measure)
    emit("history", history)


if __name__ == "__main__":
    socketio.run(app, allow_unsafe_werkzeug=True)
