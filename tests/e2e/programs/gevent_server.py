"""python-socketio under gevent's WSGIServer with gevent-websocket's handler.

It must not know which server runs it.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

import socketio  # noqa: E402
from gevent import pywsgi, sleep  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402

sio = socketio.Server(async_mode="gevent", cors_allowed_origins="*")


def pages(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("page " + environ["PATH_INFO"]).encode()]


app = socketio.WSGIApp(sio, pages)


def background(sid):
    for count in range(2):
        sleep(0.01)
        sio.emit("tick", count, room=sid)


@sio.on("start")
def start(sid):
    sio.start_background_task(background, sid)
    return True


@sio.on("reverse")
def reverse(sid, data):
    return data[::-1]


@sio.on("enter")
def enter(sid, room):
    sio.enter_room(sid, room)
    sio.emit("entered", {"room": room, "sid": sid}, room=room)


if __name__ == "__main__":
    address = ("127.0.0.1", int(os.environ.get("PORT", 5000)))
    pywsgi.WSGIServer(address, app, handler_class=WebSocketHandler, log=None).serve_forever()
