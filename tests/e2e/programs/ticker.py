"""A background thread that sends numbers to whoever is connected, after the package's own example.

It must not know which server runs it.
"""

import os
from threading import Lock

from flask import Flask, request, session
from flask_socketio import SocketIO, close_room, disconnect, emit, join_room, leave_room, rooms

# Set this variable to "threading", "eventlet" or "gevent" to test the
# different async modes, or leave it set to None for the application to choose
# the best option based on installed packages.
async_mode = None

app = Flask(__name__)
app.config["SECRET_KEY"] = "secret!"
socketio = SocketIO(app, async_mode=async_mode)
thread = None
thread_lock = Lock()


def background_thread():
    """Example of how to send server generated events to clients."""
    count = 0
    while True:
        socketio.sleep(0.1)
        count += 1
        socketio.emit("tick", {"data": "Server generated event", "count": count}, to="watchers")


@app.route("/")
def index():
    return "async mode is set" if socketio.async_mode else "no mode"


@socketio.event
def my_event(message):
    session["receive_count"] = session.get("receive_count", 0) + 1
    emit("my_response", {"data": message["data"], "count": session["receive_count"]})


# Receive the test request from client and send back a test response
@socketio.on("test_message")
def handle_message(data):
    emit("test_response", {"data": "Test response sent"})


# Broadcast a message to all clients
@socketio.on("broadcast_message")
def handle_broadcast(data):
    emit("broadcast_response", {"data": "Broadcast sent"}, broadcast=True)


@socketio.event
def join(message):
    join_room(message["room"])
    session["receive_count"] = session.get("receive_count", 0) + 1
    emit(
        "my_response",
        {
            "data": "In rooms: " + ", ".join(sorted(room for room in rooms() if room != request.sid)),
            "count": session["receive_count"],
        },
    )


@socketio.event
def leave(message):
    leave_room(message["room"])
    emit("my_response", {"data": f"In {len(rooms())} rooms", "count": 0})


@socketio.on("close_room")
def on_close_room(message):
    emit("room_closed", {"data": "Room " + message["room"] + " is closing."}, to=message["room"])
    close_room(message["room"])


@socketio.event
def disconnect_request():
    def can_disconnect():
        disconnect()

    emit("my_response", {"data": "Disconnected!", "count": 0}, callback=can_disconnect)


@socketio.event
def my_ping():
    emit("my_pong")


@socketio.event
def connect():
    global thread
    with thread_lock:
        if thread is None:
            thread = socketio.start_background_task(background_thread)
    emit("my_response", {"data": "Connected", "count": 0})


@socketio.on("disconnect")
def test_disconnect(reason):
    print("Client disconnected", request.sid, reason)


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
