"""Votes by REST, results by events: a JSON interface that emits from its views.

It must not know which server runs it.
"""

import os
from collections import Counter

from flask import Blueprint, Flask, abort, jsonify, request
from flask_socketio import SocketIO, join_room, leave_room, rooms

api = Blueprint("api", __name__, url_prefix="/api")
socketio = SocketIO()
polls = {}


def create_app():
    app = Flask(__name__)
    app.register_blueprint(api)
    socketio.init_app(app, cors_allowed_origins="*")
    return app


@api.post("/polls")
def create():
    body = request.get_json()
    polls[body["id"]] = Counter(dict.fromkeys(body["options"], 0))
    socketio.emit("poll_created", body["id"])
    return jsonify(body), 201


@api.post("/polls/<id>/vote")
def vote(id):
    poll, option = polls.get(id), request.json["option"]
    if poll is None or option not in poll:
        abort(404)
    poll[option] += 1
    socketio.emit("results", {"poll": id, "votes": dict(poll)}, to=f"poll:{id}")
    return jsonify(votes=poll[option])


@api.delete("/polls/<id>")
def delete(id):
    socketio.emit("poll_closed", {"id": id}, room=f"poll:{id}")
    socketio.close_room(f"poll:{id}")
    return "", 204 if polls.pop(id, None) is not None else 404


@socketio.on("watch")
def watch(id):
    if id not in polls:
        return {"error": "no such poll"}
    join_room(f"poll:{id}")
    return {"votes": dict(polls[id])}


@socketio.on("unwatch")
def unwatch(id):
    leave_room(f"poll:{id}")
    return len(rooms())


app = create_app()

if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)))
