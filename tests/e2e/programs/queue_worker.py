"""The other process of queue_server.py: it writes to the queue and serves nobody.

It must not know any server.
"""

import os
import sys

from flask_socketio import SocketIO

socketio = SocketIO(message_queue=os.environ.get("REDIS_URL", "redis://"), channel="news")

if __name__ == "__main__":
    topic, text = sys.argv[1:]
    socketio.emit("news", {"topic": topic, "text": text}, to=topic)
    socketio.emit("news", data={"raw": text.encode()}, room=topic, namespace="/")
    socketio.send("sent to all")
    print("published", text)
