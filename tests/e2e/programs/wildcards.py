"""Catch-all handlers, unnamed and JSON messages, on_event, and more than one argument.

It must not know which server runs it.
"""

import os

from flask import Flask, request
from flask_socketio import SocketIO, emit, send

app = Flask(__name__)
socketio = SocketIO(app)


@socketio.on("message")
def handle_message(data):
    send("received message: " + data)


@socketio.on("json")
def handle_json(data):
    send(data, json=True)
    send({"as": "text"}, broadcast=True)


@socketio.on("*")
def catch_all(event, *args):
    emit("caught", {"event": event, "args": list(args)})
    return event


@socketio.on("known", namespace="*")
def known_anywhere(*args):
    return {"namespace": request.namespace, "args": [arg for arg in args if arg != request.sid]}


@socketio.event
def my_custom_event(arg1, arg2, arg3):
    emit("arguments", (arg1, arg2, arg3))


def my_function_handler(data):
    emit("registered", data, namespace="/test")


socketio.on_event("my event", my_function_handler, namespace="/test")
socketio.on_event("my_event", my_function_handler, namespace="/test")


@socketio.on("unicode ✓")
def handle_unicode(data):
    return data[::-1]


@socketio.on("dotted.name:x")
def handle_dotted(data):
    emit("dotted.name:y", data, json=True)


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
