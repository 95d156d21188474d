"""A chat with rooms and names, as tutorials write it.

It must not know which server runs it.
"""

import os

from flask import Flask, request
from flask_socketio import SocketIO, emit, join_room, leave_room, send

app = Flask(__name__)
app.config["SECRET_KEY"] = "secret!"
socketio = SocketIO(app)

users = {}
messages = {}


@app.route("/")
def index():
    return "<h1>Chat</h1>"


@socketio.on("connect")
def on_connect():
    emit("status", {"msg": "Connected", "online": len(users)})


@socketio.on("join")
def on_join(data):
    username, room = data["username"], data["room"]
    users[request.sid] = (username, room)
    join_room(room)
    emit("history", messages.get(room, []))
    send(f"{username} has entered the room {room}.", to=room)


@socketio.on("text")
def on_text(data):
    username, room = users[request.sid]
    line = {"from": username, "msg": data["msg"]}
    messages.setdefault(room, []).append(line)
    emit("message", line, room=room)


@socketio.on("typing")
def on_typing(is_typing):
    username, room = users[request.sid]
    emit("typing", {"user": username, "typing": is_typing}, room=room, include_self=False)


@socketio.on("leave")
def on_leave(data):
    username, _ = users.pop(request.sid)
    room = data["room"]
    leave_room(room)
    send(username + " has left the room.", to=room)


@socketio.on("disconnect")
def on_disconnect():
    if request.sid in users:
        username, room = users.pop(request.sid)
        if not any(r == room for _, r in users.values()):
            messages.pop(room, None)
        emit("message", f"{username} was disconnected", room=room)


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", 5000)))
