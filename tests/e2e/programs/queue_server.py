"""A server whose news come from another process, queue_worker.py, through a message queue.

It must not know which server runs it.
"""

import os

from flask import Flask
from flask_socketio import SocketIO, emit, join_room

app = Flask(__name__)
socketio = SocketIO(app, message_queue=os.environ.get("REDIS_URL", "redis://"), channel="news")


@socketio.on("subscribe")
def subscribe(topic):
    join_room(topic)
    return topic


@socketio.on("echo")
def echo(data):
    emit("echo", data)


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
