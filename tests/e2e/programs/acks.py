"""Acknowledgements both ways: answers of handlers, callbacks, call().

It must not know which server runs it.
"""

import os

from flask import Flask, request
from flask_socketio import SocketIO, emit, send

app = Flask(__name__)
socketio = SocketIO(app, async_handlers=True)
received = []


@socketio.on("one")
def one(data):
    return {"got": data}


@socketio.on("two")
def two():
    return 1, "two"


@socketio.on("none")
def none():
    pass


@socketio.on("a_list")
def a_list():
    return [1, [2, 3]]


@socketio.on("falsy")
def falsy():
    return 0


@socketio.on("callback")
def with_callback(data):
    def ack(*args):
        received.append(args)
        socketio.emit("acked", {"args": list(args)}, to=sid)

    sid = request.sid
    emit("question", data, callback=ack)


@socketio.on("outside")
def outside(data):
    sid = request.sid

    def ask():
        socketio.emit(
            "question", (data, "twice"), to=sid, callback=lambda *a: socketio.emit("acked", len(a), to=sid)
        )

    socketio.start_background_task(ask)


@socketio.on("call")
def do_call(data):
    answer = socketio.call("question", data, to=request.sid, timeout=20)
    emit("called", answer)


@socketio.on("module_call")
def do_module_call(data):
    from flask_socketio import call

    emit("called", [call("question", data, timeout=20), "from call()"])


@socketio.on("too_late")
def too_late():
    try:
        socketio.call("silence", to="nobody-there", timeout=0.1)
    except Exception as error:
        return type(error).__name__


@socketio.on("message")
def on_message(data):
    send({"back": data}, json=True, callback=lambda: socketio.emit("delivered", received[-1:]))
    return "message received"


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
