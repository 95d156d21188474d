"""The Flask application that Socket.IO 2 clients talk to, beside others: what it gets is what it says.

It must not know which client, transport or test is calling.
"""

import os
from typing import Any

from flask import Flask, request

from python_server import ConnectionRefusedError, SocketIO, disconnect, emit, join_room, rooms

app = Flask(__name__)
# A test whose clients are busy for longer says how long a silent one is kept.
socketio = SocketIO(
    app, allow_eio3=True, ping_interval=1, ping_timeout=float(os.environ.get("PING_TIMEOUT", "4"))
)


def greet(auth: Any) -> None:
    socketio.emit("came", request.sid, to="watchers")  # type: ignore[attr-defined]
    emit("welcome", {"sid": request.sid, "auth": auth, "query": request.args.get("who")})  # type: ignore[attr-defined]


@socketio.on("connect")
def on_connect(auth: Any = None) -> bool | None:
    if request.args.get("who") == "nobody":
        return False
    if request.args.get("who") == "told":
        raise ConnectionRefusedError("not you", {"code": 7})
    greet(auth)
    return None


@socketio.on("connect", namespace="/admin")
def on_admin_connect(auth: Any = None) -> None:
    if auth != {"token": "x, y?"}:
        raise ConnectionRefusedError("no token")
    greet(auth)


@socketio.on("disconnect")
def on_disconnect(reason: str) -> None:
    socketio.emit("left", [request.sid, reason], to="watchers")  # type: ignore[attr-defined]


@socketio.on("watch")
def on_watch() -> list[str]:
    join_room("watchers")
    return sorted(rooms())


@socketio.on("echo")
@socketio.on("echo", namespace="/admin")
def on_echo(*args: Any) -> tuple[Any, ...]:
    """Every argument back, as an event and as the acknowledgement."""
    emit("echoed", args)
    return args


@socketio.on("ask_me")
def on_ask_me(question: Any) -> None:
    """The server asks, the client acknowledges, and hears what its answer was."""
    emit("question", question, callback=lambda *values: emit("you_said", values))


@socketio.on("call_me")
def on_call_me(question: Any) -> Any:
    return socketio.call("question", question, to=request.sid)  # type: ignore[attr-defined]


@socketio.on("enter")
def on_enter(room: str) -> None:
    join_room(room)


@socketio.on("tell")
def on_tell(room: str, *what: Any) -> bool:
    emit("said", what, to=room)
    return True


@socketio.on("to")
def on_to(sid: str, what: Any) -> None:
    emit("said", what, to=sid)


@socketio.on("send_me_away")
@socketio.on("send_me_away", namespace="/admin")
def on_send_me_away() -> None:
    disconnect()


@socketio.on("where")
def on_where() -> int:
    return os.getpid()


@app.get("/")
def page() -> str:
    return "<!doctype html><title>version 2</title>"
