"""python-socketio under eventlet's own server: `eventlet.wsgi.server(eventlet.listen(...), app)`.

It must not know which server runs it.
"""

import os

import eventlet
import socketio

sio = socketio.Server(async_mode="eventlet", cors_allowed_origins="*")
app = socketio.WSGIApp(sio, static_files={"/": {"content_type": "text/html", "filename": "static_page.html"}})


@sio.event
def connect(sid, environ):
    print("connect ", sid)


@sio.event
def my_message(sid, data):
    sio.emit("my_response", {"response": "my response", "data": data}, room=sid)
    return "OK", 123


@sio.on("chat message", namespace="/chat")
def unused(sid, data):
    pass


@sio.on("chat_message", namespace="/chat")
def chat_message(sid, data):
    sio.emit("chat_message", data, namespace="/chat", skip_sid=sid)


@sio.event
def background(sid, count):
    def run():
        for number in range(count):
            eventlet.sleep(0.01)
            sio.emit("number", number, to=sid)

    eventlet.spawn_n(run)


@sio.event
def disconnect(sid):
    print("disconnect ", sid)


if __name__ == "__main__":
    eventlet.wsgi.server(eventlet.listen(("127.0.0.1", int(os.environ.get("PORT", 5000)))), app)
