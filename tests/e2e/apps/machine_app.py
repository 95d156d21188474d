"""One Flask application for several machines joined by a broker; its URL and options come in the environment.

It must not know how many machines or workers there are.
"""

import json
import os
import time
from typing import Any

import flask

from python_server import SocketIO, disconnect, emit, join_room

app = flask.Flask(__name__)
socketio = SocketIO(
    app,
    cors_allowed_origins="*",
    message_queue=os.environ["BROKER"],
    **json.loads(os.environ.get("OPTIONS", "{}")),
)


@socketio.on("join")
def join(room: Any) -> str:
    join_room(room)
    return flask.request.sid  # type: ignore[attr-defined, no-any-return]


@socketio.on("where")
def where() -> int:
    return os.getpid()


@socketio.on("say")
def say(data: Any, options: dict[str, Any]) -> None:
    socketio.emit("said", data, **options)


@socketio.on("echo")
def echo(data: Any) -> Any:
    emit("echoed", data)
    return data


@socketio.on("call")
def call(sid: str) -> Any:
    """The answer of a client of any machine."""
    try:
        return socketio.call("question", 7, to=sid, timeout=60)
    except TimeoutError as error:
        return str(error)


@socketio.on("ask")
def ask(sid: str) -> None:
    """As `call`, the answer comes back as an event."""
    asker = flask.request.sid  # type: ignore[attr-defined]
    socketio.emit(
        "question", 8, to=sid, callback=lambda *values: socketio.emit("answered", list(values), to=asker)
    )


@socketio.on("members")
def members(room: Any) -> list[str]:
    return socketio.room_members(room)


@socketio.on("send away")
def send_away(sid: str) -> None:
    disconnect(sid)


@socketio.on("expire")
def expire(sid: str, seconds: float) -> None:
    socketio.expire(sid, time.time() + seconds)


@socketio.on("close room")
def close(room: Any) -> None:
    socketio.close_room(room)


@socketio.on("flood")
def flood(count: int, data: Any) -> int:
    """For clients of other machines, if there are any."""
    for _ in range(count):
        socketio.emit("said", data, to="a room of others")
    return count
