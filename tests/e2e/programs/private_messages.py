"""Private messages: who is there by name, and a message to one of them.

It must not know which server runs it.
"""

import os

from flask import Flask, jsonify, request
from flask_socketio import SocketIO, emit

app = Flask(__name__)
app.config["SECRET_KEY"] = os.urandom(24)
socketio = SocketIO(app, cors_allowed_origins="*")
users = {}


@app.route("/users")
def list_users():
    return jsonify(sorted(users))


@socketio.on("username", namespace="/private")
def receive_username(username):
    users[username] = request.sid
    emit("users", sorted(users), broadcast=True)


@socketio.on("private_message", namespace="/private")
def private_message(payload):
    if payload["username"] not in users:
        emit("unknown_user", payload["username"])
        return "not delivered"
    recipient_session_id = users[payload["username"]]
    sender = next(name for name, sid in users.items() if sid == request.sid)
    emit("new_private_message", {"from": sender, "text": payload["message"]}, room=recipient_session_id)
    return "delivered"


@socketio.on("to_several", namespace="/private")
def to_several(names, text):
    emit("new_private_message", text, to=[users[name] for name in names])


@socketio.on("disconnect", namespace="/private")
def disconnect():
    for name in [name for name, sid in users.items() if sid == request.sid]:
        del users[name]
    socketio.emit("users", sorted(users), namespace="/private")


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)), debug=False)
