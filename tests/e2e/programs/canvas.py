"""A canvas on which many draw: strokes go to the others, and a newcomer gets all of them.

It must not know which server runs it.
"""

import os

from flask import Flask, request
from flask_socketio import SocketIO, emit

app = Flask(__name__)
socketio = SocketIO(app, cors_allowed_origins=["http://localhost:3000"], ping_timeout=60, ping_interval=25)
strokes = []
clients = 0


@app.route("/")
def index():
    return f"{len(strokes)} strokes"


@socketio.on("connect")
def connected():
    global clients
    clients += 1
    emit("canvas", {"strokes": strokes, "clients": clients})
    emit("clients", clients, broadcast=True, include_self=False)


@socketio.on("drawing")
def drawing(x0, y0, x1, y1, color):
    stroke = [x0, y0, x1, y1, color]
    strokes.append(stroke)
    emit("drawing", (x0, y0, x1, y1, color), broadcast=True, include_self=False)


@socketio.on("undo")
def undo():
    if strokes:
        emit("undone", strokes.pop(), broadcast=True)


@socketio.on("cursor")
def cursor(position):
    emit("cursor", {"sid": request.sid, **position}, broadcast=True, skip_sid=request.sid)


@socketio.on("clear")
def clear():
    strokes.clear()
    emit("clear", broadcast=True)


@socketio.on("disconnect")
def disconnected():
    global clients
    clients -= 1
    emit("clients", clients, broadcast=True)


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
