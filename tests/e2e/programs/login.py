"""Flask-Login: who is logged in on a page is known in the events, and nobody else gets in.

It must not know which server runs it.
"""

import functools
import os

from flask import Flask, jsonify, request, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from flask_socketio import SocketIO, disconnect, emit

app = Flask(__name__)
app.config["SECRET_KEY"] = "top-secret!"
login = LoginManager(app)
socketio = SocketIO(app, manage_session=True)


class User(UserMixin):
    def __init__(self, id):
        self.id = id


@login.user_loader
def user_loader(id):
    return User(id)


def authenticated_only(f):
    @functools.wraps(f)
    def wrapped(*args, **kwargs):
        if not current_user.is_authenticated:
            disconnect()
        else:
            return f(*args, **kwargs)

    return wrapped


@app.route("/login", methods=["POST"])
def log_in():
    login_user(User(request.get_json()["user"]))
    session["value"] = "of the page"
    return jsonify(user=current_user.id)


@app.route("/logout", methods=["POST"])
def log_out():
    logout_user()
    return "", 204


@app.route("/me")
@login_required
def me():
    return jsonify(user=current_user.id, value=session.get("value"))


@socketio.on("connect")
def connect_handler():
    if current_user.is_anonymous and request.args.get("strict"):
        return False
    emit("who", current_user.id if current_user.is_authenticated else None)


@socketio.on("secret")
@authenticated_only
def handle_secret(data):
    emit("secret", {"message": f"{current_user.id} has joined", "data": data}, broadcast=True)
    return session["value"]


@socketio.on("set")
@login_required
def set_value(value):
    session["value"] = value


@socketio.on("get")
def get_value():
    return {"value": session.get("value"), "user": getattr(current_user, "id", None)}


@socketio.on("become")
def become(name):
    login_user(User(name))
    return current_user.id


if __name__ == "__main__":
    socketio.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", 5000)))
