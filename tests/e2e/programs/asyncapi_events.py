"""sio-asyncapi: events of Flask-SocketIO with models, validated and documented.

It must not know which server runs it.
"""

import os

from flask import Flask, jsonify
from flask_socketio import ConnectionRefusedError, emit
from pydantic import BaseModel, ConfigDict
from sio_asyncapi import AsyncAPISocketIO

app = Flask(__name__)
app.config["SECRET_KEY"] = "secret!"
socketio = AsyncAPISocketIO(
    app, validate=True, generate_docs=True, version="1.0.0", title="Demo", async_mode="threading"
)


class UserSignUp(BaseModel):
    model_config = ConfigDict(extra="forbid")
    email: str
    age: int


class SignedUp(BaseModel):
    success: bool
    data: str


class Notice(BaseModel):
    text: str


@app.route("/events")
def events():
    return jsonify(
        sorted(operation["action"] for operation in socketio.asyncapi_doc.dict()["operations"].values())
    )


@socketio.on("sign_up", response_model=SignedUp, request_model=UserSignUp)
def sign_up(user):
    """A user signs up."""
    socketio.emit("notice", {"text": user.email})
    return {"success": True, "data": f"{user.email} {user.age}"}


@socketio.on("typed", get_from_typehint=True)
def typed(user: UserSignUp) -> SignedUp:
    return SignedUp(success=False, data=user.email)


@socketio.doc_emit("notice", Notice, "What is new")
@socketio.on("notify")
def notify(data=None):
    emit("notice", {"no": "text"})


@socketio.on_error_default
def default_error_handler(e):
    emit("error", type(e).__name__)


@socketio.on("plain")
def plain():
    return "plain"


@socketio.on("connect")
def connect(auth):
    if auth == {"token": "wrong"}:
        raise ConnectionRefusedError("unauthorized")


if __name__ == "__main__":
    socketio.run(app, port=int(os.environ.get("PORT", 5000)), debug=False)
