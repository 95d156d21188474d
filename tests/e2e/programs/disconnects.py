"""Who goes, why, and what is said about it: refusals, farewells, sending away, coming back.

It must not know which server runs it.
"""

import os

from flask import Flask, request
from flask_socketio import ConnectionRefusedError, SocketIO, disconnect, emit, join_room

app = Flask(__name__)
socketio = SocketIO(app)
names = {}
reasons = []


@app.route("/reasons", methods=["GET", "DELETE"])
def told():
    if request.method == "DELETE":
        reasons.clear()
    return reasons


@socketio.on("connect")
def connect(auth):
    name = (auth or {}).get("name")
    if name is None:
        raise ConnectionRefusedError("nameless")
    if name in names.values():
        return False
    names[request.sid] = name
    join_room("all")
    emit("arrived", name, to="all")


@socketio.on("disconnect")
def gone(reason):
    name = names.pop(request.sid)
    reasons.append([name, reason])
    emit("departed", [name, sorted(names.values())], to="all", include_self=False)


@socketio.on("kick")
def kick(name):
    sid = next(sid for sid, known in names.items() if known == name)
    emit("kicked", {"by": names[request.sid]}, to=sid)
    disconnect(sid)
    return "kicked"


@socketio.on("quit")
def leave():
    emit("farewell")
    disconnect()


@socketio.on("by_server")
def by_server():
    socketio.server.disconnect(request.sid)


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
