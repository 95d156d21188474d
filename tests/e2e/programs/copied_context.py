"""Threads and tasks that take a copy of the request's context with them, or the application's.

It must not know which server runs it.
"""

import os
import threading

from flask import Flask, copy_current_request_context, current_app, g, request, session, url_for
from flask_socketio import SocketIO, emit, join_room

app = Flask(__name__)
app.config["SECRET_KEY"] = "secret"
socketio = SocketIO(app, ping_interval=5)


@app.route("/items/<int:number>")
def item(number):
    return url_for("item", number=number + 1)


@app.teardown_request
def count_teardowns(error):
    app.config["TEARDOWNS"] = app.config.get("TEARDOWNS", 0) + 1


@socketio.on("copied")
def copied(data):
    session["seen"] = data

    @copy_current_request_context
    def later():
        emit("later", {"data": data, "session": session["seen"], "event": request.event["message"]})

    threading.Thread(target=later).start()


@socketio.on("task")
def task(data):
    socketio.start_background_task(work, current_app._get_current_object(), request.sid, data)


def work(app, sid, data):
    with app.app_context():
        for step in range(2):
            socketio.sleep(0)
            socketio.emit("step", {"step": step, "app": current_app.name, "data": data}, to=sid)


@socketio.on("timer")
def timer():
    room = "timers"
    join_room(room)
    threading.Timer(0.01, lambda: socketio.emit("rang", room=room)).start()


@socketio.on("test_context")
def test_context():
    with app.test_request_context("/items/3"):
        socketio.emit("from", {"path": request.path})


@socketio.on("urls")
def urls():
    g.number = 7
    return [url_for("item", number=g.number), url_for("static", filename="a.js")]


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
