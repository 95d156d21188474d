"""The Flask session in pages and events, kept apart as Flask-SocketIO does by default.

It must not know which server runs it.
"""

import os

from flask import Flask, g, has_request_context, jsonify, request, session
from flask_socketio import SocketIO, emit

app = Flask(__name__)
app.secret_key = "not a secret"
socketio = SocketIO(app)


@app.before_request
def before():
    g.visits = 1


@app.route("/session", methods=["GET", "POST"])
def session_access():
    if request.method == "POST":
        session.update(request.get_json())
        return "", 204
    return jsonify(dict(session))


@socketio.on("get-session")
def get_session():
    emit("refresh-session", dict(session))


@socketio.on("set-session")
def set_session(data):
    session["session"] = data
    session.modified = True


@socketio.on("forget")
def forget():
    session.clear()


@socketio.on("context")
def context():
    return {
        "context": has_request_context(),
        "g": hasattr(g, "visits"),
        "path": request.path,
        "method": request.method,
        "args": request.args.get("room"),
        "cookie": "session" in request.cookies,
        "event": request.event["message"],
        "namespace": request.namespace,
    }


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
