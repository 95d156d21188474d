"""Namespaces as classes, two of them, beside plain functions.

It must not know which server runs it.
"""

import os

from flask import Flask, request, session
from flask_socketio import Namespace, SocketIO, close_room, disconnect, emit, join_room, leave_room, rooms

app = Flask(__name__)
app.config["SECRET_KEY"] = "secret!"
socketio = SocketIO(app, logger=False, engineio_logger=False)


class ChatNamespace(Namespace):
    def on_connect(self, auth=None):
        session["name"] = (auth or {}).get("name", "anonymous")
        emit("welcome", {"name": session["name"], "namespace": request.namespace})

    def on_disconnect(self):
        self.emit("bye", {"name": session["name"]})

    def on_my_event(self, message):
        session["receive_count"] = session.get("receive_count", 0) + 1
        emit("my_response", {"data": message["data"], "count": session["receive_count"]})

    def on_my_broadcast_event(self, message):
        self.emit("my_response", {"data": message["data"], "by": "self.emit"})

    def on_join(self, message):
        join_room(message["room"])
        return sorted(room for room in rooms() if room != request.sid)

    def on_leave(self, message):
        leave_room(message["room"])
        return len(rooms())

    def on_room_event(self, message):
        self.send(message["data"], room=message["room"], include_self=False)

    def on_close_room(self, message):
        close_room(message["room"])
        return "closed"

    def on_disconnect_request(self):
        disconnect()


class AdminNamespace(Namespace):
    def on_connect(self, auth):
        if auth != {"token": "letmein"}:
            return False

    def trigger_event(self, event, *args):
        if event == "shadowed":
            return ["seen by trigger_event", *args[1:]]
        return super().trigger_event(event, *args)

    def on_announce(self, text):
        socketio.emit("announcement", text, namespace="/chat")
        return True


socketio.on_namespace(ChatNamespace("/chat"))
socketio.on_namespace(AdminNamespace("/admin"))


@socketio.on("plain")
def plain(data):
    return {"plain": data}


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
