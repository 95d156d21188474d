"""The Flask application the client tests talk to: every event says plainly what it got.

It must not know which client, transport or test is calling.
"""

from typing import Any

from flask import Flask, jsonify, make_response, request

from python_server import SocketIO, emit, join_room, leave_room

app = Flask(__name__)
socketio = SocketIO(app)


# ---- the default namespace


@socketio.on("connect")
def on_connect(auth: Any = None) -> bool | None:
    if isinstance(auth, dict) and auth.get("token") == "wrong":
        return False
    emit("welcome", {"sid": request.sid, "auth": auth})  # type: ignore[attr-defined]
    return None


@socketio.on("disconnect")
def on_disconnect(*_: object) -> None:
    socketio.emit("gone", {"sid": request.sid})  # type: ignore[attr-defined]


@socketio.on("echo")
def on_echo(*args: Any) -> None:
    """Every argument back as an event of the same shape."""
    emit("echoed", args)


@socketio.on("sum")
def on_sum(a: int, b: int) -> int:
    return a + b


@socketio.on("divide")
def on_divide(a: int, b: int) -> tuple[int, int]:
    return divmod(a, b)


@socketio.on("nothing")
def on_nothing() -> None:
    """Its acknowledgement carries no value."""


@socketio.on("ask_me")
def on_ask_me(question: str) -> None:
    """The server asks, the client acknowledges, and hears what its answer was."""

    def answered(*values: Any) -> None:
        emit("you_said", values)

    emit("question", question, callback=answered)


@socketio.on("reverse")
def on_reverse(data: bytes) -> bytes:
    """Bytes in, the same bytes backwards as an event and as the acknowledgement."""
    backwards = bytes(data)[::-1]
    emit("reversed", {"size": len(data), "data": backwards, "twice": [backwards, b"\x00\xff"]})
    return backwards


@socketio.on("enter")
def on_enter(room: str) -> str:
    join_room(room)
    return room


@socketio.on("exit")
def on_exit(room: str) -> str:
    leave_room(room)
    return room


@socketio.on("say")
def on_say(room: str, text: str) -> bool:
    emit("said", {"room": room, "text": text}, to=room, include_self=False)
    return True


@socketio.on("tell")
def on_tell(room: str, text: str) -> bool:
    emit("said", {"room": room, "text": text}, to=room)
    return True


@socketio.on("shout")
def on_shout(text: str) -> bool:
    emit("shouted", text, broadcast=True, include_self=False)
    return True


@socketio.on("count")
def on_count(number: int) -> None:
    emit("counted", number)


@socketio.on("boom")
def on_boom() -> None:
    raise RuntimeError("raised on purpose by the test application")


# ---- a second namespace, and one that refuses everybody


@socketio.on("connect", namespace="/shop")
def on_shop_connect(auth: Any = None) -> None:
    emit("opened", {"auth": auth, "namespace": request.namespace})  # type: ignore[attr-defined]


@socketio.on("buy", namespace="/shop")
def on_buy(what: str) -> dict[str, str]:
    emit("sold", what)
    return {"bought": what}


@socketio.on("connect", namespace="/closed")
def on_closed_connect() -> bool:
    return False


# ---- plain HTTP beside it


@app.get("/")
def home() -> Any:
    return "client tests"


@app.post("/notify")
def notify() -> Any:
    """An event sent from an HTTP handler, outside any Socket.IO one."""
    socketio.emit("shouted", request.form["text"])
    return jsonify(sent=True)


@app.get("/cookie")
def cookie() -> Any:
    response = make_response(jsonify(seen=request.cookies.get("visit", "")))
    response.set_cookie("visit", "yes", httponly=True, samesite="Lax")
    return response
