"""python-socketio's Server and WSGIApp without Flask, a namespace class, and its own client beside it.

It must not know which server runs it.
"""

import eventlet
import socketio
from engineio.payload import Payload
from socketio.exceptions import ConnectionRefusedError

Payload.max_decode_packets = 500
sio = socketio.Server(async_mode="eventlet", cors_allowed_origins="*")
unused_client = socketio.Client()


class Chat(socketio.Namespace):
    def on_connect(self, sid, environ, auth=None):
        if auth == {"token": "wrong"}:
            raise ConnectionRefusedError("not you")
        self.emit("welcome", {"path": environ["PATH_INFO"]})

    def on_disconnect(self, sid):
        pass

    def on_add(self, sid, a, b):
        return a + b


@sio.event
def connect(sid, environ):
    sio.enter_room(sid, "all")


@sio.on("say")
def say(sid, text):
    sio.emit("said", text, room="all")
    eventlet.sleep(0)
    return "ok", len(text)


def page(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]


sio.register_namespace(Chat("/chat"))
app = socketio.WSGIApp(sio, page)

if __name__ == "__main__":
    import os

    from eventlet import wsgi

    wsgi.server(eventlet.listen(("127.0.0.1", int(os.environ["PORT"]))), app)
