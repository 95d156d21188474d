"""Team chat: tokens that end, two rooms and who is in them, events that the server checks and describes, and
pages that only listen.

It must not know the page: `wsframe schema app:app --typescript` writes what a page may send and hears.
"""

import os
import secrets
import time
from collections import deque
from itertools import count
from typing import Annotated, Literal

from flask import Flask, abort, render_template, request, session
from itsdangerous import BadSignature, URLSafeTimedSerializer
from msgspec import Meta, Struct

from python_server import ConnectionRefusedError, SocketIO, emit, join_room, leave_room, room_members

ROOMS = ("Kitchen", "Garden")
TOKEN_SECONDS = float(os.environ.get("TOKEN_SECONDS") or 8 * 60 * 60)
HISTORY_COUNT = 50

app = Flask(__name__)
app.secret_key = os.environ.get("CHAT_SECRET") or secrets.token_hex()
socketio = SocketIO(app, connection_state_recovery=True)
tokens = URLSafeTimedSerializer(app.secret_key, "team chat")
numbers = count(1)

Room = Literal["Kitchen", "Garden"]


class Credentials(Struct):
    token: str


class Enter(Struct):
    room: Room


class Words(Struct):
    room: Room
    text: Annotated[str, Meta(min_length=1, max_length=500)]


class Said(Struct):
    """What somebody has said in a room."""

    number: int
    room: Room
    name: str
    text: str
    at: float


class Sent(Struct):
    number: int


class People(Struct):
    """Who is in a room now."""

    room: Room
    names: list[str]


history: dict[str, deque[Said]] = {room: deque(maxlen=HISTORY_COUNT) for room in ROOMS}  # of this process
socketio.emits("said", Said)
socketio.emits("people", People)


@app.get("/")
def index():
    return render_template("team_chat.html", rooms=ROOMS)


@app.post("/token")
def token():
    """In place of a login: whoever says a name gets a token for it."""
    name = request.form.get("name", "").strip()[:24]
    return {"token": tokens.dumps(name)} if name else ({"error": "Please choose a name."}, 400)


def person(token: str) -> tuple[str, float]:
    """Who that is, and until when the token is valid. Raises BadSignature."""
    name, began = tokens.loads(token, max_age=TOKEN_SECONDS, return_timestamp=True)
    return name, began.timestamp() + TOKEN_SECONDS


@app.get("/listen/<room>")
def listen(room):
    """What is said in a room, for a page that only listens: an EventSource, not a client."""
    try:
        person(request.args.get("token", ""))
    except BadSignature:
        abort(403)
    return socketio.stream(room, event="said") if room in ROOMS else abort(404)


@socketio.on("connect")
def connect(auth: Credentials):
    try:
        session["name"], until = person(auth.token)
        socketio.expire(request.sid, until)  # ValueError: in this very moment
    except (BadSignature, ValueError):
        raise ConnectionRefusedError("Please sign in again.") from None


@socketio.on("enter")
def enter(wanted: Enter) -> list[Said]:
    """Leave the room and enter another one; the answer is what was said there."""
    for room in ROOMS:
        leave_room(room)
    join_room(wanted.room, meta={"name": session["name"]}, key=session["name"])
    return list(history[wanted.room])


@socketio.on("say")
def say(words: Words) -> Sent:
    """Say something to everybody in a room."""
    said = Said(next(numbers), words.room, session["name"], words.text, time.time())
    history[words.room].append(said)
    emit("said", said, to=words.room)
    return Sent(said.number)


@socketio.on_room_join()
@socketio.on_room_leave()
def moved(sid, room, meta):
    """Once for each person, in whatever process they are."""
    if room in ROOMS:
        names = {member["meta"]["name"] for member in room_members(room, namespace="/", meta=True)}
        socketio.emit("people", People(room, sorted(names)), to=room)


if __name__ == "__main__":
    socketio.run(app)
