"""Ticker: one background thread, as many readers as like.

It must not know the server: it runs on Flask-SocketIO too, with the import and the
page's <script> changed.
"""

import os
import random
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
history = {place: [round(random.uniform(12, 18), 1)] for place in PLACES}


@app.route("/")
def index():
    return render_template("ticker.html", places=PLACES)


def measure():
    """The background thread: a new temperature for every place, sent to everybody."""
    while True:
        socketio.sleep(PERIOD_SECONDS)
        reading = {}
        for place, values in history.items():
            values.append(round(values[-1] + random.uniform(-0.6, 0.6), 1))
            del values[:-HISTORY_COUNT]
            reading[place] = values[-1]
        socketio.emit("reading", reading)


@socketio.on("connect")
def connect():
    global thread
    with lock:
        if thread is None:
            thread = socketio.start_background_task(measure)
    emit("history", history)


if __name__ == "__main__":
    socketio.run(app, allow_unsafe_werkzeug=True)
