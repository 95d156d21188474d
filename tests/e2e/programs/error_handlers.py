"""Error handlers: of a namespace, of all others, and errors that nobody handles.

It must not know which server runs it.
"""

import os

from flask import Flask, request
from flask_socketio import ConnectionRefusedError, SocketIO, emit

app = Flask(__name__)
socketio = SocketIO(app)


@app.errorhandler(404)
def not_found(e):
    return "nothing here", 404


@socketio.on_error()
def error_handler(e):
    emit("error", {"kind": type(e).__name__, "text": str(e), "event": request.event["message"]})
    return "an error"


@socketio.on_error("/shop")
def error_handler_shop(e):
    emit("shop_error", {"text": str(e), "args": list(request.event["args"])})


@socketio.on_error_default
def default_error_handler(e):
    emit("default_error", {"text": repr(e), "namespace": request.namespace})


@socketio.on("divide")
def divide(a, b):
    return a / b


@socketio.on("raise")
def raise_it(data):
    raise ValueError(data)


@socketio.on("buy", namespace="/shop")
def buy(item):
    raise KeyError(item)


@socketio.on("connect", namespace="/other")
def other_connect():
    pass


@socketio.on("fail", namespace="/other")
def fail():
    raise RuntimeError("nobody else")


@socketio.on("connect", namespace="/refused")
def refused(auth):
    raise ConnectionRefusedError("unauthorized!", {"code": 401, "auth": auth})


@socketio.on("connect", namespace="/refused2")
def refused_plainly():
    raise ConnectionRefusedError


@socketio.on("needs_two")
def needs_two(a, b):
    return [a, b]


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
