"""What a handler of disconnect still knows of who has left, and what it is to have no auth.

It must not know which server runs it.
"""

import os

from flask import Flask, request
from flask_socketio import SocketIO, emit, join_room, rooms

app = Flask(__name__)
socketio = SocketIO(app)


@socketio.on("connect")
def connect(auth):
    socketio.server.save_session(request.sid, {"auth": auth})
    emit("auth", auth)


@socketio.on("join")
def join(room):
    join_room(room)
    return room


@socketio.on("disconnect")
def leave():
    """Whoever shares a room with it hears of it, as chats do."""
    for room in sorted(room for room in rooms() if room != request.sid):
        emit(
            "left",
            {"room": room, "session": socketio.server.get_session(request.sid)},
            to=room,
            skip_sid=request.sid,
        )


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
